"""A registry that does not exist: every command names its address, and a server begins with none."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from tests.commands import Command
from tests.servers import Servers, new_token

READING = (
    ["list"],
    ["list", "--trash"],
    ["search", "shop"],
    ["show", "shop"],
    ["open", "shop", "--print"],
    ["tag", "shop", "+a"],
    ["star", "shop"],
    ["edit", "shop", "--name", "x"],
    ["delete", "shop_12345678", "--confirm"],
    ["restore", "shop_12345678"],
    ["purge", "--confirm"],
    ["index", "status"],
    ["index", "rebuild"],
    ["index", "verify"],
    ["export", "--run", "shop", "--out", "a.csv"],
    ["compare", "shop", "shop2"],
    ["explain", "shop"],
    ["run", "--model", "shop"],
    ["run", "--telemetry", "shop"],
    ["test-loop", "--model", "shop"],
    ["sim", "derive", "shop", "--set", "a=1"],
    ["sim", "new", "--template", "checkout", "--update", "shop"],
)


@pytest.mark.parametrize("command", READING, ids=" ".join)
@pytest.mark.parametrize("there", [False, True], ids=["no folder", "another folder"])
def test_a_command_names_the_address(
    command: list[str], there: bool, flowtime: Command, tmp_path: Path
) -> None:
    place = tmp_path / "nowhere"
    if there:
        (place / "src").mkdir(parents=True)
    error = flowtime(*command, "--artifacts", str(place), "--json", code=3).error
    assert (error["code"], str(place) in error["message"]) == ("FT513", True)
    assert place.exists() == there and not (place / "flowtime.json").exists()


def test_what_makes_a_registry_says_where(flowtime: Command, tmp_path: Path) -> None:
    made = flowtime("sim", "new", "--template", "checkout", "--name", "shop", "--json")
    assert made.stderr == f"new registry: {tmp_path / 'artifacts'}\n"
    assert flowtime("run", "--model", "shop").stderr == ""
    assert flowtime("list", "--json").json["total"] == 2


def test_an_empty_registry_is_one(flowtime: Command) -> None:
    id = flowtime("sim", "new", "--template", "checkout", "--json").json["id"]
    flowtime("delete", id, "--confirm")
    assert flowtime("list", "--json").json["total"] == 0
    flowtime("purge", "--confirm")
    assert flowtime("list", "--json").json["total"] == 0


def test_a_server_begins_without_a_registry(serve: Servers, tmp_path: Path) -> None:
    url, place = serve(), tmp_path / "artifacts"
    with httpx.Client(base_url=url, timeout=60) as client:
        assert client.get("/v1/artifacts").json()["total"] == 0
        assert client.get("/v1/index").json()["registry"] is None
        assert client.get("/v1/artifacts/shop").json()["code"] == "FT513"
        for page in ("/", "/artifacts"):
            assert f"There is no registry at {place} yet" in client.get(page).text
        assert not place.exists()
        assert client.post("/v1/templates/checkout/models", json={"name": "shop"}).status_code == 201
        assert "There is no registry" not in client.get("/").text
        assert client.get("/v1/artifacts/shop").status_code == 200
    assert f"there is no registry at {place} yet" in serve.log(url)


def test_who_may_not_know_the_place_is_not_told(serve: Servers, tmp_path: Path) -> None:
    access = tmp_path / "access.toml"
    token = new_token(access, "ada", "writer")
    url = serve("--auth", access)
    with httpx.Client(base_url=url, headers=token, timeout=60) as client:
        answers = [client.get(place).text for place in ("/v1/artifacts/shop", "/", "/artifacts", "/v1/index")]
    assert not any(str(tmp_path) in answer for answer in answers)
