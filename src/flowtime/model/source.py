"""YAML 1.2 text to plain values, with the position of each of them.

The core schema of YAML 1.2 (https://yaml.org/spec/1.2.2/#103-core-schema): `no` and `on` are text. JSON is
a subset. Mappings have text keys: a key written as a number keeps its spelling. Duplicate keys, several
documents, foreign tags, text beyond 64 MiB, over 1,000,000 values besides long lists of numbers, and
aliases that expand to over 100,000 are refused.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
import yaml

from flowtime.errors import Diagnostic, InvalidInput

MAX_BYTES = 64 * 2**20
MAX_VALUES = 1_000_000
MAX_EXPANDED = 100_000
MAX_DEPTH = 100
EXCERPT_WIDTH = 100

Path = tuple[str | int, ...]

_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_SPECIAL = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_TAG = "tag:yaml.org,2002:"
_BOUNDARIES = (yaml.StreamStartEvent, yaml.StreamEndEvent, yaml.DocumentEndEvent)

# A long list of JSON numbers is cut out before YAML sees it: libyaml takes 4 us a number, msgspec 0.05.
# It stands in brackets, or in lines `- 1.5` right under its key, none of them with a comment.
_ITEM = r"- +[-+0-9eE.]+[ \t\r]*"
_NUMBERS = re.compile(
    r"\[[-+0-9eE., \t\r\n]{120,}\]"
    rf"|^[^\n#]*:[ \t\r]*\n(?P<indent> *)(?P<block>{_ITEM}(?:\n(?P=indent){_ITEM}){{15,}}+)"
    r"(?=\n|\Z)(?!\n(?:[ \t\r]*(?:#[^\n]*)?\n)*(?P=indent)[- ])",
    re.MULTILINE,
)
_OPEN, _CLOSE = "\ue000", "\ue001"
_PLACE = re.compile(f"{_OPEN}([0-9]+){_CLOSE}")

_SURROGATES = re.compile(r"(?<!\\)((?:\\\\)*)(\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})")


_NO_KEYS: dict[str, tuple[int, _Marks]] = {}
_NO_ITEMS: list[_Marks] = []


@dataclass(slots=True)
class _Marks:
    """Where a value begins, and its parts: by key (key's position, part) or by index."""

    start: int
    # Most values are scalars: what they do not have is not made for each of them.
    keys: dict[str, tuple[int, _Marks]] = field(default_factory=lambda: _NO_KEYS)
    items: list[_Marks] = field(default_factory=lambda: _NO_ITEMS)
    numbers_at: int | None = None  # start of a cut-out list of numbers


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed document: `value` is plain JSON-like data, `name` what messages call it."""

    name: str
    text: str
    value: Any
    _marks: _Marks
    _lines: tuple[int, ...]

    def where(self, path: Path, *, key: bool = False) -> tuple[int, int]:
        """The 1-based line and column of the value at `path` (of its key with `key`).

        For a path that does not exist, the position of its nearest existing parent.
        """
        return self._line_column(self._index(path, key))

    def part(self, key: str) -> Document:
        """What stands under a key of the mapping, as a document whose positions are those of the whole."""
        return replace(self, value=self.value[key], _marks=self._marks.keys[key][1])

    def excerpt(self, line: int, column: int) -> str:
        """The line with a caret under the column; long lines are cut around it."""
        end = self._lines[line] - 1 if line < len(self._lines) else None
        text = self.text[self._lines[line - 1] : end].rstrip("\r").replace("\t", " ")
        text = "".join(c if c.isprintable() else "\ufffd" for c in text)
        left = max(0, column - 1 - EXCERPT_WIDTH // 2) if len(text) > EXCERPT_WIDTH else 0
        return text[left : left + EXCERPT_WIDTH] + "\n" + " " * (column - 1 - left) + "^"

    def inside(self, path: Path, position: int, text: str) -> tuple[int, int]:
        """Line and column of character `position` of the scalar `text` at `path`, where the document
        holds it on one line as it is; else where the scalar begins."""
        start = self._index(path, False)
        for begin in (start, start + 1):  # plain, or behind a quote
            if self.text.startswith(text, begin):
                return self._line_column(begin + position)
        return self._line_column(start)

    def _index(self, path: Path, key: bool) -> int:
        marks, at = self._marks, self._marks.start
        for depth, part in enumerate(path):
            last = depth == len(path) - 1
            if isinstance(part, str) and part in marks.keys:
                at, marks = marks.keys[part]
                at = at if key and last else marks.start
            elif isinstance(part, int) and marks.numbers_at is not None:
                return _nth_number(self.text, marks.numbers_at, part)
            elif isinstance(part, int) and part < len(marks.items):
                marks = marks.items[part]
                at = marks.start
            else:
                return at
        return at

    def _line_column(self, index: int) -> tuple[int, int]:
        line = bisect_right(self._lines, index)
        return line, index - self._lines[line - 1] + 1


def parse(text: str | bytes, name: str = "model") -> Document:
    """The document in `text`. Raises InvalidInput (FT101 to FT104) with the position."""
    text = _decoded(text, name)
    if text.lstrip()[:1] in ("{", "["):
        text = _SURROGATES.sub(lambda m: m[1] + msgspec.json.decode(f'"{m[2]}"'), text)
    try:
        return _compose(text, name, cut=_OPEN not in text)
    except _PlaceInText:
        return _compose(text, name, cut=False)


class _PlaceInText(Exception):
    """A cut-out list stood inside a quoted or block text after all."""


def _decoded(text: str | bytes, name: str) -> str:
    size = len(text) if isinstance(text, bytes) else len(text.encode("utf-8", "surrogatepass"))
    if size > MAX_BYTES:
        raise InvalidInput(
            "FT103",
            f"the document has {size:,} bytes; at most {MAX_BYTES:,} are read",
            where=name,
            hint="keep long series in a csv beside the model: values: {csv: demand.csv, column: arrivals}",
        )
    if isinstance(text, bytes):
        try:
            text = text.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise InvalidInput(
                "FT104",
                f"not UTF-8 text: byte {error.start} is 0x{error.object[error.start]:02x}",
                where=name,
                hint="save the file as UTF-8",
            ) from None
    return text.removeprefix("\ufeff")


def _compose(text: str, name: str, *, cut: bool) -> Document:
    composer = _Composer(text, name, cut)
    value, marks = composer.document()
    return Document(name, text, value, marks, composer.lines)


class _Composer:
    """Builds values and marks from libyaml's events, without recursion."""

    def __init__(self, text: str, name: str, cut: bool) -> None:
        self.text = text
        self.name = name
        self.lines = (0, *(match.end() for match in re.finditer("\n", text)))
        self.lists: list[list[float]] = []
        self.cuts: list[tuple[int, int, int]] = []  # (index in the shortened text, start, end in the text)
        self.short = self._cut() if cut else text
        self.anchors: dict[str, tuple[Any, _Marks, int]] = {}
        self.expanded = 0  # values so far, aliases counted in full
        self.aliased = 0  # those of them that aliases brought

    def _cut(self) -> str:
        parts: list[str] = []
        done = short = 0
        for match in _NUMBERS.finditer(self.text):
            numbers = self._numbers(match)
            if numbers is None:
                continue
            place = f"{_OPEN}{len(self.lists)}{_CLOSE}"
            start, end = match.span(match.lastgroup or 0)
            # a list may begin right under its key, its place must not
            before = self.text[done:start] + (" " if match.lastgroup == "block" else "")
            parts += [before, place]
            short += len(before) + len(place)
            self.cuts.append((short, start, end))
            self.lists.append(numbers)
            done = end
        return "".join([*parts, self.text[done:]])

    def _numbers(self, match: re.Match[str]) -> list[float] | None:
        """The numbers of a list, or None where libyaml should read it."""
        if match.lastgroup == "block":
            text = "[" + match["block"][1:].replace(f"\n{match['indent']}-", ",") + "]"
        else:
            text = match.group()
            if "#" in self.text[self.text.rfind("\n", 0, match.start()) + 1 : match.start()]:
                return None
        try:
            numbers: list[float] = msgspec.json.decode(text)
        except msgspec.DecodeError:
            return None
        return numbers

    def index(self, short: int) -> int:
        """The index in the text of an index in the shortened text."""
        if not self.cuts:
            return short
        k = bisect_right(self.cuts, short, key=lambda cut: cut[0])
        if k < len(self.cuts):  # inside the k-th place: the list begins there
            place = self.cuts[k][0] - len(f"{_OPEN}{k}{_CLOSE}")
            if short >= place:
                return self.cuts[k][1]
        return short if k == 0 else short - self.cuts[k - 1][0] + self.cuts[k - 1][2]

    def fail(self, code: str, message: str, index: int, hint: str | None = None) -> InvalidInput:
        line = bisect_right(self.lines, index)
        column = index - self.lines[line - 1] + 1
        document = Document(self.name, self.text, None, _Marks(0), self.lines)
        problem = Diagnostic(
            code,
            message,
            source=self.name,
            line=line,
            column=column,
            excerpt=document.excerpt(line, column),
            hint=hint,
        )
        return InvalidInput(code, "the document cannot be read", errors=[problem])

    def events(self) -> Iterator[Any]:
        loader = yaml.CLoader(self.short)
        try:
            while loader.check_event():
                yield loader.get_event()
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            what = " ".join(part for part in (error.context, error.problem) if part)
            raise self.fail(
                "FT101",
                f"not YAML: {what}",
                self.index(mark.index) if mark else 0,
                "check the indentation, the brackets and the quotes before this place",
            ) from None
        except yaml.reader.ReaderError as error:
            raise self.fail(
                "FT101",
                f"not YAML: {error.reason}",
                self.index(int(error.position)),
                "a text file has no control characters but tab and line ends",
            ) from None
        finally:
            loader.dispose()

    def document(self) -> tuple[Any, _Marks]:
        """Value and marks of the only document."""
        roots: list[tuple[Any, _Marks]] = []
        # Open containers: value, marks, pending key of a mapping with its position, anchor, size before.
        stack: list[_Open] = []
        for event in self.events():
            kind = type(event)
            if kind in _BOUNDARIES:
                continue
            start = self.index(event.start_mark.index)
            if self.expanded > MAX_VALUES:
                hint = "a long list of plain numbers counts as one value"
                raise self.fail("FT103", f"over {MAX_VALUES:,} keys and values", start, hint)
            if kind is yaml.ScalarEvent:
                value, marks = self._scalar(event, start)
                if stack and isinstance(stack[-1].value, dict) and stack[-1].key is None:
                    self._key(stack[-1], event.value, start)
                    continue
            elif kind is yaml.MappingStartEvent or kind is yaml.SequenceStartEvent:
                self._open(stack, event, start)
                continue
            elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
                done = stack.pop()
                value, marks = done.value, done.marks
                if done.anchor:
                    self.anchors[done.anchor] = (value, marks, self.expanded - done.before + 1)
                self.expanded += 1
            elif kind is yaml.AliasEvent:
                value, marks = self._alias(event.anchor or "", start)
                self._refuse_container_key(stack, start, isinstance(value, (dict, list)))
            else:
                if roots:
                    raise self.fail("FT101", "a second document begins here; one is allowed", start)
                continue
            if not stack:
                roots.append((value, marks))
            else:
                stack[-1].add(value, marks)
        if not roots or roots[0][0] is None:
            raise self.fail("FT101", "the document is empty", 0, "a model needs at least: nodes: [...]")
        return roots[0]

    def _open(self, stack: list[_Open], event: Any, start: int) -> None:
        if len(stack) >= MAX_DEPTH:
            raise self.fail("FT103", f"nested deeper than {MAX_DEPTH} levels", start)
        is_mapping = type(event) is yaml.MappingStartEvent
        if event.tag not in (None, "!", _TAG + ("map" if is_mapping else "seq")):
            raise self.fail("FT101", f"tag {event.tag!r} is not known here", start)
        self._refuse_container_key(stack, start)
        marks = _Marks(start, keys={}) if is_mapping else _Marks(start, items=[])
        stack.append(_Open({} if is_mapping else [], marks, event.anchor, self.expanded))

    def _refuse_container_key(self, stack: Sequence[_Open], start: int, container: bool = True) -> None:
        if stack and isinstance(stack[-1].value, dict) and stack[-1].key is None and container:
            hint = "within { }, a text with a comma, such as a formula, stands in quotes"
            raise self.fail("FT101", "a key must be text, not a list or a mapping", start, hint)

    def _key(self, parent: _Open, key: str, start: int) -> None:
        if key in parent.value:
            first = parent.marks.keys[key][0]
            line = bisect_right(self.lines, first)
            raise self.fail("FT102", f'duplicate key "{key}"; it stands on line {line} already', start)
        parent.key = (key, start)

    def _alias(self, anchor: str, start: int) -> tuple[Any, _Marks]:
        if anchor not in self.anchors:
            raise self.fail("FT101", f"alias *{anchor} names no anchor before it", start)
        value, marks, size = self.anchors[anchor]
        self.expanded += size
        self.aliased += size
        if self.aliased > MAX_EXPANDED:
            raise self.fail("FT103", f"aliases expand to more than {MAX_EXPANDED:,} values", start)
        return value, marks

    def _scalar(self, event: yaml.ScalarEvent, start: int) -> tuple[Any, _Marks]:
        marks = _Marks(start)
        if _OPEN in event.value and self.cuts:
            place = _PLACE.fullmatch(event.value)
            if place is None or event.style:
                raise _PlaceInText
            number = int(place[1])
            marks.numbers_at = self.cuts[number][1]
            value: Any = self.lists[number]
        else:
            value = self._resolved(event, start)
        self.expanded += 1
        if event.anchor:
            size = len(value) if isinstance(value, list) else 1
            self.anchors[event.anchor] = (value, marks, size)
        return value, marks

    def _resolved(self, event: yaml.ScalarEvent, start: int) -> Any:
        text, tag = event.value, event.tag
        if tag in (None, "!"):
            return resolve(text) if event.implicit[0] and tag is None else text
        kind = tag.removeprefix(_TAG)
        value = text if kind == "str" else resolve(text)
        if kind == "float" and type(value) is int:
            value = float(value)
        fits = {"str": str, "int": int, "float": float, "bool": bool, "null": type(None)}
        if kind not in fits or type(value) is not fits[kind]:
            raise self.fail("FT101", f"tag {tag!r} does not fit {text!r}", start)
        return value


@dataclass(slots=True)
class _Open:
    """A container whose end has not come yet."""

    value: Any
    marks: _Marks
    anchor: str | None
    before: int
    key: tuple[str, int] | None = None

    def add(self, value: Any, marks: _Marks) -> None:
        if self.key is None:
            self.value.append(value)
            self.marks.items.append(marks)
        else:
            key, at = self.key
            self.value[key] = value
            self.marks.keys[key] = (at, marks)
            self.key = None


def resolve(text: str) -> str | int | float | bool | None:
    """What a plain scalar means in the core schema of YAML 1.2."""
    if text in _NULL:
        return None
    if text[0] not in "-+.0123456789":
        return _BOOL.get(text, text)
    if _INT.fullmatch(text):
        if len(text) > 300:  # beyond any double, and slow to convert
            return float(text) if text[:2] not in ("0x", "0o") else text
        return int(text, 0) if text[:2] in ("0x", "0o") else int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    if _SPECIAL.fullmatch(text):
        return float(text.replace(".", "", 1))
    return text


def _nth_number(text: str, start: int, n: int) -> int:
    """The index of the n-th number of the list that begins at `start`."""
    for position, match in enumerate(re.finditer(r"-?[0-9][-+0-9eE.]*", text[start:])):
        if position == n:
            return start + match.start()
    return start
