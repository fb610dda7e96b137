"""The list of artifacts in a headless Chromium: from a keystroke to the list, from an address to its content.

    python -m benchmarks.pages [--artifacts 10000] [--repeat 20]

A keystroke is measured from the event in the search field to the end of the frame that shows the new list,
with the time that the field waits for the next one, and the request to a server on the same machine, between.
Bytes are those of a first load with an empty cache, as they go over the wire.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, Page
from tests.browser import CHROMIUM, chromium
from tests.servers import Servers

from benchmarks.harness import Row, report
from benchmarks.registry import fill
from benchmarks.views import FRAME, middle

KEY_BOUND = 300.0
CONTENT_BOUND = 1000.0
BYTES_BOUND = 120.0
"""kB (1,000 bytes) over the wire."""

KEYSTROKE = f"""async text => {{
  const field = document.querySelector("input[name=q]");
  field.value = text;
  const swapped = new Promise(done => addEventListener("htmx:afterSwap", done, {{ once: true }}));
  const began = performance.now();
  field.dispatchEvent(new Event("input", {{ bubbles: true }}));
  await swapped;
  await ({FRAME})();
  return performance.now() - began;
}}"""
"""Milliseconds from a changed search field until its list is on the screen."""

CONTENT = """() => {
  const [paint] = performance.getEntriesByName("first-contentful-paint");
  return paint.startTime;
}"""
"""Milliseconds from the request for the page until its content is on the screen."""

WORDS = ("c", "ch", "che", "p", "pa", "pay", "s", "se", "sea", "mail st")


def first_load(browser: Browser, base: str, path: str) -> tuple[float, float]:
    """Bytes over the wire, and milliseconds to content, in a browser that was never here."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page: Page = context.new_page()
    taken: list[int] = []
    page.on("requestfinished", lambda request: taken.append(request.sizes()["responseBodySize"]))
    page.goto(base + path, wait_until="networkidle")
    content: float = page.evaluate(CONTENT)
    context.close()
    return sum(taken), content


def measure(browser: Browser, base: str, arguments: argparse.Namespace) -> list[Row]:
    """The rows of the table."""
    loads = [first_load(browser, base, "/artifacts") for _ in range(max(3, arguments.repeat // 4))]
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto(f"{base}/artifacts", wait_until="networkidle")
    page.evaluate(KEYSTROKE, WORDS[-1])
    keys = [page.evaluate(KEYSTROKE, WORDS[i % len(WORDS)]) for i in range(max(2, arguments.repeat))]
    half, most = middle(keys)
    content = statistics.median(content for _, content in loads)
    size = max(size for size, _ in loads) / 1000
    many = f"{arguments.artifacts:,} artifacts"
    return [
        Row(
            f"keystroke to list, {many}", f"{half:.0f} ms (90 %: {most:.0f})", "120 ms", half, KEY_BOUND, "ms"
        ),
        Row(f"address to content, {many}", f"{content:.0f} ms", "-", content, CONTENT_BOUND, "ms"),
        Row("bytes of a first load", f"{size:.0f} kB", "-", size, BYTES_BOUND, "kB"),
    ]


def main() -> int:
    """Measures, and tells by the exit code whether every bound holds."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pages")
    parser.add_argument("--artifacts", type=int, default=10_000)
    parser.add_argument("--repeat", type=int, default=20)
    arguments = parser.parse_args()
    if CHROMIUM is None:
        print("not installed: chromium", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="flowtime-bench-") as folder:
        fill(Path(folder) / "artifacts", arguments.artifacts)
        with Servers(Path(folder)) as servers, chromium() as browser:
            base = servers(env={"FLOWTIME_CACHE": f"{folder}/cache"})
            return 0 if report(measure(browser, base, arguments)) else 1


if __name__ == "__main__":
    sys.exit(main())
