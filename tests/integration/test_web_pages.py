"""The pages in a real Chromium, on a real server: what people see, click and type, and what comes of it."""

from __future__ import annotations

import io
import re
import time
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import NoReturn

import httpx
import pytest
from playwright.sync_api import Browser, Download, Page, Request, expect
from tests.browser import AXE, THEMES, WIDTHS, Watched
from tests.commands import Command
from tests.servers import Servers

from flowtime.service import Flowtime
from flowtime.settings import load

pytestmark = pytest.mark.needs("chromium")

BUDGET = 120_000
"""Bytes that a first load may take over the wire."""
PAGES = (
    "/",
    "/artifacts",
    "/artifacts?view=table&kind=run",
    "/artifacts?q=nothing-at-all",
    "/trash",
    "/templates",
    "/templates/support-desk?scenario=outage",
    "/models/new",
    "/import",
    "/jobs",
    "/artifacts/none",
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Flowtime:
    """A registry with a model, its run, and the run come back as telemetry; tests only read it."""
    folder = tmp_path_factory.mktemp("pages")
    service = Flowtime(load({"artifacts": str(folder / "artifacts")}))
    model = service.create_model("support-desk", name="desk", tags=("peak", "2025"), description="Who waits")
    run = service.run(model["id"], name="monday", tags=("peak",))
    file = folder / "monday.csv"
    service.export(run["id"], "gold", str(file))
    service.import_data(file, name="monday-back")
    return service


@pytest.fixture(scope="module")
def base(made: Flowtime) -> Iterator[str]:
    """The address of a server of that registry."""
    with Servers(Path(made.settings.artifacts).parent) as servers:
        yield servers()


# -- every page --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("theme", "width"), list(product(THEMES, WIDTHS)))
def test_everybody_can_use_every_page(
    base: str, made: Flowtime, watched: Callable[..., Watched], unavailable: Callable[[str], NoReturn],
    theme: str, width: int,
) -> None:  # fmt: skip
    if not AXE.exists():
        unavailable("axe-core is not installed: `make emulators`")
    window = watched(base, width, theme)
    own = [f"/artifacts/{made.newest(kind)}" for kind in ("model", "run", "telemetry")]
    for path in (*PAGES, *own, f"{own[1]}?export=gold"):
        page = window.open(path)
        assert (path, window.violations(), max(window.overflow(), 0)) == (path, [], 0)
        assert page.title().endswith("· flowtime")
        if path == "/artifacts/none":
            # The browser tells of the status of the page itself, and of nothing else.
            assert [text for text in window.complaints if "404" not in text] == []
            window.complaints.clear()


def test_pages_fit_the_narrowest_window(base: str, made: Flowtime, watched: Callable[..., Watched]) -> None:
    window = watched(base, 320)
    own = [f"/artifacts/{made.newest(kind)}" for kind in ("model", "run", "telemetry")]
    for path in {*PAGES, *own} - {"/artifacts/none"}:
        window.open(path)
        assert (path, max(window.overflow(), 0)) == (path, 0)


def test_a_list_of_numbers_is_seen_whole_beside_its_unit(base: str, watched: Callable[..., Watched]) -> None:
    for width in WIDTHS:
        field = watched(base, width).open("/templates/checkout").get_by_label("daily_checkouts")
        assert field.evaluate("each => each.scrollWidth <= each.clientWidth")


def test_without_javascript_the_pages_say_what_still_works(serve: Servers, browser: Browser) -> None:
    base = serve()
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{base}/artifacts")
    assert "JavaScript is off" in page.inner_text("main")
    page.goto(f"{base}/templates/checkout")
    page.fill("[name=name]", "by form alone")
    page.get_by_role("button", name="Create and run").click()
    page.wait_for_url("**/artifacts/by-form-alone_run_*")
    context.close()


def test_a_page_loads_little_and_everything_from_its_own_server(base: str, browser: Browser) -> None:
    window = Watched(browser, base)
    loaded: list[Request] = []

    def finished(request: Request) -> None:  # a method of a list cannot be listened with
        loaded.append(request)

    window.page.on("requestfinished", finished)
    window.open("/artifacts").wait_for_load_state("networkidle")
    assert window.elsewhere == []
    assert 0 < sum(request.sizes()["responseBodySize"] for request in loaded) <= BUDGET
    window.close()


def test_pages_forbid_code_and_say_what_may_be_kept(base: str) -> None:
    answer = httpx.get(f"{base}/artifacts", headers={"HX-Request": "true"})
    assert "<html" not in answer.text
    assert 'id="list"' in answer.text
    assert answer.headers["cache-control"] == "no-cache"
    assert "HX-Request" in answer.headers["vary"]
    policy = answer.headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
    page = httpx.get(f"{base}/artifacts", headers={"Accept-Encoding": "identity"})
    (script,) = re.findall(r'src="([^"]*/app\.js)"', page.text)
    file = httpx.get(base + script)
    assert "immutable" in file.headers["cache-control"]
    assert file.headers["content-encoding"] in ("gzip", "zstd")


def test_a_file_of_another_version_is_told_of_with_what_to_do(base: str) -> None:
    told = httpx.get(f"{base}/static/older/none.css")
    assert (told.status_code, told.json()["code"]) == (404, "FT820")
    assert told.json()["hint"] == "load the page again: it names the files that there are"


def test_errors_are_pages_for_browsers_and_problems_for_programs(base: str) -> None:
    seen = httpx.get(f"{base}/artifacts/none", headers={"Accept": "text/html"})
    assert (seen.status_code, seen.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert "FT501" in seen.text
    assert httpx.get(f"{base}/nowhere", headers={"Accept": "text/html"}).status_code == 404
    told = httpx.get(f"{base}/artifacts/none")
    assert (told.status_code, told.json()["code"]) == (404, "FT501")


def test_pages_answer_head_and_say_what_else_they_allow(base: str) -> None:
    for path in ("/", "/artifacts", "/models/new"):
        refused = httpx.put(base + path)
        assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD")
        assert httpx.head(base + path).status_code == 200
    assert httpx.get(f"{base}/artifacts/none/run").headers["allow"] == "POST"


def test_the_keyboard_is_enough(base: str, watched: Callable[..., Watched]) -> None:
    page = watched(base).open("/")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="From a template")).to_be_focused()
    page.keyboard.press("Enter")
    page.wait_for_url("**/templates")
    page.get_by_role("link", name="Support desk").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Support desk")


