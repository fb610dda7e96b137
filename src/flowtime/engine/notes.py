"""What evaluations have to say besides values: divisions by zero, and results that are not finite."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from flowtime.core.grid import Grid
from flowtime.errors import Diagnostic
from flowtime.model.spec import Model

BoolArray = NDArray[np.bool_]

KINDS = {"FT301": "division_by_zero", "FT302": "non_finite"}
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
            Diagnostic(code, self._message(model, (code, node.id), samples), severity="warning", node=node.id)
            for node in model.nodes
            for code in KINDS
            if (code, node.id) in self.bins
        )

    def _message(self, model: Model, note: Note, samples: int | None) -> str:
        bins = spelled_bins(model.grid, self.bins[note])
        sampled = "" if samples is None else f"; in {self.times[note]:,} of {samples:,} samples"
        return f'node "{note[1]}": {KINDS[note[0]]} in {bins}{sampled}'


def spelled_bins(grid: Grid, where: BoolArray) -> str:
    """The bins of a `(bins,)` bool mask as a message says them: how many, and the first."""
    count, first = int(where.sum()), int(where.argmax())
    label = "" if grid.start is None else f" ({grid.label(first)})"
    return f"{count} bin{'s' * (count != 1)}, first in bin {first}{label}"
