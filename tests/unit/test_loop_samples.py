from __future__ import annotations

import shutil
import subprocess
import sys
import threading
import time
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest

from flowtime.core.profiles import daily_profile
from flowtime.core.series import SeriesKey
from flowtime.engine import Evaluation, compile, evaluate
from flowtime.errors import InvalidInput
from flowtime.loop import samples
from flowtime.loop.rebuilt import Rebuilt, conformance
from flowtime.loop.samples import Layout, sample
from flowtime.model import load
from flowtime.model.spec import Model

QUEUE = """
grid: {bins: 48, binSize: 1, binUnit: hours}
nodes:
  - {id: capacity, kind: const, values: 120, unit: requests/bin}
  - {id: doubled, kind: expr, expr: capacity * 2}
  - {id: requests, kind: pmf, pmf: {"100": 0.3, "150": 0.5, "200": 0.2}, profile: weekday-office}
  - {id: lag, kind: pmf, pmf: {"0": 0.5, "1": 0.5}, mode: sample}
  - {id: spread, kind: expr, expr: "CONV(requests, lag)"}
  - {id: served, kind: expr, expr: "MIN(requests + SHIFT(backlog, 1), capacity)"}
  - {id: backlog, kind: expr, expr: "MAX(0, requests + SHIFT(backlog, 1) - served)"}
  - {id: excess, kind: expr, expr: "LOG(backlog - 100)"}
  - {id: wait, kind: expr, expr: "capacity / backlog"}
rng: {seed: 7}
"""


def named(result: Evaluation, name: str) -> np.ndarray:
    component, _, measure = name.partition(".")
    return result.series[SeriesKey(component, measure)]


def one_by_one(model: Model, count: int, seed: int) -> np.ndarray:
    """All samples, `(samples, series, bins)`, by evaluating the model once for each."""
    plan = compile(model)
    weights = daily_profile("weekday-office", model.grid)
    found = []
    for number in range(count):
        requests = model.node("requests").pmf.draw(48, seed, "requests", number) * weights
        lag = model.node("lag").pmf.draw(48, seed, "lag", number)
        found.append(evaluate(plan, inputs={"requests": requests, "lag": lag}).series.values)
    return np.stack(found)


def test_statistics_are_those_of_evaluating_sample_by_sample() -> None:
    model = load(QUEUE)
    result = sample(model, 60, workers=1)
    every = one_by_one(model, 60, 7)
    for index, (key, _) in enumerate(model.recorded()):
        values = every[:, index]
        for bin in range(48):
            there = values[:, bin][~np.isnan(values[:, bin])]
            found = [named(result, f"{key}.{name}")[bin] for name in ("mean", "p05", "p50", "p95")]
            expected = [there.mean(), *np.quantile(there, (0.05, 0.5, 0.95))] if there.size else [np.nan] * 4
            assert found == pytest.approx(expected, rel=1e-12, nan_ok=True)


def test_units_and_order_follow_the_recorded_series() -> None:
    series = sample(load(QUEUE), 3, workers=1).series
    assert [str(key) for key in series.keys[:5]] == [
        "capacity.value.mean",
        "capacity.value.p05",
        "capacity.value.p50",
        "capacity.value.p95",
        "doubled.value.mean",
    ]
    assert series.units[:8] == ("requests/bin",) * 8


def test_certain_series_have_no_spread() -> None:
    result = sample(load(QUEUE), 5, workers=1)
    for name in ("mean", "p05", "p50", "p95"):
        assert named(result, f"doubled.value.{name}").tolist() == [240.0] * 48


def test_threads_and_the_disk_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    model = load(QUEUE)
    alone = sample(model, 70, workers=1)
    monkeypatch.setattr(samples, "PIECE_VALUES", 200)
    for in_memory in (True, False):
        if not in_memory:
            # blocks of three columns in a file: other cuts, the same bytes
            monkeypatch.setattr(samples, "IN_MEMORY", 0)
            monkeypatch.setattr(samples, "BLOCK_BYTES", 70 * 8 * 3)
        for workers in (1, 3):
            shared = sample(model, 70, workers=workers)
            assert np.array_equal(shared.series.values, alone.series.values, equal_nan=True)
            assert shared.warnings == alone.warnings


