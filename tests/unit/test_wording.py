"""The words of each face for what messages name."""

from __future__ import annotations

import shlex
import subprocess
from dataclasses import replace

import pytest

from flowtime.errors import Diagnostic, InvalidInput
from flowtime.wording import COMMAND, HTTP, PAGE, PYTHON, Face, action, command, option, say, say_all

NASTY = (
    "x; touch pwned $(id)",
    "-rf",
    "--json",
    'it\'s "so"',
    "two\nlines",
    "größe 東京 🚀",
    "`id`",
    "a\\b",
    "~",
    "",
)


@pytest.mark.parametrize(
    ("face", "said"),
    [
        (COMMAND, "give the grid with --grid, and --align floor"),
        (HTTP, "give the grid with `grid`, and `align=floor`"),
        (PAGE, 'give the grid with "Grid", and "Times between bins go to the bin they are in"'),
        (PYTHON, 'give the grid with `grid`, and `align="floor"`'),
    ],
)
def test_every_face_has_its_words(face: Face, said: str) -> None:
    assert say(f"give the grid with {option('grid')}, and {option('align', 'floor')}", face) == said


@pytest.mark.parametrize(
    ("marked", "said"),
    [
        (
            option("timezone", "+01:00"),
            ("--timezone +01:00", '`timezone` as "+01:00"', '"Time zone: +01:00"'),
        ),
        (option("delimiter", ";"), ("--delimiter ';'", '`delimiter` as ";"', '"Delimiter: ;"')),
        (option("force", True), ("--force", "`force=true`", '"Move to the trash"')),
        (option("missing", "zero"), ("--missing zero", "`missing=zero`", '"Missing rows: are 0"')),
        (option("model"), ("--model", "`model_id`", '"Model"')),
        (
            action("restore", "r_1"),
            ("flowtime restore r_1", "POST /v1/artifacts/r_1/restore", '"Restore", on the page "Trash",'),
        ),
    ],
)
def test_values_are_written_as_a_face_takes_them(marked: str, said: tuple[str, str, str]) -> None:
    assert tuple(say(marked, face) for face in (COMMAND, HTTP, PAGE)) == said


def test_python_takes_pairs_as_a_mapping() -> None:
    assert say(option("map", "a=b=time_bin"), PYTHON) == '`rename={"a=b": "time_bin"}`'


def test_commands_name_their_registry() -> None:
    face = replace(COMMAND, registry="my artifacts")
    assert say(action("trash"), face) == "flowtime list --trash --artifacts 'my artifacts'"
    assert "artifacts" not in say(action("token", "access.toml"), face)


@pytest.mark.parametrize("value", NASTY)
def test_a_shell_gets_the_words_of_a_command_as_they_are(value: str) -> None:
    line = command("export", "--out", value, registry=value)
    script = f'flowtime() {{ printf "%s\\0" "$@"; }}\n{line}'
    ended = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    assert ended.stdout.split("\0")[:-1] == ["export", "--out", value, "--artifacts", value]
    assert shlex.split(say(option("component", value), COMMAND)) == ["--component", value]


def test_what_marks_are_made_of_does_not_break_them() -> None:
    value = "a\ufdd0b\ufdd1c\ufdd2d"
    assert say(option("component", value), COMMAND) == "--component abcd"
    assert say("a\ufdd0b", HTTP) == "a\ufdd0b"


def test_an_error_speaks_python_and_is_worded_for_other_faces() -> None:
    problem = Diagnostic("FT405", f"see {option('grid')}", hint=option("grid", "bins=1"), source="x.csv")
    error = InvalidInput(
        "FT405", f"no {option('grid')}", where="x.csv", hint=action("described"), errors=[problem], count=7
    )
    assert (error.message, error.errors[0].message, str(error.hint)) == ("no `grid`", "see `grid`", "None")
    told = error.worded(HTTP)
    assert (told.code, told.count, told.where, told.hint) == ("FT405", 7, "x.csv", "see /openapi.json")
    assert told.errors[0].hint == "`grid=bins=1`"
    kept = error.to_json(marked=True)
    assert say_all(kept, PAGE)["errors"][0]["message"] == 'see "Grid"'
    assert say_all(kept, HTTP) == told.to_json()


def test_a_revised_error_keeps_its_marks() -> None:
    error = InvalidInput("FT405", f"/tmp/x/data.csv: {option('grid')}")
    assert (
        error.revised(lambda text: text.replace("/tmp/x/", "")).worded(COMMAND).message == "data.csv: --grid"
    )
