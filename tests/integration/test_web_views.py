"""The pages that draw, in a real Chromium on a real server: runs, telemetry, models, comparisons."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import NoReturn

import httpx
import pytest
from playwright.sync_api import Dialog, Page, Request, expect
from tests.browser import AXE, THEMES, WIDTHS, Watched
from tests.commands import Command
from tests.servers import Servers

from flowtime.service import Flowtime
from flowtime.settings import load

pytestmark = pytest.mark.needs("chromium")

BINS = 3000
WIDE = 300


def chain() -> bytes:
    """A model of many nodes over many bins: node k is the bin's number plus k, and reads the one before."""
    first = {"id": "n0", "kind": "const", "values": list(range(BINS))}
    nodes = [first, *({"id": f"n{k}", "kind": "expr", "expr": f"n{k - 1} + 1"} for k in range(1, WIDE))]
    return json.dumps({"grid": {"bins": BINS, "binSize": 1, "binUnit": "minutes"}, "nodes": nodes}).encode()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Flowtime:
    """A registry with runs to look at and to compare; tests make only new models in it."""
    folder = tmp_path_factory.mktemp("views")
    service = Flowtime(load({"artifacts": str(folder / "artifacts")}))
    service.create_model("checkout", name="shop")
    service.run("shop", name="monday")
    service.derive_model("shop", settings=("payment_workers=12",), update=True)
    service.run("shop", name="friday", scenario="black-friday")
    file = folder / "monday.csv"
    service.export("monday", "gold", str(file))
    service.import_data(file, name="monday-back")
    service.import_data(file, name="bare", ignore_metadata=True)
    rows = file.read_text(encoding="utf-8").splitlines()
    part = [row.replace(",Auth,", ",Gate,") for row in rows if ",Web," in row or ",Auth,served" in row]
    other = folder / "part.csv"
    other.write_text("\n".join([rows[0], *part]) + "\n", encoding="utf-8")
    service.import_data(other, name="part")
    evening = [row for row in rows[1:] if row[10:16] >= "T18:00" and ",Web," in row]
    other.write_text("\n".join([rows[0], *evening]) + "\n", encoding="utf-8")
    service.import_data(other, name="evening")
    service.publish_model(chain(), name="chain")
    service.run("chain", name="long")
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


def name(page: Page) -> str:
    """What the slider says of the bin."""
    return page.get_by_role("slider", name="Bin").get_attribute("aria-valuetext") or ""


def drawn(page: Page) -> list[str]:
    """The series that are drawn, as the list beside the chart names them."""
    return page.locator(".drawn .button").evaluate_all(
        "all => all.map(one => one.getAttribute('aria-label').slice(5, -5))"
    )


def heats(page: Page) -> dict[str, int]:
    """How strongly each box of the graph is coloured."""
    expect(page.locator(".graph [data-heat]").first).to_be_attached()
    told = page.locator(".graph [data-heat]").evaluate_all(
        "all => all.map(one => [one.querySelector('.name').textContent, Number(one.dataset.heat)])"
    )
    return dict(told)


def refused(window: Watched) -> None:
    """The browser tells of the request that was refused; nothing else may be wrong."""
    assert [text for text in window.complaints if "422" not in text] == []
    window.complaints.clear()


# -- everything --------------------------------------------------------------------------------------------


MAIN = (
    ("/artifacts/monday?bin=100", ".panel canvas"),
    ("/artifacts/shop?before=1&after=2", ".graph .box"),
    ("/compare?a=monday&b=friday", ".graph [data-gap]"),
)
OTHERS = (
    ("/artifacts/monday?view=nodes&show=table", ".numbers tbody"),
    ("/artifacts/monday-back?node=Web", ".graph [aria-pressed=true]"),
    ("/artifacts/bare", ".panel canvas"),
    ("/artifacts/shop/edit", ".gutter span"),
    ("/compare", "artifact-picker"),
    ("/compare?a=monday&b=friday&show=table", ".numbers tbody"),
    ("/compare?a=shop@v1&b=shop@v2", ".turns"),
    ("/compare?a=shop&b=monday", ".notice.bad"),
    ("/compare?a=mondy", "artifact-picker .wrong"),
)
"""Pages, with what is there when they are complete."""


@pytest.mark.parametrize(("theme", "width"), list(product(THEMES, WIDTHS)))
def test_everybody_can_use_every_view(
    base: str, watched: Callable[..., Watched], unavailable: Callable[[str], NoReturn], theme: str, width: int
) -> None:
    if not AXE.exists():
        unavailable("axe-core is not installed: `make emulators`")
    window = watched(base, width, theme)
    # Each page is looked at in each theme and in each width, the main ones in all pairs of them.
    crossed = (theme == "light") != (width == max(WIDTHS))
    for path, ready in MAIN if crossed else (*MAIN, *OTHERS):
        window.open(path).locator(ready).first.wait_for(state="attached")
        assert (path, window.violations(), max(window.overflow(), 0)) == (path, [], 0)


# -- runs --------------------------------------------------------------------------------------------------


