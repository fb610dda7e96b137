"""Runs the example of every error code and writes their reference: python scripts/error_reference.py

The table of examples is docs/reference/errors.yaml. Commands of flowtime run in this process, all others
in bash, where permissions hold for root too; what they print stands in the page.
"""

from __future__ import annotations

import io
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from flowtime.cli import main
from flowtime.errors import CODES, EXIT_CODES, Code, FlowtimeError
from flowtime.service import Flowtime
from flowtime.settings import load

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "docs/reference/errors.yaml"
TARGET = ROOT / "docs/reference/errors.md"
SHOP = """\
nodes:
  - {id: visits, kind: const, values: 120}
  - {id: orders, kind: expr, expr: visits * 0.3}
"""
ADDRESS = "localhost:8765"
GROUPS = {
    "FT1": "Text documents and settings",
    "FT2": "Models",
    "FT3": "Evaluation",
    "FT4": "Data files",
    "FT5": "The registry",
    "FT6": "Storage",
    "FT7": "Templates",
    "FT8": "Comparison, loop, commands and requests",
    "FT9": "Defects",
}
_INTRODUCTION = f"""\
# Errors and warnings

Every message has a code, and every code a place on this page: what it means, an example that produces it,
how to fix it. Commands end with the exit code of the kind; `--json` prints the error as JSON; over HTTP it
is a problem of RFC 9457, whose `type` ends with the code.

| Kind | Means | Exit code | HTTP status |
|---|---|---|---|
| invalid | what was given is wrong | 2 | 422, or as named with the code |
| not_found | what was named does not exist | 3 | 404 |
| conflict | it exists with other content, or needs a confirmation | 4 | 409 |
| denied | not allowed | 5 | 403 |
| unavailable | the disk, a server or a program does not answer | 6 | 503 |
| internal | a defect of flowtime | 1 | 500 |
| warning | worth knowing; nothing stops | 0 | |

A verification that failed, or a comparison over its threshold, ends with 10: it is an answer and no error.
The examples are run with every change of flowtime, and so are the commands that mend them. In some a limit
to the size of files (`ulimit -f`) stands for a full disk, a folder that nobody may write to for one that
belongs to somebody else, and `moto_server` of the Python package `moto[server]` for a cloud. Where they name
`shop.yaml` and do not show it, it is this model:

```yaml
{SHOP}```
"""
_CHANGING = (
    (re.compile(r"_\d{4}-\d\d-\d\d_[0-9a-f]{8}"), "_2025-01-01_0a1b2c3d"),
    (re.compile(r"(?<=\S)_(?!0a1b2c3d)[0-9a-f]{8}\b"), "_0a1b2c3d"),
)
_IS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0
_AS_ANYBODY = ("setpriv", "--bounding-set=-dac_override,-dac_read_search") if _IS_ROOT else ()
"""Permissions stop root where it gives up the right to pass over them."""
_LATE = 60


class WrongExampleError(Exception):
    """An example does not produce its code."""


@dataclass(frozen=True, slots=True)
class Example:
    """A row of the table: what docs/reference/errors.yaml says of a code."""

    fix: str
    mended: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    run: str = ""
    python: str = ""
    server: str = ""
    shown: tuple[str, ...] = ()
    mask: tuple[str, ...] = ()


def examples() -> dict[str, Example]:
    """The table by code."""
    rows: dict[str, dict[str, Any]] = yaml.safe_load(SOURCE.read_text(encoding="utf-8"))
    return {code: Example(**row) for code, row in rows.items()}


def produce(code: str, example: Example) -> str:
    """Runs an example in a folder of its own; what it prints at the end, without what changes each time.

    Raises WrongExampleError where that is not the code with the exit code of its kind, or where what mends
    it does not.
    """
    with tempfile.TemporaryDirectory(prefix="flowtime-") as folder, _alone(Path(folder, "home")):
        work = Path(folder, "work")
        work.mkdir()
        for name, text in {"shop.yaml": SHOP, **example.files}.items():
            work.joinpath(name).write_text(text, encoding="utf-8")
        with chdir(work):
            ended, printed = _python(example.python) if example.python else _commands(example)
            if example.mended:
                left, said = _command(_filled(example.mended))
                if left:
                    raise WrongExampleError(f"{code}: {example.mended} ended with {left}\n{said}")
        printed = printed.replace(str(work) + "/", "").replace(folder, "...")
    kind = CODES[code].kind
    wanted = {0} if kind is None or "curl" in example.run else {EXIT_CODES[kind]}
    if code not in printed or ended not in wanted:
        raise WrongExampleError(f"{code}: ended with {ended}, not {wanted}, and printed\n{printed}")
    for pattern in example.mask:
        printed = re.sub(pattern, "...", printed)
    for changing, steady in _CHANGING:
        printed = changing.sub(steady, printed)
    lines = [line.rstrip() for line in printed.splitlines()]
    return "\n".join(
        line for line in lines if not example.shown or any(re.search(p, line) for p in example.shown)
    )


