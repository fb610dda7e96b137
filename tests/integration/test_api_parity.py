"""What the command prints with `--json` is what the API answers, with links where the command has paths."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.commands import Command
from tests.servers import Servers
from tests.worlds import make_world

LONE = "grid: {bins: 2}\nnodes: [{id: lone, kind: const, values: [3, 5]}]\n"
NOT_THERE = {"stats", "seconds", "notes"}
"""What is another one each time: numbers, and what is said of an artifact that is found the second time."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("parity")
    make_world(folder)
    return folder


@pytest.fixture(scope="module")
def client(world: Path) -> Iterator[httpx.Client]:
    with Servers(world) as servers, httpx.Client(base_url=servers(), timeout=60) as client:
        yield client


def plain(value: Any) -> Any:
    """JSON without what differs each time or by its nature: paths and links become names of files."""
    if isinstance(value, list):
        return [plain(item) for item in value]
    if not isinstance(value, dict):
        return value
    left = {key: plain(item) for key, item in value.items() if key not in NOT_THERE}
    if isinstance(left.get("files"), dict):
        left["files"] = {role: path.rpartition("/")[2] for role, path in left["files"].items()}
    return left


def assert_same(printed: Any, answered: Any) -> None:
    printed = dict(printed)
    printed.pop("folder", None)
    assert "folder" not in answered
    assert plain(answered) == plain(printed)
    assert list(answered) == list(printed)


READS = {
    "list": ("list", "/v1/artifacts"),
    "list of a kind": (
        "list --kind run --tag baseline --size 1 --sort name_asc",
        "/v1/artifacts?kind=run&tag=baseline&size=1&sort=name_asc",
    ),
    "list of two kinds": (
        "list --kind run,model --tag orders,none --tag orders",
        "/v1/artifacts?kind=run,model&tag=orders,none&tag=orders",
    ),
    "second page": ("list --page 2 --size 2", "/v1/artifacts?page=2&size=2"),
    "dates": ("list --from 2025-09-01 --to 2099-01-01", "/v1/artifacts?from=2025-09-01&to=2099-01-01"),
    "search": ("search --query check", "/v1/artifacts?query=check&ranked=true"),
    "search owner": ("search --query mon --owner nobody", "/v1/artifacts?query=mon&owner=nobody&ranked=true"),
    "show model": ("show baseline-v1", "/v1/artifacts/baseline-v1"),
    "show version": ("show baseline-v1@v1", "/v1/artifacts/baseline-v1@v1"),
    "show run": ("show monday", "/v1/artifacts/monday"),
    "compare": (
        "compare --baseline monday --comparison tuesday",
        "/v1/compare?baseline=monday&comparison=tuesday",
    ),
    "compare with a gate": (
        "compare monday tuesday --threshold 5% --threshold Web.*=abs:3 --by peak --allow-missing",
        (
            "/v1/compare?baseline=monday&comparison=tuesday&threshold=5%25&threshold=Web.*%3Dabs:3"
            "&by=peak&allow_missing=true"
        ),
    ),
    "compare models": (
        "compare --baseline baseline-v1 --comparison baseline-v1 --threshold 5%",
        "/v1/compare?baseline=baseline-v1&comparison=baseline-v1&threshold=0.05",
    ),
    "sim list": ("sim list", "/v1/templates"),
    "sim show": ("sim show checkout", "/v1/templates/checkout"),
    "trash": ("list --trash", "/v1/trash"),
}


@pytest.mark.parametrize("name", READS)
def test_a_look(flowtime: Command, client: httpx.Client, world: Path, name: str) -> None:
    command, path = READS[name]
    printed = flowtime(*command.split(), "--json", cwd=world).json
    assert_same(printed, client.get(path).json())


def test_plan_and_index(flowtime: Command, client: httpx.Client, world: Path) -> None:
    printed = flowtime("explain", "baseline-v1", "--json", cwd=world).json
    assert client.get("/v1/models/baseline-v1/plan").json()["plan"] == printed
    assert_same(flowtime("index", "status", "--json", cwd=world).json, client.get("/v1/index").json())
    assert_same(
        flowtime("index", "rebuild", "--json", cwd=world).json, client.post("/v1/artifacts/index").json()
    )
    assert_same(
        flowtime("index", "verify", "--json", cwd=world).json, client.post("/v1/artifacts/verify").json()
    )


