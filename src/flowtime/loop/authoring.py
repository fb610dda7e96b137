"""Models made from templates, from other models, and checked before they are made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from flowtime.core.canonical import JSON
from flowtime.errors import Diagnostic, InvalidInput, NotFound, did_you_mean
from flowtime.loop.models import StoredModel, read_document, read_parameters
from flowtime.model import from_document, from_parsed, source
from flowtime.model.identity import model_hash
from flowtime.model.spec import Model
from flowtime.model.writer import dump
from flowtime.sim import templates
from flowtime.sim.templates import Template
from flowtime.wording import option

_CONTENT = {"const": "values", "expr": "expr", "pmf": "pmf"}
"""What a setting changes in a node of each kind."""


def fill(
    template: Template,
    settings: Iterable[str],
    params: Path | Mapping[str, Any] | None,
    scenario: str | None,
    name: str | None,
) -> tuple[str, Model]:
    """A filled template as text and what it means; `name` becomes the model's own id.

    `settings` (`name=value`) go over the parameter file, that over the scenario, that over the defaults.
    Raises InvalidInput FT702, FT706, and FT200 with positions in the template.
    """
    document = template.fill(_values(template, settings, params), scenario)
    if name is not None:
        document["metadata"]["id"] = name
    return dump(document), template.read(document)


def problems(template: Template, settings: Iterable[str], scenario: str | None) -> dict[str, list[str]]:
    """What keeps a template from being filled in with settings (`name=value`): messages by the parameter
    that they are about, and under "" those about the model that would come of it. Empty where all is well.

    Raises InvalidInput FT706 where a setting has no `=`.
    """
    found: dict[str, list[str]] = {}
    values = dict(templates.parse_setting(setting, template) for setting in settings)
    for name, value in values.items():
        parameter = template.parameter(name)
        problem = None if parameter is None else parameter.problem(value)
        if problem is not None:
            found[name] = [problem.message.removeprefix(f'parameter "{name}": ')]
    if found:
        return found
    try:
        template.read(template.fill(values, scenario))
    except InvalidInput as error:
        return {"": [each.message for each in error.errors] or [error.message]}
    return {}


def derive(
    stored: StoredModel,
    settings: Iterable[str],
    params: Path | Mapping[str, Any] | None,
    scenario: str | None,
    folder: Path | None,
) -> tuple[str, Model]:
    """A model with changes, as text and what it means; its provenance names the changes and their origin.

    A model that is what a template gives is filled again with other parameters. Of any other, settings
    change parameters, and nodes: a const's values, an expr's formula, a pmf's distribution.

    Raises InvalidInput FT711 without a change, FT712 and FT702 for one that cannot be made, FT200 where the
    changed model is not sound.
    """
    settings = list(settings)
    if not settings and params is None and scenario is None:
        hint = f"say what with {option('set', 'name=value')} or {option('scenario', 'NAME')}"
        raise InvalidInput("FT711", f"nothing changes in {stored.id}", hint=hint)
    template, why = _origin(stored, folder)
    before = dict(stored.model.provenance)
    if template is None:
        document = _edited(stored, _node_values(stored, settings, params), scenario, why)
    else:
        values = _values(template, settings, params)
        kept = {name: before[name] for name in ("scenario",) if scenario is None and name in before}
        document = template.fill(values, scenario, before["parameters"])
        document["provenance"] |= kept
    document["provenance"]["derivedFrom"] = f"{stored.id}@v{stored.version}"
    model = from_document(document, stored.name) if template is None else template.read(document)
    return dump(document), model


def check(path: Path) -> JSON:
    """What a model or template file holds, where it is sound.

    `{kind, nodes, model_hash, warnings}` of a model; of a template, whose defaults and scenarios are filled
    in, also `{template, parameters, scenarios}`. Raises NotFound FT105, InvalidInput (FT1xx, FT200, FT700)
    with every problem and its position.
    """
    document = read_document(path)
    if not templates.is_template(document):
        return {"kind": "model", **_facts(from_parsed(document, folder=path.parent))}
    template = templates.from_source(document, path.parent)
    template.check()
    return {
        "kind": "template",
        "template": template.id,
        "parameters": len(template.parameters),
        "scenarios": [scenario.name for scenario in template.scenarios],
        **_facts(template.read(template.fill())),
    }


def check_text(text: bytes) -> JSON:
    """What the text of a model holds, as `check` says it; raises InvalidInput (FT1xx, FT200)."""
    return {"kind": "model", **_facts(from_parsed(source.parse(text, "the model")))}


def _facts(model: Model) -> JSON:
    warnings = [warning.to_json() for warning in model.warnings]
    return {"nodes": len(model.nodes), "model_hash": model_hash(model), "warnings": warnings}


def _values(
    template: Template, settings: Iterable[str], params: Path | Mapping[str, Any] | None
) -> dict[str, Any]:
    values = _given(params)
    return values | dict(templates.parse_setting(setting, template) for setting in settings)


def _given(params: Path | Mapping[str, Any] | None) -> dict[str, Any]:
    """Parameters by name, from a file or as they are."""
    return read_parameters(params) if isinstance(params, Path) else dict(params or {})


def _origin(stored: StoredModel, folder: Path | None) -> tuple[Template | None, str]:
    """The template that gives exactly this model, or None and why there is none."""
    provenance = stored.model.provenance
    id, version, parameters = (provenance.get(k) for k in ("template", "templateVersion", "parameters"))
    if not isinstance(id, str) or not isinstance(parameters, dict):
        return None, "it was not made from a template"
    try:
        template = templates.template(id, folder)
    except NotFound:
        return None, f'its template "{id}" is not here; FLOWTIME_TEMPLATES names a folder of templates'
    if template.version != version:
        return None, f'it was made from version {version} of "{id}", which is version {template.version} now'
    try:
        again = template.read(template.fill(before=parameters))
    except InvalidInput:
        return None, f'the template "{id}" does not take its parameters any more'
    if model_hash(again) != model_hash(stored.model):
        return None, f'it is no longer what the template "{id}" gives: one of the two was edited'
    return template, ""


def _node_values(
    stored: StoredModel, settings: Iterable[str], params: Path | Mapping[str, Any] | None
) -> dict[str, Any]:
    """Node id -> its new content, as settings and the file give it."""
    values = _given(params)
    kinds = {node["id"]: node["kind"] for node in _document(stored)["nodes"]}
    for setting in settings:
        name, value = templates.split_setting(setting)
        values[name] = _content(value, kinds.get(name))
    return values


def _document(stored: StoredModel) -> JSON:
    document: JSON = source.parse(stored.text, stored.id or stored.name).value
    return document


def _content(text: str, kind: str | None) -> Any:
    """What `text` means for a node: numbers, a formula, or a mapping; else itself, for the check to name."""
    if kind == "expr":
        return text
    try:
        value = source.parse(
            text if text.lstrip()[:1] in ("[", "{") or "," not in text else f"[{text}]"
        ).value
    except InvalidInput:
        return text
    return value


def _edited(stored: StoredModel, values: Mapping[str, Any], scenario: str | None, why: str) -> JSON:
    """The document with other contents of these nodes."""
    document = _document(stored)
    nodes = {node["id"]: node for node in document["nodes"]}
    parameters = document.get("parameters") or {}
    known = [*nodes, *parameters]
    problems = []
    for name in values:
        if name not in known:
            what = f'unknown node or parameter "{name}"' if parameters else f'unknown node "{name}"'
            problems.append(Diagnostic("FT201", what, hint=did_you_mean(name, known)))
        elif name in nodes and nodes[name]["kind"] not in _CONTENT:
            kind = nodes[name]["kind"]
            hint = "set a parameter that it reads, or edit the model's file"
            problems.append(Diagnostic("FT201", f'"{name}" is a {kind}, which has no one value', hint=hint))
    if scenario is not None:
        problems.insert(0, Diagnostic("FT703", f'unknown scenario "{scenario}"; the model has none'))
    if problems:
        raise InvalidInput(
            "FT712",
            f"{stored.id} cannot be changed so: {why}",
            hint=f"{option('set', 'NAME=VALUE')} sets the value of a parameter, the values of a const node, "
            "the formula of an expr, the map of a pmf",
            errors=problems,
        )
    for name, value in values.items():
        if name in nodes:
            nodes[name][_CONTENT[nodes[name]["kind"]]] = value
        elif isinstance(parameters[name], dict):
            parameters[name]["value"] = value
        else:
            parameters[name] = value
    provenance = document.get("provenance") or {}
    return {key: part for key, part in document.items() if key != "provenance"} | {
        "provenance": {**provenance, "changes": {**provenance.get("changes", {}), **values}}
    }
