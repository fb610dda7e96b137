"""Comparisons of runs that once passed a gate, or showed a mean, wrongly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flowtime.service import Flowtime
from flowtime.settings import load

CASES = Path(__file__).parent / "comparisons"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Flowtime:
    """A registry with a run of every model, under the name of its file."""
    made = Flowtime(load({"artifacts": str(tmp_path_factory.mktemp("comparisons") / "artifacts")}))
    for path in sorted(CASES.iterdir()):
        made.run(str(path), name=path.stem)
    return made


def judged(service: Flowtime, *sides: str, **wanted: Any) -> tuple[bool, Any]:
    report = service.compare(*sides, **wanted)
    return report["within_threshold"], report["gate"]


def test_one_bin_of_288_is_over_a_threshold(service: Flowtime) -> None:
    within, gate = judged(service, "sp1", "sp2", threshold="5%")
    assert not within
    (over,) = gate["over"]
    assert (over["component"], over["measure"], over["bin"], over["value"]) == ("errors", "value", 140, 1.0)
    assert over["said"] == "errors.value: 100 → 200 in bin 140, floor 1, is 100% off; 5% is allowed"
    assert judged(service, "sp1", "sp2", threshold="5%", by="mean")[0]
    assert not judged(service, "sp1", "sp2", threshold="5%", by="peak")[0]
    assert judged(service, "sp1", "sp2", threshold="abs:100")[0]
    assert not judged(service, "sp1", "sp2", threshold="abs:99.9")[0]


@pytest.mark.parametrize("sides", [("g1", "g2"), ("g2", "g1")])
def test_half_of_the_bins_are_not_the_whole(service: Flowtime, sides: tuple[str, str]) -> None:
    within, gate = judged(service, *sides, threshold="1%")
    whole, other = ("baseline", "comparison") if sides[0] == "g1" else ("comparison", "baseline")
    assert (within, gate["over"]) == (False, [])
    assert gate["unlike"] == [f"12 bins of the {whole} lie outside the {other}"]
    assert judged(service, *sides, threshold="1%", allow_missing=True)[0]


def test_means_say_over_which_bins_they_are(service: Flowtime) -> None:
    (entry,) = service.compare("mi", "mi2")["series"]
    assert (entry["bins"], entry["bins_only_in_baseline"], entry["bins_only_in_comparison"]) == (3, 1, 0)
    means = (entry["mean_baseline"], entry["mean_comparison"], entry["own_mean_baseline"])
    assert means == pytest.approx((1.91068, 1.91068, 1.78657), abs=1e-5)
    assert entry["change_of_mean"] == 0
    assert "both have a value in 3 bins, the baseline alone in 1" in entry["notes"][0]
    assert "the mean of the baseline is 1.78657" in entry["notes"][0]
    within, gate = judged(service, "mi", "mi2", threshold="50%")
    assert not within
    assert gate["unlike"] == ["l.value: 1 bin with a value in the baseline only, first in bin 1"]
    assert judged(service, "mi", "mi2", threshold="50%", allow_missing=True)[0]
