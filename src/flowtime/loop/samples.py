"""Many samples of a model and their statistics: in any number of threads, in bounded memory.

The uncertain series of a sample are one row of doubles. Rows stay in memory while there are few; else they
go to a temporary file, cut into blocks of columns in which all samples lie together, so that a block is
written in pieces, read in one piece and summarised in memory. Which thread computes what makes no
difference to any byte.
"""

from __future__ import annotations

import mmap
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from flowtime.core.series import FloatArray, SeriesSet, name_problem
from flowtime.core.statistics import STATISTICS, keys, summarise
from flowtime.engine import compile
from flowtime.engine.notes import Notes, spelled_bins
from flowtime.engine.points import Points
from flowtime.engine.sampling import Sampling, prepare
from flowtime.engine.waiting import Stop, in_threads
from flowtime.errors import Diagnostic, InvalidInput
from flowtime.loop.metrics import Samples
from flowtime.model.parameters import set_values
from flowtime.model.spec import Metric, Model
from flowtime.registry.catalog import Figure

MAX_SAMPLES = 10_000_000
"""All samples of one bin are sorted in memory: 80 MB."""

IN_MEMORY = 256 * 2**20
"""What all samples may take in memory; more of them go to the disk."""

BLOCK_BYTES = 32 * 2**20
"""What is read at once of samples on the disk, but for a bin that is larger by itself."""

PIECE_VALUES = 2**18
"""Values that are summarised at once, about 20 ms of work, but for a bin that has more."""

SPARE_BYTES = 2**28
"""What the samples leave free on the disk."""

Progress = Callable[[int, int], object]
"""Told of samples done and samples to do."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where `samples` rows of `width` doubles lie in the file: in blocks of columns, sample after sample.

    `block` is the number of columns in a block; the last may have fewer.
    """

    samples: int
    width: int
    block: int

    @property
    def bytes(self) -> int:
        """The size of the file."""
        return self.samples * self.width * 8

    def blocks(self) -> Iterator[tuple[int, int]]:
        """The first column of each block, and the one after its last."""
        for first in range(0, self.width, self.block):
            yield first, min(first + self.block, self.width)

    def write(self, file: BinaryIO, first: int, rows: FloatArray) -> None:
        """Writes the samples from number `first` on, `(samples, width)` float64."""
        for begin, end in self.blocks():
            file.seek((begin * self.samples + first * (end - begin)) * 8)
            file.write(np.ascontiguousarray(rows[:, begin:end]).data)
        file.flush()

    def read(self, file: BinaryIO, begin: int, end: int) -> FloatArray:
        """All samples of a block as `(samples, columns)` float64."""
        # Memory of its own goes back to the system at once; the allocator may keep a block of this size.
        room = mmap.mmap(-1, self.samples * (end - begin) * 8)
        file.seek(begin * self.samples * 8)
        file.readinto(room)  # type: ignore[attr-defined]
        return np.frombuffer(room).reshape(self.samples, end - begin)


@dataclass(frozen=True, slots=True)
class Sampled:
    """The statistics of samples as series, what there was to say, and the metrics over all samples."""

    series: SeriesSet
    warnings: tuple[Diagnostic, ...]
    metrics: list[Figure]