@pytest.mark.parametrize("in_memory", [True, False])
def test_work_can_be_stopped_while_it_draws_and_while_statistics_are_made(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, in_memory: bool
) -> None:
    monkeypatch.setattr(samples.tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(samples, "IN_MEMORY", 2**40 if in_memory else 0)
    monkeypatch.setattr(samples, "BLOCK_BYTES", 400 * 8 * 3)
    for at in (100, 400):
        told: list[int] = []

        def stop(done: int, total: int, at: int = at, told: list[int] = told) -> None:
            told.append(done)
            if told[-3:] == [at] * 3 or (at < total and done >= at):
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            sample(load(QUEUE), 400, workers=1, progress=stop)
        assert told == sorted(told)
        assert told[-1] >= at
        assert list(tmp_path.iterdir()) == []


def test_another_seed_gives_other_samples_and_more_samples_begin_alike() -> None:
    model = load(QUEUE)
    assert not sample(model, 5, seed=8, workers=1).series.equals(sample(model, 5, workers=1).series)
    first, second = one_by_one(model, 1, 7)[0], one_by_one(model, 2, 7)
    assert np.array_equal(first, second[0], equal_nan=True)


def test_warnings_say_how_many_samples() -> None:
    messages = {(w.code, w.node): w.message for w in sample(load(QUEUE), 20, workers=1).warnings}
    assert set(messages) == {("FT301", "wait"), ("FT302", "excess"), ("FT308", "excess")}
    assert messages["FT301", "wait"].endswith("; in 20 of 20 samples")
    assert "missing_samples in" in messages["FT308", "excess"]
    assert messages["FT308", "excess"].endswith("in the worst bin 0 of 20 are there")


def test_only_what_is_recorded_is_computed() -> None:
    model = load(QUEUE + "outputs: [{series: spread}]\n")
    result = sample(model, 20, workers=1)
    assert result.warnings == ()
    assert len(result.series) == 4
    whole = sample(load(QUEUE), 20, workers=1)
    assert np.array_equal(named(result, "spread.value.p95"), named(whole, "spread.value.p95"))


def test_certain_series_are_computed_again_from_statistics() -> None:
    model = load(QUEUE)
    series = sample(model, 5, workers=1).series
    found = Rebuilt(model, 7, 5, None, None)
    report = conformance(found, series)
    assert report.ok
    assert {entry.component for entry in report.series} == {"capacity", "doubled"}
    series.values[series.keys.index(SeriesKey("doubled", "value.p50")), 3] += 1
    off = [entry for entry in conformance(found, series).series if not entry.equal]
    assert [(entry.component, entry.measure) for entry in off] == [("doubled", "value.p50")]


def test_means_converge_on_the_expectation() -> None:
    model = load("""
grid: {bins: 200, binSize: 1, binUnit: hours}
nodes:
  - {id: a, kind: pmf, pmf: {"100": 0.3, "150": 0.5, "200": 0.2}}
  - {id: b, kind: pmf, pmf: {"0": 0.9, "10": 0.1}}
  - {id: c, kind: expr, expr: "0.5 * a + SHIFT(b, 1) - 3"}
outputs: [{series: c}]
""")
    count = 2000
    error = named(sample(model, count, seed=11, workers=1), "c.value.mean") - (0.5 * 145 + 1 - 3)
    error[0] += 1  # before bin 0 there is no b
    variance = 0.25 * (0.3 * 45**2 + 0.5 * 5**2 + 0.2 * 55**2) + np.where(np.arange(200) > 0, 9.0, 0.0)
    z = error / np.sqrt(variance / count)
    # |z| > 5 in one of 200 bins happens by chance in 1 of 8,700 such tests
    assert np.abs(z).max() < 5
    # the sum of squares has mean 200 and standard deviation 20
    assert 100 < (z * z).sum() < 300


def test_bins_nodes_and_samples_are_independent() -> None:
    model = load(QUEUE)
    draws = np.array([model.node("requests").pmf.draw(48, 7, "requests", k) for k in range(400)])
    others = np.array([model.node("requests").pmf.draw(48, 7, "other", k) for k in range(400)])
    bound = 5 / np.sqrt(400 * 47)
    for a, b in ((draws[:, 1:], draws[:, :-1]), (draws[1:], draws[:-1]), (draws, others)):
        assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < bound


@pytest.mark.parametrize(
    ("text", "count", "code"),
    [
        (QUEUE, 0, "FT305"),
        (QUEUE, 10_000_001, "FT305"),
        (QUEUE + "outputs: [{series: doubled}]\n", 10, "FT304"),
        (QUEUE.replace("rng: {seed: 7}", ""), 10, "FT214"),
        (QUEUE.replace("mode: sample", "mode: sample, measure: " + "m" * 196), 10, "FT216"),
    ],
)
def test_refusals(text: str, count: int, code: str) -> None:
    with pytest.raises(InvalidInput) as error:
        sample(load(text), count)
    assert error.value.code == code


def test_what_does_not_fit_on_the_disk_is_refused_with_the_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(10**12, 10**12 - 10**9, 10**9))
    with pytest.raises(InvalidInput) as error:
        sample(load(QUEUE), 1_000_000)
    assert error.value.code == "FT306"
    assert error.value.message.startswith(
        "1,000,000 samples of 7 uncertain series over 48 bins take 2.7 GB on the disk; 1.0 GB are free in "
    )


