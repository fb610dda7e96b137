"""The artifacts in a store: where they lie, what their catalogs say, and the log of their changes."""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from flowtime.errors import FlowtimeError, NotFound, Unavailable
from flowtime.registry import document as documents
from flowtime.registry.document import ACCESS, CATALOG, DETAILS, FOLDERS, JSON, KINDS, Entry, Problem
from flowtime.registry.plain import Describe, completed
from flowtime.storage import Listing, Store

FORMAT = 1
"""Version of the layout, as `flowtime.json` at the root names it."""

MARKER = "flowtime.json"
LOG = ".log/changes"
TRASH = ".trash"
OURS = frozenset({MARKER, ".log", ".staging", TRASH, *FOLDERS.values()})
"""The names at the root that flowtime makes."""

Stamp = tuple[str, str, str]
"""Of a file or folder of an artifact: the artifact's path, the key, and its stamp in the store."""

_LINE = re.compile(r"\S+ (will|did) \S+ ([a-z]+)/(\S+) ([0-9a-f]+) (-|[0-9]+)")
_REFERENCE = re.compile(r"(.+)@v([1-9][0-9]{0,8})", re.DOTALL)


def split_version(reference: str) -> tuple[str, int | None]:
    """The parts of `ID@v2`: the id and the version, None where there is no `@v`."""
    match = _REFERENCE.fullmatch(reference)
    return (match[1], int(match[2])) if match else (reference, None)


