"""Tests of what is counted, read back by Prometheus's own parser."""

from __future__ import annotations

from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from openrealm.answering.model_cache import Source
from openrealm.server.batcher import Batch
from openrealm.server.counters import Counters


def samples(counters: Counters, live: Source | None = None) -> dict[Any, float]:
    families = text_string_to_metric_families(counters.text(live).decode())
    return {
        (s.name, *sorted(s.labels.items())): s.value
        for family in families
        for s in family.samples
        if s.name.startswith("openrealm_")
    }


def test_requests_batches_swaps_and_the_queue_are_counted() -> None:
    counters = Counters()
    counters.request("/api/ask", "POST", 200, 0.2)
    counters.request("/api/ask", "POST", 200, 0.2)
    counters.request("/api/ask", "PROPFIND", 405, 0.2)
    counters.batch(Batch(size=3, seconds=0.5))
    counters.swapped()
    counters.watch_queue(lambda: 7)
    with counters.in_flight():
        found = samples(counters)
    posts = (("method", "POST"), ("route", "/api/ask"), ("status", "200"))
    others = (("method", "other"), ("route", "/api/ask"), ("status", "405"))
    assert found["openrealm_requests_total", *posts] == 2
    assert found["openrealm_requests_total", *others] == 1
    assert found["openrealm_request_seconds_count", ("route", "/api/ask")] == 3
    assert found["openrealm_batch_size_sum",] == 3
    assert found["openrealm_batch_seconds_sum",] == 0.5
    assert found["openrealm_swaps_total",] == 1
    assert found["openrealm_queue_length",] == 7
    assert found["openrealm_requests_in_flight",] == 1
    assert samples(counters)["openrealm_requests_in_flight",] == 0


def test_only_the_snapshot_that_is_searched_is_told() -> None:
    counters = Counters()

    def told(run: str, generation: int) -> dict[Any, float]:
        source = Source(run=run, stage="qa", step=1, generation=generation, corpus="c")
        found = samples(counters, source)
        return {k: v for k, v in found.items() if k[0] == "openrealm_index_generation"}

    name = "openrealm_index_generation"
    assert told("run-001", 3) == {(name, ("run", "run-001"), ("stage", "qa")): 3}
    assert told("run-002", 1) == {(name, ("run", "run-002"), ("stage", "qa")): 1}
    assert (name, ("run", "run-002"), ("stage", "qa")) not in samples(counters)


def test_two_servers_in_one_process_count_apart() -> None:
    one, other = Counters(), Counters()
    one.swapped()
    assert samples(other)["openrealm_swaps_total",] == 0
