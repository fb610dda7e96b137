"""A registry opened with settings, and what all use cases need of it."""

from __future__ import annotations

import copy
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from flowtime.registry import Progress, Reader, Registry
from flowtime.registry.document import CATALOG, JSON, by_role
from flowtime.settings import Settings


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
    def _recent(self) -> Any:
        """What was looked at lately, which a server keeps in memory for the next look."""
        from flowtime.loop.views import Recent

        return Recent()

    def _shown(self, id: str) -> JSON:
        catalog, folder = self.registry.catalog(id), self.registry.folder(id)
        names = [CATALOG, *(content["name"] for content in catalog["contents"])]
        files = by_role(folder, names)
        return {**catalog, "lineage": self.registry.lineage(id), "folder": folder, "files": files}

    def _model(self, reference: str, *, publish: bool = False) -> Any:
        """The model that a person means, as a StoredModel; a file becomes an artifact with `publish`."""
        from flowtime.loop import models

        if not self._is_file(reference):
            return models.read(self.registry, reference)
        path = Path(reference)
        text, model = models.read_file(path)
        name = model.metadata.id or path.stem
        if not publish:
            return models.StoredModel(None, None, name, text, model)
        published = models.publish(self.registry, text, model, self._label(name))
        return models.StoredModel(published["id"], published["model_version"], published["name"], text, model)

    def _is_file(self, reference: str) -> bool:
        """Whether a model file is meant: one that is there, or that no artifact has the name of."""
        from flowtime.loop import models

        if not (self._takes_files and models.is_file(reference)):
            return False
        return Path(reference).exists() or not self.registry.is_named(reference)

    def _label(self, name: str, update: str | None = None, **given: Any) -> Any:
        """What a new artifact is labelled with: what was given, else the settings. The next version of the
        model `update` is as visible as that.
        """
        from flowtime.loop.models import Label

        defaults: dict[str, Any] = {"owner": self.settings.owner, "visibility": self.settings.visibility}
        if update is not None:
            defaults["visibility"] = self.registry.catalog(update).get("visibility") or "private"
        return Label(
            name, **{**defaults, **{key: value for key, value in given.items() if value is not None}}
        )


def _described(table: Path) -> JSON:
    from flowtime.loop.imports import described

    return described(table)
