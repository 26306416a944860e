"""Tests of the benchmarks of what a reader makes of its chunks."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from benchmark_scripts import load_benchmark
from tiny import World, log_p_everywhere


def test_copying_reads_each_query_beside_its_own_chunk(world: World) -> None:
    copying, model = load_benchmark("copying"), world.model(lively=True)
    queries = world.queries().probe()
    found = copying.own_chunk_log_p(world.parts(model), queries)
    by_hand = []
    for query in queries:
        joint = world.templates.joint([query.masked_ids], [world.store.body_ids(query.row)])
        log_p = log_p_everywhere(model, joint)  # [CLS] is at place 0
        by_hand += [
            log_p[place + 1, target]
            for place, target in zip(query.positions, query.targets, strict=True)
        ]
    torch.testing.assert_close(found.double(), torch.stack(by_hand), atol=1e-4, rtol=1e-4)


def test_a_pair_is_a_chunk_that_holds_the_answer_and_one_that_is_there_and_does_not() -> None:
    reading = load_benchmark("reading")
    gain = np.array([[2.0, 1.0, 3.0, -np.inf], [0.0, 1.0, 2.0, 3.0], [0.5, 1.0, -np.inf, -np.inf]])
    held = np.array([[True, False, False, False], [False] * 4, [False, True, False, False]])
    # Of the first sentence one pair of two; the second has none; of the third the only one.
    assert reading.preferred(gain, held) == pytest.approx((0.5 + 1.0) / 2)


@pytest.mark.parametrize("who", [["--run", "run-001", "--stage", "realm"], ["--preset", "tiny"]])
def test_a_reader_is_asked_of_its_chunks(
    who: list[str],
    trained: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    reading = load_benchmark("reading")
    shutil.copytree(trained, tmp_path / "ws")
    chosen = ["--set", "loop.num_probe=4"] if "--preset" in who else []
    monkeypatch.setattr(sys, "argv", ["reading", str(tmp_path / "ws"), *who, *chosen])
    reading.main()
    first, second, third, *kinds = capsys.readouterr().out.splitlines()
    assert first.startswith("4 held-out sentences") and "of the pairs" in second
    assert third.startswith("log p(y|null,x) -")
    assert [line.split(":")[0] for line in kinds] == [
        "a chunk that holds it",
        "a chunk that does not",
    ]
