"""Writes the pages of the reference that come from the code: python scripts/reference.py"""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Iterator
from html import escape
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from flowtime.api.app import create
from flowtime.api.server import Config
from flowtime.cli import COMMANDS, cli
from flowtime.core import functions
from flowtime.settings import FILE_VARIABLE, VARIABLES, load

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
SRC = ROOT / "src" / "flowtime"
LAYERS = (
    ("cli",),
    ("web",),
    ("api", "library"),
    ("service",),
    ("loop",),
    ("analysis",),
    ("registry", "study"),
    ("engine", "sim"),
    ("model", "formats"),
    ("core", "storage", "settings", "texts"),
    ("errors",),
    ("version", "wanted", "wording"),
)
"""The parts of the package, highest first, as tests/project/test_project_architecture.py holds them."""
SETTINGS: dict[str, tuple[str, str]] = {
    "artifacts": (
        "`artifacts`",
        "The registry: a folder, or a bucket's URL. `--artifacts` and `--out` come before it.",
    ),
    "owner": ("the login name", "Who owns what is made. `--owner` comes before it."),
    "visibility": ("`private`", "Who may read what is made, on a server: `private`, `team` or `public`."),
    "templates": ("none", "A folder with templates of your own, besides those that flowtime brings."),
    "cache": ("the user's cache folder", "Where the index lies. It can be deleted at any moment."),
    "server": ("`http://127.0.0.1:8765`", "The address under which `flowtime open` makes links."),
}
"""Each setting: its default, and what it says."""


COMMAND_LINE = """\
# Command line

What `--help` says of every command. `--json` prints JSON on each of them, with the same fields as the
[HTTP API](http.md); progress, warnings and errors go to stderr. Exit codes are those of the
[errors](errors.md), and 10 for a verification or a comparison that fails."""
FUNCTIONS = """\
# Functions

Formulas are built from numbers, ids of nodes, the operators and these functions, whose names ignore case.
Every function works bin by bin. A missing value makes the result missing unless a function says otherwise.
`flowtime sim validate` checks formulas, and says where and what is wrong."""
MODEL = """\
A model is YAML 1.2, or JSON, in UTF-8. Unknown keys are errors. The same as a JSON Schema, for editors and
other programs: [model.schema.json](model.schema.json). The formulas are in [functions](functions.md).

```yaml
# yaml-language-server: $schema=model.schema.json
grid: {bins: 24, binSize: 1, binUnit: hours, start: 2025-01-01T00:00:00Z}
nodes:
  - {id: requests, kind: pmf, pmf: {"100": 0.3, "150": 0.5, "200": 0.2}}
  - {id: served, kind: expr, expr: "MIN(requests, 160)", unit: requests/bin}
```"""
CATALOG = """\
# Catalog

Every artifact has a `catalog.json` that says what it is, what it was made from, and the digests of its
files. This is its schema in tables; as a JSON Schema it is [catalog.schema.json](catalog.schema.json)."""
HTTP = """\
# HTTP API

`flowtime serve` answers at these addresses. JSON is what the command line prints with `--json`, with links
in place of paths; every error is a problem of RFC 9457 with a code of the [errors](errors.md). The same as
an OpenAPI document: [openapi.json](openapi.json), which the server has at `/openapi.json`."""
SETTINGS_PAGE = """\
# Settings

A setting is taken from the first of these that has it: an option of the command, an environment variable,
the settings file, its default. The file is `settings.toml` in the user's configuration folder
(`~/.config/flowtime` on Linux, `~/Library/Application Support/flowtime` on macOS,
`%LOCALAPPDATA%\\flowtime` on Windows), or the one that `{file}` names. `flowtime index status`
shows the registry that is meant.

| Setting | Variable | Default | Says |
|---|---|---|---|
{rows}

A settings file:

```toml
artifacts = "s3://my-bucket/flowtime"
owner = "ada"
visibility = "team"
```

An empty variable counts as not set. Credentials for buckets are those of the cloud's own tools, see
[teams on S3 or ADLS](../guides/teams-on-s3-or-adls.md). `NO_COLOR` and pipes turn colours off; `TMPDIR`
names the folder for temporary files. A wrong setting is [FT106](errors.md#ft106).
"""


