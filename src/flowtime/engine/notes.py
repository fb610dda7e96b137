"""What evaluations have to say besides values: divisions by zero, and results that are not finite."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from flowtime.core.grid import Grid
from flowtime.engine.expansion import OwnNode
from flowtime.errors import Diagnostic, InvalidInput
from flowtime.model.spec import Model, Node

BoolArray = NDArray[np.bool_]

KINDS = {
    "FT301": "division_by_zero",
    "FT302": "non_finite",
    "FT310": "negative_flow",
    "FT311": "share_out_of_range",
}
"""What an evaluation warns of, by code."""

Note = tuple[str, str]
"""A code and the node that it is about."""


@dataclass(slots=True)
class Notes:
    """What evaluations met: a `(bins,)` bool mask for each note, and in how many evaluations."""

    bins: dict[Note, BoolArray] = field(default_factory=dict)
    times: dict[Note, int] = field(default_factory=dict)

    def add(self, note: Note, where: BoolArray, times: int = 1) -> None:
        """Notes the bins `where`, met in so many evaluations."""
        self.bins[note] = self.bins[note] | where if note in self.bins else where.copy()
        self.times[note] = self.times.get(note, 0) + times

    def merge(self, other: Notes, times: int = 1) -> None:
        """Takes in the notes of other evaluations, each of which was made so many times."""
        for note, where in other.bins.items():
            self.add(note, where, other.times[note] * times)

    def warnings(self, model: Model, samples: int | None = None) -> tuple[Diagnostic, ...]:
        """The notes as warnings, in the order of the model's nodes; `samples`: out of how many."""
        return tuple(
            Diagnostic(
                code,
                self._message(model, code, node, samples),
                severity="warning",
                node=_owner(node),
            )
            for node in model.nodes
            for code in KINDS
            if (code, node.id) in self.bins
        )

    def hold(self, model: Model) -> None:
        """Raises InvalidInput (FT312) where the service time of a queue was 0 or less."""
        for node in model.nodes:
            where = self.bins.get(("FT312", node.id))
            if where is not None:
                raise InvalidInput(
                    "FT312",
                    f'node "{_owner(node)}": serviceSeconds is 0 or less in '
                    f"{spelled_bins(model.grid, where)}",
                    hint="it takes the seconds that one worker needs for one unit, more than 0",
                )

    def _message(self, model: Model, code: str, node: Node, samples: int | None) -> str:
        note = (code, node.id)
        bins = spelled_bins(model.grid, self.bins[note])
        sampled = "" if samples is None else f"; in {self.times[note]:,} of {samples:,} samples"
        named = node.called if isinstance(node, OwnNode) else f'node "{node.id}"'
        return f"{named}: {KINDS[code]} in {bins}{sampled}"


def _owner(node: Node) -> str | None:
    """The node of the document that a node belongs to."""
    if isinstance(node, OwnNode):
        return None if node.is_metric else node.owner
    return node.id


def spelled_bins(grid: Grid, where: BoolArray) -> str:
    """The bins of a `(bins,)` bool mask as a message says them: how many, and the first."""
    count, first = int(where.sum()), int(where.argmax())
    label = "" if grid.start is None else f" ({grid.label(first)})"
    return f"{count} bin{'s' * (count != 1)}, first in bin {first}{label}"
