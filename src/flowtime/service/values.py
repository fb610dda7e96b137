"""Use cases of programs in Python: models and series as values, with a registry or without one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowtime.errors import InvalidInput, did_you_mean
from flowtime.registry.document import JSON
from flowtime.service.opened import Opened

if TYPE_CHECKING:
    import polars

    from flowtime.core.series import SeriesSet
    from flowtime.engine.evaluate import Evaluation
    from flowtime.loop.models import StoredModel


class Values(Opened):
    """What can be had as a value of Python."""

    @staticmethod
    def read_model(path: Path) -> StoredModel:
        """A model file as a StoredModel that no registry has. Raises as `loop.models.read_file`."""
        from flowtime.loop import models

        return models.read_model(path)

    def model_of(self, reference: str) -> StoredModel:
        """The model that an artifact is, or came with, as a StoredModel.

        Raises NotFound (FT501), or InvalidInput (FT812) for telemetry that came without one.
        """
        from flowtime.loop import models

        id = self.registry.resolve(reference)
        if self.registry.catalog(id)["kind"] == "model":
            return models.read(self.registry, id)
        return models.read_from(self.registry, id)

    @staticmethod
    def evaluate_model(
        model: StoredModel,
        *,
        seed: int | None = None,
        inputs: Mapping[str, Iterable[float | None]] | None = None,
        parameters: Mapping[str, float] | None = None,
        metrics: Mapping[str, str | Mapping[str, Any]] | None = None,
    ) -> tuple[Evaluation, list[JSON]]:
        """The engine's Evaluation of a StoredModel, and its metrics.

        `inputs` take the place of nodes, by node id; `parameters` set some of its own; `metrics` are formulas
        beside its own.

        Raises InvalidInput (FT205, FT214, FT221, FT222, FT303).
        """
        from flowtime.core.series import floats
        from flowtime.engine import compile, evaluate
        from flowtime.engine.metrics import series_formulas
        from flowtime.loop.metrics import figures, metrics_of
        from flowtime.model.parameters import set_values
        from flowtime.model.spec import QueueNode

        given = {}
        known = {node.id for node in model.model.nodes if not isinstance(node, QueueNode)}
        for node, values in (inputs or {}).items():
            if node not in known:
                raise InvalidInput(
                    "FT303",
                    f'there is no node "{node}" to bind a series to',
                    hint=did_you_mean(node, known),
                )
            try:
                given[node] = floats(values)
            except (TypeError, ValueError, OverflowError) as error:
                raise InvalidInput(
                    "FT303", f'the series for node "{node}" is not of numbers: {error}'
                ) from error
        used = set_values(model.model.parameters, parameters or {})
        asked = metrics_of(model.model, metrics or {})
        plan = compile(model.model, given.keys(), parameters=used, extra=series_formulas(asked))
        evaluation = evaluate(plan, seed=seed, inputs=given)
        told = figures(asked, evaluation.extra, used, model.model.grid)
        return evaluation, [figure.to_json() for figure in told]

    def values(self, reference: str) -> SeriesSet:
        """The SeriesSet of a run or telemetry. Raises NotFound (FT501), Unavailable (FT805)."""
        from flowtime.loop.series import read_series

        return read_series(self.registry, self.registry.resolve(reference, ("run", "telemetry")))

    @staticmethod
    def table(rows: list[dict[str, float | None]]) -> polars.DataFrame:
        """Rows of numbers as a polars data frame, float64 columns, None as null."""
        from flowtime.formats.frame import table

        return table(rows)

    @staticmethod
    def frame(series: SeriesSet, *, wide: bool = False) -> polars.DataFrame:
        """A SeriesSet as a polars data frame, see `formats.frame`."""
        from flowtime.formats.frame import frame

        return frame(series, wide=wide)
