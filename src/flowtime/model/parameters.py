"""The parameters of a model document: values, bounds and spreads; and values given for a run."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from typing import Any

from flowtime.core.expression import format_number
from flowtime.core.parameters import Normal, Parameter, Spread, Triangular, Uniform
from flowtime.core.pmf import Pmf
from flowtime.errors import Diagnostic, InvalidInput, did_you_mean
from flowtime.model.reading import Reader, shown
from flowtime.model.source import Path
from flowtime.texts import count

_KEYS = ("value", "min", "max", "integer", "unit", "title", "description", "spread")
_SPREADS: Mapping[str, tuple[str, ...]] = {
    "uniform": ("a", "b"),
    "triangular": ("a", "mode", "b"),
    "normal": ("mean", "sd"),
}

Distribution = Callable[[Path, Any, str], Pmf | None]
"""Reads a distribution as pmf nodes have it."""


def read_parameters(
    read: Reader, value: Any, taken: Collection[str], distribution: Distribution
) -> dict[str, Parameter]:
    """All parameters by id, those with problems left out; `taken` ids are those of nodes."""
    section = read.mapping(("parameters",), value) or {}
    found = {}
    for id, item in section.items():
        path: Path = ("parameters", id)
        owner = f'parameter "{id}"'
        if id in taken:
            read.problem("FT207", path, f"{owner}: a node has this id already", key=True)
            continue
        if not read.is_id(path, id, owner):
            continue
        parameter = _parameter(read, path, id, item, owner, distribution)
        if parameter is not None:
            found[id] = parameter
    return found


def _parameter(
    read: Reader, path: Path, id: str, item: Any, owner: str, distribution: Distribution
) -> Parameter | None:
    if not isinstance(item, dict):
        number = read.finite(path, item, owner, "the value")
        return None if number is None else Parameter(id, number)
    read.known_keys(path, item, _KEYS, owner)
    if item.get("value") is None:
        read.problem("FT203", path, f"{owner}: value is missing", key=True)
        return None
    numbers = {
        key: read.finite((*path, key), item[key], owner, key)
        for key in ("value", "min", "max")
        if item.get(key) is not None
    }
    integer = item.get("integer", False)
    if type(integer) is not bool:
        read.problem("FT204", (*path, "integer"), f"{owner}: integer is true or false, not {shown(integer)}")
        return None
    if None in numbers.values():
        return None
    spread = _spread(read, (*path, "spread"), item.get("spread"), owner, distribution)
    parameter = Parameter(
        id,
        numbers["value"] or 0.0,
        -math.inf if numbers.get("min") is None else numbers["min"] or 0.0,
        math.inf if numbers.get("max") is None else numbers["max"] or 0.0,
        integer,
        read.text((*path, "unit"), item.get("unit"), owner),
        read.text((*path, "title"), item.get("title"), owner),
        read.text((*path, "description"), item.get("description"), owner),
        spread,
    )
    if parameter.minimum > parameter.maximum:
        low, high = format_number(parameter.minimum), format_number(parameter.maximum)
        read.problem(
            "FT205", (*path, "min"), f"{owner}: min is {low} and max is {high}; min must not be greater"
        )
        return None
    if not parameter.takes(parameter.value):
        message = f"{owner}: value is {format_number(parameter.value)}; it takes {parameter.allowed}"
        read.problem("FT205", (*path, "value"), message)
        return None
    return parameter


def _spread(read: Reader, path: Path, value: Any, owner: str, distribution: Distribution) -> Spread | None:
    entry = read.mapping(path, value, owner)
    if entry is None:
        return None
    kinds = ("pmf", *_SPREADS)
    if len(entry) != 1 or next(iter(entry)) not in kinds:
        given = ", ".join(entry) or "nothing"
        message = f"{owner}: a spread is one of {', '.join(kinds)}; here it is {given}"
        read.problem("FT205", path, message, hint=did_you_mean(given, kinds))
        return None
    ((kind, given),) = entry.items()
    path = (*path, kind)
    if kind == "pmf":
        return distribution(path, given, owner)
    names = _SPREADS[kind]
    listed = read.typed(path, given, list, owner)
    numbers = None if listed is None else read.numbers(path, listed, owner, kind)
    if numbers is None:
        return None
    shape = f"[{', '.join(names)}]"
    if len(numbers) != len(names):
        read.problem("FT208", path, f"{owner}: {kind} takes {shape}, not {count(len(numbers), 'number')}")
        return None
    if kind == "normal":
        if numbers[1] < 0:
            read.problem(
                "FT205", path, f"{owner}: the sd is {format_number(numbers[1])}; it must not be negative"
            )
            return None
        return Normal(*numbers)
    if list(numbers) != sorted(numbers) or numbers[0] == numbers[-1]:
        spelled = ", ".join(map(format_number, numbers))
        message = f"{owner}: {kind} takes {shape} in ascending order, a less than b, not [{spelled}]"
        read.problem("FT205", path, message)
        return None
    return Uniform(*numbers) if kind == "uniform" else Triangular(*numbers)


def _takes(parameter: Parameter, value: Any) -> bool:
    try:
        return type(value) in (int, float) and parameter.takes(float(value))
    except OverflowError:
        return False


def set_values(parameters: Mapping[str, Parameter], given: Mapping[str, Any]) -> dict[str, float]:
    """The value of each parameter where a run gives some.

    Raises InvalidInput (FT221) with every problem: an unknown name, a value that is not a number or that its
    parameter does not take.
    """
    problems = []
    values = {id: parameter.value for id, parameter in parameters.items()}
    for id, value in given.items():
        parameter = parameters.get(id)
        if parameter is None:
            known = f"can be set: {', '.join(parameters)}" if parameters else "the model has no parameters"
            hint = did_you_mean(id, parameters)
            problems.append(Diagnostic("FT221", f'unknown parameter "{id}"; {known}', hint=hint))
        elif not _takes(parameter, value):
            spelled = format_number(value) if isinstance(value, float) else shown(value)
            problems.append(Diagnostic("FT221", f'parameter "{id}" takes {parameter.allowed}, not {spelled}'))
        else:
            values[id] = float(value) + 0.0
    if problems:
        several = problems if len(problems) > 1 else ()
        raise InvalidInput("FT221", problems[0].message, hint=problems[0].hint, errors=several)
    return values
