"""Feedback groups: nodes that depend on each other through a delay, evaluated bin by bin.

A group's formulas become a `Body`: numbered lines over numbered members, inputs and constants. What does
not depend on the group is taken out and computed as whole vectors before. Bodies that are equal differ
only in the series and numbers they are given, so one generated function serves them all. It exists in
three forms that give the same bits:

- the quick scan, Python floats in one pass, which leaves aside missing values and warnings;
- the careful scan, which cleans every value and notes divisions by zero; taken where the quick one meets
  a division by zero or ends with a value that is not finite;
- the scan over rows, which evaluates many groups with equal bodies at once, one NumPy row per bin.

The generated text holds nothing of the user's but integer lags; names are v0 (members), x0 (inputs), c0
(constants), t0 (parts of formulas).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal

import numpy as np

from flowtime.core.functions import KERNELS, SCALARS
from flowtime.engine.formula import Formula, Operand, Operation, placed

Form = Literal["quick", "careful", "rows"]

UNROLLED_TAPS = 8
"""Kernels with more taps than this are summed by an inner loop."""


@dataclass(frozen=True, slots=True)
class Line:
    """One operation of a body: `out` is a member (v0) or a part (t0); see `Operation` for the rest.

    The literals are names of constants and integer lags.
    """

    out: str
    function: str
    operands: tuple[str, ...]
    literals: tuple[Any, ...]
    guards: tuple[tuple[str, bool], ...]
    late: bool


@dataclass(frozen=True, slots=True)
class Body:
    """The shape of a group: how many members, inputs and constants, and the lines in order."""

    members: int
    inputs: int
    constants: int
    lines: tuple[Line, ...]

    @property
    def always_careful(self) -> bool:
        """Whether the quick scan could differ: POW tells the two zeros apart, cleaning makes them one."""
        return any(line.function == "POW" for line in self.lines)

    @property
    def as_rows(self) -> bool:
        """Whether the scan over rows can evaluate the body: it must have no choice
        to make bin by bin, and no long kernels."""
        return not self.always_careful and not any(
            line.guards or (line.function == "CONV" and len(line.literals) > UNROLLED_TAPS)
            for line in self.lines
        )


@dataclass(frozen=True, slots=True)
class Group:
    """A feedback group: its members in their order inside a bin, and what its body is given.

    `hoisted` are formulas computed beforehand as whole vectors, under ids that no node can have;
    `inputs` are ids of nodes or hoisted formulas.
    """

    members: tuple[Formula, ...]
    hoisted: tuple[tuple[str, Formula], ...]
    inputs: tuple[str, ...]
    constants: tuple[float, ...]
    body: Body


def build(members: Sequence[Formula]) -> Group:
    """The group of these formulas, which are in the order of evaluation inside a bin."""
    builder = _Builder(members)
    for formula in members:
        builder.add(formula)
    body = Body(len(members), len(builder.inputs), len(builder.constants), tuple(builder.lines))
    return Group(
        tuple(members), tuple(builder.hoisted), tuple(builder.inputs), tuple(builder.constants), body
    )


class _Builder:
    def __init__(self, members: Sequence[Formula]) -> None:
        self.members = {formula.node: f"v{index}" for index, formula in enumerate(members)}
        self.hoisted: list[tuple[str, Formula]] = []
        self.inputs: dict[str, str] = {}
        self.constants: list[float] = []
        self.lines: list[Line] = []
        self.parts = 0

    def add(self, formula: Formula) -> None:
        inside = self._depends_on_group(formula.operations)
        names: dict[int, str] = {}
        hoisted: dict[int, Formula] = {}

        def name(operand: Operand) -> str:
            if isinstance(operand, str):
                return self.members.get(operand) or self.input(operand)
            if isinstance(operand, float):
                return self.constant(operand)
            if operand not in names:
                hoisted[operand] = _part(formula, operand)
                names[operand] = self.input(_part_id(formula, operand))
            return names[operand]

        for index, operation in enumerate(formula.operations):
            if not inside[index]:
                continue
            if index == len(formula.operations) - 1:
                out = self.members[formula.node]
            else:
                out, self.parts = f"t{self.parts}", self.parts + 1
            operands = tuple(name(operand) for operand in operation.operands)
            guards = tuple((name(condition), taken) for condition, taken in operation.guards)
            literals = self.literals(operation)
            self.lines.append(Line(out, operation.function, operands, literals, guards, operation.late))
            names[index] = out
        # in the order of the formula, as the guards of one part may be the values of an earlier one
        self.hoisted += [(_part_id(formula, last), hoisted[last]) for last in sorted(hoisted)]

    def _depends_on_group(self, operations: tuple[Operation, ...]) -> list[bool]:
        inside: list[bool] = []
        for operation in operations:
            # a division warns by its guards, so it stays where they are known
            read = [*operation.operands, *(condition for condition, _ in operation.guards)]
            inside.append(any(inside[o] if isinstance(o, int) else o in self.members for o in read))
        return inside

    def input(self, id: str) -> str:
        return self.inputs.setdefault(id, f"x{len(self.inputs)}")

    def constant(self, value: float) -> str:
        self.constants.append(value)
        return f"c{len(self.constants) - 1}"

    def literals(self, operation: Operation) -> tuple[Any, ...]:
        match operation.function, operation.literals:
            case "SHIFT", (lag, initial):
                return (lag, self.constant(initial))
            case "CONV", (taps,):
                return tuple((lag, self.constant(weight)) for lag, weight in taps)
            case "EMA", (alpha,):
                return (self.constant(alpha),)
        return operation.literals


def _part_id(formula: Formula, last: int) -> str:
    return f"{formula.node}:{last}"


def _part(formula: Formula, last: int) -> Formula:
    """The part of a formula that ends with operation `last`: in postorder, one slice of the operations."""
    first = last
    while (
        earlier := next((o for o in formula.operations[first].operands if isinstance(o, int)), None)
    ) is not None:
        first = earlier

    def moved(operand: Operand) -> Operand:
        if not isinstance(operand, int):
            return operand
        # a guard before the slice is the condition of an IF around it, which is a part of its own
        return operand - first if operand >= first else _part_id(formula, operand)

    def moved_operation(operation: Operation) -> Operation:
        return replace(
            operation,
            operands=tuple(moved(operand) for operand in operation.operands),
            guards=tuple((moved(condition), taken) for condition, taken in operation.guards),
        )

    operations = tuple(moved_operation(operation) for operation in formula.operations[first : last + 1])
    operations, scratch = placed(operations)
    return replace(formula, operations=operations, scratch=scratch)


@lru_cache(maxsize=1024)
def compiled(body: Body, form: Form) -> Callable[..., None]:
    """The generated function of a body.

    quick    scan(bins, inputs, constants, results)
    careful  scan(bins, inputs, constants, results, zeros, infinities)
    rows     scan(bins, inputs, constants, results, size)

    `inputs` and `results` are lists of one value per bin for each input and member (in the rows form, of
    one `(groups,)` row per bin), `constants` numbers (rows). `zeros` and `infinities` hold a list for
    each member, which takes the bins of its divisions by zero and infinite results. The quick form
    raises ZeroDivisionError where the careful one must be taken.
    """
    text = source(body, form)
    namespace: dict[str, Any] = dict(SCALARS)
    if form == "rows":
        namespace |= {
            "empty": np.empty,
            "full": np.full,
            "copyto": np.copyto,
            "add": np.add,
            "multiply": np.multiply,
        }
        namespace |= {
            _kernel_name(name): _row_kernel(name) for name in {line.function for line in body.lines}
        }
    exec(compile(text, "<feedback group>", "exec"), namespace)  # noqa: S102 - text of our own, see the module
    scan: Callable[..., None] = namespace["scan"]
    return scan


def source(body: Body, form: Form) -> str:
    """The text of a body's generated function."""
    return (_RowScan(body) if form == "rows" else _ScalarScan(body, careful=form == "careful")).text()


