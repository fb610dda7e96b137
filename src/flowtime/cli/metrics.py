"""What commands say of the metrics and parameters of runs, and of the series that move most."""

from __future__ import annotations

from typing import Any

import click

from flowtime import texts
from flowtime.cli import render

_PLACES = ("FIRST_BIN(", "LAST_BIN(")

MOVERS = 5
"""So many series a run shows unasked."""


def assignments(option: str, given: tuple[str, ...]) -> dict[str, str]:
    """The names and texts of `NAME=TEXT`; raises UsageError."""
    found = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name.strip() or not value.strip():
            raise click.UsageError(f'{option} takes NAME=VALUE, not "{text}"')
        found[name.strip()] = value.strip()
    return found


def numbers(given: dict[str, str]) -> dict[str, float | str]:
    """The texts as numbers; what is none stays, for the model to say what it takes."""
    found: dict[str, float | str] = {}
    for name, text in given.items():
        try:
            found[name] = text if "_" in text else float(text)
        except ValueError:
            found[name] = text
    return found


def metrics_table(metrics: list[dict[str, Any]]) -> str:
    """A line for each metric: its value, its goal and whether it is met, and where it was found."""
    sampled = any("p50" in metric for metric in metrics)
    rows = [
        (
            "" if metric.get("met") is None else render.tick(metric["met"]),
            metric["name"],
            metric.get("time")
            if metric["formula"].startswith(_PLACES) and "time" in metric
            else texts.number(metric["value"]),
            *([_spread(metric)] if sampled else []),
            metric.get("unit") or "",
            metric.get("goal") or "",
            "; ".join(part for part in (metric.get("title"), _place(metric), _missing(metric)) if part),
        )
        for metric in metrics
    ]
    header = ("", "metric", "mean" if sampled else "value", *(["p05 to p95"] if sampled else []))
    return render.table((*header, "unit", "goal", ""), rows, right=(2,), whole=(1,))


def _spread(metric: dict[str, Any]) -> str:
    shown = f"{texts.number(metric.get('p05'))} to {texts.number(metric.get('p95'))}"
    share = metric.get("met_share")
    return shown if share is None else f"{shown}, met in {share:.0%}"


def _place(metric: dict[str, Any]) -> str:
    if metric.get("bin") is None or metric["formula"].startswith(_PLACES):
        return ""
    return f"in bin {metric['bin']:,}" + (f", {metric['time']}" if "time" in metric else "")


def _missing(metric: dict[str, Any]) -> str:
    count = metric.get("missing", 0)
    return f"{count:,} missing left out" if count else ""


def movers(measures: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The series that move most, in their order: those with the largest span for their size."""
    ranked = sorted(range(len(measures)), key=lambda place: -_movement(measures[place]["summary"]))
    return [measures[place] for place in sorted(ranked[:MOVERS])]


def _movement(summary: dict[str, Any]) -> float:
    low, high = summary["min"], summary["max"]
    if low is None or high is None or low == high:
        return 0.0
    span: float = (high / 2 - low / 2) / max(abs(low), abs(high))
    return span
