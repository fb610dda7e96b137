"""Templates: a model document with places, and the parameters that fill them.

A place is `${name}` in a text value of the document. Filling works on parsed values, never on text: a value
that is a place as a whole becomes the parameter's value with its type, a place in a formula becomes
a literal, and a place in a title, a description or a unit becomes plain text. So no value of a
parameter can change the structure of the document.

In a model of version 2, a number that stands in formulas only stays a parameter of the model, which a run may
set: its places become its name.

The file `checkout.yaml` holds the template `checkout`. flowtime brings some; a folder can hold more.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, get_args

from flowtime.core.canonical import JSON
from flowtime.errors import Diagnostic, InvalidInput, NotFound, Unavailable, did_you_mean
from flowtime.model import from_parsed, source
from flowtime.model.spec import Model
from flowtime.sim import places
from flowtime.sim.parameters import ItemType, Parameter, is_number, shown
from flowtime.wording import action, option

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ID = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")


@dataclass(frozen=True, slots=True)
class Scenario:
    """Named values of some parameters."""

    name: str
    description: str
    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Template:
    """A model document with places, and what fills them.

    `document` is the model document with its places, and where it stands in the template's text. `tables`
    is the folder whose csv files it may name (`values: {csv: demand.csv, column: arrivals}`); None where it
    may name none.
    """

    id: str
    title: str
    category: str
    description: str
    question: str
    version: int
    parameters: tuple[Parameter, ...]
    scenarios: tuple[Scenario, ...]
    document: source.Document = field(compare=False, repr=False)
    tables: Traversable | None = field(default=None, compare=False, repr=False)

    @property
    def model(self) -> JSON:
        """The model document with its places."""
        model: JSON = self.document.value
        return model

    def parameter(self, name: str) -> Parameter | None:
        """The parameter of this name, if there is one."""
        return next((parameter for parameter in self.parameters if parameter.name == name), None)

    @property
    def kept(self) -> tuple[Parameter, ...]:
        """The parameters that stay parameters of the model, which is of version 2: numbers, all of whose
        places stand in formulas.
        """
        own = self.model.get("parameters", {})
        if self.model.get("schemaVersion") != 2 or not isinstance(own, dict):
            return ()
        filled = places.outside_formulas(self.model) | own.keys()
        return tuple(p for p in self.parameters if p.type in ("integer", "number") and p.name not in filled)

    def fill(
        self,
        values: Mapping[str, object] | None = None,
        scenario: str | None = None,
        before: Mapping[str, object] | None = None,
    ) -> JSON:
        """The model document for `values` over the scenario's over those of `before` over the defaults.

        `before` are the parameters of an earlier filling. The document is complete in itself: csv sources are
        replaced by their numbers, and its provenance names the template and the value of every parameter.
        Raises InvalidInput FT702 with every problem.
        """
        chosen = self._chosen(values or {}, scenario, before or {})
        kept = {parameter.name: parameter.of_model(chosen[parameter.name]) for parameter in self.kept}
        document: JSON = places.fill(self.model, chosen, kept)
        if kept:
            document["parameters"] = kept | document.get("parameters", {})
        for node in document["nodes"]:
            if isinstance(node, dict) and isinstance(node.get("values"), dict):
                node["values"] = self._column(node["values"])
        metadata = {"title": self.title, "description": self.description} | document.get("metadata", {})
        provenance: JSON = {"template": self.id, "templateVersion": self.version, "parameters": chosen}
        if scenario is not None:
            provenance["scenario"] = scenario
        return {"schemaVersion": 1, "metadata": metadata} | _without(document, "metadata") | {
            "provenance": provenance
        }  # fmt: skip

    def read(self, filled: JSON) -> Model:
        """What a filled document means; problems point into the template's text.

        Raises InvalidInput FT200 with every problem.
        """
        return from_parsed(replace(self.document, value=filled))

    def check(self) -> None:
        """Raises InvalidInput FT700 with what is wrong in the model that the defaults or a scenario give."""
        problems: list[Diagnostic] = []
        for name in (None, *(scenario.name for scenario in self.scenarios)):
            try:
                self.read(self.fill(scenario=name))
            except InvalidInput as error:
                if error.code != "FT200":
                    raise
                about = "" if name is None else f'scenario "{name}": '
                new = [problem for problem in error.errors if problem not in problems]
                problems += [replace(problem, message=about + problem.message) for problem in new]
        if problems:
            raise _unsound(self.document.name, problems)

    def to_json(self) -> JSON:
        """What a person needs to fill the template in."""
        return {
            "id": self.id,
            "version": self.version,
            "title": self.title,
            "category": self.category,
            "description": self.description,
            "question": self.question,
            "parameters": [parameter.to_json() for parameter in self.parameters],
            "scenarios": [
                {"name": s.name, "description": s.description, "values": dict(s.values)}
                for s in self.scenarios
            ],
        }

    def _chosen(
        self, values: Mapping[str, object], scenario: str | None, before: Mapping[str, object]
    ) -> dict[str, Any]:
        problems = self._problems({**values, **before, **values})  # what was asked for now comes first
        picked = next((s for s in self.scenarios if s.name == scenario), None)
        if scenario is not None and picked is None:
            known = [s.name for s in self.scenarios]
            hint = did_you_mean(scenario, known) or f"there are: {', '.join(known) or 'none'}"
            problems.insert(0, Diagnostic("FT703", f'unknown scenario "{scenario}"', hint=hint))
        if problems:
            raise InvalidInput(
                "FT702",
                f'the template "{self.id}" cannot be filled in',
                hint=f"{action('template', self.id)} lists its parameters and scenarios",
                errors=problems,
            )
        defaults = {parameter.name: parameter.default for parameter in self.parameters}
        merged = {**defaults, **before, **(picked.values if picked else {}), **values}
        return {
            name: list(value) if isinstance(value, (list, tuple)) else value for name, value in merged.items()
        }

    def _problems(self, values: Mapping[str, object]) -> list[Diagnostic]:
        problems = []
        for name, value in values.items():
            parameter = self.parameter(name)
            if parameter is None:
                hint = did_you_mean(name, (p.name for p in self.parameters))
                problems.append(Diagnostic("FT703", f'unknown parameter "{name}"', hint=hint))
            elif (problem := parameter.problem(value)) is not None:
                problems.append(problem)
        return problems

    def _column(self, csv_source: Mapping[str, Any]) -> list[float]:
        name, column = str(csv_source.get("csv")), str(csv_source.get("column"))
        where = f"{self.id}/{name}"
        if self.tables is None or Path(name).name != name or not (table := self.tables / name).is_file():
            raise _bad_table(where, f'there is no csv file "{name}" in the folder of the template')
        rows = csv.DictReader(io.StringIO(_text(table)))
        if column not in (rows.fieldnames or ()):
            hint = did_you_mean(column, rows.fieldnames or ())
            raise _bad_table(where, f'no column "{column}"', hint)
        numbers: list[float] = []
        for line, row in enumerate(rows, start=2):
            number = source.resolve((row[column] or "").strip())
            if not isinstance(number, (int, float)) or not is_number(number):
                raise _bad_table(f"{where}:{line}", f"{row[column]!r} is no finite number")
            numbers.append(number)
        return numbers


def templates(folder: Path | None = None) -> tuple[Template, ...]:
    """Every template, flowtime's own and those in `folder`, sorted by category and id.

    Raises InvalidInput FT700 on a file that is no template, NotFound FT105 without the folder.
    """
    found = [_load_file(file) for file in _files(folder).values()]
    return tuple(sorted(found, key=lambda template: (template.category, template.id)))


def template_ids(folder: Path | None = None) -> list[str]:
    """The ids of all templates, which no file is read for; raises NotFound FT105 without the folder."""
    return sorted(_files(folder))


def template(id: str, folder: Path | None = None) -> Template:
    """The template of this id. Raises NotFound FT701, and what `templates` raises."""
    known = _files(folder)
    if id not in known:
        raise NotFound(
            "FT701",
            f'there is no template "{id}"',
            hint=did_you_mean(id, known)
            or f"there are: {', '.join(sorted(known))}; FLOWTIME_TEMPLATES adds yours",
        )
    return _load_file(known[id])


def parse_setting(text: str, template: Template) -> tuple[str, object]:
    """Name and value of a `name=value`, the value read by the parameter's type.

    What fits no parameter comes back as text: `fill` names every such problem at once. Raises InvalidInput
    FT706 where there is no `=`.
    """
    name, value = split_setting(text)
    parameter = template.parameter(name)
    return name, parameter.read(value) if parameter else value


def split_setting(text: str) -> tuple[str, str]:
    """Name and text of a `name=value`. Raises InvalidInput FT706 where there is no `=`."""
    name, equals, value = text.partition("=")
    if not equals:
        raise InvalidInput(
            "FT706",
            f'not a setting: "{text}"',
            hint=f"write name=value, for example {option('set', 'workers=8')}",
        )
    return name.strip(), value


def load(text: str, name: str, tables: Traversable | None = None) -> Template:
    """The template in `text`; `name` is what messages call it.

    Raises InvalidInput FT700 with every problem and its position, FT101 to FT104 on what is no YAML.
    """
    return from_source(source.parse(text, name), tables)


def from_source(document: source.Document, tables: Traversable | None = None) -> Template:
    """The template in a parsed document. Raises InvalidInput FT700 with every problem and its position."""
    return _Reading(document).template(tables)


def is_template(document: source.Document) -> bool:
    """Whether a document is meant as a template: it holds a model, where a model holds nodes."""
    return isinstance(document.value, dict) and "model" in document.value and "nodes" not in document.value


def _files(folder: Path | None) -> dict[str, Traversable]:
    """The template files by id: flowtime's own and those in `folder`."""
    found = _yaml_files(files("flowtime.sim") / "templates")
    if folder is None:
        return found
    if not folder.is_dir():
        raise NotFound("FT105", "there is no such folder of templates", where=str(folder))
    own = _yaml_files(folder)
    if taken := sorted(own.keys() & found.keys()):
        raise InvalidInput(
            "FT700",
            f'flowtime brings a template "{taken[0]}" of its own',
            where=str(own[taken[0]]),
            hint="give the file and its id another name",
        )
    return found | own