def _kernel_name(function: str) -> str:
    return f"f{list(KERNELS).index(function)}"


def _row_kernel(function: str) -> Callable[..., Any]:
    # rows stop at a division by zero, so the plain quotient is enough
    kernel = np.divide if function == "/" else KERNELS[function].vector
    assert kernel is not None
    return kernel


def _history(series: str) -> str:
    """The list of a series' values so far."""
    return f"{'r' if series[0] == 'v' else 'h'}{series[1:]}"


def _block(lines: Iterable[str], indent: int) -> str:
    return "".join(" " * indent + line + "\n" for line in lines)


def _tuple(prefix: str, count: int) -> str:
    return "".join(f"{prefix}{index}, " for index in range(count))


class _Scan(ABC):
    """What the forms have in common: the order of lines, delays, and what is kept from bin to bin.

    Lines go to `before` the loop over bins, into the `loop`, or to the end of each bin (`after`).
    """

    arguments = "bins, inputs, constants, results"

    def __init__(self, body: Body) -> None:
        self.body = body
        self.before: list[str] = []
        self.loop: list[str] = []
        self.after: list[tuple[int, str]] = []
        self.alias: dict[str, str] = {}
        self.kept = {line.operands[0] for line in body.lines if self.keeps(line)}
        if body.constants:
            self.before.append(f"{_tuple('c', body.constants)}= constants")
        self.before.append(f"{_tuple('r', body.members)}= results")

    def text(self) -> str:
        owner = 0
        owners = []
        for line in self.body.lines:
            owners.append(owner)
            owner += line.out[0] == "v"
        for number, line in sorted(enumerate(self.body.lines), key=lambda item: item[1].late):
            self.write(
                number, replace(line, operands=tuple(map(self.name, line.operands))), line, owners[number]
            )
        # the delay of a delay stands after the inner one, and takes its old value before that moves on
        loop = [*self.loop, *(text for _, text in sorted(self.after, reverse=True))]
        return f"def scan({self.arguments}):\n{_block(self.before, 4)}    {self.header()}\n{_block(loop, 8)}"

    @abstractmethod
    def keeps(self, line: Line) -> bool:
        """Whether the line needs a list of all values of its series."""

    def name(self, operand: str) -> str:
        return self.alias.get(operand, operand)

    @abstractmethod
    def header(self) -> str:
        """The loop over bins."""

    @abstractmethod
    def write(self, number: int, line: Line, raw: Line, owner: int) -> None:
        """Write one line. `raw` has its operands before renaming; `owner` is the member it belongs to."""