@contextmanager
def _alone(home: Path) -> Iterator[None]:
    """A user without settings, and signals as they were."""
    before = dict(os.environ)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for name in [name for name in os.environ if name.startswith(("FLOWTIME_", "AWS_", "AZURE_"))]:
        del os.environ[name]
    temporary = home / "tmp"
    temporary.mkdir(parents=True)
    os.environ |= {
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home),
        "FLOWTIME_CACHE": str(home / "cache"),
        "FLOWTIME_OWNER": "ada",
        "TMPDIR": str(temporary),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _python(program: str) -> tuple[int, str]:
    modules = dict(sys.modules)
    now: Mapping[str, object] = sys.modules
    try:
        exec(compile(program, "example", "exec"), {})  # noqa: S102
    except FlowtimeError as error:
        return error.exit_code, str(error)
    finally:
        for hidden in [name for name, module in now.items() if module is None]:
            del sys.modules[hidden]
        sys.modules.update(modules)
    raise WrongExampleError(f"ends without an error\n{program}")


def _commands(example: Example) -> tuple[int, str]:
    """The exit code and output of the last command; all before must succeed, or find what is damaged."""
    lines = example.run.strip().splitlines()
    with _serving(example.server) as (address, process):
        for number, line in enumerate(lines, 1):
            words = line.replace(ADDRESS, address).replace("$!", process)
            words = words.replace("--port 8765", f"--port {address.rpartition(':')[2]}")
            ended, printed = _command(_filled(words))
            if number < len(lines) and ended not in (0, 10):
                raise WrongExampleError(f"{line} ended with {ended}\n{printed}")
    return ended, printed.replace(address, ADDRESS).replace(
        address.replace("localhost", "127.0.0.1"), ADDRESS
    )


def _filled(line: str) -> str:
    """A command with the newest id of a kind where it says `{kind}`."""
    return re.sub(r"\{(\w+)\}", lambda found: _newest(found[1]), line)


def _newest(kind: str) -> str:
    service = Flowtime(load())
    try:
        return service.newest(kind)
    finally:
        service.registry.close()


def _command(line: str) -> tuple[int, str]:
    words = shlex.split(line)
    variables = {}
    while "=" in words[0]:
        name, _, variables[name] = words.pop(0).partition("=")
    if words[0] != "flowtime":
        ran = subprocess.run(
            [*_AS_ANYBODY, "bash", "-c", line],
            capture_output=True,
            encoding="utf-8",
            check=False,
            timeout=_LATE,
        )
        return ran.returncode, ran.stdout + ran.stderr
    os.environ.update(variables)
    printed = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    try:
        with redirect_stdout(printed), redirect_stderr(printed):
            main(words[1:])
    except SystemExit as ended:
        printed.flush()
        return int(ended.code or 0), printed.buffer.getvalue().decode()
    finally:
        for name in variables:
            del os.environ[name]
    raise AssertionError("a command ends the process")


@contextmanager
def _serving(command: str) -> Iterator[tuple[str, str]]:
    """The address and process of the server that `command` starts in this folder, where it is not empty."""
    if not command:
        yield ADDRESS, "$!"
        return
    with subprocess.Popen(
        [*shlex.split(command), "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
    ) as process:
        late = threading.Timer(_LATE, process.kill)
        late.start()
        assert process.stdout is not None
        said = (re.search(r"http://127\.0\.0\.1(:\d+)", line) for line in process.stdout)
        found = next(filter(None, said), None)
        late.cancel()
        if found is None:
            raise WrongExampleError(f"{command} does not start")
        try:
            yield "localhost" + found[1], str(process.pid)
        finally:
            process.kill()


def section(code: str, declared: Code, example: Example, printed: str) -> str:
    """What the page says of a code."""
    kind = declared.kind or "warning"
    parts = [f"### {code}", f"**{declared.title}** ({kind}). {declared.explanation}"]
    for name, text in example.files.items():
        parts.append(f"`{name}`:\n\n```{_language(name)}\n{text.rstrip()}\n```")
    if example.python:
        parts.append(f"```python\n{example.python.rstrip()}\n```")
        parts.append(f"```text\n{printed}\n```")
    else:
        lines = "\n".join(f"$ {line}" for line in example.run.strip().splitlines())
        before = f"$ {example.server} --port 8765 &\n" if example.server else ""
        parts.append(f"```console\n{before}{lines}\n{printed}\n```")
    parts.append(f"*To fix it.* {example.fix}")
    if example.mended:
        parts.append(f"```console\n$ {example.mended}\n```")
    return "\n\n".join(parts) + "\n"


def _language(name: str) -> str:
    return {"yaml": "yaml", "json": "json", "py": "python"}.get(name.rpartition(".")[2], "text")


def shown_in(text: str, code: str) -> str:
    """What the example of a code prints, as the page `text` shows it."""
    part = text.partition(f"### {code}\n")[2].partition("\n*To fix it.*")[0]
    block = part.rpartition("```")[0].rpartition("```")[2].partition("\n")[2]
    lines = block.splitlines()
    commands = [number for number, line in enumerate(lines) if line.startswith("$ ")]
    return "\n".join(lines[commands[-1] + 1 if commands else 0 :])


def page(printed: Mapping[str, str]) -> str:
    """The whole page, given what the examples print."""
    table = examples()
    parts = [_INTRODUCTION]
    group = ""
    for code, declared in CODES.items():
        if code[:3] != group:
            group = code[:3]
            parts.append(f"## {GROUPS[group]}\n")
        parts.append(section(code, declared, table[code], printed.get(code, "")))
    return "\n".join(parts)


if __name__ == "__main__":
    wanted = sys.argv[1:]
    found = {}
    for code, example in examples().items():
        if not wanted or code in wanted:
            try:
                found[code] = produce(code, example)
                if wanted:
                    print(found[code])
            except WrongExampleError as wrong:
                print(wrong)
    if not wanted:
        TARGET.write_text(page(found), encoding="utf-8")