def _yaml_files(folder: Traversable) -> dict[str, Traversable]:
    entries = sorted(folder.iterdir(), key=lambda entry: entry.name)
    return {entry.name.removesuffix(".yaml"): entry for entry in entries if entry.name.endswith(".yaml")}


def _load_file(file: Traversable) -> Template:
    folder = file.parent if isinstance(file, Path) else files("flowtime.sim") / "templates"
    loaded = _kept(_text(file), str(file) if isinstance(file, Path) else file.name)
    if f"{loaded.id}.yaml" != file.name:
        raise InvalidInput(
            "FT700",
            f'the file holds the template "{loaded.id}"',
            where=str(file),
            hint=f"name it {loaded.id}.yaml, or give the template the id {file.name.removesuffix('.yaml')}",
        )
    return replace(loaded, tables=folder)


@lru_cache(maxsize=64)
def _kept(text: str, name: str) -> Template:
    """As `load`; servers list the same templates again and again."""
    return load(text, name)


def _text(file: Traversable) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidInput("FT104", f"not UTF-8 text at byte {error.start}", where=str(file)) from None
    except OSError as error:
        raise Unavailable("FT709", f"cannot be read: {error.strerror}", where=str(file)) from error


class _Reading:
    """One template on its way from a document to values, with all that is wrong in it."""

    def __init__(self, document: source.Document) -> None:
        self.document = document
        self.problems: list[Diagnostic] = []

    def template(self, tables: Traversable | None) -> Template:
        top = self.mapping(self.document.value, (), "a template", _TEMPLATE_KEYS, _TEMPLATE_REQUIRED)
        if "id" in top and not _ID.fullmatch(top["id"]):
            self.report("FT707", f'id "{top["id"]}"; lower-case letters, digits and - are allowed', ("id",))
        declared = top.get("parameters", {})
        found = [self.parameter(name, value) for name, value in declared.items()]
        parameters = tuple(parameter for parameter in found if parameter is not None)
        names = {parameter.name: parameter for parameter in parameters}
        scenarios = tuple(self.scenario(n, v, names, declared) for n, v in top.get("scenarios", {}).items())
        if "model" in top:
            self.model(top["model"], names, declared)
        if self.problems:
            raise _unsound(self.document.name, self.problems)
        texts = {key: top[key].strip() for key in ("id", "title", "category", "description", "question")}
        return Template(
            **texts,
            version=top.get("version", 1),
            parameters=parameters,
            scenarios=scenarios,
            document=self.document.part("model"),
            tables=tables,
        )

    def parameter(self, name: str, declaration: object) -> Parameter | None:
        path = ("parameters", name)
        before = len(self.problems)
        if not _NAME.fullmatch(name):
            self.report(
                "FT707", f'parameter name "{name}"; letters, digits and _ are allowed', path, key=True
            )
        keys = self.mapping(
            declaration, path, f'parameter "{name}"', _PARAMETER_KEYS, ("type", "default", "description")
        )
        if "type" in keys and keys["type"] not in _APPLICABLE:
            hint = did_you_mean(keys["type"], _APPLICABLE)
            message = f'unknown type "{keys["type"]}"; one of {", ".join(_APPLICABLE)} is allowed'
            self.report("FT707", message, (*path, "type"), hint=hint)
        elif "type" in keys:
            self.rules(path, keys)
        if len(self.problems) > before:
            return None
        parameter = Parameter(
            name=name,
            type=keys["type"],
            default=keys["default"],
            description=keys["description"].strip(),
            unit=keys.get("unit"),
            minimum=keys.get("minimum"),
            maximum=keys.get("maximum"),
            pattern=keys.get("pattern"),
            min_length=keys.get("minLength"),
            max_length=keys.get("maxLength"),
            choices=tuple(keys.get("choices", ())),
            items=keys.get("items", "number"),
        )
        if (problem := parameter.problem(parameter.default)) is not None:
            self.report(problem.code, problem.message, (*path, "default"), hint=problem.hint)
        return parameter

    def rules(self, path: source.Path, keys: JSON) -> None:
        """The keys that bound a parameter's values."""
        kind = keys["type"]
        for key in keys.keys() & _RULES - _APPLICABLE[kind]:
            allowed = ", ".join(sorted(_APPLICABLE[kind])) or "none"
            message = f'"{key}" does not apply to the type {kind}; of the rules, {allowed} do'
            self.report("FT707", message, (*path, key), key=True)
        choices = keys.get("choices", [])
        if kind == "enum" and not (choices and all(isinstance(c, str) or is_number(c) for c in choices)):
            self.report("FT707", "an enum needs choices: texts or numbers", (*path, "choices"))
        if keys.get("items", "number") not in get_args(ItemType):
            message = f'unknown type of items "{keys["items"]}"; integer, number or string is allowed'
            self.report("FT707", message, (*path, "items"))
        if "pattern" in keys:
            try:
                re.compile(keys["pattern"])
            except re.error as error:
                message = f"not a regular expression: {keys['pattern']!r}: {error.msg}"
                self.report("FT707", message, (*path, "pattern"))

    def scenario(
        self, name: str, declaration: object, names: Mapping[str, Parameter], declared: Iterable[str]
    ) -> Scenario:
        path = ("scenarios", name)
        if not _ID.fullmatch(name):
            message = f'scenario name "{name}"; lower-case letters, digits and - are allowed'
            self.report("FT707", message, path, key=True)
        keys = self.mapping(
            declaration,
            path,
            f'scenario "{name}"',
            {"description": str, "values": dict},
            ("description", "values"),
        )
        for key, value in keys.get("values", {}).items():
            if key not in declared:
                message = f'scenario "{name}": unknown parameter "{key}"'
                self.report(
                    "FT703", message, (*path, "values", key), key=True, hint=did_you_mean(key, declared)
                )
            elif key in names and (problem := names[key].problem(value)) is not None:
                self.report(problem.code, problem.message, (*path, "values", key), hint=problem.hint)
        return Scenario(name, keys.get("description", "").strip(), keys.get("values", {}))

    def model(self, model: JSON, names: Mapping[str, Parameter], declared: Iterable[str]) -> None:
        if not isinstance(model.get("nodes"), list):
            self.report("FT707", "the model needs a list of nodes", ("model",))
        if not isinstance(model.get("metadata", {}), dict):
            self.report("FT707", "metadata must be a mapping", ("model", "metadata"))
        used = self.places(model, ("model",), names, declared)
        for name in declared:
            if name not in used:
                self.report("FT708", f'no place in the model uses "{name}"', ("parameters", name), key=True)

    def places(
        self, value: object, path: source.Path, names: Mapping[str, Parameter], declared: Iterable[str]
    ) -> set[str]:
        """The names that the places in `value` use; reports every place that cannot be filled."""
        used: set[str] = set()
        if isinstance(value, dict):
            for key, part in value.items():
                if "${" in key:
                    self.report(
                        "FT708",
                        f'a place in the key "{key}"; only values have places',
                        (*path, key),
                        key=True,
                    )
                used |= self.places(part, (*path, key), names, declared)
        elif isinstance(value, list):
            for index, part in enumerate(value):
                used |= self.places(part, (*path, index), names, declared)
        elif isinstance(value, str):
            for match in places.PLACE.finditer(value):
                used.add(match[1])
                if match[1] not in declared:
                    hint = did_you_mean(match[1], declared)
                    message = f'no parameter "{match[1]}" for the place {match[0]}'
                    self.report("FT708", message, path, hint=hint)
                elif match[1] in names and (why := places.misplaced(names[match[1]], path[-1], value, match)):
                    self.report("FT708", f"the place {match[0]} {why}", path)
        return used

    def mapping(
        self, value: object, path: source.Path, what: str, known: Mapping[str, Any], required: Iterable[str]
    ) -> JSON:
        """Those entries of `value` that have a known key and the type that the key takes."""
        if not isinstance(value, dict):
            self.report("FT707", f"{what} must be a mapping, not {shown(value)}", path)
            return {}
        fine: JSON = {}
        for key, part in value.items():
            if key not in known:
                hint = did_you_mean(key, known)
                self.report("FT707", f'{what}: unknown key "{key}"', (*path, key), key=True, hint=hint)
            elif not isinstance(part, known[key]) or (isinstance(part, bool) and known[key] is not object):
                message = f'{what}: "{key}" must be {_TYPE_NAMES[known[key]]}, not {shown(part)}'
                self.report("FT707", message, (*path, key))
            else:
                fine[key] = part
        for key in required:
            if key not in value:
                self.report("FT707", f'{what}: the key "{key}" is missing', path)
        return fine

    def report(
        self, code: str, message: str, path: source.Path, *, key: bool = False, hint: str | None = None
    ) -> None:
        line, column = self.document.where(path, key=key)
        self.problems.append(
            Diagnostic(
                code,
                message,
                source=self.document.name,
                line=line,
                column=column,
                excerpt=self.document.excerpt(line, column),
                hint=hint,
            )
        )


