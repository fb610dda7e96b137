"""What the functions and operators of formulas give for one bin, in plain Python.

Functions that read other bins (SHIFT, CONV, EMA, CUMSUM), and PULSE, which looks at the bin itself, are in
`reference`. A missing value is NaN and comes out as NaN, but for comparisons, which give 0. Nothing raises.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from types import MappingProxyType

from flowtime.core import elementary


def divide(a: float, b: float) -> float:
    """a / b, and 0 where b is 0 and a is not missing."""
    if b != 0.0:
        return a / b
    return math.nan if math.isnan(a) else 0.0


def minimum(a: float, b: float) -> float:
    """The lesser of both; missing where one of them is."""
    return a if a <= b or math.isnan(a) else b


def maximum(a: float, b: float) -> float:
    """The greater of both; missing where one of them is."""
    return a if a >= b or math.isnan(a) else b


def select(condition: float, a: float, b: float) -> float:
    """a where the condition is not 0, else b; missing where the condition is."""
    if math.isnan(condition):
        return math.nan
    return a if condition != 0.0 else b


def floor(x: float) -> float:
    """The greatest integer not above x."""
    return math.copysign(math.floor(x), x) if math.isfinite(x) else x


def ceil(x: float) -> float:
    """The least integer not below x."""
    return math.copysign(math.ceil(x), x) if math.isfinite(x) else x


def round_half_away(x: float) -> float:
    """The nearest integer, halves away from zero. Adding 0.5 first would round just below a half up."""
    if not math.isfinite(x):
        return x
    whole = math.trunc(x)
    return math.copysign(abs(whole) + (abs(x - whole) >= 0.5), x)


def square_root(x: float) -> float:
    """The square root; missing below 0."""
    return math.sqrt(x) if x >= 0.0 else math.nan


def flow(x: float) -> float:
    """x, and 0 where it is negative."""
    return 0.0 if x < 0.0 else x


def part(x: float) -> float:
    """x, at least 0 and less than 1."""
    return 0.0 if x < 0.0 else LARGEST_PART if x > LARGEST_PART else x


def ratio(a: float, b: float) -> float:
    """a / b, missing where b is 0."""
    return a / b if b != 0.0 else math.nan


LARGEST_PART = 1.0 - 2.0**-53
"""The largest double below 1."""

ARITHMETIC: Mapping[str, Callable[..., float]] = MappingProxyType(
    {
        "+": operator.add,
        "-": operator.sub,
        "*": operator.mul,
        "/": divide,
        "negative": operator.neg,
        "copy": operator.pos,
        "<": lambda a, b: 1.0 if a < b else 0.0,
        "<=": lambda a, b: 1.0 if a <= b else 0.0,
        ">": lambda a, b: 1.0 if a > b else 0.0,
        ">=": lambda a, b: 1.0 if a >= b else 0.0,
        "==": lambda a, b: 1.0 if a == b else 0.0,
        "!=": lambda a, b: 1.0 if a < b or a > b else 0.0,
        "MIN": minimum,
        "MAX": maximum,
        "IF": select,
        "ABS": abs,
        "FLOOR": floor,
        "CEIL": ceil,
        "ROUND": round_half_away,
        "SQRT": square_root,
        "EXP": elementary.exp,
        "LOG": elementary.log,
        "POW": elementary.pow,
        "MOD": elementary.mod,
        "FLOW": flow,
        "PART": part,
        "POSITIVE": operator.pos,
        "RATIO": ratio,
    }
)
"""The value of one bin from the values of the operands in it, by function or operator."""

NOTED: Mapping[str, tuple[str, Callable[[float], bool]]] = MappingProxyType(
    {
        "FLOW": ("FT310", lambda x: x < 0.0),
        "PART": ("FT311", lambda x: x < 0.0 or x > LARGEST_PART),
        "POSITIVE": ("FT312", lambda x: x <= 0.0),
    }
)
"""Functions whose operand is worth a note in some bins: its code, and when."""
