"""Charts in browsers whose language is none, and faults of scripts that are not the server's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import expect
from tests.browser import Watched
from tests.servers import Servers
from tests.worlds import make_world

pytestmark = pytest.mark.needs("chromium")


def test_a_chart_is_drawn_in_an_odd_locale(
    serve: Servers, watched: Callable[..., Watched], tmp_path: Path
) -> None:
    make_world(tmp_path)
    window = watched(serve())
    window.page.add_init_script(
        "Object.defineProperty(navigator, 'language', {get: () => 'en-US@posix', configurable: true})"
    )
    page = window.open("/artifacts/monday")
    expect(page.locator(".uplot").first).to_be_visible()
    expect(page.locator("#offline")).to_be_hidden()


def test_a_fault_of_a_script_is_no_absent_server(
    serve: Servers, watched: Callable[..., Watched], tmp_path: Path
) -> None:
    page = watched(serve()).open("/")
    source = page.locator("script[type=module][src*='app.js']").first.get_attribute("src") or ""
    page.evaluate("async (url) => (await import(url)).complain(new TypeError('x is not a function'))", source)
    expect(page.locator("#notices")).to_contain_text("x is not a function")
    expect(page.locator("#offline")).to_be_hidden()
