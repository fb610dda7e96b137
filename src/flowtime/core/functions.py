"""The functions and operators of formulas: the one table.

Each entry holds a function's parameters, its documentation, how its result gets a unit, and its two
kernels: `vector` writes all bins at once, `scalar` is the same arithmetic as a Python expression for
one bin, used where feedback forces the engine to go bin by bin. Both give the same bits, up to the sign of a
zero that MIN or MAX found among equals.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Literal

import numpy as np

from flowtime.core.expression import (
    Binary,
    Call,
    Expression,
    format_number,
)
from flowtime.core.series import FloatArray

ParameterKind = Literal["series", "integer", "number", "kernel"]
Operand = FloatArray | float


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a function.

    `series` takes any formula; `integer` and `number` a literal, which may be signed; `kernel` a
    literal array or the id of a pmf node. A parameter with a default may be left out.
    """

    name: str
    kind: ParameterKind = "series"
    default: float | None = None
    minimum: float = -math.inf
    maximum: float = math.inf
    above: float = -math.inf
    """The value must be greater than this."""

    @property
    def allowed(self) -> str:
        """What a parameter that is no series takes, as a message says it."""
        if self.kind == "kernel":
            return "an array such as [0, 0.6, 0.4], or the id of a pmf node whose values are lags"
        text = "a literal integer" if self.kind == "integer" else "a literal number"
        bounds = []
        if self.above > -math.inf:
            bounds.append(f"> {format_number(self.above)}")
        if self.minimum > -math.inf:
            bounds.append(f">= {format_number(self.minimum)}")
        if self.maximum < math.inf:
            bounds.append(f"<= {format_number(self.maximum)}")
        return " ".join([text, " and ".join(bounds)]).strip()

    def accepts(self, value: float) -> bool:
        """Whether a literal lies in the parameter's range."""
        whole = self.kind != "integer" or value.is_integer()
        return whole and self.minimum <= value <= self.maximum and value > self.above


@dataclass(frozen=True, slots=True)
class Function:
    """One function of the formula language.

    `vector(*series, *literals, out=...)` writes `(bins,)` float64; `in_place` says that `out` may be one
    of its operands. `scalar` is a Python expression over `{0}`, `{1}`, ... that stand for the series
    operands (each a name or a number), and the names of `SCALARS`. Functions with `memory` read earlier
    bins and have no scalar form of their own: the engine keeps their state. A function with a `rewrite`
    is short for other functions and has no kernels.
    """

    name: str
    parameters: tuple[Parameter, ...]
    doc: str
    example: str
    unit_from: tuple[str, ...] = ()
    """The parameters whose common unit the result has; none: the result has no unit."""
    variadic: bool = False
    """Whether the last parameter may be repeated; the function is then folded from the left."""
    memory: bool = False
    in_place: bool = False
    negative_zero: Literal["never", "any", "all", "always"] = "any"
    """When the result may be negative zero: never, where any or all operands may be, or always."""
    vector: Callable[..., Any] | None = None
    scalar: str = ""
    rewrite: Callable[..., Expression] | None = None

    @property
    def signature(self) -> str:
        """The function with its parameters, optional ones in brackets: `SHIFT(x, k[, initial])`."""
        text = ", ".join(p.name for p in self.parameters if p.default is None)
        optional = [p.name for p in self.parameters if p.default is not None]
        text += "".join(f"[, {name}" for name in optional) + "]" * len(optional)
        return f"{self.name}({text}{', ...' if self.variadic else ''})"

    @property
    def least(self) -> int:
        """The smallest number of arguments."""
        return sum(parameter.default is None for parameter in self.parameters)

    def parameter(self, index: int) -> Parameter:
        """The parameter that argument `index` is for."""
        return self.parameters[min(index, len(self.parameters) - 1)]


# Vector kernels: out= receives the result; operands are (bins,) arrays or numbers.


def divide(
    a: Operand, b: Operand, *, out: FloatArray, zero: Callable[[np.ndarray[Any, Any]], object] | None = None
) -> None:
    """a / b, with 0 where b is 0 and a is not missing; `zero` is told the `(bins,)` bool mask of these.

    `out` must not be `a` or `b`. A quotient by zero is never finite, so one pass tells that there is none.
    """
    np.divide(a, b, out=out)
    if out.dot(out) < math.inf:
        return
    mask = np.broadcast_to((np.asarray(b) == 0.0) & ~np.isnan(a), out.shape)
    if mask.any():
        out[mask] = 0.0
        if zero is not None:
            zero(mask)


