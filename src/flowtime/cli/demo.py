"""`flowtime demo`: the whole loop on a template, with an account of each step."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from flowtime import texts
from flowtime.cli import render
from flowtime.cli.artifacts import measures_table
from flowtime.cli.loop import run_facts, verdict
from flowtime.cli.metrics import movers
from flowtime.cli.options import Command, registry_command
from flowtime.service import Flowtime
from flowtime.wording import command

FORMATS = ("gold", "ndjson", "parquet")


@click.command("demo", cls=Command, epilog="Example: flowtime demo")
@click.option(
    "--folder", default="flowtime-demo", show_default=True, metavar="PATH", help="A new folder to work in."
)
@registry_command("--artifacts")
def demo_command(service: Flowtime, as_json: bool, folder: str) -> None:
    """Walk the whole loop on the checkout template, in a fresh folder."""
    root = _fresh(Path(folder))
    demo = _Demo(service.at(str(root / "artifacts")), root, None if as_json else click.echo)
    results = demo.walk()
    if as_json:
        render.echo_json(results)


class _Demo:
    """The steps of the loop; `say` tells of them, None keeps silent."""

    def __init__(self, service: Flowtime, root: Path, say: Callable[[str], None] | None) -> None:
        self.service = service
        self.root = root
        self.say = say or (lambda text: None)
        self.count = 0

    @contextmanager
    def step(self, title: str) -> Iterator[list[str]]:
        """One numbered step: what it took, then the lines that it gathers."""
        lines: list[str] = []
        self.count += 1
        began = time.perf_counter()
        yield lines
        taken = render.dim(f"  {render.seconds(time.perf_counter() - began)}")
        self.say("\n".join([render.heading(f"{self.count}. {title}") + taken, *lines, ""]))

    def walk(self) -> dict[str, Any]:
        """All steps; returns what each made."""
        with self.step("A model from the template checkout") as lines:
            model = self.service.create_model("checkout", name="checkout-baseline", tags=("demo",))
            lines += [f"   {model['id']}", f"   {model['folder']}"]
        with self.step("A run of it") as lines:
            run = self.service.run(model["id"], name="checkout-baseline-run", tags=("demo",))
            lines += [f"   {run['id']}", f"   {run['folder']}"]
            lines += [f"   {line}" for line in measures_table(movers(run["measures"])).splitlines()]
            lines.append(f"   {render.dim(run_facts(run))}")
        with self.step("The run as files for other programs") as lines:
            exports = [self.service.export(run["id"], name, f"{self.root}/exports/") for name in FORMATS]
            lines += [f"   {e['path']}  {e['rows']:,} rows, {texts.size(e['bytes'])}" for e in exports]
            lines.append(f"   digest of each: {exports[0]['digest']}")
        with self.step("Each file imported again, its model rebuilt from the file alone") as lines:
            imports = [self.service.import_data(Path(e["path"]), name="checkout-again") for e in exports]
            for telemetry in imports:
                mark = render.tick(telemetry["rebuilt"] and telemetry["conformance"]["ok"])
                lines.append(f"   {mark} {telemetry['folder']}  {telemetry['data']['digest']}")
        with self.step("The whole loop verified") as lines:
            loop = self.service.test_loop(model["id"])
            lines.append(verdict(loop))
        self.say(render.heading("Look around"))
        for words in (("list",), ("show", run["name"]), ("open", "--id", run["name"]), ("serve",)):
            self.say(f"   {command(*words, registry=f'{self.root}/artifacts')}")
        return {"model": model, "run": run, "exports": exports, "imports": imports, "loop": loop}


def _fresh(folder: Path) -> Path:
    """The folder, or the first of `folder-2`, `folder-3`, ... that does not exist yet."""
    others = (folder.with_name(f"{folder.name}-{n}") for n in itertools.count(2))
    return next(candidate for candidate in itertools.chain([folder], others) if not candidate.exists())


commands: dict[str, click.Command] = {"demo": demo_command}
