"""Conditions that a question asks for: the goals of a model, or one in a text such as `peak_wait <= 10`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from flowtime.core.expression import Binary, FormulaSyntaxError, Name, format, names, parse
from flowtime.engine.evaluate import evaluate
from flowtime.engine.metrics import reduce, series_formulas
from flowtime.engine.plan import compile
from flowtime.errors import InvalidInput, did_you_mean
from flowtime.model import given_metrics
from flowtime.model.parameters import set_values
from flowtime.model.spec import Metric, Model, QueueNode

BUSY = 0.85
"""Utilization above which chance makes waits that a fluid queue does not know."""

_COMPARISONS = ("<", "<=", ">", ">=", "==", "!=")
_FLUID = ("wait_mean", "wait_p50", "wait_p95", "wait_p99", "within_slo", "wait_joining")
_FORMS = 'write a metric or a formula, one of < <= > >=, and a number: "peak_wait <= 10"'


def conditions(model: Model, metrics: Sequence[Metric], text: str | None) -> tuple[Metric, ...]:
    """The metrics with the goals that are to be met: those of the model without a `text`.

    Raises InvalidInput (FT841) where the text is not a condition or the model has no goal, FT222 where its
    formula is not one of a metric.
    """
    if text is None:
        found = tuple(metric for metric in metrics if metric.goal is not None)
        if not found:
            raise InvalidInput(
                "FT841", "the model has no goal, so it has to be said what to meet", hint=_FORMS
            )
        return found
    known = {metric.name: metric for metric in metrics}
    try:
        tree = parse(text)
    except FormulaSyntaxError as error:
        raise InvalidInput("FT841", f'"{text[:200]}" is not a condition: {error}', hint=_FORMS) from error
    if not isinstance(tree, Binary) or tree.operator not in _COMPARISONS:
        raise InvalidInput("FT841", f'"{text[:200]}" is not a condition', hint=_FORMS)
    name, formula = "asked", format(tree.left)
    document: dict[str, object] = {"formula": formula, "goal": f"{tree.operator} {format(tree.right)}"}
    if isinstance(tree.left, Name):
        name = tree.left.id
        if name not in known:
            hint = did_you_mean(name, known) or f'a series becomes a number like this: "PEAK({name}) <= 10"'
            named = f"it has {', '.join(known)}" if known else "it has none"
            raise InvalidInput("FT841", f'the model has no metric "{name}"; {named}', hint=hint)
        metric = known[name]
        said = {"formula": metric.formula.text, "unit": metric.unit, "title": metric.title}
        document |= {key: value for key, value in said.items() if value is not None}
    return given_metrics(model, {name: document})


def busy_queues(
    model: Model, judged: Sequence[Metric], parameters: Mapping[str, float | str], seed: int | None
) -> dict[str, float]:
    """The queues whose fluid waits, which know no chance, decide the conditions, and that are busier than
    85 % in some bin at these values: their largest utilization, by id.
    """
    read = {name.id for metric in judged for name in names(metric.formula.tree)}
    queues = [
        node.id
        for node in model.nodes
        if isinstance(node, QueueNode) and any(f"{node.id}.{measure}" in read for measure in _FLUID)
    ]
    if not queues:
        return {}
    peaks = given_metrics(model, {f"busy_{id}": f"PEAK({id}.utilization)" for id in queues})
    values = set_values(model.parameters, parameters)
    series = evaluate(compile(model, parameters=values, extra=series_formulas(peaks)), seed=seed).extra
    found = zip(queues, reduce(peaks, series, values), strict=True)
    return {id: peak.value for id, peak in found if peak.value > BUSY}
