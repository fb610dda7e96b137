"""Constant formulas: arithmetic of numbers and parameters, done once for a run."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from flowtime.core.arithmetic import ARITHMETIC
from flowtime.core.expression import (
    Array,
    Binary,
    Call,
    Expression,
    Name,
    Negative,
    Number,
    Span,
    children,
    spine,
)
from flowtime.core.functions import TABLE


class NotConstant(ValueError):
    """A formula is not constant: what is in the way, and where."""

    def __init__(self, message: str, span: Span) -> None:
        super().__init__(message)
        self.message = message
        self.span = span


def constant(
    tree: Expression, values: Mapping[str, float], known: Mapping[Expression, float] = MappingProxyType({})
) -> float:
    """The value of a formula of numbers, parameters (`values`, by id), operators and functions of numbers;
    `known` are the values of parts that are anything else.

    A division by zero gives 0, as in every formula; what is not a number gives NaN. Raises NotConstant.
    """
    match tree:
        case Number(value):
            return value
        case Name(id) if id in values:
            return values[id]
        case Name(id):
            raise NotConstant(f'"{id}" is not a parameter', tree.span)
        case Array():
            raise NotConstant("an array is not a number", tree.span)
        case Negative(operand):
            return -constant(operand, values, known)
        case Binary():
            first, steps = spine(tree)
            total = constant(first, values, known)
            for step in steps:
                total = ARITHMETIC[step.operator](total, constant(step.right, values, known))
            return total
        case Call() if tree in known:
            return known[tree]
        case Call(name, arguments):
            function = TABLE.get(name)
            if function is None or not (function.rewrite or name in ARITHMETIC):
                raise NotConstant(f"{name} needs a series", tree.span)
            if function.rewrite is not None:
                return constant(function.rewrite(*arguments), values, known)
            numbers = [constant(argument, values, known) for argument in arguments]
            if not function.variadic:
                return ARITHMETIC[name](*numbers)
            total = numbers[0]
            for number in numbers[1:]:
                total = ARITHMETIC[name](total, number)
            return total


def is_constant(tree: Expression, parameters: Mapping[str, object]) -> bool:
    """Whether a formula consists of numbers, parameters, operators and functions of numbers."""
    stack = [tree]
    while stack:
        part = stack.pop()
        match part:
            case Name(id) if id not in parameters:
                return False
            case Array():
                return False
            case Call(name) if name not in ARITHMETIC and not (name in TABLE and TABLE[name].rewrite):
                return False
        stack += children(part)
    return True


def substitute(tree: Expression, values: Mapping[str, Expression]) -> Expression:
    """The tree with other trees in the place of some names; its spans stay those of the text."""
    match tree:
        case Name(id):
            return values.get(id, tree)
        case Negative(operand, span):
            return Negative(substitute(operand, values), span)
        case Binary():
            changed, steps = spine(tree)
            changed = substitute(changed, values)
            for step in steps:
                changed = Binary(step.operator, changed, substitute(step.right, values), step.span)
            return changed
        case Call(function, arguments, span):
            return Call(function, tuple(substitute(argument, values) for argument in arguments), span)
        case Array(items, span):
            return Array(tuple(substitute(item, values) for item in items), span)
    return tree
