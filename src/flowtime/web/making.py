"""The pages that make artifacts: from a template, from a model's text, from a file of data, by a run."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData

from flowtime.api.doors import takes
from flowtime.api.jobs import Tell
from flowtime.api.schemas import Named, words
from flowtime.api.server import Call, Reading, Writing
from flowtime.api.work import attend, attended
from flowtime.errors import InvalidInput
from flowtime.web.rendering import address, page, picture

JSON = dict[str, Any]

router = APIRouter()

_PREFIX = "p."
"""Before the name of a parameter in a form, so that no parameter meets a field of ours."""


@router.get("/templates")
def templates(call: Reading) -> Response:
    """All templates."""
    return page(call, "templates.html", templates=call.service.templates())


@router.get("/templates/{id}")
def template(call: Reading, id: Named, scenario: str = "") -> Response:
    """The form of a template, with the values of a scenario where the address names one."""
    return _form(call, call.service.template(id), scenario, {}, {})


@router.get("/templates/{id}/preview.svg")
@attended
def template_preview(call: Reading, id: Named) -> Response:
    """The picture of the model that a template's defaults give."""
    return picture(call.service.template_preview(id))


@router.post("/templates/{id}/check")
@takes("fields")
async def check_template(call: Reading, id: Named) -> Response:
    """What is wrong with the values in the form so far: the fields that changed, and a word about all."""
    form = await call.request.form()

    def check(_: object) -> Response:
        shown = call.service.template(id)
        scenario = str(form.get("scenario") or "")
        problems = call.service.template_problems(id, _settings(shown, scenario, form), scenario or None)
        return page(
            call,
            "parts/template_problems.html",
            template=shown,
            problems=problems,
            whole=problems.get("", []),
        )

    return await attend(call, check)


@router.post("/templates/{id}")
@takes("fields")
async def fill_template(call: Writing, id: Named) -> Response:
    """Makes the model, and runs it where that was asked for; shows what came of it."""
    form = await call.request.form()

    def make(tell: Tell) -> Response:
        shown = call.service.template(id)
        scenario = str(form.get("scenario") or "")
        settings = _settings(shown, scenario, form)
        problems = call.service.template_problems(id, settings, scenario or None)
        if problems:
            return _form(call, shown, scenario, dict(_texts(form)), problems, status=422)
        name = str(form.get("name") or "").strip() or id
        label: JSON = {
            "tags": words(str(form.get("tags") or "")),
            "visibility": form.get("visibility") or None,
        }
        made = call.service.create_model(id, name=name, settings=settings, scenario=scenario or None, **label)
        if form.get("then") != "run":
            return see(call.request, made["reference"])
        run = call.service.run(made["reference"], name=f"{name}_run", progress=tell, **label)
        return see(call.request, run["id"], export="gold")

    return await attend(call, make, places=call.server.threads.work)


@router.post("/artifacts/{id}/run")
async def run_model(call: Writing, id: Named) -> Response:
    """Runs a model: at once, or with samples as a job, whose page goes on to the run. Parameters whose fields
    are empty have the model's values.
    """
    form = await call.request.form()
    said = {
        name: str(form.get(name) or "").strip() for name in ("name", "tags", "scenario", "seed", "samples")
    }
    wanted: JSON = {name: said[name] or None for name in ("name", "scenario")}
    wanted |= {name: _whole(name, said[name]) for name in ("seed", "samples")}
    wanted["tags"] = words(said["tags"])
    wanted["parameters"] = {name: _number(text) for name, text in _texts(form) if text.strip()}

    def work(tell: Tell) -> JSON:
        return call.service.run(id, workers=1, progress=tell, **wanted)

    if not wanted["samples"]:
        return see(
            call.request, (await attend(call, work, places=call.server.threads.work))["id"], export="gold"
        )
    job = await run_in_threadpool(call.server.jobs.begin, "run", call.owner, work)
    return Response(
        status_code=303, headers={"Location": address(call.request, f"/jobs/{job['id']}", follow="result")}
    )


@router.get("/models/new")
def new_model(call: Reading) -> Response:
    """A model from a file, or from text that is written here."""
    return page(call, "new_model.html")


@router.get("/import")
def import_page(call: Reading, model: str = "") -> Response:
    """Import of data: choose a file, look at what it holds, then keep it."""
    found = call.service.show(model) if model else None
    return page(call, "import.html", model=found, limit=call.server.config.limits.body)


def see(request: Request, id: str, **query: Any) -> Response:
    """The response that leads on to an artifact's page."""
    return Response(status_code=303, headers={"Location": address(request, f"/artifacts/{id}", **query)})


def _number(text: str) -> float | str:
    """The number in a field; what is none stays, for the model to say what it takes."""
    with suppress(ValueError):
        return float(text)
    return text


def _whole(name: str, text: str) -> int | None:
    if not text.strip():
        return None
    if not text.strip().isdecimal():
        raise InvalidInput("FT822", f'{name} is "{text}"', hint="a whole number from 0 is allowed")
    return int(text)


def _form(
    call: Call, shown: JSON, scenario: str, texts: dict[str, str], problems: JSON, status: int = 200
) -> Response:
    scenarios = {each["name"]: each for each in shown["scenarios"]}
    if scenario and scenario not in scenarios:
        id = shown["id"]
        raise InvalidInput(
            "FT822",
            f'the template "{id}" has no scenario "{scenario}"',
            hint=f"there are: {', '.join(scenarios) or 'none'}",
        )
    return page(
        call,
        "template.html",
        status=status,
        template=shown,
        chosen=scenarios.get(scenario),
        initial=_initial(shown, scenario),
        texts=texts,
        problems=problems,
        whole=problems.get("", []),
    )


def _initial(shown: JSON, scenario: str) -> dict[str, str]:
    """The value of each parameter as a field shows it at first: the scenario's, else the default."""
    given: JSON = next((each["values"] for each in shown["scenarios"] if each["name"] == scenario), {})
    return {each["name"]: _text(given.get(each["name"], each["default"])) for each in shown["parameters"]}


def _text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return ", ".join(map(_text, value)) if isinstance(value, (list, tuple)) else str(value)


def _texts(form: FormData) -> list[tuple[str, str]]:
    return [
        (name[len(_PREFIX) :], str(text)) for name, text in form.multi_items() if name.startswith(_PREFIX)
    ]


def _settings(shown: JSON, scenario: str, form: FormData) -> list[str]:
    """What the form says otherwise than the scenario and the defaults, as `name=value`."""
    initial = _initial(shown, scenario)
    return [f"{name}={text.strip()}" for name, text in _texts(form) if initial.get(name) != text.strip()]