def test_graph_charts_and_slider_share_the_bin_that_the_address_holds(
    base: str, page: Callable[[str], Page]
) -> None:
    view = page("/artifacts/monday?bin=40")
    values = httpx.get(f"{base}/v1/runs/monday/series?measure=utilization").json()["series"]
    assert name(view) == "Mon, 6 Jan 2025, 03:20, bin 40 of 288"

    def coloured(bin: int) -> dict[str, int]:
        low = min(min(one["values"]) for one in values)
        high = max(max(one["values"]) for one in values)
        return {
            one["component"]: min(15, int((one["values"][bin] - low) / (high - low) * 16)) for one in values
        }

    expect(view.locator(".legend")).to_contain_text("utilization")
    assert heats(view) == coloured(40)
    view.get_by_role("slider", name="Bin").fill("100")
    expect(view).to_have_url(re.compile(r"bin=100\b"))
    assert heats(view) == coloured(100)
    shown = view.locator(".graph .box", has_text="Web").locator(".amount").text_content()
    (web,) = (one["values"][100] for one in values if one["component"] == "Web")
    assert float(shown or "") == pytest.approx(web, rel=1e-3)
    assert float(view.locator(".drawn .amount").first.text_content() or "") == pytest.approx(web, rel=1e-3)
    markers = view.locator(".marker").evaluate_all("all => all.map(one => one.style.transform)")
    view.get_by_role("slider", name="Bin").press("End")
    assert name(view).endswith("bin 287 of 288")
    assert markers != view.locator(".marker").evaluate_all("all => all.map(one => one.style.transform)")


def test_the_value_of_a_single_bin_is_drawn_and_told_of(
    serve: Servers, watched: Callable[..., Watched], tmp_path: Path
) -> None:
    made = Flowtime(load({"artifacts": str(tmp_path / "artifacts")}))
    grid = {"bins": 1, "binSize": 1, "binUnit": "hours", "start": "2026-01-01T00:00:00Z"}
    model = {"grid": grid, "nodes": [{"id": "visits", "kind": "const", "values": 5}]}
    made.publish_model(json.dumps(model).encode(), name="short")
    made.run("short", name="one")
    view = watched(serve()).open("/artifacts/one")
    expect(view.locator("body")).to_contain_text("Every value of the one bin.")
    # Of all that is drawn only the series has a colour of its own: text and lines are grey.
    coloured = view.locator(".panel canvas").evaluate(
        """canvas => {
             const all = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
             let many = 0;
             for (let i = 0; i < all.length; i += 4) {
               const [red, green, blue, alpha] = all.slice(i, i + 4);
               many += alpha > 128 && Math.max(red, green, blue) - Math.min(red, green, blue) > 64;
             }
             return many;
           }"""
    )
    assert coloured > 4


def test_the_slider_is_moved_by_keys(page: Callable[[str], Page]) -> None:
    view = page("/artifacts/monday?bin=100")
    slider = view.get_by_role("slider", name="Bin")
    for key, bin in (
        ("ArrowRight", 101), ("ArrowLeft", 100), ("PageUp", 112), ("PageDown", 100), ("Home", 0),
        ("End", 287),
    ):  # fmt: skip
        slider.press(key)
        assert name(view).endswith(f"bin {bin} of 288"), key


def test_a_pick_in_the_graph_draws_its_series_and_back_undoes_it(page: Callable[[str], Page]) -> None:
    view = page("/artifacts/monday?bin=7")
    expect(view.locator(".graph .box")).to_have_count(7)
    before = drawn(view)
    assert before == [f"{one}.utilization" for one in ("Web", "Auth", "Inventory", "Payment", "Orders")]
    view.locator(".graph .box", has_text="Orders").click()
    expect(view).to_have_url(re.compile("node=Orders"))
    orders = drawn(view)
    assert len(orders) == 10 and all(one.startswith("Orders.") for one in orders)
    view.locator(".graph .box", has_text="Completed").click(modifiers=["Shift"])
    assert drawn(view) == [*orders, "Completed.arrivals", "Completed.completion", "Completed.revenue"]
    view.get_by_role("slider", name="Bin").fill("9")
    expect(view).to_have_url(re.compile("bin=9&"))
    view.get_by_role("slider", name="Bin").fill("7")
    expect(view).to_have_url(re.compile("bin=7&"))
    shared = view.url
    view.go_back()
    assert drawn(view) == orders
    view.go_back()
    assert drawn(view) == before
    expect(view.locator(".graph [aria-pressed=true]")).to_have_count(0)
    assert name(view).endswith("bin 7 of 288")
    view.goto(shared)
    expect(view.locator(".drawn li")).to_have_count(13)
    expect(view.locator(".graph [aria-pressed=true]")).to_have_text(re.compile("Completed"))


def test_an_address_with_a_node_alone_draws_the_series_of_that_node(page: Callable[[str], Page]) -> None:
    view = page("/artifacts/monday?view=nodes&node=web_served")
    expect(view.locator(".drawn li")).to_have_count(1)
    assert drawn(view) == ["Web.served"]
    expect(view.locator(".said")).to_contain_text("MIN(web_capacity, web_offered)")
    view = page("/artifacts/monday?node=Completed")
    assert drawn(view) == ["Completed.arrivals", "Completed.completion", "Completed.revenue"]


