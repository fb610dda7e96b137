"""Options have one name each, from a face to the function that takes them, and a wrong one is told."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import flowtime
from flowtime.formats.export import export_file
from flowtime.formats.telemetry import import_file
from flowtime.loop.models import Label
from flowtime.loop.views import chart_of, overlay_of
from flowtime.registry import Query
from flowtime.registry.document import EDITABLE
from flowtime.service import Flowtime, options
from flowtime.settings import load


def named(function: Callable[..., Any], *, without: str = "") -> set[str]:
    """The keywords of a function, or the fields of a class."""
    kept = inspect.signature(function).parameters.values()
    return {each.name for each in kept if each.kind is each.KEYWORD_ONLY} - set(without.split())


DECLARED: dict[type, set[str]] = {
    options.Labels: set(inspect.signature(Label).parameters) - {"name"},
    options.Edits: set(EDITABLE) - {"loop"},
    options.Finds: named(Query, without="where"),
    options.Exports: named(export_file, without="table_digest files workbook"),
    options.Imports: named(import_file, without="format grid lookup"),
    options.Charts: named(chart_of),
    options.Stretch: named(overlay_of, without="component measure"),
}


@pytest.mark.parametrize("declared", DECLARED, ids=lambda each: each.__name__)
def test_declared_options_are_those_of_the_function(declared: type) -> None:
    assert set(declared.__annotations__) == DECLARED[declared]


WRONG = """
from pathlib import Path
import flowtime
from flowtime.service import Flowtime
from flowtime.settings import load

s = Flowtime(load({}))
s.run("m", tagz=("a",))
s.find(kindz=("run",))
s.export("r", "gold", "x.csv", embedd=True)
reg = flowtime.Registry()
reg.import_file("d.csv", time_zone="UTC")
reg.run("m", sample=3)
reg.get("a").edit(visible="public")
table: int = flowtime.evaluate(flowtime.load_model("m.yaml")).to_polars()
"""


def test_a_type_checker_finds_wrong_options(tmp_path: Path) -> None:
    source = tmp_path / "wrong.py"
    source.write_text(WRONG)
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--no-incremental",
        "--no-error-summary",
        str(source),
    ]
    told = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    lines = {line.split(":")[1] for line in told.stdout.splitlines() if ": error:" in line}
    begin = WRONG[: WRONG.index("s.run(")].count("\n") + 1
    assert lines == {str(begin + at) for at in (0, 1, 2, 4, 5, 6, 7)}, told.stdout + told.stderr


def test_a_wrong_option_is_told_with_the_nearest(tmp_path: Path) -> None:
    service, registry = Flowtime(load({"artifacts": str(tmp_path)})), flowtime.Registry(tmp_path)
    (tmp_path / "d.csv").write_text("time_bin,component_id,measure,value\n")
    with pytest.raises(TypeError, match=re.escape("find has no option 'kindz': did you mean \"kinds\"?")):
        service.find(kindz=("run",))  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=re.escape("'time_zone': did you mean \"timezone\"?")):
        registry.import_file(tmp_path / "d.csv", time_zone="UTC")  # type: ignore[call-arg]
    model = b"grid: {bins: 1, binSize: 1, binUnit: hours}\nnodes: [{id: a, kind: expr, expr: '1'}]"
    with pytest.raises(TypeError, match=re.escape("'tagz': did you mean \"tags\"?")):
        service.publish_model(model, tagz=("a",))  # type: ignore[call-arg]


@pytest.mark.parametrize("layer", ["service", "library"])
def test_nothing_of_any_type_comes_or_goes(layer: str) -> None:
    """But for JSON, whose values are of any type, and libraries of users that have no types."""
    root = Path(flowtime.__file__).parent / layer
    sources = sorted(root.glob("*.py")) if root.is_dir() else [root.with_suffix(".py")]
    loose = [
        f"{path.name}: {line.strip()}"
        for path in sources
        for line in path.read_text(encoding="utf-8").splitlines()
        if line.rstrip().endswith((": Any,", "-> Any:"))
        or ": Any)" in line
        or ": Any =" in line
        or ": Any, " in line
    ]
    assert loose == UNTYPED[layer]


UNTYPED = {
    "service": [],
    "library": [
        "library.py: def to_pandas(self, *, wide: bool = False) -> Any:",
        "library.py: def to_arrow(self, *, wide: bool = False) -> Any:",
        "library.py: def _library(module: str, extra: str) -> Any:",
    ],
}
"""Where the library gives what has no types of its own."""
