"""Tests of packing: which units become chunks, by hand-made token counts."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from openrealm.corpus.packing import Kind, Unit, pack, split_units


def kinds(text: str) -> list[tuple[str, Kind]]:
    return [(text[unit.start : unit.stop], unit.kind) for unit in split_units(text)]


def units(*of: Kind, detached: frozenset[int] = frozenset()) -> list[Unit]:
    return [Unit(10 * n, 10 * n + 9, kind, n in detached) for n, kind in enumerate(of)]


S, H, B, ITEM = Kind.SENTENCE, Kind.HEAD, Kind.BOILERPLATE, Kind.ITEM


def test_a_short_line_with_a_full_stop_is_a_head() -> None:
    text = "Rain fell.\nEarly life.\nHe was born in Rome and stayed there.\nHe left."
    assert kinds(text) == [
        ("Rain fell.", H),  # two words: it cannot be told from a head
        ("Early life.", H),
        ("He was born in Rome and stayed there.", S),
        ("He left.", S),  # a pronoun makes a sentence
    ]


def test_a_heading_without_a_full_stop_goes_with_the_text_below_it() -> None:
    assert kinds("Rivers\nThe Nile is long.") == [("Rivers", H), ("The Nile is long.", S)]


def test_lines_of_a_list_are_items() -> None:
    text = "It has three arms.\nBlue Nile\nWhite Nile\nAtbara"
    assert [kind for _, kind in kinds(text)] == [S, ITEM, ITEM, ITEM]


def test_boilerplate_lines_are_known() -> None:
    lines = [
        "References.",
        "See also",
        "[edit]",
        "Jump to navigation",
        "© 2020 Somebody",
        "All rights reserved.",
        "----",
        "17",
        "Page 3 of 10",
        "|IncludedWorkTitle =",
    ]
    text = "\n".join(["It is a long river.", *lines])
    assert [kind for _, kind in kinds(text)[1:]] == [B] * len(lines)


def test_a_sentence_inside_a_line_is_no_head() -> None:
    assert [kind for _, kind in kinds("It is so. Early life. It ends.")] == [S, S, S]


def test_a_document_of_heads_alone_is_kept_as_sentences() -> None:
    assert [kind for _, kind in kinds("Early life.\nReferences.")] == [S, S]


def test_packing_is_greedy() -> None:
    runs = pack(units(S, S, S, S, S), [4, 4, 4, 4, 4], budget=10, min_tokens=0)
    assert runs == [(0, 2), (2, 4), (4, 5)]


def test_a_chunk_may_be_exactly_full() -> None:
    assert pack(units(S, S, S), [5, 5, 1], budget=10, min_tokens=0) == [(0, 2), (2, 3)]


def test_a_head_goes_with_what_follows() -> None:
    assert pack(units(S, H, S), [6, 2, 6], budget=10, min_tokens=0) == [(0, 1), (1, 3)]


def test_heads_and_boilerplate_at_the_end_are_dropped() -> None:
    assert pack(units(S, H, B, H), [3, 1, 1, 1], budget=10, min_tokens=0) == [(0, 1)]


def test_boilerplate_stays_inside_a_chunk_and_is_dropped_at_its_borders() -> None:
    assert pack(units(B, S, B, S, B), [1, 3, 1, 3, 1], budget=10, min_tokens=0) == [(1, 4)]
    assert pack(units(S, B, S), [6, 2, 6], budget=10, min_tokens=0) == [(0, 1), (2, 3)]


def test_a_short_last_chunk_takes_sentences_from_the_one_before() -> None:
    counts = [4, 4, 2, 1]
    assert pack(units(S, S, S, S), counts, budget=10, min_tokens=0) == [(0, 3), (3, 4)]
    assert pack(units(S, S, S, S), counts, budget=10, min_tokens=3) == [(0, 2), (2, 4)]


def test_the_border_does_not_move_where_the_chunk_before_would_be_too_short() -> None:
    assert pack(units(S, S, S), [2, 8, 1], budget=10, min_tokens=3) == [(0, 2), (2, 3)]


def test_a_moved_border_leaves_no_head_at_the_end_of_a_chunk() -> None:
    runs = pack(units(S, S, H, S, S), [3, 3, 1, 3, 1], budget=10, min_tokens=4)
    assert runs == [(0, 2), (2, 5)]


def test_a_detached_unit_opens_a_chunk_and_no_border_moves_past_it() -> None:
    runs = pack(units(S, S, S, detached=frozenset({1})), [2, 2, 2], budget=10, min_tokens=0)
    assert runs == [(0, 1), (1, 3)]
    runs = pack(units(S, S, S, detached=frozenset({2})), [4, 4, 1], budget=20, min_tokens=4)
    assert runs == [(0, 2), (2, 3)]


def test_one_item_alone_is_no_chunk_beside_others() -> None:
    assert pack(units(S, ITEM), [10, 1], budget=10, min_tokens=0) == [(0, 1)]
    assert pack(units(ITEM), [1], budget=10, min_tokens=0) == [(0, 1)]


def test_heads_that_fill_a_chunk_are_a_list_after_all() -> None:
    assert pack(units(H, H, H, S), [5, 5, 5, 5], budget=10, min_tokens=0) == [(0, 2), (2, 4)]


def test_units_without_tokens_make_no_chunk() -> None:
    assert pack(units(S, S), [0, 0], budget=10, min_tokens=0) == []


@given(
    st.lists(
        st.tuples(st.sampled_from(list(Kind)), st.integers(0, 10), st.booleans()), max_size=30
    ),
    st.integers(0, 6),
)
def test_chunks_are_disjoint_in_order_within_budget_and_lose_no_sentence(
    of: list[tuple[Kind, int, bool]], min_tokens: int
) -> None:
    made = [Unit(n, n + 1, kind, detached) for n, (kind, _, detached) in enumerate(of)]
    counts = [count for _, count, _ in of]
    runs = pack(made, counts, budget=10, min_tokens=min_tokens)
    last = 0
    covered: set[int] = set()
    for first, stop in runs:
        assert last <= first < stop
        assert 0 < sum(counts[first:stop]) <= 10
        assert not any(unit.detached for unit in made[first + 1 : stop])
        covered.update(range(first, stop))
        last = stop
    lost = set(range(len(made))) - covered
    assert all(made[n].kind is not S or counts[n] == 0 for n in lost)