def test_arrow_keys_follow_the_edges_of_the_graph(page: Callable[[str], Page]) -> None:
    view = page("/artifacts/monday")
    view.locator(".graph .box").first.focus()
    seen = []
    for key in ("ArrowRight", "ArrowRight", "ArrowRight", "ArrowDown", "ArrowLeft", "ArrowLeft", "Home"):
        view.keyboard.press(key)
        seen.append(view.evaluate("document.activeElement.querySelector('.name').textContent"))
    assert seen == ["Web", "Auth", "Inventory", "Payment", "Orders", "Completed", "Customers"]
    assert view.locator(".graph [tabindex='0']").count() == 1
    view.keyboard.press("Enter")
    expect(view).to_have_url(re.compile("node=Customers"))


def test_the_table_has_the_values_as_they_are_kept(base: str, page: Callable[[str], Page]) -> None:
    view = page("/artifacts/monday?bin=120&show=table&series=Web.latency_ms&series=Orders.served")
    expect(view.locator(".numbers tbody tr")).to_have_count(50)
    query = "component=Web&component=Orders&measure=latency_ms&measure=served&from=100&to=150"
    exact = httpx.get(f"{base}/v1/runs/monday/series?{query}").json()
    (web,) = (
        one["values"]
        for one in exact["series"]
        if (one["component"], one["measure"]) == ("Web", "latency_ms")
    )
    cells = view.locator(".numbers tbody tr td:nth-child(3)").all_text_contents()
    assert [float(cell) for cell in cells] == web
    assert view.locator(".numbers tr[aria-current=true] th").text_content() == "120"
    view.get_by_role("button", name="Later").click()
    expect(view.locator(".numbers tbody th").first).to_have_text("150")
    assert view.evaluate("document.activeElement.textContent") == "Later"
    table = httpx.get(
        base + (view.get_by_role("link", name="CSV", exact=True).get_attribute("href") or "")
    ).text
    rows = list(csv.DictReader(io.StringIO(table)))
    assert len(rows) == 288
    assert [float(row["Web.latency_ms"]) for row in rows[100:150]] == web
    assert rows[100]["time_bin"] == "2025-01-06T08:20:00Z"
    twin = httpx.get(
        base + (view.get_by_role("link", name="JSON", exact=True).get_attribute("href") or "")
    ).json()
    assert [one["component"] for one in twin["series"]] == ["Web", "Orders"]


def test_what_is_reduced_is_said_and_zoom_shows_every_value(page: Callable[[str], Page]) -> None:
    view = page("/artifacts/long?series=n0.value&bin=1500")
    expect(view.locator(".told")).to_have_text(
        re.compile(r"Showing the minimum and maximum of each [0-9]+ or [0-9]+ bins, of all 3,000 bins\.")
    )
    over = view.locator(".u-over").bounding_box()
    assert over is not None
    view.mouse.move(over["x"] + over["width"] * 0.5, over["y"] + 50)
    view.mouse.down()
    view.mouse.move(over["x"] + over["width"] * 0.6, over["y"] + 50, steps=4)
    view.mouse.up()
    expect(view.locator(".told")).to_have_text(
        re.compile(r"Every value of bins 1[45]\d\d to 1[78]\d\d of 3000\.")
    )
    assert name(view).endswith("bin 1,500 of 3,000")
    view.get_by_role("button", name="All bins").click()
    expect(view.locator(".told")).to_contain_text("all 3,000 bins")
    view.go_back()
    expect(view.locator(".told")).to_contain_text("Every value")


def test_hundreds_of_series_are_searched_and_at_most_fifty_drawn(
    base: str, watched: Callable[..., Watched]
) -> None:
    many = "&".join(f"series=n{k}.value" for k in range(53))
    window = watched(base)
    view = window.open(f"/artifacts/long?{many}")
    expect(view.locator(".choice h3 span").first).to_have_text("the first 50 of 53")
    expect(view.locator(".drawn li")).to_have_count(50)
    expect(view.locator(".found li")).to_have_count(100)
    expect(view.locator(".more")).to_have_text("200 more; search to narrow them down")
    view.get_by_label("300 series").fill("n29")
    expect(view.locator(".found li")).to_have_count(11)
    assert view.locator(".found input:enabled:not(:checked)").count() == 0
    for _ in range(4):
        view.locator(".drawn .button").last.click()
    view.get_by_label("300 series").fill("n299")
    view.get_by_role("checkbox", name="n299.value").check()
    expect(view.locator(".drawn li").last).to_contain_text("n299")
    expect(view.locator(".drawn li")).to_have_count(50)


