"""What system dynamics libraries take for backlog loops. Run by an interpreter that has them, not by ours.

    python with_dynamics.py FOLDER LOOPS BINS

Writes the loops as XMILE into FOLDER and runs them with pysimlin and PySD, whichever is there. Prints JSON:
by name `version`, `ms` (CPU time, the fastest of some runs, loading and translating left out) and `backlog`,
what is left of each loop at the end.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

HEAD = """<?xml version="1.0" encoding="utf-8"?>
<xmile version="1.0" xmlns="http://docs.oasis-open.org/xmile/ns/XMILE/v1.0">
<header><vendor>flowtime</vendor><product version="1">flowtime</product><name>backlog</name></header>
<sim_specs method="Euler" time_units="hours"><start>0</start><stop>{bins}</stop><dt>1</dt></sim_specs>
<model><variables>
"""
LOOP = """<flow name="arrivals {i}"><eqn>10 + 8*SIN(0.26*TIME + {i})</eqn></flow>
<flow name="served {i}"><eqn>MIN(arrivals_{i} + backlog_{i}, 10)</eqn></flow>
<stock name="backlog {i}"><eqn>0</eqn><inflow>arrivals_{i}</inflow><outflow>served_{i}</outflow></stock>
"""


def xmile(loops: int, bins: int) -> str:
    """The loops as XMILE (https://docs.oasis-open.org/xmile/xmile/v1.0/xmile-v1.0.html)."""
    return (
        HEAD.format(bins=bins)
        + "".join(LOOP.format(i=i) for i in range(loops))
        + "</variables></model></xmile>"
    )


def simlin(path: Path, loops: int) -> tuple[Callable[[], object], Callable[[], Sequence[float]]]:
    """What runs the model, and what tells the backlogs at the end."""
    import simlin  # noqa: PLC0415 (one of two libraries that may be missing)

    model = simlin.load(path)
    last: list[simlin.Sim] = []

    def run() -> None:
        last[:] = [model.simulate()]
        last[0].run_to_end()

    return run, lambda: [float(last[0].get_series(f"backlog_{i}")[-1]) for i in range(loops)]


def pysd(path: Path, loops: int) -> tuple[Callable[[], object], Callable[[], Sequence[float]]]:
    """What runs the model, and what tells the backlogs at the end."""
    import pysd  # noqa: PLC0415 (one of two libraries that may be missing)

    model = pysd.read_xmile(str(path))
    columns = [f"backlog {i}" for i in range(loops)]
    last = []

    def run() -> None:
        last[:] = [model.run(return_columns=columns)]

    return run, lambda: [float(last[0][column].iloc[-1]) for column in columns]


def main() -> None:
    """Runs the loops with each library that is there."""
    folder, loops, bins = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    path = folder / "backlog.xmile"
    path.write_text(xmile(loops, bins), encoding="utf-8")
    measured = {}
    for name, library, times in (("pysimlin", simlin, 3), ("pysd", pysd, 1)):
        try:
            found = version(name)
        except PackageNotFoundError:
            continue
        run, backlogs = library(path, loops)
        fastest = float("inf")
        for _ in range(times):
            began = time.process_time()
            run()
            fastest = min(fastest, time.process_time() - began)
        measured[name] = {"version": found, "ms": fastest * 1000, "backlog": backlogs()}
    print(json.dumps(measured))


if __name__ == "__main__":
    main()
