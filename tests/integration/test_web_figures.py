"""Lists filtered by parameters and metrics, in a real Chromium on a real server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from tests.browser import Watched
from tests.integration.test_flows import DESK
from tests.servers import Servers

from flowtime.service import Flowtime
from flowtime.settings import load

pytestmark = pytest.mark.needs("chromium")

MODEL = DESK.replace("unit: agents}", "unit: agents, title: Agents at the desk}").replace(
    "growth: 1\n", "growth: {value: 1, min: 0.5, spread: {normal: [1, 0.1]}}\n"
)
MODEL = MODEL.replace("metrics:", "  - {id: late, kind: expr, expr: desk.depth * 2}\nmetrics:")
MODEL += "rng: {kind: pcg64, seed: 4}\n"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Flowtime:
    """A registry with that model and its runs; tests only read it."""
    service = Flowtime(load({"artifacts": str(tmp_path_factory.mktemp("flows") / "artifacts")}))
    service.publish_model(MODEL.encode(), name="desk")
    service.run("desk", name="two")
    service.run("desk", name="three", parameters={"staff": 3})
    service.run("desk", name="drawn", samples=50)
    return service


@pytest.fixture(scope="module")
def base(made: Flowtime) -> Iterator[str]:
    """The address of a server of that registry."""
    with Servers(Path(made.settings.artifacts).parent) as servers:
        yield servers()


@pytest.fixture
def page(base: str, watched: Callable[..., Watched]) -> Callable[[str], Page]:
    """Opens a page of the server."""
    return watched(base).open


def refused(window: Watched) -> None:
    """The browser tells of the request that was refused; nothing else may be wrong."""
    assert [text for text in window.complaints if "422" not in text] == []
    window.complaints.clear()


# -- lists -------------------------------------------------------------------------------------------------


def names(view: Page) -> list[str]:
    """The names of the artifacts in the list."""
    return view.locator("#list h3 a, #list tbody th a").all_inner_texts()


def test_lists_are_filtered_and_show_numbers(base: str, page: Callable[[str], Page]) -> None:
    view = page("/artifacts?where=staff%3E%3D2&where=peak_wait%3E20&kind=run&columns=staff,peak_wait,full")
    assert names(view) == ["drawn", "two"]
    expect(view.get_by_label("Parameters and metrics")).to_have_value("staff>=2, peak_wait>20")
    expect(view.locator("#list li").last.locator("dd")).to_have_text(["2", "31.2", "2"])
    view.get_by_label("Table").check(force=True)
    expect(view.locator("#list thead th.num")).to_have_text(["staff", "peak_wait", "full"])
    expect(view.locator("#list tbody tr").last.locator("td.num")).to_have_text(["2", "31.2", "2"])
    view.get_by_label("Parameters and metrics").fill("staff = 3")
    expect(view.locator("#list tbody tr td.num").first).to_have_text("3")
    # A model has its parameters as well.
    view.get_by_label("Parameters and metrics").fill("staff = 2")
    view.get_by_label("All", exact=True).check(force=True)
    expect(view.locator("#list tbody tr")).to_have_count(3)
    assert "where=staff+%3D+2" in view.url
    view.get_by_label("Show as well").fill("peek_wait")
    expect(view.locator("#list [role=status]")).to_contain_text('did you mean "peak_wait"?')


def test_a_wrong_condition_is_told_at_its_field(base: str, watched: Callable[..., Watched]) -> None:
    window = watched(base)
    view = window.open("/artifacts")
    view.get_by_text("More filters").click()
    field = view.get_by_label("Parameters and metrics")
    field.fill("staff")
    expect(view.locator("#e-where")).to_contain_text('"staff" is not a condition')
    assert names(view) == []
    field.fill("staff >= 3")
    expect(view.locator("#e-where")).to_be_empty()
    expect(view.locator("#list li")).to_have_count(1)
    assert window.complaints == []
    view = window.open("/artifacts?where=staff&tag=peak")
    expect(view.get_by_label("Parameters and metrics")).to_have_attribute("aria-invalid", "true")
    expect(view.locator("#e-where")).to_contain_text('"staff" is not a condition')
    expect(view.get_by_label("Tags").first).to_have_value("peak")
    refused(window)