def commands() -> Iterator[tuple[str, click.Command]]:
    """Every command by the words that call it, in the order of `flowtime --help`."""
    for name, module in COMMANDS.items():
        command = import_module(f"flowtime.cli.{module}").commands[name]
        yield name, command
        if isinstance(command, click.Group):
            yield from ((f"{name} {word}", command.commands[word]) for word in command.commands)


def command_line() -> str:
    """`flowtime --help` and that of every command, as a terminal of 100 columns shows it."""
    parts = [
        COMMAND_LINE,
        _help("flowtime", cli),
    ]
    for words, command in commands():
        parts += [f"## flowtime {words}", _help(f"flowtime {words}", command)]
    return "\n\n".join(parts) + "\n"


def _help(path: str, command: click.Command) -> str:
    context = click.Context(command, info_name=path, terminal_width=100, max_content_width=100)
    context.help_option_names = cli.context_settings["help_option_names"]
    return f"```text\n{command.get_help(context)}\n```"


def formulas() -> str:
    """The functions and operators of formulas, from the table that the engine computes with."""
    parts = [
        FUNCTIONS,
        "## Operators",
        "From the weakest to the strongest: comparisons, `+ -`, `* /`, the sign. Brackets group.",
        "| Operator | Gives |\n|---|---|\n"
        + "\n".join(f"| `{entry.example}` | {entry.doc} |" for entry in functions.OPERATORS.values())
        + f"\n| `{functions.NEGATIVE.example}` | {functions.NEGATIVE.doc} |",
        "## Functions by name",
    ]
    for function in functions.TABLE.values():
        parts += [f"### {function.name}", f"`{function.signature}`: {function.doc}"]
        bounded = [p for p in function.parameters if p.kind != "series"]
        notes = [
            f"`{p.name}` is {p.allowed}" + ("" if p.default is None else f", by default {p.default:g}")
            for p in bounded
        ]
        if function.memory:
            notes.append("it reads earlier bins")
        if notes:
            parts.append(
                f"{'; '.join(notes)}.".capitalize() if notes[0][0] != "`" else f"{'; '.join(notes)}."
            )
        parts.append(f"```text\n{function.example}\n```")
    return "\n\n".join(parts) + "\n"


def settings() -> str:
    """The settings, each with its variable."""
    rows = "\n".join(
        f"| `{name}` | `{VARIABLES[name]}` | {default} | {said} |"
        for name, (default, said) in SETTINGS.items()
    )
    return SETTINGS_PAGE.format(file=FILE_VARIABLE, rows=rows)


def model() -> str:
    """The keys of a model document, from its schema."""
    schema = json.loads((DOCS / "reference/model.schema.json").read_text(encoding="utf-8"))
    nodes = schema["$defs"]
    parts = [
        f"# Model\n\n{schema['description']} {MODEL}",
        _keys(schema, schema),
    ]
    sections = schema["properties"]
    for name in ("grid", "metadata"):
        parts += [f"## {name}", sections[name]["description"], _keys(sections[name], schema)]
    parts += ["## parameters", sections["parameters"]["description"], _keys(nodes["parameter"], schema)]
    parts += ["## nodes", sections["nodes"]["description"]]
    for kind in ("const", "expr", "pmf", "queue"):
        parts += [
            f"### {nodes[kind]['title']}",
            *([nodes[kind]["description"]] if "description" in nodes[kind] else []),
            _keys({**nodes[kind], "required": ["id", "kind", *nodes[kind]["required"]]}, schema),
        ]
    parts += ["## outputs", sections["outputs"]["description"], _keys(sections["outputs"]["items"], schema)]
    topology = sections["topology"]
    parts += ["## topology", topology["description"], _keys(topology, schema)]
    for name, title in (("nodes", "Components"), ("edges", "Flows")):
        parts += [f"### {title}", _keys(topology["properties"][name]["items"], schema)]
    parts += ["## metrics", sections["metrics"]["description"], _keys(nodes["metric"], schema)]
    parts += ["## rng", sections["rng"]["description"], _keys(sections["rng"], schema)]
    return "\n\n".join(parts) + "\n"


