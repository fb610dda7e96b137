"""The parameters of a template: what values they take, and the text of a setting as such a value."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any, Literal

from flowtime.core.canonical import JSON
from flowtime.errors import Diagnostic, did_you_mean
from flowtime.model import source

ParameterType = Literal["integer", "number", "boolean", "string", "enum", "array"]
ItemType = Literal["integer", "number", "string"]

MAX_INTEGER = 2**53
"""Integers beyond this have no exact double."""

_SINGULAR = {"integer": "an integer", "number": "a number", "boolean": "true or false", "string": "a text"}
_PLURAL: dict[ItemType, str] = {"integer": "integers", "number": "numbers", "string": "texts"}


@dataclass(frozen=True, slots=True)
class Parameter:
    """A value that a template asks for.

    `minimum` and `maximum` bound a number, or each number of an array; `pattern` must match a whole text,
    or each text of an array; the lengths count characters of a text and items of an array. `choices`
    are the values of an enum, `items` is the type of an array's items.
    """

    name: str
    type: ParameterType
    default: Any
    description: str
    unit: str | None = None
    minimum: float | None = None
    maximum: float | None = None
    pattern: str | None = None
    min_length: int | None = None
    max_length: int | None = None
    choices: tuple[str | int | float, ...] = ()
    items: ItemType = "number"

    @property
    def numeric(self) -> bool:
        """Whether every allowed value can stand in a formula."""
        if self.type == "enum":
            return all(is_number(choice) for choice in self.choices)
        return (self.items if self.type == "array" else self.type) != "string"

    @property
    def allowed(self) -> str:
        """What is allowed, as a phrase: `an integer, 1 to 500`."""
        if self.type == "enum":
            return "one of " + ", ".join(str(choice) for choice in self.choices)
        each = "each " if self.type == "array" else ""
        bounds = _range(self.minimum, self.maximum)
        lengths = _range(self.min_length, self.max_length)
        rules = (
            f"a list of {_PLURAL[self.items]}" if self.type == "array" else _SINGULAR[self.type],
            bounds and each + bounds,
            self.pattern and f"{each}matching {self.pattern}",
            lengths and f"{lengths} {self._counted}",
        )
        return ", ".join(rule for rule in rules if rule)

    def problem(self, value: object) -> Diagnostic | None:
        """What is wrong with `value`, or None where the parameter takes it."""
        wrong_type, refused = self._violation(value)
        if not wrong_type and not refused:
            return None
        code = "FT704" if wrong_type else "FT705"
        message = f'parameter "{self.name}": {refused or shown(value)}; {self.allowed} is allowed'
        known = [str(choice) for choice in self.choices]
        return Diagnostic(code, message, hint=did_you_mean(value, known) if isinstance(value, str) else None)

    def read(self, text: str) -> object:
        """The value that `text` means for this parameter's type; text that means none is returned as it
        is, for `problem` to name. A list is `[0, 0.6, 0.2]` or `0, 0.6, 0.2`.
        """
        match self.type:
            case "string":
                return text
            case "enum":
                return next((choice for choice in self.choices if str(choice) == text), text)
            case "array":
                inner = text.strip().removeprefix("[").removesuffix("]")
                parts = [part.strip() for part in inner.split(",")] if inner.strip() else []
                return [_read_scalar(part, self.items) for part in parts]
            case _:
                return _read_scalar(text, self.type)

    def to_json(self) -> JSON:
        """The declaration, without what does not apply; `allowed` says its rules in words."""
        document: JSON = {
            "name": self.name,
            "type": self.type,
            "default": self.default,
            "description": self.description,
            "unit": self.unit,
            "minimum": self.minimum,
            "maximum": self.maximum,
            "pattern": self.pattern,
            "minLength": self.min_length,
            "maxLength": self.max_length,
            "choices": list(self.choices) or None,
            "items": self.items if self.type == "array" else None,
            "allowed": self.allowed,
        }
        return {key: value for key, value in document.items() if value is not None}

    def of_model(self, value: float) -> JSON:
        """The declaration of a number as a parameter of a model with this value."""
        declared: JSON = {
            "value": value,
            "min": self.minimum,
            "max": self.maximum,
            "integer": True if self.type == "integer" else None,
            "unit": self.unit,
            "description": self.description,
        }
        return {key: part for key, part in declared.items() if part is not None}

    @property
    def _counted(self) -> str:
        return "items" if self.type == "array" else "characters"

    def _violation(self, value: object) -> tuple[bool, str | None]:
        """Whether the type is wrong, and else (or for one item of an array) what is refused."""
        match self.type:
            case "enum":
                same = any(type(value) is type(choice) and value == choice for choice in self.choices)
                return False, None if same else shown(value)
            case "array":
                if not isinstance(value, (list, tuple)):
                    return True, None
                for index, item in enumerate(value):
                    if not _fits(item, self.items):
                        return True, f"item {index} is {shown(item)}"
                    if (refused := self._out_of_bounds(item)) is not None:
                        return False, f"item {index} is {refused}"
                return False, self._wrong_length(value)
            case _:
                if not _fits(value, self.type):
                    return True, None
                refused = self._out_of_bounds(value)
                if refused is None and isinstance(value, str):
                    refused = self._wrong_length(value)
                return False, refused

    def _out_of_bounds(self, value: object) -> str | None:
        if isinstance(value, str):
            fine = self.pattern is None or re.fullmatch(self.pattern, value) is not None
            return None if fine else shown(value)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            low = self.minimum if self.minimum is not None else -math.inf
            high = self.maximum if self.maximum is not None else math.inf
            return None if low <= value <= high else shown(value)
        return None

    def _wrong_length(self, value: str | list[Any] | tuple[Any, ...]) -> str | None:
        low = self.min_length or 0
        high = self.max_length if self.max_length is not None else math.inf
        return None if low <= len(value) <= high else f"{len(value)} {self._counted}"


def _fits(value: object, kind: str) -> bool:
    match kind:
        case "integer":
            return type(value) is int and abs(value) <= MAX_INTEGER
        case "number":
            return is_number(value)
        case "boolean":
            return isinstance(value, bool)
        case _:
            return isinstance(value, str)


def is_number(value: object) -> bool:
    """Whether `value` is a number that is a finite double."""
    if type(value) is int:
        return abs(value) <= MAX_INTEGER
    return isinstance(value, float) and math.isfinite(value)


def _read_scalar(text: str, kind: str) -> object:
    if kind == "string":
        return text
    value = source.resolve(text.strip())
    if kind == "integer" and isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def _range(low: float | None, high: float | None) -> str:
    """Bounds as a phrase, empty without any."""
    bounds = [f"{bound:,.15g}" for bound in (low, high) if bound is not None]
    if len(bounds) == 2:
        return bounds[0] if low == high else f"{bounds[0]} to {bounds[1]}"
    return f"at {'most' if low is None else 'least'} {bounds[0]}" if bounds else ""


def shown(value: object) -> str:
    """`value` as a message shows it."""
    if value is None:
        return "nothing"
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
