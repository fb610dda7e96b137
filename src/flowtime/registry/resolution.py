"""What people mean by an id, a name or the beginning of an id."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from flowtime import texts
from flowtime.errors import Diagnostic, InvalidInput, NotFound, Unavailable
from flowtime.registry.artifacts import Artifacts, split_version
from flowtime.registry.document import FOLDERS, JSON, a_kind, reference
from flowtime.registry.follower import suggestions, unknown
from flowtime.registry.view import View

LISTED = 10
"""So many candidates are listed."""
_FACTS = 5
"""So many facts are said of each."""
_LONG = 60
_LAST = "document hash"
"""What is said where nothing else tells them apart."""

Tell = Callable[[str], object]
"""Is told of a choice that was made among several artifacts."""


def resolve(
    view: View, name: str, kinds: Sequence[str], artifacts: Artifacts, tell: Tell
) -> tuple[str, int | None]:
    """The id that a person means, and the version where one is named: a full id, else the artifact of one of
    the kinds with exactly this name, else the one id that begins so.

    Of several runs or telemetry of one name it is the newest, and `tell` hears of it. Raises NotFound
    (FT501), InvalidInput: FT503 with the candidates for several models of one name or several ids that
    begin so, FT507 where the id or name is of another kind.
    """
    base, version = split_version(name)
    # A version of an id is never anything else; a name may end as versions do.
    if version is not None and view.get(base) is None and view.named(name, tuple(FOLDERS), 1):
        base, version = name, None
    if version is not None and "model" in kinds:
        kinds = ("model",)  # which alone has versions
    return _one(view, base, kinds, artifacts, tell), version


def of_version(id: str, version: int, versions: Sequence[int]) -> str:
    """`ID@v2`, where the model has this version among its `versions`; raises NotFound (FT501)."""
    if version not in versions:
        known = ", ".join(map(str, versions))
        hint = f"versions: {known}" if known else "only models have versions"
        raise NotFound("FT501", f'"{id}" has no version {version}', hint=hint)
    return reference(id, version)


def _one(view: View, name: str, kinds: Sequence[str], artifacts: Artifacts, tell: Tell) -> str:
    row = view.get(name)
    if row is not None and row["kind"] in kinds:
        return name
    named = view.named(name, kinds, LISTED + 1)
    if "model" in kinds and len(view.named(name, ("model",), 2)) > 1:
        raise _several(name, view.named(name, ("model",), LISTED + 1), artifacts)
    if len(named) > 1:
        tell(_chosen(name, named))
    if named:
        return str(named[0]["id"])
    if row is not None:
        raise _of_another_kind(name, row, kinds)
    candidates = view.beginning(name, kinds, LISTED + 1) if name else []
    if len(candidates) == 1:
        return candidates[0]
    if candidates:
        more = ", ..." if len(candidates) > LISTED else ""
        listed = ", ".join(candidates[:LISTED])
        raise InvalidInput("FT503", f'several ids begin with "{name}"', hint=f"one of: {listed}{more}")
    for other in view.named(name, tuple(FOLDERS), 1):
        raise _of_another_kind(name, other, kinds)
    raise unknown(name, suggestions(view, kinds))


def _of_another_kind(name: str, row: JSON, kinds: Sequence[str]) -> InvalidInput:
    return InvalidInput("FT507", f'"{name}" is {a_kind(row["kind"])}', hint=f"wanted: {' or '.join(kinds)}")


def _chosen(name: str, rows: Sequence[JSON]) -> str:
    """What is said of the newest of several artifacts of one name."""
    count = f"{len(rows)}" if len(rows) <= LISTED else f"more than {LISTED}"
    newest, kinds = rows[0], {row["kind"] for row in rows}
    what = "runs" if kinds == {"run"} else "artifacts"
    chosen, made = reference(newest["id"], newest["version"]), texts.when(newest["created_utc"])
    return f'{count} {what} are called "{name}"; this is the newest, {chosen}, made {made}'


def _several(name: str, rows: Sequence[JSON], artifacts: Artifacts) -> InvalidInput:
    """The error that several models have this name, with what tells them apart."""
    references = [reference(row["id"], row["version"]) for row in rows[:LISTED]]
    facts = [_facts(artifacts, each) for each in references]
    every = dict.fromkeys(fact for found in facts for fact in found)
    telling = [fact for fact in every if len({found.get(fact) for found in facts}) > 1]
    telling = [fact for fact in telling if fact != _LAST] or telling
    errors = []
    for row, each, found in zip(rows, references, facts, strict=False):
        said = [f"{fact} {found[fact]}" for fact in telling if fact in found][:_FACTS]
        apart = f": {', '.join(said)}" if said else ""
        errors.append(Diagnostic("FT503", f"made {texts.when(row['created_utc'])}{apart}", source=each))
    count = f"{len(rows)}" if len(rows) <= LISTED else f"more than {LISTED}"
    hint = f"name the one that you mean by its id, such as {references[0].partition('@')[0]}"
    return InvalidInput("FT503", f'{count} models are called "{name}"', errors=errors, hint=hint)


def _facts(artifacts: Artifacts, reference: str) -> dict[str, str]:
    """What can tell a model from others of its name, the most telling first; nothing where its catalog cannot
    be read.
    """
    prefix = artifacts.prefix(reference)
    try:
        catalog = {} if prefix is None else artifacts.catalog(prefix)
    except (NotFound, Unavailable):
        return {}
    provenance = catalog.get("provenance") or {}
    facts: JSON = {
        "template": provenance.get("template"),
        "scenario": provenance.get("scenario"),
        **(provenance.get("parameters") or {}),
        **(provenance.get("changes") or {}),
        "file": catalog.get("source_path"),
        "owner": catalog.get("owner"),
        "description": catalog.get("description"),
        "tags": catalog.get("tags"),
        "grid": catalog.get("grid"),
        "seed": catalog.get("seed"),
        _LAST: catalog.get("document_hash"),
    }
    return {fact: _short(value) for fact, value in facts.items() if value not in (None, "", [], {})}


def _short(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONG else text[: _LONG - 1] + "…"
