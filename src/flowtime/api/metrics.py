"""Numbers for monitoring: requests by route, their times, jobs, in the text format of Prometheus."""

from __future__ import annotations

import os
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

SHARED = "PROMETHEUS_MULTIPROC_DIR"
"""Names the folder by which the workers of one server add up what they count. It is read on import."""


class Metrics:
    """Counts what one server process does, and tells of all the processes of a server."""

    def __init__(self, running: Callable[[], int]) -> None:
        """`running` tells how many jobs are under way."""
        self._own = CollectorRegistry()
        self._requests = Counter(
            "flowtime_http_requests_total",
            "Requests by method, route and status.",
            ("method", "route", "status"),
            registry=self._own,
        )
        self._seconds = Histogram(
            "flowtime_http_request_seconds",
            "Seconds from the beginning of a request to the end of its response.",
            ("route",),
            registry=self._own,
            buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
        )
        self._jobs = Gauge(
            "flowtime_jobs_running",
            "Jobs under way, waiting ones included.",
            registry=self._own,
            multiprocess_mode="livesum",
        )
        self._running = running

    def count(self, method: str, route: str, status: int, seconds: float) -> None:
        """Counts one request."""
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)
        self._jobs.set(self._running())

    def text(self) -> bytes:
        """What was counted, by all workers of the server."""
        self._jobs.set(self._running())
        if SHARED not in os.environ:
            return generate_latest(self._own)
        everything = CollectorRegistry()
        MultiProcessCollector(everything)  # type: ignore[no-untyped-call]
        return generate_latest(everything)
