"""Publication: files staged in a folder become an artifact, all or nothing."""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from flowtime.errors import InvalidInput, NotFound, Unavailable
from flowtime.registry import document as documents
from flowtime.registry.artifacts import Artifacts, artifact_of
from flowtime.registry.document import CATALOG, DETAILS, FOLDERS, JSON, Kind
from flowtime.registry.follower import Follower
from flowtime.registry.reader import Reader
from flowtime.registry.view import View

MODEL = "model.yaml"
"""The file with the text of a model."""


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
        self.made = False
        """Whether something was published, and not found."""

    def publish(
        self,
        catalog: Document,
        *,
        update: str | None = None,
        new: bool = False,
        deterministic: bool = False,
    ) -> JSON:
        """Makes the artifact of the files in the folder and the catalog, durably, and returns its catalog.

        A version of a model with this name and this document is returned as it is, not made again. A model
        with another document becomes the next version of the newest one that its owner has of this name and
        of the same `source_path`, or, without such a path, of the same model hash; it keeps the model's tags
        and star. Otherwise, and where it must be `new`, it is a new model. `update` publishes the next
        version of that model, unless its newest version has the same document. Owner, team and visibility of
        a version are those of the model.

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
            return self._publish_model(document, new=new)
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
        found = self._same_run(document, digits) if digits else None
        if found is not None:
            return found
        stem = documents.slug(document["name"]) or {"run": "run", "telemetry": "telem"}[self._kind]
        day = document["created_utc"][:10]
        while True:
            document["id"] = f"{stem}_{day}_{digits or os.urandom(4).hex()}"
            if self._put_new(document, f"{FOLDERS[self._kind]}/{document['id']}"):
                return document
            digits = None

    def _publish_model(self, document: JSON, *, new: bool) -> JSON:
        stem = documents.slug(document["name"]) or "model"
        digits = self._digits(document.get("model_hash"))
        while True:
            found = None if new else self._same_model(document)
            if found is not None:
                return found
            older = None if new else self._continued(document)
            if older is not None:
                return self._publish_version(document, older, labelled=True)
            document["id"] = document["model_id"] = f"{stem}_{digits or os.urandom(4).hex()}"
            document["model_version"] = 1
            if self._put_new(document, f"models/{document['id']}/v1"):
                return document
            # Who was faster with this id shows by now, unless it is nothing to this reader.
            digits = None

    def _publish_version(self, document: JSON, id: str, *, labelled: bool = False) -> JSON:
        """The next version of a model, or its newest where that is the same document.

        It is `labelled` as the newest is: with its star and, before the document's own, its tags.
        """
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
                if self._same_document(newest, document):
                    return newest
                if labelled:
                    document["star"] = newest.get("star") is True
                    document["tags"] = list(dict.fromkeys([*(newest.get("tags") or []), *document["tags"]]))
                # A number that was lost to a writer who then died shows no version.
                taken = document["model_version"] = max(versions[-1], taken) + 1
                if self._put(document, f"{path}/v{taken}"):
                    return document

    def _same_model(self, document: JSON) -> JSON | None:
        """The newest version of a model of this name with this document: from the same file where there is
        one, else the owner's, else anybody's.
        """

        def ask(view: View) -> list[JSON]:
            name, digest = document["name"], document.get("document_hash") or ""
            rows = view.versions(name, document_hash=digest) if digest else []
            if document.get("model_hash"):
                rows += view.versions(name, model_hash=document["model_hash"], document_hash="")
            return rows

        rows = self._follower.ask(ask)
        rows.sort(key=lambda row: row["owner"] != document["owner"])
        rows.sort(key=lambda row: row["source_path"] != (document.get("source_path") or ""))
        there = (self._there(documents.reference(row["id"], row["version"])) for row in rows)
        return next((each for each in there if each and self._same_document(each, document)), None)

    def _continued(self, document: JSON) -> str | None:
        """The id of the model that this one is the next version of, None where there is none."""
        column = "source_path" if document.get("source_path") else "model_hash"
        value, owner = document.get(column), document["owner"]
        if not value:
            return None
        rows = self._follower.ask(
            lambda view: view.versions(document["name"], owner=owner, **{column: value})
        )
        return next((row["id"] for row in rows if self._there(row["id"])), None)

    def _same_document(self, there: JSON, document: JSON) -> bool:
        """Whether a catalog is of this document; of one without `document_hash`, as older versions of
        flowtime wrote them, whether its file has the same bytes.
        """
        if there.get("document_hash"):
            return bool(there["document_hash"] == document.get("document_hash"))
        hashes = {content["name"]: content["sha256"] for content in there.get("contents") or ()}
        mine = {content["name"]: content["sha256"] for content in self._contents()}
        return (there.get("model_hash"), hashes.get(MODEL)) == (document.get("model_hash"), mine.get(MODEL))

    def _same_run(self, document: JSON, digits: str) -> JSON | None:
        """The newest run of this name and inputs whose id was made from them."""
        name, digest = document["name"], document["inputs_hash"]
        for row in self._follower.ask(lambda view: view.made_of(self._kind, name, digest)):
            named = row["id"].endswith((f"_{digits}", f"_{_tail(digest)}"))
            there = self._there(row["id"]) if named else None
            if there is not None and there.get("inputs_hash") == digest:
                return there
        return None

    def _there(self, reference: str) -> JSON | None:
        """The catalog of an artifact that was looked up, None where it is gone, damaged or hidden by now."""
        with suppress(NotFound, Unavailable):
            prefix = self._artifacts.prefix(reference)
            catalog = None if prefix is None else self._artifacts.catalog(prefix)
            if catalog is not None and (self._reader is None or self._reader.may_read(catalog)):
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
            self.made = self._artifacts.store.publish(self.path, prefix, CATALOG)
        return self.made

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
