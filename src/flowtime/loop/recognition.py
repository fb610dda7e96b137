"""Whose export a file is: what its metadata says, else the artifacts here that have the same series.

Equal series do not tell which of several runs a file without metadata came from. Then the file is said to be
of none of them, and what all of them agree about is taken: their model, unless they have different ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from flowtime.core.canonical import JSON
from flowtime.core.grid import Grid
from flowtime.errors import InvalidInput, NotFound
from flowtime.formats.metadata import FORMAT_VERSION
from flowtime.formats.telemetry import Imported
from flowtime.loop import models
from flowtime.loop.exports import description
from flowtime.loop.rebuilt import Rebuilt
from flowtime.model.spec import Metadata
from flowtime.registry import Registry
from flowtime.wording import option

_SHOWN = ("id", "kind", "name", "created_utc", "model_id", "model_version", "model_hash")
_NAMED = 10


class Recognition:
    """How one file is recognised. `run` is the artifact whose export a person says that it is."""

    def __init__(self, registry: Registry, run: str | None) -> None:
        self._registry = registry
        self._run = run
        self._known: list[JSON] = []

    def lookup(self, digest: str) -> JSON | None:
        """The description of the export that has this digest: of several that of the newest, whose series and
        grid are theirs too; None where there is none, or their grids differ.

        Raises InvalidInput (FT816) where the artifact that it is said to be of has other series.
        """
        ids = self._registry.find_digest(digest)
        if self._run is not None and self._run not in ids:
            # A run stands for the telemetry that came of it, and may all the same be named by that.
            if self._registry.catalog(self._run)["data"]["digest"] != digest:
                raise self._other(
                    f"the series are those of {_listed(ids)}" if ids else "no artifact here has these"
                )
            ids = [self._run, *ids]
        self._known = list(self._catalogs(ids))
        candidates = self._candidates()
        if not candidates or len({Grid.from_json(each["grid"]) for each in candidates}) > 1:
            return None
        return {**description(self._registry, candidates[0]["id"]), **_table(candidates)}

    def check(self, imported: Imported) -> None:
        """Raises InvalidInput (FT816) where metadata says another artifact than the file is said to be of."""
        says = (imported.description or {}).get("id")
        if self._run not in (None, says):
            raise self._other(f"it says that it is the export of {says}" if says else "it is of nobody here")

    @property
    def models(self) -> int:
        """How many different models the artifacts have from which the file may come."""
        return len({(each["model_hash"], each.get("samples")) for each in self._candidates()})

    def described(self, imported: Imported) -> Imported:
        """What was imported, its description without what the candidates do not agree about."""
        candidates = self._candidates()
        if len(candidates) < 2 or imported.description is None:
            return imported
        gone = {"id", "name", "description", "tags", "created_utc", "inputs_hash"}
        left = {key: value for key, value in imported.description.items() if key not in gone}
        same = {key: _common(candidates, key) for key in ("bound", "warnings", "capabilities")}
        return replace(imported, description={**left, **same})

    def model(self, rebuilt: Rebuilt) -> Rebuilt:
        """The model that came back, without what the candidates do not agree about: its seed, what it is
        called, and which artifact it is.
        """
        candidates = self._candidates()
        if len(candidates) < 2:
            return rebuilt
        rebuilt = replace(rebuilt, seed=_common(candidates, "seed"))
        named = {
            (each["model_id"], each["model_version"]) if each["model_id"] else each["id"]: each["id"]
            for each in candidates
        }
        if len(named) == 1:
            return rebuilt
        model = rebuilt.model
        others = [models.model_in(self._registry, id) or model for id in named.values()]
        if any(other.metadata != model.metadata for other in others):
            model = replace(model, metadata=Metadata())
        if any(other.provenance != model.provenance for other in others):
            model = replace(model, provenance={})
        return replace(rebuilt, model=model, model_id=None, model_version=None)

    def to_json(self, imported: Imported, rebuilt: Rebuilt | None) -> JSON:
        """How the file was recognised, as every face shows it: `{by, id, model_id, matches}`.

        `id` is the artifact whose export it is, None where it is open; `matches` are those with its series.
        """
        return {
            "by": imported.recognised_by or ("digest" if self._known else None),
            "id": (imported.description or {}).get("id"),
            "model_id": None if rebuilt is None else rebuilt.model_id,
            "matches": [{key: each.get(key) for key in _SHOWN} for each in self._known],
        }

    def _candidates(self) -> list[JSON]:
        """The artifacts that the file may be the export of."""
        return [each for each in self._known if self._run in (None, each["id"])]

    def _catalogs(self, ids: Iterable[str]) -> Iterable[JSON]:
        for id in ids:
            try:
                yield self._registry.catalog(id)
            except NotFound:
                continue  # it was deleted meanwhile

    def _other(self, why: str) -> InvalidInput:
        return InvalidInput(
            "FT816",
            f"the file is not an export of {self._run}: {why}",
            hint=f"leave out {option('run')}, or name the run that it comes from",
        )


def _common(catalogs: Iterable[Mapping[str, Any]], key: str) -> Any:
    """What all catalogs have under `key`, None where they differ."""
    first, *others = (each.get(key) for each in catalogs)
    return first if all(other == first for other in others) else None


def _table(catalogs: list[JSON]) -> JSON:
    """The table of artifacts with one digest: as the first has it, with the units that all have."""
    first, *others = (
        {(m["component"], m["measure"]): m["unit"] for m in each["measures"]} for each in catalogs
    )
    series = [
        {
            "component": key[0],
            "measure": key[1],
            "unit": unit if all(o.get(key) == unit for o in others) else None,
        }
        for key, unit in first.items()
    ]
    return {
        **catalogs[0]["data"],
        "format_version": FORMAT_VERSION,
        "grid": catalogs[0]["grid"],
        "series": series,
    }


def _listed(ids: list[str]) -> str:
    return ", ".join(ids[:_NAMED]) + (f" and {len(ids) - _NAMED:,} more" if len(ids) > _NAMED else "")
