"""flowtime for programs in Python and notebooks: a registry, its artifacts, their series as tables.

What artifacts say of themselves is the JSON of every other face, as dicts. Tables come as polars data
frames, which flowtime needs anyway; pandas, Arrow tables and plots take libraries of the user's own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, Unpack

from flowtime.errors import FlowtimeError, Unavailable
from flowtime.service import Flowtime, moment
from flowtime.service.options import Edits, Imports
from flowtime.settings import load

if TYPE_CHECKING:
    import polars
    from matplotlib.axes import Axes

    from flowtime.core.series import SeriesSet
    from flowtime.engine.evaluate import Evaluation as Evaluated
    from flowtime.loop.models import StoredModel

__all__ = [
    "Artifact",
    "Evaluation",
    "FlowtimeError",
    "Model",
    "Registry",
    "Run",
    "Telemetry",
    "evaluate",
    "load_model",
]

DRAWN = 20
"""How many series a plot draws unasked."""
_PAGE = 1000


class Model:
    """A checked model: what a file says, or what an artifact is or came with."""

    def __init__(self, stored: StoredModel) -> None:
        """Models come from `load_model` and `Artifact.model`."""
        self._stored = stored

    @property
    def name(self) -> str:
        """What the model is called: its `metadata.id`, else its file."""
        return str(self._stored.name)

    @property
    def text(self) -> str:
        """The model as YAML, complete in itself."""
        return str(self._stored.text)

    @property
    def nodes(self) -> list[str]:
        """The ids of all nodes, in the order of the document."""
        return [node.id for node in self._stored.model.nodes]

    @property
    def warnings(self) -> list[dict[str, Any]]:
        """What reading the document had to say."""
        return [warning.to_json() for warning in self._stored.model.warnings]

    def __repr__(self) -> str:
        return f"<Model {self.name}: {_count(len(self.nodes), 'node')}>"


class _Series(ABC):
    """Series over one grid, as tables and as a picture."""

    @abstractmethod
    def _values(self) -> SeriesSet:
        """The SeriesSet."""

    def to_polars(self, *, wide: bool = False) -> polars.DataFrame:
        """A `polars.DataFrame` with the columns time_bin, component_id, measure and value, as exports.

        `time_bin` is an instant in UTC, or the index of the bin where the grid has no start; a missing
        value is null. `wide`: a row per bin, a column per series called `component.measure`.
        Raises InvalidInput (FT418) where two such columns would have one name.
        """
        return Flowtime.frame(self._values(), wide=wide)

    def to_pandas(self, *, wide: bool = False) -> Any:
        """A `pandas.DataFrame` as `to_polars` gives it; a missing value is NaN.

        Raises Unavailable (FT814) without pandas.
        """
        pandas = _library("pandas", "pandas")
        frame = self.to_polars(wide=wide)
        table = pandas.DataFrame({column.name: column.to_numpy() for column in frame})
        if self._values().grid.start is not None:
            table["time_bin"] = table["time_bin"].dt.tz_localize("UTC")
        return table

    def to_arrow(self, *, wide: bool = False) -> Any:
        """A `pyarrow.Table` as `to_polars` gives it. Raises Unavailable (FT814) without pyarrow."""
        _library("pyarrow", "arrow")
        return self.to_polars(wide=wide).to_arrow()

    def plot(self, *names: str, ax: Axes | None = None) -> Axes:
        """Draws series over time and returns the matplotlib `Axes`.

        `names` are those of components or of series (`component.measure`); without any the first 20
        series are drawn. Raises Unavailable (FT814) without matplotlib, ValueError on an unknown name.
        """
        pyplot = _library("matplotlib.pyplot", "plot")
        series = self._values()
        known = {str(key): position for position, key in enumerate(series.keys)}
        wanted = [
            position
            for name, position in known.items()
            if not names or name in names or series.keys[position].component in names
        ]
        unknown = sorted(set(names) - set(known) - {key.component for key in series.keys})
        if unknown:
            raise ValueError(f"there is no series or component {unknown[0]!r}; there are {', '.join(known)}")
        drawn = wanted if names else wanted[:DRAWN]
        times = self.to_polars(wide=False)["time_bin"][: series.grid.bins].to_numpy()
        ax = pyplot.subplots()[1] if ax is None else ax
        for position in drawn:
            ax.plot(times, series.values[position], label=str(series.keys[position]))
        units = {series.units[position] for position in drawn}
        if len(units) == 1 and None not in units:
            ax.set_ylabel(str(units.pop()))
        ax.set_xlabel("bin" if series.grid.start is None else "time (UTC)")
        if len(drawn) < len(wanted):
            ax.set_title(f"the first {len(drawn)} of {len(wanted)} series")
        if drawn:
            ax.legend(fontsize="small")
        return ax


class Evaluation(_Series):
    """A model evaluated without a registry: its series, metrics and warnings."""

    def __init__(self, model: Model, evaluated: Evaluated, metrics: list[dict[str, Any]]) -> None:
        """Evaluations come from `evaluate`."""
        self.model = model
        self.metrics = metrics
        self._evaluated = evaluated

    @property
    def warnings(self) -> list[dict[str, Any]]:
        """What the evaluation had to say, such as divisions by zero."""
        return [warning.to_json() for warning in self._evaluated.warnings]

    def _values(self) -> SeriesSet:
        return self._evaluated.series

    def __repr__(self) -> str:
        series = self._values()
        return f"<Evaluation of {self.model.name}: {len(series)} series over {series.grid}>"


class Artifact:
    """A model, run or telemetry in a registry; of a model one version, named by its `reference`, `ID@v2`.

    Artifacts are equal where their references are. `notes` say how this one was found or made, such as which
    one of several was taken.
    """

    def __init__(self, service: Flowtime, reference: str, notes: Iterable[str] = ()) -> None:
        """Artifacts come from a Registry."""
        self._service = service
        self.reference = reference
        self.notes = [*notes]

    @property
    def id(self) -> str:
        """Its id, the same for all versions of a model."""
        return self.reference.partition("@")[0]

    @property
    def version(self) -> int | None:
        """Which version of a model it is; None for runs and telemetry."""
        number = self.reference.partition("@v")[2]
        return int(number) if number else None

    @property
    def catalog(self) -> dict[str, Any]:
        """All that the artifact says of itself, as it is now: the JSON of `flowtime show --json`."""
        return self._service.show(self.reference)

    @property
    def kind(self) -> str:
        """`model`, `run` or `telemetry`."""
        return str(self.catalog["kind"])

    @property
    def name(self) -> str:
        """What people call it."""
        return str(self.catalog["name"])

    @property
    def tags(self) -> list[str]:
        """Its tags."""
        return list(self.catalog["tags"])

    def model(self) -> Model:
        """The model that the artifact is, or came with.

        Raises InvalidInput (FT812) for telemetry that came without one.
        """
        return Model(self._service.model_of(self.reference))

    def edit(
        self, add: str | Iterable[str] = (), remove: str | Iterable[str] = (), **fields: Unpack[Edits]
    ) -> Self:
        """Adds and removes tags; `fields` are name, description, owner, visibility and star.

        Raises InvalidInput (FT508) on a value that is not allowed.
        """
        if "tags" in fields:
            fields["tags"] = _texts(fields["tags"])
        self._service.edit(self.reference, _texts(add), _texts(remove), **fields)
        return self

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Artifact) and other.reference == self.reference

    def __hash__(self) -> int:
        return hash(self.reference)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.reference}>"


class _Recorded(Artifact, _Series):
    """An artifact that holds series. They are read once, when they are asked for."""

    _read: SeriesSet | None = None

    def _values(self) -> SeriesSet:
        if self._read is None:
            self._read = self._service.values(self.id)
        return self._read

    def export(self, path: str | Path, format: str | None = None) -> dict[str, Any]:
        """Writes a file and returns what `flowtime export --json` prints.

        The format is gold, ndjson, parquet, bundle or xlsx, by default the one that the path's suffix
        tells: .csv, .ndjson, .parquet, .zip, .xlsx. Raises InvalidInput (FT401) where it tells none.
        """
        return self._service.export(self.id, format, str(path))


class Run(_Recorded):
    """A run: the series of a model."""

    @property
    def parameters(self) -> dict[str, float]:
        """The values of its model's parameters, without those that each sample drew."""
        return dict(self.catalog["parameters"])

    @property
    def metrics(self) -> dict[str, float | None]:
        """The values of its metrics by name, the mean over samples where it has some; None is missing."""
        catalog = self.catalog
        return {each["name"]: each["value"] for each in (*catalog["metrics"], *catalog["other_metrics"])}


