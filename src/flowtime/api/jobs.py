"""Long work that goes on after its request: progress, cancelling, a result that survives a reload.

A job is a JSON file in the cache folder, so that every worker of a server can tell of it. Its work happens
in threads of the worker that took the request; jobs of a worker that has gone are marked as interrupted.
"""

from __future__ import annotations

import os
import re
import secrets
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from flowtime.errors import Conflict, FlowtimeError, InternalError, NotFound

JSON = dict[str, Any]
Tell = Callable[[int, float | None], None]
"""Told of the work done and of all of it, None where that is not known; raises Conflict (FT834) when the
work is to stop."""

_ID = re.compile(r"job_[0-9a-f]{24}")
_OFTEN = 0.25
_KEPT = 7 * 24 * 3600.0
_THREADS = 2


class Jobs:
    """The jobs of one server. Threads may share it."""

    def __init__(self, folder: Path) -> None:
        """`folder` is where jobs are told of; it is made when there is one."""
        self._folder = folder
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="job")
        self._stopping = threading.Event()

    def begin(self, kind: str, owner: str, work: Callable[[Tell], JSON]) -> JSON:
        """Puts work in the queue and tells of its job. What `work` returns becomes the result."""
        self._folder.mkdir(parents=True, exist_ok=True)
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
            "process": os.getpid(),
        }
        self._write(job)
        self._pool.submit(self._work, job, work)
        return _shown(job)

    def get(self, id: str, owner: str | None) -> JSON:
        """A job of the owner, of anybody where that is None; raises NotFound (FT833)."""
        return _shown(self._read(id, owner))

    def all(self, owner: str | None) -> list[JSON]:
        """The jobs of the owner, of everybody where that is None, newest first."""
        jobs = []
        for path in self._folder.glob("job_*.json"):
            with suppress(NotFound):
                jobs.append(_shown(self._read(path.stem, owner)))
        return sorted(jobs, key=lambda job: (job["created_utc"], job["id"]), reverse=True)

    def cancel(self, id: str, owner: str | None) -> JSON:
        """Asks a job to stop, which it does at its next step; raises NotFound (FT833)."""
        job = self._read(id, owner)
        if job["finished_utc"] is None:
            self._path(id, "cancel").touch()
        return _shown(job)

    def recover(self) -> None:
        """Marks the jobs of processes that have gone, and forgets those that ended a week ago."""
        for path in self._folder.glob("job_*.json"):
            with suppress(NotFound, OSError):
                job = self._read(path.stem, None)
                if job["finished_utc"] is None and not _lives(job["process"]):
                    self._finish(job, "interrupted")
                elif job["finished_utc"] is not None and time.time() - path.stat().st_mtime > _KEPT:
                    path.unlink()

    def stop(self, patience: float) -> None:
        """Lets running work end for `patience` seconds, then asks it to stop."""
        waiting = threading.Timer(patience, self._stopping.set)
        waiting.start()
        self._pool.shutdown(wait=True, cancel_futures=True)
        waiting.cancel()
        for path in self._folder.glob("job_*.json"):
            with suppress(NotFound):
                job = self._read(path.stem, None)
                if job["finished_utc"] is None and job["process"] == os.getpid():
                    self._finish(job, "interrupted")

    def _work(self, job: JSON, work: Callable[[Tell], JSON]) -> None:
        told = 0.0

        def tell(done: int, total: float | None) -> None:
            nonlocal told
            now = time.monotonic()
            if now - told >= _OFTEN:
                told = now
                if self._stopping.is_set() or self._path(job["id"], "cancel").exists():
                    raise Conflict("FT834", "the work was cancelled", hint="nothing of it was kept")
                job["progress"] = {"done": done, "total": total}
                self._write(job)

        try:
            tell(0, None)
            job["status"] = "running"
            self._write(job)
            told = 0.0
            job["result"] = work(tell)
        except FlowtimeError as error:
            job["error"] = error.to_json()
            self._finish(job, "cancelled" if error.code == "FT834" else "failed")
        except Exception as error:
            job["error"] = InternalError("FT900", type(error).__name__).to_json()
            self._finish(job, "failed")
            raise
        else:
            self._finish(job, "done")

    def _finish(self, job: JSON, status: str) -> None:
        job.update(status=status, finished_utc=_now())
        self._write(job)
        self._path(job["id"], "cancel").unlink(missing_ok=True)

    def _path(self, id: str, suffix: str) -> Path:
        return self._folder / f"{id}.{suffix}"

    def _read(self, id: str, owner: str | None) -> JSON:
        try:
            if not _ID.fullmatch(id):
                raise FileNotFoundError(id)
            job: JSON = msgspec.json.decode(self._path(id, "json").read_bytes())
        except (OSError, ValueError):
            job = {}
        if not job or owner not in (None, job["owner"]):
            raise NotFound("FT833", f"there is no job {id!r}", hint="jobs that ended are kept for a week")
        return job

    def _write(self, job: JSON) -> None:
        path = self._path(job["id"], "json")
        beside = path.with_suffix(f".{secrets.token_hex(4)}.tmp")
        beside.write_bytes(msgspec.json.encode(job))
        beside.replace(path)


def _shown(job: JSON) -> JSON:
    return {key: value for key, value in job.items() if key != "process"}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
