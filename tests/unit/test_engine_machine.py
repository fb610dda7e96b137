"""The machine: what happens where it cannot be loaded, and how soon it can be interrupted."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from flowtime.core.expression import parse
from flowtime.core.grid import Grid
from flowtime.engine import machine, program
from flowtime.engine.evaluate import evaluate
from flowtime.engine.layout import PAGE
from flowtime.engine.plan import compile
from flowtime.engine.sources import sources
from flowtime.errors import Conflict, InvalidInput
from flowtime.model.spec import ConstNode, ExprNode, Model, Node, Output
from flowtime.wanted import wanted_while


def expr(id: str, text: str) -> ExprNode:
    return ExprNode(id=id, expr=text, tree=parse(text))


SCRIPT = """
import hashlib
from flowtime.core.expression import parse
from flowtime.core.grid import Grid
from flowtime.engine import compile, evaluate
from flowtime.engine.points import Points
from flowtime.engine.sources import sources
from flowtime.core.pmf import Pmf
from flowtime.model.spec import ConstNode, ExprNode, Model, PmfNode

texts = {"a": "EXP(x / 9) + SHIFT(b, 1) * 0.5", "b": "POW(a, 0.3) - LOG(x - 2)"}
nodes = tuple(ExprNode(id=id, expr=text, tree=parse(text)) for id, text in texts.items())
x = ConstNode(id="x", values=tuple(float(bin % 7) for bin in range(20_000)))
result = evaluate(compile(Model((x, *nodes), Grid(20_000))))
rows = []
drawn = Model((PmfNode(id="x", pmf=Pmf((1.0, 3.0), (0.5, 0.5)), sampled=True), *nodes), Grid(50))
points = Points(sources(compile(drawn), seed=1))
points.evaluate(0, 20, lambda first, values: rows.append(values.tobytes()), lambda: None)
print(hashlib.sha256(result.series.values.tobytes() + b"".join(rows)).hexdigest(), *result.warnings)
print(points.notes().times)
"""


def test_where_wasmtime_cannot_be_loaded_the_reference_evaluates_and_a_note_says_so(tmp_path: Path) -> None:
    def run(*path: str) -> tuple[str, str]:
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(path)}
        command = [sys.executable, "-c", SCRIPT]
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
        return done.stdout, done.stderr

    expected, silent = run()
    assert silent == ""
    for error in ("ImportError", "OSError", "RuntimeError"):
        folder = tmp_path / error
        folder.mkdir()
        (folder / "wasmtime.py").write_text(f"raise {error}('made for another system')", encoding="utf-8")
        found, said = run(str(folder))
        assert found == expected
        assert said.count("wasmtime cannot be loaded") == 1
        assert f"{error}: made for another system" in said


def test_small_work_does_not_load_wasmtime() -> None:
    script = SCRIPT.replace("20_000", "2_000").split("rows = []")[0]
    script += "import sys; print('wasmtime' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def long_work() -> Model:
    """A kernel of 5,000 taps over 300,000 bins: seconds of work, in little memory."""
    kernel = ", ".join(["0", *("0.0001" for _ in range(5_000))])
    return Model((ConstNode(id="x", values=(1.0,)), expr("y", f"CONV(x * 2, [{kernel}])")), Grid(300_000))


def many_nodes() -> Model:
    """Ten thousand nodes, which take a second or more to compile."""
    nodes: list[Node] = [ConstNode(id="n0", values=(1.0,))]
    nodes += [expr(f"n{i}", f"n{i - 1} * 0.5 + SHIFT(n{i // 2}, 1)") for i in range(1, 10_000)]
    return Model(tuple(nodes), Grid(288))


@pytest.mark.parametrize("after", [0.2, 1.0])
@pytest.mark.parametrize("model", [long_work, many_nodes])
def test_an_evaluation_stops_soon_after_nobody_waits_for_it(after: float, model: Callable[[], Model]) -> None:
    plan = compile(model())
    gone: list[float] = []
    timer = threading.Timer(after, lambda: gone.append(time.monotonic()))

    def ask() -> None:
        if gone:
            raise Conflict("FT834", "the caller has gone")

    timer.start()
    with pytest.raises(Conflict), wanted_while(ask):
        evaluate(plan)
    # 50 ms are promised; other work on the machine may take its time
    assert time.monotonic() - gone[0] < 1.0
    # what was under way ends by itself, compiling last
    deadline = time.monotonic() + 60
    while any(thread.name == "engine" for thread in threading.enumerate()):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_memory_is_bounded_by_the_model() -> None:
    nodes = (ConstNode(id="x", values=(1.0,)), *(expr(f"n{i}", f"x * {i} + {i}") for i in range(50)))
    one = program.compile(compile(Model(nodes, Grid(100_000), outputs=(Output("n9"),))))
    every = program.compile(compile(Model(nodes, Grid(100_000))))
    assert 50 * 800_000 <= every.memory.bytes - one.memory.bytes < 50 * 800_000 + PAGE
    run = machine.Machine(machine.Module(one), sources(one.plan))
    size = run.memory.size(run.store) * PAGE
    assert one.memory.bytes <= size < one.memory.bytes + PAGE
    with pytest.raises(Exception, match="grow"):
        run.memory.grow(run.store, 1)


def test_what_delays_keep_counts_against_the_memory() -> None:
    parts = " + ".join(f"SHIFT(x * {i}, 2)" for i in range(600))
    nodes = (ConstNode(id="x", values=(1.0,)), expr("y", parts))
    with pytest.raises(InvalidInput, match="4 GB are allowed") as error:
        evaluate(compile(Model(nodes, Grid(1_000_000))))
    assert error.value.code == "FT309"


def test_a_program_is_told_in_outline() -> None:
    nodes = (ConstNode(id="x", values=(1.5,)), expr("y", "x * 2"), expr("z", "y + SHIFT(z, 1)"))
    assert program.outline(compile(Model(nodes, Grid(1000)))) == (
        "program: 5 operations a bin in 2 functions (1 two bins at a time, 1 bin by bin), 0.0 MB of memory"
    )
    parts = " + ".join(f"SHIFT(x * {i}, 2)" for i in range(600))
    told = program.outline(compile(Model((nodes[0], expr("y", parts)), Grid(1_000_000))))
    assert told.startswith("no program: 2 nodes in 1,000,000 bins")


def test_a_result_outlives_the_machine_that_made_it() -> None:
    nodes = (ConstNode(id="x", values=(1.5,)), expr("y", "x * 2 + SHIFT(y, 1) * 0"))
    results = [evaluate(compile(Model(nodes, Grid(60_000)))).series.values for _ in range(20)]
    assert all(np.all(values[1] == 3.0) for values in results)