def test_colours_can_be_chosen_and_stay(base: str, watched: Callable[..., Watched]) -> None:
    page = watched(base).open("/")
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.get_by_role("button", name="Dark").click()
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert dark != light
    page.reload()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == dark
    page.get_by_role("button", name="System").click()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == light


# -- artifacts ---------------------------------------------------------------------------------------------


def names(page: Page) -> list[str]:
    """The names of the artifacts in the list."""
    return page.locator("#list h3 a, #list tbody th a").all_inner_texts()


def test_the_list_follows_what_is_typed_and_back_takes_a_step_back(
    base: str, watched: Callable[..., Watched]
) -> None:
    page = watched(base).open("/artifacts")
    assert sorted(names(page)) == ["desk", "monday", "monday-back"]
    page.get_by_role("searchbox").press_sequentially("mond")
    expect(page.locator("#list li")).to_have_count(2)
    assert page.url == f"{base}/artifacts?q=mond"
    page.get_by_label("Runs").check(force=True)
    expect(page.locator("#list li")).to_have_count(1)
    assert page.url == f"{base}/artifacts?q=mond&kind=run"
    page.get_by_label("Table").check(force=True)
    expect(page.locator("#list tbody tr")).to_have_count(1)
    page.go_back()
    expect(page.locator("#list li")).to_have_count(1)
    page.go_back()
    expect(page.locator("#list li")).to_have_count(2)
    expect(page.get_by_role("searchbox")).to_have_value("mond")
    page.goto(f"{base}/artifacts?tag=peak,2025")
    assert names(page) == ["desk"]


