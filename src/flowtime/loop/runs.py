"""Runs as artifacts: a model evaluated, its series and what they were made from."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import asdict
from typing import Any

from flowtime.core import canonical
from flowtime.core.canonical import JSON
from flowtime.engine import SEMANTICS_VERSION, Evaluation, Plan, compile, evaluate
from flowtime.engine.metrics import series_formulas
from flowtime.errors import Diagnostic
from flowtime.formats.digest import digest
from flowtime.loop.metrics import MAX_LISTED, figures, metrics_of
from flowtime.loop.models import MODEL_FILE, Label, StoredModel, topology
from flowtime.loop.replay import Replay
from flowtime.loop.samples import Progress, Sampled, sample
from flowtime.loop.series import DATA_FILE, measures, write_series
from flowtime.model.identity import graph_hash, model_hash
from flowtime.model.parameters import set_values
from flowtime.model.spec import Model, PmfNode
from flowtime.model.writer import dump, to_document
from flowtime.registry import Registry
from flowtime.registry.catalog import Catalog, Data
from flowtime.version import ENGINE_VERSION
from flowtime.wanted import still_wanted


def run(
    registry: Registry,
    stored: StoredModel,
    label: Label,
    *,
    seed: int | None = None,
    deterministic: bool = False,
    replay: Replay | None = None,
    samples: int | None = None,
    workers: int | None = None,
    parameters: Mapping[str, float | str] | None = None,
    metrics: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> JSON:
    """The catalog of a new run of the model, with telemetry in the place of its inputs where it is a replay.

    `seed` comes before the document's. With `deterministic` the id is made from the inputs, and a run
    of the same inputs is found instead of made again. With `samples` the run holds the statistics of so
    many samples, see `loop.samples`, as `workers` and `progress` do. `parameters` are values for some of the
    model's, `metrics` formulas beside its own.
    """
    began = time.perf_counter()
    model = stored.model if replay is None else replay.model
    inputs = {} if replay is None else replay.inputs
    values = set_values(model.parameters, parameters or {})
    asked = metrics_of(model, metrics or {})
    plan = compile(model, inputs.keys(), parameters=values, extra=series_formulas(asked))
    compiled = time.perf_counter()
    evaluation: Evaluation | Sampled
    if samples is None:
        evaluation = evaluate(plan, seed=seed, inputs=inputs)
        told = figures(asked, evaluation.extra, values, model.grid)
    else:
        evaluation = sample(
            model,
            samples,
            seed=seed,
            workers=workers,
            progress=progress,
            parameters=parameters,
            metrics=asked,
        )
        told = evaluation.metrics
    evaluated = time.perf_counter()
    used = effective_seed(model, seed, inputs, samples)
    fixed = values if samples is None else certain_values(model, parameters or {})
    identity = model_hash(model)
    text = stored.text if model == stored.model else dump(to_document(model))
    warned = (*model.warnings, *(() if replay is None else replay.warnings), *evaluation.warnings)
    with registry.stage("run") as staging:
        series = evaluation.series
        staging.hashes[DATA_FILE] = write_series(series, staging.path / DATA_FILE)
        (staging.path / MODEL_FILE).write_text(text, encoding="utf-8")
        data = Data(rows=series.rows, series=len(series), digest=digest(series))
        written = time.perf_counter()
        catalog = Catalog(
            kind="run",
            name=label.name,
            description=label.description,
            tags=list(dict.fromkeys(label.tags)),
            owner=label.owner,
            visibility=label.visibility,
            source="engine",
            engine_version=ENGINE_VERSION,
            model_id=stored.id,
            model_version=stored.version,
            model_hash=identity,
            graph_hash=graph_hash(model),
            inputs_hash=inputs_hash(identity, used, replay, samples, fixed),
            seed=used,
            samples=samples,
            parameters=fixed,
            metrics=told[:MAX_LISTED],
            other_metrics=told[MAX_LISTED:],
            grid=model.grid.to_json(),
            capabilities=capabilities(model, plan, samples),
            parents=stored.parents if replay is None else [*stored.parents, replay.telemetry],
            bound=[] if replay is None else [asdict(entry) for entry in replay.bound],
            kept=[] if replay is None else [asdict(entry) for entry in replay.kept],
            compared=[] if replay is None else [asdict(entry) for entry in replay.compared(series)],
            unbound=[] if replay is None else [asdict(entry) for entry in replay.unbound],
            data=data,
            topology=topology(model),
            nodes=[node.id for node in model.nodes],
            measures=measures(series),
            warnings=[w.to_json() for w in distinct(warned)],
            stats={
                "nodes": len(model.nodes),
                "compile_seconds": round(compiled - began, 6),
                "evaluate_seconds": round(evaluated - compiled, 6),
                "write_seconds": round(written - evaluated, 6),
            },
            provenance=dict(model.provenance),
        )
        still_wanted()
        return staging.publish(catalog, deterministic=deterministic)


def effective_seed(
    model: Model, seed: int | None, bound: Collection[str] = (), samples: int | None = None
) -> int | None:
    """The seed that a run uses: the given one, else the model's; None where nothing is drawn."""
    drawn = samples is not None or _sampled(model, bound)
    return (model.seed if seed is None else seed) if drawn else None


def _sampled(model: Model, bound: Collection[str]) -> bool:
    return any(isinstance(node, PmfNode) and node.sampled and node.id not in bound for node in model.nodes)


def certain_values(model: Model, parameters: Mapping[str, float | str]) -> dict[str, float]:
    """The values of the parameters that are the same in every sample: the given ones, and those without a
    spread.
    """
    values = set_values(model.parameters, parameters)
    drawn = model.spread(parameters)
    return {id: value for id, value in values.items() if id not in drawn}


def inputs_hash(
    model: str,
    seed: int | None,
    replay: Replay | None,
    samples: int | None,
    parameters: Mapping[str, float | str],
    semantics: int = SEMANTICS_VERSION,
) -> str:
    """`sha256:...` of all that decides what a run holds: model hash, seed, engine semantics, the digest of
    each bound series by node id; of a replay also of the series that it compares, the number of samples
    of a run that has them, and the values of parameters that are not drawn.
    """
    telemetry = {} if replay is None else dict(replay.digests)
    inputs: JSON = {"model": model, "seed": seed, "telemetry": telemetry, "engine": semantics}
    if replay is not None and replay.measured_digest is not None:
        inputs["compared"] = replay.measured_digest
    if samples is not None:
        inputs["samples"] = samples
    if parameters:
        inputs["parameters"] = dict(parameters)
    return canonical.hash_of(inputs)


def capabilities(model: Model, plan: Plan, samples: int | None = None) -> list[str]:
    """What the run's data can tell."""
    words = ["counts"]
    if samples is not None:
        names = list(dict.fromkeys(key.measure for key, _ in model.recorded()))
        # Latencies have their unit in their name, and are asked for without it.
        names += ["latency"] if any(name.startswith("latency_") for name in names) else []
        words += [f"{name}.quantiles" for name in dict.fromkeys(names)]
    if plan.has_feedback:
        words.append("feedback")
    if samples is not None or _sampled(model, plan.inputs):
        words.append("sampled")
    if plan.inputs:
        words.append("replay")
    return words


def distinct(warnings: tuple[Diagnostic, ...]) -> tuple[Diagnostic, ...]:
    """The warnings in order, each once."""
    return tuple(dict.fromkeys(warnings))
