"""Artifacts side by side: runs and telemetry by their series, models by their nodes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from flowtime.analysis.compare import compare
from flowtime.analysis.difference import changes_of, difference
from flowtime.analysis.gate import Gate
from flowtime.core.canonical import JSON
from flowtime.core.labels import normal
from flowtime.errors import InvalidInput, NotFound
from flowtime.loop.models import StoredModel
from flowtime.loop.series import read_series
from flowtime.registry import Registry
from flowtime.registry.document import a_kind
from flowtime.wording import action

_SERIES = ("run", "telemetry")


def comparable(
    registry: Registry, baseline: str, comparison: str, is_file: Callable[[str], bool]
) -> Literal["model", "series"]:
    """Whether two references mean models, or artifacts with series. `is_file` tells which mean model files.

    A name that a model and a run share means whichever fits the other reference. Raises NotFound FT501,
    InvalidInput FT503 and, where one means a model and the other series, FT809.
    """
    kinds = [
        "model" if is_file(reference) else _kind(registry, reference) for reference in (baseline, comparison)
    ]
    if kinds[0] == kinds[1]:
        return "model" if kinds[0] == "model" else "series"
    if "model" not in kinds or all(_has_series(registry, reference) for reference in (baseline, comparison)):
        return "series"
    raise InvalidInput(
        "FT809",
        f'"{baseline}" is {a_kind(kinds[0])}, "{comparison}" is {a_kind(kinds[1])}',
        hint=f"compare two models, or two artifacts with series; {action('run')} makes a run of a model",
    )


def _kind(registry: Registry, reference: str) -> str:
    try:
        return str(registry.catalog(registry.resolve(reference))["kind"])
    except InvalidInput:
        if not _has_series(registry, reference):
            raise
        return "model"  # one of several with the name of a run


def _has_series(registry: Registry, reference: str) -> bool:
    """Whether a run or telemetry has exactly this id or name."""
    try:
        id = registry.resolve(reference, _SERIES)
    except (NotFound, InvalidInput):
        return False
    return reference == id or normal(reference) == normal(registry.catalog(id)["name"])


def compare_series(registry: Registry, baseline: str, comparison: str, gate: Gate | None) -> JSON:
    """`{baseline, comparison, aligned, series, only_in_baseline, only_in_comparison, within_threshold}`,
    with the `parameters` whose values differ, and the `metrics` of both.

    `notes` say which of several of a name were taken; with a gate there is its verdict as `gate`. Raises
    InvalidInput FT801, and FT815 as the gate does.
    """
    notes: list[str] = []
    ids = [registry.resolve(reference, _SERIES, notes.append) for reference in (baseline, comparison)]
    result = compare(*(read_series(registry, id) for id in ids))
    catalogs = [registry.catalog(id) for id in ids]
    parameters = changes_of(*(catalog.get("parameters") or {} for catalog in catalogs))
    shown = {
        "baseline": ids[0],
        "comparison": ids[1],
        "parameters": [change.to_json() for change in parameters],
        "metrics": _metrics(*catalogs),
        **result.to_json(),
        "notes": notes,
    }
    if gate is None:
        return {**shown, "within_threshold": None}
    verdict = gate.judge(result)
    return {**shown, "within_threshold": verdict.within, "gate": verdict.to_json()}


def _metrics(baseline: JSON, comparison: JSON) -> list[JSON]:
    """The metrics that both artifacts have: `{name, unit, baseline, comparison, change}`, where the change is
    (comparison - baseline) / |baseline|, None where one is missing or the baseline is 0.
    """
    sides = []
    for catalog in (baseline, comparison):
        listed = [*(catalog.get("metrics") or ()), *(catalog.get("other_metrics") or ())]
        sides.append({(metric["name"], metric["formula"]): metric for metric in listed})
    mine, theirs = sides
    found = []
    for key in (key for key in mine if key in theirs):
        a, b = mine[key]["value"], theirs[key]["value"]
        change = (b - a) / abs(a) if a and b is not None else 0.0 if a == b == 0 else None
        unit = mine[key].get("unit")
        found.append({"name": key[0], "unit": unit, "baseline": a, "comparison": b, "change": change})
    return found


def compare_models(
    baseline: StoredModel, comparison: StoredModel, references: tuple[str, str], gate: Gate | None
) -> JSON:
    """`{baseline, comparison, model, within_threshold, notes}`; no change of meaning is within a threshold.

    `references` are what a person called the two; files keep that name. Raises InvalidInput (FT815) for a
    gate that asks for more than one threshold: models have no series.
    """
    if gate is not None and not gate.plain:
        raise InvalidInput(
            "FT815",
            "two models have no series to be judged; they are within a threshold where they mean the same",
            hint="give one threshold for all and nothing else, or compare runs of the two models",
        )
    result = difference(baseline.model, comparison.model)
    names = [
        reference if stored.id is None else stored.reference
        for reference, stored in zip(references, (baseline, comparison), strict=True)
    ]
    return {
        "baseline": names[0],
        "comparison": names[1],
        "model": result.to_json(),
        "within_threshold": None if gate is None else result.equal,
        "notes": [],
    }