def modulo(a: Operand, b: Operand, *, out: FloatArray) -> None:
    """NumPy's mod, with 0 where b is 0 and a is not missing; `out` must not be `a` or `b`."""
    np.mod(a, b, out=out)
    np.copyto(out, 0.0, where=(np.asarray(b) == 0.0) & ~np.isnan(a))


def unequal(a: Operand, b: Operand, *, out: FloatArray) -> None:
    """1 where a and b differ, 0 where they do not or one of them is missing."""
    np.copyto(out, np.less(a, b) | np.greater(a, b))


def select(condition: Operand, a: Operand, b: Operand, *, out: FloatArray) -> None:
    """a where the condition is not 0, else b; missing where the condition is. `out` must be no operand."""
    np.copyto(out, b)
    np.copyto(out, a, where=np.not_equal(condition, 0.0))
    np.copyto(out, np.nan, where=np.isnan(condition))


def round_half_away(x: Operand, *, out: FloatArray) -> None:
    """x to the nearest integer, halves away from zero. Adding 0.5 first would round just below a half up."""
    whole = np.trunc(x)
    fraction = np.abs(np.subtract(x, whole))
    np.add(whole, np.copysign(fraction >= 0.5, x), out=out)


def power(x: Operand, y: Operand, *, out: FloatArray) -> None:
    """x to the power of y. `out` must not be `x` or `y`.

    NumPy takes a short cut for these exponents where it sees a single one, and may differ in the last
    bit from the long way, which it takes for a series of exponents: here both go the short way.
    Where one operand is NaN it may give 1 (y is 0, x is 1): here it stays missing.
    """
    np.power(x, y, out=out)
    if isinstance(y, np.ndarray):
        for exponent in (-1.0, 0.5, 2.0):
            where = y == exponent
            if where.any():
                out[where] = np.power(np.broadcast_to(x, out.shape)[where], exponent)
    np.copyto(out, np.nan, where=np.isnan(x) | np.isnan(y))


def shift(x: FloatArray, lag: float, initial: float, *, out: FloatArray) -> None:
    """x, `lag` bins later; `initial` before. `out` must not be `x`."""
    start = int(min(lag, out.size))
    out[:start] = initial
    out[start:] = x[: out.size - start]


def convolve(x: FloatArray, taps: Sequence[tuple[int, float]], *, out: FloatArray) -> None:
    """The sum over (j, w) in `taps` of w·x[t-j], j ascending. `out` must not be `x`."""
    out[:] = 0.0
    for lag, weight in taps:
        if lag < out.size:
            out[lag:] += weight * x[: out.size - lag]


def exponential_average(x: FloatArray, alpha: float, *, out: FloatArray) -> None:
    """e[0] = x[0], e[t] = alpha·x[t] + (1-alpha)·e[t-1]; a closed form would give other bits."""
    values = x.tolist()
    average, rest = values[0], 1.0 - alpha
    for index in range(1, len(values)):
        values[index] = average = alpha * values[index] + rest * average
    out[:] = values


def pulse(amplitude: Operand, period: float, phase: float, *, out: FloatArray) -> None:
    """The amplitude in every `period`-th bin from `phase` on, else 0. `out` must not be `amplitude`."""
    out[:] = 0.0
    bins = slice(int(min(phase, out.size)), None, int(min(period, out.size)))
    out[bins] = amplitude[bins] if isinstance(amplitude, np.ndarray) else amplitude


# Scalar kernels: the same arithmetic for one bin, where Python has no operator for it.


def _floor(x: float) -> float:
    return x if x - x else math.copysign(math.floor(x), x)


def _ceil(x: float) -> float:
    return x if x - x else math.copysign(math.ceil(x), x)


def _round(x: float) -> float:
    if x - x:
        return x
    whole = math.trunc(x)
    fraction = abs(x - whole)
    return math.copysign(abs(whole) + (fraction >= 0.5), x)


def _sqrt(x: float) -> float:
    return math.sqrt(x) if x >= 0.0 else math.nan


def _modulo(a: float, b: float) -> float:
    if b == 0.0:
        return math.nan if math.isnan(a) else 0.0
    return a % b


def _power(x: float, y: float) -> float:
    return math.nan if math.isnan(x) or math.isnan(y) else float(np.power(x, y))


def _numpy(ufunc: np.ufunc) -> Callable[[float], float]:
    def call(x: float) -> float:
        return float(ufunc(x))

    return call