def test_a_large_graph_is_searched_and_shown_in_parts(page: Callable[[str], Page]) -> None:
    view = page("/artifacts/long?bin=20")
    expect(view.locator(".graph .box")).to_have_count(WIDE)
    view.get_by_label("Find in the graph").fill("n150")
    expect(view.locator(".said")).to_have_text("1 node found")
    view.get_by_label("Find in the graph").press("Enter")
    assert view.evaluate("document.activeElement.getAttribute('aria-label')").startswith("n150")
    view.keyboard.press("Enter")
    view.locator("select[name=depth]").select_option("2 steps around")
    expect(view.locator(".graph .box")).to_have_count(5)
    expect(view.locator(".graph .box[aria-pressed=true]")).to_contain_text("n150")
    expect(view.locator(".graph .box[aria-pressed=true] .amount")).to_have_text("170")
    view.locator(".graph .box", has_text="n152").click()
    expect(view.locator(".graph .box", has_text="n154")).to_have_count(1)
    view.go_back()
    expect(view.locator(".graph .box", has_text="n148")).to_have_count(1)
    view.locator("select[name=depth]").select_option("all of it")
    expect(view.locator(".graph .box")).to_have_count(WIDE)


def test_a_page_asks_for_what_it_shows_and_nothing_else(base: str, watched: Callable[..., Watched]) -> None:
    window = watched(base)
    bodies: list[int] = []

    def finished(request: Request) -> None:
        if "/series" in request.url:
            bodies.append(request.sizes()["responseBodySize"])

    window.page.on("requestfinished", finished)
    view = window.open("/artifacts/long?series=n5.value&bin=2999")
    expect(view.locator(".panel")).to_have_count(1)
    view.wait_for_load_state("networkidle")
    # 300 series of 3,000 bins are 3.6 MB as single-precision numbers; the stretch around the bin is half.
    assert 0 < sum(bodies) < 2_500_000


@pytest.mark.parametrize("query", ["", "?view=nodes", "?node=Web&depth=1"])
def test_the_graph_is_asked_for_with_the_page_and_once(
    query: str, base: str, watched: Callable[..., Watched]
) -> None:
    window = watched(base)
    view = window.open(f"/artifacts/monday{query}")
    expect(view.locator(".graph .box").first).to_be_visible()
    view.wait_for_load_state("networkidle")
    paths = [path.rpartition("/")[2] for path in window.asked]
    assert paths.count("graph") == 1
    if "depth" not in query:
        assert paths.index("graph") < paths.index("icons.svg")


def test_telemetry_without_a_model_has_charts_and_no_graph(page: Callable[[str], Page]) -> None:
    view = page("/artifacts/bare?bin=3")
    expect(view.locator(".panel")).to_have_count(1)
    expect(view.locator(".view-graph")).to_have_count(0)
    expect(view.locator(".drawn .amount").first).not_to_be_empty()


def test_charts_have_names_and_follow_the_theme(base: str, watched: Callable[..., Watched]) -> None:
    view = watched(base).open("/artifacts/monday?series=Web.served&series=Web.utilization")
    charts = view.get_by_role("img", name="Line chart of")
    expect(charts).to_have_count(2)
    assert charts.first.get_attribute("aria-label") == (
        "Line chart of Web.served in checkouts/bin, 288 bins from Mon, 6 Jan 2025, 00:00."
        " The table has the same numbers."
    )

    def picture() -> str:
        return view.locator(".panel canvas").first.evaluate("one => one.toDataURL()")

    light = picture()
    view.get_by_role("button", name="Dark").click()
    expect(view.locator(".panel canvas")).to_have_count(2)
    view.wait_for_function("was => document.querySelector('.panel canvas')?.toDataURL() !== was", arg=light)


# -- models ------------------------------------------------------------------------------------------------


def test_a_formula_leads_to_the_nodes_that_it_reads(page: Callable[[str], Page]) -> None:
    view = page("/artifacts/shop")
    node = view.locator("#node-web_retries")
    assert node.locator("code").text_content() == "retry_share * CONV(web_errors, [0, 0.7, 0.2, 0.1])"
    node.get_by_role("link", name="web_errors").click()
    expect(view).to_have_url(re.compile("#node-web_errors$"))
    expect(view.locator("#node-web_errors")).to_be_focused()
    expect(view.locator("#node-web_errors")).to_contain_text("Read by web_retries")
    chart = view.get_by_role("img", name="Distribution of checkouts_per_day")
    assert chart.get_attribute("aria-label") == (
        "Distribution of checkouts_per_day: 60,000 with 0.25, 80,000 with 0.5, 120,000 with 0.25; mean 85,000"
    )
    heights = chart.locator("rect").evaluate_all("all => all.map(one => Number(one.getAttribute('height')))")
    assert heights == [22, 44, 22]


def test_a_component_shows_its_nodes_and_the_filter_finds_them(page: Callable[[str], Page]) -> None:
    view = page("/artifacts/shop")
    view.locator(".graph .box", has_text="Completed").click()
    expect(view.locator(".nodes li:visible h3")).to_have_text(["completed", "completion", "revenue"])
    view.locator(".graph .box", has_text="Completed").click()
    expect(view.locator(".nodes li:visible")).to_have_count(59)
    view.get_by_label("Filter the nodes").fill("payment ms")
    expect(view.locator(".nodes li:visible h3")).to_have_text(["payment_latency_ms"])
    view.get_by_role("button", name="Nodes").click()
    expect(view.locator(".graph .box")).to_have_count(59)
    view.locator(".graph .box", has_text="orders_served").click()
    expect(view.locator("#node-orders_served")).to_be_focused()


