"""The machine that runs programs: wasmtime, loaded when the first program is run.

wasmtime's wheel for any platform holds a library for one: its import may fail in several ways, and then
`available` says so once, and the reference evaluates.
"""

from __future__ import annotations

import atexit
import ctypes
import logging
import mmap
import sys
import time
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from flowtime.core.series import FloatArray
from flowtime.engine.layout import PAGE
from flowtime.engine.notes import Notes
from flowtime.engine.program import Program
from flowtime.engine.sources import Sources

RANGE = 0.01
"""Seconds that one call should take: nothing interrupts it."""

LARGE = 4 * 2**20
"""Bytes of values from which on large pages pay."""

_log = logging.getLogger("flowtime.engine")


@cache
def _library() -> Any:
    """wasmtime with an engine, or None where it cannot be loaded here."""
    try:
        import wasmtime  # noqa: PLC0415 - 40 ms that small work does without

        atexit.register(_library.cache_clear)
        config = wasmtime.Config()
        # No access needs a check of its own, as offsets never reach beyond the guard.
        config.memory_guard_size = 2**32
        # Straight lines of arithmetic gain nothing from optimising; it holds numbers in registers that
        # the values need.
        config.cranelift_opt_level = "none"
        return wasmtime, wasmtime.Engine(config)
    except (ImportError, OSError, RuntimeError) as error:
        _log.warning(
            "wasmtime cannot be loaded (%s: %s), so models are evaluated in plain Python, which takes "
            "much longer; `pip install wasmtime` on a platform that it has a wheel for",
            type(error).__name__,
            error,
        )
        return None


def _ask_for_large_pages(address: int, size: int) -> None:
    """Has the system hand out memory in large pages, as NumPy asks for its arrays: a run in which every
    series is recorded touches each page once.
    """
    if sys.platform == "linux" and size >= LARGE:
        ctypes.CDLL(None).madvise(ctypes.c_void_p(address), ctypes.c_size_t(size), mmap.MADV_HUGEPAGE)


def available() -> bool:
    """Whether programs can be run here."""
    return _library() is not None


def binary(program: Program) -> bytes:
    """The module of a program."""
    wasmtime, _ = _library()
    return bytes(wasmtime.wat2wasm(program.text))


class Module:
    """A program, compiled for this processor. Threads may share it."""

    def __init__(self, program: Program) -> None:
        wasmtime, engine = _library()
        self.program = program
        self.native = wasmtime.Module(engine, binary(program))


class Machine:
    """A module with a memory of its own, the given sources in it; for one thread at a time."""

    def __init__(self, module: Module, sources: Sources, extra: int = 0) -> None:
        """`extra` bytes of memory are left free at the end, from `free` on."""
        wasmtime, engine = _library()
        self.program = module.program
        self.free = -(-self.program.memory.bytes // 16) * 16
        self.store = wasmtime.Store(engine)
        pages = -(-(self.free + extra) // PAGE)
        limits = wasmtime.Limits(pages, pages)
        self.memory = wasmtime.Memory(self.store, wasmtime.MemoryType(limits))
        exports = wasmtime.Instance(self.store, module.native, [self.memory]).exports(self.store)
        self._begin, self._points = exports["begin"], exports["points"]
        self._passes = [exports["run"], *([exports["again"]] if self.program.plan.late else [])]
        address = ctypes.addressof(self.memory.data_ptr(self.store).contents)
        self._bytes = (ctypes.c_ubyte * (pages * PAGE)).from_address(address)
        _ask_for_large_pages(address, self.program.memory.marks)
        self._bytes.keeps = (self.store, self.memory)  # type: ignore[attr-defined]
        layout, bins = self.program.memory, self.bins
        for id, at in layout.given.items():
            self.view(at, (bins,))[:] = sources.fixed[id]
        for id, at in layout.since.items():
            missing = np.isnan(sources.fixed[id])
            if missing.any():
                self.view(at, (1,), np.uint32)[0] = int(missing.argmax()) + 1

    @property
    def bins(self) -> int:
        """The bins of the grid."""
        return self.program.plan.model.grid.bins

    def view(self, at: int, shape: tuple[int, ...], dtype: DTypeLike = np.float64) -> NDArray[Any]:
        """The memory from an address on, as an array that keeps it alive."""
        return np.ndarray(shape, dtype, self._bytes, at)  # type: ignore[arg-type]

    @property
    def draws(self) -> FloatArray:
        """The `(drawn, bins)` rows of draws, to be filled in."""
        return self.view(self.program.memory.drawn, (len(self.program.plan.drawn), self.bins))

    def all_bins(self, stop: Callable[[], object]) -> None:
        """Computes all bins as the next point, in ranges of some milliseconds; `stop` is called between them,
        and may raise.
        """
        self._begin(self.store)
        step = block = self.program.memory.block
        for run in self._passes:
            first = 0
            while first < self.bins:
                stop()
                began, end = time.perf_counter(), min(first + step, self.bins)
                run(self.store, first, end)
                first = end
                share = RANGE / max(time.perf_counter() - began, 1e-6)
                step = max(int(min(share, 4.0) * step) // block, 1) * block

    def points(self, count: int, draws: int, out: int) -> None:
        """Computes all bins for `count` sets of draws, from the address `draws` on, into `out`."""
        self._points(self.store, count, draws, out)

    def values(self) -> FloatArray:
        """The `(recorded, bins)` values of the last run, in the memory of the machine."""
        layout = self.program.memory
        values = self.view(layout.recorded, (len(self.program.plan.model.recorded()), self.bins))
        for row, other in layout.repeated:
            values[row] = values[other]
        return values

    def notes(self) -> Notes:
        """What all runs and points so far have met."""
        notes, layout = Notes(), self.program.memory
        counts = self.view(layout.counts, (2 * len(self.program.notes),), np.uint32)[::2]
        for index in np.flatnonzero(counts):
            marks = self.view(layout.marks + int(index) * self.bins, (self.bins,), np.bool_)
            notes.add(self.program.notes[index], marks, int(counts[index]))
        return notes
