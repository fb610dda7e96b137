"""What MLflow takes for what a registry does. Run by an interpreter that has MLflow, not by ours.

    python with_mlflow.py FOLDER RUNS

Fills a store on SQLite in FOLDER, then prints as JSON: `version`, and the medians in milliseconds `publish`
(a run with two tags, a parameter, a metric and a file of 4 kB), `id` and `tag` (twenty runs by a tag, newest
first), and `list`, the CPU milliseconds of `mlflow runs list` as a process.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import mlflow
from mlflow.tracking import MlflowClient


def median(work: Callable[[], object], times: int) -> float:
    """Milliseconds of wall time of one call."""
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        taken.append((time.perf_counter() - began) * 1000)
    return statistics.median(taken)


def main() -> None:
    """Fills the store and prints what was measured."""
    folder, runs = Path(sys.argv[1]), int(sys.argv[2])
    url = f"sqlite:///{folder}/mlflow.db"
    client = MlflowClient(url)
    experiment = client.create_experiment("bench", artifact_location=(folder / "artifacts").as_uri())
    mlflow.set_tracking_uri(url)
    table = folder / "binned_v0.csv"
    table.write_bytes(b"x" * 4000)
    found = []

    def publish() -> None:
        tags = {"word": "baseline" if len(found) % 5 == 0 else "weekly", "number": str(len(found))}
        run = client.create_run(experiment, run_name=f"run-{len(found)}", tags=tags)
        found.append(run.info.run_id)
        client.log_param(run.info.run_id, "seed", 7)
        client.log_metric(run.info.run_id, "mean", 1.0)
        client.log_artifact(run.info.run_id, str(table))
        client.set_terminated(run.info.run_id)

    published = median(publish, runs)
    newest = ["attributes.start_time DESC"]
    command = [sys.executable, "-m", "mlflow", "runs", "list", "--experiment-id", experiment]
    process = os.posix_spawn(
        command[0],
        command,
        {**os.environ, "MLFLOW_TRACKING_URI": url},
        file_actions=[(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)],
    )
    _, status, usage = os.wait4(process, 0)
    if status:
        raise SystemExit(f"mlflow runs list failed: {status}")
    print(
        json.dumps(
            {
                "version": mlflow.__version__,
                "publish": published,
                "id": median(lambda: client.get_run(found[runs // 2]), 50),
                "tag": median(
                    lambda: client.search_runs(
                        [experiment], "tags.word = 'baseline'", max_results=20, order_by=newest
                    ),
                    50,
                ),
                "list": (usage.ru_utime + usage.ru_stime) * 1000,
            }
        )
    )


if __name__ == "__main__":
    main()
