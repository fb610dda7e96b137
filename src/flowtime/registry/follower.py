"""An index that follows storage: brought up to date before every question, made anew when it is damaged."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TypeVar

from flowtime.errors import InvalidInput, NotFound, did_you_mean
from flowtime.registry.artifacts import LOG, MARKER, Artifacts, Line, read_line, split_version
from flowtime.registry.document import FOLDERS, KINDS, Entry, Problem
from flowtime.registry.index import DamagedIndex, Index, Pending, State
from flowtime.registry.reader import Reader
from flowtime.registry.view import View
from flowtime.wording import action

Progress = Callable[[int, int], None]
"""Called with the number of artifacts read and the number of all to be read."""

_WATCHED = (MARKER, LOG, *FOLDERS.values())
"""What the marks of a state stand for, in this order."""
_CHUNK = 1000
_SUGGESTED_FROM = 2000
_PATIENCE = 60.0
"""Seconds for which a change that was announced and not reported as done is looked for."""
_RECENT = 200
"""Lines at the end of the log among which a change may still be under way."""

_LIKE_AN_ID = re.compile(r"_[0-9a-f]{4,}$")

_LOOKED = 4000
"""Catalogs of which one question looks whether a hand has changed them; 2.3 ms for 1,000."""

_T = TypeVar("_T")


class Follower:
    """Questions to an index that knows what is in storage at the moment of asking.

    Folder marks tell of artifacts that came or went, lines of the log of those that changed; only these
    are read. A writer therefore leaves the index alone and appends to the log.
    """

    def __init__(
        self, artifacts: Artifacts, index: Index, progress: Progress | None, reader: Reader | None = None
    ) -> None:
        """`progress` is told of all reading, where a question does not bring its own; answers hold what
        `reader` may read.
        """
        self._artifacts = artifacts
        self._index = index
        self._progress = progress
        self._reader = reader

    def seen_by(self, reader: Reader | None) -> Follower:
        """A follower with the same index for another reader."""
        return Follower(self._artifacts, self._index, self._progress, reader)

    def close(self) -> None:
        """Lets go of the index; the next question opens it again."""
        self._index.close()

    def ask(self, question: Callable[[View], _T], *, closely: bool = False) -> _T:
        """The answer to a question that reads the index once it has followed storage.

        `closely`: the catalogs are looked at as well, for one that a hand has changed, of which no log tells.
        """

        def ask(index: Index) -> _T:
            while True:
                state = self._follow(index, self._progress)
                if closely and not self._look(index, state):
                    continue
                with index.snapshot(self._reader) as (seen, view):
                    if seen is not None and seen.generation == state.generation:
                        return question(view)

        return self._use(ask)

    def unknown(self, reference: str) -> NotFound:
        """The error that no artifact is meant by `reference`, with the nearest name or id there is."""
        return unknown(reference, self.ask(lambda view: suggestions(view, tuple(FOLDERS))))

    def hold_name(self, name: str, id: str = "") -> None:
        """Raises InvalidInput (FT508) where the name is the id of an artifact other than `id`, or names a
        version of one: it would always mean that.
        """
        base = split_version(name)[0]
        if name != id and is_like_an_id(name) and self.ask(lambda view: view.get(base)) is not None:
            raise InvalidInput(
                "FT508",
                f'name "{name}" is not allowed',
                hint=f'"{base}" is the id of an artifact; choose another',
            )

    def problems(self) -> list[Problem]:
        """What in storage the index could not take in, looked at again, and why."""

        def look_again(index: Index) -> list[Problem]:
            while True:
                state = self._follow(index, self._progress)
                paths = [problem.path for problem in index.problems()]
                if not paths or self._take_in(index, state, paths, None):
                    return index.problems()

        return self._use(look_again)

    def begin_anew(self, progress: Progress | None) -> None:
        """Forgets all and reads every catalog."""

        def anew(index: Index) -> None:
            self._begin(index, index.state(), self._artifacts.registry_id())
            self._follow(index, progress or self._progress)

        self._use(anew)

    def _use(self, use: Callable[[Index], _T]) -> _T:
        # A damaged file makes way for a new one, a disk that takes none for memory, which always works.
        for _ in range(2):
            try:
                return use(self._index)
            except DamagedIndex:
                self._index.discard()
        self._index.use_memory()
        return use(self._index)

    def _begin(self, index: Index, after: State | None, registry: str) -> State:
        lines, position = self._artifacts.store.tail(LOG, _RECENT)
        return index.begin(after, registry, position, _pending((), _lines(lines)))

    def _follow(self, index: Index, progress: Progress | None) -> State:
        while True:
            state = self._step(index, progress)
            if state is not None:
                return state

    def _step(self, index: Index, progress: Progress | None) -> State | None:
        """Takes in what has changed; None where another process got ahead meanwhile."""
        # The marks come before anything is read: what changes meanwhile will differ from them. The log
        # comes after the stamps: a stamp that its lines explain has nothing behind it that they do not.
        store = self._artifacts.store
        marks = store.marks((MARKER,), (LOG,), tuple(KINDS))
        state = index.state()
        if state is not None and state.marks == marks and all(marks) and not state.pending:
            return state
        stamps = {folder: store.stamp(folder) for folder in KINDS}
        registry = self._artifacts.registry_id()
        if state is None or (state.registry and state.registry != registry):
            state = self._begin(index, state, registry)
        found = store.records(LOG, state.position)
        if found is None:
            self._begin(index, state, registry)
            return None
        lines, position = _lines(found[0]), found[1]
        stale = dict.fromkeys(line.path for line in lines)
        gone: set[str] = set()
        known = dict(state.stamps)
        before = dict(zip(_WATCHED, state.marks, strict=True)) if state.marks else {}
        for folder, mark in zip(_WATCHED, marks, strict=True):
            if folder not in KINDS or (mark and mark == before.get(folder)):
                continue
            stamp, reach = stamps[folder], _reach(known.pop(folder, None), folder, state.pending, lines)
            if stamp is None or stamp != reach:
                settled = bool(mark) and store.marks((), (), (folder,)) == (mark,)
                came, went = self._listed(index, folder)
                stale |= came
                gone |= went
                if not settled:
                    continue
            if stamp is not None:
                known[folder] = stamp
        waited = _pending(state.pending, lines)
        # Of a change that is given up, the end may have been missed: it gets a last look.
        stale |= dict.fromkeys(each.path for each in state.pending if each not in waited)
        pending = self._watched(waited, stale)
        after = replace(
            state,
            registry=registry,
            position=position,
            marks=marks,
            stamps=tuple(sorted(known.items())),
            pending=pending,
        )
        if after == state and not stale and not gone:
            return state
        if gone and not index.apply(state, gone=gone):
            return None
        return after if self._take_in(index, state, list(stale), progress, after) else None

    def _look(self, index: Index, state: State) -> bool:
        """Takes in catalogs whose stamps have changed, of a bounded number that is looked at; False where
        another process got ahead meanwhile.
        """
        known = index.stamps(_LOOKED)
        stamps = self._artifacts.store.stamps([key for _, key, _ in known]) or ()
        stale = dict.fromkeys(
            path
            for (path, _, before), stamp in zip(known, stamps, strict=False)
            if not stamp or stamp != before
        )
        return not stale or self._take_in(index, state, list(stale), None)

    def _listed(self, index: Index, folder: str) -> tuple[dict[str, None], set[str]]:
        """The paths that came to a folder and those that went, by the names in it."""
        known = index.paths(folder)
        shown = known | {problem.path for problem in index.problems(folder)}
        listing = self._artifacts.store.list(folder)
        there = {f"{folder}/{name}" for name in (*listing.folders, *listing.files)}
        return dict.fromkeys(sorted(there - known)), shown - there

    def _watched(self, pending: Sequence[Pending], stale: dict[str, None]) -> tuple[Pending, ...]:
        """The pending changes with what is there now; a path that has changed becomes stale."""
        watched = []
        for each in pending:
            seen = hashlib.sha256(repr(self._artifacts.read([each.path])).encode()).hexdigest()
            if seen != each.seen:
                stale[each.path] = None
            watched.append(replace(each, seen=seen))
        return tuple(watched)

    def _take_in(
        self,
        index: Index,
        state: State,
        paths: Sequence[str],
        progress: Progress | None,
        after: State | None = None,
    ) -> bool:
        """Reads the artifacts and takes them in, the last of them with the state `after`."""
        for start in range(0, max(len(paths), 1), _CHUNK):
            chunk = paths[start : start + _CHUNK]
            last = start + _CHUNK >= len(paths)
            # The stamps come before the catalogs: what changes in between is looked at again.
            stamps = self._artifacts.stamps(chunk)
            read = self._artifacts.read(chunk)
            entries = [each for each in read if isinstance(each, Entry)]
            problems = [each for each in read if isinstance(each, Problem)]
            gone = set(chunk) - {each.path for each in read}
            kept = [stamp for stamp in stamps if stamp[0] not in gone]
            if not index.apply(state, entries, gone, problems, stamps=kept, after=after if last else None):
                return False
            if progress is not None and chunk:
                progress(start + len(chunk), len(paths))
        return True


def _lines(texts: Iterable[str]) -> list[Line]:
    return [line for line in map(read_line, texts) if line is not None]


def _pending(before: Iterable[Pending], lines: Iterable[Line]) -> list[Pending]:
    """The changes that are announced and neither done nor given up."""
    now = time.monotonic()  # the same for all processes; a wall clock that is set would end the waiting
    pending = {each.token: each for each in before if abs(now - each.since) < _PATIENCE}
    for line in lines:
        if line.done:
            pending.pop(line.token, None)
        else:
            pending[line.token] = Pending(line.token, line.path, line.stamp, now)
    return list(pending.values())


def _reach(stamp: int | None, folder: str, pending: Iterable[Pending], lines: Sequence[Line]) -> int | None:
    """The stamp up to which the log explains all that happened to a folder, beginning at `stamp`.

    Each change explains the time between its two lines; together they must leave no gap.
    """
    began = {change.token: change.stamp for change in pending}
    spans = []
    for line in lines:
        if not line.done:
            began[line.token] = line.stamp
        elif line.path.startswith(f"{folder}/"):
            begin = began.get(line.token)
            if begin is not None and line.stamp is not None:
                spans.append((begin, line.stamp))
    for begin, end in sorted(spans):
        if stamp is not None and begin <= stamp < end:
            stamp = end
    return stamp


def is_like_an_id(reference: str) -> bool:
    """Whether a reference, without its version, ends as the ids do that flowtime gives."""
    return bool(_LIKE_AN_ID.search(split_version(reference)[0]))


def suggestions(view: View, kinds: Sequence[str]) -> list[str]:
    """Names and ids near which a mistyped one may be."""
    return view.words(kinds, _SUGGESTED_FROM)


def unknown(reference: str, words: Iterable[str]) -> NotFound:
    """The error that no artifact is meant by `reference`, with the nearest of `words`."""
    hint = did_you_mean(reference, words) or f"{action('list')} shows what is there"
    return NotFound("FT501", f'no artifact "{reference}"', hint=hint)
