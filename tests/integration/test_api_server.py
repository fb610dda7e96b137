"""The server as those meet it who run it: its beginning and end, proxies, workers, stores, monitoring."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import httpx
import pytest
from tests.servers import Servers, new_token, problem
from tests.worlds import make_world

from flowtime.service import Flowtime
from flowtime.settings import load

NGINX = """
daemon off; pid {folder}/nginx.pid; error_log {folder}/nginx.log; worker_processes 1;
events {{}}
http {{
  access_log off; client_max_body_size 0;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port};
    location /flow/ {{ proxy_pass {server}/; proxy_set_header Host $http_host; {more} }}
  }}
}}
"""


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Servers]:
    with Servers(tmp_path) as servers:
        yield servers


def test_it_serves_what_the_command_made_meanwhile(flowtime: Any, servers: Servers, tmp_path: Path) -> None:
    url = servers()
    assert httpx.get(f"{url}/v1/artifacts", timeout=60).json()["total"] == 0
    made = flowtime("sim", "new", "--template", "checkout", "--name", "new", "--json").json
    assert httpx.get(f"{url}/v1/artifacts/new", timeout=60).json()["id"] == made["id"]
    assert httpx.delete(f"{url}/v1/artifacts/{made['id']}?confirm=true", timeout=60).status_code == 200
    assert flowtime("list", "--json").json["total"] == 0


@pytest.mark.parametrize("workers", ["1", "2"])
def test_it_ends_when_asked_before_it_is_up(workers: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "flowtime", "serve", "--port", "0", "--workers", workers]
    for pause in (0, 0.001, 0.01, 0.1):
        with subprocess.Popen(
            command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8"
        ) as process:
            assert process.stdout is not None
            assert "http://127.0.0.1:" in process.stdout.readline()
            time.sleep(pause)
            process.terminate()
            try:
                process.wait(timeout=60)
            finally:
                process.kill()
            assert process.returncode in (0, 143)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("workers", ["1", "2"])
def test_it_ends_in_good_order(servers: Servers, number: signal.Signals, workers: str) -> None:
    url = servers("--workers", workers)
    assert httpx.get(f"{url}/healthz", timeout=60).status_code == 200
    process = servers.process(url)
    process.send_signal(number)
    assert process.wait(30) == 0
    assert process.stdout is not None
    process.stdout.close()
    assert "Traceback" not in servers.log(url)
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/healthz", timeout=60)


def test_an_answer_under_way_is_finished(servers: Servers, tmp_path: Path) -> None:
    make_world(tmp_path)
    url = servers()
    with httpx.stream("GET", f"{url}/v1/runs/monday/export/bundle") as response:
        process = servers.process(url)
        process.send_signal(signal.SIGTERM)
        assert response.read()[:2] == b"PK"
    assert process.wait(30) == 0
    assert process.stdout is not None
    process.stdout.close()


def test_an_address_in_use_is_an_error(flowtime: Any, servers: Servers) -> None:
    port = servers().rpartition(":")[2]
    error = flowtime("serve", "--port", port, "--json", code=6).error
    assert error["code"] == "FT840"


def test_health_tells_the_registry(flowtime: Any, servers: Servers, tmp_path: Path) -> None:
    make_world(tmp_path)
    url = servers()
    health = httpx.get(f"{url}/healthz", timeout=60).json()
    assert health["registry"] == flowtime("index", "status", "--json").json["registry"]
    assert health["status"] == "ok"
    nowhere = {"AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_ALLOW_HTTP": "true", "AWS_REGION": "x"}
    nowhere |= {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    url = servers("--artifacts", "s3://nobody/nothing", env=nowhere)
    sick = httpx.get(f"{url}/healthz", timeout=60)
    assert (sick.status_code, sick.json()["kind"]) == (503, "unavailable")
    assert sick.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("workers", ["1", "2"])
def test_numbers_for_monitoring(servers: Servers, workers: str) -> None:
    url = servers("--workers", workers)
    for _ in range(40):
        httpx.get(f"{url}/v1/artifacts", timeout=60)
    httpx.get(f"{url}/v1/artifacts/nobody", timeout=60)
    httpx.get(f"{url}/nowhere", timeout=60)
    text = httpx.get(f"{url}/metrics", timeout=60).text

    def count(route: str, status: int) -> float:
        labels = re.escape(f'method="GET",route="{route}",status="{status}"')
        pattern = rf"^flowtime_http_requests_total\{{{labels}\}} (.+)$"
        return sum(map(float, re.findall(pattern, text, re.MULTILINE)))

    assert count("/v1/artifacts", 200) == 40
    assert count("/v1/artifacts/{id}", 404) == 1
    # Addresses that there are not do not make a line each.
    assert "/nowhere" not in text
    assert "flowtime_jobs_running" in text


def test_the_access_log_is_lines_of_json(servers: Servers) -> None:
    url = servers("--access-log")
    httpx.get(f"{url}/v1/artifacts?query=secret", timeout=60)
    httpx.post(f"{url}/v1/runs", json={}, timeout=60)
    assert servers.stop(url) == 0  # a line may come after the answer that it tells of
    absent, *logged = servers.log(url).splitlines()
    assert absent.startswith("there is no registry at ")
    lines = [json.loads(line) for line in logged]
    assert [(line["method"], line["path"], line["status"]) for line in lines] == [
        ("GET", "/v1/artifacts", 200),
        ("POST", "/v1/runs", 422),
    ]
    assert all(line["ms"] > 0 and line["client"] == "127.0.0.1" for line in lines)


def test_without_the_access_log_nothing_is_said(servers: Servers, tmp_path: Path) -> None:
    make_world(tmp_path)
    url = servers()
    httpx.get(f"{url}/v1/artifacts", timeout=60)
    assert servers.stop(url) == 0
    assert servers.log(url) == ""


@pytest.mark.needs("nginx", "openssl")
def test_the_nginx_of_the_guide_keeps_the_port(servers: Servers, tmp_path: Path) -> None:
    """What the guide shows, with another port, and the certificate that it leaves to its readers."""
    guide = (Path(__file__).parents[2] / "docs/guides/serve-safely.md").read_text(encoding="utf-8")
    [shown] = re.findall(r"```nginx\n(.*?)```", guide, re.DOTALL)
    make_world(tmp_path)
    token = new_token(tmp_path / "access.toml", "ada", "admin")
    server = servers(
        "--auth", tmp_path / "access.toml", "--allow-host", "flow.example.org", "--proxy", "127.0.0.1"
    )
    port = free_port()
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=flow.example.org"]
    command += ["-addext", "subjectAltName=DNS:flow.example.org,DNS:localhost", "-days", "2"]
    command += ["-keyout", str(tmp_path / "key.pem"), "-out", str(tmp_path / "certificate.pem")]
    subprocess.run(command, check=True, capture_output=True)
    for said, here in (
        ("listen 443 ssl;", f"listen 127.0.0.1:{port} ssl;"),
        ("http://127.0.0.1:8765;", f"{server};"),
        (
            "# ssl_certificate, ssl_certificate_key\n",
            f"ssl_certificate {tmp_path}/certificate.pem; ssl_certificate_key {tmp_path}/key.pem;\n",
        ),
    ):
        assert shown.count(said) == 1, said
        shown = shown.replace(said, here)
    http = NGINX.partition("  server {{")[0].replace(" client_max_body_size 0;", "")
    (tmp_path / "nginx.conf").write_text(f"{http.format(folder=tmp_path)}\n{shown}\n}}\n")
    trusted = ssl.create_default_context(cafile=str(tmp_path / "certificate.pem"))
    host = f"flow.example.org:{port}"
    with (
        nginx(tmp_path),
        httpx.Client(
            base_url=f"https://localhost:{port}", verify=trusted, headers={"Host": host}, timeout=30
        ) as client,
    ):
        answering(client, "/healthz")

        def leads(answer: httpx.Response, to: str = "") -> str:
            """Where a browser goes from there, which must be at the same host and port."""
            assert to or answer.is_redirect or answer.status_code == 201, answer.text
            url = urljoin(f"https://{host}{answer.request.url.path}", to or answer.headers["location"])
            assert url.startswith(f"https://{host}/")
            return url.removeprefix(f"https://{host}")

        page = client.get("/artifacts", headers={"Accept": "text/html"})
        assert (page.status_code, leads(page).partition("?")[0]) == (303, "/login")
        form = {"token": token["Authorization"].removeprefix("Bearer "), "next": "/artifacts"}
        page = client.post("/login", data=form, headers={"Origin": f"https://{host}"})
        assert (page.status_code, leads(page)) == (303, "/artifacts")
        assert "Secure" in page.headers["set-cookie"]
        made = client.post("/v1/runs", json={"model_id": "baseline-v1", "name": "behind"}, headers=token)
        assert client.get(leads(made), headers=token).json()["name"] == "behind"
        first = client.get("/v1/artifacts?size=1", headers=token)
        second = client.get(leads(first, first.links["next"]["url"]), headers=token)
        assert second.json()["page"] == 2
        foreign = client.post("/logout", headers={"Origin": "https://flow.example.org"})
        assert problem(foreign)[1] == "FT830"  # another port is another site
        export = client.get("/v1/runs/behind/export/gold", headers=token)
        back = client.post("/v1/import?name=back", content=export.content, headers=token)
        assert back.status_code == 201, back.text


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def nginx(folder: Path) -> Iterator[None]:
    """Debian's nginx with the `nginx.conf` in the folder."""
    command = ["nginx", "-c", str(folder / "nginx.conf"), "-p", str(folder)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as proxy:
        try:
            yield
        finally:
            proxy.terminate()


def answering(client: httpx.Client, path: str) -> None:
    """Waits until the proxy is up."""
    end = time.monotonic() + 10
    while time.monotonic() < end:
        try:
            client.get(path)
        except httpx.ConnectError:
            time.sleep(0.05)
        else:
            return


@pytest.mark.needs("nginx")
@pytest.mark.parametrize("kept", [False, True])
def test_behind_a_proxy_under_a_path(servers: Servers, tmp_path: Path, kept: bool) -> None:
    """`kept`: the proxy passes the path on as it came, instead of taking its beginning off."""
    make_world(tmp_path)
    server = servers("--root-path", "/flow/").removesuffix("/flow")
    port = free_port()
    place = f"{server}/flow" if kept else server
    config = tmp_path / "nginx.conf"
    config.write_text(
        NGINX.format(
            folder=tmp_path, port=port, server=place, more="proxy_buffering off; proxy_request_buffering off;"
        )
    )
    with nginx(tmp_path), httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
        answering(client, "/flow/healthz")
        page = client.get("/flow/v1/artifacts?size=1")
        assert page.json()["total"] == 3
        second = client.get(page.links["next"]["url"])
        assert second.json()["page"] == 2
        for item in second.json()["artifacts"]:
            for link in item["files"].values():
                assert client.get(link).status_code == 200, link
        run = client.post("/flow/v1/runs", json={"model_id": "baseline-v1", "name": "behind"})
        assert client.get(run.headers["location"]).json()["name"] == "behind"
        export = client.get("/flow/v1/runs/behind/export/gold")
        assert client.get(export.links["describedby"]["url"]).status_code == 200
        refused = client.get("/flow/v1/artifacts/nobody").json()
        assert client.get(refused["type"]).json()["code"] == refused["code"]
        job = client.post("/flow/v1/artifacts/index", headers={"Prefer": "respond-async"})
        assert client.get(job.headers["location"]).status_code == 200
        servers_of = client.get("/flow/openapi.json").json()["servers"]
        assert servers_of == [{"url": "/flow"}]
        back = client.post("/flow/v1/import?name=back", content=export.content)
        assert back.status_code == 201, back.text
        assert client.get(back.headers["location"]).json()["name"] == "back"
        assert client.put("/flow/v1/artifacts/x").headers["allow"] == "DELETE, GET, HEAD, PATCH"


def test_many_workers_on_one_registry(servers: Servers, tmp_path: Path) -> None:
    make_world(tmp_path)
    url = servers("--workers", "2")
    names = [f"run-{number}" for number in range(12)]
    failed = []

    def make(name: str) -> None:
        response = httpx.post(f"{url}/v1/runs", json={"model_id": "baseline-v1", "name": name}, timeout=60)
        # Whoever is asked next knows of it.
        if (
            response.status_code != 201
            or httpx.get(f"{url}/v1/artifacts/{name}", timeout=60).status_code != 200
        ):
            failed.append(name)

    threads = [threading.Thread(target=make, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    for _ in range(10):
        assert httpx.get(f"{url}/v1/artifacts?kind=run", timeout=60).json()["total"] == 14
    checked = httpx.post(f"{url}/v1/artifacts/verify", timeout=60).json()
    assert (checked["ok"], checked["artifacts"]) == (True, 15)


def test_a_registry_in_a_bucket(servers: Servers, place: Callable[[str], str], tmp_path: Path) -> None:
    root = place("seaweedfs")
    url = servers("--artifacts", root, env=dict(os.environ))
    with httpx.Client(base_url=url, timeout=60) as client:
        model = client.post("/v1/templates/checkout/models", json={"name": "cloudy"}).json()
        run = client.post("/v1/runs", json={"model_id": model["id"], "name": "far-away"}).json()
        plain = {"Accept-Encoding": "identity"}
        data = client.get(f"/v1/runs/{run['id']}/export/gold", headers=plain)
        assert data.headers["content-length"] == str(len(data.content))
        assert client.get(run["files"]["data"]).content == data.content
        for format in ("ndjson", "parquet", "bundle"):
            assert client.get(f"/v1/runs/far-away/export/{format}").status_code == 200
        back = client.post("/v1/import?name=back", content=data.content).json()
        assert (back["rebuilt"], back["data"]["digest"]) == (True, run["data"]["digest"])
        assert root in client.get("/v1/index").json()["root"]
        assert client.post("/v1/artifacts/verify").json()["ok"] is True
        # The address of the store is not told with what lies in it.
        assert "s3://" not in json.dumps(client.get("/v1/artifacts/far-away").json())
        assert "s3://" not in client.get("/v1/artifacts").text
        assert client.delete(f"/v1/artifacts/{back['id']}?confirm=true").status_code == 200
    service = Flowtime(load({"artifacts": root}))
    assert service.find()["total"] == 2