def test_versions_say_what_changed_between_them(page: Callable[[str], Page]) -> None:
    view = page("/artifacts/shop")
    view.get_by_role("link", name="what changed").click()
    changes = view.locator("#changes")
    expect(changes.locator("h2")).to_have_text("What changed from v1 to v2")
    expect(changes.locator("h3")).to_have_text(["Parameters"])
    expect(changes.locator("del").first).to_have_text("8")
    expect(changes.locator("ins").first).to_have_text("12")
    view.get_by_role("link", name="v1", exact=True).click()
    expect(view.locator("#set-payment_workers")).to_have_value("8")


def test_a_list_of_numbers_is_seen_whole_among_the_parameters(page: Callable[[str], Page]) -> None:
    field = page("/artifacts/shop").get_by_label("daily_checkouts")
    assert field.evaluate("each => each.scrollWidth <= each.clientWidth")


def test_changed_parameters_derive_a_model(
    made: Flowtime, base: str, watched: Callable[..., Watched]
) -> None:
    window = watched(base)
    view = window.open("/artifacts/shop")
    expect(view.get_by_role("button", name="Derive")).to_be_disabled()
    view.locator("#set-web_workers").fill("none")
    view.locator("#set-basket_value").fill("80")
    view.get_by_role("button", name="Derive with 2 changes").click()
    expect(view.locator(".derive .wrong")).to_contain_text("web_workers")
    view.locator("#set-web_workers").fill("9")
    view.get_by_label("Name of the derived model").fill("shop-9")
    view.get_by_role("button", name="Derive with 2 changes").click()
    expect(view.locator("h1")).to_contain_text("shop-9")
    parameters = made.show("shop-9")["provenance"]["parameters"]
    assert (parameters["web_workers"], parameters["basket_value"]) == (9, 80)
    refused(window)


# -- editor ------------------------------------------------------------------------------------------------


def test_problems_stand_at_their_lines_while_typing(
    made: Flowtime, base: str, watched: Callable[..., Watched]
) -> None:
    text = "grid: {bins: 4}\nnodes:\n  - {id: a, kind: const, values: 1}\n"
    id = made.publish_model(text.encode(), name="sheet")["id"]
    window = watched(base)
    view = window.open(f"/artifacts/{id}/edit")
    area = view.get_by_label("Text of the model")
    expect(view.locator(".state")).to_have_text("Not changed; 1 node, nothing wrong.")
    area.press("Control+End")
    area.press_sequentially('  - {id: b, kind: expr, expr: "a + c"}')
    expect(view.locator(".state")).to_have_text("1 problem to solve.")
    expect(view.locator(".gutter .bad")).to_have_text("4")
    expect(view.locator(".remarks")).to_contain_text('unknown series "c"')
    expect(area).to_have_attribute("aria-invalid", "true")
    view.get_by_role("button", name="Save as version 2").click()
    expect(view.get_by_role("button", name="Line 4")).to_be_focused()
    view.keyboard.press("Enter")
    expect(area).to_be_focused()
    at = area.evaluate("one => one.value.slice(one.selectionStart, one.selectionStart + 1)")
    assert at == "c"
    area.press("Delete")
    area.press_sequentially("a")
    expect(view.locator(".state")).to_have_text("Changed; 2 nodes, nothing wrong.")
    area.press("Control+s")
    expect(view.locator("h1")).to_contain_text("sheet")
    assert made.versions("sheet") == [1, 2]
    assert 'expr: "a + a"' in made.model_text("sheet")
    refused(window)


def test_tab_indents_and_does_not_trap_the_keyboard(made: Flowtime, page: Callable[[str], Page]) -> None:
    view = page("/artifacts/chain/edit")
    area = view.get_by_label("Text of the model")
    area.focus()
    area.press("Control+Home")
    area.press("Tab")
    assert area.input_value().startswith("  {")
    area.press("Shift+Tab")
    assert area.input_value().startswith("{")
    expect(area).to_be_focused()
    area.press("Escape")
    area.press("Tab")
    expect(view.get_by_role("button", name="Save as version 2")).to_be_focused()


def test_changes_are_not_lost_without_a_question(page: Callable[[str], Page]) -> None:
    view = page("/artifacts/chain/edit")
    area = view.get_by_label("Text of the model")
    asked: list[str] = []

    def answer(dialog: Dialog) -> None:
        asked.append(dialog.type)
        dialog.dismiss()

    view.on("dialog", answer)
    area.focus()
    area.press_sequentially(" ")
    view.evaluate("location.assign('/artifacts')")
    view.wait_for_timeout(300)
    assert asked == ["beforeunload"]
    assert "/edit" in view.url
    area.press("Backspace")
    view.evaluate("location.assign('/artifacts')")
    expect(view).to_have_url(re.compile("/artifacts$"))
    assert asked == ["beforeunload"]


