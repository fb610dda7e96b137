"""Use cases of models and templates: make, derive, check, explain."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from flowtime.errors import InvalidInput, Unavailable
from flowtime.registry.document import JSON
from flowtime.service.opened import Opened
from flowtime.service.options import Labels

if TYPE_CHECKING:
    from flowtime.loop.models import StoredModel
    from flowtime.model.spec import Model
    from flowtime.sim.templates import Template

_PROGRAM_VALUES = 1_000_000
"""Values that are given to a page with a program, some 20 MB of JSON."""


class Models(Opened):
    """What can be done with models and templates."""

    def templates(self) -> list[JSON]:
        """All templates, with parameters and scenarios."""
        from flowtime.sim import templates

        return [template.to_json() for template in templates.templates(self.settings.templates)]

    def template_ids(self) -> list[str]:
        """The ids of all templates."""
        from flowtime.sim import templates

        return templates.template_ids(self.settings.templates)

    def template_preview(self, id: str) -> str:
        """The picture of the model that a template's defaults give, as an SVG document."""
        from flowtime.model.drawing import preview

        template = self._template(id)
        picture: str = self._recent.get(
            ("template", id, template.document.text), lambda: preview(template.read(template.fill())), len
        )
        return picture

    def template(self, id: str) -> JSON:
        """One template, with parameters, scenarios and the `layers` of the model that its defaults give."""
        from flowtime.model.drawing import layers

        template = self._template(id)
        return {**template.to_json(), "layers": layers(template.read(template.fill()))}

    def create_model(
        self,
        template: str,
        *,
        name: str | None = None,
        settings: Iterable[str] = (),
        params: Path | Mapping[str, Any] | None = None,
        scenario: str | None = None,
        update: str | None = None,
        **label: Unpack[Labels],
    ) -> JSON:
        """A model artifact from a template; returns its catalog."""
        from flowtime.loop import authoring

        text, model = authoring.fill(self._template(template), settings, params, scenario, None)
        return self._publish(text, model, name or template, label, self._older(update))

    def template_problems(
        self, template: str, settings: Iterable[str], scenario: str | None = None
    ) -> dict[str, list[str]]:
        """What is wrong with values for a template, by parameter, as `loop.authoring.problems` has it."""
        from flowtime.loop import authoring

        return authoring.problems(self._template(template), settings, scenario)

    def publish_model(
        self, text: bytes, *, name: str | None = None, update: str | None = None, **label: Unpack[Labels]
    ) -> JSON:
        """A model artifact from the text of a model (`update`: a next version of that one); shows it.

        The same name and document again is the same version, which is shown; `notes` say what became of it.
        """
        from flowtime.model import load

        model, older = load(text, "the model"), self._older(update)
        known = model.metadata.id if older is None else self.registry.catalog(older)["name"]
        return self._publish(text.decode("utf-8"), model, name or known or "model", label, older)

    def derive_model(
        self,
        source: StoredModel | str,
        *,
        name: str | None = None,
        settings: Iterable[str] = (),
        params: Path | Mapping[str, Any] | None = None,
        scenario: str | None = None,
        update: bool = False,
        new: bool = False,
        **label: Unpack[Labels],
    ) -> JSON:
        """A model artifact from a model with changes (`update`: its next version); returns its catalog.

        A `source` that is a file is registered first, with `new` as a new model.
        """
        from flowtime.loop import authoring

        parent = self._model(source, publish=True, new=new)
        text, model = authoring.derive(parent, settings, params, scenario, self.settings.templates)
        name = name or (parent.name if update else f"{parent.name}-{scenario or 'derived'}")
        older = parent.id if update else None
        return self._publish(text, model, name, label, older, parent)

    def _older(self, update: str | None) -> str | None:
        """The id of the model that gets a next version, None where there is none."""
        return None if update is None else self.registry.resolve(update, ("model",)).partition("@")[0]

    def _publish(
        self,
        text: str,
        model: Model,
        name: str,
        label: Labels,
        older: str | None,
        parent: StoredModel | None = None,
    ) -> JSON:
        from flowtime.loop import models

        parents, before = ((), ()) if parent is None else (parent.parents, parent.notes)
        named = self._label(name, **label)
        published = models.publish(self.registry, text, model, named, update=older, parents=parents)
        return self._shown(published.reference, (*before, *published.notes))

    def write_template(
        self,
        template: str,
        path: Path,
        *,
        name: str | None = None,
        settings: Iterable[str] = (),
        params: Path | Mapping[str, Any] | None = None,
        scenario: str | None = None,
    ) -> JSON:
        """A filled template as a plain model file: `{path}`."""
        from flowtime.formats.files import write_file
        from flowtime.loop import authoring

        text, _ = authoring.fill(self._template(template), settings, params, scenario, name)
        write_file(path, text.encode())
        return {"path": str(path)}

    def _template(self, id: str) -> Template:
        from flowtime.sim import templates

        return templates.template(id, self.settings.templates)

    def validate(self, path: Path) -> JSON:
        """What a model or template file holds, checked but not stored: `{kind, nodes, warnings, ...}`."""
        from flowtime.loop import authoring

        return authoring.check(path)

    def validate_text(self, text: bytes) -> JSON:
        """What the text of a model holds, checked but not stored, as `validate` says it of files."""
        from flowtime.loop import authoring

        return authoring.check_text(text)

    def explain(self, model: str, wat: Path | None = None) -> JSON:
        """How a model is computed: `{plan, text}`; its program is written to the file `wat`.

        Raises InvalidInput (FT309) where there can be no program to write.
        """
        from flowtime.engine import compile, program
        from flowtime.engine.waiting import interruptible
        from flowtime.formats.files import translated

        plan = compile(self._model(model).model)
        if wat is not None:
            text = interruptible(lambda _: program.compile(plan).text)
            with translated(wat):
                wat.write_text(text, encoding="utf-8")
        return {"plan": plan.to_json(), "text": f"{plan.describe()}\n{program.outline(plan)}"}

    def program(self, reference: str, seed: int | None = None) -> JSON:
        """The program of a model and what a page needs to run it: `engine.program.Program.to_json`, with the
        `module` in base64 and the `id` of the model. `seed` takes the place of the document's.

        Raises NotFound (FT501), InvalidInput (FT214) where nodes are drawn without a seed, FT309 where there
        are too many values for a page, Unavailable (FT814) where this installation cannot compile.
        """
        import base64

        from flowtime.engine import compile, machine, program
        from flowtime.engine.sources import sources
        from flowtime.engine.waiting import interruptible

        stored = self._model(reference)

        def made() -> JSON:
            plan = compile(stored.model)
            rows = sum(source.constant is None for source in plan.sources)
            if rows * stored.model.grid.bins > _PROGRAM_VALUES:
                raise InvalidInput(
                    "FT309",
                    f"{rows:,} given and drawn nodes in {stored.model.grid.bins:,} bins are more values than "
                    f"a page is given: {_PROGRAM_VALUES:,}",
                    hint="take fewer or larger bins",
                )
            if not machine.available():
                raise Unavailable(
                    "FT814", "this needs wasmtime, which cannot be loaded", hint="pip install wasmtime"
                )
            found, compiled = sources(plan, seed), interruptible(lambda _: program.compile(plan))
            binary = interruptible(lambda _: machine.binary(compiled))
            module = base64.b64encode(binary).decode()
            return {"id": stored.reference, "module": module, **compiled.to_json(found.fixed, found.draw())}

        key = ("program", stored.reference, stored.text, seed)
        answer: JSON = self._recent.get(key, made, lambda held: len(held["module"]) + 40 * _PROGRAM_VALUES)
        return answer

    def parameters(self, model: str) -> list[JSON]:
        """The parameters of a model: `{id, allowed, text, value}`, and where it has them `min`, `max`,
        `integer`, `unit`, `title`, `description` and `spread`. `allowed` says in words what it takes, `text`
        the value.
        """
        from flowtime.core.expression import format_number
        from flowtime.model.writer import parameter_document

        return [
            {"id": id, "allowed": each.allowed, "text": format_number(each.value), **parameter_document(each)}
            for id, each in self._model(model).model.parameters.items()
        ]

    def graph(
        self, reference: str, *, nodes: bool = False, around: str | None = None, depth: int = 1
    ) -> JSON:
        """The graph of an artifact's model with positions, as `loop.views.graph_of` gives it."""
        from flowtime.loop import views

        id = self.registry.resolve(reference)
        return views.graph_of(self.registry, id, self._recent, nodes=nodes, around=around, depth=depth)

    def versions(self, reference: str) -> list[int]:
        """The versions of a model, ascending; raises NotFound (FT501)."""
        return self.registry.versions(self.registry.resolve(reference, ("model",)).partition("@")[0])

    def model_text(self, reference: str) -> str:
        """The text of an artifact's model; raises NotFound (FT501, and FT509 where no model is known)."""
        from flowtime.loop import models

        return models.model_text(self.registry, self.registry.resolve(reference))

    def preview(self, reference: str) -> str:
        """The picture of an artifact's model as an SVG document."""
        from flowtime.loop import views

        return views.preview_of(self.registry, self.registry.resolve(reference), self._recent)