@pytest.fixture
def own(tmp_path: Path) -> Flowtime:
    """A registry of the test's own, with a model and its run."""
    service = Flowtime(load({"artifacts": str(tmp_path / "artifacts")}))
    service.run(service.create_model("checkout", name="shop")["id"], name="tuesday")
    return service


def test_a_deletion_names_what_depends_on_it_and_can_be_undone(
    own: Flowtime, serve: Servers, watched: Callable[..., Watched]
) -> None:
    page = watched(serve()).open("/artifacts?kind=model")
    page.get_by_label("Select shop").check()
    page.get_by_role("button", name="Delete…").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Made from it: tuesday")
    dialog.get_by_role("button", name="Cancel").click()
    assert names(page) == ["shop"]
    # A picture that is still on its way would not be found any more.
    expect(page.locator("#list img")).to_have_js_property("complete", True)
    page.get_by_role("button", name="Delete…").click()
    dialog.get_by_role("button", name="Move to the trash").click()
    expect(page.locator("#list li")).to_have_count(0)
    assert own.trash()["total"] == 1
    page.get_by_role("button", name="Undo").click()
    expect(page.locator("#list li")).to_have_count(1)
    assert own.trash()["total"] == 0


def test_artifacts_are_starred_tagged_and_edited(
    own: Flowtime, serve: Servers, watched: Callable[..., Watched]
) -> None:
    window = watched(serve())
    page = window.open("/artifacts")
    page.get_by_role("button", name="Star shop").click()
    expect(page.get_by_role("button", name="Star shop")).to_have_attribute("aria-pressed", "true")
    for name in ("shop", "tuesday"):
        page.get_by_label(f"Select {name}").check()
    page.get_by_role("button", name="Tag…").click()
    page.get_by_label("Add").fill("winter, rush")
    page.get_by_role("button", name="Apply").click()
    expect(page.get_by_role("link", name="winter")).to_have_count(2)
    page.goto(f"{window.base}/artifacts?starred=true")
    assert names(page) == ["shop"]
    page.get_by_role("link", name="shop", exact=True).click()
    page.get_by_role("button", name="Edit…").click()
    page.get_by_label("Name", exact=True).first.fill("the shop")
    page.get_by_label("Visibility").select_option("public")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("the shop")
    shown = own.show(own.newest("model"))
    assert (shown["name"], shown["visibility"], shown["star"]) == ("the shop", "public", True)
    assert {"winter", "rush"} <= set(shown["tags"])


# -- the loop ----------------------------------------------------------------------------------------------


def steps(page: Page) -> dict[str, bool]:
    """Which steps of the loop bar are done."""
    return {
        str(step.get_attribute("data-step")): "done" in str(step.get_attribute("class"))
        for step in page.locator(".loop li").all()
    }


def test_the_loop_in_clicks(
    serve: Servers, flowtime: Command, watched: Callable[..., Watched], tmp_path: Path
) -> None:
    page = watched(serve()).open("/")
    page.get_by_role("link", name="From a template").click()
    page.get_by_role("link", name="Support desk").click()
    page.get_by_label("Name of the model").fill("desk")
    page.get_by_role("button", name="Create and run").click()

    dialog = page.get_by_role("dialog", name="The run is done.")
    expect(dialog).to_be_visible()
    assert [box.get_attribute("value") for box in dialog.locator("input:checked").all()] == ["gold"]
    assert steps(page) == {"model": True, "run": True, "export": False, "import": False, "verified": False}
    with page.expect_download() as coming:
        dialog.get_by_role("button", name="Export", exact=True).click()
    download: Download = coming.value
    file = tmp_path / download.suggested_filename
    download.save_as(file)
    expect(page.locator("#notices")).to_contain_text(file.name)

    run = page.url.rpartition("/")[2]
    assert file.name == f"{run}.csv"
    flowtime("export", "--run", run, "--format", "gold", "--out", "cli.csv")
    assert file.read_bytes() == (tmp_path / "cli.csv").read_bytes()

    page.locator("[data-step=import]").get_by_role("link").click()
    carried = page.evaluate_handle(
        "([name, text]) => { const it = new DataTransfer();"
        " it.items.add(new File([text], name)); return it; }",
        [file.name, file.read_text()],
    )
    page.dispatch_event("#drop", "drop", {"dataTransfer": carried})
    expect(page.get_by_text("comes back with the data")).to_be_visible()
    page.get_by_role("button", name="Import", exact=True).click()
    page.wait_for_url("**/artifacts/*")
    expect(page.locator("#notices")).to_contain_text("its model is back with it")
    assert steps(page) == dict.fromkeys(("model", "run", "export", "import", "verified"), True)
    telemetry = flowtime("show", page.url.rpartition("/")[2], "--json").json
    assert telemetry["data"]["digest"] == flowtime("show", run, "--json").json["data"]["digest"]


