"""Models: text to meaning and back.

`load` reads YAML or JSON text, `from_document` plain values; both give a checked Model or raise one
InvalidInput that holds every problem.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from flowtime.core.canonical import JSON
from flowtime.errors import InvalidInput
from flowtime.model.checks import Checker
from flowtime.model.reading import MAX_PROBLEMS, Reader, TooManyProblems
from flowtime.model.source import Document, parse
from flowtime.model.spec import Metric, Model


def load(text: str | bytes, name: str = "model") -> Model:
    """The model in `text`, which messages call `name`.

    Raises InvalidInput: FT101 to FT104 where the text cannot be read, else FT200 with every problem.
    """
    return from_parsed(parse(text, name))


def from_document(value: JSON, name: str = "model") -> Model:
    """The model that a plain document means. Raises InvalidInput (FT200) with every problem."""
    return _checked(Checker(Reader(None)), value, name)


def from_parsed(document: Document, *, folder: Path | None = None) -> Model:
    """The model of a parsed document. Raises InvalidInput (FT200) with every problem.

    `folder` is where `values: {csv: ...}` reads from; without it such sources are refused.
    """
    return _checked(Checker(Reader(document), folder), document.value, document.name)


def given_metrics(model: Model, formulas: Mapping[str, Any]) -> tuple[Metric, ...]:
    """Metrics for a run of a model, by name: a formula, or a mapping as a document has it.

    Raises InvalidInput (FT222) with every problem.
    """
    checker = Checker(Reader(None))
    with suppress(TooManyProblems):
        found = checker.metrics(model, dict(formulas))
    if checker.read.problems:
        first, *more = checker.read.problems
        errors = (first, *more) if more else ()
        raise InvalidInput("FT222", first.message, hint=first.hint, errors=errors)
    return found


def _checked(checker: Checker, value: object, name: str) -> Model:
    model = checker.model(value)
    if model is None:
        errors = [problem for problem in checker.read.problems if problem.severity == "error"]
        more = " or more" if len(errors) >= MAX_PROBLEMS else ""
        count = f"{len(errors)}{more} problem" + ("s" if len(errors) != 1 else "")
        raise InvalidInput("FT200", f"the model has {count}", where=name, errors=errors)
    return replace(model, warnings=tuple(checker.read.problems))
