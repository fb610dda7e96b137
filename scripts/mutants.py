"""Change the heart of flowtime in one place at a time, and see whether a test notices.

Each mutant runs in a process of its own, forked before flowtime is imported, so that no cache and no table
made by the unchanged code is in its way. Strings, annotations, `assert` and `del` are left as they are.
Prints what no test noticed, and a table by module.
"""

from __future__ import annotations

import argparse
import ast
import copy
import importlib.util
import os
import random
import resource
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType

import pytest

# imported once for all mutants: what flowtime and the tests import from elsewhere
for _name in ("_hypothesis_pytestplugin", "hypothesis.strategies", "msgspec", "numpy", "polars", "yaml"):
    importlib.import_module(_name)

ROOT = Path(__file__).parent.parent
TARGETS = ("core/*.py", "engine/*.py", "formats/digest.py")
TESTS = (
    "unit/test_core_*.py",
    "unit/test_engine_*.py",
    "unit/test_formats_digest.py",
    "unit/test_loop_samples.py",
    "golden/test_vectors.py",
    "property/test_engine_vs_plain.py",
    "property/test_expression_round_trip.py",
)
LEFT_OUT = (
    "process",
    "interrupt",
    "hash_seed",
    "memory",
    "million_bins",
    "10_000",
    "bomb",
    "strategies_reach",
)
"""Tests that start other processes, or take long and see nothing that others do not see."""
CPU_SECONDS = 60

FATES = ("killed", "out of time", "survived")

SWAPS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.And: ast.Or,
    ast.Or: ast.And,
}


@dataclass(frozen=True)
class Mutant:
    """One change: the node at `place` in the order of `ast.walk`, and which of its changes."""

    path: Path
    place: int
    change: int
    line: int
    before: str
    after: str

    @property
    def module(self) -> str:
        """`core/grid`."""
        return self.path.relative_to(ROOT / "src" / "flowtime").with_suffix("").as_posix()

    def __str__(self) -> str:
        return f"{self.module}.py:{self.line}: {_short(self.before)}  →  {_short(self.after)}"


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 90 else line[:89] + "…"


def _not(test: ast.expr) -> ast.expr:
    return ast.UnaryOp(ast.Not(), test)


def changes(node: ast.AST) -> Iterator[ast.AST]:
    """What may stand in the place of a node."""
    changed = copy.deepcopy(node)
    match changed:
        case ast.Compare(ops=ops):
            for index, operator in enumerate(ops):
                each = copy.deepcopy(changed)
                each.ops[index] = SWAPS[type(operator)]()  # type: ignore[call-overload]
                yield each
        case ast.BinOp(op=op) | ast.BoolOp(op=op) if type(op) in SWAPS:
            changed.op = SWAPS[type(op)]()  # type: ignore[assignment]
            yield changed
        case ast.UnaryOp(operand=operand):
            yield operand
        case ast.Constant(value=bool() as value):
            yield ast.Constant(not value)
        case ast.Constant(value=int() | float() as value):
            yield ast.Constant(value + 1)
        case ast.If(test=test) | ast.IfExp(test=test) | ast.While(test=test):
            changed.test = _not(test)
            yield changed
        case ast.comprehension(ifs=tests):
            for index, test in enumerate(tests):
                filtered = copy.deepcopy(changed)
                filtered.ifs[index] = _not(test)
                yield filtered
        case ast.Return(value=ast.expr() as value) if not (
            isinstance(value, ast.Constant) and value.value is None
        ):
            yield ast.Return(ast.Constant(None))
        case ast.Expr(value=ast.Call()) | ast.AugAssign() | ast.Raise() | ast.Break() | ast.Continue():
            yield ast.Pass()


def _nodes(tree: ast.AST) -> Iterator[tuple[ast.AST, str, int | None]]:
    """The nodes under a tree that may be changed, each with its parent's field and place in it."""
    for field, value in ast.iter_fields(tree):
        if field in ("annotation", "decorator_list", "returns") or isinstance(tree, (ast.Assert, ast.Delete)):
            continue
        children = list(enumerate(value)) if isinstance(value, list) else [(None, value)]
        for index, child in children:
            if isinstance(child, ast.AST):
                yield tree, field, index
                yield from _nodes(child)


def _at(place: tuple[ast.AST, str, int | None]) -> ast.AST:
    parent, field, index = place
    value = getattr(parent, field)
    node: ast.AST = value if index is None else value[index]
    return node


def mutants(path: Path) -> Iterator[Mutant]:
    """All mutants of a file."""
    line = 0
    for number, place in enumerate(_nodes(ast.parse(path.read_text(encoding="utf-8")))):
        node = _at(place)
        line = getattr(node, "lineno", line)
        if isinstance(node, (ast.If, ast.While)):
            shown: ast.AST = node.test
            found = [change.test for change in changes(node)]  # type: ignore[attr-defined]
        else:
            shown, found = node, list(changes(node))
        for index, change in enumerate(found):
            yield Mutant(path, number, index, line, ast.unparse(shown), ast.unparse(change))


