"""What flowtime can do: one short method for each use case, the same for every face.

Results are plain JSON data. The engine, the table library and what else is slow to import are imported
by the methods that need them, so that finding and showing artifacts starts at once.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

from flowtime.errors import Conflict, FlowtimeError, InvalidInput
from flowtime.registry import Progress, Query, Registry
from flowtime.registry.document import JSON
from flowtime.registry.query import SORTS
from flowtime.settings import Settings

__all__ = ["SORTS", "Flowtime"]


class Flowtime:
    """All use cases over one registry."""

    def __init__(self, settings: Settings, progress: Progress | None = None) -> None:
        """Nothing is opened before it is needed. `progress` is told of the reading of many artifacts."""
        self.settings = settings
        self.progress = progress

    @cached_property
    def registry(self) -> Registry:
        """The registry that the settings name."""
        return Registry.open(self.settings.artifacts, cache_dir=self.settings.cache, progress=self.progress)

    def at(self, root: str) -> Flowtime:
        """The same use cases over another registry."""
        return Flowtime(replace(self.settings, artifacts=root), self.progress)

    # -- finding and looking ---------------------------------------------------------------------------

    def find(self, **query: Any) -> JSON:
        """A page of artifacts: `{artifacts, total, page, size}`. Takes the fields of a Query."""
        return self.registry.find(Query(**query)).to_json()

    def trash(self) -> JSON:
        """What is in the trash, newest first: `{artifacts, total, page, size}`, all on one page."""
        found = self.registry.trash()
        return {"artifacts": found, "total": len(found), "page": 1, "size": len(found)}

    def show(self, reference: str) -> JSON:
        """An artifact's catalog, with its lineage, the paths of its files, and its folder."""
        return self._shown(self.registry.resolve(reference))

    def _shown(self, id: str) -> JSON:
        catalog, folder = self.registry.catalog(id), self.registry.folder(id)
        names = ("catalog.json", *(content["name"] for content in catalog["contents"]))
        files = {name: f"{folder}/{name}" for name in names}
        return {**catalog, "lineage": self.registry.lineage(id), "folder": folder, "files": files}

    def link(self, reference: str) -> JSON:
        """The address of an artifact's page: `{id, url}`."""
        id = self.registry.resolve(reference)
        return {"id": id, "url": f"{self.settings.server}/artifacts/{id}"}

    # -- labelling and removing ------------------------------------------------------------------------

    def tag(self, reference: str, add: Iterable[str], remove: Iterable[str]) -> JSON:
        """Adds and removes tags; returns the catalog."""
        return self.registry.tag(self.registry.resolve(reference), add, remove)

    def edit(self, reference: str, **fields: Any) -> JSON:
        """Changes name, description, owner, visibility or star; returns the catalog."""
        return self.registry.edit(self.registry.resolve(reference), **fields)

    def delete(self, id: str, *, confirm: bool, force: bool = False) -> JSON:
        """Moves an artifact to the trash: `{id, deleted, dependants}`. Takes full ids only.

        Raises Conflict: FT802 without `confirm`, FT505 where others were made from it and not `force`.
        """
        if self.registry.catalog(id)["id"] != id:
            raise InvalidInput(
                "FT502", f"{id} is one version of a model", hint="only all of them can be deleted"
            )
        dependants = [child["id"] for child in self.registry.dependants(id)]
        if not confirm:
            used = f"; made from it: {', '.join(dependants)}" if dependants else ""
            raise Conflict("FT802", f"{id} would go to the trash{used}", hint="add --confirm to delete it")
        self.registry.delete(id, force=force)
        return {"id": id, "deleted": True, "dependants": dependants}

    def restore(self, id: str) -> JSON:
        """Brings an artifact back from the trash; returns its catalog."""
        return self._shown(self.registry.restore(id))

    def purge(self, id: str | None, *, confirm: bool) -> JSON:
        """Removes one artifact, or everything, from the trash for good: `{purged}`.

        Raises Conflict (FT802) without `confirm`.
        """
        if not confirm:
            waiting = [item["id"] for item in self.registry.trash() if id in (None, item["id"])]
            what = ", ".join(waiting) or "nothing"
            raise Conflict("FT802", f"{what} would be removed for good", hint="add --confirm to remove it")
        return {"purged": self.registry.purge(id)}

    # -- the index ---------------------------------------------------------------------------------------

    def rebuild_index(self) -> JSON:
        """Makes the index anew: `{artifacts, seconds, broken, foreign}`."""
        rebuilt = self.registry.rebuild()
        return {name: getattr(rebuilt, name) for name in ("artifacts", "seconds", "broken", "foreign")}

    def verify_index(self) -> JSON:
        """Every artifact hashed again: `{artifacts, files, bytes, seconds, ok, findings}`."""
        from flowtime.registry.verify import verify

        return verify(self.registry, self.progress).to_json()

    def index_status(self) -> JSON:
        """The registry and its index in numbers, and what storage holds that cannot be read."""
        return self.registry.status()

    # -- authoring ---------------------------------------------------------------------------------------

    def templates(self) -> list[JSON]:
        """All templates, with parameters and scenarios."""
        from flowtime.sim import templates

        return [template.to_json() for template in templates.templates(self.settings.templates)]

    def template(self, id: str) -> JSON:
        """One template, with parameters, scenarios and the `layers` of the model that its defaults give."""
        from flowtime.model.drawing import layers

        template = self._template(id)
        return {**template.to_json(), "layers": layers(template.read(template.fill()))}

    def create_model(
        self,
        template: str,
        *,
        name: str | None = None,
        settings: Iterable[str] = (),
        params: Path | None = None,
        scenario: str | None = None,
        update: str | None = None,
        **label: Any,
    ) -> JSON:
        """A model artifact from a template; returns its catalog."""
        from flowtime.loop import authoring, models

        text, model = authoring.fill(self._template(template), settings, params, scenario, None)
        update = None if update is None else self.registry.resolve(update, ("model",))
        published = models.publish(
            self.registry, text, model, self._label(name or template, **label), update=update
        )
        return self._shown(published["id"])

    def derive_model(
        self,
        source: str,
        *,
        name: str | None = None,
        settings: Iterable[str] = (),
        params: Path | None = None,
        scenario: str | None = None,
        update: bool = False,
        **label: Any,
    ) -> JSON:
        """A model artifact from a model with changes (`update`: its next version); returns its catalog."""
        from flowtime.loop import authoring, models

        parent = self._model(source, publish=True)
        text, model = authoring.derive(parent, settings, params, scenario, self.settings.templates)
        named = self._label(
            name or (parent.name if update else f"{parent.name}-{scenario or 'derived'}"), **label
        )
        published = models.publish(
            self.registry, text, model, named, update=parent.id if update else None, parents=parent.parents
        )
        return self._shown(published["id"])

    def write_template(
        self,
        template: str,
        path: Path,
        *,
        name: str | None = None,
        settings: Iterable[str] = (),
        params: Path | None = None,
        scenario: str | None = None,
    ) -> JSON:
        """A filled template as a plain model file: `{path}`."""
        from flowtime.formats.files import write_file
        from flowtime.loop import authoring

        text, _ = authoring.fill(self._template(template), settings, params, scenario, name)
        write_file(path, text.encode())
        return {"path": str(path)}

    def _template(self, id: str) -> Any:
        from flowtime.sim import templates

        return templates.template(id, self.settings.templates)

    def validate(self, path: Path) -> JSON:
        """What a model or template file holds, checked but not stored: `{kind, nodes, warnings, ...}`."""
        from flowtime.loop import authoring

        return authoring.check(path)

    def explain(self, model: str) -> JSON:
        """How a model is computed: `{plan, text}`."""
        from flowtime.engine import compile

        plan = compile(self._model(model).model)
        return {"plan": plan.to_json(), "text": plan.describe()}

    # -- the loop ------------------------------------------------------------------------------------------

    def run(
        self,
        model: str | None,
        *,
        telemetry: str | None = None,
        bind: Iterable[str] = (),
        name: str | None = None,
        seed: int | None = None,
        deterministic: bool = False,
        scenario: str | None = None,
        samples: int | None = None,
        workers: int | None = None,
        progress: Callable[[int, int], object] | None = None,
        **label: Any,
    ) -> JSON:
        """A run artifact of a model, which may be a file: that is registered first. Returns its catalog.

        With `scenario` the model derived from it runs. With `telemetry` its series take the place of the
        model's inputs, each of `bind` as `component.measure=node`; without `model` the one that came
        back with the telemetry runs. With `samples` it holds the mean and quantiles of so many samples,
        computed by `workers` processes; `progress` is told of those done and of all.
        """
        from flowtime.loop import exchange, runs

        bindings = tuple(bind)
        if telemetry is None and (model is None or bindings):
            raise InvalidInput("FT803", "a run needs --model or --telemetry, and --bind needs --telemetry")
        if telemetry is not None and samples is not None:
            raise InvalidInput(
                "FT803", "--telemetry gives the inputs, --samples draws them; take one of them"
            )
        if scenario is not None and model is not None:
            model = self.derive_model(model, scenario=scenario)["id"]
        stored: Any = None if model is None else self._model(model, publish=True)
        replay = None
        if telemetry is not None:
            id = self.registry.resolve(telemetry, ("telemetry",))
            stored, replay = exchange.replay(self.registry, id, stored, bindings)
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
            progress=progress,
        )
        return self._shown(published["id"])

    def export(self, reference: str, format: str, path: str, **options: Any) -> JSON:
        """Series as a file: `{run_id, format, path, metadata_path, rows, series, bytes, digest}`.

        A `path` that ends with a separator, or is a folder, gets a file named after the artifact.
        `options` are `embed` and `progress` of `formats.export.export_file`.
        """
        from flowtime.formats import format_named
        from flowtime.formats.files import translated
        from flowtime.loop import exchange

        id, wanted = self.registry.resolve(reference, ("run", "telemetry")), format_named(format)
        target = Path(path)
        with translated(path):
            if path.endswith("/") or target.is_dir():
                target /= id + wanted.extension
        options |= _workbook(wanted.name)
        exported = exchange.export(self.registry, id, wanted, target, **options)
        return {
            "run_id": id,
            "format": wanted.name,
            "path": str(exported.path),
            "metadata_path": None if exported.metadata_path is None else str(exported.metadata_path),
            **{name: getattr(exported, name) for name in ("rows", "series", "bytes", "digest")},
        }

    def export_to(self, reference: str, format: str, stream: BinaryIO, **options: Any) -> None:
        """Series written to an open binary stream, without a sidecar; `options` as for `export`."""
        from flowtime.formats import format_named
        from flowtime.loop import exchange

        id, wanted = self.registry.resolve(reference, ("run", "telemetry")), format_named(format)
        exchange.export_to(self.registry, id, wanted, stream, **options, **_workbook(wanted.name))

    def import_data(
        self,
        source: Path | BinaryIO,
        *,
        name: str | None = None,
        model: str | None = None,
        dry_run: bool = False,
        tags: tuple[str, ...] = (),
        description: str | None = None,
        owner: str | None = None,
        visibility: str | None = None,
        format: str | None = None,
        grid: str | None = None,
        errors: Path | None = None,
        **options: Any,
    ) -> JSON:
        """A telemetry artifact from a file: its catalog with `rebuilt`, `conformance` and `import`.

        `options` are those of `formats.telemetry.import_file`. With `dry_run` everything is checked and
        nothing stored; the result then says what was found. `errors` is a CSV file for the rows that are
        not as they should be.
        """
        from flowtime.formats import FORMATS, format_named
        from flowtime.loop import exchange

        belongs = None if model is None else self._model(model)
        options |= {
            "format": None if format is None else format_named(format, FORMATS),
            "grid": None if grid is None else exchange.read_grid(grid),
        }
        with _problems_in(errors):
            brought = exchange.bring(self.registry, source, belongs, options)
        if dry_run:
            return brought.to_json()
        label = self._label(
            name or "telem", tags=tags, description=description, owner=owner, visibility=visibility
        )
        published = exchange.publish_telemetry(self.registry, brought, label)
        return {**self._shown(published["id"]), **brought.to_json()}

    def test_loop(
        self,
        model: str,
        *,
        formats: Iterable[str] = ("all",),
        seed: int | None = None,
        samples: int | None = None,
        keep: bool = False,
    ) -> JSON:
        """Run, export, import, verify: `{model_id, run_id, ok, formats: {name: {ok, checks, problems}}}`.

        Works in a scratch registry, and leaves only its verdict in the model's catalog, unless `keep`.
        """
        from flowtime.loop import models, verify

        stored = self._model(model, publish=keep)
        label = self._label(f"{stored.name}_loop")
        with tempfile.TemporaryDirectory(prefix="flowtime-") as scratch:
            apart = replace(self.settings, artifacts=f"{scratch}/artifacts", cache=Path(scratch))
            with (self if keep else Flowtime(apart)).registry as registry:
                report = verify.test_loop(registry, stored, label, formats, seed, Path(scratch), samples)
        if not models.is_file(model) or keep:
            self._record(f"{stored.id}@v{stored.version}", report)
        return report

    def _record(self, id: str, report: JSON) -> None:
        """Notes the formats whose loop closed in the model's catalog."""
        now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        for name, verdict in report["formats"].items():
            if verdict["ok"]:
                self.registry.record_loop(id, name, verdict["digest"], now)

    def compare(self, baseline: str, comparison: str, threshold: float | None = None) -> JSON:
        """Two runs or telemetry series by series: `{baseline, comparison, aligned, series, ...}`.

        Of two models `{baseline, comparison, model, within_threshold}`; only equal ones are within one.
        """
        from flowtime.loop.comparison import comparable, compare_models, compare_series

        kind = comparable(self.registry, baseline, comparison)
        if kind == "model":
            models = (self._model(baseline), self._model(comparison))
            return compare_models(*models, (baseline, comparison), threshold)
        return compare_series(self.registry, baseline, comparison, threshold)

    def _model(self, reference: str, *, publish: bool = False) -> Any:
        """The model that a person means, as a StoredModel; a file becomes an artifact with `publish`."""
        from flowtime.loop import models

        if not models.is_file(reference):
            return models.read(self.registry, reference)
        path = Path(reference)
        text, model = models.read_file(path)
        name = model.metadata.id or path.stem
        if not publish:
            return models.StoredModel(None, None, name, text, model)
        published = models.publish(self.registry, text, model, self._label(name))
        return models.StoredModel(published["id"], published["model_version"], published["name"], text, model)

    def _label(self, name: str, **given: Any) -> Any:
        """What a new artifact is labelled with: what was given, else the settings."""
        from flowtime.loop.models import Label

        defaults: Mapping[str, Any] = {"owner": self.settings.owner, "visibility": self.settings.visibility}
        return Label(
            name, **{**defaults, **{key: value for key, value in given.items() if value is not None}}
        )


def _workbook(format: str) -> JSON:
    """The option of an export that writes workbooks; their library is imported for them alone."""
    if format != "xlsx":
        return {}
    from flowtime.formats.workbook import write_workbook

    return {"workbook": write_workbook}


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
