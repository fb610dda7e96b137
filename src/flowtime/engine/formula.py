"""Formulas flattened: the tree of one node as a list of operations in the order of evaluation."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from flowtime.core.expression import Binary, Call, Expression, Name, Negative, literal
from flowtime.core.expression import children as children_of
from flowtime.core.functions import COPY, KERNELS, NEGATIVE, TABLE, Function
from flowtime.core.semantics import PmfOf, References, is_delay, kernel_of

Operand = str | int | float
"""A node's id, the index of an earlier operation of the same formula, or a number."""

Guard = tuple[Operand, bool]
"""An IF's condition, and whether it must be true (or false) for a branch to be taken."""


def _no_kernel() -> None:
    raise AssertionError("the operation is not placed")


@dataclass(frozen=True, slots=True)
class Operation:
    """One call of a kernel.

    `literals` are what the kernel takes after its series: (lag, initial) of SHIFT, ((lag, weight), ...)
    of CONV as one, (alpha,) of EMA, (period, phase) of PULSE. `guards` are the branches that a division
    stands in: it warns only in bins where all of them are taken. `late` says that its value is read in
    later bins only. `slot` is the scratch buffer of the result; the last operation writes the node's row.
    `kernel` is what computes whole vectors.
    """

    function: str
    operands: tuple[Operand, ...]
    literals: tuple[Any, ...] = ()
    guards: tuple[Guard, ...] = ()
    late: bool = False
    slot: int = -1
    kernel: Callable[..., object] = field(default=_no_kernel, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Formula:
    """The operations of one node, the last of which gives its value.

    `now` and `delayed` are the nodes it reads in the same bin and in earlier bins only; `memory` says
    that a value depends on earlier bins; `negative_zero` that a result may be negative zero.
    """

    node: str
    operations: tuple[Operation, ...]
    now: tuple[str, ...]
    delayed: tuple[str, ...]
    memory: bool
    negative_zero: bool
    scratch: int
    """How many scratch buffers the operations need."""


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


def flatten(node: str, tree: Expression, read: References, pmf_of: PmfOf) -> Formula:
    """The formula of a node; `tree` must be valid, and `read` what it refers to.

    Numbers are computed where that gives no warning.
    """
    operations, scratch = placed(_Flattener(pmf_of, _calls(tree, "POW")).run(tree))
    return Formula(
        node=node,
        operations=operations,
        scratch=scratch,
        now=tuple(sorted(read.now)),
        delayed=tuple(sorted(read.delayed)),
        memory=any(KERNELS[operation.function].memory for operation in operations),
        negative_zero=_negative_zero(operations),
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
                todo = [left, right, _Emit(KERNELS[operator], 2)]
            case Call("IF", (condition, a, b)):
                todo = [condition, _Branch(a, True, 0), _Branch(b, False, 1), _Emit(TABLE["IF"], 3)]
            case Call(name, arguments) if (rewrite := TABLE[name].rewrite) is not None:
                todo = [rewrite(*arguments)]
            case Call(name) if TABLE[name].memory:
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
                function = TABLE[name]
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
    if function.vector is None or (function.name == "/" and operands[1] == 0.0):
        return None
    out = np.empty(1)
    with np.errstate(all="ignore"):
        function.vector(*operands, out=out)
    value = float(out[0])
    return value if math.isfinite(value) else None


def placed(operations: tuple[Operation, ...]) -> tuple[tuple[Operation, ...], int]:
    """The operations with kernels and scratch buffers, and how many buffers there are.

    Buffers are few, and those freed last are taken first, as they are in cache.
    Each operation's value is read by one later operation; guards are read no later than their IF.
    """
    free: list[int] = []
    used = 0
    done: list[Operation] = []
    for index, operation in enumerate(operations):
        function = KERNELS[operation.function]
        read = [done[operand].slot for operand in operation.operands if isinstance(operand, int)]
        slot = -1
        if index < len(operations) - 1:
            if read and function.in_place:
                slot = read.pop(0)
            elif free:
                slot = free.pop()
            else:
                slot, used = used, used + 1
        free += read
        kernel = function.vector
        if (
            operation.function == "/"
            and isinstance(operation.operands[1], float)
            and operation.operands[1] != 0.0
        ):
            kernel = np.divide
        assert kernel is not None
        done.append(
            Operation(
                operation.function,
                operation.operands,
                operation.literals,
                operation.guards,
                operation.late,
                slot,
                kernel,
            )
        )
    return tuple(done), used


def _negative_zero(operations: tuple[Operation, ...]) -> bool:
    """Whether the last operation may give negative zero, given that no node holds one."""
    may: list[bool] = []
    for operation in operations:
        operands = [
            may[operand]
            if isinstance(operand, int)
            else isinstance(operand, float) and operand == 0.0 and math.copysign(1.0, operand) < 0.0
            for operand in operation.operands
        ]
        rule = KERNELS[operation.function].negative_zero
        if operation.function == "*":
            factor = next((operand for operand in operation.operands if isinstance(operand, float)), 0.0)
            # a product with 1 or more cannot underflow
            rule = "any" if factor >= 1.0 else rule
        may.append(rule == "always" or (rule == "any" and any(operands)) or (rule == "all" and all(operands)))
    return may[-1]
