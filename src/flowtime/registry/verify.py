"""Every artifact read again in full: are its bytes, its catalog and the index still what was published?"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

from flowtime.core.grid import Grid
from flowtime.errors import FlowtimeError, NotFound, Unavailable
from flowtime.formats.telemetry import import_file
from flowtime.registry import document as documents
from flowtime.registry.artifacts import Artifacts, versioned
from flowtime.registry.document import CATALOG, DETAILS, FOLDERS, JSON, Problem
from flowtime.registry.follower import Progress
from flowtime.registry.registry import Registry
from flowtime.storage import Store

What = Literal["changed", "missing", "orphan", "broken", "foreign", "stale"]
"""A file that is not what was published, is not there, or that no catalog names; a catalog that cannot be
read; what is no artifact; an artifact of which the index says something else."""

DATA_FILE = "binned_v0.csv"
_CHUNK = 1 << 20
_ATTEMPTS = 3
_INDEXED = ("kind", "name", "created_utc", "tags", "owner", "visibility", "description", "star")


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong: the key where it is, what it is, and why it is thought so."""

    path: str
    what: What
    reason: str


@dataclass(frozen=True, slots=True)
class Verified:
    """What was read, in artifacts, files and bytes, and everything that is wrong, sorted by path."""

    artifacts: int
    files: int
    bytes: int
    seconds: float
    findings: tuple[Finding, ...]

    def to_json(self) -> JSON:
        """The report as every face writes it; `ok` where nothing was found."""
        return {**asdict(self), "findings": [asdict(each) for each in self.findings], "ok": not self.findings}


def verify(registry: Registry, progress: Progress | None = None) -> Verified:
    """Hashes every file, the data, the lists in `details.json` and the catalogs themselves.

    Changes nothing. An artifact that is edited or deleted meanwhile is no finding. Raises Unavailable
    (FT6xx) where storage cannot be read at all, Denied (FT829) for a reader who is no admin.
    """
    registry.hold_all()
    began = time.perf_counter()
    store = registry.store
    artifacts = registry.artifacts
    listings = {folder: store.list(folder) for folder in FOLDERS.values()}
    paths = [
        f"{folder}/{name}" for folder, found in listings.items() for name in (*found.folders, *found.files)
    ]
    count = files = size = 0
    findings: list[Finding] = []
    for done, path in enumerate(paths, start=1):
        one = _Reading(store, artifacts, path)
        findings += one.settled()
        if one.entry is not None:
            findings += _stale(registry, one.entry)
        count, files, size = count + (one.entry is not None), files + one.files, size + one.bytes
        if progress is not None:
            progress(done, len(paths))
    findings.sort(key=lambda finding: finding.path)
    return Verified(count, files, size, time.perf_counter() - began, tuple(findings))


