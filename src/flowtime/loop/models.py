"""Models as artifacts: published, found again, read back."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from flowtime.core import canonical
from flowtime.core.canonical import JSON
from flowtime.core.graph import components
from flowtime.errors import InvalidInput, NotFound, Unavailable, did_you_mean
from flowtime.model import from_parsed, load
from flowtime.model.drawing import preview
from flowtime.model.identity import dependencies, graph_hash, model_hash
from flowtime.model.source import Document, parse
from flowtime.model.spec import ConstNode, ExprNode, Model, PmfNode, QueueNode
from flowtime.model.writer import dump, to_document, topology_document
from flowtime.registry import Registry
from flowtime.registry import document as documents
from flowtime.registry.catalog import Catalog, Parent, Topology
from flowtime.registry.publication import Staging
from flowtime.texts import when
from flowtime.version import ENGINE_VERSION
from flowtime.wording import option

MODEL_FILE = "model.yaml"
PREVIEW_FILE = "preview.svg"
SUFFIXES = (".yaml", ".yml", ".json")
KINDS = {ConstNode: "const", ExprNode: "expr", PmfNode: "pmf", QueueNode: "queue"}


@dataclass(frozen=True, slots=True)
class Label:
    """What people say of an artifact when they make it."""

    name: str
    owner: str
    tags: tuple[str, ...] = ()
    description: str = ""
    visibility: Literal["private", "team", "public"] = "private"


@dataclass(frozen=True, slots=True)
class StoredModel:
    """A model with its text: an artifact read back, or one without `id` that the registry does not have.

    `path` is the file that it was read from; `notes` say what became of it in the registry.
    """

    id: str | None
    version: int | None
    name: str
    text: str
    model: Model = field(repr=False)
    path: Path | None = None
    notes: tuple[str, ...] = ()

    @property
    def reference(self) -> str:
        """What names it in the registry, `ID@v2`; its name where the registry does not have it."""
        return self.name if self.id is None else documents.reference(self.id, self.version)

    @property
    def parents(self) -> list[Parent]:
        """What an artifact made from it names as its parents: the model, where the registry has it."""
        if self.id is None:
            return []
        return [Parent(id=self.id, version=self.version, digest=model_hash(self.model))]


def is_file(reference: str) -> bool:
    """Whether a person means a file: it has a suffix of model files, or a path separator."""
    return reference.endswith(SUFFIXES) or "/" in reference or "\\" in reference


def read_file(path: Path) -> tuple[str, Model]:
    """A model file as self-contained text and its meaning; csv sources are read from beside it.

    The text is the file's own, comments and all, unless numbers had to be taken in from a csv.
    Raises NotFound (FT105), InvalidInput (FT1xx, FT200).
    """
    document = read_document(path)
    model = from_parsed(document, folder=path.parent)
    return (dump(to_document(model)) if _has_csv(document) else document.text), model


def read_model(path: Path) -> StoredModel:
    """A model file as a StoredModel that no registry has, called by its own id, else as the file is.

    Raises as `read_file`.
    """
    text, model = read_file(path)
    return StoredModel(None, None, model.metadata.id or path.stem, text, model, path)


def read_parameters(path: Path) -> JSON:
    """The mapping in a YAML or JSON file. Raises NotFound (FT105), InvalidInput (FT1xx, FT204)."""
    value = read_document(path).value
    if not isinstance(value, dict):
        raise InvalidInput("FT204", "a parameter file is a mapping of names to values", where=str(path))
    return value


def read_document(path: Path) -> Document:
    """A parsed YAML or JSON file. Raises NotFound (FT105), InvalidInput (FT1xx), Unavailable (FT108)."""
    return parse(_read(path), str(path))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        hint = did_you_mean(path.name, _names(path.parent)) or "check the path"
        raise NotFound("FT105", f"there is no file {path}", hint=hint) from None
    except IsADirectoryError:
        raise InvalidInput("FT107", f"{path} is a folder, not a file", hint="name the file in it") from None
    except OSError as error:
        raise Unavailable("FT108", f"{path} cannot be read: {error.strerror}") from error


def _names(folder: Path) -> list[str]:
    """What lies in a folder, as far as that can be seen."""
    try:
        return [path.name for path in folder.iterdir()]
    except OSError:
        return []


def _has_csv(document: Document) -> bool:
    return any(isinstance(node.get("values"), dict) for node in document.value["nodes"])


@dataclass(frozen=True, slots=True)
class Published:
    """The catalog of a model artifact, and what people want to know of how it came to be."""

    catalog: JSON
    notes: tuple[str, ...]

    @property
    def reference(self) -> str:
        """What names exactly this version: `ID@v2`."""
        return documents.reference(self.catalog["id"], self.catalog["model_version"])


def publish(
    registry: Registry,
    text: str,
    model: Model,
    label: Label,
    *,
    update: str | None = None,
    parents: Sequence[Parent] = (),
    path: Path | None = None,
    new: bool = False,
) -> Published:
    """The model as an artifact; the same name and document again is the same version of it.

    `update` publishes it as the next version of that model. Otherwise another document is the next version
    of the owner's model of this name that came from the same `path`, or, without a path, has the same model
    hash; else, and where it must be `new`, it is a new model.
    """
    recorded = None if path is None else _recorded(registry, path)
    with _staged(registry, text, model) as staging:
        catalog = staging.publish(
            _catalog(text, model, label, parents, recorded),
            update=update,
            new=new,
        )
        return Published(catalog, tuple(_notes(registry, catalog, staging.made, path, update)))


def _recorded(registry: Registry, file: Path) -> str:
    """The path of a file as catalogs record it: relative to the folder in which the registry lies, or to the
    working folder where the registry is a bucket; with forward slashes.
    """
    lies = registry.store.url.startswith("file:")
    home = Path(registry.store.location("")).resolve().parent if lies else Path.cwd()
    path = file.parent.resolve() / file.name
    try:
        found = Path(os.path.relpath(path, home))
    except ValueError:  # on another drive
        found = path
    return found.as_posix().encode(errors="backslashreplace").decode()


def _notes(
    registry: Registry, catalog: JSON, made: bool, path: Path | None, update: str | None
) -> Iterator[str]:
    """What became of a model that was to be published, where it is not what its maker knows anyway."""
    id, version, name = catalog["id"], catalog["model_version"], catalog["name"]
    reference = documents.reference(id, version)
    what = f'"{name}"' if path is None else str(path)
    newest = registry.versions(id)[-1]
    if not made:
        later = f"; the newest version is v{newest}" if newest != version else ""
        if later or path is None:
            yield f"{what} is {reference} already, made {when(catalog['created_utc'])}{later}"
    elif version > 1 and update is None:
        why = "has changed" if path is not None else "means the same and reads otherwise"
        yield f"{what} {why}: it is {reference}, the next version of the model"
    elif version == 1:
        others = [other for other in registry.namesakes(name) if other != id]
        beside = f"; other models are called {name}: {', '.join(others)}" if others else ""
        if path is not None or others:
            yield f"{what} is a new model, {reference}{beside}"


def restore(registry: Registry, text: str, model: Model, label: Label, id: str) -> JSON:
    """The catalog of a model artifact that came from another registry, where it has this id.

    It keeps the id where that is free here, as the first version, and is found where a version of the id is
    the same model already. Where the id is another model's, that is left as it is, and this one becomes an
    artifact under a new id.
    """
    try:
        versions = [registry.catalog(f"{id}@v{version}") for version in registry.versions(id)]
    except NotFound:
        versions = []
    same = [there for there in reversed(versions) if there["model_hash"] == model_hash(model)]
    for there in same:
        if there.get("document_hash") == document_hash(text, model):
            return there
    if same:
        return same[0]
    with _staged(registry, text, model) as staging:
        restored = staging.restore(_catalog(text, model, label, ()), id)
    return restored or publish(registry, text, model, label).catalog


@contextmanager
def _staged(registry: Registry, text: str, model: Model) -> Iterator[Staging]:
    with registry.stage("model") as staging:
        (staging.path / MODEL_FILE).write_text(text, encoding="utf-8")
        (staging.path / PREVIEW_FILE).write_text(preview(model), encoding="utf-8")
        yield staging


def document_hash(text: str, model: Model) -> str:
    """`sha256:...` of a whole document, metadata and provenance too, comments and the order of keys aside.

    The order of values in a distribution has a meaning: it is in the model hash, which is part of this one.
    """
    return canonical.hash_of({"document": parse(text).value, "model": model_hash(model)})


def _catalog(
    text: str, model: Model, label: Label, parents: Sequence[Parent], source_path: str | None = None
) -> Catalog:
    return Catalog(
        kind="model",
        name=label.name,
        description=label.description or model.metadata.description or "",
        tags=list(dict.fromkeys((*label.tags, *model.metadata.tags))),
        owner=label.owner,
        visibility=label.visibility,
        source="sim",
        engine_version=ENGINE_VERSION,
        model_hash=model_hash(model),
        document_hash=document_hash(text, model),
        source_path=source_path,
        graph_hash=graph_hash(model),
        grid=model.grid.to_json(),
        seed=model.seed,
        parameters={id: parameter.value for id, parameter in model.parameters.items()},
        capabilities=["counts", "feedback"] if _has_feedback(model) else ["counts"],
        parents=list(parents),
        topology=topology(model),
        nodes=[node.id for node in model.nodes],
        warnings=[warning.to_json() for warning in model.warnings],
        provenance=dict(model.provenance),
    )


def _has_feedback(model: Model) -> bool:
    """Whether any nodes depend on each other: a checked model has a delay in every such cycle."""
    reads = {id: refs.now | refs.delayed for id, refs in dependencies(model).items()}
    return any(len(group) > 1 or group[0] in reads[group[0]] for group in components(reads))


def read(registry: Registry, reference: str) -> StoredModel:
    """The model artifact that a person means: an id, `ID@v2`, a name or the beginning of an id."""
    id = registry.resolve(reference, ("model",))
    catalog = registry.catalog(id)
    # From here on this version: another one may be published at any moment.
    text = model_text(registry, documents.reference(catalog["id"], catalog["model_version"]))
    model = load(text, f"{catalog['id']}/{MODEL_FILE}")
    return StoredModel(catalog["id"], catalog["model_version"], catalog["name"], text, model)


def model_text(registry: Registry, id: str) -> str:
    """The text of an artifact's model; raises NotFound (FT501, and FT509 where no model is known)."""
    with registry.stream(id, MODEL_FILE) as file:
        return file.read().decode("utf-8")