def catalog() -> str:
    """The fields of catalog.json, from its schema."""
    schema = json.loads((DOCS / "reference/catalog.schema.json").read_text(encoding="utf-8"))
    parts = [
        CATALOG,
    ]
    for name, entry in schema["$defs"].items():
        text = " ".join(str(entry.get("description", "")).split())
        parts += [f"## {name}", text, _keys(entry, schema)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _keys(entry: dict[str, Any], schema: dict[str, Any]) -> str:
    """A table of the properties of an object."""
    required = entry.get("required", ())
    described = any("description" in _resolved(value, schema) for value in entry["properties"].values())
    rows = [
        "| Key | Value | Default |" + (" Says |" if described else ""),
        "|---|---|---|" + ("---|" if described else ""),
    ]
    for key, value in entry["properties"].items():
        found = _resolved(value, schema)
        default = "required" if key in required else _shown(found["default"]) if "default" in found else ""
        said = " ".join(str(found.get("description", "")).split()).replace("|", "\\|")
        rows.append(f"| `{key}` | {_type(value, schema)} | {default} |" + (f" {said} |" if described else ""))
    return "\n".join(rows)


def _resolved(value: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in value:
        return value
    return {**schema["$defs"][value["$ref"].rpartition("/")[2]], **value}


def _type(value: dict[str, Any], schema: dict[str, Any]) -> str:
    """What a value may be, in a few words."""
    if "$ref" in value:
        name = value["$ref"].rpartition("/")[2]
        if name in {"const", "expr", "pmf", "queue"}:
            return "[node](#nodes)"
        if "properties" in schema["$defs"][name]:
            return f"[{name}](#{name.lower()})"
    found = _resolved(value, schema)
    if "const" in found:
        return _shown(found["const"])
    if "enum" in found:
        return ", ".join(_shown(choice) for choice in found["enum"])
    for several in ("anyOf", "oneOf"):
        if several in found:
            return " or ".join(dict.fromkeys(_type(choice, schema) for choice in found[several]))
    kind = found.get("type", "any value")
    text = " or ".join(kind) if isinstance(kind, list) else str(kind)
    if text == "array":
        return "list of " + _type(found.get("items", {}), schema)
    low, high = found.get("minimum"), found.get("maximum")
    if low is not None:
        text += f", {low:,} to {high:,}" if high is not None else f", at least {low:,}"
    words = {"object": "mapping", "string": "text", "boolean": "true or false", "null": "null"}
    return words.get(text, text)


def _shown(value: object) -> str:
    return f"`{json.dumps(value) if not isinstance(value, str) else value or json.dumps(value)}`"


def imports() -> set[tuple[str, str]]:
    """Which part of the package imports which, from the code."""
    edges = set()
    for path in sorted(SRC.rglob("*.py")):
        module = path.relative_to(SRC).with_suffix("").parts
        part = module[0]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module:
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.Call) and ast.unparse(node.func) == "import_module":
                names = [str(getattr(node.args[0], "value", ""))]
            else:
                continue
            found = {name.split(".")[1] for name in names if name.startswith("flowtime.") and name.count(".")}
            edges |= {(part, other) for other in found if other != part}
    known = {part for layer in LAYERS for part in layer}
    return {(a, b) for a, b in edges if a in known and b in known}


def diagram() -> str:
    """The parts and their imports as a drawing, layer over layer.

    `errors` and `version`, which all may import, have no edges. Imports that others imply are drawn faintly.
    """
    width, height, gap = 760, 30, 26
    there = [
        tuple(part for part in layer if (SRC / part).is_dir() or (SRC / f"{part}.py").exists())
        for layer in LAYERS
    ]
    layers = [layer for layer in there if layer]
    place: dict[str, tuple[float, float]] = {}
    for row, layer in enumerate(layers):
        for column, part in enumerate(layer):
            place[part] = (width * (column + 1) / (len(layer) + 1), 10 + row * (height + gap))
    total = 10 + len(layers) * (height + gap)
    lines, boxes = [], []
    edges = {
        (a, b) for a, b in imports() if b not in {"errors", "version", "wanted"} and a in place and b in place
    }
    reached: dict[str, set[str]] = {}
    for part in reversed(place):
        below = {b for a, b in edges if a == part}
        reached[part] = below.union(*(reached[b] for b in below))
    for a, b in sorted(edges):
        implied = any(b in reached[other] for first, other in edges if first == a)
        (x1, y1), (x2, y2) = place[a], place[b]
        y1 += height
        bend = (
            0 if y2 - y1 < 2 * gap else (120 if x2 >= x1 else -120) + (y2 - y1) / 4 * (1 if x2 >= x1 else -1)
        )
        middle = (y1 + y2) / 2
        kind = "implied" if implied else "own"
        curve = f"{x1 + bend:.0f} {middle:.0f} {x2 + bend:.0f} {middle:.0f} {x2:.0f} {y2:.0f}"
        lines.append(
            f'<path class="{kind}" d="M{x1:.0f} {y1:.0f} C{curve}">'
            f"<title>{escape(a)} imports {escape(b)}</title></path>"
        )
    for part, (x, y) in place.items():
        boxes.append(
            f'<rect x="{x - 50:.0f}" y="{y:.0f}" width="100" height="{height}" rx="6"/>'
            f'<text x="{x:.0f}" y="{y + 20:.0f}">{part}</text>'
        )
    style = (
        "path{fill:none;stroke:#3b6ea5;stroke-width:1.6}path.implied{stroke:#c3ccd6;stroke-width:1}rect{fill:#eef3f8;stroke:#3b6ea5}"
        "text{font:14px system-ui,sans-serif;text-anchor:middle;fill:#12263a}"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {total:.0f}" role="img">'
        "<title>The parts of flowtime and their imports, which point down</title>"
        f"<style>{style}</style>\n" + "\n".join(lines + boxes) + "\n</svg>\n"
    )


def http() -> str:
    """The addresses of the HTTP API, from its OpenAPI document."""
    document = api()
    parts = [
        HTTP,
    ]
    for path, methods in document["paths"].items():
        for method, route in methods.items():
            parts += [f"## {method.upper()} {path}", f"{route.get('description') or route['summary']}"]
            rows = [
                f"| `{one['name']}` | {one['in']} | {_type(one['schema'], document)} |"
                f" {one.get('description', '')} |"
                for one in route.get("parameters", ())
            ]
            if rows:
                parts.append("| Parameter | In | Value | Says |\n|---|---|---|---|\n" + "\n".join(rows))
            bodies = ", ".join(f"`{kind}`" for kind in route.get("requestBody", {}).get("content", {}))
            answers = ", ".join(f"{status}" for status in route["responses"])
            parts.append((f"Takes {bodies}. " if bodies else "") + f"Answers {answers}.")
            parts += [f"```bash\n{sample['source']}\n```" for sample in route.get("x-codeSamples", ())]
    return "\n\n".join(parts) + "\n"


def api() -> dict[str, Any]:
    """The OpenAPI document that the server gives."""
    config = Config(load({"artifacts": "artifacts"}, environment={}))
    return create(config).openapi()


def openapi() -> str:
    """The OpenAPI document as a file."""
    return json.dumps(api(), indent=1, ensure_ascii=False) + "\n"


def decisions() -> str:
    """The list of decisions: what stands above its table, and a line for each record."""
    folder = DOCS / "decisions"
    above = folder.joinpath("README.md").read_text(encoding="utf-8").partition("\n| Decision |")[0].rstrip()
    rows = []
    for path in sorted(folder.glob("[0-9]*.md")):
        lines = path.read_text(encoding="utf-8").splitlines()
        date = next(line for line in lines if line.startswith("Date: ")).removeprefix("Date: ")
        rows.append(f"| [{path.name[:4]}]({path.name}) | {lines[0].removeprefix('# ')} | {date} |")
    return above + "\n\n| Decision | What | Date |\n|---|---|---|\n" + "\n".join(rows) + "\n"


PAGES: dict[str, Callable[[], str]] = {
    "reference/cli.md": command_line,
    "reference/functions.md": formulas,
    "reference/settings.md": settings,
    "reference/model.md": model,
    "reference/catalog.md": catalog,
    "reference/http.md": http,
    "reference/openapi.json": openapi,
    "decisions/README.md": decisions,
    "images/architecture.svg": diagram,
}
"""Every generated page, and what writes it."""


if __name__ == "__main__":
    for name, text in PAGES.items():
        DOCS.joinpath(name).write_text(text(), encoding="utf-8")
