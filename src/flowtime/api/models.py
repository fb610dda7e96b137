"""Addresses of models and templates."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from flowtime.api import schemas
from flowtime.api.doors import takes
from flowtime.api.responses import answer, created, linked
from flowtime.api.schemas import words
from flowtime.api.server import Call, Reading, Writing
from flowtime.api.work import attend, attended, look
from flowtime.errors import InvalidInput

JSON = dict[str, Any]

router = APIRouter(prefix="/v1")

_TEXTS = (
    "application/yaml",
    "application/x-yaml",
    "text/yaml",
    "text/x-yaml",
    "text/plain",
    "application/json",
)
_MODEL_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            kind: {"schema": {"type": "string"}, "example": schemas.MODEL_TEXT}
            for kind in ("application/yaml", "text/plain")
        }
        | {"application/json": {"schema": {"type": "object"}, "example": schemas.MODEL_DOCUMENT}},
    }
}


async def text_in(request: Request) -> bytes:
    """The body as the text of a model; raises InvalidInput (FT826)."""
    kind = request.headers.get("content-type", "application/yaml").partition(";")[0].strip().lower()
    if kind not in _TEXTS:
        raise InvalidInput("FT826", f"a model is not sent as {kind}", hint=f"allowed: {', '.join(_TEXTS)}")
    return await request.body()


@router.post(
    "/models",
    status_code=201,
    responses=schemas.made(schemas.Artifact),
    openapi_extra=_MODEL_BODY,
    summary="Make a model from its text",
    tags=["models"],
)
@takes("document")
async def make_model(
    call: Writing,
    name: str | None = None,
    description: str | None = None,
    tags: Annotated[str, Query(description="separated by commas")] = "",
    visibility: schemas.Visibility | None = None,
    update: Annotated[str | None, Query(description="The model that gets it as its next version")] = None,
) -> Response:
    """A model artifact from YAML or JSON. The same name and content again is the same artifact."""
    text = await text_in(call.request)
    label: JSON = {"name": name, "description": description, "tags": words(tags), "visibility": visibility}

    def make(_: object) -> Response:
        return _created(call, call.service.publish_model(text, update=update, **label))

    return await attend(call, make)


@router.post(
    "/models/validate",
    responses=schemas.ok(schemas.Validated),
    openapi_extra=_MODEL_BODY,
    summary="Check the text of a model",
    tags=["models"],
)
@takes("document")
async def validate_model(call: Reading) -> Response:
    """What a model holds, checked and not stored. Of a wrong one the answer, 422, lists every problem with
    its line and column.
    """
    text = await text_in(call.request)
    return await look(call, lambda: call.service.validate_text(text))


@router.post(
    "/models/{id}/derive",
    status_code=201,
    responses=schemas.made(schemas.Artifact),
    summary="Make a model from another one",
    tags=["models"],
)
@attended
@takes("fields")
def derive_model(call: Writing, id: schemas.Named, wanted: schemas.Derive) -> Response:
    """A model with other parameters or another scenario, or with other nodes; with `update` the next version
    of the model itself.
    """
    return _created(call, call.service.derive_model(id, **wanted.to_service()))


@router.get(
    "/models/{id}/plan",
    responses=schemas.ok(schemas.Plan),
    summary="How a model is computed",
    tags=["models"],
)
async def explain_model(call: Reading, id: schemas.Named) -> Response:
    """The steps of the evaluation, with the feedback groups, as data and as text."""
    return await look(call, lambda: call.service.explain(id))


@router.get(
    "/models/{id}/program",
    responses=schemas.ok(schemas.Program),
    summary="A model as a WebAssembly program",
    tags=["models"],
)
async def model_program(
    call: Reading, id: schemas.Named, seed: Annotated[int | None, Query(ge=0, lt=2**63)] = None
) -> Response:
    """The module, in base64, and the description of its memory: what to write where, which functions to call,
    and where the series lie then, with the bits of a run. `seed` comes before the model's.
    """
    return await look(call, lambda: call.service.program(id, seed))


@router.get(
    "/models/{id}/graph",
    responses=schemas.ok(schemas.Graph),
    summary="The graph of a model with positions",
    tags=["models"],
)
async def model_graph(
    call: Reading,
    id: schemas.Named,
    nodes: bool = False,
    around: schemas.Around = None,
    depth: schemas.Depth = 1,
) -> Response:
    """Components and flows, or with `nodes` the nodes and what they read, placed for a picture."""
    return await look(call, lambda: call.service.graph(id, nodes=nodes, around=around, depth=depth))


@router.get(
    "/templates", responses=schemas.ok(schemas.Templates), summary="All templates", tags=["templates"]
)
def list_templates(call: Reading) -> Response:
    """The templates, with parameters and scenarios."""
    return answer(call.request, {"templates": call.service.templates()})


@router.get(
    "/templates/{id}", responses=schemas.ok(schemas.Template), summary="One template", tags=["templates"]
)
def show_template(call: Reading, id: schemas.Named) -> Response:
    """A template, with parameters, scenarios and the layers of the model that its defaults give."""
    return answer(call.request, call.service.template(id))


@router.post(
    "/templates/{id}/models",
    status_code=201,
    responses=schemas.made(schemas.Artifact),
    summary="Make a model from a template",
    tags=["templates"],
)
@attended
@takes("fields")
def fill_template(call: Writing, id: schemas.Named, wanted: schemas.Fill) -> Response:
    """A model artifact from a template with these parameters; what is not given has its default."""
    return _created(call, call.service.create_model(id, **wanted.to_service()))


def _created(call: Call, shown: JSON) -> Response:
    return created(call.request, linked(call.request, shown))
