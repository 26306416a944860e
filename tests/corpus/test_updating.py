"""Tests of updates whose process dies or whose disk is full, of the memory they take, and of which
segments are merged.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from openrealm.corpus.updating import MAX_SEGMENTS, plan_merges

posix = pytest.mark.skipif(sys.platform == "win32", reason="needs fork and limits of files")


def run(*arguments: str | Path) -> str:
    """Runs `crashes.py`; a process of its own, as only one without threads may fork safely."""
    script = Path(__file__).with_name("crashes.py")
    paths = os.pathsep.join(path for path in sys.path if path)
    done = subprocess.run(
        [sys.executable, script, *arguments],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@posix
def test_an_update_killed_at_any_step_leaves_the_old_store_or_the_new_one(tmp_path: Path) -> None:
    assert len(run(tmp_path, "kill").splitlines()) == 3


@posix
def test_a_full_disk_is_an_error_in_words_and_leaves_the_store_as_it_was(tmp_path: Path) -> None:
    run(tmp_path, "full")


@posix
def test_the_memory_of_an_ingest_does_not_grow_with_the_corpus(tmp_path: Path) -> None:
    small, large = (
        float(run(tmp_path / str(count), "memory", str(count))) for count in (600, 2400)
    )
    # 0.8 and 3.1 MB of text: to keep the text and its tokens would take ten times as much.
    assert large < small + 2


def shape(sizes: list[tuple[int, int]]) -> list[tuple[tuple[int, ...], bool]]:
    return [(group.members, group.rewrite) for group in plan_merges(sizes)]


def test_few_segments_stay_as_they_are() -> None:
    assert shape([(100, 100), (1, 1), (5, 3)]) == [((0,), False), ((1,), False), ((2,), False)]


def test_an_empty_segment_goes_and_a_mostly_removed_one_is_written_anew() -> None:
    assert shape([(10, 0), (10, 4), (10, 5)]) == [((1,), True), ((2,), False)]


def test_the_last_small_segments_are_merged_when_there_are_too_many() -> None:
    sizes = [(1000, 1000)] + [(1, 1)] * MAX_SEGMENTS
    groups = shape(sizes)
    assert groups == [((0,), False), (tuple(range(1, MAX_SEGMENTS + 1)), True)]


def test_segments_of_falling_size_lose_at_least_one() -> None:
    sizes = [(4**n, 4**n) for n in range(MAX_SEGMENTS, -1, -1)]
    assert len(plan_merges(sizes)) == MAX_SEGMENTS


def test_a_thousand_additions_of_one_document_rewrite_each_a_few_times_only() -> None:
    sizes: list[tuple[int, int]] = []
    rewritten = 0
    for _ in range(1000):
        sizes.append((1, 1))
        merged = []
        for group in plan_merges(sizes):
            total = sum(sizes[n][1] for n in group.members)
            rewritten += total if group.rewrite else 0
            merged.append((total, total))
        sizes = merged
        assert len(sizes) <= MAX_SEGMENTS
    assert sum(total for total, _ in sizes) == 1000
    assert rewritten < 10 * 1000
