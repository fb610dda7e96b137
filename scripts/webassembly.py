"""Translates the arithmetic that Python and compiled programs share to WebAssembly text.

    python scripts/webassembly.py write           writes elementary.wat and waits.wat beside their sources
    python scripts/webassembly.py check [COUNT]   errors of EXP, LOG and POW over COUNT arguments each

The translation knows just what the sources use: doubles, 64-bit integers and rows of doubles, told apart by
annotations and by how a value is made; `if`, `while`, `return`, operators and a handful of calls.
"""

from __future__ import annotations

import ast
import math
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import mpmath

from flowtime.core import elementary
from flowtime.engine import waits

SOURCES = (elementary, waits)

_CALLS = {
    "_bits": ("i64.reinterpret_f64", "i64"),
    "_double": ("f64.reinterpret_i64", "f64"),
    "_sqrt": ("f64.sqrt", "f64"),
    "_floor": ("f64.floor", "f64"),
    "abs": ("f64.abs", "f64"),
    "max": ("f64.max", "f64"),
    "min": ("f64.min", "f64"),
    "float": ("f64.convert_i64_s", "f64"),
    "int": ("i64.trunc_f64_s", "i64"),
    "copysign": ("f64.copysign", "f64"),
}
_F64 = {ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.Div: "div"}
_I64 = {
    ast.Add: "add",
    ast.Sub: "sub",
    ast.Mult: "mul",
    ast.BitAnd: "and",
    ast.BitOr: "or",
    ast.LShift: "shl",
    ast.RShift: "shr_s",
    ast.Mod: "rem_u",
}
_COMPARISONS = {ast.Eq: "eq", ast.NotEq: "ne", ast.Lt: "lt", ast.Gt: "gt", ast.GtE: "ge", ast.LtE: "le"}


_TYPES = {"float": "f64", "int": "i64", "Row": "i32"}


def target(module: ModuleType) -> Path:
    """Where the translation of a module lies."""
    return Path(str(module.__file__)).with_suffix(".wat")


def translated(module: ModuleType) -> str:
    """The functions of a module as WebAssembly text, without the primitives."""
    source = Path(str(module.__file__))
    functions = [
        node
        for node in ast.parse(source.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef) and node.name not in _CALLS
    ]
    results = {function.name: _result(function) for function in functions}
    text = "\n".join(_Function(function, module, results).text() for function in functions)
    return f";; Made from {source.name} by scripts/webassembly.py; the names mean the same there.\n{text}\n"


def _result(function: ast.FunctionDef) -> str:
    """The type that a function returns, empty where it returns nothing."""
    return _TYPES.get(ast.unparse(function.returns or ast.Constant(None)), "")


class _Function:
    """One function on its way to text; locals get the type of what they are first set to."""

    def __init__(self, source: ast.FunctionDef, module: ModuleType, results: dict[str, str]) -> None:
        self.source = source
        self.module = module
        self.results = results
        self.parameters = {a.arg: _TYPES[ast.unparse(a.annotation or a)] for a in source.args.args}
        self.types = dict(self.parameters)

    def text(self) -> str:
        body = self.block(self.source.body, 1)
        result = self.results[self.source.name]
        heads = [f"(param ${name} {type})" for name, type in self.parameters.items()]
        heads += [f"(result {result})"] if result else []
        local = [f"  (local ${n} {type})" for n, type in self.types.items() if n not in self.parameters]
        head = f"(func ${self.source.name.strip('_')} {' '.join(heads)}"
        return "\n".join([head, *local, *body, "  unreachable)" if result else ")"])

    def block(self, statements: list[ast.stmt], depth: int) -> list[str]:
        return [line for statement in statements for line in self.statement(statement, depth)]

    def statement(self, node: ast.stmt, depth: int) -> Iterator[str]:
        indent = "  " * depth
        match node:
            case ast.Expr(ast.Constant(str())):
                return
            case ast.Expr(ast.Call() as call):
                yield indent + self.value(call)[1]
            case ast.Assign([ast.Name(name)], value):
                type_, text = self.value(value)
                if self.types.setdefault(name, type_) != type_:
                    raise TypeError(f"{name} changes its type in line {node.lineno}")
                yield f"{indent}(local.set ${name} {text})"
            case ast.Assign([ast.Subscript(row, index)], value):
                yield f"{indent}(f64.store {self.place(row, index)} {self.value(value)[1]})"
            case ast.Return(value) if value is not None:
                yield f"{indent}(return {self.value(value)[1]})"
            case ast.If(test, body, otherwise):
                yield f"{indent}(if {self.value(test)[1]} (then"
                yield from self.block(body, depth + 1)
                if otherwise:
                    yield f"{indent}) (else"
                    yield from self.block(otherwise, depth + 1)
                yield f"{indent}))"
            case ast.While(test, body):
                yield f"{indent}(block (loop (br_if 1 (i32.eqz {self.value(test)[1]}))"
                yield from self.block(body, depth + 1)
                yield f"{indent}  (br 0)))"
            case _:
                raise TypeError(f"line {node.lineno} has no translation: {ast.unparse(node)}")

    def place(self, row: ast.expr, index: ast.expr) -> str:
        """The address of an entry of a row."""
        return f"(i32.add {self.value(row)[1]} (i32.shl (i32.wrap_i64 {self.value(index)[1]}) (i32.const 3)))"

    def value(self, node: ast.expr) -> tuple[str, str]:
        """The type of an expression, and its text."""
        match node:
            case ast.Constant(float(number)):
                return "f64", f"(f64.const {number.hex()})"
            case ast.Constant(int(number)):
                return "i64", f"(i64.const {number})"
            case ast.Name(name) if name in self.types:
                return self.types[name], f"(local.get ${name})"
            case ast.Name(name):
                return self.value(ast.Constant(getattr(self.module, name)))
            case ast.UnaryOp(ast.USub(), operand):
                return "f64", f"(f64.neg {self.value(operand)[1]})"
            case ast.BoolOp() | ast.Compare() | ast.IfExp():
                return self.choice(node)
            case ast.BinOp(left, operator, right):
                (type_, a), (_, b) = self.value(left), self.value(right)
                return type_, f"({type_}.{(_F64 if type_ == 'f64' else _I64)[type(operator)]} {a} {b})"
            case ast.Subscript(row, index):
                return "f64", f"(f64.load {self.place(row, index)})"
            case ast.Call(ast.Attribute(_, "isnan"), [operand]):
                text = self.value(operand)[1]
                return "i32", f"(f64.ne {text} {text})"
            case ast.Call(ast.Name(name) | ast.Attribute(_, name), given):
                operation, type_ = _CALLS.get(name, (f"call ${name.strip('_')}", self.results.get(name, "")))
                return type_, f"({operation} {' '.join(self.value(each)[1] for each in given)})"
        raise TypeError(f"{ast.unparse(node)} has no translation")

    def choice(self, node: ast.BoolOp | ast.Compare | ast.IfExp) -> tuple[str, str]:
        """The type and text of a condition, or of what depends on one."""
        match node:
            case ast.IfExp(test, body, otherwise):
                (type_, a), (_, b) = self.value(body), self.value(otherwise)
                return type_, f"(if (result {type_}) {self.value(test)[1]} (then {a}) (else {b}))"
            case ast.BoolOp(operator, [first, *others]):
                text = self.value(first)[1]
                for other in others:
                    text = f"(i32.{type(operator).__name__.lower()} {text} {self.value(other)[1]})"
                return "i32", text
            case ast.Compare(left, [operator], [right]):
                (type_, a), (_, b) = self.value(left), self.value(right)
                signed = "_s" if type_ == "i64" and not isinstance(operator, ast.Eq | ast.NotEq) else ""
                return "i32", f"({type_}.{_COMPARISONS[type(operator)]}{signed} {a} {b})"
        raise TypeError(f"{ast.unparse(node)} has no translation")