def test_the_page_of_a_replay_says_what_it_took_kept_and_compared(
    own: Flowtime, serve: Servers, watched: Callable[..., Watched], tmp_path: Path
) -> None:
    model = tmp_path / "small.yaml"
    nodes = "".join(f"  - {{id: {id}, kind: const, values: 4}}\n" for id in ("calls", "staff"))
    model.write_text(
        f"grid: {{bins: 2}}\nnodes:\n{nodes}  - {{id: done, kind: expr, expr: 'MIN(calls, staff)'}}\n"
    )
    rows = "".join(f"{bin},{name},value,{bin + 3}\n" for name in ("calls", "done", "rain") for bin in (0, 1))
    telemetry = own.import_data(io.BytesIO(f"time_bin,component_id,measure,value\n{rows}".encode()))
    run = own.run(str(model), telemetry=telemetry["id"])
    page = watched(serve()).open(f"/artifacts/{run['id']}")
    table = page.get_by_role("region", name="Replay")
    expect(table).to_be_visible()
    assert [" ".join(row.split()) for row in table.locator("tbody tr").all_inner_texts()] == [
        "Bound calls.value calls",
        "Kept staff.value staff the model's values",
        "Compared done.value equal",
        "Not used rain.value not in the model",
    ]


def test_the_loop_bar_says_exported_only_of_what_was(own: Flowtime, serve: Servers, tmp_path: Path) -> None:
    model = tmp_path / "small.yaml"
    model.write_text("grid: {bins: 2}\nnodes: [{id: calls, kind: const, values: 4}]\n")
    rows = "time_bin,component_id,measure,value\n0,calls,value,2\n1,calls,value,3\n"
    telemetry = own.import_data(io.BytesIO(rows.encode()))
    replay = own.run(str(model), telemetry=telemetry["id"])
    url = serve()

    def exported(id: str) -> bool:
        (step,) = re.findall(
            r'<li class="([^"]*)"[^>]*data-step="export"', httpx.get(f"{url}/artifacts/{id}").text
        )
        return "done" in step

    assert not exported(replay["id"])
    assert not exported(telemetry["id"])
    own.export(replay["id"], "gold", str(tmp_path / "replay.csv"))
    back = own.import_data(tmp_path / "replay.csv")
    assert exported(replay["id"])
    assert exported(back["id"])
    assert not exported(telemetry["id"])


def test_a_form_is_checked_while_it_is_filled_in(base: str, watched: Callable[..., Watched]) -> None:
    page = watched(base).open("/templates/support-desk")
    field = page.locator("#parameters input").first
    field.fill("-3")
    expect(page.locator("#parameters .wrong").first).to_contain_text("is allowed")
    expect(page.get_by_text("1 value cannot be used.")).to_be_visible()
    page.go_back()
    page.goto(f"{base}/templates/support-desk?scenario=outage")
    expect(page.locator("#parameters .badge").first).to_have_text("outage")


def test_a_verification_is_a_job_that_survives_a_reload(
    own: Flowtime, serve: Servers, watched: Callable[..., Watched]
) -> None:
    window = watched(serve())
    page = window.open(f"/artifacts/{own.newest('model')}")
    page.get_by_role("button", name="verify it").click()
    page.wait_for_url("**/jobs/*")
    page.reload()
    page.wait_for_url("**/artifacts/*", timeout=60_000)
    assert steps(page)["verified"]
    assert set(own.show(own.newest("model"))["loop"]) == {"gold", "ndjson", "parquet", "bundle"}
    page = window.open("/jobs")
    page.get_by_role("link", name="Verification of the loop").click()
    expect(page.get_by_text("The loop closes.")).to_be_visible()


