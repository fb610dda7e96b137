"""The functions and operators of formulas: the one table.

Each entry holds a function's parameters, its documentation and how its result gets a unit. What a function
computes is said twice, with the same bits: for people in `core.arithmetic` and `engine.reference`, for
machines in `engine.instructions`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from flowtime.core.expression import (
    Binary,
    Call,
    Expression,
    format_number,
)

ArgumentKind = Literal["series", "integer", "number", "kernel"]


@dataclass(frozen=True, slots=True)
class Argument:
    """One parameter of a function.

    `series` takes any formula; `integer` and `number` a constant formula; `kernel` an array of constant
    formulas or the id of a pmf node. One with a default may be left out.
    """

    name: str
    kind: ArgumentKind = "series"
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
        text = "a whole number" if self.kind == "integer" else "a number"
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

    Functions with `memory` read earlier bins. A function with a `rewrite` is short for other functions.
    """

    name: str
    parameters: tuple[Argument, ...]
    doc: str
    example: str
    unit_from: tuple[str, ...] = ()
    """The parameters whose common unit the result has; none: the result has no unit."""
    variadic: bool = False
    """Whether the last parameter may be repeated; the function is then folded from the left."""
    memory: bool = False
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

    def parameter(self, index: int) -> Argument:
        """The parameter that argument `index` is for."""
        return self.parameters[min(index, len(self.parameters) - 1)]


_X = Argument("x")
_A = Argument("a")
_B = Argument("b")


def _clamp(x: Expression, low: Expression, high: Expression) -> Expression:
    return Call("MAX", (low, Call("MIN", (x, high))))


def _step(x: Expression, threshold: Expression) -> Expression:
    return Binary(">=", x, threshold)


_ENTRIES = (
    Function(
        "SHIFT",
        (_X, Argument("k", "integer", minimum=0), Argument("initial", "number", 0.0)),
        "The value of x, k bins ago; `initial` in the first k bins. With k >= 1 it may close a cycle.",
        "SHIFT(backlog, 1)",
        unit_from=("x",),
        memory=True,
    ),
    Function(
        "CONV",
        (_X, Argument("kernel", "kernel")),
        "The sum over j of kernel[j] times the value of x, j bins ago. Zero taps read nothing. The kernel is "
        "an array, or a pmf node whose values are lags. A kernel that starts with 0 may close a cycle.",
        "CONV(errors, [0, 0.6, 0.3, 0.1])",
        unit_from=("x",),
        memory=True,
    ),
    Function(
        "EMA",
        (_X, Argument("alpha", "number", maximum=1, above=0)),
        "The exponential moving average: x in the first bin, then alpha times x plus (1 - alpha) times the "
        "average before. Missing from the first missing x on.",
        "EMA(latency, 0.2)",
        unit_from=("x",),
        memory=True,
    ),
    Function(
        "CUMSUM",
        (_X,),
        "The running sum of x. Missing from the first missing x on.",
        "CUMSUM(orders)",
        unit_from=("x",),
        memory=True,
    ),
    Function(
        "MIN",
        (_A, _B),
        "The least of its arguments; missing where one of them is.",
        "MIN(arrivals, capacity)",
        unit_from=("a", "b"),
        variadic=True,
    ),
    Function(
        "MAX",
        (_A, _B),
        "The greatest of its arguments; missing where one of them is.",
        "MAX(0, arrivals - served)",
        unit_from=("a", "b"),
        variadic=True,
    ),
    Function(
        "CLAMP",
        (_X, Argument("lo"), Argument("hi")),
        "x, at least lo and at most hi: MAX(lo, MIN(x, hi)), so that lo wins where lo > hi.",
        "CLAMP(utilisation, 0, 1)",
        unit_from=("x", "lo", "hi"),
        rewrite=_clamp,
    ),
    Function(
        "MOD",
        (_X, Argument("d")),
        "The remainder of x divided by d, with the sign of d (NumPy's mod); 0 where d is 0.",
        "MOD(orders, 12)",
        unit_from=("x",),
    ),
    Function(
        "FLOOR",
        (_X,),
        "The greatest integer not above x.",
        "FLOOR(staff)",
        unit_from=("x",),
    ),
    Function(
        "CEIL",
        (_X,),
        "The least integer not below x.",
        "CEIL(parcels / 40)",
        unit_from=("x",),
    ),
    Function(
        "ROUND",
        (_X,),
        "The integer nearest to x; halves go away from zero.",
        "ROUND(orders * 0.3)",
        unit_from=("x",),
    ),
    Function(
        "ABS",
        (_X,),
        "x without its sign.",
        "ABS(planned - actual)",
        unit_from=("x",),
    ),
    Function(
        "SQRT",
        (_X,),
        "The square root of x; missing where x is negative.",
        "SQRT(variance)",
    ),
    Function(
        "EXP",
        (_X,),
        "e to the power of x.",
        "EXP(-load)",
    ),
    Function(
        "LOG",
        (_X,),
        "The natural logarithm of x; missing where x is not positive.",
        "LOG(1 + visits)",
    ),
    Function(
        "POW",
        (_X, Argument("y")),
        "x to the power of y; missing where one of them is, also to the power of 0.",
        "POW(utilisation, 4)",
    ),
    Function(
        "IF",
        (Argument("condition"), _A, _B),
        "a where the condition is not 0, else b; missing where the condition is. The other has no effect.",
        "IF(arrivals > capacity, capacity, arrivals)",
        unit_from=("a", "b"),
    ),
    Function(
        "STEP",
        (_X, Argument("threshold")),
        "1 where x is at least the threshold, else 0; 0 where one of them is missing.",
        "STEP(queue, 100)",
        rewrite=_step,
    ),
    Function(
        "PULSE",
        (
            Argument("period", "integer", minimum=1),
            Argument("phase", "integer", 0.0, minimum=0),
            Argument("amplitude", "series", 1.0),
        ),
        "The amplitude in bin `phase` and every `period` bins after it, else 0.",
        "PULSE(24, 8, 500)",
        unit_from=("amplitude",),
    ),
)