def test_a_version_that_was_saved_meanwhile_is_told_before_another_is(
    made: Flowtime, base: str, watched: Callable[..., Watched]
) -> None:
    text = "grid: {{bins: 4}}\nnodes:\n  - {{id: a, kind: const, values: {}}}\n"
    id = made.publish_model(text.format(1).encode(), name="shared-sheet")["id"]
    view = watched(base).open(f"/artifacts/{id}/edit")
    area = view.get_by_label("Text of the model")
    made.publish_model(text.format(2).encode(), update=id)
    area.fill(text.format(3))
    view.get_by_role("button", name="Save as version 2").click()
    told = view.get_by_role("alert").filter(has_text="Version 2 was saved meanwhile")
    expect(told).to_contain_text("what is here becomes version 3")
    assert made.versions(id) == [1, 2]
    expect(area).to_have_value(text.format(3))
    with view.expect_popup() as opened:
        told.get_by_role("link", name="what changed").click()
    expect(opened.value.locator("#changes")).to_contain_text("What changed from v1 to v2")
    view.get_by_role("button", name="Save as version 3").click()
    expect(view.get_by_text("Saved as version 3.")).to_be_visible()
    assert [made.model_text(f"{id}@v{version}") for version in (2, 3)] == [text.format(2), text.format(3)]
    older = watched(base).open(f"/artifacts/{id}@v1/edit")
    expect(older.get_by_text("This is version 1; the newest is version 3.")).to_be_visible()
    older.get_by_label("Text of the model").fill(f"# the same\n{text.format(3)}")
    older.get_by_role("button", name="Save as version 4").click()
    expect(older.get_by_text("Nothing was saved: version 3 is the same, comments aside.")).to_be_visible()


def test_a_reader_sees_a_model_and_its_text_and_changes_nothing(
    serve: Servers, flowtime: Command, watched: Callable[..., Watched], tmp_path: Path
) -> None:
    made = Flowtime(load({"artifacts": str(tmp_path / "artifacts")}))
    made.create_model("checkout", name="open", owner="ada", visibility="public")
    made.create_model("checkout", name="hidden", owner="ada", visibility="private", params={"web_workers": 7})
    made.run("hidden", name="secret", owner="ada", visibility="private")
    words = ("token", "new", "--auth", "auth.toml", "--user", "ben", "--role", "reader", "--json")
    token = flowtime(*words).json["token"]
    window = watched(serve("--auth", tmp_path / "auth.toml", "--root-path", "/tools"))
    view = window.open("/artifacts/open")
    view.get_by_label("Token").fill(token)
    view.get_by_role("button", name="Log in").click()
    expect(view.locator(".graph .box")).to_have_count(7)
    expect(view.get_by_role("button", name="Derive")).to_have_count(0)
    view.get_by_role("link", name="The text").click()
    expect(view.get_by_label("Text of the model")).to_have_attribute("readonly", "")
    expect(view.locator(".state")).to_have_text("Not changed; 59 nodes, nothing wrong.")
    expect(view.get_by_role("button", name="Save as version 2")).to_be_disabled()
    window.open("/compare?a=open&b=hidden")
    expect(view.get_by_role("alert")).to_contain_text("hidden")
    expect(view.locator(".differences")).to_have_count(0)
    view.get_by_role("combobox", name="Comparison").fill("o")
    expect(view.get_by_role("option")).to_have_count(1)
    assert view.request.get(f"{window.base}/artifacts/secret/series.csv").status == 404
    view = window.open("/compare?a=open&b=open")
    expect(view.locator(".pair")).to_be_visible()
    assert [path for path in window.asked if not path.startswith("/tools/")] == []


# -- comparisons -------------------------------------------------------------------------------------------


def test_two_runs_are_chosen_by_search_and_laid_over_each_other(
    base: str, made: Flowtime, page: Callable[[str], Page]
) -> None:
    view = page("/compare")
    for label, word in (("Baseline", "mon"), ("Comparison", "fri")):
        field = view.get_by_role("combobox", name=label)
        field.fill(word)
        option = view.get_by_role("option", name=re.compile("^monday ?run" if word == "mon" else "^friday"))
        expect(option).to_be_visible()
        while option.get_attribute("aria-selected") != "true":
            field.press("ArrowDown")
        with view.expect_navigation():
            field.press("Enter")
    compared = made.compare("monday", "friday")
    differing = [one for one in compared["series"] if not one["equal"]]
    expect(view.locator("#table-title")).to_have_text(f"59 series, {len(differing)} of them different")
    view.get_by_label("Filter the series").fill("web utilization")
    row = view.locator(".table.plain tbody tr:visible")
    expect(row).to_have_count(1)
    (web,) = (one for one in differing if (one["component"], one["measure"]) == ("Web", "utilization"))
    cells = [cell.replace(",", "") for cell in row.locator("td").all_text_contents()]
    assert cells.pop(3) == f"{100 * web['change_of_mean']:+.3g}%"
    keys = ("mean_baseline", "mean_comparison", "mean_difference", "max_difference", "rmse")
    assert [float(cell) for cell in cells[:5]] == pytest.approx([web[key] for key in keys], rel=1e-5)
    assert cells[5] == f"{100 * web['mean_deviation']:.3g}%"
    row.get_by_role("button").click()
    expect(view).to_have_url(re.compile(r"series=Web\.utilization"))
    expect(view.get_by_role("img", name="Line chart of")).to_have_count(2)
    box = view.locator(".graph .box", has_text="Web")
    expect(box).to_have_attribute("data-gap", "15")
    expect(box.locator(".amount")).to_have_text("+103%")
    view.go_back()
    expect(view.locator("#overlay-title")).not_to_have_text("Web.utilization")