SCALARS: Mapping[str, object] = MappingProxyType(
    {
        "nan": math.nan,
        "inf": math.inf,
        "floor": _floor,
        "ceil": _ceil,
        "round": _round,
        "sqrt": _sqrt,
        "modulo": _modulo,
        "exp": _numpy(np.exp),
        "log": _numpy(np.log),
        "power": _power,
    }
)
"""What the scalar kernels' expressions may name."""

_X = Parameter("x")
_A = Parameter("a")
_B = Parameter("b")


def _clamp(x: Expression, low: Expression, high: Expression) -> Expression:
    return Call("MAX", (low, Call("MIN", (x, high))))


def _step(x: Expression, threshold: Expression) -> Expression:
    return Binary(">=", x, threshold)


_ENTRIES = (
    Function(
        "SHIFT",
        (_X, Parameter("k", "integer", minimum=0), Parameter("initial", "number", 0.0)),
        "The value of x, k bins ago; `initial` in the first k bins. With k >= 1 it may close a cycle.",
        "SHIFT(backlog, 1)",
        unit_from=("x",),
        memory=True,
        vector=shift,
    ),
    Function(
        "CONV",
        (_X, Parameter("kernel", "kernel")),
        "The sum over j of kernel[j] times the value of x, j bins ago. Zero taps read nothing. The kernel is "
        "an array, or a pmf node whose values are lags. A kernel that starts with 0 may close a cycle.",
        "CONV(errors, [0, 0.6, 0.3, 0.1])",
        unit_from=("x",),
        memory=True,
        negative_zero="never",
        vector=convolve,
    ),
    Function(
        "EMA",
        (_X, Parameter("alpha", "number", maximum=1, above=0)),
        "The exponential moving average: x in the first bin, then alpha times x plus (1 - alpha) times the "
        "average before. Missing from the first missing x on.",
        "EMA(latency, 0.2)",
        unit_from=("x",),
        memory=True,
        negative_zero="always",
        vector=exponential_average,
    ),
    Function(
        "CUMSUM",
        (_X,),
        "The running sum of x. Missing from the first missing x on.",
        "CUMSUM(orders)",
        unit_from=("x",),
        memory=True,
        vector=np.add.accumulate,
    ),
    Function(
        "MIN",
        (_A, _B),
        "The least of its arguments; missing where one of them is.",
        "MIN(arrivals, capacity)",
        unit_from=("a", "b"),
        variadic=True,
        in_place=True,
        vector=np.minimum,
        scalar="{0} if {0} <= {1} or {0} != {0} else {1}",
    ),
    Function(
        "MAX",
        (_A, _B),
        "The greatest of its arguments; missing where one of them is.",
        "MAX(0, arrivals - served)",
        unit_from=("a", "b"),
        variadic=True,
        in_place=True,
        vector=np.maximum,
        scalar="{0} if {0} >= {1} or {0} != {0} else {1}",
    ),
    Function(
        "CLAMP",
        (_X, Parameter("lo"), Parameter("hi")),
        "x, at least lo and at most hi: MAX(lo, MIN(x, hi)), so that lo wins where lo > hi.",
        "CLAMP(utilisation, 0, 1)",
        unit_from=("x", "lo", "hi"),
        rewrite=_clamp,
    ),
    Function(
        "MOD",
        (_X, Parameter("d")),
        "The remainder of x divided by d, with the sign of d (NumPy's mod); 0 where d is 0.",
        "MOD(orders, 12)",
        unit_from=("x",),
        negative_zero="always",
        vector=modulo,
        scalar="modulo({0}, {1})",
    ),
    Function(
        "FLOOR",
        (_X,),
        "The greatest integer not above x.",
        "FLOOR(staff)",
        unit_from=("x",),
        in_place=True,
        vector=np.floor,
        scalar="floor({0})",
    ),
    Function(
        "CEIL",
        (_X,),
        "The least integer not below x.",
        "CEIL(parcels / 40)",
        unit_from=("x",),
        in_place=True,
        negative_zero="always",
        vector=np.ceil,
        scalar="ceil({0})",
    ),
    Function(
        "ROUND",
        (_X,),
        "The integer nearest to x; halves go away from zero.",
        "ROUND(orders * 0.3)",
        unit_from=("x",),
        in_place=True,
        negative_zero="always",
        vector=round_half_away,
        scalar="round({0})",
    ),
    Function(
        "ABS",
        (_X,),
        "x without its sign.",
        "ABS(planned - actual)",
        unit_from=("x",),
        in_place=True,
        negative_zero="never",
        vector=np.absolute,
        scalar="abs({0})",
    ),
    Function(
        "SQRT",
        (_X,),
        "The square root of x; missing where x is negative.",
        "SQRT(variance)",
        in_place=True,
        vector=np.sqrt,
        scalar="sqrt({0})",
    ),
    Function(
        "EXP",
        (_X,),
        "e to the power of x.",
        "EXP(-load)",
        in_place=True,
        negative_zero="never",
        vector=np.exp,
        scalar="exp({0})",
    ),
    Function(
        "LOG",
        (_X,),
        "The natural logarithm of x; missing where x is not positive.",
        "LOG(1 + visits)",
        in_place=True,
        negative_zero="never",
        vector=np.log,
        scalar="log({0})",
    ),
    Function(
        "POW",
        (_X, Parameter("y")),
        "x to the power of y; missing where one of them is, also to the power of 0.",
        "POW(utilisation, 4)",
        negative_zero="always",
        vector=power,
        scalar="power({0}, {1})",
    ),
    Function(
        "IF",
        (Parameter("condition"), _A, _B),
        "a where the condition is not 0, else b; missing where the condition is. The other has no effect.",
        "IF(arrivals > capacity, capacity, arrivals)",
        unit_from=("a", "b"),
        vector=select,
        scalar="nan if {0} != {0} else {1} if {0} else {2}",
    ),
    Function(
        "STEP",
        (_X, Parameter("threshold")),
        "1 where x is at least the threshold, else 0; 0 where one of them is missing.",
        "STEP(queue, 100)",
        rewrite=_step,
    ),
    Function(
        "PULSE",
        (
            Parameter("period", "integer", minimum=1),
            Parameter("phase", "integer", 0.0, minimum=0),
            Parameter("amplitude", "series", 1.0),
        ),
        "The amplitude in bin `phase` and every `period` bins after it, else 0.",
        "PULSE(24, 8, 500)",
        unit_from=("amplitude",),
        vector=pulse,
    ),
)