TABLE: Mapping[str, Function] = MappingProxyType({entry.name: entry for entry in _ENTRIES})
"""Every function by its name, in the order of the reference."""


def _operator(name: str, doc: str, unit_from: tuple[str, ...] = ()) -> Function:
    return Function(name, (_A, _B), doc, f"a {name} b", unit_from)


_OPERATORS = (
    _operator("+", "The sum.", ("a", "b")),
    _operator("-", "The difference.", ("a", "b")),
    _operator("*", "The product."),
    _operator("/", "The quotient; 0 where b is 0, with a warning, unless a is missing."),
    _operator("<", "1 where a is less than b, else 0."),
    _operator("<=", "1 where a is at most b, else 0."),
    _operator(">", "1 where a is greater than b, else 0."),
    _operator(">=", "1 where a is at least b, else 0."),
    _operator("==", "1 where a equals b, else 0."),
    _operator("!=", "1 where a differs from b, else 0; 0 where one is missing."),
)

OPERATORS: Mapping[str, Function] = MappingProxyType({entry.name: entry for entry in _OPERATORS})
"""The infix operators, in the same terms as the functions."""

NEGATIVE = Function("negative", (_X,), "x with the other sign.", "-x", ("x",))
COPY = Function("copy", (_X,), "x itself.", "x", ("x",))

OWN: Mapping[str, Function] = MappingProxyType(
    {
        entry.name: entry
        for entry in (
            Function("FLOW", (_X,), "x, and 0 where it is negative, with a warning.", "", ("x",)),
            Function("PART", (_X,), "x, at least 0 and less than 1, with a warning elsewhere.", ""),
            Function("POSITIVE", (_X,), "x; a value of 0 or less is an error.", "", ("x",)),
            Function("RATIO", (_A, _B), "a / b, missing where b is 0.", ""),
        )
    }
)
"""What queues are computed with besides; documents cannot call them."""

KNOWN: Mapping[str, Function] = MappingProxyType({**TABLE, **OWN})
"""Every function that the engine computes, by its name."""

RESERVED = frozenset(
    (
        *("LOOKUP", "LOOKUP_STEP", "ROLL_SUM", "ROLL_MEAN", "ROLL_MIN", "ROLL_MAX", "AND", "OR", "NOT"),
        *("ERLANG_B", "ERLANG_C", "BIN", "BIN_SECONDS", "HOUR", "WEEKDAY"),
    )
)
"""Names that no node or parameter may have in version 2 of the language."""
