"""The metrics of a model document, and those that models without any get."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, cast, get_args

from flowtime.core import expression
from flowtime.core.constants import NotConstant, constant
from flowtime.core.expression import Array, Call, Expression, FormulaSyntaxError, Name, children
from flowtime.core.functions import TABLE
from flowtime.core.parameters import Parameter
from flowtime.errors import did_you_mean
from flowtime.model.formulas import read_formula
from flowtime.model.reading import Reader, shown
from flowtime.model.source import Path
from flowtime.model.spec import Formula, Goal, Metric, Model, QueueNode

Reducer = Literal[
    "TOTAL", "MEAN", "PEAK", "LOW", "FIRST", "LAST", "QUANTILE", "SHARE", "BINS", "FIRST_BIN", "LAST_BIN"
]
REDUCERS: tuple[Reducer, ...] = get_args(Reducer)
CONDITIONS: tuple[Reducer, ...] = ("SHARE", "BINS", "FIRST_BIN", "LAST_BIN")
PLACES: tuple[Reducer, ...] = ("FIRST_BIN", "LAST_BIN")
_KNOWN = f"reducers are {', '.join(REDUCERS)}"

_KEYS = ("formula", "unit", "goal", "title", "description")
_GOAL = re.compile(r"\s*(<=|>=|==|!=|<|>)(.*)", re.DOTALL)

Names = Callable[[str, Path, Formula, Expression, str], object]
"""Reports what is wrong in a part of a formula that is a series: owner, path, formula, part, name."""


def read_metrics(
    read: Reader, value: Any, parameters: Mapping[str, Parameter], names: Names
) -> tuple[Metric, ...]:
    """All metrics, those with problems left out."""
    section = read.mapping(("metrics",), value) or {}
    found = []
    for name, item in section.items():
        path: Path = ("metrics", name)
        owner = f'metric "{name}"'
        if not read.is_id(path, name, owner):
            continue
        metric = _metric(read, path, name, item, owner)
        if metric is None:
            continue
        problems = list(_reducer_problems(metric.formula.tree, parameters))
        for message, part in problems:
            read.in_formula(
                "FT212",
                _formula_path(path, item),
                metric.formula.text,
                part.span[0],
                f"{owner}: {message}",
                name,
            )
        for part in series_of(metric.formula.tree) if not problems else ():
            names(owner, _formula_path(path, item), metric.formula, part, name)
        if metric.goal is not None:
            _check_goal(read, (*path, "goal"), metric.goal, parameters, owner)
        found.append(metric)
    return tuple(found)


def _formula_path(path: Path, item: Any) -> Path:
    return (*path, "formula") if isinstance(item, dict) else path


def _metric(read: Reader, path: Path, name: str, item: Any, owner: str) -> Metric | None:
    if not isinstance(item, dict):
        formula = read_formula(read, path, item, owner, name)
        if formula is None and item is None:
            read.problem("FT203", path, f"{owner}: the formula is missing", key=True)
        return None if formula is None else Metric(name, formula)
    read.known_keys(path, item, _KEYS, owner)
    formula = read_formula(read, (*path, "formula"), item.get("formula"), owner, name)
    if formula is None:
        if item.get("formula") is None:
            read.problem("FT203", path, f"{owner}: formula is missing", key=True)
        return None
    return Metric(
        name,
        formula,
        read.text((*path, "unit"), item.get("unit"), owner),
        _goal(read, (*path, "goal"), item.get("goal"), owner),
        read.text((*path, "title"), item.get("title"), owner),
        read.text((*path, "description"), item.get("description"), owner),
    )


def _goal(read: Reader, path: Path, value: Any, owner: str) -> Goal | None:
    text = read.text(path, value, owner)
    if text is None:
        return None
    try:
        return parse_goal(text)
    except ValueError:
        message = f'{owner}: the goal {shown(text)} is not an operator and a number, such as "<= 10"'
        read.problem("FT210", path, message)
        return None


def parse_goal(text: str) -> Goal:
    """A goal such as `<= 10`; raises ValueError."""
    match = _GOAL.fullmatch(text)
    if match is None:
        raise ValueError(text)
    operator, bound = match.groups()
    return Goal(cast(Any, operator), Formula(bound.strip(), expression.parse(bound)))


def _check_goal(
    read: Reader, path: Path, goal: Goal, parameters: Mapping[str, Parameter], owner: str
) -> None:
    try:
        constant(goal.bound.tree, {id: parameter.value for id, parameter in parameters.items()})
    except NotConstant as why:
        read.problem(
            "FT212", path, f"{owner}: a goal takes a number that is known before the run: {why.message}"
        )


def parse_metric(text: str) -> Metric:
    """`NAME=FORMULA` as a metric. Raises ValueError, FormulaSyntaxError among them."""
    name, found, formula = text.partition("=")
    if not found:
        raise ValueError(text)
    return Metric(name.strip(), Formula(formula.strip(), expression.parse(formula.strip())))


def is_reducer(tree: Expression) -> bool:
    """Whether a part of a metric makes a number of a series."""
    return isinstance(tree, Call) and tree.function in REDUCERS


def series_of(tree: Expression) -> Iterator[Expression]:
    """The series formulas inside the reducers of a metric, in the order of the text."""
    for call in reducers(tree):
        yield call.arguments[0]


def reducers(tree: Expression) -> Iterator[Call]:
    """The reducers of a metric that have an argument, in the order of the text."""
    stack = [tree]
    while stack:
        part = stack.pop()
        if isinstance(part, Call) and part.function in REDUCERS:
            if part.arguments:
                yield part
        else:
            stack += reversed(children(part))


def _reducer_problems(
    tree: Expression, parameters: Mapping[str, Parameter]
) -> Iterator[tuple[str, Expression]]:
    """What is wrong around the reducers of a metric: messages, and the parts that they are about."""
    stack = [tree]
    found = any(True for _ in reducers(tree))
    while stack:
        part = stack.pop()
        match part:
            case Call(name, arguments) if name in REDUCERS:
                yield from _arguments(part, name, arguments, parameters)
                continue
            case Name(id) if id not in parameters:
                found = True
                yield f'"{id}" is a series; a reducer such as PEAK({id}) makes a number of it', part
            case Array():
                yield "an array is not a number", part
            case Call(name) if name not in TABLE:
                found = True
                guess = did_you_mean(name, [*REDUCERS, *TABLE])
                yield f"unknown function {name}; {guess or _KNOWN}", part
                continue
            case Call(name) if TABLE[name].memory or name == "PULSE":
                yield f"{name} needs a series, and stands inside a reducer", part
        stack += reversed(children(part))
    if not found:
        yield f"a metric needs a reducer; {_KNOWN}", tree


def _arguments(
    call: Call, name: str, arguments: tuple[Expression, ...], parameters: Mapping[str, Parameter]
) -> Iterator[tuple[str, Expression]]:
    takes = 2 if name == "QUANTILE" else 1
    if len(arguments) != takes:
        usage = "QUANTILE(x, q)" if takes == 2 else f"{name}({'condition' if name in CONDITIONS else 'x'})"
        yield f"{name} takes {takes} argument{'s' * (takes != 1)}, not {len(arguments)}: {usage}", call
        return
    nested = next(reducers(arguments[0]), None)
    if nested is not None:
        yield f"{nested.function} stands inside {name}; reducers do not nest", nested
    if name == "QUANTILE":
        try:
            share = constant(arguments[1], {id: parameter.value for id, parameter in parameters.items()})
        except NotConstant as why:
            yield f"QUANTILE: q must be known before the run: {why.message}", arguments[1]
            return
        if not 0 <= share <= 1:
            yield f"QUANTILE: q is {share:g}; a number from 0 to 1 is allowed", arguments[1]


def default_metrics(model: Model) -> tuple[Metric, ...]:
    """The metrics of a model that declares none: of each queue the peak depth, the longest p95 wait and what
    was lost; of each other component with a recorded `utilization` its peak.
    """
    found: dict[str, Metric] = {}

    def add(name: str, formula: str, title: str, unit: str | None = None) -> None:
        name = re.sub(r"\W", "_", name, flags=re.ASCII)
        name = name if re.match(r"[A-Za-z_]", name) else f"_{name}"
        found.setdefault(name, Metric(name, Formula(formula, expression.parse(formula)), unit, title=title))

    queues = [node for node in model.nodes if isinstance(node, QueueNode)]
    for queue in queues:
        called = queue.title or queue.id
        add(f"{queue.id}_peak_depth", f"PEAK({queue.id}.depth)", f"{called}: largest depth", queue.unit)
        add(
            f"{queue.id}_longest_wait",
            f"PEAK({queue.id}.wait_p95)",
            f"{called}: longest wait (p95)",
            queue.wait_unit,
        )
        if queue.limit is not None:
            add(f"{queue.id}_lost", f"TOTAL({queue.id}.lost)", f"{called}: lost", queue.unit)
    own = {queue.component or queue.id for queue in queues}
    for key, node in model.recorded():
        if key.measure == "utilization" and key.component not in own:
            add(
                f"{key.component}_peak_utilization",
                f"PEAK({node.id})",
                f"{key.component}: largest utilization",
            )
    return tuple(found.values())


__all__ = [
    "CONDITIONS",
    "PLACES",
    "REDUCERS",
    "FormulaSyntaxError",
    "default_metrics",
    "is_reducer",
    "parse_goal",
    "parse_metric",
    "read_metrics",
    "reducers",
    "series_of",
]