TABLE: Mapping[str, Function] = MappingProxyType({entry.name: entry for entry in _ENTRIES})
"""Every function by its name, in the order of the reference."""


def _arithmetic(name: str, doc: str, vector: Callable[..., Any], unit_from: tuple[str, ...] = ()) -> Function:
    return Function(
        name,
        (_A, _B),
        doc,
        f"a {name} b",
        unit_from,
        in_place=True,
        vector=vector,
        scalar=f"{{0}} {name} {{1}}",
    )


def _comparison(name: str, doc: str, vector: Callable[..., Any], test: str | None = None) -> Function:
    return Function(
        name,
        (_A, _B),
        doc,
        f"a {name} b",
        negative_zero="never",
        vector=vector,
        scalar=f"1.0 if {test or f'{{0}} {name} {{1}}'} else 0.0",
    )


_OPERATORS = (
    replace(_arithmetic("+", "The sum.", np.add, ("a", "b")), negative_zero="all"),
    _arithmetic("-", "The difference.", np.subtract, ("a", "b")),
    replace(_arithmetic("*", "The product.", np.multiply), negative_zero="always"),
    replace(
        _arithmetic("/", "The quotient; 0 where b is 0, with a warning, unless a is missing.", divide),
        in_place=False,
        negative_zero="always",
    ),
    _comparison("<", "1 where a is less than b, else 0.", np.less),
    _comparison("<=", "1 where a is at most b, else 0.", np.less_equal),
    _comparison(">", "1 where a is greater than b, else 0.", np.greater),
    _comparison(">=", "1 where a is at least b, else 0.", np.greater_equal),
    _comparison("==", "1 where a equals b, else 0.", np.equal),
    _comparison(
        "!=", "1 where a differs from b, else 0; 0 where one is missing.", unequal, "{0} < {1} or {0} > {1}"
    ),
)

OPERATORS: Mapping[str, Function] = MappingProxyType({entry.name: entry for entry in _OPERATORS})
"""The infix operators, in the same terms as the functions."""

NEGATIVE = Function(
    "negative",
    (_X,),
    "x with the other sign.",
    "-x",
    ("x",),
    in_place=True,
    negative_zero="always",
    vector=np.negative,
    scalar="-{0}",
)
COPY = Function("copy", (_X,), "x itself.", "x", ("x",), in_place=True, vector=np.positive, scalar="{0}")

KERNELS: Mapping[str, Function] = MappingProxyType(
    {**TABLE, **OPERATORS, NEGATIVE.name: NEGATIVE, COPY.name: COPY}
)
"""Everything that the engine computes with, by name."""
