"""Many samples of a model and their statistics: in any number of processes, in bounded memory.

The uncertain series of a sample are one row of doubles. Rows go to a temporary file, cut into blocks of
columns in which all samples lie together, so that a block is written in pieces, read in one piece and
summarised in memory. Which process computes what makes no difference to any byte.
"""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

from flowtime.core.series import FloatArray, SeriesSet, name_problem
from flowtime.core.statistics import STATISTICS, keys, summarise
from flowtime.engine import Evaluation, compile
from flowtime.engine.evaluate import Notes, spelled_bins
from flowtime.engine.sampling import Sampling, prepare
from flowtime.errors import Diagnostic, InvalidInput, Unavailable
from flowtime.model.spec import Model

MAX_SAMPLES = 10_000_000
"""All samples of one bin are sorted in memory: 80 MB."""

BLOCK_BYTES = 32 * 2**20
"""What a process holds at once of the samples, but for a bin or a sample that is larger by itself."""

TASK_VALUES = 1_000_000
"""Values of all nodes that are computed between two looks at whether to go on, unless a sample has more.
In loops, where one takes about a microsecond, that is a second."""

WORTH_PROCESSES = 2.0
"""Seconds of work from which on starting processes, about half a second, pays."""

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

    def read(self, file: BinaryIO, begin: int, end: int) -> FloatArray:
        """All samples of a block as `(samples, columns)` float64."""
        file.seek(begin * self.samples * 8)
        values = np.fromfile(file, dtype=np.float64, count=self.samples * (end - begin))
        return values.reshape(self.samples, end - begin)


