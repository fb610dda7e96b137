"""Reading plain values one by one, gathering every problem with its place in the document."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from flowtime.core.functions import RESERVED, TABLE
from flowtime.core.series import name_problem
from flowtime.errors import Diagnostic, did_you_mean
from flowtime.model.source import Document, Path

MAX_PROBLEMS = 1_000
"""After so many a document is not read further."""
_COMPARED = 200_000
"""Names that the guesses at unknown ones may look at, in all."""

_ID = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_WORDS = {str: "text", int: "a whole number", list: "a list", dict: "a mapping"}


class TooManyProblems(Exception):
    """Nobody reads on; what was found is among the reader's problems."""


@dataclass(slots=True)
class Reader:
    """Takes values of the expected types and gathers what is wrong with them.

    `document` gives positions and is None for a model that never was text. A method that returns a
    value returns None (or nothing of a list) for what it reported. All raise TooManyProblems at the last
    one that is kept.
    """

    document: Document | None
    problems: list[Diagnostic] = field(default_factory=list)
    reserved: list[tuple[Path, bool, str]] = field(default_factory=list)
    """Ids that version 2 of the language reserves: path, whether it is a key, message."""
    of_second: list[tuple[Path, bool, str]] = field(default_factory=list)
    """What only version 2 has: path, whether it is a key, what it is."""
    _compared: int = 0

    def guess(self, name: str, known: Collection[str]) -> str | None:
        """A hint naming the known name nearest to `name`; None where nothing is near, or where many names
        were looked at for guesses already.
        """
        self._compared += len(known)
        return did_you_mean(name, known) if self._compared <= _COMPARED else None

    def problem(
        self,
        code: str,
        path: Path,
        message: str,
        *,
        hint: str | None = None,
        key: bool = False,
        node: str | None = None,
        warning: bool = False,
    ) -> None:
        """Adds a problem at the value (or with `key` the key) at `path`."""
        source, line, column, excerpt = spelled(path), None, None, None
        if self.document is not None:
            source = self.document.name
            line, column = self.document.where(path, key=key)
            excerpt = self.document.excerpt(line, column)
        self._add(
            Diagnostic(
                code,
                message,
                "warning" if warning else "error",
                source=source,
                line=line,
                column=column,
                node=node,
                excerpt=excerpt,
                hint=hint,
            )
        )

    def _add(self, problem: Diagnostic) -> None:
        self.problems.append(problem)
        if len(self.problems) >= MAX_PROBLEMS:
            raise TooManyProblems

    def known_keys(self, path: Path, value: Mapping[str, Any], known: Sequence[str], owner: str) -> None:
        """Reports every key that is not among `known`."""
        for key in value:
            if key not in known:
                hint = did_you_mean(key, known)
                allowed = "" if hint else f"; known keys: {', '.join(known)}"
                message = f'{owner}: unknown key "{key}"{allowed}'
                self.problem("FT202", (*path, key), message, hint=hint, key=True)

    def typed(self, path: Path, value: Any, kind: type, owner: str) -> Any:
        """`value` when it is of `kind`, None when it is absent or wrong (then reported)."""
        if value is None:
            return None
        if type(value) is kind:
            return value
        hint = "write it in quotes" if kind is str and isinstance(value, (int, float)) else None
        name = spelled(path[-2:] if path and isinstance(path[-1], int) else path[-1:]) or "it"
        self.problem("FT204", path, f"{owner}: {name} must be {_WORDS[kind]}, not {shown(value)}", hint=hint)
        return None

    def mapping(self, path: Path, value: Any, owner: str = "the model") -> dict[str, Any] | None:
        """A mapping."""
        result: dict[str, Any] | None = self.typed(path, value, dict, owner)
        return result

    def text(self, path: Path, value: Any, owner: str) -> str | None:
        """A text."""
        result: str | None = self.typed(path, value, str, owner)
        return result

    def texts(self, path: Path, value: Any, owner: str) -> tuple[str, ...]:
        """A list of texts; those that are none are left out."""
        items = self.typed(path, value, list, owner) or []
        return tuple(
            text for i, item in enumerate(items) if (text := self.text((*path, i), item, owner)) is not None
        )

    def integer(self, path: Path, value: Any, low: int, high: int, owner: str) -> int | None:
        """A whole number within bounds."""
        number = self.typed(path, value, int, owner)
        if number is not None and not low <= number <= high:
            self.problem("FT205", path, f"{owner}: {path[-1]} is {number:,}; {low:,} to {high:,} is allowed")
            return None
        return None if number is None else int(number)

    def finite(self, path: Path, value: Any, owner: str, what: str) -> float | None:
        """A finite double, or None when it is none (then reported)."""
        if type(value) in (int, float):
            try:
                number = float(value)
            except OverflowError:
                number = math.inf
            if math.isfinite(number):
                return number + 0.0  # a negative zero becomes zero
        self.problem("FT204", path, f"{owner}: {what} must be a finite number, not {shown(value)}")
        return None

    def numbers(self, path: Path, value: list[Any], owner: str, what: str) -> tuple[float, ...] | None:
        """All of `value` as finite doubles, or None when any is none (each then reported)."""
        if all(type(item) in (int, float) for item in value):
            try:
                numbers = [item + 0.0 for item in value]
            except OverflowError:
                numbers = [math.inf]
            if all(map(math.isfinite, numbers)):
                return tuple(numbers)
        checked = [self.finite((*path, i), item, owner, f"{what} [{i}]") for i, item in enumerate(value)]
        kept = tuple(number for number in checked if number is not None)
        return kept if len(kept) == len(value) else None

    def name(self, path: Path, value: Any, owner: str) -> str | None:
        """A text that can be a component or measure."""
        text = self.text(path, value, owner)
        if text is not None and (why := name_problem(text)):
            self.problem("FT216", path, f"{owner}: the name {text!r} {why}")
            return None
        return text

    def is_id(self, path: Path, id: str, owner: str, *, key: bool = True) -> bool:
        """Whether `id` can be one of a node, a parameter or a metric; reports it where it cannot."""
        if not _ID.fullmatch(id):
            message = f"{owner}: an id consists of letters, digits and _, and does not begin with a digit"
        elif id.upper() in TABLE:
            message = f"{owner}: {id.upper()} is a function and cannot be an id"
        elif id.upper() in RESERVED:
            self.reserved.append(
                (path, key, f"{owner}: version 2 of the language has a function {id.upper()}")
            )
            return True
        else:
            return True
        self.problem("FT206", path, message, key=key, node=id)
        return False

    def second(self, path: Path, what: str, *, key: bool = False) -> None:
        """Notes that a document uses what only version 2 of the language has."""
        self.of_second.append((path, key, what))

    def known_node(self, path: Path, id: str, nodes: Collection[str], owner: str) -> bool:
        """Whether `id` is a node; reports it where it is not."""
        if id in nodes:
            return True
        self.problem("FT201", path, f'{owner}: unknown series "{id}"', hint=self.guess(id, nodes))
        return False

    def in_formula(
        self,
        code: str,
        path: Path,
        text: str,
        position: int,
        message: str,
        node: str,
        hint: str | None = None,
    ) -> None:
        """Adds a problem at a character of a formula, shown with a caret."""
        source, line, column = spelled(path), None, None
        if self.document is not None:
            source = self.document.name
            line, column = self.document.inside(path, position, text)
        left = max(0, position - 60)
        part = text[left : left + 120].replace("\n", " ").replace("\t", " ")
        self._add(
            Diagnostic(
                code,
                message,
                source=source,
                line=line,
                column=column,
                position=position,
                node=node,
                excerpt=part + "\n" + " " * (position - left) + "^",
                hint=hint,
            )
        )


def shown(value: Any) -> str:
    """A value as a message shows it."""
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if value is None:
        return "nothing"
    text = repr(value) if isinstance(value, str) else str(value)
    if isinstance(value, bool):
        text = text.lower()
    return text if len(text) <= 60 else text[:57] + "..."


def spelled(path: Path) -> str:
    """A path as `nodes[3].expr`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")
