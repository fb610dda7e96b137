"""The documentation: generated pages are those of the code, links lead somewhere, the site is searched."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import unquote, urlsplit

import jsonschema
import pytest
from scripts.reference import DOCS, LAYERS, PAGES, SETTINGS
from tests.browser import Watched, chromium
from tests.golden.test_vectors import LATER

from flowtime.errors import InvalidInput
from flowtime.model import from_document
from flowtime.settings import VARIABLES
from flowtime.sim import templates

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads((DOCS / "reference/model.schema.json").read_text(encoding="utf-8"))
VALID: list[dict[str, Any]] = [
    case
    for name in ("valid.json", "flows.json")
    for case in json.loads((ROOT / "tests/golden" / name).read_text(encoding="utf-8"))
    if case["name"] not in LATER
]


@pytest.mark.parametrize("name", PAGES)
def test_the_page_is_the_one_of_the_code(name: str) -> None:
    assert (DOCS / name).read_text(encoding="utf-8") == PAGES[name](), "run: make reference"


def test_every_setting_is_described() -> None:
    assert SETTINGS.keys() == VARIABLES.keys()


def test_every_part_of_the_package_is_drawn() -> None:
    parts = {
        path.stem
        for path in (ROOT / "src/flowtime").iterdir()
        if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert parts - {part for layer in LAYERS for part in layer} == {"__init__", "__main__"}


def models() -> Iterator[Any]:
    for case in VALID:
        yield pytest.param(case["model"], id=case["name"])
    for template in templates.templates(None):
        yield pytest.param(template.fill(), id=template.id)


@pytest.mark.parametrize("model", list(models()))
def test_models_fit_the_schema(model: dict[str, Any]) -> None:
    jsonschema.Draft202012Validator(SCHEMA).validate(model)


def objects() -> Iterator[Any]:
    """Each kind of mapping in a model: a document with a key that nothing has, and the keys in the schema."""
    stranger = {"qqqqqqqq": 1}
    node = {"id": "a", "kind": "const", "values": 1}
    sections = SCHEMA["properties"]
    yield pytest.param(stranger, SCHEMA, id="model")
    for name in ("grid", "metadata", "rng", "topology"):
        yield pytest.param({name: stranger}, sections[name], id=name)
    yield pytest.param({"outputs": [stranger]}, sections["outputs"]["items"], id="outputs")
    topology = sections["topology"]["properties"]
    yield pytest.param({"topology": {"nodes": [stranger]}}, topology["nodes"]["items"], id="component")
    yield pytest.param({"topology": {"edges": [stranger]}}, topology["edges"]["items"], id="edge")
    yield pytest.param(
        {"parameters": {"p": {"value": 1, **stranger}}}, SCHEMA["$defs"]["parameter"], id="parameter"
    )
    metric = {"formula": "PEAK(a)", **stranger}
    yield pytest.param({"metrics": {"m": metric}}, SCHEMA["$defs"]["metric"], id="metric")
    for kind in ("const", "expr", "pmf", "queue"):
        yield pytest.param({"nodes": [{**node, "kind": kind, **stranger}]}, SCHEMA["$defs"][kind], id=kind)


@pytest.mark.parametrize(("document", "described"), list(objects()))
def test_the_schema_has_the_keys_that_are_read(document: dict[str, Any], described: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput) as caught:
        from_document({"nodes": [{"id": "a", "kind": "const", "values": 1}], **document})
    (message,) = [error.message for error in caught.value.errors if "qqqqqqqq" in error.message]
    assert message.partition("known keys: ")[2].split(", ") == unordered(described, message)


def unordered(described: dict[str, Any], message: str) -> list[str]:
    """The keys of the schema, in the order of the message where they are the same."""
    said = message.partition("known keys: ")[2].split(", ")
    keys = list(described["properties"])
    return said if sorted(said) == sorted(keys) else keys


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "changes/README.md"])
def test_links_outside_the_site_lead_somewhere(name: str) -> None:
    path = ROOT / name
    links = re.findall(r"\]\((?!https?:)([^)#]+)", path.read_text(encoding="utf-8"))
    assert [link for link in links if not (path.parent / link).exists()] == []


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, unavailable: Callable[[str], NoReturn]) -> Path:
    """The documentation as `make docs` builds it."""
    if any(find_spec(name) is None for name in ("sphinx", "furo", "myst_parser")):
        unavailable("the tools of the documentation are not installed")
    folder = tmp_path_factory.mktemp("docs")
    command = [sys.executable, "-m", "sphinx", "--quiet", "--fail-on-warning", "--keep-going", "-b", "html"]
    built = subprocess.run(
        [*command, "-d", str(folder / "doctrees"), str(DOCS), str(folder / "site")],
        capture_output=True,
        check=False,
        encoding="utf-8",
    )
    assert built.returncode == 0, built.stderr
    return folder / "site"


def test_the_site_asks_nobody_else(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert {"index.html", "tutorial.html", "search.html"} <= {page.name for page in pages}
    fetched = re.compile(
        r"<(?:script|img|iframe)[^>]+src=\"(?:https?:)?//|<link[^>]+href=\"(?:https?:)?//"
        r"|url\(\s*[\"']?(?:https?:)?//|@import\s+[\"'](?:https?:)?//"
    )
    looks = [*pages, *site.rglob("*.css")]
    assert [page.name for page in looks if fetched.search(page.read_text(encoding="utf-8"))] == []


class Anchors(HTMLParser):
    """Where a page can be entered, and where it leads."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id" and value:
                self.ids.add(value)
            elif name in ("href", "src") and value:
                self.links.append(value)


