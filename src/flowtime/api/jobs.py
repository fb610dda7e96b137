"""Long work that goes on after its request: progress, cancelling, a result that survives a reload.

A job is a JSON file in the cache folder, so that every worker of a server can tell of it; its error keeps the
marks of `wording`, for who shows the job to put in words. Its work happens
in threads of the process that took the request; a job whose process has gone is interrupted, and said so.
"""

from __future__ import annotations

import logging
import os
import re
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from flowtime.api.presence import Presence
from flowtime.api.problems import outward
from flowtime.errors import Conflict, FlowtimeError, InternalError, NotFound, Unavailable
from flowtime.wanted import wanted_while
from flowtime.wording import HTTP, Face, say_all

JSON = dict[str, Any]
Tell = Callable[[int, float | None], None]
"""Told of the work done and of all of it, None where that is not known; raises Conflict (FT834) when the
work is to stop."""

_ID = re.compile(r"job_[0-9a-f]{24}")
_OFTEN = 0.25
"""Seconds between two notes of the progress."""
_SOON = 0.01
"""Seconds between two looks at whether to go on."""
_KEPT = 7 * 24 * 3600.0
_MOST = 1000
"""How many jobs that ended are kept at most; a week's worth where that is fewer."""
_THREADS = 2
_WAITING = 100
"""How many jobs may be under way in one process, waiting ones included."""

_log = logging.getLogger("flowtime.api")


