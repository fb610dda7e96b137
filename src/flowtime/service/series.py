"""Use cases of the loop: run, export, import, look at, compare, verify."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Unpack

from flowtime.errors import FlowtimeError, InvalidInput
from flowtime.registry.document import JSON
from flowtime.service.models import Models
from flowtime.service.options import Charts, Exports, Imports, Labels, Stretch, hold_known
from flowtime.wording import option

if TYPE_CHECKING:
    from flowtime.analysis.chart import Chart
    from flowtime.formats.export import WriteWorkbook
    from flowtime.loop.models import StoredModel


class Series(Models):
    """What can be done with runs and telemetry."""

    def run(
        self,
        model: StoredModel | str | None,
        *,
        telemetry: str | None = None,
        bind: Iterable[str] = (),
        require: Iterable[str] = (),
        name: str | None = None,
        seed: int | None = None,
        deterministic: bool = False,
        scenario: str | None = None,
        samples: int | None = None,
        workers: int | None = None,
        parameters: Mapping[str, float | str] | None = None,
        metrics: Mapping[str, str | Mapping[str, Any]] | None = None,
        new: bool = False,
        progress: Callable[[int, int], object] | None = None,
        **label: Unpack[Labels],
    ) -> JSON:
        """A run artifact of a model, which may be a file or a StoredModel: that is registered first.

        Returns the run's catalog. A file that was edited is the next version of the user's model that came
        from it, unless it must be `new`; `notes` say what became of it. With `scenario` the model derived
        from it runs. With `telemetry` its series take the place of the model's inputs of the same names, and
        each of `bind` as `component.measure=node`; it has to measure each of `require`, and what it does not
        measure keeps the model's values. Without `model` the one that came back with the telemetry runs. With
        `samples` it holds the mean and quantiles of so many samples, computed by `workers` threads;
        `progress` is told of those done and of all. `parameters` sets some of the model's; of the model that
        came back with telemetry, the others have the values that came back. `metrics` are formulas by name,
        beside the model's own.
        """
        from flowtime.loop import replay as replays
        from flowtime.loop import runs

        bindings, required, notes = tuple(bind), tuple(require), list[str]()
        _check_run(model, telemetry, (*bindings, *required), samples)
        if scenario is not None and model is not None:
            derived = self.derive_model(model, scenario=scenario, new=new)
            model, new = derived["reference"], False
            notes += derived["notes"]
        stored = None if model is None else self._model(model, publish=True, new=new)
        replay = None
        if telemetry is not None:
            id = self.registry.resolve(telemetry, ("telemetry",), notes.append)
            stored, replay = replays.replay(self.registry, id, stored, bindings, required)
            if model is None:
                parameters = {**(self.registry.catalog(id).get("parameters") or {}), **(parameters or {})}
        assert stored is not None
        labelled = self._label(name or f"{stored.name}_{'run' if replay is None else 'replay'}", **label)
        published = runs.run(
            self.registry,
            stored,
            labelled,
            seed=seed,
            deterministic=deterministic,
            replay=replay,
            samples=samples,
            workers=workers,
            parameters=parameters,
            metrics=metrics,
            progress=progress,
        )
        return self._shown(published["id"], (*notes, *stored.notes))

    def export(self, reference: str, format: str | None, path: str, **options: Unpack[Exports]) -> JSON:
        """Series as a file: `{run_id, format, path, metadata_path, rows, series, bytes, digest, notes}`.

        Without a `format` the path's suffix tells it. A `path` that ends with a separator, or is a folder,
        gets a file named after the artifact.
        `options` are `embed` and `progress` of `formats.export.export_file`.
        """
        hold_known("export", options, Exports)
        from flowtime.formats import check_name, format_named, format_of
        from flowtime.formats.files import translated
        from flowtime.loop import exports

        wanted = format_of(path) if format is None else format_named(format)
        check_name(path, wanted)
        notes: list[str] = []
        id = self.registry.resolve(reference, ("run", "telemetry"), notes.append)
        target = Path(path)
        with translated(path):
            if path.endswith("/") or target.is_dir():
                target /= id + wanted.extension
        workbook = _workbook(wanted.name)
        exported = exports.export(self.registry, id, wanted, target, workbook=workbook, **options)
        return {
            "run_id": id,
            "format": wanted.name,
            "path": str(exported.path),
            "metadata_path": None if exported.metadata_path is None else str(exported.metadata_path),
            **{name: getattr(exported, name) for name in ("rows", "series", "bytes", "digest")},
            "notes": notes,
        }

    def export_to(self, reference: str, format: str, stream: BinaryIO, **options: Unpack[Exports]) -> JSON:
        """Series written to an open binary stream, without a sidecar: `{run_id, notes}`; `options` as for
        `export`.
        """
        from flowtime.formats import format_named
        from flowtime.loop import exports

        wanted, notes = format_named(format), list[str]()
        id = self.registry.resolve(reference, ("run", "telemetry"), notes.append)
        workbook = _workbook(wanted.name)
        exports.export_to(self.registry, id, wanted, stream, workbook=workbook, **options)
        return {"run_id": id, "notes": notes}

    def export_pieces(self, id: str, format: str) -> Generator[bytes | memoryview, None, None]:
        """Plain CSV or NDJSON of an artifact with this full id, piece by piece, in little memory.

        Raises Unavailable (FT805) before the last piece where the artifact was damaged.
        """
        from flowtime.formats import format_named
        from flowtime.loop import exports

        return exports.plain_pieces(self.registry, id, format_named(format))

    def export_into(self, id: str, format: str, file: BinaryIO, **options: Unpack[Exports]) -> None:
        """Series with their metadata written into an empty file, in little memory where the format allows;
        `options` as for `export`.
        """
        from flowtime.formats import format_named
        from flowtime.loop import exports

        wanted = format_named(format)
        workbook = _workbook(wanted.name)
        exports.write_into(self.registry, id, wanted, file, workbook=workbook, **options)

    def describe_export(self, reference: str, format: str, *, embed: bool = False) -> JSON:
        """What an export will be: `{id, kind, format, extension, media_type, sidecar, rows, digest, etag}`.

        Plain CSV is the artifact's own `file`, with so many `bytes`; both are None for other formats.
        Raises InvalidInput where the format has no room to `embed` metadata (FT418) or for the table (FT419).
        """
        from flowtime.formats import GOLD, format_named
        from flowtime.formats.export import check_embed, check_size
        from flowtime.loop.exports import state
        from flowtime.loop.series import DATA_FILE, table_of

        id, wanted = self.registry.resolve(reference, ("run", "telemetry")), format_named(format)
        check_embed(wanted, embed)
        catalog = table_of(self.registry, id)
        check_size(wanted, catalog["grid"]["bins"], len(catalog["measures"]))
        sizes = {content["name"]: content["bytes"] for content in catalog["contents"]}
        return {
            "id": id,
            "kind": catalog["kind"],
            "format": wanted.name,
            **{key: getattr(wanted, key) for key in ("extension", "media_type", "sidecar")},
            "rows": catalog["data"]["rows"],
            "digest": catalog["data"]["digest"],
            "file": DATA_FILE if wanted is GOLD else None,
            "bytes": sizes.get(DATA_FILE) if wanted is GOLD else None,
            "etag": state(self.registry, id, wanted, embed=embed),
        }

    def export_metadata(self, reference: str, format: str) -> JSON:
        """The sidecar of an export as plain data; raises InvalidInput (FT418) where the format has none."""
        from flowtime.formats import format_named
        from flowtime.loop import exports

        id, wanted = self.registry.resolve(reference, ("run", "telemetry")), format_named(format)
        return exports.sidecar(self.registry, id, wanted)

    def series(self, reference: str, **wanted: Unpack[Charts]) -> Chart:
        """Series of a run or telemetry as an `analysis.chart.Chart`, which has `to_json` and `to_bytes`.

        `wanted` are the options of `loop.views.chart_of`.
        """
        from flowtime.loop import views

        id = self.registry.resolve(reference, ("run", "telemetry"))
        return views.chart_of(self.registry, id, self._recent, **wanted)

    def overlay(
        self, baseline: str, comparison: str, *, component: str, measure: str, **wanted: Unpack[Stretch]
    ) -> Chart:
        """One series of two runs or telemetry, and their difference, as an `analysis.chart.Chart`.

        `wanted` are the options of `loop.views.overlay_of`.
        """
        from flowtime.loop import views

        ids = [self.registry.resolve(reference, ("run", "telemetry")) for reference in (baseline, comparison)]
        return views.overlay_of(
            self.registry, ids[0], ids[1], self._recent, component=component, measure=measure, **wanted
        )

    @staticmethod
    def sidecar_of(path: Path) -> Path:
        """Where the metadata of a data file lies."""
        from flowtime.formats.metadata import sidecar_path

        return sidecar_path(path)

    def import_data(
        self,
        source: Path | BinaryIO,
        *,
        name: str | None = None,
        model: str | None = None,
        run: str | None = None,
        dry_run: bool = False,
        tags: tuple[str, ...] = (),
        description: str | None = None,
        owner: str | None = None,
        visibility: str | None = None,
        format: str | None = None,
        grid: str | None = None,
        errors: Path | None = None,
        **options: Unpack[Imports],
    ) -> JSON:
        """A telemetry artifact from a file: its catalog, and how it was `recognised`, whether its model was
        `rebuilt`, the `conformance` to that, and what the `import` inferred, filled in or moved.

        `model` is the one that the data belongs to, `run` the artifact whose export a lone file is, `options`
        are those of `formats.telemetry.import_file`. With `dry_run` everything is checked and nothing stored;
        the result then says what was found, with the first rows. `errors` is a CSV file for the rows that are
        not as they should be.
        """
        from flowtime.formats import FORMATS, format_named
        from flowtime.loop import imports

        belongs = None if model is None else self._model(model)
        exported = None if run is None else self.registry.resolve(run, ("run", "telemetry"))
        hold_known("import", options, Imports)
        read = {
            **options,
            "format": None if format is None else format_named(format, FORMATS),
            "grid": None if grid is None else imports.read_grid(grid),
        }
        with _problems_in(errors):
            brought = imports.bring(self.registry, source, belongs, read, exported)
        if dry_run:
            return {**brought.to_json(), **brought.sight()}
        if (tell := options.get("progress")) is not None:
            # The last moment for somebody who watches to stop it.
            tell(brought.imported.series.rows, 1.0)
        label = self._label(
            name or "telem", tags=tags, description=description, owner=owner, visibility=visibility
        )
        published = imports.publish_telemetry(self.registry, brought, label)
        return {**self._shown(published["id"]), **brought.to_json()}

    def test_loop(
        self,
        model: StoredModel | str,
        *,
        formats: Iterable[str] = ("all",),
        seed: int | None = None,
        samples: int | None = None,
        keep: bool = False,
        progress: Callable[[int, int], object] | None = None,
    ) -> JSON:
        """Run, export, import, verify: `{model_id, run_id, kept, ok, formats: {NAME: {ok, checks, ...}}}`.

        Works in a scratch registry, and leaves only its verdict in the model's catalog, unless `keep`: the
        run with the id `run_id` exists afterwards only where it was `kept`.
        `progress` is told of the steps done and of all.
        """
        from flowtime.loop import models, verify

        # A model that was loaded from a file is registered, as it is for a run.
        loaded = isinstance(model, models.StoredModel)
        stored = self._model(model, publish=keep or loaded)
        label = self._label(f"{stored.name}_loop")
        with tempfile.TemporaryDirectory(prefix="flowtime-") as scratch:
            apart = type(self)(replace(self.settings, artifacts=f"{scratch}/artifacts", cache=Path(scratch)))
            with (self if keep else apart).registry as registry:
                there = stored if keep else apart._published(stored)
                report = verify.test_loop(
                    registry, there, label, formats, seed, Path(scratch), samples, progress
                )
        known = {"model_id": stored.id or stored.name, "model_version": stored.version}
        if stored.id is not None:
            self._record(stored.reference, report)
        return {**known, "run_id": report["run_id"], "kept": keep, **report, "notes": [*stored.notes]}

    def _record(self, id: str, report: JSON) -> None:
        """Notes the formats whose loop closed in the model's catalog, where that may be changed."""
        if not self.registry.may_change(id):
            return
        now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        for name, verdict in report["formats"].items():
            if verdict["ok"]:
                self.registry.record_loop(id, name, verdict["digest"], now)

    def compare(
        self,
        baseline: str,
        comparison: str,
        threshold: str | float | Iterable[str | float] | None = None,
        *,
        by: str | None = None,
        allow_missing: bool = False,
    ) -> JSON:
        """Two runs or telemetry series by series: `{baseline, comparison, aligned, series, ...}`.

        Of two models `{baseline, comparison, model, within_threshold}`; only equal ones are within one.
        `threshold`, `by` and `allow_missing` are those of `analysis.gate.gate`.
        """
        from flowtime.analysis.gate import gate
        from flowtime.loop.comparison import comparable, compare_models, compare_series

        judge = gate(threshold, by, allow_missing)
        kind = comparable(self.registry, baseline, comparison, self._is_file)
        if kind == "model":
            models = (self._model(baseline), self._model(comparison))
            return compare_models(*models, (baseline, comparison), judge)
        return compare_series(self.registry, baseline, comparison, judge)

    @staticmethod
    def check_threshold(threshold: Iterable[str]) -> None:
        """Raises InvalidInput (FT803) for what `compare` cannot read as a threshold."""
        from flowtime.analysis.gate import gate

        gate(threshold)


def _check_run(
    model: object, telemetry: str | None, of_telemetry: tuple[str, ...], samples: int | None
) -> None:
    if telemetry is None and (model is None or of_telemetry):
        raise InvalidInput(
            "FT803",
            f"a run needs a model or telemetry ({option('model')}, {option('telemetry')}); "
            f"{option('bind')} and {option('require')} need {option('telemetry')}",
        )
    if telemetry is not None and samples is not None:
        raise InvalidInput(
            "FT803",
            f"{option('telemetry')} gives the inputs, {option('samples')} draws them; take one of them",
        )


def _workbook(format: str) -> WriteWorkbook | None:
    """What writes workbooks; their library is imported for them alone."""
    if format != "xlsx":
        return None
    from flowtime.formats.workbook import write_workbook

    return write_workbook


@contextmanager
def _problems_in(path: Path | None) -> Iterator[None]:
    """Writes the problems of an import to a CSV file, which has none where nothing was wrong."""
    from flowtime.formats.files import write_file
    from flowtime.formats.problems import problem_table

    try:
        yield
    except FlowtimeError as error:
        if path is not None:
            write_file(path, problem_table(error))
        raise
    if path is not None:
        write_file(path, problem_table(None))
