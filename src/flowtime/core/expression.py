"""Formulas: text to tree, with positions, and back.

    formula    = comparison
    comparison = sum [("<" | "<=" | ">" | ">=" | "==" | "!=") sum]
    sum        = product {("+" | "-") product}
    product    = unary {("*" | "/") unary}
    unary      = "-" unary | primary
    primary    = number | name | call | "(" formula ")"
    call       = function "(" argument {"," argument} ")"
    argument   = formula | "[" formula {"," formula} "]"
    name       = id ["." id]

The grammar only: which functions exist and what they take is in `functions`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

MAX_DEPTH = 100
MAX_LENGTH = 100_000

Operator = Literal["+", "-", "*", "/", "<", "<=", ">", ">=", "==", "!="]
Span = tuple[int, int]
"""Where a part of the formula begins and ends, 0-based, end exclusive."""


@dataclass(frozen=True, slots=True)
class Number:
    """A literal."""

    value: float
    span: Span = field(default=(0, 0), compare=False)


@dataclass(frozen=True, slots=True)
class Name:
    """A reference to a node, a parameter, or (`id.measure`) a measure of a node that has several."""

    id: str
    span: Span = field(default=(0, 0), compare=False)


@dataclass(frozen=True, slots=True)
class Negative:
    """Unary minus."""

    operand: Expression
    span: Span = field(default=(0, 0), compare=False)


@dataclass(frozen=True, slots=True)
class Binary:
    """Two operands and an operator between them."""

    operator: Operator
    left: Expression
    right: Expression
    span: Span = field(default=(0, 0), compare=False)


@dataclass(frozen=True, slots=True)
class Call:
    """A function call; `function` is in upper case."""

    function: str
    arguments: tuple[Expression, ...]
    span: Span = field(default=(0, 0), compare=False)


@dataclass(frozen=True, slots=True)
class Array:
    """An array, allowed as CONV's kernel only."""

    items: tuple[Expression, ...]
    span: Span = field(default=(0, 0), compare=False)

    @property
    def values(self) -> tuple[float, ...]:
        """The numbers of an array of literals; raises ValueError where an entry is a formula."""
        numbers = [literal(item) for item in self.items]
        if None in numbers:
            raise ValueError("an array of formulas has no values before they are computed")
        return tuple(number for number in numbers if number is not None)


Expression = Number | Name | Negative | Binary | Call | Array


class FormulaSyntaxError(ValueError):
    """The text is no formula: what is wrong, and the 0-based position inside it."""

    def __init__(self, message: str, position: int) -> None:
        super().__init__(message)
        self.message = message
        self.position = position


_TOKEN = re.compile(
    r"(?P<space>[ \t\r\n]+)"
    r"|(?P<number>(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)"
    r"|(?P<name>[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)?)"
    r"|(?P<op><=|>=|==|!=|[-+*/<>(),\[\]])"
)
_PRECEDENCE = {"<": 1, "<=": 1, ">": 1, ">=": 1, "==": 1, "!=": 1, "+": 2, "-": 2, "*": 3, "/": 3}


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    start: int

    @property
    def end(self) -> int:
        return self.start + len(self.text)

    def __str__(self) -> str:
        return "the end of the formula" if self.kind == "end" else f'"{self.text}"'


def parse(text: str) -> Expression:
    """The tree of a formula. Raises FormulaSyntaxError."""
    if len(text) > MAX_LENGTH:
        raise FormulaSyntaxError(f"the formula has {len(text)} characters, {MAX_LENGTH} are allowed", 0)
    return _Parser(list(_tokens(text))).formula()


def _tokens(text: str) -> Iterator[_Token]:
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise FormulaSyntaxError(f"unexpected character {text[position]!r}", position)
        if match.lastgroup != "space":
            yield _Token(str(match.lastgroup), match.group(), position)
        position = match.end()
    yield _Token("end", "", len(text))


