"""A registry opened with settings, and what all use cases need of it."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Self, Unpack

from flowtime.errors import InvalidInput
from flowtime.registry import Progress, Reader, Registry
from flowtime.registry.document import CATALOG, JSON, by_role, reference
from flowtime.service.options import Labels, hold_known
from flowtime.settings import Settings
from flowtime.wording import option

if TYPE_CHECKING:
    from flowtime.loop.models import Label, StoredModel
    from flowtime.loop.views import Recent


class Opened:
    """One registry, as one user sees it."""

    def __init__(
        self, settings: Settings, progress: Progress | None = None, *, takes_files: bool = True
    ) -> None:
        """Nothing is opened before it is needed. `progress` is told of the reading of many artifacts.

        A server's Flowtime does not take files: there no reference means a path on its disk.
        """
        self.settings = settings
        self.progress = progress
        self._takes_files = takes_files

    @cached_property
    def registry(self) -> Registry:
        """The registry that the settings name."""
        registry = Registry.open(
            self.settings.artifacts, cache_dir=self.settings.cache, progress=self.progress
        )
        registry.artifacts.describe = _described
        return registry

    @property
    def place(self) -> str:
        """The address of the registry, one text for all ways to write it."""
        return self.registry.store.url

    @property
    def location(self) -> str:
        """The address of the registry as a person finds it: a path or a URL."""
        return self.registry.store.location("")

    def exists(self) -> bool:
        """Whether there is a registry at its address."""
        return self.registry.exists()

    def absent(self) -> str:
        """The address where there is no registry yet; empty where there is one, or for a reader who may not
        know of places.
        """
        return "" if self.exists() else self.registry.place() or ""

    def hold_existing(self) -> None:
        """Raises NotFound (FT513) where there is no registry at the address."""
        self.registry.hold_existing()

    def at(self, root: str) -> Self:
        """The same use cases over another registry."""
        origins = {**self.settings.origins, "artifacts": "command line"}
        return type(self)(replace(self.settings, artifacts=root, origins=origins), self.progress)

    def telling(self, progress: Progress) -> Self:
        """The same use cases, of whose work `progress` is told."""
        other = copy.copy(self)
        other.progress = progress
        return other

    def seen_by(self, user: str, teams: tuple[str, ...], *, admin: bool) -> Self:
        """The same use cases as a user of a server: they see what they may read, and own what they make."""
        other = copy.copy(self)
        other.settings = replace(self.settings, owner=user)
        vars(other).update(registry=self.registry.seen_by(Reader(user, teams, admin)), _recent=self._recent)
        return other

    @cached_property
    def _recent(self) -> Recent:
        """What was looked at lately, which a server keeps in memory for the next look."""
        from flowtime.loop.views import Recent

        return Recent()

    def _shown(self, id: str, notes: Iterable[str] = ()) -> JSON:
        """The catalog of an id, `ID@v2` of a model, with its lineage, the paths of its files and its folder.

        `reference` names exactly what is shown, `notes` say how it was found or made.
        """
        catalog = self.registry.catalog(id)
        shown = reference(catalog["id"], catalog["model_version"] if catalog["kind"] == "model" else None)
        folder, lineage = self.registry.folder(shown), self.registry.lineage(shown)
        if shown != id:
            lineage["children"] = self.registry.lineage(id)["children"]
        files = by_role(folder, [CATALOG, *(content["name"] for content in catalog["contents"])])
        more: JSON = {"reference": shown, "notes": [*notes]}
        return {**catalog, **more, "lineage": lineage, "folder": folder, "files": files}

    def _model(self, named: StoredModel | str, *, publish: bool = False, new: bool = False) -> StoredModel:
        """The model that a person means, as a StoredModel; a file, or a StoredModel that was read from one,
        becomes an artifact with `publish`.
        """
        from flowtime.loop import models

        if isinstance(named, models.StoredModel):
            return self._published(named, new=new) if publish else named
        if not self._is_file(named):
            if new:
                what = f'"{named}" is a model of the registry, and only a file can become a new one'
                raise InvalidInput("FT803", what, hint=f"leave out {option('new')}, or name the model's file")
            return models.read(self.registry, named)
        read = models.read_model(Path(named))
        return self._published(read, new=new) if publish else read

    def _is_file(self, reference: str) -> bool:
        """Whether a model file is meant: one that is there, or that no artifact has the name of."""
        from flowtime.loop import models

        if not (self._takes_files and models.is_file(reference)):
            return False
        return Path(reference).exists() or not self.registry.is_named(reference)

    def _published(self, read: StoredModel, *, new: bool = False) -> StoredModel:
        """A StoredModel that the registry does not have, as one that it has: see `loop.models.publish`."""
        from flowtime.loop import models

        label = self._label(read.name)
        published = models.publish(self.registry, read.text, read.model, label, path=read.path, new=new)
        id, version = published.catalog["id"], published.catalog["model_version"]
        return replace(read, id=id, version=version, notes=published.notes)

    def _label(self, name: str, **given: Unpack[Labels]) -> Label:
        """What a new artifact is labelled with: what was given, else the settings."""
        from flowtime.loop.models import Label

        hold_known("a label", given, Labels)
        said = {key: value for key, value in given.items() if value is not None}
        defaults: JSON = {"owner": self.settings.owner, "visibility": self.settings.visibility}
        return Label(name, **{**defaults, **said})


def _described(table: Path) -> JSON:
    from flowtime.loop.imports import described

    return described(table)
