"""Whether the loop closes: run, export, import, and the same model and series again, bit for bit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from flowtime.core.canonical import JSON
from flowtime.core.series import SeriesSet, same_bits
from flowtime.engine import Evaluation, compile, evaluate
from flowtime.errors import FlowtimeError
from flowtime.formats import FORMATS, Format, format_named
from flowtime.loop import models, runs
from flowtime.loop.exports import export
from flowtime.loop.imports import Brought, bring, publish_telemetry
from flowtime.loop.models import Label, StoredModel
from flowtime.loop.replay import recorded_inputs
from flowtime.loop.runs import effective_seed
from flowtime.loop.samples import Progress, Sampled, sample
from flowtime.loop.series import read_series
from flowtime.model.identity import graph_hash, model_hash
from flowtime.model.spec import Model, PmfNode
from flowtime.registry import Registry


@dataclass(slots=True)
class Verdict:
    """What was checked for one format, and where it failed."""

    format: str
    checks: dict[str, bool] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    digest: str | None = None

    @property
    def ok(self) -> bool:
        """Whether every check passed."""
        return all(self.checks.values())

    def check(self, name: str, passed: bool, problem: str) -> None:
        """Notes one check, and the problem where it failed."""
        self.checks[name] = passed
        if not passed:
            self.problems.append(problem)

    def to_json(self) -> JSON:
        """The verdict as every face shows it."""
        return {"ok": self.ok, "checks": self.checks, "problems": self.problems, "digest": self.digest}


def test_loop(
    registry: Registry,
    stored: StoredModel,
    label: Label,
    formats: Iterable[str],
    seed: int | None,
    folder: Path,
    samples: int | None,
    progress: Progress | None,
) -> JSON:
    """Runs a model of `registry` and verifies the run: `{run_id, ok, formats}`.

    `progress` is told of the steps done, the run and each format, and of all. Raises InvalidInput (FT401) on
    unknown formats.
    """
    names = list(FORMATS) if "all" in formats else list(formats)
    wanted = [format_named(name, FORMATS) for name in names]
    wanted = list(dict.fromkeys(wanted))
    steps = 1 + len(wanted)

    def tell(done: int) -> None:
        if progress is not None:
            progress(done, steps)

    tell(0)
    run = runs.run(registry, stored, label, seed=seed, samples=samples)
    tell(1)
    verdicts = verify(registry, run["id"], wanted, folder, label, verified=lambda done: tell(1 + done))
    return {
        "run_id": run["id"],
        "ok": all(verdict.ok for verdict in verdicts),
        "formats": {verdict.format: verdict.to_json() for verdict in verdicts},
    }


def verify(
    registry: Registry,
    run_id: str,
    formats: Sequence[Format],
    folder: Path,
    label: Label,
    between: Callable[[Path], None] | None = None,
    verified: Callable[[int], None] | None = None,
) -> list[Verdict]:
    """Exports a run in each format into `folder`, imports each file as telemetry, and compares everything.

    `between` is called with each exported file before it is imported, `verified` after each format with how
    many are done.
    """
    model = models.model_in(registry, run_id)
    if model is None:
        raise AssertionError(f"{run_id} has no model")
    series = read_series(registry, run_id)
    catalog = registry.catalog(run_id)
    expected = catalog["data"]["digest"]
    verdicts = []
    for format in formats:
        verdict = Verdict(format.name)
        paths = [folder / name / f"{run_id}{format.extension}" for name in ("first", "second")]
        first, second = [export(registry, run_id, format, path) for path in paths]
        files = [[e.path, e.metadata_path] if e.metadata_path else [e.path] for e in (first, second)]
        same = all(a.read_bytes() == b.read_bytes() for a, b in zip(*files, strict=True))
        if between is not None:
            between(first.path)
        try:
            brought = bring(registry, first.path, None, {})
        except FlowtimeError as error:
            verdict.check("file_accepted", False, str(error))
        else:
            verdict.check("file_accepted", True, "")
            verdict.digest = brought.imported.digest
            verdict.check(
                "digest", brought.imported.digest == expected, f"the digest is {brought.imported.digest}"
            )
            _compare(verdict, model, series, catalog["parameters"], brought)
            telemetry = publish_telemetry(registry, brought, label)
            where = _first_difference(series, read_series(registry, telemetry["id"]))
            verdict.check("stored", where is None, f"the telemetry stored has other values, first at {where}")
        verdict.check("second_export_identical", same, "a second export has other bytes")
        verdicts.append(verdict)
        if verified is not None:
            verified(len(verdicts))
    return verdicts


def _compare(
    verdict: Verdict,
    model: Model,
    series: SeriesSet,
    parameters: Mapping[str, float],
    brought: Brought,
) -> None:
    back = brought.imported.series
    where = _first_difference(series, back)
    verdict.check("values", where is None, f"values differ, first at {where}")
    verdict.check("grid", back.grid == series.grid, f"the grid is {back.grid}, not {series.grid}")
    verdict.check("series", back.keys == series.keys, "components, measures or their order differ")
    verdict.check("units", back.units == series.units, "units differ")
    rebuilt = brought.rebuilt
    if rebuilt is None:
        verdict.check("model", False, "the file rebuilt no model")
        return
    again = rebuilt.model
    graph, whole = graph_hash(again), model_hash(again)
    verdict.check("graph", graph == graph_hash(model), f"dependencies differ: graph_hash is {graph}")
    verdict.check("model", whole == model_hash(model), f"formulas or values differ: model_hash is {whole}")
    verdict.check("distributions", _pmfs(again) == _pmfs(model), "the definition of a pmf differs")
    verdict.check("topology", again.topology == model.topology, "the topology differs")
    verdict.check("names", again.metadata == model.metadata, "title, description or tags differ")
    verdict.check("parameters", rebuilt.parameters == parameters, f"they came back as {rebuilt.parameters}")
    computed: Evaluation | Sampled
    if rebuilt.samples is None:
        given = recorded_inputs(again, rebuilt.bound, back)
        seed = effective_seed(again, rebuilt.seed, rebuilt.bound)
        computed = evaluate(compile(again, parameters=parameters), seed=seed, inputs=given)
    else:
        computed = sample(again, rebuilt.samples, seed=rebuilt.seed, parameters=parameters)
    where = _first_difference(series, computed.series)
    verdict.check("computed_again", where is None, f"the rebuilt model gives other values, first at {where}")


def _pmfs(model: Model) -> dict[str, PmfNode]:
    return {node.id: node for node in model.nodes if isinstance(node, PmfNode)}


def _first_difference(a: SeriesSet, b: SeriesSet) -> str | None:
    """Where two sets differ first, or None where they are the same to the last bit."""
    if a.keys != b.keys or a.grid != b.grid:
        return "another grid, component or measure"
    for key, x, y in zip(a.keys, a.values, b.values, strict=True):
        for bin in range(a.grid.bins) if not same_bits(x, y) else ():
            if not same_bits(x[bin : bin + 1], y[bin : bin + 1]):
                return f"{key}, {a.grid.label(bin)}: {x[bin]!r} became {y[bin]!r}"
    return None
