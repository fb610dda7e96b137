"""Formulas flattened: the tree of one node as a list of operations in the order of evaluation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from flowtime.core.arithmetic import ARITHMETIC, NOTED
from flowtime.core.expression import Binary, Call, Expression, Name, Negative, literal
from flowtime.core.expression import children as children_of
from flowtime.core.functions import COPY, KNOWN, NEGATIVE, OPERATORS, TABLE, Function
from flowtime.core.semantics import PmfOf, References, is_delay, kernel_of

Operand = str | int | float
"""A node's id, the index of an earlier operation of the same formula, or a number."""

MEMORY = frozenset(function.name for function in TABLE.values() if function.memory)
"""The functions that read earlier bins."""

Guard = tuple[Operand, bool]
"""An IF's condition, and whether it must be true (or false) for a branch to be taken."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One function or operator of a formula.

    `literals` are what the function takes after its series: (lag, initial) of SHIFT, ((lag, weight), ...)
    of CONV as one, (alpha,) of EMA, (period, phase) of PULSE. `guards` are the branches that a division
    stands in: it warns only in bins where all of them are taken. `late` says that its value is read in
    later bins only.
    """

    function: str
    operands: tuple[Operand, ...]
    literals: tuple[Any, ...] = ()
    guards: tuple[Guard, ...] = ()
    late: bool = False

    @property
    def may_divide_by_zero(self) -> bool:
        """Whether the operation is a division whose divisor is not a number other than 0."""
        return self.function == "/" and not (isinstance(self.operands[1], float) and self.operands[1] != 0.0)


@dataclass(frozen=True, slots=True)
class Formula:
    """The operations of one node, the last of which gives its value.

    `now` and `delayed` are the nodes it reads in the same bin and in earlier bins only; `memory` says
    that a value depends on earlier bins, `quiet` that it may be missing without a note.
    """

    node: str
    operations: tuple[Operation, ...]
    now: tuple[str, ...]
    delayed: tuple[str, ...]
    memory: bool
    quiet: bool = False


@dataclass(frozen=True, slots=True)
class _Emit:
    """What is left to do once the operands of a part of the tree are known."""

    function: Function
    operands: int
    literals: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class _Branch:
    """A branch of IF, to be flattened once the condition is known, which lies `above` operands down."""

    tree: Expression
    taken: bool
    above: int


def flatten(node: str, tree: Expression, read: References, pmf_of: PmfOf, *, quiet: bool = False) -> Formula:
    """The formula of a node; `tree` must be valid, and `read` what it refers to.

    Numbers are computed where that gives no warning.
    """
    operations = _Flattener(pmf_of, _calls(tree, "POW")).run(tree)
    return Formula(
        node=node,
        operations=operations,
        now=tuple(sorted(read.now)),
        delayed=tuple(sorted(read.delayed)),
        memory=any(operation.function in MEMORY for operation in operations),
        quiet=quiet,
    )


def _calls(tree: Expression, function: str) -> bool:
    stack = [tree]
    while stack:
        part = stack.pop()
        if isinstance(part, Call) and part.function == function:
            return True
        stack += children_of(part)
    return False


