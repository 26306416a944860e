"""Answers are found at word boundaries, as substrings, as patterns and as token spans."""

from __future__ import annotations

import re
import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openrealm.data.matching import (
    answer_words,
    covering_tokens,
    find_answer_spans,
    find_regex_spans,
    has_answer,
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("The U.S. in 1969", ["the", "u", ".", "s", ".", "in", "1969"]),
        ("Beyonc\u00e9", ["beyonce\u0301"]),  # the accent stays with its word
        ("snake_case", ["snake", "_", "case"]),
        ("a\u200bb\u00a0c\td", ["a", "b", "c", "d"]),  # invisible characters only separate
        ("\u0939\u093f\u0928\u094d\u0926\u0940", ["\u0939\u093f\u0928\u094d\u0926\u0940"]),
        ("\u201cOK\u201d", ["\u201c", "ok", "\u201d"]),
        ("\u6771\u4eac", ["\u6771\u4eac"]),
        ("", []),
    ],
)
def test_text_is_split_into_words_with_marks_and_single_signs(text: str, words: list[str]) -> None:
    assert answer_words(text) == words


@given(st.text(max_size=40))
def test_words_leave_out_nothing_but_separators_and_controls(text: str) -> None:
    normal = unicodedata.normalize("NFD", text).lower()
    visible = [c for c in normal if unicodedata.category(c)[0] not in "ZC"]
    assert "".join(answer_words(text)) == "".join(visible)


@pytest.mark.parametrize(
    ("text", "answer", "at_words", "raw"),
    [
        ("He lived in Paris.", "paris", True, False),
        ("He lived in Paris.", "Paris", True, True),
        ("A party at noon", "art", False, True),
        ("Beyonc\u00e9 sang", "Beyonce\u0301", True, False),
        ("Beyonc\u00e9 sang", "Beyonce", False, False),
        ("the U.S. army", "US", False, False),
        ("the U. S. army", "U.S.", True, False),  # white space between words does not count
        ("in 19 69", "1969", False, False),
        ("anything", "", False, False),
        ("anything", " ", False, False),
        ("", "x", False, False),
    ],
)
def test_answers_are_found_at_word_boundaries_or_as_raw_substrings(
    text: str, answer: str, at_words: bool, raw: bool
) -> None:
    assert has_answer(text, [answer]) is at_words
    assert has_answer(answer_words(text), [answer]) is at_words
    assert has_answer(text, [answer], raw=True) is raw


def test_any_of_the_answers_is_enough_and_none_is_found_among_none() -> None:
    assert has_answer("in Rome", ["Paris", "Rome"])
    assert not has_answer("in Rome", [])


def test_patterns_are_searched_anywhere_ignoring_case() -> None:
    text = "It is 5,778 K\nSept. came"
    assert has_answer(text, [r"(5,?778)\s*k"], is_regex=True)
    assert has_answer(text, [r"^sept"], is_regex=True)
    assert not has_answer(text, [r"z*", "("], is_regex=True)  # an empty match is no answer
    assert find_regex_spans(text, [r"\d+", "sept", "SEPT", "("]) == [(6, 7), (8, 11), (14, 18)]
    assert text[8:11] == "778"


def test_words_are_refused_where_the_text_is_needed() -> None:
    with pytest.raises(TypeError, match="takes the text"):
        has_answer(["a"], ["a"], raw=True)
    with pytest.raises(TypeError, match="takes the text"):
        has_answer(["a"], ["a"], is_regex=True)


def test_all_occurrences_of_all_answers_are_found_in_order() -> None:
    body = [5, 7, 7, 7, 9, 5, 7]
    spans = find_answer_spans(body, [[7, 7], [5], [], [9, 5, 7], [7, 7], [9, 9]])
    assert spans.tolist() == [[0, 1], [1, 3], [2, 4], [4, 7], [5, 6]]
    assert spans.dtype == np.int32


@pytest.mark.parametrize(("body", "answers"), [([], [[1]]), ([1], [[1, 2]]), ([1, 2], [])])
def test_no_occurrence_gives_no_span(body: list[int], answers: list[list[int]]) -> None:
    assert find_answer_spans(body, answers).shape == (0, 2)


def test_an_occurrence_that_ends_inside_a_word_can_be_left_out() -> None:
    is_continuation = np.array([False, False, True])
    body = np.array([1, 2, 1, 1], dtype=np.int32)
    assert find_answer_spans(body, [[1]]).tolist() == [[0, 1], [2, 3], [3, 4]]
    found = find_answer_spans(body, [[1]], is_continuation=is_continuation)
    assert found.tolist() == [[2, 3], [3, 4]]


@given(
    st.lists(st.integers(0, 2), max_size=12),
    st.lists(st.lists(st.integers(0, 2), max_size=3), max_size=3),
)
def test_token_spans_equal_a_search_written_out(body: list[int], answers: list[list[int]]) -> None:
    expected = sorted(
        {
            (start, start + len(answer))
            for answer in answers
            for start in range(len(body))
            if answer and body[start : start + len(answer)] == answer
        }
    )
    assert list(map(tuple, find_answer_spans(body, answers).tolist())) == expected


@pytest.mark.parametrize(
    ("start", "stop", "tokens"),
    [
        (4, 9, (1, 2)),
        (5, 6, (1, 2)),
        (2, 5, (0, 2)),
        (0, 12, (0, 3)),
        (3, 4, (1, 1)),
        (12, 14, (3, 3)),
    ],
)
def test_characters_are_covered_by_the_tokens_that_share_one(
    start: int, stop: int, tokens: tuple[int, int]
) -> None:
    text = "The river ran"
    offsets = np.array([m.span() for m in re.finditer(r"\w+", text)], dtype=np.int32)
    offsets[2] = (10, 12)
    assert covering_tokens(offsets, start, stop) == tokens
