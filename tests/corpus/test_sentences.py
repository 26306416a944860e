"""Tests of sentence splitting, against samples split by hand and against properties; and of
packing: which units become chunks, by hand-made token counts.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openrealm.corpus.sentences import Kind, Unit, pack, split_sentences, split_units

# Each text with " | " where a reader would put a boundary.
SAMPLES = [
    "It rained. | Then it stopped! | Did it? | Yes.",
    "Dr. Smith met Mr. J. R. R. Tolkien on Jan. 5. | They spoke, e.g. of trees.",
    "It costs $3.50 or 3.5 million. | In 1999. | 20 people came.",
    "No. 5 is alive. | Is it? | No. | It is not. | See pp. 3-4 and Fig. 2. | Done.",
    "The U.S. Army left. | They live in the U.S. | The flag is red.",
    "He came at 5 p.m. Monday. | He left at 6 p.m. | The train was late.",
    "Acme Inc. was sold. | Smith et al. (1996) say so. | See Gregg v. Georgia, 428 U.S. 153.",
    "George W. Bush spoke. | This was plan B. | The rest followed. | Vitamin C. | It helps.",
    'He said "Go." | Then he left. | "Why?" he asked. | "No!" | Nobody moved.',
    "(See below.) | The end came. | He left (at last). | «Bonjour.» | Il part.",
    "Wait... what? | He paused... | Then silence. | So… | The end.",
    "What?! | Really?! | A word .... | Another.",
    "It was so.[1] | It was not.[23] | He noted it.:5–10 | He left.",
    "the flow is steady . | it is inviscid . | the number m . | heat, i . e . energy, is lost .",
    "all lower case. | here too. | e.g. this one. | no. 5 as well.",
    "これは文です。| 次の文！| 「はい。」| 終わり？| そう。",
    "नमस्ते। | यह एक वाक्य है। | end.",
    "هل هذا سؤال؟ | نعم.",
    "Élan vital. | Ça va. | ¿Qué? | ¡Hola!",
    "History.\n| He was born in Rome.\n\n| 1. Introduction\n| 2. The end. | Of it.",
    "no stop at the end",
    "J. S. Bach wrote it c. 1720. | Cf. the Ph.D. thesis of A.B. Smith.",
]


def parts(text: str) -> list[str]:
    return [text[start:stop] for start, stop in split_sentences(text)]


@pytest.mark.parametrize("sample", SAMPLES)
def test_a_sample_is_split_as_by_hand(sample: str) -> None:
    text = sample.replace("| ", "").replace("|", "")
    wanted = [part.strip() for part in sample.split("|")]
    assert parts(text) == wanted


@pytest.mark.parametrize("text", ["", " ", "\n\n", "\u3000\t \n"])
def test_white_space_has_no_sentences(text: str) -> None:
    assert split_sentences(text) == []


def test_a_newline_ends_a_sentence_even_in_its_middle() -> None:
    assert parts("one line\nand another") == ["one line", "and another"]


def test_a_form_feed_does_not_end_a_sentence_as_the_tokenizer_deletes_it() -> None:
    assert parts("One.\x0cTwo. Three.") == ["One.\x0cTwo.", "Three."]


PIECES = [
    "A",
    "b",
    "Dr",
    "U.S",
    "5",
    ".",
    "!",
    "?",
    "…",
    "。",
    " ",
    "\n",
    '"',
    ")",
    "[1]",
    "\u3000",
]


@given(st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=60).map("".join))
def test_sentences_hold_all_but_white_space_in_order_and_are_trimmed(text: str) -> None:
    spans = split_sentences(text)
    last = 0
    for start, stop in spans:
        assert text[last:start].strip() == ""
        assert start < stop
        assert text[start] not in " \n\u3000"
        assert text[stop - 1] not in " \n\u3000"
        assert "\n" not in text[start:stop]
        last = stop
    assert text[last:].strip() == ""


def test_a_megabyte_of_sentences_is_split_into_all_of_them() -> None:
    sentence = "The river rises in the hills near St. Albans, flows 30 km south and meets the sea. "
    assert len(split_sentences((sentence * 20 + "\n") * 600)) == 12_000


@pytest.mark.parametrize(
    "piece", [".", ". ", '."', ".)", ".]]", ".[1]", "。", "。」", "!? ", "\n", "(", " "]
)
def test_long_rows_of_marks_come_to_an_end(piece: str) -> None:
    # Quadratic work would keep this busy for hours; a clock would also measure the machine.
    text = "A word" + piece * 100_000 + "x"
    spans = split_sentences(text)
    assert spans[0][0] == 0 and spans[-1][1] == len(text)


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