def sample(
    model: Model,
    samples: int,
    *,
    seed: int | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
    parameters: Mapping[str, float | str] | None = None,
    metrics: tuple[Metric, ...] = (),
) -> Sampled:
    """The statistics of each recorded series over `samples` samples, in which every pmf node is drawn, and
    every parameter with a spread that `parameters` does not set; and the metrics over all samples.

    A series `served` becomes `served.mean`, `served.p05`, `served.p50` and `served.p95`; see
    `core.statistics`. `workers` threads share the work; None: as many as there are cores. `progress` is told
    every few milliseconds of the samples done and of all; what it raises ends the work. Warnings are those of
    `evaluate`, with the number of samples they were met in, and `missing_samples` (FT308) where statistics
    leave some out.

    Raises InvalidInput where there is nothing to sample (FT304), the number of samples is out of range
    (FT305), they do not fit in memory or on the disk (FT306), a name becomes too long (FT216), there is
    no seed (FT214) or a parameter does not take its value (FT221).
    """
    if not 1 <= samples <= MAX_SAMPLES:
        raise InvalidInput("FT305", f"{samples:,} samples were asked for; 1 to {MAX_SAMPLES:,} are allowed")
    values = set_values(model.parameters, parameters or {})
    spread = model.spread(parameters or ())
    told = Samples.of(metrics, values, spread, samples)
    sampling = prepare(model, seed=seed, parameters=parameters, extra=told.formulas())
    result = _Result(model, values, sampling, samples)
    bins, own = model.grid.bins, len([id for id in sampling.uncertain if id not in sampling.extra])
    layout = Layout(samples, own * bins, max(BLOCK_BYTES // (8 * samples), 1))
    certain = {id: sampling.certain[id] for id in sampling.extra if id in sampling.certain}
    threads = workers or _cores()
    done = 0

    def tell() -> None:
        if progress is not None:
            progress(done, samples)

    with ExitStack() as stack:
        kept = _kept(model, layout, stack)
        sources = sampling.sources()
        points = Points(sources)

        def take(first: int, rows: FloatArray) -> None:
            kept.put(first, rows[:, :own].reshape(len(rows), -1))
            for number, extra in enumerate(rows[:, own:] if metrics else ()):
                told.take(
                    first + number, {**certain, **dict(zip(sampling.uncertain[own:], extra, strict=True))}
                )

        def draw(task: Range, stop: Stop) -> None:
            points.evaluate(*task, take, stop)

        def summed(task: Range, stop: Stop) -> Statistics:
            begin, end = task
            values = kept.columns(begin, end)
            pieces = []
            for first, last in _ranges(end - begin, max(PIECE_VALUES // samples, 1)):
                stop()
                pieces.append(summarise(values[:, first:last]))
            return np.hstack([a for a, _ in pieces]), np.hstack([b for _, b in pieces])

        step = max(min(points.most, samples // (4 * threads)), 1)
        with closing(in_threads(draw, _ranges(samples, step), threads, tell)) as drawn:
            for (begin, end), _ in drawn:
                done += end - begin
        with closing(in_threads(summed, layout.blocks(), threads, tell)) as made:
            for (begin, end), (statistics, present) in made:
                result.take(begin, end, statistics, present)
        notes = points.notes()
        notes.hold(sampling.plan.model)
        return Sampled(result.series(), result.warnings(notes, sources.moved), told.figures())


Range = tuple[int, int]
Statistics = tuple[FloatArray, NDArray[np.int64]]


def _ranges(total: int, step: int) -> Iterator[Range]:
    """The numbers below `total` in runs of `step`, as (first, one after the last)."""
    for first in range(0, total, step):
        yield first, min(first + step, total)


def _kept(model: Model, layout: Layout, stack: ExitStack) -> _InMemory | _OnDisk:
    """Where the samples are kept; `stack` removes it."""
    folder = None
    if layout.bytes > IN_MEMORY:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="flowtime-")))
    _refuse_what_does_not_fit(model, layout, folder)
    if folder is None:
        return _InMemory(layout)
    return _OnDisk(layout, stack.enter_context((folder / "samples").open("w+b")))


class _InMemory:
    """All samples as one array."""

    def __init__(self, layout: Layout) -> None:
        self.values = np.empty((layout.samples, layout.width))

    def put(self, first: int, rows: FloatArray) -> None:
        """Keeps the samples from number `first` on, `(samples, width)` float64."""
        self.values[first : first + len(rows)] = rows

    def columns(self, begin: int, end: int) -> FloatArray:
        """All samples of these columns as `(samples, columns)` float64."""
        return self.values[:, begin:end]


class _OnDisk:
    """All samples in a file, which one thread at a time reads and writes."""

    def __init__(self, layout: Layout, file: BinaryIO) -> None:
        self.layout, self.file, self.turn = layout, file, threading.Lock()

    def put(self, first: int, rows: FloatArray) -> None:
        """Keeps the samples from number `first` on, `(samples, width)` float64."""
        with self.turn:
            self.layout.write(self.file, first, rows)

    def columns(self, begin: int, end: int) -> FloatArray:
        """All samples of a block as `(samples, columns)` float64."""
        with self.turn:
            return self.layout.read(self.file, begin, end)


def _refuse_what_does_not_fit(model: Model, layout: Layout, folder: Path | None) -> None:
    """Raises InvalidInput (FT306). `folder` is where samples go that do not stay in memory."""
    recorded, bins = len(model.recorded()), model.grid.bins
    memory = len(STATISTICS) * recorded * bins * 8 + (
        layout.bytes if folder is None else layout.width * 8 + 3 * max(BLOCK_BYTES, layout.samples * 8)
    )
    if "SC_PHYS_PAGES" in getattr(os, "sysconf_names", {}):
        there = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        if memory > there:
            raise InvalidInput(
                "FT306",
                f"the statistics of {recorded:,} series over {bins:,} bins take {_size(memory)} of memory; "
                f"this computer has {_size(there)}",
                hint="name fewer series in the model's outputs",
            )
    if folder is None:
        return
    free = shutil.disk_usage(folder).free
    if layout.bytes + SPARE_BYTES > free:
        raise InvalidInput(
            "FT306",
            f"{layout.samples:,} samples of {layout.width // bins:,} uncertain series over {bins:,} bins "
            f"take {_size(layout.bytes)} on the disk; {_size(free)} are free in {folder.parent}",
            hint="name fewer series in the model's outputs, take fewer samples, or set TMPDIR",
        )


def _size(count: int) -> str:
    return f"{count / 1e9:,.1f} GB"


def _cores() -> int:
    """How many threads may run at once."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Result:
    """The statistics of all recorded series, filled in block by block."""

    def __init__(
        self, model: Model, parameters: Mapping[str, float], sampling: Sampling, samples: int
    ) -> None:
        self.model, self.parameters, self.sampling, self.samples = model, parameters, sampling, samples
        self.recorded = model.recorded()
        for key, _ in self.recorded:
            for name in keys(key):
                if why := name_problem(name.measure):
                    raise InvalidInput("FT216", f"the measure {name.measure!r} of {key.component!r} {why}")
        self.values = np.empty((len(self.recorded), len(STATISTICS), model.grid.bins))
        self.rows: dict[str, list[int]] = {}
        for row, (_, node) in enumerate(self.recorded):
            self.rows.setdefault(node.id, []).append(row)
            if node.id in sampling.certain:
                self.values[row] = sampling.certain[node.id]
        self.present: dict[str, NDArray[np.int64]] = {}

    def take(self, begin: int, end: int, statistics: FloatArray, present: NDArray[np.int64]) -> None:
        """Fill in the statistics of some columns of the uncertain series, which lie one after another."""
        bins = self.model.grid.bins
        for index in range(begin // bins, (end - 1) // bins + 1):
            node, offset = self.sampling.uncertain[index], index * bins
            first, last = max(begin, offset), min(end, offset + bins)
            here, there = slice(first - begin, last - begin), slice(first - offset, last - offset)
            for row in self.rows[node]:
                self.values[row, :, there] = statistics[:, here]
            if (present[here] < self.samples).any():
                self.present.setdefault(node, np.full(bins, self.samples))[there] = present[here]

    def series(self) -> SeriesSet:
        """The statistics as series."""
        units = compile(self.model, parameters=self.parameters).units
        return SeriesSet(
            self.model.grid,
            tuple(name for key, _ in self.recorded for name in keys(key)),
            tuple(units[node.id] for _, node in self.recorded for _ in STATISTICS),
            self.values.reshape(-1, self.model.grid.bins),
        )

    def warnings(self, notes: Notes, moved: Mapping[str, int]) -> tuple[Diagnostic, ...]:
        """All warnings in the order of the model's nodes."""
        warnings = [*self.sampling.warnings, *notes.warnings(self.sampling.plan.model, self.samples)]
        warnings += [self.missing(node, present) for node, present in self.present.items()]
        warnings += [self.moved(id, count) for id, count in moved.items()]
        order = {node.id: index for index, node in enumerate(self.model.nodes)}
        last = len(order)
        warnings.sort(key=lambda warning: (order.get(warning.node or "", last), warning.code))
        return tuple(warnings)

    def moved(self, id: str, count: int) -> Diagnostic:
        message = (
            f'parameter "{id}": draws_moved in {count:,} of {self.samples:,} samples; '
            f"it takes {self.model.parameters[id].allowed}"
        )
        return Diagnostic("FT313", message, severity="warning")

    def missing(self, node: str, present: NDArray[np.int64]) -> Diagnostic:
        where = present < self.samples
        fewest = f"in the worst bin {int(present.min()):,} of {self.samples:,} are there"
        message = f'node "{node}": missing_samples in {spelled_bins(self.model.grid, where)}; {fewest}'
        return Diagnostic("FT308", message, severity="warning", node=node.partition(".")[0])
