"""Running the server: listening, workers, an orderly end."""

from __future__ import annotations

import logging
import os
import pickle
import signal
import socket
import sys
import tempfile
import threading
from base64 import b64decode, b64encode
from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_address

import uvicorn
from uvicorn.supervisors import Multiprocess

from flowtime.api import access_file
from flowtime.api.connections import Connection
from flowtime.api.metrics import SHARED
from flowtime.api.server import Config
from flowtime.errors import InvalidInput, Unavailable
from flowtime.wording import action, option

__all__ = ["Config", "configured", "is_loopback", "serve"]

_CONFIG = "FLOWTIME_SERVER_CONFIG"
_GRACE = 20
"""Seconds that requests under way get to end."""
_WAITING = 2048
"""Connections that may wait to be taken."""


def serve(
    config: Config, host: str, port: int, workers: int, ready: Callable[[str], object], *, application: str
) -> None:
    """Serves until a signal ends it. `ready` is told the address when the socket is bound; `application`
    names the function, as `module:name`, by which each worker process makes what it serves.

    Raises InvalidInput (FT803) for a host that others reach without `auth`, InvalidInput (FT835) where that
    cannot be used, Unavailable (FT840) where the address cannot be had.
    """
    if config.auth is None and not is_loopback(host):
        raise InvalidInput(
            "FT803",
            f"{option('host', host)} lets others in, and there is no {option('auth')} to say who they are",
            hint=f"{action('token', 'access.toml')} makes a token; name its file with {option('auth')}",
        )
    if config.auth is not None:
        access_file.read(config.auth)
    bound = _bind(host, port)
    shown = f"[{host}]" if ":" in host else host
    ready(f"http://{shown}:{bound.getsockname()[1]}{config.root_path}")
    config = replace(config, hosts=(*config.hosts, shown))
    os.environ[_CONFIG] = b64encode(pickle.dumps(config)).decode()
    settings = uvicorn.Config(
        application,
        factory=True,
        http=Connection,
        workers=workers,
        log_level=logging.WARNING,
        access_log=False,
        server_header=False,
        proxy_headers=bool(config.proxies),
        forwarded_allow_ips=list(config.proxies),
        timeout_graceful_shutdown=_GRACE,
        timeout_keep_alive=30,
        timeout_worker_healthcheck=60,
    )
    main = threading.current_thread() is threading.main_thread()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM) if main}
    try:
        if workers > 1:
            with tempfile.TemporaryDirectory(prefix="flowtime-metrics-") as folder:
                os.environ[SHARED] = folder
                Multiprocess(settings, sockets=[bound]).run()
        else:
            server = uvicorn.Server(settings)

            def end(*_: object) -> None:
                server.should_exit = True

            # Until it listens to signals itself; at its end it raises again those that it met.
            for number in before:
                signal.signal(number, end)
            server.run(sockets=[bound])
    finally:
        os.environ.pop(SHARED, None)
        for number, handler in before.items():
            signal.signal(number, handler)


def configured() -> Config:
    """The configuration of a worker process, from the process that started it; sets up its access log."""
    config: Config = pickle.loads(b64decode(os.environ[_CONFIG]))  # noqa: S301 - written by `serve` above
    if config.access_log:
        log = logging.getLogger("flowtime.access")
        log.setLevel(logging.INFO)
        log.propagate = False
        # A line is a JSON document as it is.
        log.handlers = [logging.StreamHandler(sys.stderr)]
    return config


def is_loopback(host: str) -> bool:
    """Whether only programs on this machine reach the host."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio turns Nagle's algorithm off, which costs 40 ms a response, for sockets that name TCP only.
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        raise Unavailable(
            "FT840",
            f"{host}:{port} cannot be had: {error.strerror}",
            hint=f"another server may be there; {option('port')} names another one",
        ) from error
    # Whoever is told the address may come at once, and waits until the application is up.
    bound.listen(_WAITING)
    bound.set_inheritable(True)
    return bound