def test_long_runs_can_be_cancelled(own: Flowtime, serve: Servers, watched: Callable[..., Watched]) -> None:
    model = own.publish_model(b"""
grid: {bins: 200, binSize: 1, binUnit: hours}
nodes:
  - {id: orders, kind: pmf, pmf: {"10": 0.5, "30": 0.5}, mode: sample}
  - {id: served, kind: expr, expr: "MIN(orders + SHIFT(waiting, 1), 21)"}
  - {id: waiting, kind: expr, expr: "orders + SHIFT(waiting, 1) - served"}
""")
    page = watched(serve()).open(f"/artifacts/{model['id']}")
    page.get_by_role("button", name="Run…").click()
    page.get_by_text("Chance").click()
    page.get_by_label("Seed").fill("7")
    page.get_by_label("Samples").fill("1000000")
    page.get_by_role("button", name="Run", exact=True).click()
    page.wait_for_url("**/jobs/*")
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("#job .badge")).to_have_text("cancelled", timeout=30_000)
    assert own.find(kinds=("run",))["total"] == 1


def test_a_scenario_is_run_from_the_page_of_its_model(
    own: Flowtime, serve: Servers, watched: Callable[..., Watched]
) -> None:
    model = own.create_model("support-desk", name="desk")
    page = watched(serve()).open(f"/artifacts/{model['id']}")
    page.get_by_role("button", name="Run…").click()
    page.get_by_label("Scenario").select_option("outage")
    page.get_by_role("button", name="Run", exact=True).click()
    page.wait_for_url("**/artifacts/desk_run_*")
    expect(page.get_by_text("scenario outage")).to_be_visible()
    run = own.show(own.newest("run"))
    assert own.show(run["model_id"])["provenance"]["scenario"] == "outage"


# -- import ------------------------------------------------------------------------------------------------


def test_every_wrong_row_is_listed_and_nothing_is_stored(
    serve: Servers, flowtime: Command, browser: Browser, tmp_path: Path
) -> None:
    rows = [f"2025-01-01T{h:02}:00:00Z,shop,orders,{'=x' if h % 5 == 0 else h}" for h in range(24)]
    (tmp_path / "bad.csv").write_text("time_bin,component_id,measure,value\n" + "\n".join(rows) + "\n")
    window = Watched(browser, serve())
    page = window.open("/import")
    page.set_input_files("#file", tmp_path / "bad.csv")
    expect(page.locator(".errors tbody tr")).to_have_count(5)
    expect(page.get_by_role("button", name="Import", exact=True)).to_be_disabled()
    with page.expect_download() as coming:
        page.get_by_role("link", name="Download as CSV").click()
    coming.value.save_as(tmp_path / "listed.csv")
    flowtime("import", "--data", "bad.csv", "--errors", "errors.csv", code=2)
    assert (tmp_path / "listed.csv").read_text() == (tmp_path / "errors.csv").read_text()
    assert flowtime("list", "--json", code=3).error["code"] == "FT513"
    assert [text for text in window.complaints if "422" not in text] == []
    window.close()


def test_a_lone_file_names_the_runs_that_it_may_be_of(
    own: Flowtime, serve: Servers, watched: Callable[..., Watched], tmp_path: Path
) -> None:
    runs = [own.newest("run"), own.run("shop", name="wednesday")["id"]]
    with (tmp_path / "lone.csv").open("wb") as file:
        own.export_to(runs[0], "gold", file)
    page = watched(serve()).open("/import")
    page.set_input_files("#file", tmp_path / "lone.csv")
    facts = page.locator("#result .facts")
    for run in runs:
        expect(facts.get_by_role("link", name=run)).to_be_visible()
    expect(facts).to_contain_text("comes back with the data")
    page.get_by_label("Run", exact=True).fill(runs[0])
    page.get_by_label("Run", exact=True).blur()
    expect(facts.get_by_role("link", name=runs[1])).to_have_count(0)
    page.get_by_role("button", name="Import", exact=True).click()
    page.wait_for_url("**/artifacts/*")
    assert [each["id"] for each in own.show(own.newest("telemetry"))["parents"]] == [runs[0]]