class _Flattener:
    """Postorder without recursion: `work` holds what is still to be done, `values` the operands so far."""

    def __init__(self, pmf_of: PmfOf, signed_zeros_matter: bool) -> None:
        self.pmf_of = pmf_of
        self.signed_zeros_matter = signed_zeros_matter
        self.operations: list[Operation] = []
        self.values: list[Operand] = []
        self.work: list[tuple[Expression | _Emit | _Branch, tuple[Guard, ...], bool]] = []

    def run(self, tree: Expression) -> tuple[Operation, ...]:
        self.work.append((tree, (), False))
        while self.work:
            item, guards, late = self.work.pop()
            if isinstance(item, _Emit):
                self.emit(item, guards, late)
            elif isinstance(item, _Branch):
                condition = self.values[-1 - item.above]
                self.work.append((item.tree, (*guards, (condition, item.taken)), late))
            else:
                self.visit(item, guards, late)
        if not isinstance(self.values[0], int):
            self.operations.append(Operation(COPY.name, (self.values[0],)))
        return tuple(self.operations)

    def visit(self, tree: Expression, guards: tuple[Guard, ...], late: bool) -> None:
        number = literal(tree)
        todo: list[Expression | _Emit | _Branch]
        if number is not None:
            self.values.append(number)
            return
        match tree:
            case Name(id):
                self.values.append(id)
                return
            case Negative(operand):
                todo = [operand, _Emit(NEGATIVE, 1)]
            case Binary(operator, left, right):
                todo = [left, right, _Emit(OPERATORS[operator], 2)]
            case Call("IF", (condition, a, b)):
                todo = [condition, _Branch(a, True, 0), _Branch(b, False, 1), _Emit(TABLE["IF"], 3)]
            case Call(name, arguments) if (rewrite := KNOWN[name].rewrite) is not None:
                todo = [rewrite(*arguments)]
            case Call(name) if KNOWN[name].memory:
                x, *rest = self.memory(tree)
                self.work += [(item, (), late) for item in rest]
                # any bin of its series may be read, whatever branch is taken in this one
                self.work.append((x, (), late or is_delay(tree, self.pmf_of)))
                return
            case Call("PULSE", (period, *rest)):
                phase = literal(rest[0]) if rest else 0.0
                literals = (int(literal(period) or 1), int(phase or 0))
                if len(rest) < 2:
                    self.values.append(1.0)
                todo = [*rest[1:], _Emit(TABLE["PULSE"], 1, literals)]
            case Call(name, (first, *others)):
                function = KNOWN[name]
                todo = [first] if others else [first, _Emit(function, 1)]
                for other in others:
                    todo += [other, _Emit(function, 2)]
            case _:
                raise AssertionError(f"not checked: {tree}")
        self.work += [(item, guards, late) for item in reversed(todo)]

    def memory(self, call: Call) -> list[Expression | _Emit | _Branch]:
        function = TABLE[call.function]
        literals: tuple[Any, ...]
        match call:
            case Call("SHIFT", (x, lag, *rest)):
                initial = literal(rest[0]) if rest else 0.0
                literals = (int(literal(lag) or 0), initial or 0.0)
                if literals[0] == 0:
                    return [x]
            case Call("CONV", (x, kernel)):
                weights = kernel_of(kernel, self.pmf_of)
                literals = (tuple((lag, weight) for lag, weight in enumerate(weights) if weight != 0.0),)
            case Call("EMA", (x, alpha)):
                literals = (literal(alpha),)
            case _:
                x, literals = call.arguments[0], ()
        return [x, _Emit(function, 1, literals)]

    def emit(self, item: _Emit, guards: tuple[Guard, ...], late: bool) -> None:
        function = item.function
        operands = tuple(self.values[-item.operands :])
        del self.values[-item.operands :]
        if function.memory and not isinstance(operands[0], str | int):
            operands = (self.add(Operation(COPY.name, operands, late=late)),)
        elif function.name != "PULSE" and all(isinstance(operand, float) for operand in operands):
            folded = _fold(function, operands)
            if folded is not None:
                self.values.append(folded)
                return
        if function.name != "/":
            guards = ()
        value = self.add(Operation(function.name, operands, item.literals, guards, late))
        if self.signed_zeros_matter and function.name in ("MIN", "MAX"):
            # which of two zeros they take is not defined; POW would turn it into the sign of an infinity
            value = self.add(Operation("+", (value, 0.0), late=late))
        self.values.append(value)

    def add(self, operation: Operation) -> int:
        self.operations.append(operation)
        return len(self.operations) - 1


def _fold(function: Function, operands: tuple[Operand, ...]) -> float | None:
    """The value of an operation on numbers, or None where computing it now would lose a warning."""
    if function.name == "/" and operands[1] == 0.0:
        return None
    if function.name in NOTED and NOTED[function.name][1](float(operands[0])):
        return None
    value = ARITHMETIC[function.name](*operands)
    return value if math.isfinite(value) else None
