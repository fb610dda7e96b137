"""Many points: a plan evaluated once for each of many sets of draws, by any number of threads.

Each thread has a machine of its own, with room for the draws and the values of some points. The program
walks through them without Python's lock, so threads run side by side. Which thread computes what, and how
many points at once, changes no bit.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable

import numpy as np

from flowtime.core.series import FloatArray
from flowtime.engine import machine, program, reference
from flowtime.engine.notes import Notes
from flowtime.engine.plan import Plan
from flowtime.engine.sources import Sources
from flowtime.engine.waiting import interruptible

ROOM = 4 * 2**20
"""Bytes of draws and values that a machine has room for, unless a point has more."""

SLOW = 2_000_000
"""Operations times bins from which on a point is computed in ranges of bins, so that it can be stopped."""

QUICK = 500
"""So many operations are compiled before anybody notices. More go to a thread, whose memory stays."""

Take = Callable[[int, FloatArray], object]
"""Told of the number of the first of some points and of their values, `(points, recorded, bins)`, which the
next ones write over. Several threads call it at once."""


class Points:
    """What evaluates the points of one plan. Threads may share it."""

    def __init__(self, sources: Sources) -> None:
        self.sources = sources
        plan, bins = sources.plan, sources.plan.model.grid.bins
        self.draws_shape = (len(plan.drawn), bins)
        self.values_shape = (len(plan.model.recorded()), bins)
        point = 8 * bins * (self.draws_shape[0] + self.values_shape[0])
        slow = plan.operations * bins > SLOW
        self.most = 1 if slow else max(ROOM // max(point, 1), 1)
        """How many points a machine has room for."""
        self.module = _compiled(plan) if machine.available() else None
        self.evaluate = self._plainly if self.module is None else self._slowly if slow else self._quickly
        """Evaluates points, `(begin, end, take, stop)`: with the draws of the samples from `begin` up to
        `end`. `stop` is called every few milliseconds, and may raise."""
        self._idle: queue.SimpleQueue[machine.Machine] = queue.SimpleQueue()
        self._machines: list[machine.Machine] = []
        self._plain, self._turn = Notes(), threading.Lock()

    def notes(self) -> Notes:
        """What all points so far have met; not to be asked while some are evaluated."""
        notes = Notes()
        for met in [self._plain, *(run.notes() for run in self._machines)]:
            notes.merge(met)
        return notes

    def _machine(self) -> machine.Machine:
        assert self.module is not None
        try:
            return self._idle.get_nowait()
        except queue.Empty:
            room = 8 * self.most * (int(np.prod(self.draws_shape)) + int(np.prod(self.values_shape)))
            self._machines.append(machine.Machine(self.module, self.sources, room))
            return self._machines[-1]

    def _quickly(self, begin: int, end: int, take: Take, stop: Callable[[], object]) -> None:
        run = self._machine()
        out = run.free + 8 * self.most * int(np.prod(self.draws_shape))
        draws = run.view(run.free, (self.most, *self.draws_shape))
        values = run.view(out, (self.most, *self.values_shape))
        count = 1
        while begin < end:
            stop()
            began, count = time.perf_counter(), min(count, self.most, end - begin)
            for number in range(count):
                draws[number] = self.sources.draw(begin + number)
            run.points(count, run.free, out)
            take(begin, values[:count])
            begin += count
            if time.perf_counter() - began < machine.RANGE / 2:
                count *= 2
        self._idle.put(run)

    def _slowly(self, begin: int, end: int, take: Take, stop: Callable[[], object]) -> None:
        run = self._machine()
        for number in range(begin, end):
            run.draws[:] = self.sources.draw(number)
            run.all_bins(stop)
            take(number, run.values()[None])
        self._idle.put(run)

    def _plainly(self, begin: int, end: int, take: Take, stop: Callable[[], object]) -> None:
        for number in range(begin, end):
            draws = self.sources.draw(number)
            values, notes = reference.evaluate(self.sources.plan, self.sources.fixed, draws, stop)
            take(number, values[None])
            with self._turn:
                self._plain.merge(notes)


def _compiled(plan: Plan) -> machine.Module:
    if plan.operations <= QUICK:
        return machine.Module(program.compile(plan))
    return interruptible(lambda _: machine.Module(program.compile(plan)))