class _ScalarScan(_Scan):
    def __init__(self, body: Body, careful: bool) -> None:
        super().__init__(body)
        self.careful = careful
        # the value of the bin before needs no name of its own
        self.alias = {
            line.out: f"e{number}"
            for number, line in enumerate(body.lines)
            if line.function == "SHIFT" and line.literals[0] == 1 and line.out[0] == "t"
        }
        self.before += [f"{_history(part)} = [0.0] * bins" for part in sorted(self.kept) if part[0] == "t"]
        if careful:
            self.arguments += ", zeros, infinities"
            for index in range(body.members):
                self.before.append(f"z{index} = zeros[{index}].append; i{index} = infinities[{index}].append")

    def keeps(self, line: Line) -> bool:
        return line.function == "CONV" or (line.function == "SHIFT" and line.literals[0] > 1)

    def header(self) -> str:
        inputs = _tuple("x", self.body.inputs)
        return f"for t, {inputs}in zip(range(bins), *inputs):" if inputs else "for t in range(bins):"

    def write(self, number: int, line: Line, raw: Line, owner: int) -> None:
        out = line.out
        state = f"e{number}"
        match line.function:
            case "SHIFT" if line.literals[0] == 1:
                self.before.append(f"{state} = {line.literals[1]}")
                self.after.append((number, f"{state} = {line.operands[0]}"))
                if out[0] == "v":
                    self.loop.append(f"{out} = {state}")
            case "SHIFT":
                lag, initial = line.literals
                past = _history(raw.operands[0])
                self.loop.append(f"{out} = {past}[t - {lag}] if t >= {lag} else {initial}")
            case "CONV":
                self.convolve(number, line, _history(raw.operands[0]))
            case "EMA":
                (alpha,) = line.literals
                x = line.operands[0]
                self.before += [f"{state} = nan", f"d{number} = 1.0 - {alpha}"]
                self.loop.append(f"{out} = {state} = {x} if t == 0 else {alpha} * {x} + d{number} * {state}")
            case "CUMSUM":
                self.before.append(f"{state} = -0.0")
                self.loop.append(f"{out} = {state} = {state} + {line.operands[0]}")
            case "PULSE":
                period, phase = line.literals
                pulse = f"t >= {phase} and (t - {phase}) % {period} == 0"
                self.loop.append(f"{out} = {line.operands[0]} if {pulse} else 0.0")
            case "/":
                self.divide(line, owner)
            case function:
                self.loop.append(f"{out} = {KERNELS[function].scalar.format(*line.operands)}")
        if out[0] == "v":
            if self.careful:
                self.clean(out)
            self.loop.append(f"{_history(out)}[t] = {out}")
        elif out in self.kept:
            self.loop.append(f"{_history(out)}[t] = {self.name(out)}")

    def convolve(self, number: int, line: Line, past: str) -> None:
        self.loop.append(f"{line.out} = 0.0")
        if len(line.literals) <= UNROLLED_TAPS:
            for lag, weight in line.literals:
                self.loop.append(f"if t >= {lag}: {line.out} += {weight} * {past}[t - {lag}]")
            return
        taps = "".join(f"({lag}, {weight}), " for lag, weight in line.literals)
        self.before.append(f"k{number} = ({taps})")
        self.loop += [
            f"for j, w in k{number}:",
            "    if j > t: break",
            f"    {line.out} += w * {past}[t - j]",
        ]

    def divide(self, line: Line, owner: int) -> None:
        out, (a, b) = line.out, line.operands
        # a missing condition takes neither branch; as a Python truth value it would be true
        taken = [f"{c} and {c} == {c}" if want else f"not {c}" for c, want in self.guards(line)]
        chosen = " and ".join(taken)
        if self.careful:
            note = f"if {chosen}: z{owner}(t)" if taken else f"z{owner}(t)"
            self.loop += [
                f"if {b}: {out} = {a} / {b}",
                f"elif {a} == {a}:",
                f"    {out} = 0.0",
                f"    {note}",
                f"else: {out} = nan",
            ]
        elif taken:
            # Python raises on a division by zero, which calls for the careful form
            self.loop.append(f"{out} = {a} / {b} if {b} or ({chosen}) else 0.0 if {a} == {a} else nan")
        else:
            self.loop.append(f"{out} = {a} / {b}")

    def guards(self, line: Line) -> list[tuple[str, bool]]:
        return [(self.name(condition), want) for condition, want in line.guards]

    def clean(self, out: str) -> None:
        self.loop += [
            f"if {out} - {out}:",
            f"    if {out} == {out}: i{out[1:]}(t)",
            f"    {out} = nan",
            f"else: {out} += 0.0",
        ]