class Telemetry(_Recorded):
    """Telemetry: series that were imported.

    `report` is what the import found: `recognised`, `rebuilt`, `conformance` and `import`, as
    `flowtime import --json` prints them; None where the telemetry was found in the registry.
    """

    report: dict[str, Any] | None = None


_CLASSES = {"model": Artifact, "run": Run, "telemetry": Telemetry}


class Registry:
    """All artifacts under one root. Usable in a `with` block, which lets go of the index at its end."""

    def __init__(self, root: str | Path | None = None, *, owner: str | None = None) -> None:
        """`root` is a folder or a bucket's URL, by default the one of the settings.

        Nothing there is read or written yet. Raises InvalidInput: FT106 where the settings are wrong.
        """
        flags = {"artifacts": None if root is None else str(root), "owner": owner}
        self._service = Flowtime(load(flags))

    @property
    def root(self) -> str:
        """Where the artifacts are."""
        return self._service.settings.artifacts

    def get(self, reference: str) -> Artifact:
        """The artifact with this id or name, or the only one whose id begins so.

        Of several runs or telemetry of one name it is the newest, and its `notes` say so. Raises NotFound
        (FT501), InvalidInput (FT503) with the candidates where several models have the name or several ids
        begin so.
        """
        catalog = self._service.show(reference)
        return self._artifact(catalog)

    def list(
        self,
        kind: str | None = None,
        *,
        query: str | None = None,
        tags: str | Iterable[str] = (),
        owner: str | None = None,
        since: date | str | None = None,
        until: date | str | None = None,
        starred: bool = False,
        where: str | Iterable[str] = (),
        sort: str = "created_desc",
        limit: int | None = None,
    ) -> list[Artifact]:
        """The artifacts to which all of this applies, newest first unless `sort` says otherwise.

        `query`: words of name, description, tags, nodes, template or owner. `tags`: those that an artifact
        must have. `since` and `until`: when it was made, as instants, dates or ISO 8601 text. `where`:
        conditions on parameters and metrics, such as `peak_wait <= 10`. Raises InvalidInput (FT504).
        """
        found: list[Artifact] = []
        page = 1
        while limit is None or len(found) < limit:
            answer = self._service.find(
                kinds=() if kind is None else (kind,),
                text=query,
                tags=tuple((tag,) for tag in _texts(tags)),
                owner=owner,
                since=_instant(since),
                until=_instant(until, end=True),
                starred=starred,
                where=_texts(where),
                sort=sort,
                page=page,
                size=_PAGE,
            )
            found += [self._artifact(item) for item in answer["artifacts"]]
            if page * _PAGE >= answer["total"]:
                break
            page += 1
        return found[:limit]

    def create_model(
        self,
        template: str,
        parameters: Mapping[str, Any] | None = None,
        *,
        name: str | None = None,
        scenario: str | None = None,
    ) -> Artifact:
        """A model from a template, with values for its parameters by name.

        Raises NotFound (FT701), InvalidInput (FT702) with every problem of the values.
        """
        return self._artifact(
            self._service.create_model(template, name=name, scenario=scenario, params=parameters or {})
        )

    def derive_model(
        self,
        source: Artifact | str,
        changes: Mapping[str, Any] | None = None,
        *,
        name: str | None = None,
        scenario: str | None = None,
    ) -> Artifact:
        """A model like another one but for `changes`: parameters of its template, or constants.

        Raises InvalidInput: FT711 where nothing changes, FT712 where a name is not one of the model's.
        """
        return self._artifact(
            self._service.derive_model(_reference(source), name=name, scenario=scenario, params=changes or {})
        )

    def run(
        self,
        model: Model | Artifact | str | Path | None = None,
        *,
        telemetry: Telemetry | str | None = None,
        bind: Mapping[str, str] | None = None,
        require: str | Iterable[str] = (),
        name: str | None = None,
        tags: str | Iterable[str] = (),
        description: str | None = None,
        seed: int | None = None,
        samples: int | None = None,
        scenario: str | None = None,
        deterministic: bool = False,
        parameters: Mapping[str, float] | None = None,
        metrics: Mapping[str, str | dict[str, Any]] | None = None,
        new: bool = False,
    ) -> Run:
        """A run of a model: one that was loaded, an artifact, its id or name, or a file.

        A file, also one that was loaded, becomes a model of the registry; once it was edited, it is the next
        version of that model, unless it must be `new`. The run's `notes` say which.

        With `telemetry` its series take the place of the model's inputs, by name or as `bind` says: the
        node for each `component.measure`. It has to measure the nodes and series in `require`; inputs that it
        does not measure keep the model's values. The run's `catalog` says what was `bound`, `kept`,
        `compared` and `unbound`. Without a model the one that came with the telemetry runs. With `samples`
        the run holds the statistics of so many. `deterministic`: the same inputs are the same run.
        `parameters` sets some of the model's; `metrics` are formulas by name, beside the model's own, whose
        values the run's `metrics` hold.
        """
        catalog = self._service.run(
            None if model is None else self._known(model),
            telemetry=None if telemetry is None else _reference(telemetry),
            bind=[f"{series}={node}" for series, node in (bind or {}).items()],
            require=_texts(require),
            name=name,
            tags=_texts(tags),
            description=description,
            seed=seed,
            samples=samples,
            scenario=scenario,
            deterministic=deterministic,
            parameters=parameters,
            metrics=metrics,
            new=new,
        )
        return Run(self._service, catalog["id"], catalog["notes"])

    def solve(
        self,
        model: Model | Artifact | str | Path,
        vary: str,
        until: str | None = None,
        *,
        largest: bool = False,
        tolerance: float | None = None,
        parameters: Mapping[str, float] | None = None,
        metrics: Mapping[str, str | dict[str, Any]] | None = None,
        seed: int | None = None,
    ) -> dict[str, Any]:
        """The smallest value of a parameter that meets a condition, or the `largest`: the JSON of
        `flowtime solve --json`.

        `vary` is a range such as "workers=1..40", `until` a condition such as "peak_wait <= 10"; without one
        all goals of the model are to be met. `answer` is `{"workers": 8.0}`, or None where no value meets the
        condition; `reason` says why. Nothing is stored. Raises InvalidInput (FT841, FT221, FT222).
        """
        return self._service.solve(
            self._known(model),
            vary,
            until,
            largest=largest,
            tolerance=tolerance,
            parameters=parameters,
            metrics=metrics,
            seed=seed,
        )

    def sweep(
        self,
        model: Model | Artifact | str | Path,
        vary: str | Iterable[str] = (),
        *,
        show: str | Iterable[str] = (),
        parameters: Mapping[str, float] | None = None,
        metrics: Mapping[str, str | dict[str, Any]] | None = None,
        seed: int | None = None,
        **values: Iterable[float],
    ) -> polars.DataFrame:
        """The metrics at all combinations of values of parameters, as a `polars.DataFrame`: a row for each
        point, a column for each parameter and metric; a missing metric is null.

        `vary` are ranges such as "workers=4..12"; values come by name as well, `workers=range(4, 13)`. `show`
        names the metrics that are wanted. Nothing is stored. Raises InvalidInput (FT841, FT221, FT222).
        """
        listed = [f"{id}={','.join(map(repr, map(float, each)))}" for id, each in values.items()]
        found = self._service.sweep(
            self._known(model),
            (*_texts(vary), *listed),
            show=_texts(show),
            parameters=parameters,
            metrics=metrics,
            seed=seed,
        )
        return Flowtime.table([{**point["parameters"], **point["metrics"]} for point in found["points"]])

    def import_file(
        self,
        path: str | Path,
        *,
        name: str | None = None,
        tags: str | Iterable[str] = (),
        model: Artifact | str | None = None,
        run: Artifact | str | None = None,
        description: str | None = None,
        owner: str | None = None,
        visibility: str | None = None,
        format: str | None = None,
        grid: str | None = None,
        **options: Unpack[Imports],
    ) -> Telemetry:
        """Telemetry from a file; with the model in it, where flowtime wrote it.

        `run` says whose export a file without metadata is, where several runs have its series.
        `options` are those of `flowtime import`: missing, duplicates, align, rename (a mapping of their
        columns to ours), wide, component, delimiter, decimal_comma, time_format, timezone, ignore_extra,
        ignore_metadata, strict. Raises TypeError on any other, and InvalidInput (FT4xx) with all bad rows.
        """
        belongs, exported = (None if each is None else _reference(each) for each in (model, run))
        brought = self._service.import_data(
            Path(path),
            name=name,
            tags=_texts(tags),
            model=belongs,
            run=exported,
            description=description,
            owner=owner,
            visibility=visibility,
            format=format,
            grid=grid,
            **options,
        )
        telemetry = Telemetry(self._service, brought["id"])
        telemetry.report = {key: brought[key] for key in ("recognised", "rebuilt", "conformance", "import")}
        return telemetry

    def compare(
        self,
        baseline: Artifact | str,
        comparison: Artifact | str,
        threshold: str | float | Iterable[str | float] | None = None,
        *,
        by: str | None = None,
        allow_missing: bool = False,
    ) -> dict[str, Any]:
        """Two runs or telemetry series by series, or two models: the JSON of `flowtime compare --json`.

        `threshold` sets `within_threshold`: a ratio such as 0.05 or "5%", "abs:5" in the unit of the series,
        or several, also for some series as "web.*=10%". `by` is what each series is judged by: "bin" (the
        bin that is furthest off), "mean" or "peak"; `allow_missing` leaves out what one side alone has.
        Raises InvalidInput: FT801 where the grids have nothing in common, FT803 for a threshold that cannot
        be read, FT809 where the kinds differ, FT815 for a pattern that matches no series.
        """
        sides = _reference(baseline), _reference(comparison)
        return self._service.compare(*sides, threshold, by=by, allow_missing=allow_missing)

    def test_loop(
        self, model: Model | Artifact | str | Path, formats: str | Iterable[str] = "all"
    ) -> dict[str, Any]:
        """Run, export, import and verify in every format: the JSON of `flowtime test-loop --json`."""
        return self._service.test_loop(self._known(model), formats=_texts(formats))

    def close(self) -> None:
        """Lets go of the index; the registry may still be used."""
        self._service.registry.close()

    def _known(self, model: Model | Artifact | str | Path) -> StoredModel | str:
        return model._stored if isinstance(model, Model) else _reference(model)  # noqa: SLF001

    def _artifact(self, catalog: Mapping[str, Any]) -> Artifact:
        kind, version = catalog["kind"], catalog.get("model_version")
        reference = f"{catalog['id']}@v{version}" if kind == "model" and version else catalog["id"]
        return _CLASSES[kind](self._service, reference, catalog.get("notes", ()))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Registry {self.root}>"


