"""The places of a template, `${name}`: where they may stand, and what fills them."""

from __future__ import annotations

import re
from collections.abc import Container, Mapping
from typing import Any

from flowtime.core.expression import format_number
from flowtime.model import queues
from flowtime.sim.parameters import Parameter

PLACE = re.compile(r"\$\{([^}]*)\}?")
_FORMULAS = frozenset(("expr", "formula", *queues.FORMULAS, *queues.CONSTANTS))
"""The keys whose text is a formula: of nodes, metrics and queues."""
_TEXTS = ("title", "description", "unit")

# What may not touch a literal: the two would be read as one token.
_GLUE_BEFORE = re.compile(r"[\w.$}]$|[0-9.][eE][-+]$")
_GLUE_AFTER = re.compile(r"[\w.$]")


def misplaced(parameter: Parameter, key: str | int, text: str, match: re.Match[str]) -> str | None:
    """Why a place cannot stand where it does, or None where it can."""
    if not match[0].endswith("}"):
        return "has no closing brace"
    if key in _FORMULAS:
        if not parameter.numeric:
            return f"stands in a formula, but {parameter.name} can be a text; formulas take numbers only"
        if _GLUE_BEFORE.search(text[: match.start()]) or _GLUE_AFTER.match(text[match.end() :]):
            return "touches a name or a number; put a space or an operator between them"
        return None
    if match[0] == text or (key in _TEXTS and parameter.type != "array"):
        return None
    return "must be the whole value here; only formulas, titles, descriptions and units have places inside"


def fill(value: Any, chosen: Mapping[str, Any], kept: Container[str], key: str | int | None = None) -> Any:
    """`value` with every place filled, in formulas by the name of a parameter that is kept."""
    if isinstance(value, dict):
        return {name: fill(part, chosen, kept, name) for name, part in value.items()}
    if isinstance(value, list):
        return [fill(part, chosen, kept, index) for index, part in enumerate(value)]
    if not isinstance(value, str) or "${" not in value:
        return value
    if key in _FORMULAS:
        return PLACE.sub(
            lambda match: (
                match[1] if match[1] in kept else _literal(chosen[match[1]], _in_array(value, match.start()))
            ),
            value,
        )
    whole = PLACE.fullmatch(value)
    filled = None if whole is None else chosen[whole[1]]
    if whole is None or (key in _TEXTS and not isinstance(filled, list)):
        return PLACE.sub(lambda match: _plain(chosen[match[1]]), value)
    return list(filled) if isinstance(filled, list) else filled


def outside_formulas(value: Any, key: str | int | None = None) -> set[str]:
    """The names of the places that stand in no formula."""
    if isinstance(value, dict):
        return set().union(*(outside_formulas(part, name) for name, part in value.items()))
    if isinstance(value, list):
        return set().union(*(outside_formulas(part, key) for part in value))
    if not isinstance(value, str) or key in _FORMULAS:
        return set()
    return {match[1] for match in PLACE.finditer(value)}


def _in_array(formula: str, position: int) -> bool:
    return formula.rfind("[", 0, position) > formula.rfind("]", 0, position)


def _literal(value: Any, in_array: bool) -> str:
    """A number, or a list of numbers, as a formula writes it. In an array a negative number has no
    parentheses (the grammar has none there) and a list has no brackets of its own.
    """
    if isinstance(value, list):
        items = ", ".join(format_number(float(item)) for item in value)
        return items if in_array else f"[{items}]"
    text = format_number(float(value))
    return f"({text})" if text.startswith("-") and not in_array else text


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
