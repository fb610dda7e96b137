"""Queue nodes of a model document."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, get_args

from flowtime.core.constants import constant, is_constant
from flowtime.core.parameters import Parameter
from flowtime.errors import did_you_mean
from flowtime.model.formulas import read_formula, value_problem
from flowtime.model.reading import Reader, shown
from flowtime.model.source import Path
from flowtime.model.spec import MEASURES, Formula, QueueNode, WaitUnit

WAIT_UNITS: tuple[WaitUnit, ...] = get_args(WaitUnit)

FORMULAS = ("arrivals", "capacity", "workers", "serviceSeconds", "abandon")
CONSTANTS = ("initial", "limit", "patience", "slo", "variability")
KEYS = (*FORMULAS, *CONSTANTS, "waitUnit", "overflow", "record")


@dataclass(frozen=True, slots=True)
class Rule:
    """What a constant formula of a queue takes."""

    allowed: str
    takes: Callable[[float], bool]


RULES: Mapping[str, Rule] = {
    "initial": Rule("a number of at least 0", lambda value: value >= 0),
    "limit": Rule("a number of at least 0", lambda value: value >= 0),
    "patience": Rule("a whole number of bins, 1 or more", lambda value: value >= 1 and value.is_integer()),
    "slo": Rule("a number of at least 0", lambda value: value >= 0),
    "variability": Rule("a number of at least 0", lambda value: value >= 0),
}


def read_queue(read: Reader, path: Path, entry: dict[str, Any], common: dict[str, Any]) -> QueueNode | None:
    """The queue, or None for what was reported. `FormulaChecks` looks at the names in its formulas."""
    id = common["id"]
    owner = f'node "{id}"'
    before = len(read.problems)
    formulas = {
        key: read_formula(read, (*path, key), entry.get(key), f"{owner}: {key}", id)
        for key in (*FORMULAS, *CONSTANTS)
    }
    given = {key for key in (*FORMULAS, *CONSTANTS) if entry.get(key) is not None}
    _ways(read, path, given, owner)
    unit = entry.get("waitUnit", "minutes")
    if unit not in WAIT_UNITS:
        message = f"{owner}: waitUnit is {shown(unit)}; {', '.join(WAIT_UNITS)} are allowed"
        read.problem("FT205", (*path, "waitUnit"), message, hint=did_you_mean(str(unit), WAIT_UNITS), node=id)
    overflow = read.text((*path, "overflow"), entry.get("overflow"), owner)
    if overflow is not None and "limit" not in given:
        message = f"{owner}: overflow needs limit; without one nothing is lost"
        read.problem("FT203", (*path, "overflow"), message, node=id)
    record = None
    if entry.get("record") is not None:
        record = read.texts((*path, "record"), entry["record"], owner)
    arrivals = formulas["arrivals"]
    if arrivals is None or len(read.problems) > before:
        return None
    queue = QueueNode(
        **common,
        arrivals=arrivals,
        capacity=formulas["capacity"],
        workers=formulas["workers"],
        service_seconds=formulas["serviceSeconds"],
        initial=formulas["initial"],
        limit=formulas["limit"],
        patience=formulas["patience"],
        abandon=formulas["abandon"],
        slo=formulas["slo"],
        variability=formulas["variability"],
        wait_unit=unit,
        overflow=overflow,
        record=record,
    )
    _record(read, path, queue, owner)
    return queue if len(read.problems) == before else None


def _ways(read: Reader, path: Path, given: set[str], owner: str) -> None:
    """Reports keys that exclude or need each other."""
    if "arrivals" not in given:
        read.problem("FT203", path, f"{owner}: arrivals is missing")
    if "capacity" in given and "workers" in given:
        message = f"{owner}: capacity stands beside workers; one of them says how much is served"
        read.problem("FT202", (*path, "workers"), message, key=True)
    elif "capacity" not in given and "workers" not in given:
        message = f"{owner}: capacity is missing; or give workers and serviceSeconds"
        read.problem("FT203", path, message)
    for key, other in (
        ("workers", "serviceSeconds"),
        ("serviceSeconds", "workers"),
        ("variability", "workers"),
    ):
        if key in given and other not in given and not (key == "serviceSeconds" and "capacity" in given):
            read.problem("FT203", (*path, key), f"{owner}: {key} needs {other}", key=True)
    if "serviceSeconds" in given and "capacity" in given and "workers" not in given:
        message = f"{owner}: serviceSeconds belongs to workers; capacity alone says how much is served"
        read.problem("FT202", (*path, "serviceSeconds"), message, key=True)
    if {"patience", "abandon"} <= given:
        message = f"{owner}: abandon stands beside patience; one of them says who leaves"
        read.problem("FT202", (*path, "abandon"), message, key=True)


def _record(read: Reader, path: Path, queue: QueueNode, owner: str) -> None:
    for i, measure in enumerate(queue.record or ()):
        if measure in queue.measures:
            continue
        at = (*path, "record", i)
        if measure in MEASURES:
            read.problem("FT205", at, f"{owner}: {why_absent(measure)}", node=queue.id)
        else:
            message = f'{owner}: unknown measure "{measure}"; it has {", ".join(queue.measures)}'
            read.problem("FT201", at, message, hint=did_you_mean(measure, queue.measures), node=queue.id)
    if queue.record == ():
        message = f"{owner}: record is empty"
        read.problem("FT205", (*path, "record"), message, hint="leave it out to record the usual measures")


def why_absent(measure: str) -> str:
    """Why a queue does not have one of the measures of queues."""
    if measure == "within_slo":
        return f"{measure} needs slo, the wait that is still good"
    if measure == "wait_joining":
        return f"{measure} is not defined where people leave before they are served"
    return f"{measure} needs workers and serviceSeconds"


def queue_problems(
    queue: QueueNode, parameters: Mapping[str, Parameter], values: Mapping[str, float]
) -> list[tuple[str, str, int]]:
    """What is wrong with the constant formulas of a queue at these values of parameters: key, message, and
    the position in the formula's text.
    """
    found = []
    for key, formula in queue.constants.items():
        rule = RULES[key]
        problem = value_problem(formula, values, key, rule.allowed, rule.takes)
        if problem is not None:
            found.append((key, *problem))
    if not found and queue.limit is not None:
        initial = constant_of(queue.initial, values, 0.0)
        low = f"a number of at least {initial:g}, what waits at first"
        problem = value_problem(queue.limit, values, "limit", low, lambda value: value >= initial)
        if problem is not None:
            found.append(("limit", *problem))
    service = queue.service_seconds
    if service is not None and is_constant(service.tree, parameters):
        problem = value_problem(
            service, values, "serviceSeconds", "a number greater than 0", lambda value: value > 0
        )
        if problem is not None:
            found.append(("serviceSeconds", *problem))
    return found


def constant_of(formula: Formula | None, values: Mapping[str, float], default: float) -> float:
    """The value of a constant formula that was checked."""
    return default if formula is None else constant(formula.tree, values)