class Jobs:
    """The jobs of one registry, seen by one server process. Threads may share it."""

    def __init__(self, folder: Path, presence: Presence, places: Sequence[str] = ()) -> None:
        """`folder` is where jobs are told of; it is made when there is one. Their errors do not name the
        `places` of the server.
        """
        self._folder = folder
        self._places = places
        self._presence = presence
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="job")
        self.stopping = threading.Event()
        """Set when all work of the server, requests too, had its time to end."""
        self._own: set[str] = set()
        self._turn = threading.Lock()

    @property
    def running(self) -> int:
        """How many jobs are under way in this process, waiting ones included."""
        return len(self._own)

    def begin(
        self,
        kind: str,
        owner: str,
        work: Callable[[Tell], JSON],
        after: Callable[[], object] = lambda: None,
    ) -> JSON:
        """Puts work in the queue and tells of its job. What `work` returns becomes the result; `after` is
        called at its end, also where it did not begin.

        Raises Unavailable (FT838) where too many are under way.
        """
        job: JSON = {
            "id": f"job_{secrets.token_hex(12)}",
            "kind": kind,
            "status": "queued",
            "owner": owner,
            "created_utc": _now(),
            "finished_utc": None,
            "progress": {"done": 0, "total": None},
            "result": None,
            "error": None,
            "process": self._presence.name,
        }
        with ExitStack() as stack:
            stack.callback(after)
            self._folder.mkdir(parents=True, exist_ok=True)
            self._forget()
            with self._turn:
                if len(self._own) >= _WAITING or self.stopping.is_set():
                    what = f"{len(self._own)} jobs are under way" if self._own else "the server is stopping"
                    raise Unavailable("FT838", what, hint="wait until some have ended, and ask again")
                self._own.add(job["id"])
            self._write(job)
            self._pool.submit(self._work, dict(job), work, stack.pop_all())
        return _shown(job, HTTP)

    def get(self, id: str, owner: str | None, face: Face = HTTP) -> JSON:
        """A job of the owner, of anybody where that is None; raises NotFound (FT833)."""
        return _shown(self._read(id, owner), face)

    def all(self, owner: str | None, face: Face = HTTP) -> list[JSON]:
        """The jobs of the owner, of everybody where that is None, newest first."""
        jobs = []
        for path in self._folder.glob("job_*.json"):
            with suppress(NotFound):
                jobs.append(_shown(self._read(path.stem, owner), face))
        return sorted(jobs, key=lambda job: (job["created_utc"], job["id"]), reverse=True)

    def cancel(self, id: str, owner: str | None, face: Face = HTTP) -> JSON:
        """Asks a job to stop, which it does at its next step; raises NotFound (FT833)."""
        job = self._read(id, owner)
        if job["finished_utc"] is None:
            self._path(id, "cancel").touch()
        return _shown(job, face)

    def stop(self, patience: float) -> None:
        """Lets running work end for `patience` seconds, then asks it to stop; what waits is interrupted."""
        waiting = threading.Timer(patience, self.stopping.set)
        waiting.start()
        self._pool.shutdown(wait=True, cancel_futures=True)
        waiting.cancel()
        for id in tuple(self._own):
            with suppress(NotFound):
                self._finish(self._load(id), "interrupted")

    def _forget(self) -> None:
        """Removes what ended a week ago, and the oldest where there are too many."""
        found = []
        for path in self._folder.glob("job_*"):
            with suppress(FileNotFoundError):
                found.append((path.stat().st_mtime, path))
        found.sort(reverse=True)
        for number, (changed, path) in enumerate(found):
            if path.stem not in self._own and (number >= _MOST or time.time() - changed > _KEPT):
                path.unlink(missing_ok=True)

    def _work(self, job: JSON, work: Callable[[Tell], JSON], after: ExitStack) -> None:
        told = looked = 0.0

        def ask() -> None:
            nonlocal looked
            if time.monotonic() - looked >= _SOON:
                looked = time.monotonic()
                if self.stopping.is_set() or self._path(job["id"], "cancel").exists():
                    raise Conflict("FT834", "the work was cancelled", hint="nothing of it was kept")

        def tell(done: int, total: float | None) -> None:
            nonlocal told
            ask()
            if time.monotonic() - told >= _OFTEN:
                told = time.monotonic()
                job["progress"] = {"done": done, "total": total}
                self._write(job)

        try:
            with after, wanted_while(ask):
                tell(0, None)
                job["status"] = "running"
                self._write(job)
                told = 0.0
                job["result"] = work(tell)
        except FlowtimeError as error:
            job["error"] = outward(error, self._places).to_json(marked=True)
            stopped = "interrupted" if self.stopping.is_set() else "cancelled"
            self._finish(job, stopped if error.code == "FT834" else "failed")
        except BaseException as error:
            # The caller gets nothing that could tell of the inside.
            _log.exception("%s %s failed", job["kind"], job["id"])
            hint = "the server's log has the details; please report it"
            job["error"] = InternalError("FT900", type(error).__name__, hint=hint).to_json()
            self._finish(job, "failed")
            raise
        else:
            self._finish(job, "done")

    def _finish(self, job: JSON, status: str) -> None:
        job.update(status=status, finished_utc=_now())
        self._write(job)
        self._path(job["id"], "cancel").unlink(missing_ok=True)
        with self._turn:
            self._own.discard(job["id"])

    def _path(self, id: str, suffix: str) -> Path:
        return self._folder / f"{id}.{suffix}"

    def _read(self, id: str, owner: str | None) -> JSON:
        """A job, interrupted where its process has gone."""
        job = self._load(id)
        if owner not in (None, job["owner"]):
            raise _unknown(id)
        if job["finished_utc"] is None and not self._presence.is_alive(job["process"]):
            # Its process may have ended it and gone since it was read.
            job = self._load(id)
            if job["finished_utc"] is None:
                self._finish(job, "interrupted")
        return job

    def _load(self, id: str) -> JSON:
        if not _ID.fullmatch(id):
            raise _unknown(id)
        try:
            job: JSON = msgspec.json.decode(self._path(id, "json").read_bytes())
        except (OSError, msgspec.DecodeError) as error:
            raise _unknown(id) from error
        return job

    def _write(self, job: JSON) -> None:
        path = self._path(job["id"], "json")
        beside = path.with_suffix(f".{secrets.token_hex(4)}.tmp")
        # For this user alone: a result shows what may be private.
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(msgspec.json.encode(job))
        beside.replace(path)


def _unknown(id: str) -> NotFound:
    return NotFound("FT833", f'there is no job "{id}"', hint="jobs that ended are kept for a week")


def _shown(job: JSON, face: Face) -> JSON:
    shown = {key: value for key, value in job.items() if key != "process"}
    return {**shown, "error": say_all(job["error"], face)}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
