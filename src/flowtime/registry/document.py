"""A catalog as the plain JSON object that storage holds: its bytes, its size, its rules, its index entry."""

from __future__ import annotations

import hashlib
import json
import math
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, get_args

from flowtime.core.labels import MAX_NAME, MAX_TAGS, description_rule, name_rule, normal, tag_rule
from flowtime.errors import InvalidInput
from flowtime.wording import option

JSON = dict[str, Any]
Kind = Literal["model", "run", "telemetry"]
Visibility = Literal["private", "team", "public"]

CATALOG = "catalog.json"
DETAILS = "details.json"
FOLDERS: dict[str, str] = {"model": "models", "run": "runs", "telemetry": "telemetry"}
KINDS: dict[str, str] = {folder: kind for kind, folder in FOLDERS.items()}
VISIBILITIES: tuple[str, ...] = get_args(Visibility)

ROLES = {
    "catalog": CATALOG,
    "data": "binned_v0.csv",
    "model": "model.yaml",
    "preview": "preview.svg",
    "details": DETAILS,
}
"""What the files of an artifact are there for, in every list of them."""

INLINE = 8 * 1024
"""Size in bytes past which a catalog moves its long parts to `details.json`."""

EDITABLE = ("name", "description", "tags", "owner", "team", "visibility", "star", "loop")
"""Fields that change after publication."""

ACCESS = ("owner", "team", "visibility")
"""Fields that say whose an artifact is and who may read it; of a model, those of version 1 hold for all."""

SHOWN = ("id", "kind", "name", "created_utc", "tags", "owner", "visibility", "description", "star")
"""Fields that lists show."""