def test_other_programs_tables_are_read_as_the_form_says(
    serve: Servers, flowtime: Command, browser: Browser, tmp_path: Path
) -> None:
    (tmp_path / "wide.csv").write_text("time,orders\n2025-01-01T00:00Z,3\n2025-01-01T01:00Z,4.5\n")
    window = Watched(browser, serve())
    page = window.open("/import")
    page.set_input_files("#file", tmp_path / "wide.csv")
    expect(page.get_by_role("alert").filter(has_text="the columns are wrong")).to_be_visible()
    page.get_by_label("A column per measure (wide)").check()
    page.get_by_label("Component of the columns").fill("shop")
    page.get_by_label("Columns under other names").fill("time=time_bin")
    page.get_by_label("Columns under other names").blur()
    expect(page.get_by_text("2 bins of 1 hour, from 1 January 2025, 00:00 UTC (inferred)")).to_be_visible()
    assert page.locator("[aria-label='First rows'] td").all_inner_texts() == ["3", "4.5"]
    page.get_by_label("Tags").fill("outside")
    page.get_by_role("button", name="Import", exact=True).click()
    page.wait_for_url("**/artifacts/*")
    (item,) = flowtime("list", "--json").json["artifacts"]
    assert (item["name"], item["tags"]) == ("wide", ["outside"])
    window.close()


def test_an_upload_shows_its_progress_and_can_be_cancelled(
    serve: Servers, flowtime: Command, watched: Callable[..., Watched], tmp_path: Path
) -> None:
    big = tmp_path / "big.csv"
    big.write_bytes(
        b"time_bin,component_id,measure,value\n" + b"2025-01-01T00:00:00Z,shop,orders,1\n" * 600_000
    )
    window = watched(serve())
    page = window.open("/import")
    session = window.context.new_cdp_session(page)
    session.send("Network.enable")
    session.send(
        "Network.emulateNetworkConditions",
        {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 2_000_000},
    )
    page.set_input_files("#file", big)
    expect(page.locator("#progress-text")).to_contain_text("MB uploaded")
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_text("Cancelled; nothing was stored.")).to_be_visible()
    expect(page.locator("#progress")).to_be_hidden()
    assert flowtime("list", "--json", code=3).error["code"] == "FT513"


def test_a_model_is_written_and_checked_here(serve: Servers, flowtime: Command, browser: Browser) -> None:
    window = Watched(browser, serve())
    page = window.open("/models/new")
    expect(page.locator(".state")).to_have_text("Nothing to check yet.")
    page.get_by_role("button", name="Begin with an example").click()
    expect(page.locator(".state")).to_have_text("4 nodes, nothing wrong.")
    text = page.get_by_label("Text of the model")
    sound = text.input_value()
    text.fill(sound.replace("MIN(", "MNI("))
    expect(page.locator(".problems")).to_contain_text("MNI")
    page.get_by_role("button", name="Create").click()
    expect(page.get_by_role("button", name="Line 7")).to_be_focused()
    page.keyboard.press("Enter")
    expect(text).to_be_focused()
    assert flowtime("list", "--json", code=3).error["code"] == "FT513"
    text.fill(sound)
    page.get_by_label("Name").fill("mine")
    page.get_by_label("Tags").fill("peak, 2025")
    page.get_by_role("button", name="Create").click()
    page.wait_for_url("**/artifacts/*")
    expect(page.get_by_text("Created mine.")).to_be_visible()
    [item] = flowtime("list", "--json").json["artifacts"]
    assert (item["name"], sorted(item["tags"])) == ("mine", ["2025", "peak"])
    assert [text for text in window.complaints if "422" not in text] == []
    window.close()


# -- servers come and go -----------------------------------------------------------------------------------