def test_every_link_of_the_site_leads_somewhere(site: Path) -> None:
    pages = {page: Anchors(page) for page in site.rglob("*.html")}
    followed, broken = 0, []
    for page, anchors in pages.items():
        for link in anchors.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            entered = not parts.fragment or target not in pages or parts.fragment in pages[target].ids
            followed += 1
            if not target.is_file() or not entered:
                broken.append(f"{page.name}: {link}")
    assert followed > 1000
    assert broken == []


@pytest.mark.needs("chromium")
def test_the_site_is_searched_without_a_network(site: Path) -> None:
    with chromium() as browser:
        watched = Watched(browser, site.as_uri())
        watched.context.set_offline(True)
        page = watched.open("/index.html")
        page.get_by_role("textbox", name="Search").fill("FT201")
        page.keyboard.press("Enter")
        page.get_by_role("link", name="FT201").click()
        page.wait_for_url("**/reference/errors.html#ft201")
        assert page.get_by_role("heading", name="FT201").is_visible()
        assert (watched.complaints, watched.asked) == ([], [])
        watched.close()


def test_every_promise_of_security_names_tests_that_are_there() -> None:
    text = (DOCS / "security.md").read_text(encoding="utf-8")
    promises = 0
    for heading in ("## What is defended", "## What readers and strangers cannot do"):
        section = text.partition(f"{heading}\n")[2].partition("\n## ")[0]
        for row in re.findall(r"^\| (?!Threat|Promise)(.+) \|$", section, re.MULTILINE):
            promise, _, tests = row.rpartition(" | ")
            promises += 1
            named = re.findall(r"`(test_\w+\.py)`: ((?:`test_\w+`(?:, )?)+)", tests)
            assert named, promise
            for file, names in named:
                [path] = (ROOT / "tests").glob(f"*/{file}")
                there = set(re.findall(r"^(?:async )?def (test_\w+)", path.read_text("utf-8"), re.MULTILINE))
                assert set(re.findall(r"test_\w+", names)) <= there, (file, names)
            # What is named in another way would be looked up by nobody.
            assert sum(len(re.findall("`test_", names)) + 1 for _, names in named) == tests.count("`test_")
    assert promises > 40