def arguments(rng: random.Random, name: str) -> tuple[float, ...]:
    """Arguments of a function, from everywhere and from where it is hard."""
    any_double = math.ldexp(rng.uniform(1, 2), rng.randint(-1074, 1023))
    near_one = 1.0 + rng.choice((-1, 1)) * math.ldexp(rng.random(), rng.randint(-50, -1))
    if name == "exp":
        return (rng.choice((rng.uniform(-745.2, 709.8), rng.uniform(-2, 2), -any_double, any_double)),)
    if name == "log":
        return (rng.choice((any_double, near_one, rng.uniform(0, 10))),)
    x = rng.choice((any_double, near_one, rng.uniform(0, 10)))
    largest = 1075 / max(abs(math.log2(x)), 1e-300)
    y = rng.choice((rng.uniform(-largest, largest), rng.uniform(-4, 4), float(rng.randint(-9, 9))))
    return (x if rng.random() < 0.8 or not y.is_integer() else -x, y)


def error(name: str, given: tuple[float, ...]) -> float:
    """How far a function is from the true value, in units in the last place of that."""
    result = getattr(elementary, name)(*given)
    with mpmath.workprec(140):
        if name == "pow":
            true = mpmath.power(abs(given[0]), given[1])
            if given[0] < 0 and given[1] % 2:
                true = -true
        else:
            true = getattr(mpmath, name)(mpmath.mpf(given[0]))
        size = abs(true)
        if size >= mpmath.mpf(2) ** 1024:
            return 0.0 if abs(result) == math.inf else math.inf
        exponent = max(int(mpmath.floor(mpmath.log(size, 2))) if size else -1074, -1022)
        if math.isinf(result):
            result = mpmath.sign(true) * mpmath.mpf(2) ** 1024
        return float(abs(mpmath.mpf(result) - true) / mpmath.mpf(2) ** (exponent - 52))


def check(count: int, seed: int = 0) -> dict[str, tuple[float, tuple[float, ...]]]:
    """The largest error of each function over `count` arguments, and where."""
    rng = random.Random(seed)
    worst = {}
    for name in ("exp", "log", "pow"):
        samples = (arguments(rng, name) for _ in range(count))
        worst[name] = max((error(name, given), given) for given in samples)
    return worst


def main() -> None:
    """Does what the first argument says."""
    if sys.argv[1:] == ["write"]:
        for module in SOURCES:
            target(module).write_text(translated(module), encoding="utf-8")
        return
    for name, (worst, at) in check(int(sys.argv[2]) if sys.argv[2:] else 1_000_000).items():
        print(f"{name}: at most {worst:.3f} units in the last place, at {at}")


if __name__ == "__main__":
    main()