def test_the_first_bin_that_differs_is_a_link_to_it(
    base: str, made: Flowtime, page: Callable[[str], Page]
) -> None:
    (row,) = (
        one
        for one in made.compare("monday", "friday")["series"]
        if (one["component"], one["measure"]) == ("Web", "backlog")
    )
    view = page("/compare?a=monday&b=friday&series=Web.arrivals")
    view.locator("tr[data-series='Web.backlog']").get_by_role("link").click()
    expect(view.locator("#overlay-title")).to_have_text("Web.backlog")
    exact = httpx.get(
        f"{base}/v1/compare/series?baseline=monday&comparison=friday&component=Web&measure=backlog"
    ).json()["series"]
    assert exact[1]["values"][row["first_bin"]] == row["first_comparison"]
    expect(view.locator(".key output").nth(1)).to_have_text(f"{row['first_comparison']:.4g}")
    table = httpx.get(
        base
        + (
            view.locator(".overlay, .view-series")
            .get_by_role("link", name="CSV", exact=True)
            .get_attribute("href")
            or ""
        )
    )
    rows = list(csv.DictReader(io.StringIO(table.text)))
    assert [float(one["difference"]) for one in rows] == exact[2]["values"]


def test_the_graph_of_a_comparison_shows_the_means_or_follows_the_bin(
    made: Flowtime, page: Callable[[str], Page]
) -> None:
    sides = [made.series(name, components=["Web"], measures=["backlog"]) for name in ("monday", "friday")]
    monday, friday = (side.to_json()["series"][0]["values"] for side in sides)
    bin = max(range(len(monday)), key=lambda at: abs(friday[at] - monday[at]))
    view = page("/compare?a=monday&b=friday&series=Web.backlog")
    view.get_by_label("Colour by difference of").select_option("backlog")
    box = view.locator(".graph .box", has_text="Web")
    expect(view.get_by_role("button", name="Means")).to_have_attribute("aria-pressed", "true")
    expect(box.locator(".amount")).to_have_text(re.compile("%|from 0"))
    slider = view.get_by_role("slider", name="Bin")
    slider.fill(str(bin))
    expect(view.get_by_role("button", name="Bin", exact=True)).to_have_attribute("aria-pressed", "true")
    expect(box.locator(".amount")).to_have_text(f"{friday[bin] - monday[bin]:+,.4g}")
    expect(box).to_have_attribute("data-gap", "15")
    expect(view.locator(".key output").nth(2)).to_have_text(f"{friday[bin] - monday[bin]:,.4g}")
    expect(view).to_have_url(re.compile(rf"bin={bin}\b"))
    view.reload()
    expect(box.locator(".amount")).to_have_text(f"{friday[bin] - monday[bin]:+,.4g}")
    slider.press("Home")
    expect(box.locator(".amount")).to_have_text(re.compile("^[+-]?[0-9.,]+$"))
    view.get_by_role("button", name="Means").click()
    expect(box.locator(".amount")).to_have_text(re.compile("%|from 0"))
    expect(view).not_to_have_url(re.compile("bin="))


SIDES = """
grid: {{bins: 4}}
nodes:
  - {{id: moved, kind: const, values: [{moved}], unit: {unit}}}
  - {{id: little, kind: const, values: {little}}}
  - {{id: none, kind: const, values: 0}}
  - {{id: new, kind: const, values: {new}}}
  - {{id: risen, kind: const, values: {risen}}}
  - {{id: partly, kind: expr, expr: "SQRT(moved - {least})"}}
"""