class _RowScan(_Scan):
    arguments = "bins, inputs, constants, results, size"

    def __init__(self, body: Body) -> None:
        super().__init__(body)
        self.before.append("scratch = empty(size)")

    def keeps(self, line: Line) -> bool:
        # also for the bin before: a part's row would be overwritten
        return line.function in ("CONV", "SHIFT")

    def header(self) -> str:
        names = _tuple("x", self.body.inputs) + _tuple("v", self.body.members)
        return f"for t, {names}in zip(range(bins), *inputs, *results):"

    def write(self, number: int, line: Line, raw: Line, owner: int) -> None:
        out = line.out
        state = f"e{number}"
        if line.function == "SHIFT":
            self.shift(number, line, raw)
            return
        if out in self.kept and out[0] == "t":
            self.before.append(f"{_history(out)} = list(empty((bins, size)))")
            self.loop.append(f"{out} = {_history(out)}[t]")
        elif out[0] == "t":
            self.before.append(f"{out} = empty(size)")
        match line.function:
            case "CONV":
                self.convolve(line, _history(raw.operands[0]))
            case "EMA":
                (alpha,) = line.literals
                self.before += [f"{state} = empty(size)", f"d{number} = 1.0 - {alpha}"]
                self.loop += [
                    f"if t == 0: copyto({out}, {line.operands[0]})",
                    "else:",
                    f"    multiply({alpha}, {line.operands[0]}, out={out})",
                    f"    multiply(d{number}, {state}, out=scratch)",
                    f"    add({out}, scratch, out={out})",
                    f"copyto({state}, {out})",
                ]
            case "CUMSUM":
                self.before.append(f"{state} = full(size, -0.0)")
                self.loop += [
                    f"add({state}, {line.operands[0]}, out={state})",
                    f"copyto({out}, {state})",
                ]
            case "PULSE":
                period, phase = line.literals
                pulse = f"t >= {phase} and (t - {phase}) % {period} == 0"
                self.loop.append(f"copyto({out}, {line.operands[0]} if {pulse} else 0.0)")
            case function:
                self.loop.append(f"{_kernel_name(function)}({', '.join(line.operands)}, out={out})")

    def shift(self, number: int, line: Line, raw: Line) -> None:
        """Rows are written once, so earlier ones can be read where they lie."""
        state = f"e{number}"
        lag, initial = line.literals
        past = _history(raw.operands[0])
        if lag == 1:
            self.before.append(f"{state} = {initial}")
            self.after.append((number, f"{state} = {line.operands[0]}"))
            value = state
        else:
            value = f"{past}[t - {lag}] if t >= {lag} else {initial}"
        if line.out[0] == "v":
            self.loop.append(f"copyto({line.out}, {value})")
            return
        if line.out in self.kept:
            self.before.append(f"{_history(line.out)} = [None] * bins")
            self.loop.append(f"{line.out} = {_history(line.out)}[t] = {value}")
        else:
            self.loop.append(f"{line.out} = {value}")

    def convolve(self, line: Line, past: str) -> None:
        self.loop.append(f"{line.out}.fill(0.0)")
        for lag, weight in line.literals:
            self.loop += [
                f"if t >= {lag}:",
                f"    multiply({weight}, {past}[t - {lag}], out=scratch)",
                f"    add({line.out}, scratch, out={line.out})",
            ]
