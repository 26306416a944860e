"""What a server counts, for Prometheus; knows names and numbers only."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)

from openrealm.answering.model_cache import Source
from openrealm.server.batcher import Batch

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128)


class Counters:
    """The counters of one server, in a registry of their own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._requests = Counter(
            "openrealm_requests",
            "Requests answered.",
            ("route", "method", "status"),
            registry=self._registry,
        )
        self._seconds = Histogram(
            "openrealm_request_seconds",
            "From a request's head to the end of its answer.",
            ("route",),
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._in_flight = Gauge(
            "openrealm_requests_in_flight",
            "Requests that are being answered.",
            registry=self._registry,
        )
        self._queued = Gauge(
            "openrealm_queue_length", "Requests that wait for the model.", registry=self._registry
        )
        self._sizes = Histogram(
            "openrealm_batch_size",
            "Requests computed together.",
            buckets=_SIZES,
            registry=self._registry,
        )
        self._batch_seconds = Histogram(
            "openrealm_batch_seconds",
            "Time of one pass through the model.",
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._swaps = Counter(
            "openrealm_swaps",
            "Times that newer weights or a newer corpus took the place of older ones.",
            registry=self._registry,
        )
        self._generation = Gauge(
            "openrealm_index_generation",
            "Snapshot that is searched by default.",
            ("run", "stage"),
            registry=self._registry,
        )

    @contextmanager
    def in_flight(self) -> Iterator[None]:
        """Around a request."""
        with self._in_flight.track_inprogress():
            yield

    def request(self, route: str, method: str, status: int, seconds: float) -> None:
        """A request has been answered; status 0: its client had gone."""
        method = method if method in ("GET", "POST", "HEAD", "PUT", "DELETE") else "other"
        self._requests.labels(route, method, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def batch(self, batch: Batch) -> None:
        """A batch has been computed."""
        self._sizes.observe(batch.size)
        self._batch_seconds.observe(batch.seconds)

    def swapped(self) -> None:
        """Other weights answer now."""
        self._swaps.inc()

    def watch_queue(self, length: Callable[[], int]) -> None:
        """Where to read how many wait."""
        self._queued.set_function(length)

    def text(self, live: Source | None) -> bytes:
        """All of it in the Prometheus text format."""
        self._generation.clear()
        if live is not None:
            self._generation.labels(live.run or "", live.stage).set(live.generation)
        return generate_latest(self._registry)
