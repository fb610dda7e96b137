"""Formulas in a document: text to tree, and whether a constant one has a value that its place takes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from flowtime.core import expression
from flowtime.core.constants import NotConstant, constant
from flowtime.core.expression import FormulaSyntaxError, Name, format_number
from flowtime.model.reading import Reader, shown
from flowtime.model.source import Path
from flowtime.model.spec import Formula


def read_formula(read: Reader, path: Path, value: Any, owner: str, id: str) -> Formula | None:
    """The formula at `path`, None for what was absent or reported; a single number needs no quotes."""
    if type(value) in (int, float):
        value = format_number(float(value)) if math.isfinite(value) else value
    if value is None:
        return None
    if not isinstance(value, str):
        hint = "numbers by bin are a node of their own: kind: const" if isinstance(value, list) else None
        read.problem("FT204", path, f"{owner} must be a formula, not {shown(value)}", hint=hint)
        return None
    text = value
    try:
        return Formula(text, expression.parse(text))
    except FormulaSyntaxError as error:
        code = "FT218" if "nested" in error.message or "characters," in error.message else "FT210"
        read.in_formula(code, path, text, error.position, f"{owner}: {error.message}", id)
        return None


def value_problem(
    formula: Formula, values: Mapping[str, float], what: str, allowed: str, takes: Callable[[float], bool]
) -> tuple[str, int] | None:
    """What is wrong with the value of a constant formula, and where in its text; None where all is well.

    `what` names the place that it stands in, `allowed` what that takes, and `values` are those of parameters.
    """
    try:
        value = constant(formula.tree, values)
    except NotConstant as why:
        return f"{what} takes {allowed}, known before the run: {why.message}", why.span[0]
    if math.isfinite(value) and takes(value):
        return None
    used = sorted({name.id for name in expression.names(formula.tree)})
    spelled = format_number(value) if math.isfinite(value) else "missing"
    if isinstance(formula.tree, Name):
        return f'{what} takes {allowed}; parameter "{used[0]}" is {spelled}', 0
    by = f" ({', '.join(f'{id} = {format_number(values[id])}' for id in used)})" if used else ""
    return f"{what} takes {allowed}, not {spelled}{by}", 0