_NUMERIC = (int, float)
_TYPE_NAMES: dict[Any, str] = {
    str: "a text", int: "an integer", _NUMERIC: "a number", list: "a list", dict: "a mapping",
}  # fmt: skip
_TEMPLATE_REQUIRED = ("id", "title", "category", "description", "question", "model")
_TEMPLATE_KEYS: dict[str, Any] = {
    **dict.fromkeys(("id", "title", "category", "description", "question"), str),
    "version": int,
    **dict.fromkeys(("parameters", "scenarios", "model"), dict),
}
_BOUNDS = frozenset({"minimum", "maximum"})
_LENGTHS = frozenset({"minLength", "maxLength"})
_APPLICABLE: dict[str, frozenset[str]] = {
    "integer": _BOUNDS,
    "number": _BOUNDS,
    "boolean": frozenset(),
    "string": _LENGTHS | {"pattern"},
    "enum": frozenset({"choices"}),
    "array": _BOUNDS | _LENGTHS | {"pattern", "items"},
}
_RULES = frozenset().union(*_APPLICABLE.values())
_PARAMETER_KEYS: dict[str, Any] = {
    "type": str, "default": object, "description": str, "unit": str, "minimum": _NUMERIC, "maximum": _NUMERIC,
    "pattern": str, "minLength": int, "maxLength": int, "choices": list, "items": str,
}  # fmt: skip


def _without(document: JSON, key: str) -> JSON:
    return {name: value for name, value in document.items() if name != key}


def _unsound(name: str, problems: Iterable[Diagnostic]) -> InvalidInput:
    errors = sorted(problems, key=lambda p: (p.line or 0, p.column or 0))
    count = f"{len(errors)} problem" + ("s" if len(errors) != 1 else "")
    return InvalidInput("FT700", f"the template has {count}", where=name, errors=errors)


def _bad_table(where: str, message: str, hint: str | None = None) -> InvalidInput:
    return InvalidInput("FT710", message, where=where, hint=hint)
