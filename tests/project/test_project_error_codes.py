"""Every error code is declared once, explained, and used."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from flowtime import errors

SRC = Path(__file__).parents[2] / "src" / "flowtime"
KINDS = {
    name: value.kind
    for name, value in vars(errors).items()
    if isinstance(value, type) and issubclass(value, errors.FlowtimeError)
}


def trees() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(SRC.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        if path.name == "errors.py" and path.parent == SRC:
            tree.body = [node for node in tree.body if not _declares_codes(node)]
        yield str(path.relative_to(SRC)), tree


def _declares_codes(node: ast.stmt) -> bool:
    return isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == "CODES"


def codes_in(tree: ast.AST) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and re.fullmatch(r"FT\d{3}", str(node.value)):
            yield str(node.value), node.lineno


def test_every_used_code_is_declared() -> None:
    undeclared = [
        f"{path}:{line} {code}"
        for path, tree in trees()
        for code, line in codes_in(tree)
        if code not in errors.CODES
    ]
    assert undeclared == []


def test_every_declared_code_is_used() -> None:
    used = {code for _, tree in trees() for code, _ in codes_in(tree)}
    assert sorted(set(errors.CODES) - used) == []


def test_codes_are_raised_as_what_they_are_declared() -> None:
    wrong = [
        f"{path}:{node.lineno} {name}({code})"
        for path, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and node.args
        for name in [ast.unparse(node.func).rpartition(".")[2]]
        for code in [getattr(node.args[0], "value", None)]
        if name in KINDS and code in errors.CODES and errors.CODES[code].kind != KINDS[name]
    ]
    assert wrong == []


def test_no_hint_names_a_page_that_is_not_installed() -> None:
    named = [
        f"{path}:{keyword.value.lineno}"
        for path, tree in trees()
        for call in ast.walk(tree)
        if isinstance(call, ast.Call)
        for keyword in call.keywords
        if keyword.arg == "hint" and re.search(r"docs/|\.md\b", ast.unparse(keyword.value))
    ]
    assert named == []


def test_codes_are_in_order() -> None:
    assert list(errors.CODES) == sorted(errors.CODES)


@pytest.mark.parametrize("code", errors.CODES)
def test_codes_are_explained(code: str) -> None:
    declared = errors.CODES[code]
    assert re.fullmatch(r"FT[1-9]\d\d", code)
    assert declared.title
    assert len(declared.explanation) > len(declared.title)
    assert declared.explanation.endswith(".")
