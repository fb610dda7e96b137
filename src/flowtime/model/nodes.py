"""The nodes of a model document: values, formulas and distributions."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any, get_args

from flowtime import texts
from flowtime.core import expression
from flowtime.core.grid import Grid
from flowtime.core.pmf import SUM_TOLERANCE, Pmf, exact_sum
from flowtime.errors import did_you_mean
from flowtime.model import queues
from flowtime.model.formulas import read_formula
from flowtime.model.reading import Reader, shown
from flowtime.model.source import Path
from flowtime.model.spec import DEFAULT_MEASURE, ConstNode, ExprNode, Node, PmfNode, ProfileName

PROFILES: tuple[ProfileName, ...] = get_args(ProfileName)
_NUMBER = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")

_COMMON = ("title", "unit", "component", "measure", "tags")
_OWN = {
    "const": ("values",),
    "expr": ("expr",),
    "pmf": ("pmf", "mode", "profile"),
    "queue": queues.KEYS,
}
_KINDS = "const, expr, pmf and queue"


@dataclass(frozen=True, slots=True)
class NodeChecks:
    """Reads nodes through a Reader.

    `grid` None leaves lengths unchecked; `folder` is where csv sources are read from, None refuses them.
    """

    read: Reader
    grid: Grid | None
    folder: FilePath | None

    def nodes(self, value: dict[str, Any]) -> tuple[dict[str, Node], dict[str, Path]]:
        """All nodes by id in document order, and where they stand; their formulas are not checked yet."""
        listed = self.read.typed(("nodes",), value.get("nodes"), list, "the model")
        if not listed:
            if listed is not None or value.get("nodes") is None:
                self.read.problem("FT203", ("nodes",), "the model has no nodes; at least one is needed")
            return {}, {}
        nodes: dict[str, Node] = {}
        paths: dict[str, Path] = {}
        for i, item in enumerate(listed):
            path: Path = ("nodes", i)
            node = self.node(path, item)
            if node is None:
                continue
            if node.id in nodes:
                first = ""
                if self.read.document is not None:
                    first = (
                        f"; it stands on line {self.read.document.where((*paths[node.id], 'id'))[0]} already"
                    )
                self.read.problem(
                    "FT207", (*path, "id"), f'node "{node.id}": duplicate id{first}', node=node.id
                )
                continue
            nodes[node.id], paths[node.id] = node, path
        return nodes, paths

    def node(self, path: Path, value: Any) -> Node | None:
        """The node; one with problems is kept by id and kind, so that references to it resolve."""
        entry = self.read.mapping(path, value, "nodes")
        if entry is None:
            if value is None:
                self.read.problem("FT204", path, "nodes: an entry is empty")
            return None
        id = entry.get("id")
        if id is None:
            self.read.problem("FT203", path, f"nodes[{path[-1]}]: id is missing")
            return None
        if type(id) is not str:
            self.read.problem(
                "FT206",
                (*path, "id"),
                f"id {shown(id)} is not text",
                hint="write it in quotes, or take a name that begins with a letter",
            )
            return None
        owner = f'node "{id}"'
        self.read.is_id((*path, "id"), id, owner, key=False)
        kind = entry.get("kind")
        if kind is None:
            self.read.problem("FT203", path, f"{owner}: kind is missing; {_KINDS} are allowed", node=id)
            return Node(id=id)
        if type(kind) is not str or kind not in _OWN:
            message = f"{owner}: unknown kind {shown(kind)}; {_KINDS} are allowed"
            self.read.problem("FT205", (*path, "kind"), message, hint=did_you_mean(str(kind), _OWN), node=id)
            return Node(id=id)
        common_keys = [key for key in _COMMON if (kind, key) != ("queue", "measure")]
        known = ("id", "kind", *_OWN[kind], *common_keys)
        if kind == "expr" and (whole := _cut_formula(entry, known)) is not None:
            message = f"{owner}: within {{ }} a comma ends the formula"
            at, hint = len(entry["expr"]), f'write it in quotes: expr: "{whole}"'
            self.read.in_formula("FT210", (*path, "expr"), whole, at, message, id, hint)
            return Node(id=id)
        self.read.known_keys(path, entry, known, owner)
        missing = _OWN[kind][0]
        if entry.get(missing) is None and kind != "queue":
            self.read.problem("FT203", path, f"{owner}: {missing} is missing", node=id)
            return Node(id=id)
        component = self.read.name((*path, "component"), entry.get("component"), owner)
        measure = self.read.name((*path, "measure"), entry.get("measure"), owner)
        common: dict[str, Any] = {
            "id": id,
            "title": self.read.text((*path, "title"), entry.get("title"), owner),
            "unit": self.read.text((*path, "unit"), entry.get("unit"), owner),
            "component": None if component == id else component,
            "measure": None if measure == DEFAULT_MEASURE else measure,
            "tags": self.read.texts((*path, "tags"), entry.get("tags"), owner),
        }
        kinds = {"const": self.const, "expr": self.expr, "pmf": self.pmf, "queue": self.queue}
        return kinds[kind](path, entry, common) or Node(**common)

    def const(self, path: Path, entry: dict[str, Any], common: dict[str, Any]) -> Node | None:
        """Given numbers, or None for what was reported."""
        at: Path = (*path, "values")
        value, owner = entry["values"], f'node "{common["id"]}"'
        if isinstance(value, dict):
            numbers = self.csv_values(at, value, owner)
        elif isinstance(value, list):
            numbers = self.read.numbers(at, value, owner, "values")
        else:
            number = self.read.finite(at, value, owner, "values")
            return None if number is None else ConstNode(**common, values=(number,))
        if numbers is None:
            return None
        if self.grid is not None and len(numbers) != self.grid.bins:
            self.read.problem(
                "FT208",
                at,
                f"{owner}: values has length {len(numbers):,}, "
                f"the grid has {texts.count(self.grid.bins, 'bin')}",
                hint="give one number per bin, or a single number that holds for every bin",
                node=common["id"],
            )
            return None
        return ConstNode(**common, values=numbers)

    def csv_values(self, path: Path, entry: dict[str, Any], owner: str) -> tuple[float, ...] | None:
        """The numbers of a column of a csv file at or below the model's folder."""
        self.read.known_keys(path, entry, ("csv", "column"), owner)
        name = self.read.text((*path, "csv"), entry.get("csv"), owner)
        column = self.read.text((*path, "column"), entry.get("column"), owner)
        if name is None:
            if entry.get("csv") is None:
                self.read.problem("FT203", path, f"{owner}: csv is missing")
            return None

        def wrong(message: str, hint: str | None = None) -> None:
            self.read.problem("FT215", (*path, "csv"), f"{owner}: {name}: {message}", hint=hint)

        if self.folder is None:
            wrong("a csv is read only beside a model file", "give the numbers in the model itself")
            return None
        if "\0" in name:
            wrong("no file's name has a character U+0000")
            return None
        root = self.folder.resolve()
        file = (root / name).resolve()
        if not file.is_relative_to(root):
            wrong(f"lies outside the model's folder {root}", "copy the file beside the model")
            return None
        try:
            with file.open(encoding="utf-8-sig", newline="") as handle:
                rows = list(csv.reader(handle, strict=True))
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            wrong(getattr(error, "strerror", None) or str(error))
            return None
        header = rows[0] if rows else []
        if column is None and len(header) == 1:
            column = header[0]
        if column is None or column not in header:
            asked = "no column is named" if column is None else f'no column "{column}"'
            wrong(f"{asked}; its columns: {', '.join(header)}", did_you_mean(column or "", header))
            return None
        k = header.index(column)
        numbers: list[float] = []
        for line, row in enumerate(rows[1:], start=2):
            text = row[k].strip() if k < len(row) else ""
            number = float(text) if _NUMBER.fullmatch(text) else math.nan
            if not math.isfinite(number):
                wrong(f"row {line}, column {column}: {shown(text)} is no finite number")
                return None
            numbers.append(number + 0.0)
        return tuple(numbers)

    def expr(self, path: Path, entry: dict[str, Any], common: dict[str, Any]) -> Node | None:
        """A formula, parsed; its names are checked when all nodes are known."""
        id = common["id"]
        formula = read_formula(self.read, (*path, "expr"), entry["expr"], f'node "{id}"', id)
        return None if formula is None else ExprNode(**common, expr=formula.text, tree=formula.tree)

    def queue(self, path: Path, entry: dict[str, Any], common: dict[str, Any]) -> Node | None:
        """A queue; its formulas are checked when all nodes are known."""
        self.read.second((*path, "kind"), "a queue")
        return queues.read_queue(self.read, path, entry, common)

    def pmf(self, path: Path, entry: dict[str, Any], common: dict[str, Any]) -> Node | None:
        """A distribution in either spelling, or None for what was reported."""
        owner, id = f'node "{common["id"]}"', common["id"]
        mode = entry.get("mode", "expected")
        if mode not in ("expected", "sample"):
            message = f"{owner}: mode is {shown(mode)}; expected and sample are allowed"
            self.read.problem("FT205", (*path, "mode"), message, node=id)
        profile = self.profile((*path, "profile"), entry.get("profile"), owner)
        pmf = self.pmf_of((*path, "pmf"), entry["pmf"], owner, id)
        return None if pmf is None else PmfNode(**common, pmf=pmf, sampled=mode == "sample", profile=profile)

    def pmf_of(self, path: Path, value: Any, owner: str, node: str | None = None) -> Pmf | None:
        """The distribution at `path`, None for what was reported."""
        pairs = self.distribution(path, value, owner)
        if pairs is None:
            return None
        values, probabilities = pairs
        before = len(self.read.problems)
        seen: set[float] = set()
        for number in values:
            if number in seen:
                message = f"{owner}: duplicate value {expression.format_number(number)}"
                self.read.problem("FT207", path, message, node=node)
            seen.add(number)
        for number, probability in zip(values, probabilities, strict=True):
            if probability < 0:
                of = expression.format_number(number)
                message = f"{owner}: the probability of {of} is {probability}; >= 0 is allowed"
                self.read.problem("FT209", path, message, node=node)
        if len(self.read.problems) > before:
            return None
        total = exact_sum(probabilities)
        if not abs(total - 1) <= SUM_TOLERANCE:
            self.read.problem(
                "FT209",
                path,
                f"{owner}: the probabilities sum to {total}, not 1",
                hint=f"a sum within {SUM_TOLERANCE} of 1 is normalised",
                node=node,
            )
            return None
        pmf = Pmf(values, probabilities)
        if not math.isfinite(pmf.expectation):
            self.read.problem("FT205", path, f"{owner}: the expectation overflows", node=node)
            return None
        return pmf

    def distribution(
        self, path: Path, value: Any, owner: str
    ) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
        """Values and probabilities in either spelling."""
        entry = self.read.mapping(path, value, owner)
        if entry is None:
            return None
        if not entry:
            self.read.problem("FT203", path, f"{owner}: pmf is empty; it maps values to probabilities")
            return None
        if "values" in entry or "probabilities" in entry:
            self.read.known_keys(path, entry, ("values", "probabilities"), f"{owner}: pmf")
            lists = []
            for key in ("values", "probabilities"):
                listed = self.read.typed((*path, key), entry.get(key), list, owner)
                if not listed:
                    if listed is not None or entry.get(key) is None:
                        self.read.problem("FT203", path, f"{owner}: pmf {key} is missing or empty")
                    return None
                lists.append(self.read.numbers((*path, key), listed, owner, key))
            values, probabilities = lists
            if values is None or probabilities is None:
                return None
            if len(values) != len(probabilities):
                message = (
                    f"{owner}: values has length {len(values)}, probabilities has length {len(probabilities)}"
                )
                self.read.problem("FT208", path, message)
                return None
            return values, probabilities
        pairs = []
        for key, item in entry.items():
            number = float(key) if _NUMBER.fullmatch(key) else math.nan
            if not math.isfinite(number):
                message = f"{owner}: the pmf value {key!r} is no finite number"
                self.read.problem("FT204", (*path, key), message, key=True)
            probability = self.read.finite((*path, key), item, owner, f"the probability of {key}")
            if probability is not None and math.isfinite(number):
                pairs.append((number + 0.0, probability))
        if len(pairs) != len(entry):
            return None
        return tuple(pair[0] for pair in pairs), tuple(pair[1] for pair in pairs)

    def profile(self, path: Path, value: Any, owner: str) -> tuple[float, ...] | ProfileName | None:
        """The weights of a profile, or the name of a built-in one."""
        if value is None:
            return None
        if isinstance(value, str):
            for name in PROFILES:
                if value == name:
                    return name
            message = f"{owner}: unknown profile {value!r}; known: {', '.join(PROFILES)}"
            self.read.problem("FT205", path, message, hint=did_you_mean(value, PROFILES))
            return None
        listed = self.read.typed(path, value, list, owner)
        numbers = None if listed is None else self.read.numbers(path, listed, owner, "profile")
        if numbers is not None and self.grid is not None and len(numbers) != self.grid.bins:
            self.read.problem(
                "FT208",
                path,
                f"{owner}: profile has length {len(numbers):,}, "
                f"the grid has {texts.count(self.grid.bins, 'bin')}",
            )
            return None
        return numbers


def _cut_formula(entry: dict[str, Any], known: Sequence[str]) -> str | None:
    """The whole formula where it stands without quotes in `{}`: YAML takes what follows a comma for keys."""
    text = entry.get("expr")
    rest = [key for key, value in entry.items() if value is None and key not in known]
    if not rest or not isinstance(text, str) or text.count("(") <= text.count(")"):
        return None
    return ", ".join([text, *rest])
