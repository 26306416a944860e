"""Tests of the set of ids, against Python's own."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from openrealm.corpus.records import IdSet


@given(st.lists(st.text(max_size=3)))
def test_it_tells_what_came_before_as_a_set_does(ids: list[str]) -> None:
    seen, wanted = IdSet(), set[str]()
    for identity in ids:
        assert seen.add(identity) is (identity not in wanted)
        wanted.add(identity)
    assert len(seen) == len(wanted)


def test_it_grows() -> None:
    seen = IdSet()
    assert all(seen.add(str(number)) for number in range(10_000))
    assert not any(seen.add(str(number)) for number in range(10_000))
    assert len(seen) == 10_000