class Artifacts:
    """The artifacts in a store, as the truth has them.

    A path such as `models/a` or `runs/b` names an artifact; a prefix such as `models/a/v1` or `runs/b`
    holds its files.
    """

    def __init__(self, store: Store, clock: Callable[[], datetime]) -> None:
        self.store = store
        self._clock = clock
        self.describe: Describe | None = None

    def timestamp(self) -> str:
        """The time now, as catalogs write it."""
        return self._clock().astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"

    @contextmanager
    def changing(self, action: str, path: str, *, hint: bool) -> Iterator[None]:
        """Tells every index that follows the store of the change that the block makes at `path`.

        The log gets a line before the change and one after it: an index that saw the first alone, for the
        writer died between, keeps looking. A change that the folder above shows as well, by a name that
        comes or goes, needs its lines only as a `hint`, which may be lost where folders have stamps.
        """
        token = os.urandom(4).hex()
        if hint and self.store.stamp(path.partition("/")[0]) is not None:
            with suppress(Unavailable):
                self.store.note(LOG, self._line("will", action, path, token))
        else:
            self.store.append(LOG, self._line("will", action, path, token))
        try:
            yield
        finally:
            # Without this line the artifact is only looked at longer than necessary.
            with suppress(Unavailable):
                self.store.note(LOG, self._line("did", action, path, token))

    def _line(self, when: str, action: str, path: str, token: str) -> str:
        stamp = self.store.stamp(path.partition("/")[0])
        return f"{self.timestamp()} {when} {action} {path} {token} {'-' if stamp is None else stamp}"

    def registry_id(self) -> str:
        """The UUID of the registry, empty where it has none yet; raises Unavailable (FT511)."""
        try:
            marker = documents.load(self.store.get(MARKER))
            if marker.get("format") == FORMAT:
                return str(marker["id"])
            found = marker.get("format")
            newer = isinstance(found, int) and found > FORMAT
            reason = f"it has format {found!r}{', a newer one' * newer}; this flowtime reads {FORMAT}"
            hint = "use the flowtime that wrote it, or name another folder"
        except NotFound:
            return ""
        except (ValueError, KeyError) as error:
            reason, hint = str(error), "delete the file: all else is as it was, and a new one is made"
        raise Unavailable(
            "FT511",
            f"the root marker cannot be used: {reason}",
            where=self.store.location(MARKER),
            hint=hint,
        )

    def exist(self) -> bool:
        """Whether anything of a registry is in the store, also where a hand put it there."""
        return self.store.size(MARKER) is not None or not OURS.isdisjoint(self.store.list("").folders)

    def found(self) -> None:
        """Gives the registry its UUID unless it has one."""
        if not self.registry_id():
            marker = {"format": FORMAT, "id": str(uuid.uuid4()), "created_utc": self.timestamp()}
            self.store.put_if_absent(MARKER, documents.dump(marker))

    def path(self, id: str) -> str | None:
        """The path of an artifact, or None; raises InvalidInput (FT502)."""
        documents.check_id(id)
        paths = (f"{folder}/{id}" for folder in FOLDERS.values())
        return next((path for path in paths if self.exists(path)), None)

    def prefix(self, id: str) -> str | None:
        """The prefix of the files of `ID` or `ID@v2`, or None; raises InvalidInput (FT502)."""
        base, version = split_version(id)
        documents.check_id(base)
        for folder in FOLDERS.values():
            path = f"{folder}/{base}"
            if folder != FOLDERS["model"]:
                if self._has_catalog(path):
                    return path if version is None else None
            elif versions := self.versions(path):
                number = version or versions[-1]
                return versioned(path, number) if number in versions else None
        return None

    def exists(self, path: str) -> bool:
        """Whether there is an artifact; one without a catalog does not exist."""
        return bool(self.versions(path)) if path.startswith("models/") else self._has_catalog(path)

    def versions(self, path: str) -> list[int]:
        """The versions of a model, ascending; none without the first, which deletion takes away first."""
        found = self.published(path)
        return found if found[:1] == [1] else []

    def published(self, path: str) -> list[int]:
        """The versions at a path that have a catalog, ascending, also where the first is not among them."""
        numbers = self._numbers(self.store.list(path))
        return [number for number in numbers if self._has_catalog(versioned(path, number))]

    def without_first(self, id: str) -> str | None:
        """The path of a model of which there are versions, but not the first, so that it does not exist."""
        path = f"models/{documents.check_id(id)}"
        return path if self.published(path)[:1] not in ([], [1]) else None

    def catalog(self, prefix: str) -> JSON:
        """The catalog with what lies in `details.json` and what it lacks; whose a model is says its first
        version.

        Raises NotFound (FT601), Unavailable (FT510).
        """
        key = f"{prefix}/{CATALOG}"
        catalog = self.merged(prefix, self.parse(key, self.store.get(key)))
        catalog = completed(self.store, prefix, catalog, self.describe)
        first = first_of(prefix)
        return catalog if first == prefix else {**catalog, **self.access(first)}

    def access(self, prefix: str) -> JSON:
        """Whose an artifact is and who may read it; raises NotFound (FT601), Unavailable (FT510)."""
        key = f"{first_of(prefix)}/{CATALOG}"
        catalog = self.parse(key, self.store.get(key))
        return {field: catalog[field] for field in ACCESS if field in catalog}

    def merged(self, prefix: str, catalog: JSON) -> JSON:
        """The catalog with what lies in `details.json`; raises NotFound (FT601), Unavailable (FT510)."""
        contents = catalog.get("contents")
        named = contents if isinstance(contents, list) else []
        if not any(isinstance(each, dict) and each.get("name") == DETAILS for each in named):
            return catalog
        key = f"{prefix}/{DETAILS}"
        try:
            return {**catalog, **self.parse(key, self.store.get(key))}
        except NotFound:
            if self._has_catalog(prefix):
                raise self.unreadable(key, "it is missing") from None
            raise

    def parse(self, key: str, data: bytes) -> JSON:
        """The object in these bytes of the key; raises Unavailable (FT510)."""
        try:
            return documents.load(data)
        except ValueError as error:
            raise self.unreadable(key, error) from error

    def unreadable(self, key: str, reason: object) -> Unavailable:
        """The error (FT510) that a file of the registry's own cannot be read."""
        return Unavailable(
            "FT510",
            f"cannot be read: {reason}",
            where=self.store.location(key),
            hint="restore the file from a backup, or delete the artifact's folder",
        )

    def read(self, paths: Sequence[str]) -> list[Entry | Problem]:
        """What is at each of the paths now; a path at which nothing is, is left out."""
        models = [path for path in paths if path.startswith("models/") and _is_path(path)]
        numbers = dict(zip(models, map(self._numbers, self.store.list_many(models)), strict=True))
        places: list[tuple[str, int | None]] = []
        for path in filter(_is_path, paths):
            places += [(path, number) for number in numbers[path]] if path in numbers else [(path, None)]
        keys = [f"{versioned(path, version)}/{CATALOG}" for path, version in places]
        found: dict[str, list[tuple[int | None, JSON]]] = {}
        problems: dict[str, Problem] = {}
        for (path, version), data in zip(places, self.store.get_many(keys), strict=True):
            try:
                if isinstance(data, bytes):
                    catalog = self.merged(versioned(path, version), documents.load(data))
                    found.setdefault(path, []).append((version, catalog))
                elif isinstance(data, Unavailable):
                    problems[path] = Problem(path, str(data), ours=True)
            except (ValueError, FlowtimeError) as error:
                problems[path] = Problem(path, f"{CATALOG}: {error}", ours=True)
        read: list[Entry | Problem] = []
        for path in paths:
            if path in problems:
                read.append(problems[path])
            elif path in found and found[path][0][0] in (None, 1):
                read.append(_entry(path, found[path]))
            elif self.anything(path):
                read.append(Problem(path, f"it has no {CATALOG}, so it is no artifact", ours=False))
        return read

    def stamps(self, paths: Iterable[str]) -> list[Stamp]:
        """The stamps of the catalogs at the paths and of the folders of versions, where the store has any."""
        if self.store.stamps(()) is None:
            return []
        keys: list[tuple[str, str]] = []
        for path in filter(_is_path, paths):
            if path.startswith("models/"):
                numbers = self._numbers(self.store.list(path))
                keys += [(path, path), *((path, f"{path}/v{number}/{CATALOG}") for number in numbers)]
            else:
                keys.append((path, f"{path}/{CATALOG}"))
        found = self.store.stamps([key for _, key in keys]) or ()
        return [(path, key, stamp) for (path, key), stamp in zip(keys, found, strict=True)]

    @staticmethod
    def _numbers(listing: Listing) -> list[int]:
        numbers = map(documents.version_of, listing.folders)
        return sorted(number for number in numbers if number is not None)

    def _has_catalog(self, prefix: str) -> bool:
        return self.store.size(f"{prefix}/{CATALOG}") is not None

    def anything(self, path: str) -> bool:
        """Whether there is a file at or under a path."""
        # Empty folders are what interruptions leave, and what some services keep of deleted objects.
        below = self.store.list(path)
        inner = self.store.list_many(f"{path}/{name}" for name in below.folders)
        return bool(below.files) or any(inner) or self.store.size(path) is not None


