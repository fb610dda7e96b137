"""Publication: files staged in a folder become an artifact, all or nothing."""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from flowtime.core.labels import normal
from flowtime.errors import InvalidInput, NotFound, Unavailable
from flowtime.registry import document as documents
from flowtime.registry.artifacts import Artifacts, artifact_of
from flowtime.registry.document import CATALOG, DETAILS, FOLDERS, JSON, Kind
from flowtime.registry.follower import Follower
from flowtime.registry.reader import Reader


class Document(Protocol):
    """What is published: `flowtime.registry.catalog.Catalog`, which readers need not import."""

    def to_json(self) -> JSON:
        """The fields of the catalog."""


class Staging:
    """Files of an artifact that is not published yet, in the local folder `path`.

    `hashes` are `sha256:...` by file name; who knows that of a file already, having written it, notes it
    there, and the file is not read again.
    """

    def __init__(
        self, artifacts: Artifacts, follower: Follower, reader: Reader | None, kind: Kind, path: Path
    ) -> None:
        self.path = path
        self.hashes: dict[str, str] = {}
        self._artifacts = artifacts
        self._follower = follower
        self._reader = reader
        self._kind = kind

    def publish(self, catalog: Document, *, update: str | None = None, deterministic: bool = False) -> JSON:
        """Makes the artifact of the files in the folder and the catalog, durably, and returns its catalog.

        A model whose name and model hash are there already is returned as it is, not made again. `update`
        publishes the next version of that model, unless its newest version has the model hash already;
        owner, team and visibility are those of the model.
        `deterministic` takes the end of the id from the inputs hash, and returns the artifact that did so
        before where there is one. Raises InvalidInput (FT508) on values that are not allowed, NotFound
        (FT501) where there is no model to update, Denied (FT829) where the reader may not change it.
        """
        document = catalog.to_json()
        if document.get("kind") != self._kind:
            raise InvalidInput("FT508", f"kind is {document.get('kind')!r}, staged as {self._kind!r}")
        if self._reader is not None and self._reader.teams:
            document["team"] = document.get("team") or self._reader.teams[0]
        documents.check(document)
        documents.normalise(document)
        self._follower.hold_name(document["name"])
        document["created_utc"] = document.get("created_utc") or self._artifacts.timestamp()
        if update is not None:
            return self._publish_version(document, update)
        if self._kind == "model":
            return self._publish_model(document)
        return self._publish_data(document, deterministic=deterministic)

    def restore(self, catalog: Document, id: str) -> JSON | None:
        """Publishes a model under the id that it has in another registry, as its first version here.

        Returns its catalog, or None where the id is in use here, which is left as it is, and for a reader
        who may not read everything. Raises InvalidInput (FT502, FT508) on what is not allowed.
        """
        document = catalog.to_json()
        documents.check(document)
        documents.normalise(document)
        if self._reader is not None and not self._reader.admin:
            # That an id is taken would tell of an artifact that the reader may not know of.
            documents.check_id(id)
            return None
        if self._artifacts.path(id) is not None:
            return None
        document |= {"id": id, "model_id": id, "model_version": 1}
        document["created_utc"] = document.get("created_utc") or self._artifacts.timestamp()
        return document if self._put_new(document, f"models/{id}/v1") else None

    def _publish_data(self, document: JSON, *, deterministic: bool) -> JSON:
        digits = self._digits(document.get("inputs_hash")) if deterministic else None
        endings = (f"_{digits}", f"_{_tail(document.get('inputs_hash'))}")
        found = self._same("inputs_hash", document, endings) if digits else None
        if found is not None:
            return found
        stem = documents.slug(document["name"]) or {"run": "run", "telemetry": "telem"}[self._kind]
        day = document["created_utc"][:10]
        while True:
            document["id"] = f"{stem}_{day}_{digits or os.urandom(4).hex()}"
            if self._put_new(document, f"{FOLDERS[self._kind]}/{document['id']}"):
                return document
            digits = None

    def _publish_model(self, document: JSON) -> JSON:
        found = self._same("model_hash", document, ("",))
        if found is not None:
            return found
        stem = documents.slug(document["name"]) or "model"
        digits = self._digits(document.get("model_hash"))
        document["model_version"] = 1
        while True:
            document["id"] = document["model_id"] = f"{stem}_{digits or os.urandom(4).hex()}"
            if self._put_new(document, f"models/{document['id']}/v1"):
                return document
            found = self._first_version(document["id"], document)
            if found is not None:
                return found
            digits = None

    def _publish_version(self, document: JSON, id: str) -> JSON:
        path = f"models/{documents.check_id(id)}"
        document["id"] = document["model_id"] = id
        if not self._is_readable(id):
            raise self._follower.unknown(id)
        with self._artifacts.store.turn(path):
            taken = 0
            while True:
                versions = self._artifacts.versions(path)
                if not versions:
                    raise self._follower.unknown(id)
                newest = self._artifacts.catalog(f"{path}/v{versions[-1]}")
                if self._reader is not None:
                    if not self._reader.may_read(newest):
                        raise self._follower.unknown(id)
                    self._reader.hold(id, newest)
                document |= {field: newest[field] for field in documents.ACCESS if field in newest}
                if newest.get("model_hash") == document.get("model_hash") is not None:
                    return newest
                # A number that was lost to a writer who then died shows no version.
                taken = document["model_version"] = max(versions[-1], taken) + 1
                if self._put(document, f"{path}/v{taken}"):
                    return document

    def _same(self, column: str, document: JSON, endings: tuple[str, ...]) -> JSON | None:
        """The newest artifact of this kind and name with the same hash and an id that ends so."""
        digest = document.get(column)
        if not digest:
            return None
        rows = self._follower.ask(lambda view: view.published(self._kind, document["name"], column, digest))
        for row in rows:
            prefix = self._artifacts.prefix(row["id"]) if row["id"].endswith(endings) else None
            if prefix is None:
                continue
            with suppress(NotFound, Unavailable):  # a damaged one is not found again
                catalog = self._artifacts.catalog(prefix)
                # It may have got another version since it was looked up, or another reader.
                readable = self._reader is None or self._reader.may_read(catalog)
                if readable and catalog.get(column) == digest:
                    return catalog
        return None

    def _digits(self, digest: str | None) -> str | None:
        """The end of an id, from a hash of the content.

        Of a reader who may not read everything, from their name too: were it the same for all, one who
        publishes what somebody else keeps private would see from the id that it is there.
        """
        if digest is None or self._reader is None or self._reader.admin:
            return _tail(digest)
        return hashlib.sha256(f"{digest} {self._reader.user}".encode()).hexdigest()[:8]

    def _first_version(self, id: str, document: JSON) -> JSON | None:
        try:
            there = self._artifacts.catalog(f"models/{id}/v1")
        except (NotFound, Unavailable):
            return None
        same = there.get("model_hash") == document["model_hash"] and (
            normal(str(there.get("name"))) == document["name"]
        )
        return there if same and (self._reader is None or self._reader.may_read(there)) else None

    def _is_readable(self, id: str) -> bool:
        return self._reader is None or self._follower.ask(lambda view: view.get(id)) is not None

    def _put_new(self, document: JSON, prefix: str) -> bool:
        """Publishes a new artifact under the prefix; False where it is taken."""
        with self._artifacts.store.turn(artifact_of(prefix)):
            if self._kind == "model" and self._artifacts.without_first(document["id"]) is not None:
                return False
            return self._put(document, prefix)

    def _put(self, document: JSON, prefix: str) -> bool:
        """Publishes under the prefix; False where it is taken. `document` gets its contents. The caller has
        the turn of the artifact.
        """
        for name in (CATALOG, DETAILS):
            (self.path / name).unlink(missing_ok=True)
            self.hashes.pop(name, None)
        document["contents"] = self._contents()
        catalog, details = documents.split(document)
        if details:
            (self.path / DETAILS).write_bytes(documents.dump(details))
            document["contents"] = catalog["contents"] = self._contents()
        document["seal"] = catalog["seal"] = documents.seal(catalog)
        (self.path / CATALOG).write_bytes(documents.dump(catalog))
        self._artifacts.found()
        path = artifact_of(prefix)
        new = document.get("model_version") in (None, 1)
        with self._artifacts.changing("publish", path, hint=self._kind != "model" or new):
            return self._artifacts.store.publish(self.path, prefix, CATALOG)

    def _contents(self) -> list[JSON]:
        """The files in the folder with their sizes and hashes."""
        contents = []
        for path in sorted(self.path.rglob("*")):
            if path.is_file():
                name = path.relative_to(self.path).as_posix()
                if name not in self.hashes:
                    with path.open("rb") as stream:
                        digest = hashlib.file_digest(stream, "sha256").hexdigest()
                    self.hashes[name] = f"sha256:{digest}"
                contents.append({"name": name, "bytes": path.stat().st_size, "sha256": self.hashes[name]})
        return contents


def _tail(digest: str | None) -> str | None:
    return digest.rpartition(":")[2][:8] if digest else None