def model_in(registry: Registry, id: str) -> Model | None:
    """The model that a run or telemetry was made from, or None where it is not known."""
    if not any(content["name"] == MODEL_FILE for content in registry.catalog(id)["contents"]):
        return None
    return load(model_text(registry, id), f"{id}/{MODEL_FILE}")


def read_from(registry: Registry, id: str) -> StoredModel:
    """The model that a run or telemetry came with, under its own id where the registry has it.

    Raises InvalidInput (FT812) where none did.
    """
    model = model_in(registry, id)
    if model is None:
        raise InvalidInput(
            "FT812",
            f"{id} came without a model",
            hint=f"name one with {option('model')}, and its inputs with {option('bind')}",
        )
    catalog = registry.catalog(id)
    reference = f"{catalog['model_id']}@v{catalog['model_version']}"
    try:
        known = registry.catalog(reference)["model_hash"] == model_hash(model)
    except (NotFound, InvalidInput):
        known = False
    return StoredModel(
        catalog["model_id"] if known else None,
        catalog["model_version"] if known else None,
        catalog["name"],
        model_text(registry, id),
        model,
    )


def topology(model: Model) -> Topology:
    """The components and flows as declared; without a declaration, the nodes and what they read."""
    if model.topology is not None:
        declared = topology_document(model.topology)
        return Topology(nodes=declared.get("nodes", []), edges=declared.get("edges", []))
    nodes: list[dict[str, Any]] = [{"id": node.id, "kind": KINDS[type(node)]} for node in model.nodes]
    edges = [
        {"from": source, "to": node_id}
        for node_id, refs in dependencies(model).items()
        for source in sorted(refs.now | refs.delayed | refs.kernels)
    ]
    return Topology(nodes=nodes, edges=edges)
