"""What is wrong with one artifact is told of that one: no other, no list and no comparison falls with it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.servers import Servers
from tests.worlds import make_world

Damage = Callable[[Path], object]
JUNK = bytes(range(256)) * 4
WRONG: tuple[Any, ...] = (None, -7, 1e300, "\ud800", "x" * 10_000, [], [[1]], {"a": {"b": []}}, True)
"""What a field of a catalog may say that nobody expects."""


def with_field(name: str, value: Any) -> Damage:
    def change(folder: Path) -> None:
        path = folder / "catalog.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {name: value}))

    return change


def damages(folder: Path) -> Iterator[Damage]:
    """Ways in which the files of an artifact may be wrong."""
    for bad in (b"", b"{", JUNK, b"[]", b"null", b"{}", b'{"kind": "run"}', b"[" * 100_000):
        yield lambda f, bad=bad: (f / "catalog.json").write_bytes(bad)
    for file in sorted(each.name for each in folder.iterdir()):
        yield lambda f, file=file: (f / file).unlink()
        yield lambda f, file=file: ((f / file).unlink(), (f / file).mkdir())
        yield lambda f, file=file: (f / file).write_bytes((f / file).read_bytes()[:-40])
        yield lambda f, file=file: (f / file).write_bytes(JUNK)
        yield lambda f, file=file: (f / file).write_bytes((f / file).read_bytes().replace(b"1", b"2"))
    yield with_field("parameters", {"workers": 10**400})
    yield with_field("metrics", [{"name": "peak", "value": float("nan")}])
    for number, name in enumerate(json.loads((folder / "catalog.json").read_text())):
        yield with_field(name, WRONG[number % len(WRONG)])


@pytest.fixture
def damaged(tmp_path: Path) -> list[str]:
    """The ids of damaged copies of a run and of a model, beside what is whole."""
    make_world(tmp_path)
    root = tmp_path / "artifacts"
    ids = []
    for whole, inside in (
        (next((root / "runs").glob("monday*")), "."),
        (next((root / "models").iterdir()), "v1"),
    ):
        for number, damage in enumerate(damages(whole / inside)):
            id = f"bad-{number}_{whole.name.partition('_')[2]}"
            copy = whole.parent / id
            shutil.copytree(whole, copy)
            with_field("name", f"bad-{number}")(copy / inside)
            with_field("id", id)(copy / inside)
            damage(copy / inside)
            ids.append(id)
    return ids


@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_what_is_damaged_takes_nothing_else_down(
    serve: Servers, tmp_path: Path, when: str, request: pytest.FixtureRequest
) -> None:
    """`when`: before the server starts, or while it has all in its index and in its memory."""
    if when == "before":
        bad = request.getfixturevalue("damaged")
        url = serve()
    else:
        make_world(tmp_path)
        url = serve()
        with httpx.Client(base_url=url, timeout=60) as client:
            whole_is_shown(client)
        shutil.rmtree(tmp_path / "artifacts")
        bad = request.getfixturevalue("damaged")
    with httpx.Client(base_url=url, timeout=60) as client:
        whole_is_shown(client)
        for id in bad:
            for path in (
                f"/v1/artifacts/{id}",
                f"/artifacts/{id}",
                f"/v1/runs/{id}/export/gold",
                f"/compare?a=tuesday&b={id}",
            ):
                # An export ends early where the damage shows on the way.
                with suppress(httpx.RemoteProtocolError):
                    client.get(path)
        whole_is_shown(client)
        told = client.post("/v1/artifacts/verify").raise_for_status().json()
        assert not told["ok"]
        assert not any(whole in str(told["findings"]) for whole in ("monday", "tuesday"))
        client.post("/v1/artifacts/index").raise_for_status()
        whole_is_shown(client)


def whole_is_shown(client: httpx.Client) -> None:
    """What is whole is listed, shown, compared and given out."""
    listed = client.get("/v1/artifacts?size=1000").raise_for_status().json()["artifacts"]
    names = {each["name"] for each in listed}
    assert {"baseline-v1", "monday", "tuesday"} <= names
    for path in (
        "/",
        "/trash",
        "/artifacts/tuesday",
        "/artifacts/baseline-v1",
        "/compare?a=tuesday&b=monday",
    ):
        page = client.get(path, follow_redirects=True)
        assert page.status_code == 200, (path, page.text[-2000:])
        assert 'class="notice bad"' not in page.text, path
    assert "tuesday" in client.get("/artifacts?query=tuesday").raise_for_status().text
    for sort in ("name_asc", "created_desc"):
        client.get(f"/artifacts?sort={sort}&page=2").raise_for_status()
    compared = client.get("/v1/compare?baseline=tuesday&comparison=monday").raise_for_status().json()
    assert all(each["equal"] for each in compared["series"])
    client.get("/v1/runs/tuesday/export/gold").raise_for_status()
    assert client.get("/healthz").status_code == 200
