"""How a plan becomes lines of arithmetic in functions, and where their values lie in memory."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from flowtime.core.arithmetic import NOTED
from flowtime.engine.expansion import WaitsNode
from flowtime.engine.formula import Formula, Operand, Operation
from flowtime.engine.notes import Note
from flowtime.engine.plan import Feedback, Plan, Single, Waits
from flowtime.errors import InvalidInput

PAGE = 65_536
MAX_BYTES = 2**32 - PAGE
FUNCTION_LINES = 300
"""About how many lines make a function; compilers take more than twice as long for twice as many."""
UNROLLED_TAPS = 8
"""Kernels with more taps than this are summed by a loop."""
BLOCK = 256
"""Bins that one function computes before the next one; what lies between them stays in the cache."""
BLOCK_OPERATIONS = 2_000_000
"""Operations in a block at most, about 5 ms, so that a run can be interrupted; unless a bin has more."""


@dataclass(frozen=True, slots=True)
class Memory:
    """Where things lie in a program's memory, in bytes from its beginning; numbers are little-endian.

    `recorded`: the float64 rows of the recorded series, one after another, of `bins` values each; `repeated`
    rows are left to the host to copy, as (row, row of the other). `given`: the row of each source that the
    host fills in before the first run. `drawn`: the rows of draws, one after another. `marks`: for each note
    a byte for each bin, 1 where it was met. `counts`: for each note a uint32 in how many points, 8 bytes
    apart. `since`: a uint32 for each given source: the first missing bin + 1, else 0.
    """

    bytes: int
    block: int
    recorded: int
    repeated: tuple[tuple[int, int], ...]
    given: Mapping[str, int]
    drawn: int
    marks: int
    counts: int
    since: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Line:
    """One step inside a bin. `out` is the number of its value; operands are such numbers, or floats.

    `function` is that of an operation, or `draw` for a row of draws, or `clean` for the value of a node,
    which has its `formula`.
    """

    out: int
    function: str
    operands: tuple[int | float, ...] = ()
    literals: tuple[Any, ...] = ()
    guards: tuple[tuple[int | float, bool], ...] = ()
    formula: Formula | None = None
    node: str = ""

    def reads(self, number: Mapping[str, int]) -> Iterator[int]:
        """The numbers of the values that are read in the same bin, or kept for later ones."""
        yield from (operand for operand in self.operands if isinstance(operand, int))
        yield from (condition for condition, _ in self.guards if isinstance(condition, int))
        if self.formula is not None and not self.formula.memory:
            yield from (number[id] for id in self.formula.now)


@dataclass(slots=True)
class Function:
    """The lines of one function."""

    lines: list[Line]


@dataclass(slots=True)
class Stage:
    """Functions that go together through the bins: one that may take pairs, or those of feedback groups; or
    the waits of a queue. Those that are `late` go through all bins when the others have.
    """

    functions: list[Function]
    pairs: bool
    late: bool = False
    waits: WaitsNode | None = None


class Layout:
    """The lines of a plan in functions, and what lies where in the memory of its program."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.bins = plan.model.grid.bins
        self.number: dict[str, int] = {}
        self.values = 0
        self.constants: dict[int, float] = {}
        self.notes: dict[Note, int] = {}
        self.stages: list[Stage] = []
        self.waits = [step.node for step in plan.steps if isinstance(step, Waits)]
        self._arrange()
        functions = [function for stage in self.stages for function in stage.functions]
        self.lines = [line for function in functions for line in function.lines]
        self.home = {line.out: index for index, f in enumerate(functions) for line in f.lines}
        self.operations = sum(self._cost(line) for line in self.lines)
        self.block = BLOCK
        while self.block > 2 and self.block * self.operations > BLOCK_OPERATIONS:
            self.block //= 2
        self.end = 16
        self.data: list[tuple[int, bytes]] = []
        self.states: dict[int, int] = {}
        self.tables: dict[int, tuple[int, int]] = {}
        self.inputs: dict[str, tuple[int, int]] = {}
        self.rows: dict[int, int] = {}
        self.buffers: dict[int, int] = {}
        self._lay_out(functions)

    # Lines and functions

    def _new(self) -> int:
        self.values += 1
        return self.values - 1

    def _arrange(self) -> None:
        for source in self.plan.sources:
            self.number[source.node] = self._new()
            if source.constant is not None:
                self.constants[self.number[source.node]] = source.constant
        for formula in self.plan.formulas:
            self.number[formula.node] = self._new()
        for queue in self.waits:
            self.number |= {id: self._new() for id in queue.measures.values()}
        drawn = [Line(self.number[source.node], "draw", node=source.node) for source in self.plan.drawn]
        for line in drawn:
            self._note("FT302", line.node)
        self._put(drawn, pairs=True)
        for step in self.plan.steps:
            if isinstance(step, Single):
                late = step.formula.node in self.plan.late
                self._put([line for line, _ in self._flat(step.formula)], pairs=True, late=late)
            elif isinstance(step, Waits):
                late = step.node.id in self.plan.late
                self.stages.append(Stage([], pairs=False, late=late, waits=step.node))
            elif isinstance(step, Feedback):
                lines = [item for formula in step.members for item in self._flat(formula)]
                lines.sort(key=lambda item: item[1])
                late = step.members[0].node in self.plan.late
                self._put([line for line, _ in lines], pairs=False, late=late)

    def _note(self, code: str, node: str) -> None:
        self.notes.setdefault((code, node), len(self.notes))

    def _flat(self, formula: Formula) -> list[tuple[Line, bool]]:
        """The lines of a formula in order, and whether each is read in later bins only."""
        numbers = [self._new() for _ in formula.operations]

        def operand(operand: Operand) -> int | float:
            if isinstance(operand, float):
                return operand
            number = numbers[operand] if isinstance(operand, int) else self.number[operand]
            return self.constants.get(number, number)

        lines = []
        for number, operation in zip(numbers, formula.operations, strict=True):
            operands = tuple(map(operand, operation.operands))
            if operation.function in ("SHIFT", "CONV"):
                # a constant source has a row of its own where a delay reads it
                (x,) = operation.operands
                operands = (self.number[x] if isinstance(x, str) else numbers[int(x)],)
            guards: tuple[tuple[int | float, bool], ...] = ()
            if operation.may_divide_by_zero:
                self._note("FT301", formula.node)
            if operation.function in NOTED:
                self._note(NOTED[operation.function][0], formula.node)
            if operation.may_divide_by_zero:
                guards = tuple((operand(condition), taken) for condition, taken in operation.guards)
            line = Line(
                number, operation.function, operands, self._literals(operation), guards, node=formula.node
            )
            lines.append((line, operation.late))
        if not formula.quiet:
            self._note("FT302", formula.node)
        out = self.number[formula.node]
        lines.append((Line(out, "clean", (numbers[-1],), formula=formula, node=formula.node), False))
        return lines

    def _literals(self, operation: Operation) -> tuple[Any, ...]:
        """The literals of an operation; what lies beyond the last bin is cut off."""
        match operation.function, operation.literals:
            case "SHIFT", (lag, initial):
                return (min(lag, self.bins), initial)
            case "CONV", (taps,):
                return (tuple((lag, weight) for lag, weight in taps if lag < self.bins),)
            case "PULSE", (period, phase):
                return (min(period, self.bins), min(phase, self.bins))
        return operation.literals

    def _put(self, lines: list[Line], *, pairs: bool, late: bool = False) -> None:
        """Adds lines that belong together to the last stage, or in one or more new ones."""
        last = self.stages[-1] if self.stages else None
        if last is not None and (last.pairs, last.late) != (pairs, late):
            last = None
        if last is not None and len(last.functions) == 1:
            together = last.functions[0].lines
            if len(together) + len(lines) <= FUNCTION_LINES:
                together += lines
                return
        pieces = [lines[at : at + FUNCTION_LINES] for at in range(0, len(lines), FUNCTION_LINES)]
        functions = [Function(piece) for piece in pieces]
        if pairs:
            self.stages += [Stage([function], pairs=True, late=late) for function in functions]
        elif functions:
            self.stages.append(Stage(functions, pairs=False, late=late))

    def _cost(self, line: Line) -> int:
        return 1 + len(line.literals[0]) if line.function == "CONV" else 1

    # Memory

    def _take(self, size: int) -> int:
        """The address of so many bytes, whole pairs of doubles."""
        address = self.end
        self.end += -(-size // 16) * 16
        return address

    def _lay_out(self, functions: list[Function]) -> None:
        model, row = self.plan.model, 8 * self.bins
        recorded = [self.number[node.id] for _, node in model.recorded()]
        kept, crossing = self._kept(functions)
        initial: list[float] = []
        for line in self.lines:
            if line.out in self.states:
                self.states[line.out] = 8 * len(initial)
                initial.append(self._initial(line))
        self.state_bytes = 8 * len(initial)
        self.state_at, self.initial_at = self._take(self.state_bytes), self._take(self.state_bytes)
        self.states = {out: self.state_at + offset for out, offset in self.states.items()}
        if any(value != 0.0 or math.copysign(1.0, value) < 0.0 for value in initial):
            self.data.append((self.initial_at, struct.pack(f"<{len(initial)}d", *initial)))
        computed = [*(f.node for f in self.plan.formulas), *(source.node for source in self.plan.drawn)]
        computed += [id for queue in self.waits for id in queue.measures.values()]
        given = [source.node for source in self.plan.sources if not source.is_drawn]
        self.computed_bytes = 4 * len(computed)
        since = self._take(4 * (len(computed) + len(given)))
        self.since = {id: since + 4 * index for index, id in enumerate([*computed, *given])}
        self.counts = self._take(8 * len(self.notes))
        for line in self.lines:
            if line.function == "CONV" and len(line.literals[0]) > UNROLLED_TAPS:
                table = b"".join(struct.pack("<qd", 8 * lag, weight) for lag, weight in line.literals[0])
                self.tables[line.out] = (self._take(len(table)), len(table))
                self.data.append((self.tables[line.out][0], table))
        for formula in self.plan.formulas:
            if formula.memory:
                read = [(self.since[id], 0) for id in formula.now] + [
                    (self.since[id], 1) for id in formula.delayed
                ]
                table = b"".join(struct.pack("<II", *entry) for entry in read)
                address = self._take(len(table))
                self.inputs[formula.node] = (address, address + len(table))
                self.data.append((address, table))
        self.buffers = {number: self._take(8 * self.block) for number in crossing}
        drawn = self._take(row * len(self.plan.drawn))
        self.draws = {source.node: drawn + index * row for index, source in enumerate(self.plan.drawn)}
        matrix = self._take(row * len(recorded))
        repeated = []
        for index, number in enumerate(recorded):
            if number in self.rows:
                repeated.append((index, (self.rows[number] - matrix) // row))
            else:
                self.rows[number] = matrix + index * row
        for number in kept:
            if number not in self.rows:
                self.rows[number] = self._take(row)
        self.scratch = self._rooms()
        marks = self._take(self.bins * len(self.notes))
        if self.end > MAX_BYTES:
            raise InvalidInput(
                "FT309",
                f"{len(model.nodes):,} nodes in {self.bins:,} bins, with what their delays keep, "
                f"take {self.end / 1e9:,.1f} GB; 4 GB are allowed",
                hint="take fewer or larger bins, or divide the model",
            )
        self.memory = Memory(
            bytes=self.end,
            block=self.block,
            recorded=matrix,
            repeated=tuple(repeated),
            given={id: self.rows[self.number[id]] for id in given if self.number[id] in self.rows},
            drawn=drawn,
            marks=marks,
            counts=self.counts + 4,
            since={id: self.since[id] for id in given},
        )

    def _rooms(self) -> dict[str, tuple[int, ...]]:
        """For the waits of each queue: a row of nothing, amounts, fills, bounds and masses, state, and a row
        for what is not wanted.
        """
        if not self.waits:
            return {}
        row, parts = 8 * self.bins, 8 * (2 * self.bins + 2)
        shared = [self._take(size) for size in (row, parts, parts, parts, row)]
        nothing, low, high, mass, unwanted = shared
        return {
            queue.id: (nothing, self._take(parts), self._take(row), low, high, mass, self._take(24), unwanted)
            for queue in self.waits
        }

    def _kept(self, functions: list[Function]) -> tuple[list[int], list[int]]:
        """The values that need a row, and those that need a buffer, as other functions read them."""
        kept = dict.fromkeys(self.number[id] for queue in self.waits for id in queue.reads)
        late = [stage.late for stage in self.stages for _ in stage.functions]
        crossing: dict[int, None] = {}
        for index, function in enumerate(functions):
            for line in function.lines:
                rows = line.operands if line.function == "CONV" else ()
                if line.function in ("EMA", "CUMSUM"):
                    self.states[line.out] = 0
                elif line.function == "SHIFT":
                    (x,) = line.operands
                    # the value of the bin before is a local, unless a later function computes it
                    if line.literals[0] == 1 and self.home.get(int(x), -1) <= index:
                        self.states[line.out] = 0
                    elif line.literals[0] < self.bins:
                        rows = line.operands
                kept |= dict.fromkeys(int(x) for x in rows)
                for number in line.reads(self.number):
                    home = self.home.get(number, index)
                    given = number not in self.constants and number not in self.home
                    if given or late[home] != late[index]:
                        kept[number] = None
                    elif home != index and number not in kept:
                        crossing[number] = None
        recorded = {self.number[node.id] for _, node in self.plan.model.recorded()}
        return list(kept), [number for number in crossing if number not in kept and number not in recorded]

    def _initial(self, line: Line) -> float:
        match line.function:
            case "SHIFT":
                return float(line.literals[1])
            case "CUMSUM":
                return -0.0
        return math.nan
