"""Programs: a plan as WebAssembly, which gives the bits of `reference` on every machine and in browsers.

A module imports its memory and exports `begin()`, which begins a point; `run(first, end)`, which computes a
range of its bins, the first of which is a multiple of the block; and `points(count, draws, out)`, which
computes all bins once for each of several sets of draws. What lies where in the memory is in
`Program.to_json`.

A program is a list of functions of about a hundred formulas, each with a loop over bins. Formulas outside
feedback groups take two bins at a time and only look whether all of their values are finite; where one is
not, the same bins are done again one by one, with cleaning and notes. Groups always go one by one. A value
is a local of its function; a buffer for a block of bins where another function reads it; a row for all
bins where it is recorded or a delay reads it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

import numpy as np

from flowtime.core.arithmetic import LARGEST_PART
from flowtime.core.arithmetic import NOTED as NOTES
from flowtime.core.series import FloatArray
from flowtime.engine.expansion import WaitsNode
from flowtime.engine.formula import Formula
from flowtime.engine.instructions import (
    CONVOLVE,
    ELEMENTARY,
    EXCUSED,
    MISSING,
    NOTE,
    NOTED,
    PAIR,
    QUIET,
    SETTLE,
    SINGLE,
    Form,
)
from flowtime.engine.layout import PAGE, Function, Layout, Line, Memory
from flowtime.engine.notes import Note
from flowtime.engine.plan import Plan
from flowtime.engine.waits import ORDER
from flowtime.errors import InvalidInput
from flowtime.texts import count

_ESCAPED = [f"\\{byte:02x}" for byte in range(256)]
_ZERO = "(i32.const 0)"


@dataclass(frozen=True, slots=True)
class Program:
    """A plan as the text of a WebAssembly module, and the description of its memory."""

    plan: Plan = field(repr=False)
    text: str = field(repr=False)
    memory: Memory
    notes: tuple[Note, ...]
    operations: int
    """How many operations a bin takes, about."""

    def to_json(self, fixed: Mapping[str, FloatArray], drawn: FloatArray) -> dict[str, Any]:
        """What a page needs to run the module in a memory of so many `pages`: what to write into it, what to
        call, and where the results lie. Addresses are in bytes, numbers little-endian.

        `fixed` are the `(bins,)` series of sources by node id, `drawn` the `(drawn, bins)` rows of draws.
        Before the first point, the rows of `given` are written at their addresses as float64, NaN for null,
        and each of `since`, the first missing bin + 1, as uint32. For a point, the rows of `drawn` are
        written one after another, then `begin()` is called, and each of the `passes` with the first bin and
        the one after the last. Then `recorded` has the float64 rows of its series one after another; each of
        `repeated` is a row that is a copy of another.
        """
        model, memory = self.plan.model, self.memory
        recorded = [
            {"component": key.component, "measure": key.measure, "unit": self.plan.units[node.id]}
            for key, node in model.recorded()
        ]
        given = [{"node": id, "at": at, "values": _values(fixed[id])} for id, at in memory.given.items()]
        first = {at: np.flatnonzero(np.isnan(fixed[id])) for id, at in memory.since.items()}
        return {
            "bins": model.grid.bins,
            "pages": -(-memory.bytes // PAGE),
            "given": given,
            "since": [{"at": at, "value": int(bins[0]) + 1} for at, bins in first.items() if bins.size],
            "drawn": {
                "at": memory.drawn,
                "nodes": [source.node for source in self.plan.drawn],
                "rows": [_values(row) for row in drawn],
            },
            "passes": ["run", "again"] if self.plan.late else ["run"],
            "recorded": {"at": memory.recorded, "series": recorded, "repeated": memory.repeated},
            "notes": {"marks": memory.marks, "counts": memory.counts, "of": self.notes},
        }


def _values(row: FloatArray) -> list[float | None]:
    return [None if value != value else value for value in row.tolist()]  # noqa: PLR0124 (NaN alone)


def compile(plan: Plan) -> Program:
    """The program of a plan. Raises InvalidInput (FT309) where its memory would be over 4 GB."""
    layout = Layout(plan)
    text = "\n".join(_module(layout)) + "\n"
    return Program(plan, text, layout.memory, tuple(layout.notes), layout.operations)


def outline(plan: Plan) -> str:
    """A line about the program of a plan: its functions and its memory, or why there is none."""
    try:
        layout = Layout(plan)
    except InvalidInput as error:
        return f"no program: {error.message}"
    functions = [max(1, len(stage.functions)) for stage in layout.stages]
    pairs = sum(stage.pairs for stage in layout.stages)
    ways = f"{pairs} two bins at a time, {sum(functions) - pairs} bin by bin"
    operations = count(layout.operations, "operation")
    memory = f"{layout.memory.bytes / 1e6:,.1f} MB of memory"
    return f"program: {operations} a bin in {count(sum(functions), 'function')} ({ways}), {memory}"


def _module(layout: Layout) -> Iterator[str]:
    pages = -(-layout.end // PAGE)
    yield "(module"
    yield f'(import "flowtime" "memory" (memory {pages}))'
    yield "(global $point (mut i32) (i32.const 0))"
    for address, data in layout.data:
        yield f'(data (i32.const {address}) "{"".join(map(_ESCAPED.__getitem__, data))}")'
    functions = {line.function for line in layout.lines}
    if functions & ELEMENTARY.keys():
        yield files("flowtime.core").joinpath("elementary.wat").read_text(encoding="utf-8")
    if layout.notes:
        yield NOTE.format(
            marks=layout.memory.marks, bins=layout.bins, times=layout.counts, counts=layout.counts + 4
        )
        yield SETTLE
        yield EXCUSED
    if any(formula.quiet for formula in layout.plan.formulas):
        yield QUIET
    if layout.tables:
        yield CONVOLVE
    if layout.waits:
        yield files("flowtime.engine").joinpath("waits.wat").read_text(encoding="utf-8")
        yield MISSING
    for index, stage in enumerate(layout.stages):
        name = f"$stage{index}"
        if stage.waits is not None:
            yield from _wait(layout, name, stage.waits)
        elif stage.pairs:
            yield from _Body(layout, stage.functions[0], SINGLE, brief=True).function(f"{name}_single")
            yield from _Body(layout, stage.functions[0], PAIR).pairs(name, f"{name}_single")
        elif len(stage.functions) == 1:
            yield from _Body(layout, stage.functions[0], SINGLE).function(name)
        else:
            parts = [f"{name}_{part}" for part in range(len(stage.functions))]
            for part, function in zip(parts, stage.functions, strict=True):
                yield from _Body(layout, function, SINGLE).function(part)
            yield from _bin_by_bin(name, parts)
    yield from _entries(layout)
    yield ")"


def _wait(layout: Layout, name: str, queue: WaitsNode) -> Iterator[str]:
    """A function that computes the waits of a queue."""
    nothing, *scratch, unwanted = layout.scratch[queue.id]
    read = [nothing if id is None else layout.rows[layout.number[id]] for id in queue.series]
    found = [queue.measures.get(measure) for measure in ORDER]
    written = [unwanted if id is None else layout.rows.get(layout.number[id], unwanted) for id in found]
    constants = " ".join(
        f"(f64.load (i32.const {layout.rows[layout.number[value]]}))"
        if isinstance(value, str)
        else f"(f64.const {value.hex()})"
        for value in (queue.initial, queue.limit, queue.slo, queue.scale)
    )
    rows = " ".join(f"(i32.const {at})" for at in (*read, *scratch, *written))
    yield f";; the waits of {queue.owner}"
    yield f"(func {name} (param $t i32) (param $end i32)"
    yield "  (call $waits (i64.extend_i32_s (local.get $t)) (i64.extend_i32_s (local.get $end))"
    yield f"    (i64.const {queue.wanted}) {constants} {rows})"
    for id in queue.measures.values():
        if layout.number[id] in layout.rows:
            where = f"(i32.const {layout.rows[layout.number[id]]}) (i32.const {layout.since[id]})"
            yield f"  (call $missing {where} (local.get $t) (local.get $end))"
    yield ")"


def _bin_by_bin(name: str, parts: list[str]) -> Iterator[str]:
    """A function that takes several others through the bins together."""
    yield f"(func {name} (param $t i32) (param $end i32)"
    yield "  (local $next i32)"
    yield "  (loop $bins"
    yield "    (local.set $next (i32.add (local.get $t) (i32.const 1)))"
    for part in parts:
        yield f"    (call {part} (local.get $t) (local.get $next))"
    yield "    (br_if $bins (i32.lt_s (local.tee $t (local.get $next)) (local.get $end)))))"


def _blocks(layout: Layout, name: str, calls: list[str]) -> Iterator[str]:
    """An exported function that takes others through the blocks of a range of bins."""
    yield f'(func ${name} (export "{name}") (param $first i32) (param $end i32)'
    yield "  (local $stop i32)"
    yield "  (loop $blocks"
    yield f"    (local.set $stop (i32.add (local.get $first) (i32.const {layout.block})))"
    yield "    (if (i32.gt_s (local.get $stop) (local.get $end))"
    yield "      (then (local.set $stop (local.get $end))))"
    for call in calls:
        yield f"    (call {call} (local.get $first) (local.get $stop))"
    yield "    (br_if $blocks (i32.lt_s (local.tee $first (local.get $stop)) (local.get $end)))))"


def _entries(layout: Layout) -> Iterator[str]:
    """What the module exports."""
    early = [f"$stage{index}" for index, stage in enumerate(layout.stages) if not stage.late]
    late = [f"$stage{index}" for index, stage in enumerate(layout.stages) if stage.late]
    states = f"(i32.const {layout.state_at}) (i32.const {layout.initial_at}) (i32.const {layout.state_bytes})"
    since = min(layout.since.values(), default=0)
    yield '(func $begin (export "begin")'
    yield "  (global.set $point (i32.add (global.get $point) (i32.const 1)))"
    yield f"  (memory.copy {states})"
    yield f"  (memory.fill (i32.const {since}) (i32.const 0) (i32.const {layout.computed_bytes})))"
    yield from _blocks(layout, "run", early)
    if late:
        yield from _blocks(layout, "again", late)
    row = 8 * layout.bins
    draws = row * len(layout.plan.drawn)
    recorded = row * len(layout.plan.model.recorded())
    yield '(func (export "points") (param $count i32) (param $draws i32) (param $out i32)'
    yield "  (loop $points"
    yield f"    (memory.copy (i32.const {layout.memory.drawn}) (local.get $draws) (i32.const {draws}))"
    yield "    (call $begin)"
    yield f"    (call $run (i32.const 0) (i32.const {layout.bins}))"
    if late:
        yield f"    (call $again (i32.const 0) (i32.const {layout.bins}))"
    yield f"    (memory.copy (local.get $out) (i32.const {layout.memory.recorded}) (i32.const {recorded}))"
    yield f"    (local.set $draws (i32.add (local.get $draws) (i32.const {draws})))"
    yield f"    (local.set $out (i32.add (local.get $out) (i32.const {recorded})))"
    yield "    (br_if $points (local.tee $count (i32.sub (local.get $count) (i32.const 1))))))"


class _Body:
    """The text of one function. `$p` is 8 times the bin, `$q` the same from the beginning of the block."""

    def __init__(self, layout: Layout, function: Function, form: Form, *, brief: bool = False) -> None:
        """`brief`: the function is for exceptions, and rather small than fast."""
        self.brief = brief
        self.all, self.form, self.lines = layout, form, function.lines
        self.defined: set[int] = set()
        self.locals: dict[str, None] = {}
        self.texts: list[str] = []
        self.bad: list[str] = []
        self.states = [line for line in self.lines if line.out in layout.states]
        for line in self.lines:
            self.write(line)

    def set(self, number: int, text: str) -> None:
        self.defined.add(number)
        self.locals[f"$v{number}"] = None
        self.texts.append(f"(local.set $v{number} {text})")

    def use(self, operand: int | float) -> str:
        """The text of an operand; what another function has computed is loaded once."""
        if isinstance(operand, float):
            return self.form.number(operand)
        if operand in self.all.constants:
            return self.form.number(self.all.constants[operand])
        if operand not in self.defined:
            self.set(operand, self.form.load(self.address(operand)))
        return f"(local.get $v{operand})"

    def address(self, number: int) -> str:
        if number in self.all.rows:
            return f"offset={self.all.rows[number]} (local.get $p)"
        return f"offset={self.all.buffers[number]} (local.get $q)"

    def before(self, number: int, lag: int) -> str:
        """Where the value of `lag` bins ago lies."""
        row = self.all.rows[number]
        if row >= 8 * lag:
            return f"offset={row - 8 * lag} (local.get $p)"
        return f"offset={row} (i32.sub (local.get $p) (i32.const {8 * lag}))"

    def write(self, line: Line) -> None:
        form = self.form
        match line.function:
            case "draw":
                self.settle(line, form.load(f"offset={self.all.draws[line.node]} (local.get $p)"))
            case "clean":
                self.settle(line, self.use(line.operands[0]))
            case "SHIFT":
                self.set(line.out, self.shift(line))
            case "CONV":
                self.convolve(line)
            case "EMA":
                self.average(line)
            case "CUMSUM":
                self.running_sum(line)
            case "PULSE":
                self.pulse(line)
            case "/":
                self.divide(line)
            case function:
                self.set(line.out, form.operation[function].format(*map(self.use, line.operands)))
                if function in NOTED:
                    self.noted(line)
        if line.out in self.all.rows or line.out in self.all.buffers:
            self.texts.append(f"({form.type}.store {self.address(line.out)} (local.get $v{line.out}))")

    def noted(self, line: Line) -> None:
        """Notes the bins in which the operand of a function is worth it."""
        form = self.form
        words = {"form": form.prefix, "zero": form.number(0.0), "most": form.number(LARGEST_PART)}
        tests = [f"({test.format(self.use(line.operands[0]), **words)})" for test in NOTED[line.function]]
        if form is PAIR:
            for test in tests:
                self.suspect(test)
            return
        note = self.all.notes[NOTES[line.function][0], line.node]
        for test in tests:
            self.texts.append(f"(if {test} (then (call $note (i32.const {note}) (local.get $t))))")

    def settle(self, line: Line, value: str) -> None:
        """The value of a node: negative zero becomes zero, and what is not finite is looked at."""
        v = f"(local.get $v{line.out})"
        if self.form is PAIR:
            self.set(line.out, f"(f64x2.add {value} {self.form.number(0.0)})")
            self.suspect(f"(f64x2.sub {v} {v})")
            return
        since = self.all.since[line.node]
        if line.formula is not None and line.formula.quiet:
            self.set(line.out, f"(f64.add {value} (f64.const 0))")
            missing = f"(local.set $v{line.out} (call $quiet (local.get $t) (i32.const {since})))"
            self.texts.append(f"(if (f64.ne (f64.sub {v} {v}) (f64.const 0)) (then {missing}))")
            return
        note = self.all.notes["FT302", line.node]
        excused = "(i32.const 0)" if line.formula is None else self.excused(line.formula)
        where = f"(local.get $t) (i32.const {note}) (i32.const {since}) {excused}"
        if self.brief:
            self.set(line.out, f"(call $settle (f64.add {value} (f64.const 0)) {where})")
            return
        self.set(line.out, f"(f64.add {value} (f64.const 0))")
        settled = f"(local.set $v{line.out} (call $settle {v} {where}))"
        self.texts.append(f"(if (f64.ne (f64.sub {v} {v}) (f64.const 0)) (then {settled}))")

    def excused(self, formula: Formula) -> str:
        """Whether a missing value of an input can be why the value is missing."""
        if formula.memory:
            table, end = self.all.inputs[formula.node]
            return f"(call $excused (local.get $t) (i32.const {table}) (i32.const {end}))"
        found = ""
        for id in formula.now:
            number = self.all.number[id]
            if number not in self.all.constants:
                x = self.use(number)
                found = f"(i32.or (f64.ne {x} {x}) {found})" if found else f"(f64.ne {x} {x})"
        return found or "(i32.const 0)"

    def suspect(self, bits: str) -> None:
        """Has the pair done again one by one where any of the bits are set."""
        self.texts.append(f"(local.set $bad (v128.or (local.get $bad) {bits}))")

    def shift(self, line: Line) -> str:
        lag, initial = line.literals
        (x,) = line.operands
        if line.out in self.all.states:
            if self.form is SINGLE:
                return f"(local.get $s{line.out})"
            lanes = " ".join(map(str, range(8, 24)))
            return f"(i8x16.shuffle {lanes} (local.get $s{line.out}) {self.use(x)})"
        begin = self.form.number(initial)
        if lag >= self.all.bins:
            return begin
        if self.form is PAIR and lag % 2:
            first = f"(f64.load offset={self.all.rows[int(x)]} (i32.const 0))"
            odd = (
                f"(select {first} (f64.const {initial.hex()}) (i32.eq (local.get $t) (i32.const {lag - 1})))"
            )
            begin = f"(f64x2.replace_lane 1 {begin} {odd})"
        past = self.form.load(self.before(int(x), lag))
        late = f"(i32.ge_s (local.get $t) (i32.const {lag}))"
        return f"(if (result {self.form.type}) {late} (then {past}) (else {begin}))"

    def convolve(self, line: Line) -> None:
        """Few taps are written out, where all of them have something to read."""
        form, (taps,), (x,) = self.form, line.literals, line.operands
        if line.out in self.all.tables:
            table, size = self.all.tables[line.out]
            self.use(x)
            name = "$convolve" if form is SINGLE else "$convolve2"
            where = f"(i32.const {self.all.rows[int(x)]}) (local.get $t)"
            self.set(line.out, f"(call {name} {where} (i32.const {table}) (i32.const {table + size}))")
            return
        total = form.number(0.0)
        self.set(line.out, total)
        for lag, weight in taps:
            past = self.use(x) if lag == 0 else form.load(self.before(int(x), lag))
            product = f"({form.prefix}.mul {form.number(weight)} {past})"
            text = f"(local.set $v{line.out} ({form.prefix}.add (local.get $v{line.out}) {product}))"
            if lag > 0:
                text = f"(if (i32.ge_s (local.get $t) (i32.const {lag})) (then {text}))"
            self.texts.append(text)
        if form is PAIR and any(lag % 2 for lag, _ in taps):
            # one bin of the pair has more taps than the other
            early = f"(i32.lt_s (local.get $t) (i32.const {taps[-1][0]}))"
            self.suspect(f"(i32x4.splat {early})")

    def average(self, line: Line) -> None:
        (x,), (share,) = line.operands, line.literals
        alpha, rest = f"(f64.const {share.hex()})", f"(f64.const {(1.0 - share).hex()})"
        state, first = f"(local.get $s{line.out})", "(i32.eqz (local.get $t))"

        def step(x: str, before: str) -> str:
            return f"(f64.add (f64.mul {alpha} {x}) (f64.mul {rest} {before}))"

        value = self.use(x)
        if self.form is SINGLE:
            self.set(line.out, f"(select {value} {step(value, state)} {first})")
            return
        low, high = f"(f64x2.extract_lane 0 {value})", f"(f64x2.extract_lane 1 {value})"
        before = step(low, f"(f64x2.extract_lane 1 {state})")
        self.in_turn(line, f"(select {low} {before} {first})", lambda before: step(high, before))

    def running_sum(self, line: Line) -> None:
        (x,) = line.operands
        state, value = f"(local.get $s{line.out})", self.use(x)
        if self.form is SINGLE:
            self.set(line.out, f"(f64.add {state} {value})")
            return
        low, high = f"(f64x2.extract_lane 0 {value})", f"(f64x2.extract_lane 1 {value})"
        first = f"(f64.add (f64x2.extract_lane 1 {state}) {low})"
        self.in_turn(line, first, lambda before: f"(f64.add {before} {high})")

    def in_turn(self, line: Line, first: str, second: Callable[[str], str]) -> None:
        """A pair of which the second value follows from the first."""
        self.set(line.out, f"(f64x2.splat {first})")
        after = second(f"(f64x2.extract_lane 0 (local.get $v{line.out}))")
        self.set(line.out, f"(f64x2.replace_lane 1 (local.get $v{line.out}) {after})")

    def pulse(self, line: Line) -> None:
        period, phase = line.literals

        def on(t: str) -> str:
            late = f"(i32.ge_s {t} (i32.const {phase}))"
            since = f"(i32.sub {t} (i32.const {phase}))"
            return f"(i32.and {late} (i32.eqz (i32.rem_u {since} (i32.const {period}))))"

        amplitude, t = self.use(line.operands[0]), "(local.get $t)"
        if self.form is SINGLE:
            self.set(line.out, f"(select {amplitude} (f64.const 0) {on(t)})")
            return
        low, high = (
            f"(i64.extend_i32_s (i32.sub (i32.const 0) {on(bin)}))"
            for bin in (t, f"(i32.add {t} (i32.const 1))")
        )
        self.set(line.out, f"(v128.and {amplitude} (i64x2.replace_lane 1 (i64x2.splat {low}) {high}))")

    def divide(self, line: Line) -> None:
        a, b = map(self.use, line.operands)
        form, out, quotient = self.form, f"$v{line.out}", f"({self.form.prefix}.div {a} {b})"
        if isinstance(line.operands[1], float) and line.operands[1] != 0.0:
            self.set(line.out, quotient)
        elif form is SINGLE:
            self.set(line.out, quotient)
            note = f"(call $note (i32.const {self.all.notes['FT301', line.node]}) (local.get $t))"
            taken = [
                f"(i32.and (f64.eq {c} {c}) (f64.ne {c} (f64.const 0)))"
                if want
                else f"(f64.eq {c} (f64.const 0))"
                for c, want in ((self.use(condition), want) for condition, want in line.guards)
            ]
            for test in taken:
                note = f"(if {test} (then {note}))"
            zero = f"(i32.and (f64.eq {b} (f64.const 0)) (f64.eq {a} {a}))"
            self.texts.append(f"(if {zero} (then (local.set {out} (f64.const 0)) {note}))")
        elif not line.guards:
            self.set(line.out, quotient)
            self.suspect(f"(f64x2.sub (local.get {out}) (local.get {out}))")
        else:
            noted = f"(v128.and (f64x2.eq {b} {form.number(0.0)}) (f64x2.eq {a} {a}))"
            self.set(line.out, f"(v128.andnot {quotient} {noted})")
            for condition, want in line.guards:
                c = self.use(condition)
                taken_here = f"(f64x2.{'ne' if want else 'eq'} {c} {form.number(0.0)})"
                noted = f"(v128.and {noted} (v128.and {taken_here} (f64x2.eq {c} {c})))"
            self.suspect(noted)

    # The function around the lines of a bin

    def saved(self) -> list[str]:
        return [
            f"(f64.store offset={self.all.states[line.out]} {_ZERO} {self.last(f'$s{line.out}')})"
            for line in self.states
        ]

    def restored(self) -> list[str]:
        load = "f64.load" if self.form is SINGLE else "v128.load64_splat"
        return [
            f"(local.set $s{line.out} ({load} offset={self.all.states[line.out]} {_ZERO}))"
            for line in self.states
        ]

    def last(self, local: str) -> str:
        """The last bin of a local."""
        value = f"(local.get {local})"
        return value if self.form is SINGLE else f"(f64x2.extract_lane 1 {value})"

    def committed(self) -> list[str]:
        """What a bin leaves for the next one."""
        begin = len(self.texts)
        for line in self.states:
            value = self.use(line.operands[0] if line.function == "SHIFT" else line.out)
            self.texts.append(f"(local.set $s{line.out} {value})")
        texts = self.texts[begin:]
        del self.texts[begin:]
        return texts

    def head(self, name: str) -> Iterator[str]:
        nodes = [line.node for line in self.lines if line.function in ("clean", "draw")]
        yield f";; {', '.join(nodes)}"
        yield f"(func {name} (param $t i32) (param $end i32)"
        yield "  (local $p i32) (local $q i32) (local $bad v128)"
        names = [*self.locals, *(f"$s{line.out}" for line in self.states)]
        yield "  " + " ".join(f"(local {local} {self.form.type})" for local in names)
        yield "  (local.set $p (i32.shl (local.get $t) (i32.const 3)))"
        yield f"  (local.set $q (i32.and (local.get $p) (i32.const {8 * self.all.block - 1})))"

    def function(self, name: str) -> Iterator[str]:
        """A function that takes one bin after another."""
        committed = self.committed()
        yield from self.head(name)
        yield from _indented(2, self.restored())
        yield "  (loop $bins"
        yield from _indented(4, [*self.texts, *committed])
        yield "    (local.set $p (i32.add (local.get $p) (i32.const 8)))"
        yield "    (local.set $q (i32.add (local.get $q) (i32.const 8)))"
        yield "    (local.set $t (i32.add (local.get $t) (i32.const 1)))"
        yield "    (br_if $bins (i32.lt_s (local.get $t) (local.get $end))))"
        yield from _indented(2, self.saved())
        yield ")"

    def pairs(self, name: str, single: str) -> Iterator[str]:
        """A function that takes two bins at a time; those in which something is not finite, and a last odd
        one, go to the function named `single`."""
        committed = self.committed()
        yield from self.head(name)
        two = "(i32.add (local.get $t) (i32.const 2))"
        yield f"  (if (i32.le_s {two} (local.get $end)) (then"
        yield from _indented(4, self.restored())
        yield "    (loop $bins"
        yield "      (local.set $bad (v128.const i64x2 0 0))"
        yield from _indented(6, self.texts)
        yield "      (if (v128.any_true (local.get $bad)) (then"
        yield from _indented(8, [*self.saved(), f"(call {single} (local.get $t) {two})", *self.restored()])
        yield "      ) (else"
        yield from _indented(8, committed)
        yield "      ))"
        yield "      (local.set $p (i32.add (local.get $p) (i32.const 16)))"
        yield "      (local.set $q (i32.add (local.get $q) (i32.const 16)))"
        yield f"      (local.set $t {two})"
        yield f"      (br_if $bins (i32.le_s {two} (local.get $end))))"
        yield from _indented(4, self.saved())
        yield "  ))"
        yield "  (if (i32.lt_s (local.get $t) (local.get $end))"
        yield f"    (then (call {single} (local.get $t) (local.get $end))))"
        yield ")"


def _indented(width: int, lines: Iterable[str]) -> Iterator[str]:
    return (" " * width + line for line in lines)