def test_models_and_runs(flowtime: Command, client: httpx.Client, world: Path) -> None:
    # The same inputs give the same artifact, whichever face makes it.
    made = client.post("/v1/templates/checkout/models", json={"name": "same", "tags": ["a"]}).json()
    command = ("sim", "new", "--template", "checkout", "--name", "same", "--tags", "a", "--json")
    assert_same(flowtime(*command, cwd=world).json, made)
    body = {"model_id": made["id"], "name": "twin", "deterministic": True}
    run = client.post("/v1/runs", json=body)
    assert run.headers["location"].endswith(run.json()["id"])
    words = ("run", "--model", made["id"], "--name", "twin", "--deterministic", "--json")
    assert_same(flowtime(*words, cwd=world).json, run.json())
    text = (world / "artifacts/models").glob("same_*/v1/model.yaml").__next__()
    checked = client.post(
        "/v1/models/validate", content=text.read_bytes(), headers={"Content-Type": "text/yaml"}
    )
    assert_same(flowtime("sim", "validate", text, "--json", cwd=world).json, checked.json())


def test_a_replay(flowtime: Command, client: httpx.Client, world: Path) -> None:
    model = "grid: {bins: 2}\nnodes:\n" + "".join(
        f"  - {{id: {id}, kind: const, values: 4}}\n" for id in ("calls", "staff")
    )
    (world / "small.yaml").write_text(f"{model}  - {{id: done, kind: expr, expr: 'MIN(calls, staff)'}}\n")
    rows = "time_bin,component_id,measure,value\n" + "".join(
        f"{bin},{name},value,{bin + 3}\n" for name in ("calls", "done", "rain") for bin in (0, 1)
    )
    (world / "measured.csv").write_text(rows)
    id = flowtime("import", "measured.csv", "--name", "measured", "--json", cwd=world).json["id"]
    words = ("run", "small.yaml", "--telemetry", "measured", "--name", "again", "--deterministic")
    printed = flowtime(*words, "--json", cwd=world).json
    body = {"model_id": printed["model_id"], "telemetry_id": id, "name": "again", "deterministic": True}
    answered = client.post("/v1/runs", json=body).json()
    assert_same(printed, answered)
    assert [entry["node"] for entry in answered["kept"]] == ["staff"]
    assert [(entry["component"], entry["equal"]) for entry in answered["compared"]] == [("done", True)]
    table = flowtime(*words, cwd=world).stdout.splitlines()
    found = [line.split() for line in table if line.startswith(("bound", "kept", "compared", "not used"))]
    assert [row[:3] for row in found] == [
        ["bound", "calls.value", "calls"],
        ["kept", "staff.value", "staff"],
        ["compared", "done.value", "equal"],
        ["not", "used", "rain.value"],
    ]
    refused = client.post("/v1/runs", json={**body, "require": ["staff"]})
    assert (refused.status_code, refused.json()["code"]) == (422, "FT807")
    error = flowtime(*words, "--require", "calls,staff", "--json", cwd=world, code=2).error
    assert {key: refused.json()[key] for key in ("code", "count")} == {
        key: error[key] for key in ("code", "count")
    }
    assert error["errors"][0]["message"] == '"staff" is required, and the telemetry has no staff.value'


def test_import_checked_only(flowtime: Command, client: httpx.Client, world: Path) -> None:
    data = (world / "monday.csv").read_bytes()
    printed = flowtime(
        "import", "--data", "monday.csv", "--dry-run", "--ignore-metadata", "--json", cwd=world
    ).json
    answered = client.post("/v1/import?dry_run=true&ignore_metadata=true", content=data).json()
    assert_same(printed, answered)


