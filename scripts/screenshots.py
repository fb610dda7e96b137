"""Takes the pictures of the pages in docs/images: python -m scripts.screenshots

They show a registry made for it, in a real Chromium. Take them anew when the pages change.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from playwright.sync_api import Page
from tests.browser import chromium
from tests.servers import Servers

from flowtime.service import Flowtime
from flowtime.settings import load

IMAGES = Path(__file__).parents[1] / "docs/images"


def prepare(folder: Path) -> dict[str, str]:
    """Makes a registry and returns the addresses to take pictures of, by the name of the picture."""
    settings = replace(load({"artifacts": str(folder / "artifacts")}), owner="ada")
    service = Flowtime(settings)
    for template in ("support-desk", "warehouse-waves", "emergency-department"):
        service.create_model(template, name=template)
    model = service.create_model("e-commerce", name="shop", tags=("baseline",))
    usual = service.run(model["id"], name="usual-week", tags=("baseline",))
    sale = service.run(model["id"], name="sale-week", tags=("scenario",), scenario=model_scenario(service))
    service.edit(usual["id"], star=True)
    service.export(usual["id"], "gold", str(folder / "usual-week.csv"))
    service.import_data(folder / "usual-week.csv", name="usual-week-back", tags=("production",))
    service.test_loop(model["id"])
    return {
        "home": "/",
        "artifacts": "/artifacts",
        "run": f"/artifacts/{usual['id']}?bin=200",
        "model": f"/artifacts/{model['id']}",
        "compare": f"/compare?a={usual['id']}&b={sale['id']}",
        "template": "/templates/e-commerce",
        "import": "/import",
    }


def model_scenario(service: Flowtime) -> str:
    """The first scenario of the template that the pictures show."""
    name: str = service.template("e-commerce")["scenarios"][0]["name"]
    return name


def main() -> None:
    """Takes all pictures, in light; of the run page also one in dark."""
    with tempfile.TemporaryDirectory() as place:
        pages = prepare(Path(place))
        with Servers(Path(place)) as servers, chromium() as browser:
            base = servers("--artifacts", str(Path(place, "artifacts")))
            page = browser.new_page(viewport={"width": 1280, "height": 860}, color_scheme="light")
            for name, path in pages.items():
                take(page, base + path, name)
            page.emulate_media(color_scheme="dark")
            take(page, base + pages["run"], "run-dark")


def take(page: Page, address: str, name: str) -> None:
    """Takes one picture, when everything that the page fetches is there and drawn."""
    page.goto(address, wait_until="networkidle")
    page.wait_for_timeout(800)
    page.screenshot(path=IMAGES / f"{name}.png")


if __name__ == "__main__":
    main()