class _Parser:
    """Recursive descent; `depth` bounds the nesting, at most five frames a level."""

    def __init__(self, tokens: list[_Token]) -> None:
        self.tokens = tokens
        self.index = 0
        self.depth = 0

    @property
    def token(self) -> _Token:
        return self.tokens[self.index]

    def take(self) -> _Token:
        token = self.token
        self.index += 1
        return token

    def accept(self, text: str) -> bool:
        if self.token.kind == "op" and self.token.text == text:
            self.index += 1
            return True
        return False

    def expect(self, text: str) -> _Token:
        if self.token.kind != "op" or self.token.text != text:
            raise FormulaSyntaxError(f'expected "{text}", found {self.token}', self.token.start)
        return self.take()

    def formula(self) -> Expression:
        tree = self.binary(1)
        token = self.token
        if token.kind == "end":
            return tree
        if token.kind == "op" and _PRECEDENCE.get(token.text) == 1:
            raise FormulaSyntaxError("comparisons do not chain; use parentheses", token.start)
        raise FormulaSyntaxError(f"expected an operator, found {token}", token.start)

    def binary(self, level: int) -> Expression:
        """Operators that bind at least as tightly as `level`, by precedence climbing."""
        left = self.unary()
        while self.token.kind == "op" and (own := _PRECEDENCE.get(self.token.text, 0)) >= level:
            operator = self.take().text
            right = self.binary(own + 1)
            left = Binary(operator, left, right, (left.span[0], right.span[1]))  # type: ignore[arg-type]
            if own == 1:
                break
        return left

    def unary(self) -> Expression:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise FormulaSyntaxError(f"nested deeper than {MAX_DEPTH} levels", self.token.start)
        start = self.token.start
        if self.accept("-"):
            operand = self.unary()
            tree: Expression = Negative(operand, (start, operand.span[1]))
        else:
            tree = self.primary()
        self.depth -= 1
        return tree

    def primary(self) -> Expression:
        token = self.token
        if token.kind == "number":
            return Number(self.literal(), (token.start, token.end))
        if token.kind == "name":
            self.take()
            if self.accept("("):
                return self.call(token)
            return Name(token.text, (token.start, token.end))
        if self.accept("("):
            tree = self.binary(1)
            if self.token.kind == "op" and _PRECEDENCE.get(self.token.text) == 1:
                raise FormulaSyntaxError("comparisons do not chain; use parentheses", self.token.start)
            self.expect(")")
            return tree
        if token.kind == "op" and token.text == "[":
            raise FormulaSyntaxError("an array is allowed as CONV's kernel only", token.start)
        raise FormulaSyntaxError(f'expected a number, a name or "(", found {token}', token.start)

    def call(self, name: _Token) -> Expression:
        if self.accept(")"):
            return Call(name.text.upper(), (), (name.start, self.tokens[self.index - 1].end))
        arguments = [self.argument()]
        while self.accept(","):
            arguments.append(self.argument())
        return Call(name.text.upper(), tuple(arguments), (name.start, self.expect(")").end))

    def argument(self) -> Expression:
        start = self.token.start
        if not self.accept("["):
            return self.binary(1)
        items = [self.binary(1)]
        while self.accept(","):
            items.append(self.binary(1))
        return Array(tuple(items), (start, self.expect("]").end))

    def literal(self) -> float:
        token = self.take()
        value = float(token.text)
        if value == float("inf"):
            raise FormulaSyntaxError(f"{token.text} is too large for a double", token.start)
        return value


def format(tree: Expression) -> str:
    """The tree as a formula with the fewest parentheses; `parse` gives the same tree again."""
    return _format(tree, 0)


def _format(tree: Expression, level: int) -> str:
    match tree:
        case Number(value):
            return format_number(value)
        case Name(id):
            return id
        case Array(items):
            return f"[{', '.join(_format(item, 0) for item in items)}]"
        case Call(function, arguments):
            return f"{function}({', '.join(_format(argument, 0) for argument in arguments)})"
        case Negative(operand):
            return "-" + _format(operand, 4)
        case Binary():
            return _format_binary(tree, level)


def _format_binary(tree: Binary, level: int) -> str:
    # A sum of many terms is a deep tree to the left: that side is walked in a loop.
    spine = [tree]
    while isinstance(spine[-1].left, Binary) and not _parenthesised(spine[-1].left, spine[-1]):
        spine.append(spine[-1].left)
    own = _PRECEDENCE[spine[-1].operator]
    parts = [_format(spine[-1].left, own + (own == 1))]
    for part in reversed(spine):
        parts += (f" {part.operator} ", _format(part.right, _PRECEDENCE[part.operator] + 1))
    text = "".join(parts)
    return f"({text})" if _PRECEDENCE[tree.operator] < level else text


def _parenthesised(left: Binary, parent: Binary) -> bool:
    own, outer = _PRECEDENCE[left.operator], _PRECEDENCE[parent.operator]
    return own < outer + (outer == 1)  # comparisons do not chain, so one inside another keeps its parentheses


def format_number(value: float) -> str:
    """The shortest digits that read back as `value`, without a point where it is an integer below 1e16."""
    return repr(int(value)) if value == value // 1 and abs(value) < 1e16 else repr(value)


def number(value: float) -> Expression:
    """The tree that the shortest text of a number is read as."""
    return Negative(Number(-value)) if str(value).startswith("-") else Number(value)


def literal(tree: Expression) -> float | None:
    """The value of a number that may be signed, or None where the tree is anything else."""
    match tree:
        case Number(value):
            return value
        case Negative(Number(value)):
            return -value
    return None


def children(tree: Expression) -> tuple[Expression, ...]:
    """The parts of a tree, in the order of the text."""
    match tree:
        case Negative(operand):
            return (operand,)
        case Binary(_, left, right):
            return (left, right)
        case Call(_, arguments):
            return arguments
        case Array(items):
            return items
    return ()


def spine(tree: Binary) -> tuple[Expression, list[Binary]]:
    """The first operand of a chain such as `a + b - c`, and its operators from there on, for a loop: a sum of
    many terms is too deep to the left for recursion.
    """
    steps = [tree]
    while isinstance(steps[-1].left, Binary):
        steps.append(steps[-1].left)
    return steps[-1].left, steps[::-1]


def names(tree: Expression) -> Iterator[Name]:
    """Every reference to a node in the tree, in the order of the text."""
    stack = [tree]
    while stack:
        part = stack.pop()
        if isinstance(part, Name):
            yield part
        else:
            stack += reversed(children(part))
