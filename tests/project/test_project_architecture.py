"""Imports point down, and each outside library stays behind its fence."""

from __future__ import annotations

import ast
import graphlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

SRC = Path(__file__).parents[2] / "src"

LAYERS = (
    {"version", "wanted", "wording"},
    {"errors"},
    {"core", "storage", "settings", "texts"},
    {"model", "formats"},
    {"engine", "sim"},
    {"registry", "study"},
    {"analysis"},
    {"loop"},
    {"service"},
    {"api", "library", "testing"},
    {"web"},
    {"cli", "__init__"},
    {"__main__"},
)
"""A part may import parts of lower layers only, and itself; parts of one layer do not know each other."""

NARROWER = {
    "storage": {"errors", "wording"},
    "engine": {"errors", "core", "texts", "model", "wanted"},
    "study": {"errors", "core", "model", "engine"},
    "api": {"errors", "settings", "service", "version", "wanted", "wording"},
    "cli": {"errors", "settings", "service", "texts", "version", "api", "web", "wording"},
    "library": {"errors", "settings", "service", "version"},
    "web": {"errors", "settings", "service", "texts", "version", "api", "wording"},
    "__init__": {"library", "version"},
    "__main__": {"cli"},
}
"""What these parts may import at most: stores know no models, engine and formats never meet."""

FENCES = {
    "anyio": {"flowtime.api"},
    "backports": {"flowtime.formats.opening", "flowtime.api.compression"},
    "click": {"flowtime.cli"},
    "compression": {"flowtime.formats.opening", "flowtime.api.compression"},
    "argon2": {"flowtime.api.access_file"},
    "fastapi": {"flowtime.api", "flowtime.web"},
    "hypothesis": {"flowtime.testing"},
    "jinja2": {"flowtime.web"},
    "jwt": {"flowtime.api.oidc"},
    "msgspec": {
        f"flowtime.{name}"
        for name in ("core", "model.source", "formats", "registry.catalog", "analysis.chart", "api")
    },
    "numpy": {
        f"flowtime.{name}" for name in ("core", "engine", "formats", "registry", "analysis", "loop", "study")
    },
    "obstore": {f"flowtime.storage.{name}" for name in ("answers", "clouds", "objects")},
    "platformdirs": {"flowtime.settings"},
    "polars": {"flowtime.formats"},
    "prometheus_client": {"flowtime.api"},
    "pydantic": {"flowtime.api"},
    "pytest": {"flowtime.testing"},
    "python_multipart": {"flowtime.api.uploads"},
    "sqlite3": {"flowtime.registry.index", "flowtime.registry.tables"},
    "starlette": {"flowtime.api", "flowtime.web"},
    "uvicorn": {"flowtime.api"},
    "wasmtime": {"flowtime.engine.machine"},
    "xlsxwriter": {"flowtime.formats.workbook"},
    "yaml": {"flowtime.model.source", "flowtime.model.writer"},
}
"""Outside libraries, and sqlite3, with the modules and packages that may import them."""

DEFERRED = {"flowtime.service", "flowtime.engine.machine"}
"""Only these import inside functions: the service keeps the start of a command free of heavy modules, the
machine does without wasmtime where work is small or wasmtime cannot be loaded."""

TYPED = {"service", "api", "library", "web", "cli"}
"""Only these import for annotations alone: what is heavy is not imported where a command starts, and types go
from face to engine all the same."""

BY_NAME = {"flowtime", "flowtime.__main__", "flowtime.library", "flowtime.storage"} | {
    f"flowtime.cli{part}" for part in ("", ".serve", ".token")
}
"""Only these import modules by name when asked: the public names, the command once the process is set up for
it, the commands of the faces, the server, the libraries of users that are no dependencies, the stores in
buckets with their library."""


@dataclass(frozen=True)
class Import:
    """`module` imports `target` on `line`, inside a function where `deferred`; `typing`: for annotations
    alone.
    """

    module: str
    target: str
    line: int
    deferred: bool
    typing: bool = False

    def __str__(self) -> str:
        return f"{self.module}:{self.line} imports {self.target}"


def module_name(path: Path) -> str:
    parts = path.relative_to(SRC).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(SRC.rglob("*.py"))}


def imports_in(module: str, tree: ast.Module) -> Iterator[Import]:
    inside = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        for node in ast.walk(function)
    }
    typing = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and isinstance(block.test, ast.Name) and block.test.id == "TYPE_CHECKING"
        for node in ast.walk(block)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            named = (f"{base}.{alias.name}" for alias in node.names)
            targets = [name if name in MODULES else base for name in named]
        else:
            continue
        told = node.lineno, id(node) in inside, id(node) in typing
        yield from (Import(module, target, *told) for target in targets)


IMPORTS = [
    found
    for module, path in MODULES.items()
    for found in imports_in(module, ast.parse(path.read_text(encoding="utf-8")))
]
OWN = [found for found in IMPORTS if found.target.split(".")[0] == "flowtime"]


def part(module: str) -> str:
    """The name in LAYERS that a module belongs to."""
    return [*module.split("."), "__init__"][1]


def layer(module: str) -> int:
    return next(level for level, parts in enumerate(LAYERS) if part(module) in parts)


def within(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


def test_every_module_has_a_layer() -> None:
    known = set().union(*LAYERS)
    assert {part(module) for module in MODULES} - known == set()
    assert "errors" in {part(module) for module in MODULES}


def test_imports_point_down() -> None:
    wrong = [
        str(found)
        for found in OWN
        if part(found.module) != part(found.target)
        and (
            layer(found.target) >= layer(found.module)
            or (
                part(found.target) not in NARROWER.get(part(found.module), {part(found.target)})
                and not found.typing
            )
        )
    ]
    assert wrong == []


def test_no_module_imports_the_package_root() -> None:
    assert [str(found) for found in OWN if found.target == "flowtime"] == []


def test_imports_stand_at_the_top() -> None:
    deferred = [
        found for found in IMPORTS if found.deferred and not any(within(found.module, d) for d in DEFERRED)
    ]
    assert [str(found) for found in deferred] == []


def test_no_import_hides_from_this_check() -> None:
    hidden = [
        f"{module}:{node.lineno}"
        for module, path in MODULES.items()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, (ast.Name, ast.Attribute))
        for name in [node.id if isinstance(node, ast.Name) else node.attr]
        if name == "__import__"
        or (name == "import_module" and module not in BY_NAME)
        or (name == "TYPE_CHECKING" and part(module) not in TYPED)
    ]
    assert hidden == []


def test_no_cycles() -> None:
    graph: dict[str, set[str]] = {module: set() for module in MODULES}
    for found in OWN:
        graph[found.module].add(found.target)
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        pytest.fail("import cycle: " + " -> ".join(reversed(error.args[1])))


def test_outside_libraries_stay_behind_their_fences() -> None:
    wrong = []
    for found in IMPORTS:
        if found.typing:
            continue
        library = found.target.split(".")[0]
        free = library == "flowtime" or (library in sys.stdlib_module_names and library not in FENCES)
        if not free and not any(within(found.module, fence) for fence in FENCES.get(library, ())):
            wrong.append(str(found))
    assert wrong == []
