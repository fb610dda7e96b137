"""The model that comes back with a file: rebuilt, and held against the data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

import numpy as np

from flowtime.analysis.compare import Difference, align, difference, units_differ
from flowtime.core import canonical, statistics
from flowtime.core.canonical import JSON
from flowtime.core.series import FloatArray, SeriesKey, SeriesSet, same_bits
from flowtime.engine import SEMANTICS_VERSION, compile, evaluate
from flowtime.engine.sampling import prepare
from flowtime.errors import Diagnostic, InvalidInput
from flowtime.loop.models import MODEL_FILE
from flowtime.loop.replay import bound_nodes, on_grid
from flowtime.loop.runs import inputs_hash
from flowtime.model import from_document, load
from flowtime.model.identity import graph_hash, model_hash
from flowtime.model.parameters import set_values
from flowtime.model.spec import Model, Node, is_source
from flowtime.wording import option

TOLERANCE = 1e-9
"""By how much of its largest value a series of earlier semantics may differ: EXP, LOG, POW and MOD came to
other last bits, which formulas can make larger."""


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """A model that came back with its data: what it was called, how it was seeded and sampled, and what its
    parameters were set to.

    `bound` are the ids of the nodes whose values were bound and not computed; `text` is the model's own
    text, where a bundle brought it. `older` says that an engine of earlier semantics computed the data.
    """

    model: Model = field(repr=False)
    seed: int | None
    samples: int | None
    model_id: str | None
    model_version: int | None
    parameters: Mapping[str, float] = field(default_factory=dict)
    bound: tuple[str, ...] = ()
    older: bool = False
    text: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Conformance:
    """How the derived series compare with the model computed again from the file's inputs.

    Differences are the data minus the model. `absent` are derived series of the model that the data does
    not have; `units` says which series have another unit than the model.
    """

    series: tuple[Difference, ...]
    absent: tuple[SeriesKey, ...]
    units: tuple[Diagnostic, ...] = ()
    within: tuple[SeriesKey, ...] = ()
    """Series of earlier semantics that differ by at most `TOLERANCE` of their largest value."""

    @property
    def ok(self) -> bool:
        """Whether every derived series is there, equal to the last bit or `within` what it may differ."""
        return not self.absent and all(entry.equal or entry.key in self.within for entry in self.series)

    def to_json(self) -> JSON:
        """The report as every face shows it."""
        return {
            "ok": self.ok,
            "series": [entry.to_json() for entry in self.series],
            "absent": [asdict(key) for key in self.absent],
            "within": [asdict(key) for key in self.within],
            "units": [warning.message for warning in self.units],
        }


def rebuild(described: JSON, files: Mapping[str, bytes]) -> Rebuilt | None:
    """The model in a file's description, or None where it has none; `files` are what a bundle brought.

    Raises InvalidInput (FT806) where it is not the model that the description says, or a file of the bundle
    says otherwise.
    """
    document = described.get("model")
    found = None
    if document is not None:
        model = from_document(document, "the model in the file's metadata")
        for name, value in (("model_hash", model_hash(model)), ("graph_hash", graph_hash(model))):
            if described.get(name) != value:
                raise InvalidInput(
                    "FT806",
                    f"the rebuilt model has {name} {value}, the file says {described.get(name)}",
                    hint=f"import it as external data with {option('ignore_metadata', True)}",
                )
        found = Rebuilt(
            model,
            described.get("seed"),
            described.get("samples"),
            described.get("model_id"),
            described.get("model_version"),
            parameters_of(model, described),
            bound_nodes(described),
            older=_is_older(model, described),
        )
    return _with_text(found, described, files) if files else found


def parameters_of(model: Model, described: JSON) -> dict[str, float]:
    """The values that the run had; raises InvalidInput (FT806) where the model does not take them."""
    given = described.get("parameters") or {}
    try:
        set_values(model.parameters, given)
    except (InvalidInput, AttributeError) as error:
        raise InvalidInput(
            "FT806",
            f"the file says parameters that its model does not take: {error}",
            hint=f"import it as external data with {option('ignore_metadata', True)}",
        ) from error
    return {id: float(value) for id, value in given.items()}


def _is_older(model: Model, described: JSON) -> bool:
    """Whether an engine of earlier semantics made a run, which then has another hash of the same inputs.

    The hash of a replay holds what a file does not: the digests of its telemetry.
    """
    if described.get("bound") or not described.get("inputs_hash"):
        return False
    hash, seed, samples = model_hash(model), described.get("seed"), described.get("samples")
    parameters = described.get("parameters") or {}
    return any(
        described["inputs_hash"] == inputs_hash(hash, seed, None, samples, parameters, semantics)
        for semantics in range(1, SEMANTICS_VERSION)
    )


def _with_text(found: Rebuilt | None, described: JSON, files: Mapping[str, bytes]) -> Rebuilt | None:
    """The model with the text that the bundle has of it."""
    try:
        catalog = canonical.load(files["catalog.json"])
        same = [catalog.get(key) == described.get(key) for key in ("id", "kind", "model_hash", "graph_hash")]
        agree = all(same) and catalog["data"]["digest"] == described["digest"]
        text = files[MODEL_FILE].decode() if MODEL_FILE in files else None
    except (ValueError, AttributeError, KeyError, TypeError) as error:
        raise _contradiction("catalog.json") from error
    if not agree or (text is None) != (found is None):
        raise _contradiction("catalog.json")
    if found is None or text is None:
        return found
    if model_hash(load(text, MODEL_FILE)) != model_hash(found.model):
        raise _contradiction(MODEL_FILE)
    return replace(found, text=text)


def _contradiction(name: str) -> InvalidInput:
    return InvalidInput("FT806", f"{name} in the bundle is not of the run that the bundle describes")


def recorded(model: Model, samples: int | None) -> dict[SeriesKey, Node]:
    """The series that a run records, in order, each with its node: of `samples`, their statistics."""
    plain = model.recorded()
    if samples is None:
        return dict(plain)
    return {name: node for key, node in plain for name in statistics.keys(key)}


def conformance(found: Rebuilt, series: SeriesSet) -> Conformance:
    """The model computed again with the inputs that the data gives, against the data's derived series.

    Nodes that were bound count as inputs whatever they are. Statistics of samples do not tell what each
    sample was given: there the series that no distribution reaches are compared, and no others. A missing
    value equals a missing value and nothing else. Raises InvalidInput (FT807) where components, measures
    or grid are not the model's; series that the model derives may be absent.
    """
    wanted = recorded(found.model, found.samples)
    given = dict(zip(series.keys, series.values, strict=True))
    inputs = {k: node for k, node in wanted.items() if is_source(node) or node.id in found.bound}
    missing = [key for key in inputs if key not in given]
    extra = [key for key in given if key not in wanted]
    if missing or extra:
        raise _misfit(missing, extra)
    on = on_grid(found.model, series.grid)
    plan = compile(on, parameters=found.parameters)
    if found.samples is None:
        # A node that is recorded under several names takes the first; the others have to be equal to it.
        first = {node.id: key for key, node in reversed(inputs.items())}
        taken = set(first.values())
        again = evaluate(plan, seed=found.seed, inputs={id: given[key] for id, key in first.items()}).series
        computed = {key: row for key, _, row in again if key not in taken}
        derived = list(computed)
    else:
        certain = prepare(on, parameters=found.parameters).certain
        computed = {key: certain[node.id] for key, node in wanted.items() if node.id in certain}
        derived = list(wanted)
    units = {key: plan.units[node.id] for key, node in wanted.items()}
    stated = dict(zip(series.keys, series.units, strict=True))
    whole = align(series.grid, series.grid)
    within = [key for key, row in computed.items() if key in given and _is_close(row, given[key])]
    return Conformance(
        tuple(
            difference(key, (units[key], units[key]), row, given[key], series.grid, whole)
            for key, row in computed.items()
            if key in given
        ),
        tuple(key for key in derived if key not in given),
        tuple(
            Diagnostic("FT851", f"{key} is in {stated[key]}, in the model in {unit}", severity="warning")
            for key, unit in units.items()
            if units_differ(unit, stated.get(key))
        ),
        tuple(within) if found.older else (),
    )


def _is_close(row: FloatArray, other: FloatArray) -> bool:
    """Whether two series are not the same, but differ by at most `TOLERANCE` of their largest value."""
    missing = np.isnan(row)
    if same_bits(row, other) or not np.array_equal(missing, np.isnan(other)):
        return False
    a, b = row[~missing], other[~missing]
    # halves cannot overflow
    return bool(np.abs(a / 2 - b / 2).max() <= TOLERANCE * max(np.abs(a).max(), np.abs(b).max()) / 2)


def _misfit(missing: Sequence[SeriesKey], extra: Sequence[SeriesKey]) -> InvalidInput:
    errors = [Diagnostic("FT807", f"missing: {key}, an input of the model") for key in missing]
    errors += [Diagnostic("FT807", f"extra: {key}, which the model does not have") for key in extra]
    return InvalidInput("FT807", "the data does not fit the model", errors=errors)


def with_units(series: SeriesSet, found: Rebuilt) -> SeriesSet:
    """The series with the model's units where the file states none."""
    units = compile(found.model, parameters=found.parameters).units
    known = {key: units[node.id] for key, node in recorded(found.model, found.samples).items()}
    pairs = zip(series.units, series.keys, strict=True)
    return replace(series, units=tuple(known[key] if unit is None else unit for unit, key in pairs))