_RULES = {"name": name_rule, "owner": name_rule, "team": name_rule, "description": description_rule}
_MOVABLE = (
    "other_metrics",
    "measures",
    "topology",
    "nodes",
    "bound",
    "kept",
    "compared",
    "unbound",
    "warnings",
    "provenance",
    "stats",
)
_VERSION = re.compile(r"v([1-9][0-9]{0,8})")
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,99}")
_RESERVED = re.compile(r"(?i:con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?")
_DIGITS = 300
"""Of a whole number in a catalog, so that a float can hold it."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def a_kind(kind: str) -> str:
    """A kind as a sentence has it: a model, a run, telemetry."""
    return kind if kind == "telemetry" else f"a {kind}"


def dump(document: Mapping[str, Any]) -> bytes:
    """The object as UTF-8 JSON, one field a line, so that it reads and compares well.

    Raises InvalidInput (FT508) on what JSON does not have, such as NaN.
    """
    lines = (f"  {_compact(key)}: {_compact(value)}" for key, value in document.items())
    return ("{\n" + ",\n".join(lines) + "\n}\n").encode()


def by_role(folder: str, names: Iterable[str]) -> dict[str, str]:
    """The paths of files in a folder by what they are there for; a file that has no role by its name."""
    there = set(names)
    known = {role: name for role, name in ROLES.items() if name in there}
    others = {name: name for name in sorted(there.difference(known.values()))}
    return {role: f"{folder}/{name}" for role, name in {**known, **others}.items()}


def load(data: bytes) -> JSON:
    """The object in these bytes; raises ValueError on anything else."""
    try:
        document = json.loads(data, parse_constant=_real, parse_float=_real, parse_int=_whole)
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    if b"\\ud" in data.lower():
        json.dumps(document, ensure_ascii=False).encode()  # raises on half of a surrogate pair
    if not isinstance(document, dict):
        raise ValueError("it holds no JSON object")  # noqa: TRY004 (one exception for all bad bytes)
    return document


def _real(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is no number of JSON that can be read")
    return value


def _whole(text: str) -> int:
    if len(text) > _DIGITS:
        raise ValueError(f"a number has {len(text)} digits")
    return int(text)


def split(document: JSON) -> tuple[JSON, JSON]:
    """The catalog under 8 KB where that can be had, and the parts that moved to `details.json` for it.

    In their place the catalog holds their lengths and the SHA-256 of their canonical JSON.
    """
    catalog, details = dict(document), {}
    for field in _MOVABLE:
        if len(dump(catalog)) <= INLINE:
            break
        value = catalog.get(field)
        if value:
            details[field] = value
            catalog[field] = abridged(field, value)
    return catalog, details


def abridged(field: str, value: Any) -> JSON:
    """What stands in the catalog for a value that moved to `details.json`: its lengths and its hash."""
    if field == "topology":
        return {"nodes": len(value["nodes"]), "edges": len(value["edges"]), "sha256": _hash(value)}
    return {"count": len(value), "sha256": _hash(value)}


def seal(catalog: Mapping[str, Any]) -> str:
    """`sha256:...` of what in the bytes of a `catalog.json` never changes: all but what can be edited."""
    fixed = {field: value for field, value in catalog.items() if field not in (*EDITABLE, "seal")}
    return _hash(fixed)


def _hash(value: object) -> str:
    # Half of a surrogate pair can be read from damaged JSON, never published; it has a hash all the same.
    text = _compact(value, sort_keys=True).encode("utf-8", "surrogatepass")
    return "sha256:" + hashlib.sha256(text).hexdigest()


def hold(catalog: Mapping[str, Any]) -> None:
    """Raises ValueError unless every field that readers take for granted is there and of its type, which a
    hand that edits files need not keep to.
    """
    for types, fields in _SHAPES.items():
        for field in fields:
            if not isinstance(catalog.get(field), types):
                raise ValueError(f"{field} is {str(catalog.get(field))[:60]!r}")  # noqa: TRY004


_SHAPES: dict[tuple[type, ...], tuple[str, ...]] = {
    (str,): ("kind", "id", "name", "created_utc", "owner", "visibility", "source", "engine_version"),
    (list,): ("tags", "capabilities", "parents", "contents"),
    (dict,): ("topology", "provenance", "stats", "loop"),
    (list, dict): ("nodes", "measures", "warnings"),
    (dict, type(None)): ("grid", "data"),
}


def check_editable(fields: Iterable[str]) -> None:
    """Raises InvalidInput (FT508) where a person cannot change one of the fields."""
    takes = [field for field in EDITABLE if field != "loop"]
    if fixed := [field for field in fields if field not in takes]:
        message = f"{', '.join(fixed)} cannot be changed after publication"
        raise InvalidInput("FT508", message, hint=f"can be changed: {', '.join(takes)}")


def check(document: Mapping[str, Any]) -> None:
    """Raises InvalidInput (FT508) where a name, description, owner, visibility, star or tag is not allowed,
    or the visibility is that of a team and there is none; fields that are absent are not looked at.
    """
    for field, rule in _RULES.items():
        if field in document and not (field == "team" and document[field] is None):
            _hold(field, document[field], rule)
    for field, allowed in (("visibility", VISIBILITIES), ("star", (False, True))):
        if field in document and document[field] not in allowed:
            hint = f"allowed: {', '.join(map(str, allowed))}"
            raise InvalidInput("FT508", f"{field} is {document[field]!r}", hint=hint)
    if document.get("visibility") == "team" and "team" in document and not document["team"]:
        hint = f"name the team with {option('team', 'NAME')}; without one only the owner could read it"
        raise InvalidInput("FT508", "the visibility is team, and no team is named", hint=hint)
    tags = document.get("tags") or []
    if len(tags) > MAX_TAGS:
        raise InvalidInput("FT508", f"{len(tags)} tags; an artifact takes {MAX_TAGS}")
    for tag in tags:
        _hold("tag", tag, tag_rule)


def normalise(fields: JSON) -> None:
    """Gives a name, owner, team and tags that were checked their one spelling."""
    for field in ("name", "owner", "team"):
        if isinstance(fields.get(field), str):
            fields[field] = normal(fields[field])
    if "tags" in fields:
        fields["tags"] = list(dict.fromkeys(map(normal, fields["tags"] or ())))


def access_steps(before: Mapping[str, Any], wanted: JSON) -> tuple[JSON, JSON]:
    """What to write of an artifact's access before other fields change, and what after that, so that at no
    moment anybody sees it who may not see it both before and after.
    """
    shown = str(before["visibility"])
    rank = VISIBILITIES.index
    if any(before.get(field) != wanted[field] for field in ("owner", "team") if field in wanted):
        return {**wanted, "visibility": VISIBILITIES[0]}, {"visibility": shown, **wanted}
    return (wanted, {}) if rank(wanted.get("visibility", shown)) < rank(shown) else ({}, wanted)


def _hold(what: str, text: object, rule: Callable[[object], str | None]) -> None:
    if (takes := rule(text)) is not None:
        raise InvalidInput("FT508", f"{what} {str(text)[:MAX_NAME]!r} is not allowed", hint=f"it {takes}")


def _compact(value: object, *, sort_keys: bool = False) -> str:
    try:
        return json.dumps(
            value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), sort_keys=sort_keys
        )
    except (TypeError, ValueError) as error:
        raise InvalidInput("FT508", f"a catalog value is not JSON: {error}") from error


def slug(name: str) -> str:
    """The name in the characters of ids, at most 80 of them; empty where none is left."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    text = re.sub(r"\.{2,}", ".", re.sub(r"[^a-z0-9._-]+", "-", plain)).strip("-._")[:80].rstrip("-._")
    return f"{text}-" if _RESERVED.fullmatch(text) else text