def test_a_change_is_that_of_the_mean_and_small_ones_are_pale(
    made: Flowtime, base: str, page: Callable[[str], Page]
) -> None:
    sides: dict[str, dict[str, object]] = {
        "before": {
            "moved": "0.1, 0.2, 0.3, 0.7",
            "unit": "ms",
            "little": 100,
            "new": 0,
            "risen": 1,
            "least": 0,
        },
        "after": {
            "moved": "0.7, 0.3, 0.2, 0.1",
            "unit": "s",
            "little": 101,
            "new": 5,
            "risen": 406,
            "least": 0.15,
        },
    }
    for name, values in sides.items():
        made.publish_model(SIDES.format(**values).encode(), name=name)
        made.run(name, name=name)
    entries = {one["component"]: one for one in made.compare("before", "after")["series"]}
    assert entries["moved"]["mean_deviation"] > 0.5
    view = page("/compare?a=before&b=after&series=risen.value")
    amounts = {
        name: view.locator(".graph .box", has_text=re.compile(f"^{name}")).locator(".amount")
        for name in entries
    }
    expect(amounts["moved"]).to_have_text("other unit")
    expect(amounts["none"]).to_have_text("same")
    expect(amounts["new"]).to_have_text("+5 from 0")
    expect(amounts["little"]).to_have_text("+1%")
    expect(view.locator(".graph .box", has_text=re.compile("^little"))).to_have_attribute("data-gap", "8")
    expect(view.locator("tr[data-series='risen.value'] .spark-text")).to_have_text("████")
    change = view.locator("tr[data-series='new.value'] td").nth(3)
    expect(change).to_have_text("from 0")
    expect(view.locator(".figures")).to_contain_text("the mean of |difference| / the mean of |baseline|")
    noted = view.get_by_role("region", name="Not the same bins or units")
    expect(noted).to_contain_text("moved.value: the baseline counts ms, the comparison s")
    expect(noted).to_contain_text("partly.value: both have a value in 3 bins, the baseline alone in 1")
    rows = list(csv.DictReader(io.StringIO(httpx.get(f"{base}/compare.csv?a=before&b=after").text)))
    told = {row["component"]: row for row in rows}
    assert (told["little"]["change_of_mean"], told["new"]["change_of_mean"]) == ("0.01", "")
    assert told["partly"]["bins_only_in_baseline"] == "1"


def test_a_change_of_one_percent_is_never_the_darkest(made: Flowtime, page: Callable[[str], Page]) -> None:
    for name, value in (("flat", 100), ("flatter", 101)):
        text = (
            f"grid: {{bins: 3}}\nnodes: [{{id: a, kind: const, values: [{value}, {value}, {value - 1}]}}]\n"
        )
        made.publish_model(text.encode(), name=name)
        made.run(name, name=name)
    view = page("/compare?a=flat&b=flatter")
    box = view.locator(".graph .box")
    expect(box).to_have_attribute("data-gap", "8")
    expect(box.locator(".amount")).to_have_text("+1%")
    view.get_by_role("slider", name="Bin").fill("1")
    expect(box.locator(".amount")).to_have_text("+1")
    expect(box).to_have_attribute("data-gap", "8")
    assert heats(page("/artifacts/flat")) == {"a": 1}


def test_a_bin_in_the_address_counts_from_the_beginning_of_the_baseline(page: Callable[[str], Page]) -> None:
    view = page("/compare?a=monday&b=evening&bin=287")
    expect(view.locator(".scrubber output")).to_contain_text("23:55")
    assert "&bin=287" in view.url


def test_what_only_one_side_has_is_listed(page: Callable[[str], Page]) -> None:
    view = page("/compare?a=monday&b=part")
    expect(view.locator("#table-title")).to_have_text("10 series, 0 of them different")
    only = view.get_by_role("region", name="Only in the comparison")
    expect(only.get_by_role("listitem")).to_have_text(["Gate.served"])
    expect(view.get_by_role("region", name="Only in the baseline")).to_contain_text("49 series")


def test_what_cannot_be_compared_is_said_with_the_reason(page: Callable[[str], Page]) -> None:
    view = page("/compare?a=long&b=monday")
    expect(view.get_by_role("alert")).to_contain_text("the two cannot be compared")
    expect(view.get_by_role("combobox", name="Baseline")).to_have_value("long")
    view.get_by_role("link", name="Swap the two").click()
    expect(view).to_have_url(re.compile("a=monday&b=long"))


def test_a_side_that_is_not_there_is_told_of_at_its_field(page: Callable[[str], Page]) -> None:
    for address, at in (("a=mondy", 0), ("b=mondy", 1), ("a=mondy&b=friday", 0), ("a=friday&b=mondy", 1)):
        view = page(f"/compare?{address}")
        side = view.locator("artifact-picker").nth(at)
        expect(side.get_by_role("alert")).to_have_text('no artifact "mondy"; did you mean "monday"? FT501')
        expect(view.get_by_role("alert")).to_have_count(1)
        other = view.locator("artifact-picker").nth(1 - at)
        expect(other).to_contain_text("friday" if "friday" in address else "Nothing chosen yet.")
    view = page("/compare?a=mondy&b=fridy")
    expect(view.get_by_role("alert")).to_have_count(2)
    view.get_by_role("combobox", name="Baseline").fill("mond")
    view.get_by_role("option", name="monday").first.click()
    expect(view).to_have_url(re.compile("a=monday"))
    expect(view.get_by_role("alert")).to_have_count(1)


def test_two_models_are_compared_node_by_node(made: Flowtime, page: Callable[[str], Page]) -> None:
    view = page("/compare?a=shop@v1&b=shop@v2")
    expect(view.locator(".differences section").last).to_contain_text("payment_workers")
    expect(view.locator(".differences section").last.locator("del")).to_have_text("8")
    other = page("/compare?a=shop@v1&b=chain")
    node = made.graph("chain", nodes=True)["nodes"][-1]
    added = other.locator(".differences .added", has_text=re.compile(rf"\b{node['id']}\b")).first
    expect(added.locator("ins")).to_have_text(node["formula"])
    expect(added.locator("h3")).to_contain_text("expr")
