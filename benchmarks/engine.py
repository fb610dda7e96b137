"""How fast the engine is, as ratios to the same work done by hand, measured in the same run.

    python benchmarks/engine.py [--bins 8760] [--nodes 1000] [--loops 100] [--repeat 7]

The floors: for formulas, the same operations as bare NumPy calls with reused buffers; for feedback, a
hand-written Python scan over lists. Each time is the best of several.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable

import numpy as np

from flowtime.core.expression import Binary, Expression, Name, Number, parse
from flowtime.core.grid import Grid
from flowtime.engine.evaluate import evaluate
from flowtime.engine.plan import Feedback
from flowtime.engine.plan import compile as compile_plan
from flowtime.model.spec import ConstNode, ExprNode, Model, Node, Output

UFUNCS = {"+": np.add, "-": np.subtract, "*": np.multiply, "/": np.divide}


def best(work: Callable[[], object], repeat: int) -> float:
    """Seconds of the fastest of several runs."""
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


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


def bare_calls(nodes: list[Node], bins: int, rows: dict[str, np.ndarray]) -> list[Callable[[], object]]:
    """The operations of the formulas as bare NumPy calls into reused buffers, without any check."""
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


def feed_forward(count: int, bins: int, repeat: int) -> None:
    """Formulas without feedback: all recorded, and only the last."""
    nodes = formulas(count, bins)
    matrix = np.empty((len(nodes), bins))
    calls = bare_calls(nodes, bins, dict(zip([node.id for node in nodes], matrix, strict=True)))

    def floor() -> None:
        for call in calls:
            call()

    def fresh() -> None:
        # the result of an evaluation is new memory, which the system hands out page by page
        np.empty_like(matrix).fill(0.0)

    bare = best(floor, repeat)
    pages = best(fresh, repeat)
    title = f"{count} formulas, {len(calls)} operations"
    for what, outputs in ((", all recorded", ()), (", one recorded", (Output(nodes[-1].id),))):
        plan = compile_plan(Model(tuple(nodes), Grid(bins), outputs=outputs))
        report(title + what, best(lambda: evaluate(plan), repeat), bare, "bare NumPy calls")  # noqa: B023
    print(f"{'  filling new memory of that size once':58}{pages * 1e3:9.1f} ms")
    report(
        "  compiling it",
        best(lambda: compile_plan(Model(tuple(nodes), Grid(bins))), repeat),
        bare,
        "the same",
    )


def backlog_loops(count: int, bins: int, repeat: int) -> None:
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

    hand = best(by_hand, repeat)
    plan = compile_plan(Model(tuple(nodes), Grid(bins)))
    report(
        f"{count} equal backlog loops",
        best(lambda: evaluate(plan), repeat),
        hand,
        "hand-written scan over lists",
    )


def unlike_loops(count: int, bins: int, repeat: int) -> None:
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

    floor = best(hand, repeat)
    plan = compile_plan(Model(tuple(nodes), Grid(bins)))
    assert len([step for step in plan.steps if isinstance(step, Feedback)]) == count
    report(
        f"{count} unlike loops", best(lambda: evaluate(plan), repeat), floor, "hand-written scan over lists"
    )


def report(what: str, seconds: float, floor: float, floor_name: str) -> None:
    """One row of the table."""
    print(f"{what:58}{seconds * 1e3:9.1f} ms{floor * 1e3:9.1f} ms{seconds / floor:7.2f} x  {floor_name}")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bins", type=int, default=8760)
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--loops", type=int, default=100)
    parser.add_argument("--repeat", type=int, default=7)
    options = parser.parse_args()
    print(f"{f'{options.bins} bins':58}{'flowtime':>12}{'floor':>12}{'ratio':>9}")
    feed_forward(options.nodes, options.bins, options.repeat)
    backlog_loops(options.loops, options.bins, options.repeat)
    unlike_loops(options.loops, options.bins, options.repeat)


if __name__ == "__main__":
    main()
