"""Every command: its example runs as it is printed, its JSON has one shape, wrong use exits with 2."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest

from flowtime.api import access_file
from flowtime.service import Flowtime
from flowtime.settings import load

COMMANDS = (
    "completion",
    "demo",
    "sim list",
    "sim show",
    "sim new",
    "sim derive",
    "sim validate",
    "run",
    "solve",
    "sweep",
    "export",
    "import",
    "test-loop",
    "compare",
    "explain",
    "list",
    "search",
    "show",
    "open",
    "tag",
    "star",
    "edit",
    "delete",
    "restore",
    "purge",
    "index rebuild",
    "index status",
    "index verify",
    "serve",
    "token new",
    "token list",
    "token revoke",
)
LASTING = {"serve"}
"""Commands that end when they are told to; their examples run elsewhere."""
AFTER = {"restore": "delete", "purge": "delete"}
"""Commands that make sense only after another one."""

CATALOG = {"id", "kind", "name", "created_utc", "tags", "owner", "visibility", "description", "contents"}
SHOWN = CATALOG | {"lineage", "folder", "files"}
PAGE = {"artifacts", "total", "page", "size"}
SHAPES: dict[str, set[str]] = {
    "demo": {"model", "run", "exports", "imports", "loop"},
    "sim list": {"templates"},
    "sim show": {"id", "title", "category", "description", "question", "parameters", "scenarios"},
    "sim new": SHOWN,
    "sim derive": SHOWN,
    "sim validate": {"nodes", "model_hash", "warnings"},
    "run": SHOWN | {"model_id", "model_hash", "inputs_hash", "data", "measures", "warnings"},
    "solve": {"study_id", "answer", "reason", "below", "evaluations", "points", "conditions"},
    "sweep": {"study_id", "metrics", "points"},
    "export": {"run_id", "format", "path", "metadata_path", "rows", "series", "bytes", "digest"},
    "import": SHOWN | {"rebuilt", "conformance", "import"},
    "test-loop": {"model_id", "model_version", "run_id", "kept", "ok", "formats"},
    "compare": {
        "parameters",
        "metrics",
        "baseline",
        "comparison",
        "aligned",
        "series",
        "only_in_baseline",
        "only_in_comparison",
        "within_threshold",
    },
    "explain": {"steps"},
    "list": PAGE,
    "search": PAGE,
    "show": SHOWN,
    "open": {"id", "url"},
    "tag": CATALOG,
    "star": CATALOG,
    "edit": CATALOG,
    "delete": {"id", "deleted", "dependants"},
    "restore": SHOWN,
    "purge": {"purged"},
    "index rebuild": {"artifacts", "seconds", "broken", "foreign"},
    "index verify": {"artifacts", "files", "bytes", "seconds", "findings", "ok"},
    "serve": {"url"},
    "token new": {"id", "user", "teams", "role", "created_utc", "expires_utc", "token"},
    "token list": {"tokens"},
    "token revoke": {"id", "user", "teams", "role", "created_utc", "expires_utc", "revoked"},
    "index status": {"root", "registry", "index", "artifacts", "trash", "broken", "foreign"},
    "completion": {"shell", "script"},
}
EXACT = {"export", "compare", "list", "search", "open", "delete", "purge", "index rebuild", "test-loop"}
"""Commands whose JSON is not a catalog that may gain fields."""


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the examples speak of."""
    folder = tmp_path_factory.mktemp("workshop")
    (folder / "shop.yaml").write_text(
        "nodes: [{id: visits, kind: const, values: 120}, {id: orders, kind: expr, expr: visits * 0.3}]\n"
    )
    token, _ = access_file.add(folder / "access.toml", "ada", teams=("ops",), role="writer", lifetime=None)
    access = (folder / "access.toml").read_text()
    (folder / "access.toml").write_text(access.replace(token.id, "k3v9q2ma7x0d"))
    service = Flowtime(load({"artifacts": str(folder / "artifacts")}))
    service.create_model("checkout", name="baseline-v1", tags=("draft",))
    model = str(folder / "shop.yaml")
    for name in ("monday", "tuesday", "baseline-run"):
        service.run(model, name=name, tags=("baseline",))
    service.export("baseline-run", "gold", str(folder / "baseline.csv"))
    service.registry.close()
    return folder


def example(flowtime: Any, command: str) -> list[str]:
    """The words of the example in a command's help, which must stand on one line."""
    text = flowtime(*command.split(), "--help").stdout
    [line] = re.findall(r"^ *Example: flowtime (.+)$", text, re.MULTILINE)
    assert text.rstrip().endswith(line)
    words = shlex.split(line)
    assert words[: len(command.split())] == command.split()
    return words


def test_the_commands_are_all_here(flowtime: Any) -> None:
    def named(*group: str) -> list[str]:
        listed = flowtime(*group, "--help").stdout.partition("Commands:\n")[2]
        return [" ".join((*group, word)) for word in re.findall(r"^  (\S+)  ", listed, re.MULTILINE)]

    commands = {
        leaf for name in named() for leaf in (named(name) if name in {"sim", "index", "token"} else [name])
    }
    assert commands == set(COMMANDS) == set(SHAPES)


@pytest.mark.parametrize("command", [command for command in COMMANDS if command not in LASTING])
def test_the_example_runs_as_it_is_printed(
    flowtime: Any, workshop: Path, tmp_path: Path, command: str
) -> None:
    words = example(flowtime, command)
    printed = {}
    for flag in ("--debug", "--json"):
        folder = shutil.copytree(workshop, tmp_path / flag)
        if command in AFTER:
            flowtime(*example(flowtime, AFTER[command]), cwd=folder)
        printed[flag] = flowtime(*words, flag, cwd=folder)
    plain, document = printed["--debug"], printed["--json"].json
    assert plain.stdout.strip()
    assert "\x1b" not in plain.stdout + plain.stderr
    missing = SHAPES[command] - set(document)
    assert not missing
    if command in EXACT:
        # `notes` say what a name was taken for.
        assert set(document) - {"notes"} == SHAPES[command]


