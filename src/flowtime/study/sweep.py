"""Sweeps: all combinations of values of some parameters."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from flowtime.core.series import FloatArray
from flowtime.errors import InvalidInput
from flowtime.study.ranges import MAX_VALUES, Range


def grid(over: Sequence[Range]) -> dict[str, FloatArray]:
    """The points of all combinations, `(points,)` float64 by parameter; the last one varies fastest.

    Raises InvalidInput (FT841) for a range without steps, and for too many points.
    """
    for each in over:
        if not each.values:
            raise InvalidInput(
                "FT841",
                f'"{each.id}" takes every number from {each.low:g} to {each.high:g}; a sweep needs steps',
                hint=f'give a step: "{each.id}={each.low:g}:{each.high:g}:{(each.high - each.low) / 10:g}"',
            )
    points = math.prod(len(each.values) for each in over)
    if points > MAX_VALUES:
        raise InvalidInput(
            "FT841",
            f"{points:,} points are over {MAX_VALUES:,}",
            hint="take larger steps or fewer parameters",
        )
    columns = np.meshgrid(*(np.array(each.values) for each in over), indexing="ij")
    return {each.id: column.ravel() for each, column in zip(over, columns, strict=True)}