def versioned(path: str, version: int | None) -> str:
    """The prefix of an artifact's files."""
    return path if version is None else f"{path}/v{version}"


def first_of(prefix: str) -> str:
    """The prefix of the first version of the model with this prefix or path; of anything else, the prefix."""
    return f"{artifact_of(prefix)}/v1" if prefix.startswith("models/") else prefix


def artifact_of(prefix: str) -> str:
    """The path of the artifact whose files lie under the prefix."""
    return "/".join(prefix.split("/")[:2])


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the log: whether the change is `done`, at which `path`; the two lines of a change have the
    same `token`; `stamp` is that of the folder above at the time, None where the store has none.
    """

    done: bool
    path: str
    token: str
    stamp: int | None


def read_line(text: str) -> Line | None:
    """The line in this text, None where it is not whole."""
    match = _LINE.fullmatch(text)
    if match is None:
        return None
    when, folder, id, token, stamp = match.groups()
    if folder not in KINDS or not documents.is_id(id):
        return None
    return Line(when == "did", f"{folder}/{id}", token, None if stamp == "-" else int(stamp))


def _is_path(path: str) -> bool:
    return documents.is_id(path.partition("/")[2])


def _entry(path: str, versions: Sequence[tuple[int | None, JSON]]) -> Entry | Problem:
    try:
        return documents.entry(path, versions)
    except ValueError as error:
        return Problem(path, f"{CATALOG}: {error}", ours=True)
