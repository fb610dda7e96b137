"""Ranges of parameters, as people write them: `4..12`, `1:2:0.1`, `1,2,5`, `10%`."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from flowtime.core.expression import format_number
from flowtime.core.parameters import Parameter
from flowtime.errors import InvalidInput, did_you_mean

MAX_VALUES = 100_000
"""Values of a range, and points of a question."""

FORMS = "write 4..12, 1:2:0.1, 1,2,5 or 10%"
_NUMBER = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?")


@dataclass(frozen=True, slots=True)
class Range:
    """What a parameter is to vary over: some `values`, ascending, or without them all from `low` to
    `high`.
    """

    parameter: Parameter
    low: float
    high: float
    values: tuple[float, ...] = ()

    @property
    def id(self) -> str:
        """The id of the parameter."""
        return self.parameter.id


def ranges(texts: Iterable[str], parameters: Mapping[str, Parameter]) -> tuple[Range, ...]:
    """The ranges in texts such as `workers=4..12`; the name alone means the parameter's own bounds.

    Raises InvalidInput (FT841) where a text cannot be read, names no parameter or one twice, and where a
    value is not one that the parameter takes.
    """
    found: dict[str, Range] = {}
    for text in texts:
        name, _, form = (part.strip() for part in text.partition("="))
        if name not in parameters:
            known = f"can be varied: {', '.join(parameters)}" if parameters else "the model has no parameters"
            hint = did_you_mean(name, parameters)
            raise InvalidInput("FT841", f'unknown parameter "{name}"; {known}', hint=hint)
        if name in found:
            raise InvalidInput("FT841", f'"{name}" has two ranges', hint="give one range for each parameter")
        found[name] = _range(form, parameters[name])
    return tuple(found.values())


def _range(form: str, parameter: Parameter) -> Range:
    if not form:
        if math.isinf(parameter.minimum) or math.isinf(parameter.maximum):
            hint = f'give a range: "{parameter.id}=1..10", or give the parameter min and max in the model'
            raise InvalidInput("FT841", f'parameter "{parameter.id}" has no bounds of its own', hint=hint)
        return _between(parameter, parameter.minimum, parameter.maximum)
    if form.endswith("%"):
        return _around(parameter, _number(form[:-1], form))
    if ".." in form:
        low, high = (_number(part, form) for part in form.split("..", 1))
        return _between(parameter, low, high)
    if ":" in form:
        parts = [_number(part, form) for part in form.split(":")]
        if len(parts) != 3:
            raise _unreadable(form)
        return _listed(parameter, _steps(form, *parts))
    return _listed(parameter, [_number(part, form) for part in form.split(",")])


def _between(parameter: Parameter, low: float, high: float) -> Range:
    if low > high:
        raise InvalidInput(
            "FT841", f"{format_number(low)} is above {format_number(high)}", hint="write the lower end first"
        )
    if parameter.integer:
        if high - low >= MAX_VALUES:
            raise _too_many(high - low + 1)
        return _listed(parameter, [float(each) for each in range(math.ceil(low), math.floor(high) + 1)])
    _hold(parameter, (low, high))
    return Range(parameter, low, high)


def _around(parameter: Parameter, percent: float) -> Range:
    if parameter.value == 0:
        hint = f'give its ends: "{parameter.id}=0..1"'
        raise InvalidInput("FT841", f'a share of "{parameter.id}" means nothing: its value is 0', hint=hint)
    width = abs(parameter.value * percent / 100)
    low, high = (
        max(parameter.value - width, parameter.minimum),
        min(parameter.value + width, parameter.maximum),
    )
    return _between(parameter, low, high)


def _steps(form: str, low: float, high: float, step: float) -> list[float]:
    if step <= 0 or low > high:
        raise InvalidInput(
            "FT841", f'"{form}" has no values', hint="write FROM:TO:STEP, with TO above FROM and STEP above 0"
        )
    count = math.floor((high - low) / step + 1e-9) + 1
    if count > MAX_VALUES:
        raise _too_many(count)
    return [float(f"{low + place * step:.12g}") for place in range(count)]


def _listed(parameter: Parameter, values: list[float]) -> Range:
    _hold(parameter, values)
    ordered = tuple(sorted(set(values)))
    if not ordered:
        raise InvalidInput("FT841", f'no whole number is in the range of "{parameter.id}"', hint=FORMS)
    return Range(parameter, ordered[0], ordered[-1], ordered)


def _hold(parameter: Parameter, values: Iterable[float]) -> None:
    for value in values:
        if not parameter.takes(value):
            raise InvalidInput(
                "FT841",
                f'parameter "{parameter.id}" takes {parameter.allowed}, not {format_number(value)}',
                hint="narrow the range, or change the parameter's bounds in the model",
            )


def _number(text: str, form: str) -> float:
    text = text.strip()
    if not _NUMBER.fullmatch(text) or not math.isfinite(float(text)):
        raise _unreadable(form)
    return float(text) + 0.0


def _unreadable(form: str) -> InvalidInput:
    return InvalidInput("FT841", f'"{form[:200]}" is not a range', hint=FORMS)


def _too_many(count: float) -> InvalidInput:
    return InvalidInput(
        "FT841", f"{count:,.0f} values are over {MAX_VALUES:,}", hint="take a larger step or fewer values"
    )
