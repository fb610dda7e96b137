"""How fast the engine is, as ratios to the same work done by hand, measured in the same run.

    python -m benchmarks.engine [--bins 8760] [--nodes 1000] [--loops 100] [--samples 1000] [--scaling]
                                [--dynamics PYTHON]

The floors: for formulas, the same operations as bare NumPy calls into buffers that exist already, or into
new memory where every series is recorded, as a result is always new memory; for feedback, a hand-written
Python scan over lists; for points, NumPy over rows of points, and the reference; for samples, as many bare
evaluations. Formulas are compiled before, loops are not. Ours and the floor take turns, and each
time is CPU time, the best of several. `--scaling` adds tables in nodes, bins and samples, `--dynamics`
the same backlog loops in pysimlin and PySD, by an interpreter that has them.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.harness import Row, report
from flowtime.core.expression import Binary, Expression, Name, Number, parse
from flowtime.core.grid import Grid
from flowtime.core.pmf import Pmf
from flowtime.engine import machine, program, reference
from flowtime.engine.evaluate import evaluate
from flowtime.engine.plan import Feedback, Plan, Single
from flowtime.engine.plan import compile as compile_plan
from flowtime.engine.sampling import prepare
from flowtime.engine.sources import Sources, sources
from flowtime.engine.waiting import in_threads
from flowtime.loop.samples import sample
from flowtime.model import load, source
from flowtime.model.spec import ConstNode, ExprNode, Formula, Model, Node, Output, PmfNode, QueueNode

ONE_RECORDED_BOUND = 0.8
ALL_RECORDED_BOUND = 1.0
LOOPS_BOUND = 0.25
POINTS_BOUND = 0.2
REFERENCE_BOUND = 0.1
SAMPLES_BOUND = 1.3
COMPILE_BOUNDS = {1_000: 150.0, 10_000: 2_000.0}
THREADS_BOUND = 1 / 1.7
QUEUES_BOUND = 1.2
WAITS_BOUND = 10.0
YAML_BOUND = 60.0
RECORDED = 5
YAML_LISTS = 8

_WITH_WAITS = ("served", "depth", "wait_mean", "wait_p95")
UFUNCS = {"+": np.add, "-": np.subtract, "*": np.multiply, "/": np.divide}


def best(repeat: int, *works: Callable[[], object]) -> list[float]:
    """CPU seconds of the fastest of several runs of each; they take turns, to meet the same machine."""
    fastest = [float("inf")] * len(works)
    for _ in range(repeat):
        for index, work in enumerate(works):
            began = time.process_time()
            work()
            fastest[index] = min(fastest[index], time.process_time() - began)
    return fastest


def ratio(what: str, times: list[float], floor: str, bound: float) -> Row:
    """A row of the table."""
    ours, bare = times
    return Row(what, f"{ours * 1e3:.1f} ms", f"{bare * 1e3:.1f} ms ({floor})", ours / bare, bound, "x")


def expr(id: str, text: str) -> ExprNode:
    """A formula node."""
    return ExprNode(id=id, expr=text, tree=parse(text))


def const(id: str, bins: int, low: float, high: float) -> ConstNode:
    """A const node with the same pseudo-random values in every run."""
    values = np.random.Generator(np.random.PCG64(list(id.encode()))).uniform(low, high, bins)
    return ConstNode(id=id, values=tuple(values.tolist()))


def formulas(count: int, bins: int) -> list[Node]:
    """Formulas of two to six operations over earlier nodes, values staying near 1."""
    rng = random.Random(7)
    nodes: list[Node] = [const(f"k{index}", bins, 0.5, 1.5) for index in range(10)]
    shapes = (
        "{a} * 0.4 + {b} * 0.6",
        "MIN({a}, {b}) * 0.5 + {c} / 2",
        "({a} + {b} + {c}) / 3",
        "{a} / ({b} + 1) + 0.5",
        "MAX({a} - {b}, 0) + {c} * 0.9",
        "MAX(MIN({a} + {b} * 0.2, 2), 0.1) * 0.9 + 0.1",
    )
    for index in range(count):
        names = [node.id for node in nodes[-40:]]
        a, b, c = rng.sample(names, 3)
        nodes.append(expr(f"n{index}", shapes[index % len(shapes)].format(a=a, b=b, c=c)))
    return nodes


def bare_calls(nodes: list[Node], bins: int, matrix: np.ndarray) -> list[Callable[[], object]]:
    """The operations of the formulas as bare NumPy calls, each series into its row, without any check."""
    rows = dict(zip([node.id for node in nodes], matrix, strict=True))
    calls: list[Callable[[], object]] = []
    buffers = [np.empty(bins) for _ in range(8)]

    def emit(tree: Expression, depth: int, out: np.ndarray | None = None) -> np.ndarray | float:
        if isinstance(tree, Number):
            return tree.value
        if isinstance(tree, Name):
            return rows[tree.id]
        parts = (tree.left, tree.right) if isinstance(tree, Binary) else tree.arguments  # type: ignore[union-attr]
        a, b = emit(parts[0], depth), emit(parts[1], depth + 1)
        ufunc = (
            UFUNCS[tree.operator]
            if isinstance(tree, Binary)
            else {"MIN": np.minimum, "MAX": np.maximum}[tree.function]
        )  # type: ignore[union-attr]
        target = buffers[depth] if out is None else out
        calls.append(lambda: ufunc(a, b, out=target))
        return target

    for node in nodes:
        if isinstance(node, ExprNode):
            emit(node.tree, 0, rows[node.id])
        elif isinstance(node, ConstNode):
            rows[node.id][:] = node.values
    return calls


def feed_forward(count: int, bins: int, repeat: int) -> list[Row]:
    """Formulas without feedback: all recorded, and only the last."""
    nodes = formulas(count, bins)
    matrix = np.empty((len(nodes), bins))
    calls = bare_calls(nodes, bins, matrix)

    def floor() -> None:
        for call in calls:
            call()

    def floor_in_new_memory() -> None:
        # the system hands out new memory page by page, as it is first written
        np.empty_like(matrix).fill(0.0)
        floor()

    outputs = (Output(nodes[-1].id),)
    one = alone(compile_plan(Model(tuple(nodes), Grid(bins), outputs=outputs)))
    everything = alone(compile_plan(Model(tuple(nodes), Grid(bins))))
    what = f"{count:,} formulas, {len(calls):,} operations, run alone"
    return [
        ratio(f"{what}, one recorded", best(repeat, one, floor), "bare NumPy calls", ONE_RECORDED_BOUND),
        ratio(
            f"{what}, all recorded",
            best(repeat, everything, floor_in_new_memory),
            "the same, new memory",
            ALL_RECORDED_BOUND,
        ),
    ]


def alone(plan: Plan) -> Callable[[], object]:
    """Evaluates a plan that is compiled already, into new memory."""
    module, found = machine.Module(program.compile(plan)), sources(plan)

    def run() -> object:
        made = machine.Machine(module, found)
        made.all_bins(lambda: None)
        return made.values()

    return run


def compiling(bins: int, repeat: int) -> list[Row]:
    """From a plan to a program that is ready to run."""
    machine.available()
    rows = []
    for count, bound in COMPILE_BOUNDS.items():
        plan = compile_plan(Model(tuple(formulas(count, bins)), Grid(bins)))
        (taken,) = best(repeat, lambda: machine.Module(program.compile(plan)))  # noqa: B023
        rows.append(
            Row(f"{count:,} formulas compiled", f"{taken * 1e3:.1f} ms", "", taken * 1e3, bound, "ms")
        )
    return rows


def points_of_a_loop(points: int, repeat: int) -> list[Row]:
    """A loop of 80 operations over 288 bins, at many points, by NumPy one row of points after another."""
    bins = 288
    terms = [f"SHIFT(level, 1) * 0.{index % 9 + 1} + k" for index in range(26)]
    pmf = Pmf((0.5, 1.5), (0.5, 0.5))
    nodes = (
        PmfNode(id="k", pmf=pmf, sampled=True),
        expr("level", f"MIN({' + '.join(f'({term}) * 0.01' for term in terms)}, 9)"),
    )
    plan = compile_plan(Model(nodes, Grid(bins), outputs=(Output("level"),), seed=1))
    found = sources(plan)
    draws = np.stack([found.draw(number) for number in range(points)])
    module = machine.Module(program.compile(plan))
    room = 8 * bins * points
    run = machine.Machine(module, found, 2 * room)
    run.view(run.free, draws.shape)[:] = draws
    out = run.view(run.free + room, (points, bins))
    rows = draws[:, 0].T.copy()

    def by_rows() -> np.ndarray:
        level, result = np.zeros(points), np.empty((bins, points))
        for bin in range(bins):
            total: np.ndarray | None = None
            for index in range(26):
                part = (level * float(f"0.{index % 9 + 1}") + rows[bin]) * 0.01
                total = part if total is None else np.add(total, part, out=total)
            assert total is not None
            level = result[bin] = np.minimum(total, 9.0)
        return result

    times = best(repeat, lambda: run.points(points, run.free, run.free + room), by_rows)
    assert np.array_equal(out, by_rows().T)

    def one_by_one() -> None:
        for number in range(points // 10):
            reference.evaluate(plan, found.fixed, draws[number], lambda: None)

    (slowly,) = best(1, one_by_one)
    what = f"a loop of 80 operations x {bins} bins x {points:,} points"
    return [
        ratio(what, times, "NumPy, a row of points at a time", POINTS_BOUND),
        ratio(what, [times[0], 10 * slowly], "the reference, one after another", REFERENCE_BOUND),
        threads_of_points(module, found, draws),
    ]


def threads_of_points(module: machine.Module, found: Sources, draws: np.ndarray) -> Row:
    """Points by two threads instead of one, by the clock; it needs two free cores."""
    points, _, bins = draws.shape
    room = 8 * bins * points

    def work(_: object, stop: Callable[[], None]) -> None:
        run = machine.Machine(module, found, 2 * room)
        run.view(run.free, draws.shape)[:] = draws
        for _ in range(100):
            stop()
            run.points(points, run.free, run.free + room)

    taken = []
    for threads in (1, 2):
        began = time.perf_counter()
        list(in_threads(work, range(8), threads))
        taken.append(time.perf_counter() - began)
    one, two = taken
    return Row(
        f"{800 * points:,} points in two threads",
        f"{two:.1f} s",
        f"{one:.1f} s (one thread)",
        two / one,
        THREADS_BOUND,
        "x",
    )


def uncertain(count: int, bins: int) -> Model:
    """The formulas over distributions, a few of them recorded."""
    pmf = Pmf((0.5, 1.0, 1.5), (0.3, 0.4, 0.3))
    nodes = [
        PmfNode(id=node.id, pmf=pmf) if isinstance(node, ConstNode) else node
        for node in formulas(count, bins)
    ]
    outputs = tuple(Output(node.id) for node in nodes[-RECORDED:])
    return Model(tuple(nodes), Grid(bins), outputs=outputs, seed=7)


def sampled(count: int, bins: int, samples: int, repeat: int) -> list[Row]:
    """Samples with a few recorded series, to their statistics, in this process."""
    model = uncertain(count, bins)
    # what the recorded series do not need is not computed, so it is not in the floor either
    needed = {step.formula.node for step in prepare(model).plan.steps if isinstance(step, Single)}
    nodes = [node for node in formulas(count, bins) if isinstance(node, ConstNode) or node.id in needed]
    calls = bare_calls(nodes, bins, np.empty((len(nodes), bins)))

    def floor() -> None:
        for _ in range(samples):
            for call in calls:
                call()

    times = best(max(repeat // 3, 1), lambda: sample(model, samples, workers=1), floor)
    what = f"{samples:,} samples, {len(calls):,} operations, {RECORDED} recorded"
    return [ratio(what, times, "bare evaluations", SAMPLES_BOUND)]


def backlog_loops(count: int, bins: int, repeat: int) -> list[Row]:
    """Equal backlog loops: served and backlog, each over its own arrivals and capacity."""
    nodes: list[Node] = []
    for index in range(count):
        nodes += [
            const(f"arrivals_{index}", bins, 0.0, 20.0),
            const(f"capacity_{index}", bins, 8.0, 12.0),
            expr(f"served_{index}", f"MIN(arrivals_{index} + SHIFT(backlog_{index}, 1), capacity_{index})"),
            expr(
                f"backlog_{index}", f"MAX(0, arrivals_{index} + SHIFT(backlog_{index}, 1) - served_{index})"
            ),
        ]
    given = {node.id: list(node.values) for node in nodes if isinstance(node, ConstNode)}

    def by_hand() -> None:
        for index in range(count):
            arrivals, capacity = given[f"arrivals_{index}"], given[f"capacity_{index}"]
            served, backlog = [], []
            before = 0.0
            for a, c in zip(arrivals, capacity, strict=True):
                s = min(a + before, c)
                before = max(0.0, a + before - s)
                served.append(s)
                backlog.append(before)

    plan = compile_plan(Model(tuple(nodes), Grid(bins)))
    times = best(repeat, lambda: evaluate(plan), by_hand)
    return [ratio(f"{count:,} equal backlog loops, compiled and run", times, "scan over lists", LOOPS_BOUND)]


def unlike_loops(count: int, bins: int, repeat: int) -> list[Row]:
    """Backlog loops of different shapes: what they add inside the loop follows the bits of a number."""
    nodes: list[Node] = []
    scans: list[tuple[Callable[..., object], list[float], list[float]]] = []
    for index in range(count):
        a, c, s, b = (f"{name}_{index}" for name in ("arrivals", "capacity", "served", "backlog"))
        signs = ["+" if bit == "1" else "-" for bit in f"{index:07b}"]
        terms = "".join(f" {sign} SHIFT({s}, 1) * 0.0{n + 1}" for n, sign in enumerate(signs))
        by_hand = "".join(f" {sign} s * 0.0{n + 1}" for n, sign in enumerate(signs))
        nodes += [
            const(a, bins, 0.0, 20.0),
            const(c, bins, 8.0, 12.0),
            expr(s, f"MIN({a} + SHIFT({b}, 1), {c}{terms})"),
            expr(b, f"MAX(0, {a} + SHIFT({b}, 1) - {s})"),
        ]
        text = (
            "def scan(arrivals, capacity):\n"
            "    served, backlog, s, b = [], [], 0.0, 0.0\n"
            "    for a, c in zip(arrivals, capacity):\n"
            f"        s = min(a + b, c{by_hand})\n"
            "        b = max(0.0, a + b - s)\n"
            "        served.append(s)\n"
            "        backlog.append(b)\n"
            "    return served, backlog\n"
        )
        namespace: dict[str, Callable[..., object]] = {}
        exec(text, namespace)  # noqa: S102 - text of our own
        given = {node.id: list(node.values) for node in nodes[-4:] if isinstance(node, ConstNode)}
        scans.append((namespace["scan"], given[a], given[c]))

    def hand() -> None:
        for scan, arrivals, capacity in scans:
            scan(arrivals, capacity)

    plan = compile_plan(Model(tuple(nodes), Grid(bins)))
    assert len([step for step in plan.steps if isinstance(step, Feedback)]) == count
    times = best(repeat, lambda: evaluate(plan), hand)
    return [ratio(f"{count:,} unlike loops, compiled and run", times, "scan over lists", LOOPS_BOUND)]


def queues(count: int, bins: int, repeat: int) -> list[Row]:
    """Queues, of which the flows are recorded or the waits too, against their recurrences as formulas."""
    flows = {
        f"{name}_{index}": const(f"{name}_{index}", bins, low, high)
        for index in range(count)
        for name, low, high in (("a", 0.0, 20.0), ("c", 8.0, 12.0))
    }

    def made(record: tuple[str, ...]) -> Plan:
        found: list[Node] = [
            QueueNode(
                id=f"q_{index}",
                arrivals=Formula(f"a_{index}", parse(f"a_{index}")),
                capacity=Formula(f"c_{index}", parse(f"c_{index}")),
                record=record,
            )
            for index in range(count)
        ]
        outputs = tuple(Output(node.id) for node in found)
        return compile_plan(Model((*flows.values(), *found), Grid(bins), outputs=outputs, version=2))

    by_hand: list[Node] = []
    for index in range(count):
        a, c, there, s, d = (f"{name}_{index}" for name in ("a", "c", "there", "served", "depth"))
        by_hand += [
            expr(there, f"SHIFT({d}, 1) + {a}"),
            expr(s, f"MIN({there}, {c})"),
            expr(d, f"{there} - {s}"),
        ]
    outputs = tuple(Output(f"{name}_{index}") for index in range(count) for name in ("served", "depth"))
    bare = alone(compile_plan(Model((*flows.values(), *by_hand), Grid(bins), outputs=outputs)))
    rows = []
    for record, bound in ((("served", "depth"), QUEUES_BOUND), (_WITH_WAITS, WAITS_BOUND)):
        times = best(repeat, alone(made(record)), bare)
        what = f"{count:,} queues, {', '.join(record[2:]) or 'flows'} recorded"
        rows.append(ratio(what, times, "recurrences as formulas", bound))
    return rows


def yaml(bins: int, repeat: int) -> list[Row]:
    """Reading a model file of long lists, in brackets and as lines."""
    numbers = random.Random(1)
    lists = [[f"{numbers.uniform(0, 500):.2f}" for _ in range(bins)] for _ in range(YAML_LISTS)]
    head = f"grid: {{bins: {bins}}}\nnodes:\n"
    brackets = [f"  - {{id: c{i}, kind: const, values: [{', '.join(v)}]}}\n" for i, v in enumerate(lists)]
    lines = [
        f"  - id: c{i}\n    kind: const\n    values:\n" + "".join(f"      - {number}\n" for number in values)
        for i, values in enumerate(lists)
    ]
    rows = []
    for what, parts in (("in brackets", brackets), ("as lines", lines)):
        text = head + "".join(parts)
        parsed, loaded = best(repeat, lambda: source.parse(text), lambda: load(text))  # noqa: B023
        name = f"YAML, {YAML_LISTS * bins:,} numbers {what}, {len(text) / 1e6:.2f} MB"
        rows.append(
            Row(
                name,
                f"{parsed * 1e3:.1f} ms",
                f"{loaded * 1e3:.1f} ms to a model",
                parsed * 1e3,
                YAML_BOUND,
                "ms",
            )
        )
    return rows


def scaling(repeat: int) -> None:
    """Tables: how time grows with nodes, bins and samples."""
    print("\nnodes x bins: milliseconds to compile, to evaluate, and nanoseconds for an operation and a bin")
    for nodes, bins in (
        (10, 8760),
        (100, 8760),
        (1000, 8760),
        (10_000, 288),
        (1000, 288),
        (1000, 24),
        (20, 1_000_000),
    ):
        model = Model(tuple(formulas(nodes, bins)), Grid(bins))
        plan = compile_plan(model)
        operations = sum(len(step.formula.operations) for step in plan.steps if isinstance(step, Single))
        compiled, ran = best(repeat, lambda: compile_plan(model), lambda: evaluate(plan))  # noqa: B023
        each = ran * 1e9 / operations / bins
        print(f"{nodes:>7,} x {bins:>9,} {compiled * 1e3:>9.1f} {ran * 1e3:>9.1f} {each:>9.2f}")
    print("\nsamples x bins of 100 formulas: seconds in one thread, in two, and milliseconds a sample in one")
    for samples, bins in ((100, 288), (1000, 288), (10_000, 288), (100, 8760), (1000, 8760)):
        model = uncertain(100, bins)
        taken = []
        for workers in (1, 2):
            began = time.perf_counter()
            sample(model, samples, workers=workers)
            taken.append(time.perf_counter() - began)
        one, two = taken
        print(f"{samples:>7,} x {bins:>9,} {one:>9.2f} {two:>9.2f} {one * 1e3 / samples:>9.2f}")


def beside_dynamics(python: str, count: int, bins: int, repeat: int) -> None:
    """The same backlog loops in system dynamics libraries, by another interpreter in this run; no bound.

    Raises RuntimeError where they come to another backlog.
    """
    nodes: list[Node] = []
    for index in range(count):
        values = tuple(10 + 8 * math.sin(0.26 * time + index) for time in range(bins))
        nodes += [
            ConstNode(id=f"arrivals_{index}", values=values),
            expr(f"served_{index}", f"MIN(arrivals_{index} + SHIFT(backlog_{index}, 1), 10)"),
            expr(
                f"backlog_{index}", f"MAX(0, arrivals_{index} + SHIFT(backlog_{index}, 1) - served_{index})"
            ),
        ]
    outputs = tuple(Output(f"backlog_{index}") for index in range(count))
    plan = compile_plan(Model(tuple(nodes), Grid(bins), outputs=outputs))
    (ours,) = best(repeat, lambda: evaluate(plan))
    backlog = evaluate(plan).series.values[:, -1]
    with tempfile.TemporaryDirectory() as folder:
        script = Path(__file__).with_name("with_dynamics.py")
        command = [python, str(script), folder, str(count), str(bins)]
        said = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    print(f"\n{count:,} backlog loops x {bins:,} bins: milliseconds, loading left out")
    print(f"  {'flowtime':20} {ours * 1e3:10.1f}")
    for name, measured in json.loads(said.stdout).items():
        if not np.allclose(measured["backlog"], backlog, rtol=1e-6, atol=1e-6):
            raise RuntimeError(f"{name} comes to another backlog")
        print(f"  {name + ' ' + measured['version']:20} {measured['ms']:10.1f}")


def main() -> int:
    """Prints the table; 1 where a bound does not hold."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bins", type=int, default=8760)
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--loops", type=int, default=100)
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--repeat", type=int, default=7)
    parser.add_argument("--scaling", action="store_true", help="tables in nodes, bins and samples too")
    parser.add_argument("--dynamics", metavar="PYTHON", help="an interpreter with pysimlin or PySD")
    options = parser.parse_args()
    held = report(
        [
            *feed_forward(options.nodes, options.bins, options.repeat),
            *compiling(options.bins, options.repeat),
            *backlog_loops(options.loops, options.bins, options.repeat),
            *unlike_loops(options.loops, options.bins, options.repeat),
            *points_of_a_loop(options.samples, options.repeat),
            *sampled(options.nodes, options.bins, options.samples, options.repeat),
            *queues(options.nodes, options.bins, options.repeat),
            *yaml(options.bins, options.repeat),
        ]
    )
    if options.scaling:
        scaling(options.repeat)
    if options.dynamics:
        beside_dynamics(options.dynamics, options.loops, options.bins, options.repeat)
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
