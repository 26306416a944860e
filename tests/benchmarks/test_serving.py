"""Tests of the benchmark of serving at a size where nothing can be timed."""

from __future__ import annotations

import argparse
from pathlib import Path
from types import ModuleType

import pytest
from benchmark_scripts import load_benchmark

pytest.importorskip("uvicorn", reason="FastAPI and uvicorn are not installed")


@pytest.fixture(scope="module")
def serving() -> ModuleType:
    return load_benchmark("serving")


def arguments(workspace: Path, **more: object) -> argparse.Namespace:
    usual = {
        "kinds": ["ask", "fill", "search"],
        "queries": 4,
        "seed": 0,
        "words": 25,
        "seconds": 1.0,
        "tolerance": 1e-3,
        "clients": [3],
        "load": 3,
        "batching": ["on"],
    }
    return argparse.Namespace(workspace=workspace, **{**usual, **more})


def test_every_kind_of_request_is_measured_and_right(serving: ModuleType, trained: Path) -> None:
    found = list(serving.measure(arguments(trained)))
    assert [result["kind"] for result in found] == ["ask", "fill", "search"]
    for result in found:
        assert result["requests"] > 0 and set(result["statuses"]) == {"200"}
        assert result["lost"] == result["wrong"] == 0


@pytest.mark.slow
def test_no_request_is_lost_or_wrong_when_the_server_is_stopped(
    serving: ModuleType, trained: Path
) -> None:
    [found] = serving.disturb(arguments(trained, disturb=["term"], seconds=2.0))
    assert found["requests"] > 0 and found["lost"] == found["wrong"] == 0
    assert set(found["statuses"]) == {"200"}
    assert found["done"] and found["exit_status"] == 0


def test_another_answer_is_noticed(serving: ModuleType) -> None:
    reference = serving.Reference(1e-3)
    query = ("search", {"text": "ships"})
    content = {"source": {"corpus": "c"}, "hits": [{"chunk": {"id": 1}, "score": 2.0}]}
    other = {"source": {"corpus": "c"}, "hits": [{"chunk": {"id": 1}, "score": 2.1}]}
    reference._known[reference._key(query, content)] = serving.shown(content)
    assert reference(query, content) and not reference(query, other)
    assert not reference(query, {**content, "source": {"corpus": "d"}})
