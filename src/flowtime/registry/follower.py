"""An index that follows storage: brought up to date before every question, made anew when it is damaged."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TypeVar

from flowtime.errors import NotFound, did_you_mean
from flowtime.registry.artifacts import LOG, MARKER, Artifacts, changed
from flowtime.registry.document import FOLDERS, KINDS, Entry, Problem
from flowtime.registry.index import DamagedIndex, Index, State

Progress = Callable[[int, int], None]
"""Called with the number of artifacts read and the number of all to be read."""

_WATCHED = (MARKER, LOG, *FOLDERS.values())
_CHUNK = 1000
_SUGGESTED_FROM = 2000

_T = TypeVar("_T")


class Follower:
    """Questions to an index that knows what is in storage at the moment of asking.

    Folder marks tell of artifacts that came or went, lines of the log of those that changed; only these
    are read. A writer therefore leaves the index alone and appends to the log.
    """

    def __init__(self, artifacts: Artifacts, index: Index, progress: Progress | None) -> None:
        """`progress` is told of all reading, where a question does not bring its own."""
        self._artifacts = artifacts
        self._index = index
        self._progress = progress

    def close(self) -> None:
        """Lets go of the index; the next question opens it again."""
        self._index.close()

    def ask(self, question: Callable[[Index], _T]) -> _T:
        """The answer to a question that reads the index once it has followed storage."""

        def ask(index: Index) -> _T:
            while True:
                state = self._follow(index, self._progress)
                with index.snapshot() as seen:
                    if seen is not None and seen.generation == state.generation:
                        return question(index)

        return self._use(ask)

    def unknown(self, reference: str) -> NotFound:
        """The error that no artifact is meant by `reference`, with the nearest name or id there is."""
        return unknown(reference, self.ask(lambda index: suggestions(index, tuple(FOLDERS))))

    def begin_anew(self, progress: Progress | None) -> None:
        """Forgets all and reads every catalog."""

        def anew(index: Index) -> None:
            index.begin(index.state(), self._artifacts.registry_id(), self._log_end())
            self._follow(index, progress or self._progress)

        self._use(anew)

    def look_again(self, paths: Sequence[str]) -> None:
        """Reads these artifacts even though nothing tells of a change."""
        self._use(lambda index: self._take_in(index, paths, None))

    def _use(self, use: Callable[[Index], _T]) -> _T:
        # A damaged file makes way for a new one, a disk that takes none for memory, which always works.
        for _ in range(2):
            try:
                return use(self._index)
            except DamagedIndex:
                self._index.discard()
        self._index.use_memory()
        return use(self._index)

    def _follow(self, index: Index, progress: Progress | None) -> State:
        while True:
            state = self._step(index, progress)
            if state is not None:
                return state

    def _step(self, index: Index, progress: Progress | None) -> State | None:
        """Takes in what has changed; None where another process began anew meanwhile."""
        # The marks come before anything is read: what changes meanwhile will differ from them.
        marks = self._artifacts.store.marks(_WATCHED)
        state = index.state()
        if state is not None and state.marks == marks and all(marks):
            return state
        registry = self._artifacts.registry_id()
        if state is None or (state.registry and state.registry != registry):
            state = index.begin(state, registry, self._log_end())
        found = self._artifacts.store.records(LOG, state.position)
        if found is None:
            index.begin(state, registry, self._log_end())
            return None
        lines, position = found
        stale = dict.fromkeys(path for path in map(changed, lines) if path is not None)
        gone: set[str] = set()
        before = dict(zip(_WATCHED, state.marks, strict=True)) if state.marks else {}
        for folder, mark in zip(_WATCHED, marks, strict=True):
            if folder in KINDS and (not mark or mark != before.get(folder)):
                # The index first: what another process takes in meanwhile is not gone for not being listed.
                known = index.paths(folder)
                shown = known | {problem.path for problem in index.problems(folder)}
                listing = self._artifacts.store.list(folder)
                there = {f"{folder}/{name}" for name in (*listing.folders, *listing.files)}
                stale |= dict.fromkeys(sorted(there - known))
                gone |= shown - there
        if gone:
            index.apply((), gone, ())
        self._take_in(index, list(stale), progress)
        state = replace(state, registry=registry, marks=marks, position=position)
        return state if index.advance(state) else None

    def _take_in(self, index: Index, paths: Sequence[str], progress: Progress | None) -> None:
        for start in range(0, len(paths), _CHUNK):
            chunk = paths[start : start + _CHUNK]
            read = self._artifacts.read(chunk)
            entries = [each for each in read if isinstance(each, Entry)]
            problems = [each for each in read if isinstance(each, Problem)]
            index.apply(entries, set(chunk) - {each.path for each in read}, problems)
            if progress is not None:
                progress(start + len(chunk), len(paths))

    def _log_end(self) -> int:
        found = self._artifacts.store.records(LOG, 0)
        return 0 if found is None else found[1]


def suggestions(index: Index, kinds: Sequence[str]) -> list[str]:
    """Names and ids near which a mistyped one may be."""
    return index.words(kinds, _SUGGESTED_FROM)


def unknown(reference: str, words: Iterable[str]) -> NotFound:
    """The error that no artifact is meant by `reference`, with the nearest of `words`."""
    hint = did_you_mean(reference, words) or "flowtime list shows what is there"
    return NotFound("FT501", f'no artifact "{reference}"', hint=hint)
