"""Tests of the search benchmark at a size where nothing can be timed.

All that is promised is measured, and one process and two find the same.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PATH = Path(__file__).parents[2] / "benchmarks" / "search.py"

pytestmark = pytest.mark.slow  # a dozen processes that each import torch

Parts = dict[str, list[dict[str, Any]]]


def run(folder: Path, *options: str) -> dict[str, Any]:
    command = [sys.executable, str(PATH), "--folder", str(folder), "--to", str(folder / "r.json")]
    subprocess.run([*command, *options], check=True, capture_output=True, timeout=300)
    found: dict[str, Any] = json.loads((folder / "r.json").read_text())
    return found


def by_part(result: dict[str, Any]) -> Parts:
    parts: Parts = {}
    for part in result["parts"]:
        parts.setdefault(part["part"], []).append(part)
    return parts


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Parts:
    folder = tmp_path_factory.mktemp("search")
    size = ("--rows", "3000", "--dim", "16", "--k", "4", "20", "--queries", "1", "9")
    result = run(folder, *size, "--kinds", "clustered", "--store-chunks", "300")
    assert {path.name for path in folder.iterdir()} == {"r.json"}  # nothing is left behind
    return by_part(result)


def test_every_part_is_measured_and_says_under_what_load(parts: Parts) -> None:
    assert set(parts) == {"memory", "search", "snapshot", "swap", "store"}
    assert all("load" in part and "failed" not in part for some in parts.values() for part in some)


def test_searches_tell_their_time_beside_the_floor_and_their_memory(parts: Parts) -> None:
    forms = {(part["numbers"], part["processes"]) for part in parts["search"]}
    one = {(numbers, 1) for numbers in ("float32", "float16", "cast")}
    assert forms == one | {("float32", 2)}
    for part in parts["search"]:
        batches = [(search["queries"], search["k"]) for search in part["searches"]]
        assert batches == [(1, 4), (1, 20), (9, 4), (9, 20)]
        for search in part["searches"]:
            names = {
                "seconds",
                "cpu_s",
                "floor_s",
                "times_floor",
                "gb_s",
                "peak_gb",
                "overlap",
                "ties",
            }
            assert names <= set(search) and not search["scaled"]
        assert part["held_gb"] > 0


def test_the_floor_is_the_bytes_of_the_vectors_by_the_rate_of_reading(parts: Parts) -> None:
    rates: dict[int, list[float]] = {}
    for part in parts["memory"]:
        rates.setdefault(part["threads"], []).append(part["read_gb_s"])
    for part in parts["search"]:
        size = 3000 * 16 * (4 if part["numbers"] == "float32" else 2)
        floors = [size / 1e9 / rate for rate in rates[part["processes"]]]
        for search in part["searches"]:
            assert any(search["floor_s"] == pytest.approx(floor) for floor in floors)


def test_two_processes_find_what_one_finds_and_casting_what_float32_finds(parts: Parts) -> None:
    for part in parts["search"]:
        for search in part["searches"]:
            assert search["as_one"] == 1.0
            if part["numbers"] != "float16":
                assert search["overlap"] == 1.0


def test_a_snapshot_holds_the_vectors_in_half_precision(parts: Parts) -> None:
    (snapshot,) = parts["snapshot"]
    assert snapshot["equal"] and 0 <= snapshot["bytes"] - 3000 * 16 * 2 < 2000
    steps = ("write", "publish", "verify", "read_float16", "read_float32")
    assert {f"{step}_s" for step in steps} <= set(snapshot)


def test_a_swap_tells_what_it_costs_the_training_beside_it(parts: Parts) -> None:
    assert [swap["numbers"] for swap in parts["swap"]] == ["float16", "float32"]
    names = {"load_s", "load_peak_gb", "step_s", "step_beside_s", "swap_s", "free_old_s"}
    assert all(names <= set(swap) for swap in parts["swap"])


def test_the_store_has_the_chunks_asked_for_and_the_bytes_of_each_file(parts: Parts) -> None:
    (store,) = parts["store"]
    assert store["chunks"] == 300 and store["documents"] == 30
    # A row of the chunk table is 36 bytes, beside what Arrow adds to a file.
    assert 36 <= store["bytes_a_chunk"]["chunks.arrow"] < 60
    assert store["bytes_a_chunk"]["bodies.ids"] == 2 * 13


def test_a_search_that_would_take_too_long_is_scaled_from_fewer_rows(tmp_path: Path) -> None:
    size = ("--rows", "2000", "--dim", "8", "--k", "3", "--queries", "2", "--processes", "1")
    result = run(tmp_path, *size, "--kinds", "random", "--store-chunks", "0", "--patience", "0")
    searches = [s for part in by_part(result)["search"] for s in part["searches"]]
    assert searches and all(s["scaled"] and s["seconds"] > 0 for s in searches)