def test_a_model_comes_from_a_file(
    serve: Servers, flowtime: Command, watched: Callable[..., Watched], tmp_path: Path
) -> None:
    (tmp_path / "queue.yaml").write_text("grid: {bins: 2}\nnodes: [{id: a, kind: const, values: 1}]\n")
    page = watched(serve()).open("/models/new")
    page.get_by_label("Pick a file").set_input_files(tmp_path / "queue.yaml")
    expect(page.locator(".state")).to_have_text("1 node, nothing wrong.")
    expect(page.get_by_label("Name")).to_have_value("queue")
    page.get_by_label("Text of the model").press("Control+s")
    page.wait_for_url("**/artifacts/queue_*")
    assert flowtime("show", "queue", "--json").json["kind"] == "model"


def test_a_page_says_when_the_server_is_away_and_when_it_is_back(
    own: Flowtime, serve: Servers, browser: Browser
) -> None:
    url = serve()
    port = url.rpartition(":")[2]
    window = Watched(browser, url)
    page = window.open("/artifacts")
    serve.stop(url)
    page.get_by_role("searchbox").press_sequentially("shop")
    expect(page.locator("#offline")).to_be_visible()
    serve("--port", port)
    expect(page.locator("#offline")).to_be_hidden(timeout=20_000)
    expect(page.locator("#list li")).to_have_count(2)
    expect(page.locator("#notices")).to_contain_text("answers again")
    window.close()


def test_behind_a_prefix_every_address_has_it(
    own: Flowtime, serve: Servers, watched: Callable[..., Watched]
) -> None:
    base = serve("--root-path", "/tools/flow")
    assert base.endswith("/tools/flow")
    window = watched(base)
    page = window.open("/")
    page.get_by_role("link", name="tuesday").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("tuesday")
    page.get_by_role("button", name="Star tuesday").click()
    page.get_by_role("link", name="Artifacts").first.click()
    page.get_by_role("searchbox").press_sequentially("tues")
    expect(page.locator("#list li")).to_have_count(1)
    assert page.url == f"{base}/artifacts?q=tues"
    window.open("/templates/checkout")
    page.get_by_role("button", name="Create", exact=True).click()
    page.wait_for_url("**/artifacts/*")
    time.sleep(0.2)
    assert [path for path in window.asked if not path.startswith("/tools/flow/")] == []
    assert own.show(own.newest("run"))["star"]


# -- who may do what ---------------------------------------------------------------------------------------


def test_people_log_in_with_a_token_and_see_what_they_may(
    own: Flowtime, serve: Servers, flowtime: Command, browser: Browser, tmp_path: Path
) -> None:
    tokens = {
        user: flowtime("token", "new", "--auth", "auth.toml", "--user", user, "--role", role, "--json").json[
            "token"
        ]
        for user, role in (("ada", "writer"), ("ben", "reader"))
    }
    own.edit(own.newest("model"), owner="ada", visibility="public")
    own.edit(own.newest("run"), owner="ada", visibility="private")
    base = serve("--auth", tmp_path / "auth.toml")
    window = Watched(browser, base)
    page = window.open("/artifacts?view=table")
    assert page.url.startswith(f"{base}/login?next=")
    assert window.violations() == []
    page.get_by_label("Token").fill("not a token")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert")).to_contain_text("Login needed")
    page.get_by_label("Token").fill(tokens["ada"])
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url(f"{base}/artifacts?view=table")
    assert sorted(names(page)) == ["shop", "tuesday"]
    assert page.locator("#list .seen").all_inner_texts() == ["private", "public"]
    page.get_by_role("button", name="Log out").click()

    page.get_by_label("Token").fill(tokens["ben"])
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("link", name="Artifacts", exact=True).click()
    assert names(page) == ["shop"]
    assert page.get_by_role("checkbox", name="Select shop").count() == 0
    page.get_by_role("link", name="shop", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("shop")
    assert [page.get_by_role("button", name=name).count() for name in ("Edit…", "Run…", "Delete shop")] == [
        0,
        0,
        0,
    ]
    assert page.goto(f"{base}/artifacts/{own.newest('run')}").status == 404
    window.close()