def load_model(path: str | Path) -> Model:
    """The model in a YAML or JSON file; csv sources are read from beside it.

    Raises NotFound (FT105), InvalidInput: FT101 to FT104 where it cannot be read, FT200 with every problem.
    """
    return Model(Flowtime.read_model(Path(path)))


def evaluate(
    model: Model,
    *,
    seed: int | None = None,
    inputs: Mapping[str, Iterable[float | None]] | None = None,
    parameters: Mapping[str, float] | None = None,
    metrics: Mapping[str, str | dict[str, Any]] | None = None,
) -> Evaluation:
    """The series of a model, computed without a registry; nothing is kept.

    `seed` takes the place of the model's. `inputs` are series, a number or None for each bin, that take the
    place of nodes, by node id. `parameters` sets some of the model's; `metrics` are formulas by name, beside
    the model's own.

    Raises InvalidInput where a sampled node has no seed (FT214), the seed is none (FT205), an input does not
    fit (FT303), a parameter does not take its value (FT221), or a metric is wrong (FT222).
    """
    if not isinstance(model, Model):
        raise TypeError(f"evaluate takes what load_model gives, not {model!r}")
    evaluated, told = Flowtime.evaluate_model(
        model._stored,  # noqa: SLF001
        seed=seed,
        inputs=inputs,
        parameters=parameters,
        metrics=metrics,
    )
    return Evaluation(model, evaluated, told)


def _reference(artifact: Artifact | str | Path) -> str:
    if isinstance(artifact, Path):
        return str(artifact.absolute())  # with a separator, so that it is no name
    if isinstance(artifact, Model):
        raise TypeError("a loaded model is no artifact of the registry; run it, or name the file")
    return artifact if isinstance(artifact, str) else artifact.reference


def _texts(given: str | Iterable[str]) -> tuple[str, ...]:
    """Several texts; one alone is not taken for its letters."""
    return (given,) if isinstance(given, str) else tuple(given)


def _instant(given: date | str | None, *, end: bool = False) -> datetime | None:
    """An instant; a date as the end includes its whole day."""
    if given is None or isinstance(given, datetime):
        return given
    return moment(given if isinstance(given, str) else given.isoformat(), end=end)


def _library(module: str, extra: str) -> Any:
    """A library that is no dependency of flowtime; raises Unavailable (FT814) with what installs it."""
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        package = module.partition(".")[0]
        if error.name != package:
            raise
        hint = f'install it: pip install "flowtime[{extra}]"'
        raise Unavailable("FT814", f"this needs {package}, which is not installed", hint=hint) from error


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
