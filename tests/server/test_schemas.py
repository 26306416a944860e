"""Tests of what is computed on the way to JSON."""

from __future__ import annotations

import math

import pytest

from openrealm.answering.answer_spans import Answer, Evidence
from openrealm.answering.answerer import Answers
from openrealm.corpus.store import Chunk
from openrealm.server.schemas import MAX_PLACES, Source, ask_response, utilities

SOURCE = Source(run="run-001", stage="qa", step=1, generation=1, corpus="c")


def test_utility_is_how_much_likelier_a_chunk_makes_the_words() -> None:
    assert utilities([0.1, 0.2, 0.05]) == pytest.approx([0.0, math.log(2), -math.log(2)])


def test_a_probability_of_zero_has_no_utility() -> None:
    assert utilities([0.1, 0.0]) == [0.0, None]
    assert utilities([0.0, 0.1]) == [None, None]


def test_of_an_answer_in_many_places_the_best_are_sent_and_all_are_counted() -> None:
    chunk = Chunk(row=1, document_id="d", title="t", text="abc", start=0, stop=3)
    places = tuple(Evidence(chunk=chunk, start=0, stop=1, probability=1 / n) for n in range(1, 31))
    answers = Answers(
        question="q",
        answers=(Answer(text="a", probability=0.5, evidence=places),),
        no_answer=0.1,
        read=(),
    )
    [answer] = ask_response("q", SOURCE, answers, ()).answers
    assert answer.num_places == 30
    assert [place.probability for place in answer.evidence] == [
        1 / n for n in range(1, MAX_PLACES + 1)
    ]
