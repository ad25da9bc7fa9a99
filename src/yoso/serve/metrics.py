"""Figures for Prometheus: requests, duration of each stage, depth of the queue, rejections."""

import os

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
PROCESSES_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""Environment variable of prometheus-client: the folder through which several processes add up their figures."""

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """The figures of one server; each has its own registry.

    Attributes:
        queue_depth: images that wait for a thread.
        connections: requests in progress.
    """

    def __init__(self) -> None:
        """Register the figures, all of them 0."""
        self._registry = CollectorRegistry()
        self._requests = Counter("yoso_requests", "Requests", ["route", "method", "status"], registry=self._registry)
        self._seconds = Histogram(
            "yoso_request_seconds", "Duration of requests", ["route"], registry=self._registry, buckets=BUCKETS
        )
        self._stages = Histogram(
            "yoso_stage_seconds", "Duration of each stage", ["stage"], registry=self._registry, buckets=BUCKETS
        )
        self._rejections = Counter("yoso_rejections", "Refused requests by reason", ["reason"], registry=self._registry)
        self.queue_depth = Gauge(
            "yoso_queue_depth", "Images that wait", registry=self._registry, multiprocess_mode="livesum"
        )
        self.connections = Gauge(
            "yoso_requests_in_progress", "Requests in progress", registry=self._registry, multiprocess_mode="livesum"
        )

    def request(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count a request.

        Args:
            route: template of the path, such as "/v1/panoptic"; never what a client typed.
            method: of HTTP.
            status: of the response.
            seconds: that it took.
        """
        self._requests.labels(route, method, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def stage(self, name: str, seconds: float) -> None:
        """Record how long a stage took: queue, read, resize, network, merge or encode."""
        self._stages.labels(name).observe(seconds)

    def rejected(self, reason: str) -> None:
        """Count a refused request; the reason is a kind of problem."""
        self._rejections.labels(reason).inc()

    def text(self) -> bytes:
        """Return all figures in Prometheus' text format; those of all worker processes together."""
        if PROCESSES_FOLDER not in os.environ:
            return generate_latest(self._registry)
        registry = CollectorRegistry()
        MultiProcessCollector(registry)
        return generate_latest(registry)