def sample(
    model: Model,
    samples: int,
    *,
    seed: int | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """The statistics of each recorded series over `samples` samples, in which every pmf node is drawn.

    A series `served` becomes `served.mean`, `served.p05`, `served.p50` and `served.p95`; see
    `core.statistics`. `workers` processes share the work; None: as many as there are cores where it takes
    seconds, else this one alone. Warnings are those of `evaluate`, with the number of samples they were met
    in, and `missing_samples` (FT308) where statistics leave some out.

    Raises InvalidInput where there is nothing to sample (FT304), the number of samples is out of range
    (FT305), they do not fit in memory or on the disk (FT306), a name becomes too long (FT216) or there is
    no seed (FT214), and Unavailable where a process is lost (FT307).
    """
    if not 1 <= samples <= MAX_SAMPLES:
        raise InvalidInput("FT305", f"{samples:,} samples were asked for; 1 to {MAX_SAMPLES:,} are allowed")
    sampling = prepare(model, seed=seed)
    result = _Result(model, sampling, samples)
    layout = Layout(samples, len(sampling.uncertain) * model.grid.bins, max(BLOCK_BYTES // (8 * samples), 1))
    with tempfile.TemporaryDirectory(prefix="flowtime-") as folder:
        _refuse_what_does_not_fit(model, layout, Path(folder))
        notes, done = Notes(), 0
        with (
            (Path(folder) / "samples").open("w+b") as file,
            closing(_Pool(sampling, layout, file, workers)) as pool,
        ):
            for task, met in pool.run(_draws(layout, len(model.nodes) * model.grid.bins)):
                notes.merge(met)
                done += task.end - task.begin
                if progress is not None:
                    progress(done, samples)
            for task, (statistics, present) in pool.run([Task("summarise", *b) for b in layout.blocks()]):
                result.take(task.begin, task.end, statistics, present)
                if progress is not None:
                    progress(done, samples)
    return result.evaluation(notes)


def _refuse_what_does_not_fit(model: Model, layout: Layout, folder: Path) -> None:
    recorded, bins = len(model.recorded()), model.grid.bins
    memory = (
        len(STATISTICS) * recorded * bins * 8 + layout.width * 8 + 3 * max(BLOCK_BYTES, layout.samples * 8)
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


@dataclass(frozen=True, slots=True)
class Task:
    """To `draw` the samples from number `begin` up to `end`, or to `summarise` these columns."""

    what: Literal["draw", "summarise"]
    begin: int
    end: int


def _draws(layout: Layout, values: int) -> list[Task]:
    """All samples, of so many values each, in runs that fit a block, short enough to share and to stop."""
    step = max(min(BLOCK_BYTES // (layout.width * 8), layout.samples // 64, TASK_VALUES // values), 1)
    starts = range(0, layout.samples, step)
    return [Task("draw", first, min(first + step, layout.samples)) for first in starts]


class _Worker:
    """Does tasks; there is one in each process."""

    def __init__(self, sampling: Sampling, layout: Layout, file: BinaryIO) -> None:
        self.program = sampling.program()
        self.layout = layout
        self.file = file

    def do(self, task: Task) -> Any:
        """The notes of samples drawn, or statistics with the numbers of samples present."""
        if task.what == "summarise":
            return summarise(self.layout.read(self.file, task.begin, task.end))
        notes = Notes()
        count = task.end - task.begin
        rows = np.empty((count, self.layout.width)) if count > 1 else None
        for number in range(task.begin, task.end):
            notes.merge(self.program.run(number))
            if rows is not None:
                rows[number - task.begin] = self.program.values.reshape(-1)
        self.layout.write(self.file, task.begin, self.program.values.reshape(1, -1) if rows is None else rows)
        self.file.flush()
        return notes


def _serve(connection: Connection, sampling: Sampling, layout: Layout, path: Path) -> None:
    """The life of a process: tasks come, results go, until the other end is closed."""
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C reaches every process; the first one ends the others
    with path.open("r+b") as file:
        worker = _Worker(sampling, layout, file)
        while True:
            try:
                task = connection.recv()
            except EOFError:
                return
            try:
                result = worker.do(task)
            except OSError as error:
                result = error
            connection.send(result)


class _Pool:
    """Does tasks here, or in processes of its own once that pays; results come as they are done."""

    def __init__(self, sampling: Sampling, layout: Layout, file: BinaryIO, workers: int | None) -> None:
        self.spec = (sampling, layout, Path(file.name))
        self.workers = workers
        self.processes: dict[Connection, BaseProcess] = {}
        self.here = _Worker(sampling, layout, file)

    def run(self, tasks: Sequence[Task]) -> Iterator[tuple[Task, Any]]:
        """Each task with its result, in any order."""
        began = time.monotonic()
        for done, task in enumerate(tasks):
            if self.processes or self.spreads(time.monotonic() - began, done, len(tasks)):
                yield from self.spread(tasks[done:])
                return
            yield task, self.here.do(task)

    def spreads(self, seconds: float, done: int, total: int) -> bool:
        """Whether other processes should take over, after so many seconds for the tasks done."""
        if self.workers is not None:
            return self.workers > 1
        return done > 0 and seconds / done * (total - done) > WORTH_PROCESSES and _cores() > 1

    def spread(self, tasks: Iterable[Task]) -> Iterator[tuple[Task, Any]]:
        """Each task with its result, done by other processes."""
        if not self.processes:
            self.start(self.workers or _cores())
        waiting = iter(tasks)
        busy: dict[Connection, Task] = {}
        try:
            for connection in self.processes:
                for task in islice(waiting, 1):
                    connection.send(task)
                    busy[connection] = task
            while busy:
                ready = wait(busy)
                for connection in [connection for connection in busy if connection in ready]:
                    result = connection.recv()
                    if isinstance(result, OSError):
                        raise result
                    yield busy.pop(connection), result
                    for task in islice(waiting, 1):
                        connection.send(task)
                        busy[connection] = task
        except (EOFError, BrokenPipeError, ConnectionResetError) as error:
            raise Unavailable(
                "FT307",
                "a process that computes samples has ended unexpectedly",
                hint="the system may have run out of memory; fewer processes need less of it",
            ) from error

    def start(self, count: int) -> None:
        """Start the processes. They are new, not forked: a fork of a process with threads may hang."""
        context = get_context("spawn")
        for _ in range(count):
            connection, other = context.Pipe()
            process = context.Process(target=_serve, args=(other, *self.spec), daemon=True)
            process.start()
            other.close()
            self.processes[connection] = process

    def close(self) -> None:
        """End the processes, whatever they are at."""
        for connection, process in self.processes.items():
            process.terminate()
            process.join()
            connection.close()


def _cores() -> int:
    """How many processes may run at once."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Result:
    """The statistics of all recorded series, filled in block by block."""

    def __init__(self, model: Model, sampling: Sampling, samples: int) -> None:
        self.model, self.sampling, self.samples = model, sampling, samples
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

    def evaluation(self, notes: Notes) -> Evaluation:
        """The statistics as series, and all warnings in the order of the model's nodes."""
        units = compile(self.model).units
        series = SeriesSet(
            self.model.grid,
            tuple(name for key, _ in self.recorded for name in keys(key)),
            tuple(units[node.id] for _, node in self.recorded for _ in STATISTICS),
            self.values.reshape(-1, self.model.grid.bins),
        )
        warnings = [*self.sampling.warnings, *notes.warnings(self.model, self.samples)]
        warnings += [self.missing(node, present) for node, present in self.present.items()]
        order = {node.id: index for index, node in enumerate(self.model.nodes)}
        warnings.sort(key=lambda warning: (order[warning.node or ""], warning.code))
        return Evaluation(series, tuple(warnings))

    def missing(self, node: str, present: NDArray[np.int64]) -> Diagnostic:
        where = present < self.samples
        fewest = f"in the worst bin {int(present.min()):,} of {self.samples:,} are there"
        message = f'node "{node}": missing_samples in {spelled_bins(self.model.grid, where)}; {fewest}'
        return Diagnostic("FT308", message, severity="warning", node=node)
