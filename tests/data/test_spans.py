"""Spans that overlap are reduced to the longer one."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from openrealm.data.spans import Span, without_overlaps


def test_the_longer_of_two_overlapping_spans_stays() -> None:
    year, date, name = Span(11, 15, "date"), Span(0, 15, "date"), Span(20, 25, "entity")
    assert without_overlaps([year, name, date]) == [date, name]


def test_of_two_equally_long_spans_the_earlier_stays() -> None:
    assert without_overlaps([Span(2, 6, "date"), Span(0, 4, "entity")]) == [Span(0, 4, "entity")]
    assert without_overlaps([Span(0, 4, "date"), Span(0, 4, "entity")]) == [Span(0, 4, "date")]


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(1, 6)), max_size=8))
def test_what_is_left_is_ordered_and_disjoint_and_nothing_is_lost_for_no_reason(
    places: list[tuple[int, int]],
) -> None:
    spans = [Span(start, start + length, "term") for start, length in places]
    kept = without_overlaps(spans)
    assert all(a.stop <= b.start for a, b in pairwise(kept))
    for span in spans:
        assert any(k.start < span.stop and span.start < k.stop for k in kept)
