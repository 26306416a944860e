"""Tests of the plan of merging segments."""

from __future__ import annotations

from openrealm.corpus.merging import MAX_SEGMENTS, plan_merges


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
