"""Long work over HTTP: told of while it goes on, stopped when nobody wants it, and never lost silently."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from tests.servers import Servers

from flowtime.api.app import create
from flowtime.api.jobs import Jobs
from flowtime.api.presence import Presence
from flowtime.api.server import Config, Limits
from flowtime.errors import Conflict, NotFound, Unavailable
from flowtime.settings import load

ASYNC = {"Prefer": "respond-async"}
NOISY = {
    "grid": {"bins": 100, "binSize": 1, "binUnit": "hours"},
    "nodes": [
        {"id": "arrivals", "kind": "pmf", "pmf": {"90": 0.5, "110": 0.5}, "mode": "sample"},
        {"id": "n0", "kind": "expr", "expr": "arrivals"},
        *({"id": f"n{i}", "kind": "expr", "expr": f"EXP(-n{i - 1}) + arrivals"} for i in range(1, 200)),
    ],
    "outputs": [{"series": "n199"}],
}
# Minutes of work on any machine, so that it is under way whenever a server stops.
LONG = {"model": NOISY, "name": "long", "seed": 1, "samples": 500_000}
SHORT = {"model": NOISY, "name": "short", "seed": 1, "samples": 20}


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Servers]:
    with Servers(tmp_path) as servers:
        yield servers


def cached(*patterns: str) -> list[Path]:
    """What servers keep in the cache folder, which these tests have for themselves."""
    return [path for pattern in patterns for path in Path("cache").glob(pattern)]


def staged() -> list[Path]:
    """What publications left half done."""
    return [path for path in Path("artifacts/.staging").glob("*") if path.name not in (".lock", ".turns")]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOWTIME_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


def until(url: str, *statuses: str, seconds: float = 60) -> dict[str, Any]:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        job = httpx.get(url, timeout=60).json()
        if job["status"] in statuses:
            return job
        assert job["finished_utc"] is None, job
        time.sleep(0.05)
    pytest.fail(f"{job}")


def begin(url: str, path: str, **sent: Any) -> str:
    response = httpx.post(f"{url}{path}", headers=ASYNC, **sent, timeout=60)
    assert response.status_code == 202, response.text
    assert response.headers["preference-applied"] == "respond-async"
    assert response.json()["status"] == "queued"
    return url + response.headers["location"]


def test_a_job_ends_with_its_result(servers: Servers) -> None:
    url = servers()
    job = until(begin(url, "/v1/runs", json=SHORT), "done")
    made = httpx.get(f"{url}/v1/artifacts/{job['result']['id']}", timeout=60).json()
    assert job["result"]["files"] == made["files"]
    assert (job["error"], job["kind"], job["finished_utc"] is not None) == (None, "run", True)
    for path, kind in (("/v1/artifacts/index", "index rebuild"), ("/v1/artifacts/verify", "index verify")):
        job = until(begin(url, path), "done")
        assert (job["kind"], job["result"]["artifacts"]) == (kind, 2)
    job = until(
        begin(url, "/v1/loops", json={"model_id": made["model_id"], "formats": ["gold"], "seed": 1}), "done"
    )
    assert job["result"]["ok"] is True
    assert job["progress"]["total"] == 2
    data = httpx.get(f"{url}/v1/runs/{made['id']}/export/gold", timeout=60).content
    job = until(begin(url, "/v1/import?name=back", content=data), "done")
    assert job["result"]["kind"] == "telemetry"
    failed = until(begin(url, "/v1/import", content=b"a,b\n1,2\n"), "failed")
    assert failed["error"]["code"] == "FT403"
    assert len(httpx.get(f"{url}/v1/jobs", timeout=60).json()["jobs"]) == 6
    assert cached("server-*/processes/*/*") == cached("server-*/processes/*/lock")


def test_a_job_is_told_of_and_cancelled(servers: Servers) -> None:
    url = servers()
    place = begin(url, "/v1/runs", json=LONG)
    until(place, "running")
    deadline = time.monotonic() + 30
    while not httpx.get(place, timeout=60).json()["progress"]["done"]:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert httpx.get(place, timeout=60).json()["progress"]["total"] == 500_000
    assert httpx.delete(place, timeout=60).status_code == 200
    job = until(place, "cancelled")
    assert (job["error"]["code"], job["result"]) == ("FT834", None)
    assert httpx.get(f"{url}/v1/artifacts?kind=run", timeout=60).json()["total"] == 0
    assert staged() == []


def test_a_killed_server_leaves_its_jobs_interrupted(servers: Servers) -> None:
    url = servers()
    running, waiting = (begin(url, "/v1/runs", json=LONG) for _ in range(2))
    until(running, "running")
    queued = begin(url, "/v1/import", content=b"x" * 100_000)
    process = servers.process(url)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert process.stdout is not None
    process.stdout.close()
    assert len(cached("server-*/processes/process_*")) == 1
    again = servers()
    for place in (running, waiting, queued):
        job = httpx.get(place.replace(url, again), timeout=60).json()
        assert job["status"] == "interrupted"
        assert job["finished_utc"] is not None
    # What the killed one had of uploads is gone with it.
    assert len(cached("server-*/processes/process_*")) == 1
    assert len(cached("server-*/processes/process_*/*")) == 1


def test_every_worker_tells_of_every_job(servers: Servers) -> None:
    url = servers("--workers", "2")
    place = begin(url, "/v1/runs", json=LONG)
    assert {httpx.get(place, timeout=60).json()["status"] for _ in range(20)} <= {"queued", "running"}
    httpx.delete(place, timeout=60)
    until(place, "cancelled")
    assert {httpx.get(place, timeout=60).json()["status"] for _ in range(20)} == {"cancelled"}


def test_a_server_that_stops_gives_work_up_and_says_so(servers: Servers) -> None:
    url = servers()
    answers: list[httpx.Response] = []
    asking = threading.Thread(
        target=lambda: answers.append(httpx.post(f"{url}/v1/runs", json=LONG, timeout=90))
    )
    asking.start()
    place = begin(url, "/v1/runs", json=LONG)
    until(place, "running")
    assert servers.stop(url) == 0
    asking.join()
    [answer] = answers
    assert (answer.status_code, answer.json()["code"]) == (503, "FT839")
    assert answer.headers["retry-after"]
    assert "Traceback" not in servers.log(url)
    assert staged() == []
    assert cached("server-*/processes/*") == []
    again = servers()
    assert httpx.get(place.replace(url, again), timeout=60).json()["status"] == "interrupted"


def test_jobs_are_told_of_the_end_while_requests_still_hold_the_server(tmp_path: Path) -> None:
    """Both have the same seconds: platforms that stop a server do not wait for twice as many."""
    settings = load({"artifacts": str(tmp_path / "artifacts")})
    app = create(Config(settings, limits=Limits(patience=0.1)))
    jobs: Jobs = app.state.server.jobs

    def work(tell: Callable[[int, float | None], None]) -> dict[str, Any]:
        while True:
            time.sleep(0.01)
            tell(1, None)

    async def ended_within() -> str:
        async with app.router.lifespan_context(app):
            job = jobs.begin("run", "ann", work)
            signal.raise_signal(signal.SIGTERM)
            with anyio.fail_after(30):
                while jobs.get(job["id"], "ann")["finished_utc"] is None:
                    await anyio.sleep(0.01)
            return str(jobs.get(job["id"], "ann")["status"])

    assert anyio.run(ended_within) == "interrupted"


def test_a_caller_that_goes_away_stops_what_it_asked_for(servers: Servers) -> None:
    url = servers()
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{url}/v1/runs", json=LONG, timeout=1.5)
    end = time.monotonic() + 20
    while staged() and time.monotonic() < end:
        time.sleep(0.05)
    # The places for work are free again.
    for _ in range(6):
        assert httpx.post(f"{url}/v1/runs", json=SHORT, timeout=60).status_code == 201
    assert httpx.get(f"{url}/v1/artifacts?query=long", timeout=60).json()["total"] == 0


@pytest.fixture
def jobs(tmp_path: Path) -> Iterator[Jobs]:
    presence = Presence(tmp_path / "processes")
    presence.enter()
    jobs = Jobs(tmp_path / "jobs", presence)
    yield jobs
    jobs.stop(0)
    presence.leave()


def test_more_jobs_than_there_is_room_for_are_refused(jobs: Jobs) -> None:
    go, cleaned = threading.Event(), []

    def work(tell: Any) -> dict[str, Any]:
        go.wait(60)
        return {}

    begun = [jobs.begin("run", "ann", work) for _ in range(100)]
    with pytest.raises(Unavailable) as refused:
        jobs.begin("run", "ann", work, lambda: cleaned.append("uploaded"))
    assert (refused.value.code, cleaned) == ("FT838", ["uploaded"])
    go.set()
    end = time.monotonic() + 30
    while jobs.running and time.monotonic() < end:
        time.sleep(0.01)
    assert {jobs.get(job["id"], "ann")["status"] for job in begun} == {"done"}


def test_jobs_are_their_owners(jobs: Jobs) -> None:
    job = jobs.begin("run", "ann", lambda tell: {"made": 1})
    assert [each["id"] for each in jobs.all("ann")] == [job["id"]] == [each["id"] for each in jobs.all(None)]
    assert jobs.all("bob") == []
    for id in (job["id"], "job_" + "0" * 24, "../../etc/passwd", ""):
        with pytest.raises(NotFound):
            jobs.get(id, "bob")
        with pytest.raises(NotFound):
            jobs.cancel(id, "bob")


def test_the_number_of_a_process_says_nothing(tmp_path: Path, jobs: Jobs) -> None:
    """A job of a process whose lock is gone is interrupted, whoever has its number now."""
    go = threading.Event()
    job = jobs.begin("run", "ann", lambda tell: {"waited": go.wait(30)})
    path = tmp_path / "jobs" / f"{job['id']}.json"
    other = Presence(tmp_path / "processes")
    other.enter()
    assert Jobs(tmp_path / "jobs", other).get(job["id"], "ann")["status"] != "interrupted"
    left = json.loads(path.read_text()) | {"id": "job_" + "1" * 24, "process": "process_" + "0" * 16}
    path.with_name("job_" + "1" * 24 + ".json").write_text(json.dumps(left))
    assert jobs.get("job_" + "1" * 24, "ann")["status"] == "interrupted"
    go.set()
    other.leave()


def test_a_cancelled_job_that_waits_never_begins(jobs: Jobs) -> None:
    go = threading.Event()
    for _ in range(2):
        jobs.begin("run", "ann", lambda tell: {"waited": go.wait(30)})
    cleaned: list[str] = []
    job = jobs.begin("import", "ann", lambda tell: {"began": True}, lambda: cleaned.append("file"))
    jobs.cancel(job["id"], "ann")
    go.set()
    end = time.monotonic() + 20
    while jobs.running and time.monotonic() < end:
        time.sleep(0.01)
    ended = jobs.get(job["id"], "ann")
    assert (ended["status"], ended["result"], cleaned) == ("cancelled", None, ["file"])


def test_a_defect_in_a_job_tells_nothing_of_the_inside(jobs: Jobs) -> None:
    def work(tell: Any) -> dict[str, Any]:
        raise ZeroDivisionError("/secret/path")

    job = jobs.begin("run", "ann", work)
    end = time.monotonic() + 20
    while jobs.running and time.monotonic() < end:
        time.sleep(0.01)
    error = jobs.get(job["id"], "ann")["error"]
    assert (error["code"], "secret" in json.dumps(error)) == ("FT900", False)


def test_work_is_told_to_stop(jobs: Jobs) -> None:
    stopped = threading.Event()

    def work(tell: Any) -> dict[str, Any]:
        try:
            while True:
                tell(1, 2)
                time.sleep(0.01)
        except Conflict:
            stopped.set()
            raise

    job = jobs.begin("run", "ann", work)
    while jobs.get(job["id"], "ann")["status"] == "queued":
        time.sleep(0.01)
    jobs.stop(0.2)
    assert stopped.is_set()
    assert jobs.get(job["id"], "ann")["status"] == "interrupted"
