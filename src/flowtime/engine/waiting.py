"""Work in threads, so that the thread that asked for it can be interrupted at any moment."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterable
from typing import TypeVar

from flowtime.wanted import still_wanted

T = TypeVar("T")
Task = TypeVar("Task")

OFTEN = 0.01
"""Seconds between two looks at whether to go on."""

Stop = Callable[[], None]
"""Called by work every few milliseconds; raises where the work is to end."""


class Stopped(BaseException):
    """The work was told to stop."""


def interruptible(work: Callable[[Stop], T]) -> T:
    """What `work` returns, done in a thread; see `in_threads`."""
    ((_, result),) = in_threads(lambda _, stop: work(stop), [None], 1)
    return result


def in_threads(
    work: Callable[[Task, Stop], T],
    tasks: Iterable[Task],
    threads: int,
    tell: Callable[[], object] = lambda: None,
) -> Generator[tuple[Task, T]]:
    """Each task with what `work` returns for it, in the order in which they are done.

    All the while this thread calls `tell`, and asks whether the work is `still_wanted`, every few
    milliseconds. What they raise, or a signal, is raised here at once, and the work ends at its next stop,
    with nobody to hear.
    """
    ahead, turn, stopped = iter(tasks), threading.Lock(), threading.Event()
    done: queue.SimpleQueue[tuple[Task, T] | BaseException | None] = queue.SimpleQueue()

    def stop() -> None:
        if stopped.is_set():
            raise Stopped

    def run() -> None:
        try:
            while True:
                stop()
                with turn:
                    task = next(ahead)
                done.put((task, work(task, stop)))
        except StopIteration:
            done.put(None)
        except BaseException as error:  # noqa: BLE001 - it is raised again in the thread that waits
            done.put(error)

    for _ in range(threads):
        threading.Thread(target=run, name="engine", daemon=True).start()
    try:
        while threads:
            still_wanted()
            tell()
            try:
                found = done.get(timeout=OFTEN)
            except queue.Empty:
                continue
            if isinstance(found, BaseException):
                raise found
            if found is None:
                threads -= 1
            else:
                yield found
    finally:
        stopped.set()