def check_id(id: str) -> str:
    """`id` itself; raises InvalidInput (FT502) unless it is one that an artifact can have."""
    if not is_id(id):
        raise InvalidInput("FT502", f'not an artifact id: "{id[:120]}"')
    return id


def is_id(text: str) -> bool:
    """Whether an artifact can have this id; colons and capitals are read, never written."""
    return (
        bool(_ID.fullmatch(text)) and ".." not in text and text[-1] != "." and not _RESERVED.fullmatch(text)
    )


def microseconds(moment: datetime) -> int:
    """Microseconds since 1970; a moment without a time zone is in UTC."""
    return ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH) // timedelta(microseconds=1)


def reference(id: str, version: int | None) -> str:
    """What names exactly this version of a model, `ID@v2`; of an artifact without versions, its id."""
    return f"{id}@v{version}" if version else id


def version_of(folder: str) -> int | None:
    """The n of a folder `v{n}`, or None."""
    match = _VERSION.fullmatch(folder)
    return int(match[1]) if match else None


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a model as the index knows it; texts that its catalog lacks are empty."""

    number: int
    created_utc: str
    model_hash: str
    document_hash: str
    source_path: str


@dataclass(frozen=True, slots=True)
class Link:
    """What an artifact was made from: the parent's id and version, and the version that was made.

    0 stands for what has no versions.
    """

    parent: str
    parent_version: int
    version: int


@dataclass(frozen=True, slots=True)
class Entry:
    """One artifact as the index knows it; a model stands with its newest version.

    `path` is the artifact's prefix without the version; `created` is in microseconds since 1970.
    """

    path: str
    id: str
    kind: str
    version: int | None
    name: str
    created: int
    created_utc: str
    owner: str
    team: str
    visibility: str
    description: str
    star: bool
    tags: tuple[str, ...]
    files: tuple[str, ...]
    digest: str | None
    inputs_hash: str | None
    versions: tuple[Version, ...]
    parents: tuple[Link, ...]
    nodes: str
    template: str
    parameters: str
    figures: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class Problem:
    """A folder that the index cannot take in, and why; `ours` where it has a catalog that cannot be read."""

    path: str
    reason: str
    ours: bool

    def to_json(self) -> JSON:
        """The path and the reason."""
        return {"path": self.path, "reason": self.reason}


def entry(path: str, versions: Sequence[tuple[int | None, JSON]]) -> Entry:
    """The index entry of the artifact at `path` from its catalogs, details merged, newest version last.

    Raises ValueError, saying what is wrong, where a catalog does not fit its place or lacks a field.
    """
    folder, _, id = path.partition("/")
    for _, catalog in versions:
        _fits(catalog, KINDS[folder], id)
    links = tuple(
        Link(parent, parent_version, number or 0)
        for number, catalog in versions
        for parent, parent_version in _parents(catalog).items()
        if parent not in (id, "")
    )
    version, catalog = versions[-1]
    access = versions[0][1]
    provenance = catalog.get("provenance")
    data = catalog.get("data")
    found = Entry(
        path=path,
        id=id,
        kind=KINDS[folder],
        version=version,
        name=normal(catalog["name"]),
        created=microseconds(datetime.fromisoformat(catalog["created_utc"])),
        created_utc=catalog["created_utc"],
        owner=normal(_text(access, "owner")),
        team=normal(_text(access, "team")),
        visibility=_text(access, "visibility") or "private",
        description=_text(catalog, "description"),
        star=catalog.get("star") is True,
        tags=tuple(dict.fromkeys(map(normal, catalog.get("tags") or ()))),
        files=(CATALOG, *(str(content["name"]) for content in catalog.get("contents") or ())),
        digest=_text(data, "digest") or None,
        inputs_hash=_text(catalog, "inputs_hash") or None,
        versions=tuple(_version(number, catalog) for number, catalog in versions if number is not None),
        parents=links,
        nodes=" ".join(_node_ids(catalog)),
        template=_text(provenance, "template"),
        parameters=" ".join(dict.fromkeys((*_parameters(catalog), *_parameters(provenance)))),
        figures=tuple(_figures(catalog).items()),
    )
    words = (*found.tags, *found.files, *(link.parent for link in links), found.nodes, found.template)
    words += tuple(name for name, _ in found.figures)
    words += (found.parameters, *(str(text) for version in found.versions for text in astuple(version)))
    texts = (found.name, found.created_utc, found.owner, found.team, found.visibility, found.description)
    digests = (found.digest or "", found.inputs_hash or "")
    "".join((*words, *texts, *digests)).encode()  # raises on half of a surrogate pair
    return found


def _fits(catalog: JSON, kind: str, id: str) -> None:
    for field, wanted in (("kind", kind), ("id", id)):
        if catalog.get(field) != wanted:
            raise ValueError(f"{field} is {catalog.get(field)!r}, its place says {wanted!r}")
    if not isinstance(catalog.get("name"), str):
        raise ValueError(f"name is {catalog.get('name')!r}")  # noqa: TRY004 (one exception for all that is wrong)
    if not isinstance(catalog.get("created_utc"), str):
        raise ValueError(f"created_utc is {catalog.get('created_utc')!r}")  # noqa: TRY004
    tags = catalog.get("tags") or []
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        raise ValueError(f"tags is {tags!r}")
    for field, key in (("contents", "name"), ("parents", "id")):
        value = catalog.get(field) or []
        if not isinstance(value, list) or not all(
            isinstance(each, dict) and isinstance(each.get(key), str) for each in value
        ):
            raise ValueError(f"{field} is no list of objects with {key}")


def _version(number: int, catalog: JSON) -> Version:
    hashes = (_text(catalog, "model_hash"), _text(catalog, "document_hash"))
    return Version(number, _text(catalog, "created_utc"), *hashes, _text(catalog, "source_path"))


def _parents(catalog: JSON) -> dict[str, int]:
    """The versions of what an artifact was made from, by id; 0 where it says none."""
    found: dict[str, int] = {}
    named = [(_text(parent, "id"), parent.get("version")) for parent in catalog.get("parents") or ()]
    for id, version in (*named, (_text(catalog, "model_id"), catalog.get("model_version"))):
        known = version if isinstance(version, int) and 0 < version < 10**9 else 0
        found[id] = known or found.get(id, 0)
    return found


def _node_ids(catalog: JSON) -> Iterable[str]:
    topology = catalog.get("topology")
    drawn = topology.get("nodes") if isinstance(topology, dict) else None
    ids = [node for node in _list(catalog.get("nodes")) if isinstance(node, str)]
    ids += [node if isinstance(node, str) else _text(node, "id") for node in _list(drawn)]
    ids += [_text(measure, "component") for measure in _list(catalog.get("measures"))]
    return dict.fromkeys(ids)


def _figures(catalog: JSON) -> dict[str, float]:
    """The numbers that lists can show and filter by: the values of parameters, and of the first metrics,
    which come before a parameter of the same name.
    """
    parameters = catalog.get("parameters")
    found = dict(parameters) if isinstance(parameters, dict) else {}
    for metric in _list(catalog.get("metrics")):
        if isinstance(metric, dict):
            found[_text(metric, "name")] = metric.get("value")
    return {
        name: float(value)
        for name, value in found.items()
        if name and type(value) in (int, float) and math.isfinite(value)
    }


def _parameters(provenance: object) -> Iterable[str]:
    """The parameters that a model or run was made with, each as `name=value`, where the value is a word."""
    given = provenance.get("parameters") if isinstance(provenance, dict) else None
    for name, value in given.items() if isinstance(given, dict) else ():
        if isinstance(value, str | int | float):
            shown = int(value) if isinstance(value, float) and value.is_integer() else value
            yield f"{name}={str(shown).lower() if isinstance(shown, bool) else shown}"


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _text(document: object, field: str) -> str:
    value = document.get(field) if isinstance(document, dict) else None
    return value if isinstance(value, str) else ""
