"""Tests of the benchmarks of refreshes at a size where nothing can be timed."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import commands
import pytest
from benchmark_scripts import load_benchmark
from trained import SHAPE, STEPS


def line(step: int, examples: float, refresh_s: float) -> dict[str, Any]:
    return {
        "stage": "realm",
        "step": step,
        "train/loss": 1.0,
        "speed/examples_per_second": examples,
        "seconds/reading": 8.0,
        "seconds/retrieval": 1.0,
        "seconds/refresh": refresh_s,
        "index/staleness": 5,
    }


def test_throughput_counts_the_time_of_refreshes_and_leaves_the_first_steps_out() -> None:
    refresh = load_benchmark("refresh")
    swap = {
        "event": "swap",
        "index/refresh_seconds": 3.0,
        "index/held_up_seconds": 0.5,
        "index/recall": 0.75,
    }
    found = refresh.summary([line(10, 99.0, 90.0), line(20, 10.0, 1.0), swap], skip=10)
    assert found["examples_per_second"] == pytest.approx(10.0)
    assert found["step_seconds"] == pytest.approx(1.0)
    assert found["swaps"] == 1 and found["held_up_seconds"] == 0.5
    report = {
        "training": {way: [found] for way in refresh.WAYS},
        "embedding": {"chunks_per_second": 5.0, "ratio": 0.95, "padding": 0.01},
    }
    table = refresh.table(report)
    assert "| background | 10.00 | 100.0% | 10.00 | 0.500 | 1.000 | 3.0 | 5 | 0.750 |" in table
    assert "95.0% of the bare encoder" in table


def test_the_embedding_is_compared_with_the_bare_encoder(trained: Path) -> None:
    refresh = load_benchmark("refresh")
    found = refresh.embedding(refresh.WorkspaceFolder(trained), "run-001", threads=1, rounds=1)
    assert found["ratio"] > 0 and found["bare_chunks_per_second"] > 0


def test_every_way_of_refreshing_trains_and_counts_what_it_embeds(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cheaper = load_benchmark("cheaper_refreshes")
    shutil.copytree(trained, tmp_path / "ws")
    changes = [*SHAPE, *STEPS, "warmup.steps=1", "warmup.batch_size=4"]
    commands.pretrain(tmp_path / "ws", preset="tiny", assignments=changes, run="warm")
    queries = tmp_path / "queries.jsonl"
    queries.write_text(json.dumps({"text": "Who governs Norland?", "answers": ["Aldera"]}) + "\n")
    options = ["--steps", "8", "--every", "2", "--saving", "2"]
    given = [str(tmp_path / "ws"), "--run", "warm", "--queries", str(queries)]
    monkeypatch.setattr(
        sys, "argv", ["cheaper", *given, "--to", str(tmp_path / "out.jsonl"), *options]
    )
    cheaper.main()
    found = {
        r["way"]: r for r in map(json.loads, (tmp_path / "out.jsonl").read_text().splitlines())
    }
    assert tuple(found) == cheaper.WAYS
    # Refreshes before steps 2, 4 and 6, or before step 4 alone; half of the corpus three times.
    corpora = {way: round(one["corpora"], 1) for way, one in found.items()}
    assert corpora["full"] == 3 and corpora["rare"] == corpora["written"] == 1
    assert corpora["retrieved"] == corpora["moved"] == 1.5
    assert all(0 <= one["index_recall"] <= 1 for one in found.values())
