"""The access file as people write it by hand."""

from __future__ import annotations

import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from flowtime.api import access_file
from flowtime.api.access_file import ROLES, Role
from flowtime.errors import InvalidInput, NotFound

HASH = "$argon2id$v=19$m=19456,t=2,p=1$hu3xMnesBLOw6ot2/47rmQ$62ZjPqObxSdCjnxCw6ZaXg8dsgeAy4+RqsVhZ/cGl/A"
BY_HAND = f"""\
# Who may use the server.

[[token]]  # ada's
id = "aaaaaaaaaaaa"
user = "ada"
teams = [
  "ops",
  "lab",
]
role = "writer"
hash = "{HASH}"
created = 2026-11-22T09:00:00+01:00

# The dashboard's; ask bob.
[[token]]
id = "bbbbbbbbbbbb"
user = "grafana"
role = "reader"
hash = '{HASH}'
created = 2026-11-22T09:00:00Z
"""


INLINE = """\
token = [{id = 'aaaaaaaaaaaa', user = 'a', role = 'reader', created = 2026-01-01T00:00:00Z, hash = 'HASH'}]
""".replace("HASH", HASH)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    place = tmp_path / "access.toml"
    place.write_text(BY_HAND)
    return place


def test_what_is_written_by_hand_is_read(path: Path) -> None:
    ada, grafana = access_file.read(path).tokens.values()
    assert (ada.user, ada.teams, ada.role) == ("ada", ("ops", "lab"), "writer")
    assert ada.created == datetime(2026, 11, 22, 8, tzinfo=UTC)
    assert (grafana.teams, grafana.expires, grafana.is_valid) == ((), None, True)


def test_revoking_leaves_the_rest_as_it_is(path: Path) -> None:
    access_file.revoke(path, "bbbbbbbbbbbb")
    assert path.read_text() == BY_HAND[: BY_HAND.index("[[token]]\nid")].rstrip() + "\n"
    with pytest.raises(NotFound):
        access_file.revoke(path, "bbbbbbbbbbbb")
    access_file.revoke(path, "aaaaaaaaaaaa")
    assert access_file.read(path).tokens == {}
    assert path.read_text().startswith("# Who may")


@pytest.mark.parametrize(
    "text",
    [
        BY_HAND.replace("[[token]]  # ada's\n", "[[token]]\n\n"),
        BY_HAND.replace("[[token]]  # ada's\n", "[[token]]\n# hers\n"),
        BY_HAND.replace("[[token]]", '[["token"]]'),
        INLINE,
    ],
)
def test_what_cannot_be_cut_out_safely_is_left(path: Path, text: str) -> None:
    path.write_text(text)
    assert "aaaaaaaaaaaa" in access_file.read(path).tokens
    with pytest.raises(InvalidInput, match="not written as"):
        access_file.revoke(path, "aaaaaaaaaaaa")
    assert path.read_text() == text
    assert [each.name for each in path.parent.iterdir()] == [path.name]


WRONG = {
    'user = "ada"': ["user = 1", "user = ''", "user = ' ada'", 'user = "a\\nb"', ""],
    'id = "aaaaaaaaaaaa"': ["id = 'short'", "id = [1]", "id = 'bbbbbbbbbbbb'", ""],
    'role = "writer"': ["role = 'owner'", "role = ['admin']", ""],
    "created = 2026-11-22T09:00:00+01:00": [
        "created = 2026-11-22T09:00:00",
        "created = 'now'",
        "",
        "created = 1",
    ],
    '  "ops",\n': ["  1,\n"],
    f'hash = "{HASH}"': ["hash = 'x'", f"hash = '{HASH.replace('argon2id', 'argon2i')}'", ""],
    "# Who may use the server.\n": ["token = 1\n", "[x]\n", "oidc = 1\n", "[oidc]\n"],
}


@pytest.mark.parametrize(("right", "wrong"), [(right, wrong) for right in WRONG for wrong in WRONG[right]])
def test_what_is_wrong_is_told(path: Path, right: str, wrong: str) -> None:
    assert right in BY_HAND
    path.write_text(BY_HAND.replace(right, wrong, 1))
    with pytest.raises(InvalidInput) as caught:
        access_file.read(path)
    assert (caught.value.code, caught.value.where) == ("FT835", str(path))
    assert caught.value.hint


@pytest.mark.parametrize("text", ["[[token]", "[[token]]\n", "[oidc]\n"])
def test_the_hint_says_what_the_file_has(path: Path, text: str) -> None:
    path.write_text(text)
    with pytest.raises(InvalidInput) as caught:
        access_file.read(path)
    for part in ("[[token]]", "flowtime token new", "[oidc]", "issuer, audience", "default_role"):
        assert part in caught.value.hint


@pytest.mark.parametrize("role", ROLES)
def test_a_new_token_is_the_one_that_matches(path: Path, role: Role) -> None:
    token, text = access_file.add(path, "eve", teams=("sales",), role=role, lifetime=timedelta(days=1))
    parts = access_file.split(text)
    assert parts is not None and parts[0] == token.id
    read = access_file.read(path).tokens[token.id]
    assert read == token
    assert access_file.matches(read, parts[1])
    assert not access_file.matches(read, parts[1] + "x")
    assert not access_file.matches(None, parts[1])
    assert path.read_text().startswith(BY_HAND.rstrip())


def test_a_killed_command_leaves_the_file_open_to_the_next(tmp_path: Path) -> None:
    path = tmp_path / "access.toml"
    script = """
import os, signal, sys
from pathlib import Path
from flowtime.api import access_file
access_file._change(Path(sys.argv[1]), lambda text: os.kill(os.getpid(), signal.SIGKILL), needed=False)
"""
    killed = subprocess.run([sys.executable, "-c", script, str(path)], check=False)
    assert killed.returncode == -signal.SIGKILL
    token, _ = access_file.add(path, "ada", teams=(), role="reader", lifetime=None)
    assert access_file.revoke(path, token.id) == token
    assert [each.name for each in tmp_path.iterdir()] == ["access.toml"]