class _Reading:
    """One artifact, read in full."""

    def __init__(self, store: Store, artifacts: Artifacts, path: str) -> None:
        self._store = store
        self._artifacts = artifacts
        self.path = path
        self.entry: documents.Entry | None = None
        self.files = self.bytes = 0

    def settled(self) -> list[Finding]:
        """What is wrong; read again where it changed while it was read."""
        findings: list[Finding] = []
        for _ in range(_ATTEMPTS):
            self.entry, self.files, self.bytes = None, 0, 0
            before = self._artifacts.read([self.path])
            findings = list(self._findings(before))
            if not findings or self._artifacts.read([self.path]) == before:
                break
        return findings

    def _findings(self, read: list[documents.Entry | Problem]) -> Iterator[Finding]:
        for each in read:
            if isinstance(each, Problem):
                yield Finding(self.path, "broken" if each.ours else "foreign", each.reason)
                return
            self.entry = each
        if self.entry is None:
            return
        if self.entry.version is None:
            yield from self._version(self.path)
            return
        versions = self._artifacts.versions(self.path)
        known = {f"v{version}" for version in versions}
        below = self._store.list(self.path)
        for name in (*below.folders, *below.files):
            if name not in known:
                yield Finding(f"{self.path}/{name}", "orphan", f"it has no {CATALOG}, so it is no version")
        for version in versions:
            yield from self._version(versioned(self.path, version))

    def _version(self, prefix: str) -> Iterator[Finding]:
        """What is wrong with the files under a prefix."""
        try:
            catalog = documents.load(self._store.get(f"{prefix}/{CATALOG}"))
        except (NotFound, ValueError) as error:
            yield Finding(f"{prefix}/{CATALOG}", "broken", str(error))
            return
        whole = catalog.get("seal") == documents.seal(catalog)
        if not whole:
            why = "it is not what its seal says was published" if "seal" in catalog else "it has no seal"
            yield Finding(f"{prefix}/{CATALOG}", "changed", why)
        contents = {str(each.get("name")): each for each in catalog.get("contents") or ()}
        there = set(_names(self._store, prefix)) - {CATALOG}
        for name in sorted(there - set(contents)):
            yield Finding(f"{prefix}/{name}", "orphan", f"{CATALOG} does not name it")
        for name, content in contents.items():
            key = f"{prefix}/{name}"
            if name not in there:
                yield Finding(key, "missing", f"{CATALOG} names it")
                whole = False
            elif reason := self._hashed(key, content):
                yield Finding(key, "changed", reason)
                whole = False
        if whole:
            yield from self._details(prefix, catalog)
            yield from self._data(prefix, catalog)

    def _hashed(self, key: str, content: JSON) -> str | None:
        """Why the file is not what the catalog says, None where it is."""
        digest, size = hashlib.sha256(), 0
        try:
            with self._store.open(key) as stream:
                while piece := stream.read(_CHUNK):
                    digest.update(piece)
                    size += len(piece)
        except (NotFound, Unavailable, OSError) as error:
            return f"it cannot be read: {error}"
        self.files, self.bytes = self.files + 1, self.bytes + size
        published = content.get("bytes")
        if size != published:
            said = f"{published:,}" if isinstance(published, int) else str(published)
            return f"it has {size:,} bytes, published were {said}"
        found = f"sha256:{digest.hexdigest()}"
        return None if found == content.get("sha256") else f"its hash is {found}, not {content.get('sha256')}"

    def _details(self, prefix: str, catalog: JSON) -> Iterator[Finding]:
        details = f"{prefix}/{DETAILS}"
        if self._store.size(details) is None:
            return
        for field, value in documents.load(self._store.get(details)).items():
            try:
                same = catalog.get(field) == documents.abridged(field, value)
            except (TypeError, KeyError):
                same = False
            if not same:
                yield Finding(details, "changed", f"its {field} are not what {CATALOG} counted and hashed")

    def _data(self, prefix: str, catalog: JSON) -> Iterator[Finding]:
        data, grid = catalog.get("data"), catalog.get("grid")
        if not isinstance(data, dict) or not isinstance(grid, dict):
            return
        key = f"{prefix}/{DATA_FILE}"
        try:
            with self._store.file(key) as table:
                found = import_file(table, grid=Grid.from_json(grid), ignore_metadata=True).digest
        except FlowtimeError as error:
            yield Finding(key, "changed", error.message)
            return
        except (KeyError, TypeError, ValueError) as error:
            yield Finding(f"{prefix}/{CATALOG}", "broken", f"its grid is no grid: {error}")
            return
        if found != data.get("digest"):
            yield Finding(key, "changed", f"the digest of its values is {found}, not {data.get('digest')}")


def _names(store: Store, prefix: str, above: str = "") -> Iterator[str]:
    """The names of all files under a prefix, relative to it."""
    listing = store.list(f"{prefix}/{above}".rstrip("/"))
    yield from (f"{above}{name}" for name in listing.files)
    for folder in listing.folders:
        yield from _names(store, prefix, f"{above}{folder}/")


def _stale(registry: Registry, entry: documents.Entry) -> Iterator[Finding]:
    """That the index says something else of an artifact than its catalog, which nobody is just changing."""
    for _ in range(_ATTEMPTS):
        try:
            item = registry.item(entry.id)
        except NotFound:
            item = {}
        wrong = [field for field in _INDEXED if item.get(field) != _plain(getattr(entry, field))]
        [now] = registry.artifacts.read([entry.path]) or [entry]
        if not wrong or not isinstance(now, documents.Entry):
            return
        if now == entry:
            break
        entry = now
    else:
        return
    said = f"the index has another {', '.join(wrong)}" if item else "the index does not have it"
    yield Finding(entry.path, "stale", f"{said}; a rebuild of the index mends that")


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