@pytest.mark.parametrize("command", COMMANDS)
def test_wrong_use_exits_2_and_says_what_is_right(flowtime: Any, tmp_path: Path, command: str) -> None:
    words = command.split()
    done = flowtime(*words, "--no-such-option", code=2)
    assert done.stdout == ""
    assert done.stderr.startswith("error FT803: ")
    assert f"flowtime {command} --help" in done.stderr
    error = flowtime(*words, "--no-such-option", "--json", code=2).error
    assert (error["kind"], error["code"]) == ("invalid", "FT803")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["lst"], 'did you mean "list"?'),
        (["run"], "--model"),
        (["export", "--run", "a", "--out", "-"], "--format"),
        (["export", "--run", "a", "--out", "b", "--format", "xls"], "parquet"),
        (["list", "--kind", "runs"], "telemetry"),
        (["list", "--last", "soon"], "7d"),
        (["list", "--from", "yesterday"], "2025-09-01"),
        (["list", "--page", "0"], "page"),
        (["list", "--sort", "age"], "created_desc"),
        (["list", "--tag", ","], "names nothing"),
        (["compare", "--baseline", "a", "--comparison", "b", "--threshold", "five"], "5%"),
        (["import", "--data", "a", "--map", "timestamp"], "timestamp=time_bin"),
        (["run", "--model", "a", "--seed", "-1"], "seed"),
        (["tag", "a", "b"], "+tag"),
        (["tag", "a", "--jsno"], "+tag"),
        (["edit", "a"], "--name"),
        (["sim", "new", "--name", "x"], "--template"),
        (["delete", "--confirm"], "--id"),
    ],
)
def test_what_is_allowed_is_named(flowtime: Any, workshop: Path, words: list[str], said: str) -> None:
    error = flowtime(*words, "--json", cwd=workshop, code=2).error
    assert (error["kind"], error["code"]) == ("invalid", "FT803")
    assert said in error["message"]
    assert said in flowtime(*words, cwd=workshop, code=2).stderr


@pytest.mark.parametrize(
    ("named", "bare"),
    [
        ("show --id monday", "show monday"),
        ("compare --baseline monday --comparison tuesday", "compare monday tuesday"),
        ("compare --comparison tuesday --baseline monday", "compare --comparison tuesday monday"),
        ("search --query monday", "search monday"),
        ("explain --model shop", "explain shop"),
        ("open --id monday --print", "open --print monday"),
        ("star --id monday", "star monday"),
        ("edit --id monday --owner ada", "edit --owner ada monday"),
        ("run --model shop --deterministic", "run shop --deterministic"),
        ("test-loop --model shop --format gold", "test-loop --format gold shop"),
        ("sim new --template checkout", "sim new checkout"),
        (
            "sim derive --from baseline-v1 --set retry_share=0.2",
            "sim derive baseline-v1 --set retry_share=0.2",
        ),
        ("export --run monday --out a.csv", "export --out a.csv monday"),
        ("import --data baseline.csv --dry-run", "import baseline.csv --dry-run"),
        ("restore --id nothing", "restore nothing"),
        ("delete --id monday", "delete monday"),
        ("purge --id monday", "purge monday"),
    ],
)
def test_what_a_command_is_about_needs_no_name(
    flowtime: Any, workshop: Path, tmp_path: Path, named: str, bare: str
) -> None:
    folder = shutil.copytree(workshop, tmp_path / "workshop")
    heads = []
    for words in (named, bare):
        done = flowtime(*words.split(), cwd=folder, code=None)
        timeless = re.sub(r"[0-9.]+ (ms|s)\b|[0-9]+ \w+ ago|just now", "", done.stdout + done.stderr)
        new = re.sub(r"(?m)^note: .*\n|@v1\b", "", timeless)  # the second one finds the first one's model
        heads.append((done.code, re.sub(r" +", " ", new)))
    assert heads[0] == heads[1]
    assert "FT803" not in heads[1][1]


def test_a_word_too_many_is_refused(flowtime: Any, workshop: Path) -> None:
    done = flowtime("compare", "monday", "tuesday", "wednesday", cwd=workshop, code=2)
    assert "unexpected extra argument (wednesday)" in done.stderr
    assert "flowtime compare [OPTIONS] BASELINE COMPARISON" in flowtime("compare", "--help").stdout


def test_the_name_of_a_file_tells_the_format_of_an_export(
    flowtime: Any, workshop: Path, tmp_path: Path
) -> None:
    for name, format in (("a.csv", "gold"), ("a.NDJSON", "ndjson"), ("a.zip", "bundle"), ("a.xlsx", "xlsx")):
        done = flowtime("export", "monday", "--out", tmp_path / name, "--json", cwd=workshop)
        assert done.json["format"] == format
    error = flowtime("export", "monday", "--out", "a.txt", "--json", cwd=workshop, code=2).error
    assert (error["code"], ".parquet (parquet)" in error["hint"]) == ("FT401", True)


@pytest.mark.parametrize("words", [[], ["sim"], ["index"]])
def test_a_group_alone_shows_its_help(flowtime: Any, words: list[str]) -> None:
    done = flowtime(*words, code=2)
    assert done.stderr.startswith("Usage: ")
    assert "FT" not in done.stderr