def mutated(mutant: Mutant) -> CodeType:
    """The code of the file with the change."""
    tree = ast.parse(mutant.path.read_text(encoding="utf-8"))
    place = list(_nodes(tree))[mutant.place]
    parent, field, index = place
    node = list(changes(_at(place)))[mutant.change]
    if index is None:
        setattr(parent, field, node)
    else:
        getattr(parent, field)[index] = node
    return compile(ast.fix_missing_locations(tree), str(mutant.path), "exec")


class Loader(SourceFileLoader):
    """Loads the mutant in place of the file."""

    def __init__(self, name: str, mutant: Mutant) -> None:
        super().__init__(name, str(mutant.path))
        self.mutant = mutant

    def get_code(self, fullname: str) -> CodeType:
        """The code with the change."""
        return mutated(self.mutant)


class Finder(MetaPathFinder):
    """Finds the mutant where its module is asked for."""

    def __init__(self, mutant: Mutant) -> None:
        self.mutant = mutant
        self.name = "flowtime." + mutant.module.removesuffix("/__init__").replace("/", ".")

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The spec of the mutant, or None for any other module."""
        if fullname != self.name:
            return None
        return importlib.util.spec_from_file_location(
            fullname, self.mutant.path, loader=Loader(fullname, self.mutant)
        )


def stages(mutant: Mutant) -> Iterator[list[str]]:
    """The files of tests: the module's own or, without any, those that name it; then all others."""
    every = all_tests()
    own = [path for path in every if path.name == f"test_{mutant.module.replace('/', '_')}.py"]
    name = "flowtime." + mutant.module.replace("/", ".")
    first = own or [path for path in every if name in path.read_text(encoding="utf-8")]
    yield from ([*map(str, paths)] for paths in (first, [p for p in every if p not in first]) if paths)


def all_tests() -> list[Path]:
    """The files of tests that a mutant has to pass to survive."""
    return [path for pattern in TESTS for path in sorted((ROOT / "tests").glob(pattern))]


def fate(mutant: Mutant) -> str:
    """What becomes of a mutant: killed, survived, or out of time."""
    for tests in stages(mutant):
        found = run(mutant, tests)
        if found != "survived":
            break
    return found


def run(mutant: Mutant | None, tests: list[str]) -> str:
    """What some tests make of a mutant, or of the unchanged code."""
    child = os.fork()
    if child == 0:
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
        if mutant is not None:
            sys.meta_path.insert(0, Finder(mutant))
        silence = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silence, 1)
        os.dup2(silence, 2)
        without = " and ".join(f"not {name}" for name in LEFT_OUT)
        options = ["-x", "-q", "--tb=no", "--assert=plain", "--rootdir", str(ROOT), "-c", "pyproject.toml"]
        plugins = ["-p", "no:cacheprovider", "-p", "pytest_timeout", "-p", "_hypothesis_pytestplugin"]
        status = 1
        try:
            status = pytest.main([*options, *plugins, "--hypothesis-profile=mutants", "-k", without, *tests])
        finally:
            os._exit(status)
    _, ended = os.waitpid(child, 0)
    if os.WIFSIGNALED(ended):
        return "out of time" if os.WTERMSIG(ended) in (signal.SIGXCPU, signal.SIGKILL) else "killed"
    return "killed" if os.WEXITSTATUS(ended) else "survived"


def main() -> None:
    """Run the mutants, or a sample of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sample", type=int, metavar="N", help="take N mutants at random")
    parser.add_argument("--seed", type=int, default=1, help="of the sample (default: %(default)s)")
    parser.add_argument(
        "targets", nargs="*", default=TARGETS, help="files below src/flowtime, as core/grid.py"
    )
    arguments = parser.parse_args()
    os.chdir(ROOT)
    os.environ |= {"CI": "true", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": str(ROOT / "src")}
    sys.path.insert(0, str(ROOT / "src"))
    paths = [path for name in arguments.targets for path in sorted((ROOT / "src" / "flowtime").glob(name))]
    every = [mutant for path in paths for mutant in mutants(path)]
    chosen = random.Random(arguments.seed).sample(every, len(every))[: arguments.sample]
    print(f"{len(chosen):,} of {len(every):,} mutants", flush=True)
    with tempfile.TemporaryDirectory(prefix="flowtime-mutants-") as folder:
        os.environ["TMPDIR"] = tempfile.tempdir = folder
        begin = time.monotonic()
        if run(None, [*map(str, all_tests())]) != "survived":
            sys.exit("the tests fail without a mutant")
        print(
            f"all tests take {time.monotonic() - begin:.1f} s; each mutant ends at the first that fails",
            flush=True,
        )
        counts: Counter[tuple[str, str]] = Counter()
        with suppress(KeyboardInterrupt):  # Ctrl-C shows what was found until then
            for mutant in chosen:
                found = fate(mutant)
                counts[mutant.module, found] += 1
                if found != "killed":
                    print(f"{found}: {mutant}", flush=True)
    print(f"\n{'':<20}" + "".join(f"{fate:>12}" for fate in FATES))
    for module in dict.fromkeys(mutant.module for mutant in every):
        row = [counts[module, fate] for fate in FATES]
        if any(row):
            print(f"{module:<20}" + "".join(f"{count:>12,}" for count in row))
    print(f"{(time.monotonic() - begin) / 60:.0f} minutes")


if __name__ == "__main__":
    main()
