"""Use cases of questions: sweep a model over values of its parameters, solve for one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from flowtime.errors import InvalidInput, did_you_mean
from flowtime.registry.document import JSON
from flowtime.service.opened import Opened

if TYPE_CHECKING:
    from flowtime.core.series import FloatArray
    from flowtime.loop.models import StoredModel
    from flowtime.model.spec import Metric
    from flowtime.study.points import Outcome

Progress = Callable[[int, int], object]


class Studies(Opened):
    """What can be asked of a model. Nothing is stored."""

    def sweep(
        self,
        model: StoredModel | str,
        vary: Iterable[str],
        *,
        show: Iterable[str] = (),
        parameters: Mapping[str, float | str] | None = None,
        metrics: Mapping[str, str | Mapping[str, Any]] | None = None,
        seed: int | None = None,
        progress: Progress | None = None,
    ) -> JSON:
        """The metrics at all combinations of values of parameters: `{study_id, model, metrics, points}`.

        `vary` are ranges such as `workers=4..12`, `show` the names of the metrics that are wanted, all of
        them without one; `parameters` sets others, `metrics` are formulas beside the model's own. Each point
        is `{parameters, metrics, status}`, a missing metric None. Raises InvalidInput (FT841) for what is not
        a question, FT221, FT222.
        """
        from flowtime.loop.metrics import metrics_of
        from flowtime.study.points import outcome
        from flowtime.study.ranges import ranges
        from flowtime.study.sweep import grid

        stored = self._model(model)
        over = ranges(vary, stored.model.parameters)
        if not over:
            raise InvalidInput("FT841", "a sweep needs a parameter to vary", hint='such as "workers=4..12"')
        asked = _wanted(metrics_of(stored.model, metrics or {}), show)
        points = grid(over)
        found = outcome(stored.model, points, asked, parameters=parameters, seed=seed, progress=progress)
        rows = zip(*(column.tolist() for column in points.values()), strict=True)
        return {
            "study_id": None,
            "model": stored.reference if stored.id else stored.name,
            "metrics": [_described(metric) for metric in asked],
            "points": [
                {
                    "parameters": dict(zip(points, row, strict=True)),
                    "metrics": _figures(asked, values),
                    "met": {m.name: bool(ok) for m, ok in zip(asked, met, strict=True) if m.goal is not None},
                    "status": "done",
                }
                for row, values, met in zip(rows, found.values.tolist(), found.met, strict=True)
            ],
        }

    def solve(
        self,
        model: StoredModel | str,
        vary: str,
        until: str | None = None,
        *,
        largest: bool = False,
        tolerance: float | None = None,
        parameters: Mapping[str, float | str] | None = None,
        metrics: Mapping[str, str | Mapping[str, Any]] | None = None,
        seed: int | None = None,
        progress: Progress | None = None,
    ) -> JSON:
        """The smallest value of a parameter at which a condition is met, or the `largest`.

        `vary` is a range such as `workers=1..40`, `until` a condition such as `peak_wait <= 10`; without one
        all goals of the model are to be met. Returns `{study_id, answer, reason, below, evaluations, ...}`:
        `answer` is `{id: number}` or None, `below` the neighbour that does not meet the condition, which
        proves it. Raises InvalidInput (FT841) for what is not a question, FT221, FT222.
        """
        from flowtime.loop.metrics import metrics_of
        from flowtime.study.conditions import busy_queues, conditions
        from flowtime.study.points import outcome
        from flowtime.study.ranges import ranges
        from flowtime.study.solve import solve

        stored = self._model(model)
        (over,) = ranges([vary], stored.model.parameters)
        known = {metric.name: metric for metric in metrics_of(stored.model, metrics or {})}
        judged = conditions(stored.model, tuple(known.values()), until)
        known |= {metric.name: metric for metric in judged}
        asked = tuple(known.values())
        places = [place for place, metric in enumerate(asked) if metric in judged]
        looked = 0

        def ask(values: FloatArray) -> Outcome:
            nonlocal looked
            found = outcome(stored.model, {over.id: values}, asked, parameters=parameters, seed=seed)
            looked += len(values)
            if progress is not None:
                progress(looked, looked)
            return found

        found = solve(over, ask, places, largest=largest, tolerance=tolerance)
        busy: Mapping[str, float] = {}
        if found.answer is not None:
            there = {**(parameters or {}), over.id: found.answer.value}
            busy = busy_queues(stored.model, judged, there, seed)
        points = [point for point in (found.answer, found.beside, *found.ends) if point is not None]
        return {
            "study_id": None,
            "model": stored.reference if stored.id else stored.name,
            "parameter": {"id": over.id, "low": over.low, "high": over.high, "unit": over.parameter.unit},
            "conditions": [_described(metric) for metric in judged],
            "largest": largest,
            "answer": None if found.answer is None else {over.id: found.answer.value},
            "reason": found.reason,
            "below": None if found.beside is None else {over.id: found.beside.value},
            "points": [
                {"parameters": {over.id: point.value}, "metrics": _figures(asked, point.metrics)}
                for point in points
            ],
            "not_met_again_at": list(found.broken),
            "only_fluid": [{"queue": queue, "utilization": share} for queue, share in busy.items()],
            "evaluations": found.evaluations,
        }


def _wanted(metrics: tuple[Metric, ...], show: Iterable[str]) -> tuple[Metric, ...]:
    known = {metric.name: metric for metric in metrics}
    names = tuple(show) or tuple(known)
    for name in names:
        if name not in known:
            hint = did_you_mean(name, known)
            raise InvalidInput(
                "FT841", f'the model has no metric "{name}"; it has {", ".join(known)}', hint=hint
            )
    return tuple(known[name] for name in dict.fromkeys(names))


def _described(metric: Metric) -> JSON:
    goal = None if metric.goal is None else str(metric.goal)
    return {"name": metric.name, "formula": metric.formula.text, "unit": metric.unit, "goal": goal}


def _figures(metrics: tuple[Metric, ...], values: Iterable[float]) -> dict[str, float | None]:
    """The metrics by name; a missing one is None."""
    return {m.name: None if value != value else value for m, value in zip(metrics, values, strict=True)}  # noqa: PLR0124
