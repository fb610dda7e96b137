"""The page of a run in a headless Chromium: scrubbing a large graph, painting many points.

    python -m benchmarks.views [--nodes 1000] [--bins 10000] [--series 20] [--repeat 30]

A step is measured from the slider's event to the end of the frame that shows it, a paint from the click on a
component to the end of the frame with its chart, with the request to a server on the same machine between.
The floor is a frame in which nothing changes.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import Page
from tests.browser import CHROMIUM, chromium
from tests.servers import Servers

from benchmarks.commands import document
from benchmarks.harness import Row, report
from flowtime.service import Flowtime
from flowtime.settings import load

STEP_BOUND = 100.0
PAINT_BOUND = 300.0
SHORT = 1000
"""Bins of the run with many nodes."""

FRAME = """() => new Promise(done => requestAnimationFrame(() => {
  const { port1, port2 } = new MessageChannel();
  port1.onmessage = done;
  port2.postMessage(null);
}))"""
"""Waits until the next frame is on the screen: a message is read after the frame, a callback before it."""

STEPS = f"""async ([count, moves]) => {{
  const slider = document.querySelector("input[type=range]");
  const frame = {FRAME};
  const taken = [];
  for (let i = 0; i < count; i++) {{
    await frame();
    const began = performance.now();
    if (moves) {{
      slider.value = String(1 + 7 * i % 900);
      slider.dispatchEvent(new Event("input", {{ bubbles: true }}));
    }}
    await frame();
    taken.push(performance.now() - began);
  }}
  return taken;
}}"""
"""Milliseconds of each of so many frames, in which the bin moves or nothing does."""

PAINT = f"""async name => {{
  const box = [...document.querySelectorAll(".graph .box")].find(one => one.textContent.startsWith(name));
  const shown = () => document.querySelector(".panel")?.ariaLabel.startsWith(`Line chart of ${{name}}.`);
  const began = performance.now();
  box.dispatchEvent(new MouseEvent("click", {{ bubbles: true }}));
  await new Promise(done => {{
    const watch = new MutationObserver(() => {{
      if (!shown() || !document.querySelector(".panel canvas")) return;
      watch.disconnect();
      done();
    }});
    watch.observe(document.querySelector(".charts"), {{ childList: true, subtree: true }});
  }});
  await ({FRAME})();
  return performance.now() - began;
}}"""
"""Milliseconds from the click on a component until its series are on the screen."""


def layered(series: int, bins: int) -> dict[str, Any]:
    """A model of two components with so many measures each, no two of them alike."""
    nodes = [
        {
            "id": f"{side}{k}",
            "kind": "const",
            "values": [round(100 * k + (i * (k + 7)) % 97 + (i % 1440) / 20, 2) for i in range(bins)],
        }
        for side in "ab"
        for k in range(series)
    ]
    components = [
        {"id": name, "kind": "service", "semantics": {f"m{k}": f"{side}{k}" for k in range(series)}}
        for name, side in (("First", "a"), ("Second", "b"))
    ]
    topology = {"nodes": components, "edges": [{"from": "First", "to": "Second"}]}
    grid = {"bins": bins, "binSize": 1, "binUnit": "minutes", "start": "2025-01-01T00:00:00Z"}
    return {"grid": grid, "nodes": nodes, "topology": topology}


def middle(taken: list[float]) -> tuple[float, float]:
    """The median, and what nine in ten stay under."""
    return statistics.median(taken), statistics.quantiles(taken, n=10)[-1]


def row(what: str, taken: list[float], idle: float, bound: float) -> Row:
    """The median of the measured times against its bound."""
    half, most = middle(taken)
    return Row(what, f"{half:.0f} ms (90 %: {most:.0f})", f"{idle:.0f} ms", half, bound, "ms")


def measure(page: Page, base: str, arguments: argparse.Namespace) -> list[Row]:
    """The rows of the table."""
    page.goto(f"{base}/artifacts/wide")
    page.locator(".graph [data-heat]").first.wait_for(state="attached")
    page.wait_for_load_state("networkidle")
    idle, _ = middle(page.evaluate(STEPS, [arguments.repeat, False]))
    page.evaluate(STEPS, [arguments.repeat, True])  # the values are fetched with the first look at them
    page.wait_for_load_state("networkidle")
    steps = page.evaluate(STEPS, [arguments.repeat, True])
    page.goto(f"{base}/artifacts/long")
    page.locator(".graph [data-heat]").first.wait_for(state="attached")
    page.wait_for_load_state("networkidle")
    paints = [page.evaluate(PAINT, ("First", "Second")[i % 2]) for i in range(max(4, arguments.repeat // 2))]
    return [
        row(f"a step of the slider, {arguments.nodes:,} nodes", steps, idle, STEP_BOUND),
        row(f"{arguments.series} series x {arguments.bins:,} bins painted", paints[1:], idle, PAINT_BOUND),
    ]


def main() -> int:
    """Measures, and tells by the exit code whether every bound holds."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.views")
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--bins", type=int, default=10_000)
    parser.add_argument("--series", type=int, default=20)
    parser.add_argument("--repeat", type=int, default=30)
    arguments = parser.parse_args()
    if CHROMIUM is None:
        print("not installed: chromium", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="flowtime-bench-") as folder:
        settings = {"artifacts": f"{folder}/artifacts", "cache": f"{folder}/cache"}
        service = Flowtime(load(settings))
        models = {
            "wide": document(arguments.nodes, SHORT),
            "long": layered(arguments.series, arguments.bins),
        }
        for name, model in models.items():
            service.publish_model(json.dumps(model).encode(), name=f"{name}-model")
            service.run(f"{name}-model", name=name)
        service.registry.close()
        with Servers(Path(folder)) as servers, chromium() as browser:
            base = servers(env={"FLOWTIME_CACHE": f"{folder}/cache"})
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            return 0 if report(measure(page, base, arguments)) else 1


if __name__ == "__main__":
    sys.exit(main())
