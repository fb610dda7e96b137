"""What each face calls the things that people give and do: flags, fields, labels of pages, arguments.

A message or a hint marks such a thing, `f"{option('align', 'floor')} moves each time"`, and stays a plain
string on its way through flowtime. The face that shows it puts its own words in place of the marks with
`say`. Commands are built here too, so that all that are printed can be pasted.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

_OPEN, _NEXT, _CLOSE = "\ufdd0", "\ufdd1", "\ufdd2"
"""Around a mark and between its parts: noncharacters, which Unicode keeps for use inside of programs."""
_MARK = re.compile(f"{_OPEN}([^{_OPEN}{_CLOSE}]*){_CLOSE}")
_STRAY = str.maketrans("", "", _OPEN + _NEXT + _CLOSE)
_PLAIN = re.compile(r"[\w.,:=/~-]*", re.ASCII)
"""Values that mean the same in a query, in a form and in a sentence."""


@dataclass(frozen=True, slots=True)
class Face:
    """Who speaks. `registry` is what printed commands have to name, None where they find it themselves."""

    name: Literal["command", "http", "page", "python"]
    registry: str | None = None


COMMAND, HTTP, PAGE, PYTHON = Face("command"), Face("http"), Face("page"), Face("python")


@dataclass(frozen=True, slots=True)
class _Option:
    """One option: its label on pages, there also the words for its `values`; the field of HTTP and the
    argument of Python where these are called otherwise, `pairs` where Python takes `a=b` as a mapping.
    """

    label: str | None = None
    values: Mapping[str, str] = field(default_factory=dict)
    field: str | None = None
    argument: str | None = None
    pairs: bool = False


Option = Literal[
    "align",
    "allow_missing",
    "auth",
    "bind",
    "by",
    "component",
    "confirm",
    "decimal_comma",
    "delimiter",
    "duplicates",
    "force",
    "format",
    "grid",
    "host",
    "ignore_extra",
    "ignore_metadata",
    "map",
    "missing",
    "model",
    "new",
    "out",
    "port",
    "require",
    "run",
    "samples",
    "scenario",
    "set",
    "team",
    "telemetry",
    "threshold",
    "time_format",
    "timezone",
    "validate_schema",
    "wide",
]

OPTIONS: Mapping[Option, _Option] = {
    "align": _Option("Times between bins go to the bin they are in", {"floor": ""}),
    "allow_missing": _Option(),
    "auth": _Option(),
    "bind": _Option(pairs=True),
    "by": _Option(),
    "component": _Option("Component of the columns"),
    "confirm": _Option("Move to the trash"),
    "decimal_comma": _Option("Decimal commas"),
    "delimiter": _Option("Delimiter"),
    "duplicates": _Option(
        "Double rows", {"first": "first counts", "last": "last counts", "sum": "are added"}
    ),
    "force": _Option("Move to the trash"),
    "format": _Option("Format"),
    "grid": _Option("Grid"),
    "host": _Option(),
    "ignore_extra": _Option("Leave out columns that are not known"),
    "ignore_metadata": _Option("Take it as other programs' data, without its metadata"),
    "map": _Option("Columns under other names", argument="rename", pairs=True),
    "missing": _Option("Missing rows", {"null": "stay missing", "zero": "are 0"}),
    "model": _Option("Model", field="model_id"),
    "new": _Option(),
    "out": _Option(),
    "port": _Option(),
    "require": _Option(),
    "run": _Option("Run"),
    "samples": _Option("Samples"),
    "scenario": _Option("Scenario"),
    "set": _Option("Parameters", field="parameters", argument="changes"),
    "team": _Option(),
    "telemetry": _Option(field="telemetry_id"),
    "threshold": _Option(),
    "time_format": _Option("Times"),
    "timezone": _Option("Time zone"),
    "validate_schema": _Option("Strict: infer, fill and convert nothing", argument="strict"),
    "wide": _Option("A column per measure (wide)"),
}
"""What messages and hints name, by its field; the flag of the command line is made of that."""


@dataclass(frozen=True, slots=True)
class _Action:
    """One thing to do: its command, what does it over HTTP and on pages. `{}` stands for a value.

    Python has the words of the command line unless `python` says better ones.
    """

    command: str
    http: str
    page: str
    python: str | None = None
    of_registry: bool = True


Action = Literal[
    "described",
    "export",
    "import",
    "list",
    "rebuild",
    "restore",
    "run",
    "show",
    "start",
    "template",
    "token",
    "tokens",
    "trash",
]

_OPERATOR = "whoever runs the server"

ACTIONS: Mapping[Action, _Action] = {
    "described": _Action("", "see /openapi.json", ""),
    "export": _Action(
        "export --run ID --out {}",
        "GET /v1/runs/{{id}}/export/{{format}}",
        '"Export", on the page of the run,',
        "Run.export()",
        of_registry=False,
    ),
    "import": _Action("import", "POST /v1/import", 'the page "Import"'),
    "list": _Action("list", "GET /v1/artifacts", 'the page "Artifacts"', "Registry.list()"),
    "rebuild": _Action("index rebuild", "POST /v1/artifacts/index", "a rebuild of the index"),
    "restore": _Action("restore {}", "POST /v1/artifacts/{}/restore", '"Restore", on the page "Trash",'),
    "run": _Action("run", "POST /v1/runs", '"Run", on the page of the model,', "Registry.run()"),
    "show": _Action("show {}", "GET /v1/artifacts/{}", "the page of the artifact", "Artifact.catalog"),
    "start": _Action("", "GET /openapi.json", "the start page"),
    "template": _Action("sim show {}", "GET /v1/templates/{}", "the page of the template"),
    "token": _Action("token new --auth {} --user NAME", _OPERATOR, _OPERATOR, of_registry=False),
    "tokens": _Action("token list --auth {}", _OPERATOR, _OPERATOR, of_registry=False),
    "trash": _Action("list --trash", "GET /v1/trash", 'the page "Trash"'),
}


def command(*words: str, registry: str | None = None) -> str:
    """A command of flowtime as a line for a POSIX shell, in which each of `words` arrives as it is."""
    named = () if registry is None else ("--artifacts", registry)
    return shlex.join(("flowtime", *words, *named))


def option(name: Option, value: str | Literal[True] | None = None) -> str:
    """The mark of an option, alone or with the value to give it; True where it is a switch to turn on."""
    assert name in OPTIONS, name
    return _mark("option", name, *([] if value is None else ["true" if value is True else value]))


def action(name: Action, *values: str) -> str:
    """The mark of something to do, with the values that belong to it."""
    assert name in ACTIONS, name
    return _mark("action", name, *values)


def options(text: str) -> set[str]:
    """The names of the options that a text marks."""
    marks = (found.split(_NEXT) for found in _MARK.findall(text))
    return {name for what, name, *_ in marks if what == "option"}


def say(text: str, face: Face) -> str:
    """`text` with the words of `face` in place of the marks."""
    return _MARK.sub(lambda found: _said(found[1].split(_NEXT), face), text) if _OPEN in text else text


def say_all(value: Any, face: Face) -> Any:
    """A JSON value with the words of `face` in place of the marks in its texts."""
    match value:
        case str():
            return say(value, face)
        case dict():
            return {key: say_all(each, face) for key, each in value.items()}
        case list():
            return [say_all(each, face) for each in value]
    return value


def _mark(*parts: str) -> str:
    return _OPEN + _NEXT.join(part.translate(_STRAY) for part in parts) + _CLOSE


def _said(parts: list[str], face: Face) -> str:
    what, name, *values = parts
    if what == "action":
        return _done(ACTIONS[name], values, face)  # type: ignore[index]  # it was one of them when it was marked
    return _given(name, OPTIONS[name], values[0] if values else None, face)  # type: ignore[index]


def _done(wanted: _Action, values: list[str], face: Face) -> str:
    if face.name == "http":
        return wanted.http.format(*values)
    if face.name == "page":
        return wanted.page.format(*values)
    if face.name == "python" and wanted.python is not None:
        return wanted.python.format(*values)
    if not wanted.command:
        return ""
    words = (word.format(*values) for word in wanted.command.split())
    return command(*words, registry=face.registry if wanted.of_registry else None)


def _given(name: str, known: _Option, value: str | None, face: Face) -> str:
    match face.name:
        case "command":
            flag = "--" + name.replace("_", "-")
            return flag if value in (None, "true") else f"{flag} {shlex.quote(str(value))}"
        case "http":
            return _in_backticks(known.field or name, value)
        case "python":
            argument = known.argument or name
            return f"`{argument}`" if value is None else f"`{argument}={_literal(known, value)}`"
    label = known.label or name.replace("_", " ").capitalize()
    shown = None if value in (None, "true") else known.values.get(str(value), value)
    return f'"{label}: {shown}"' if shown else f'"{label}"'


def _in_backticks(field: str, value: str | None) -> str:
    if value is None:
        return f"`{field}`"
    if _PLAIN.fullmatch(value):
        return f"`{field}={value}`"
    return f"`{field}` as {json.dumps(value, ensure_ascii=False)}"


def _literal(known: _Option, value: str) -> str:
    if value == "true":
        return "True"
    quoted = [json.dumps(part, ensure_ascii=False) for part in value.rsplit("=", 1)]
    return (
        f"{{{': '.join(quoted)}}}"
        if known.pairs and len(quoted) == 2
        else json.dumps(value, ensure_ascii=False)
    )