def test_a_lone_file_of_several_runs(flowtime: Command, client: httpx.Client, world: Path) -> None:
    ids = [client.post("/v1/runs", json={"model": LONE, "name": name}).json()["id"] for name in "ab"]
    data = client.get(f"/v1/runs/{ids[0]}/export/gold").content
    printed = flowtime("import", "-", "--dry-run", "--json", cwd=world, stdin=data).json
    answered = client.post("/v1/import?dry_run=true", content=data).json()
    assert_same(printed, answered)
    assert {each["id"] for each in answered["recognised"]["matches"]} == set(ids)
    assert (answered["recognised"]["id"], answered["rebuilt"]) == (None, True)
    said = client.post("/v1/import", params={"dry_run": "true", "run": ids[1]}, content=data).json()
    assert said["recognised"]["id"] == ids[1]
    printed = flowtime("import", "-", "--dry-run", "--run", ids[1], "--json", cwd=world, stdin=data).json
    assert_same(printed, said)
    wrong = client.post("/v1/import", params={"run": "monday"}, content=data)
    assert (wrong.status_code, wrong.json()["code"]) == (422, "FT816")


def assert_same_error(printed: dict[str, Any], answered: dict[str, Any]) -> None:
    """Holds two errors to be the same; a hint is in the words of its face."""
    same = printed.keys() - {"hint"}
    assert {key: answered[key] for key in same} == {key: printed[key] for key in same}
    assert (answered["hint"] is None) == (printed["hint"] is None)


def test_changes(flowtime: Command, client: httpx.Client, world: Path) -> None:
    flowtime("run", "--model", "baseline-v1", "--name", "spare", cwd=world)
    id = client.get("/v1/artifacts/spare").json()["id"]
    tagged = client.patch(f"/v1/artifacts/{id}", json={"add_tags": ["x"], "remove_tags": ["y"]}).json()
    assert_same(flowtime("tag", id, "+x", "--json", cwd=world).json, tagged)
    starred = client.patch(f"/v1/artifacts/{id}", json={"star": True}).json()
    assert_same(flowtime("star", id, "--json", cwd=world).json, starred)
    asked = flowtime("delete", "--id", id, "--json", cwd=world, code=4).error
    refused = client.delete(f"/v1/artifacts/{id}")
    assert refused.status_code == 409
    assert_same_error(asked, refused.json())
    deleted = client.delete(f"/v1/artifacts/{id}?confirm=true").json()
    restored = flowtime("restore", id, "--json", cwd=world).json
    assert_same(flowtime("delete", "--id", id, "--confirm", "--json", cwd=world).json, deleted)
    assert_same(restored, client.post(f"/v1/artifacts/{id}/restore").json())
    flowtime("delete", "--id", id, "--confirm", cwd=world)
    assert client.post("/v1/trash/purge?confirm=true").json() == {"purged": [id]}


def test_the_loop(flowtime: Command, client: httpx.Client, world: Path) -> None:
    printed = flowtime("test-loop", "--model", "baseline-v1", "--format", "gold", "--json", cwd=world).json
    answered = client.post("/v1/loops", json={"model_id": "baseline-v1", "formats": ["gold"]}).json()
    runs = re.compile(r'"run_id": "[^"]+"')
    assert runs.sub("", json.dumps(answered)) == runs.sub("", json.dumps(printed))


@pytest.mark.parametrize(
    ("command", "method", "path"),
    [
        ("show nobody", "GET", "/v1/artifacts/nobody"),
        ("show sibling", "GET", "/v1/artifacts/sibling"),
        ("delete --id nobody --confirm", "DELETE", "/v1/artifacts/nobody?confirm=true"),
        (
            "compare --baseline monday --comparison baseline-v1",
            "GET",
            "/v1/compare?baseline=monday&comparison=baseline-v1",
        ),
        ("sim show chekout", "GET", "/v1/templates/chekout"),
        ("list --from 2025-13-01", "GET", "/v1/artifacts?from=2025-13-01"),
    ],
)
def test_errors(
    flowtime: Command, client: httpx.Client, world: Path, command: str, method: str, path: str
) -> None:
    if "sibling" in path:
        for name in ("sibling-a", "sibling-b"):
            flowtime("run", "--model", "baseline-v1", "--name", name, cwd=world)
    response = client.request(method, path)
    if response.is_success:
        pytest.fail(f"{command} is no error")
    printed = flowtime(*command.split(), "--json", cwd=world, code=None).error
    problem = response.json()
    if printed["code"] != "FT803":  # what the command line itself refuses
        assert_same_error(printed, problem)
    assert problem["kind"] == printed["kind"]
