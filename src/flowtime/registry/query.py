"""What to list, and a page of the answer."""

from __future__ import annotations

import math
import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, cast, get_args

from flowtime.errors import InvalidInput, did_you_mean
from flowtime.registry.document import Kind

SORTS: dict[str, str] = {
    "created_desc": "a.created DESC, a.id",
    "created_asc": "a.created ASC, a.id",
    "name_asc": "a.name COLLATE NOCASE ASC, a.id",
    "name_desc": "a.name COLLATE NOCASE DESC, a.id",
    "kind_asc": "a.kind ASC, a.created DESC, a.id",
    "kind_desc": "a.kind DESC, a.created DESC, a.id",
    "owner_asc": "a.owner ASC, a.created DESC, a.id",
    "owner_desc": "a.owner DESC, a.created DESC, a.id",
}
"""Every order, with the columns of the index behind it; ties fall by id."""
MAX_SIZE = 1000
MAX_PAGE = 10**9
MAX_TAGS = 500
MAX_CONDITIONS = 20
MAX_WORDS = 32
MAX_TEXT = 1_000
"""What a search has at most, different words and their letters: each word is a look through all artifacts."""

_CONDITION = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)\s*(<=|>=|==|!=|=|<|>)\s*(\S+)")


Comparison = Literal["<", "<=", ">", ">=", "==", "!="]


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition on a parameter or metric; what does not have it does not meet it."""

    name: str
    operator: Comparison
    value: float


def condition(text: str) -> Condition:
    """The condition in a text such as `peak_wait <= 10` or `workers=8`. Raises InvalidInput (FT504)."""
    match = _CONDITION.fullmatch(text.strip())
    with suppress(ValueError):
        name, operator, number = match.groups() if match is not None else ("", "", "")
        value = float(number)
        if math.isfinite(value):
            return Condition(name, cast(Comparison, "==" if operator == "=" else operator), value)
    raise InvalidInput(
        "FT504",
        f'"{text[:200]}" is not a condition',
        hint='write a parameter or metric, one of = != < <= > >=, and a number: "peak_wait <= 10"',
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """Which artifacts, in which order, which page; all given conditions hold together.

    `kinds`: any of them, empty for all. `tags`: groups, of each of which an artifact has at least one
    tag. `text`: words, each the beginning of a word in id, name, description, tags, node ids, template,
    owner or parameters, or a parameter with its value (`workers=6`). `where`: conditions on parameters and
    metrics, all of which hold; `columns`: those whose values rows have as `columns`, by name. `since`
    inclusive, `until` exclusive, both with a time zone. `ranked`: best match first instead of `sort`, where
    there is a text. Raises InvalidInput (FT504) on anything else.
    """

    kinds: tuple[str, ...] = ()
    tags: tuple[tuple[str, ...], ...] = ()
    owner: str | None = None
    text: str | None = None
    where: tuple[Condition, ...] = ()
    columns: tuple[str, ...] = ()
    since: datetime | None = None
    until: datetime | None = None
    starred: bool = False
    sort: str = "created_desc"
    ranked: bool = False
    page: int = 1
    size: int = 20

    def __post_init__(self) -> None:
        """Checks every field; a text of white space is none."""
        if self.text is not None and not self.text.strip():
            object.__setattr__(self, "text", None)
        if self.text is not None:
            object.__setattr__(self, "text", _bounded(self.text))
        for kind in self.kinds:
            _one_of("kind", kind, get_args(Kind))
        object.__setattr__(self, "kinds", tuple(dict.fromkeys(self.kinds)))
        _one_of("sort", self.sort, SORTS)
        if not 1 <= self.page <= MAX_PAGE:
            raise InvalidInput("FT504", f"page is {self.page:,}", hint=f"pages count from 1 to {MAX_PAGE:,}")
        if len(self.where) > MAX_CONDITIONS or len(self.columns) > MAX_CONDITIONS:
            raise InvalidInput(
                "FT504",
                f"there are {len(self.where)} conditions and {len(self.columns)} columns",
                hint=f"at most {MAX_CONDITIONS} of each are looked up",
            )
        tags = sum(map(len, self.tags))
        if tags > MAX_TAGS:
            raise InvalidInput(
                "FT504", f"{tags:,} tags are asked for", hint=f"at most {MAX_TAGS} are looked up"
            )
        if not 1 <= self.size <= MAX_SIZE:
            raise InvalidInput("FT504", f"size is {self.size}", hint=f"a page has 1 to {MAX_SIZE} artifacts")
        for name in ("since", "until"):
            moment = getattr(self, name)
            if moment is not None and moment.tzinfo is None:
                raise InvalidInput(
                    "FT504", f"{name} is {moment} without a time zone", hint="add one, such as Z"
                )


@dataclass(frozen=True, slots=True)
class Page:
    """One page of artifacts, and how many there are on all pages; a `hint` at what may have been meant where
    there is none, or none with the value of a column.
    """

    artifacts: list[dict[str, Any]]
    total: int
    page: int
    size: int
    hint: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The page as every face writes it; with `hint` where there is one."""
        told = {"artifacts": self.artifacts, "total": self.total, "page": self.page, "size": self.size}
        return told if self.hint is None else {**told, "hint": self.hint}


def moment(text: str, *, end: bool = False) -> datetime:
    """The instant in an ISO 8601 text, UTC where it has no offset; a date as the end includes its whole day.

    Raises InvalidInput (FT504).
    """
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        hint = "write it as 2025-09-01 or 2025-09-01T08:00Z"
        raise InvalidInput("FT504", f'"{text}" is no date or instant', hint=hint) from None
    if found.tzinfo is None:
        found = found.replace(tzinfo=UTC)
    if end and len(text) <= 10:
        found += min(timedelta(days=1), datetime.max.replace(tzinfo=UTC) - found)
    return found


def _bounded(text: str) -> str:
    """The text with each word once; raises InvalidInput (FT504) where it asks for too much."""
    words = tuple(dict.fromkeys(text.split()))
    letters = sum(map(len, words))
    if len(words) > MAX_WORDS or letters > MAX_TEXT:
        raise InvalidInput(
            "FT504",
            f"the query has {len(words):,} different words of {letters:,} letters in all",
            hint=f"at most {MAX_WORDS} words of {MAX_TEXT:,} letters in all are searched",
        )
    return " ".join(words)


def _one_of(what: str, value: str, allowed: Any) -> None:
    if value not in allowed:
        raise InvalidInput(
            "FT504",
            f'{what} is "{value}"',
            hint=did_you_mean(value, allowed) or f"allowed: {', '.join(allowed)}",
        )
