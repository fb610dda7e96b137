"""Fuzz every reader: `make fuzz`, or `make fuzz ARGS="--minutes 60 csv parquet"`.

Each target gets its share of the time in a process of its own, under libFuzzer with the coverage of
flowtime's Python code. A finding is an exception that is no FlowtimeError, a result that does not survive
being written and read, an input that takes over 10 seconds, or memory over 1 GB. Its input is kept in
build/fuzz/TARGET/findings; once mended, it moves to tests/golden/fuzz/TARGET and stays there as a case.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from pathlib import Path

from fuzz.targets import TARGETS, Target

HANG_SECONDS = 10
MEMORY_MB = 1024
MAX_INPUT = 1 << 16
MAX_FINDINGS = 20

ROOT = Path(__file__).parents[1]
BUILD = ROOT / "build" / "fuzz"


def fuzz(name: str, target: Target, seconds: float) -> tuple[int, list[Path]]:
    """Fuzz a target for so long: the number of inputs tried, and the inputs that are findings."""
    folder = BUILD / name
    corpus, seeds, found = folder / "corpus", folder / "seeds", folder / "findings"
    for each in (corpus, seeds, found):
        each.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(target.seeds()):
        (seeds / f"{number:03}").write_bytes(seed)
    cases = ROOT / "tests" / "golden" / "fuzz" / name
    words = folder / "words.txt"
    quoted = ("".join(f"\\x{byte:02x}" for byte in word.encode()) for word in target.words)
    words.write_text("".join(f'"{word}"\n' for word in quoted), encoding="utf-8")
    before = set(found.iterdir())
    end, tried = time.monotonic() + seconds, 0
    while (left := int(end - time.monotonic())) > 0 and len(set(found.iterdir()) - before) < MAX_FINDINGS:
        limits = [f"-timeout={HANG_SECONDS}", f"-rss_limit_mb={MEMORY_MB}", f"-max_len={MAX_INPUT}"]
        options = [f"-max_total_time={left}", "-print_final_stats=1", "-reload=0", f"-dict={words}"]
        folders = [str(path) for path in (corpus, seeds, cases) if path.is_dir()]
        with (folder / "log.txt").open("w+b") as log:
            worker = [sys.executable, "-m", "fuzz.worker", name, *limits, *options]
            done = subprocess.run(
                [*worker, f"-artifact_prefix={found}/", *folders],
                cwd=ROOT,
                env=os.environ | {"POLARS_MAX_THREADS": "1"},
                stdout=log,
                stderr=log,
                check=False,
            )
            log.seek(0)
            text = log.read().decode(errors="replace")
        executed = re.findall(r"stat::number_of_executed_units:\s+(\d+)|^#(\d+)\s", text, re.MULTILINE)
        tried += int(executed[-1][0] or executed[-1][1]) if executed else 0
        if done.returncode and not executed:
            print(text[-1000:], file=sys.stderr)
            sys.exit(f"{name}: the fuzzer does not start")
        if done.returncode:
            ended = f"ended by signal {-done.returncode}" if done.returncode < 0 else _summary(text)
            print(f"{name}: {ended}", flush=True)
    return tried, sorted(set(found.iterdir()) - before)


def _summary(log: str) -> str:
    """The exception, or what libFuzzer says of the finding."""
    lines = log.splitlines()
    python = [i for i, line in enumerate(lines) if "Uncaught Python exception" in line]
    if python:
        places = [line.strip() for line in lines if line.startswith("  File ")]
        return f"{lines[python[-1] + 1]} at {places[-1] if places else '?'}"
    return next((line for line in lines if "ERROR: libFuzzer" in line), lines[-1] if lines else "no output")


def main() -> None:
    """Fuzz the targets named, or all, and say how many inputs were tried and what was found."""
    parser = argparse.ArgumentParser(prog="fuzz", description="Fuzz flowtime's readers.")
    parser.add_argument("--minutes", type=float, default=5, help="time for all targets together (default: 5)")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"out of {', '.join(TARGETS)}")
    arguments = parser.parse_args()
    unknown = set(arguments.targets) - set(TARGETS)
    if unknown:
        parser.error(f"no target: {', '.join(sorted(unknown))}")
    chosen = arguments.targets or list(TARGETS)
    total = 0
    for name in chosen:
        tried, found = fuzz(name, TARGETS[name], arguments.minutes * 60 / len(chosen))
        total += len(found)
        print(f"{name:8} {tried:>12,} inputs, {len(found)} findings", flush=True)
        for path in found:
            print(f"         {path.relative_to(ROOT)}")
    sys.exit(1 if total else 0)


if __name__ == "__main__":
    main()
