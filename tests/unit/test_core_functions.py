"""The two kernels of each function and operator: all bins at once, and one bin as a Python expression."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from flowtime.core.functions import KERNELS, SCALARS

AWKWARD = (math.nan, 0.0, 0.49999999999999994, 0.5, 1.0, 2.0, 2.5, 3.0, 700.0, 4503599627370497.5, 1e300)
VALUES = (*AWKWARD, *(-value for value in AWKWARD[1:]), math.inf, -math.inf)


@pytest.mark.parametrize("name", [name for name, function in KERNELS.items() if function.scalar])
def test_both_kernels_compute_the_same(name: str) -> None:
    function = KERNELS[name]
    size = min(function.least, len(function.parameters))
    rows = list(itertools.product(VALUES, repeat=size))
    if name == "/":
        rows = [row for row in rows if row[1] != 0.0]  # the scan takes care of these
    names = [f"x{index}" for index in range(size)]
    assert function.vector is not None
    out = np.empty(len(rows))
    with np.errstate(all="ignore"):
        function.vector(*np.array(rows).T.copy(), out=out)
        one = eval(f"lambda {', '.join(names)}: {function.scalar.format(*names)}", dict(SCALARS))
        alone = [one(*row) for row in rows]
    for row, many, single in zip(rows, out.tolist(), alone, strict=True):
        assert type(single) is float
        assert many == single or (math.isnan(many) and math.isnan(single)), (row, many, single)
