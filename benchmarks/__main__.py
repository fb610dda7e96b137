"""`python -m benchmarks [NAME ...] [OPTION ...]`: each benchmark in a process of its own.

Without names all of them run. Options go to the benchmarks that run; `python -m benchmarks.NAME --help`
tells which it has. Exits with 1 where a bound does not hold.
"""

from __future__ import annotations

import subprocess
import sys

from benchmarks.harness import machine

BENCHMARKS = ("engine", "formats", "registry", "commands", "views", "pages", "http")


def main() -> int:
    """Runs the named benchmarks; how many of them failed decides the exit code."""
    words = sys.argv[1:]
    if "-h" in words or "--help" in words:
        print(__doc__, f"\nNames: {', '.join(BENCHMARKS)}", sep="")
        return 0
    names = [word for word in words if word in BENCHMARKS] or list(BENCHMARKS)
    options = [word for word in words if word not in BENCHMARKS]
    if stray := [word for word in options[:1] if not word.startswith("-")]:
        print(f"there is no benchmark {stray[0]!r}; there are: {', '.join(BENCHMARKS)}", file=sys.stderr)
        return 2
    print(machine())
    failed = []
    for name in names:
        print(f"\n{name}\n", flush=True)
        if subprocess.run([sys.executable, "-m", f"benchmarks.{name}", *options], check=False).returncode:
            failed.append(name)
    print(f"\nover a bound, or failed: {', '.join(failed)}" if failed else "\nevery bound held")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
