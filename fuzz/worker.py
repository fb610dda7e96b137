"""One target under libFuzzer: `python -m fuzz.worker TARGET [libFuzzer's options] CORPUS`."""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["flowtime"]):
    from fuzz.targets import TARGETS, fuzz


def main() -> None:
    """Fuzz until libFuzzer's limits are reached or something is found."""
    target = TARGETS[sys.argv.pop(1)]

    def one_input(data: bytes) -> None:
        fuzz(target, data)

    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
