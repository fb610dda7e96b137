"""A real browser for tests of pages: what it asks for and complains of is kept, axe-core looks at pages."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Page, sync_playwright

CHROMIUM = shutil.which("chromium")
AXE = Path(__file__).parent / "emulators" / "node_modules" / "axe-core" / "axe.min.js"
OPTIONS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
WIDTHS = (1280, 390)
THEMES = ("light", "dark")


@cache
def _axe() -> str:
    return AXE.read_text(encoding="utf-8")


@contextmanager
def chromium() -> Iterator[Browser]:
    """A headless Chromium."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(OPTIONS))
        try:
            yield browser
        finally:
            browser.close()


class Watched:
    """A page with what its browser complained of and which other hosts it asked."""

    def __init__(self, browser: Browser, base: str, width: int = 1280, theme: str = "light") -> None:
        self.base = base
        self.context = browser.new_context(
            viewport={"width": width, "height": 900},
            color_scheme=theme,
            accept_downloads=True,
            reduced_motion="reduce",
        )
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(15_000)
        self.complaints: list[str] = []
        self.elsewhere: list[str] = []
        self.asked: list[str] = []
        host = urlsplit(base).netloc
        self.page.on("console", lambda said: self._console(said.type, said.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

        def asks(request: Any) -> None:
            parts = urlsplit(request.url)
            if parts.scheme in ("http", "https", "ws", "wss"):
                self.asked.append(parts.path)
                if parts.netloc != host:
                    self.elsewhere.append(request.url)

        self.context.on("request", asks)

    def _console(self, kind: str, text: str) -> None:
        # htmx takes back a request that a newer one makes useless, and tells of that as of an error. It tells
        # of the end of every request that failed first; what follows says why.
        if kind in ("error", "warning") and not text.startswith(("htmx:afterRequest", "htmx:sendAbort")):
            self.complaints.append(text)

    def open(self, path: str) -> Page:
        """The page at a path, when everything has come that its document names."""
        self.page.goto(self.base + path, wait_until="load")
        return self.page

    def violations(self) -> list[str]:
        """What axe-core finds wrong with the page as it is, one line each."""
        # The policy of the pages keeps scripts of others out; evaluated code comes from the browser itself.
        self.page.evaluate(_axe())
        found = self.page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        return [
            f"{each['id']}: {node['html'][:160]} {node['failureSummary'][:200]}"
            for each in found["violations"]
            for node in each["nodes"]
        ]

    def overflow(self) -> int:
        """How many pixels the page is wider than its window."""
        wide: int = self.page.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        return wide

    def close(self) -> None:
        """Ends the page and everything that it kept."""
        self.context.close()