def test_what_does_not_fit_in_memory_is_refused_with_the_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samples.os, "sysconf", {"SC_PHYS_PAGES": 5, "SC_PAGE_SIZE": 4096}.__getitem__)
    with pytest.raises(InvalidInput, match=r"of memory; this computer has 0\.0 GB") as error:
        sample(load(QUEUE), 10)
    assert error.value.code == "FT306"


def test_progress_is_told_of_every_sample() -> None:
    told: list[tuple[int, int]] = []
    sample(load(QUEUE), 130, workers=1, progress=lambda done, total: told.append((done, total)))
    assert told == sorted(told)
    assert len(told) > 3
    assert told[-1] == (130, 130)


def test_an_interrupt_leaves_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(samples.tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(samples, "IN_MEMORY", 0)

    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sample(load(QUEUE), 500, workers=2, progress=interrupt)
    assert list(tmp_path.iterdir()) == []
    deadline = time.monotonic() + 5
    while any(thread.name == "engine" for thread in threading.enumerate()):
        assert time.monotonic() < deadline


def test_every_double_has_one_place(tmp_path: Path) -> None:
    layout = Layout(samples=7, width=10, block=4)
    values = np.arange(70.0).reshape(7, 10)
    with (tmp_path / "samples").open("w+b") as file:
        for first, last in ((5, 7), (0, 2), (2, 5)):
            layout.write(file, first, values[first:last])
        assert np.array_equal(np.hstack([layout.read(file, *block) for block in layout.blocks()]), values)
        assert file.seek(0, 2) == layout.bytes


PEAK = """
import re, sys
from flowtime.loop import samples
from flowtime.model import load
model = load('''
grid: {bins: 2000, binSize: 1, binUnit: hours}
nodes:
  - {id: a, kind: pmf, pmf: {"1": 0.5, "2": 0.5}}
  - {id: b, kind: expr, expr: a * 2}
outputs: [{series: b}]
rng: {seed: 1}
''')
samples.IN_MEMORY = 2**24
samples.sample(model, int(sys.argv[1]), workers=1)
print(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1])
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read from /proc")
def test_memory_does_not_grow_with_samples_that_go_to_the_disk() -> None:
    def peak(count: int) -> int:
        command = [sys.executable, "-c", PEAK, str(count)]
        return int(subprocess.run(command, capture_output=True, check=True, text=True).stdout)

    # the samples take 32 and 160 MB
    assert peak(10_000) - peak(2_000) < 16_000
