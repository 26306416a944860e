"""The original's rules of evaluation, each as a row: what it calls right, found, or missing.

Sources: orqa/utils/eval_utils.py, orqa/evaluation, orqa/models/orqa_model.py.
"""

from __future__ import annotations

import numpy as np
import pytest
from tiny import World

from openrealm.data.qa import Question
from openrealm.evaluation import HeldOutQuery, judge_predictions, relevance
from openrealm.metrics import exact_match, normalize_answer, recall_at_k, regex_match


@pytest.mark.parametrize(
    ("given", "normal"),
    [
        ("The  Beatles!", "beatles"),
        ("a cat, an owl and the fox", "cat owl and fox"),
        ("theatre", "theatre"),  # articles are whole words
        ("U.S.", "us"),  # punctuation goes before articles are looked for
        ("a.b", "ab"),
        ("Caf\u00e9", "cafe\u0301"),  # NFD: the accent is split off and stays
        ("\u00bd", "\u00bd"),  # not NFKD
        ("\u201cquoted\u201d", "\u201cquoted\u201d"),  # not ASCII
        ("the", ""),
    ],
)
def test_answers_are_compared_in_the_originals_normal_form(given: str, normal: str) -> None:
    assert normalize_answer(given) == normal


@pytest.mark.parametrize(
    ("prediction", "answers", "right"),
    [
        ("The Nile", ["Nile River", "nile"], True),
        ("Nile River Delta", ["Nile River"], False),
        ("Zu\u0308rich", ["Z\u00fcrich"], True),
        ("Zurich", ["Z\u00fcrich"], False),
        ("", ["the"], True),
    ],
)
def test_any_answer_counts_when_all_of_it_is_equal(
    prediction: str, answers: list[str], right: bool
) -> None:
    assert exact_match(prediction, answers) is right


@pytest.mark.parametrize(
    ("prediction", "pattern", "anchored", "anywhere"),
    [
        ("in 1912", "1912", False, True),
        ("1912 in April", "1912", True, True),
        ("TITANIC", "titanic", True, True),
        ("one\n1912", "^1912", False, True),  # MULTILINE is of use to a search only
        ("(", "(", False, False),  # does not compile
        ("Mt. Everest", r"(Mount|Mt\.?)\s+Everest", True, True),
    ],
)
def test_patterns_match_from_the_beginning_or_anywhere(
    prediction: str, pattern: str, anchored: bool, anywhere: bool
) -> None:
    assert regex_match(prediction, [pattern]) is anchored
    assert regex_match(prediction, [pattern], anchored=False) is anywhere


def ask(text: str, *answers: str, is_regex: bool = False) -> Question:
    return Question(id=text, text=text, answers=answers, is_regex=is_regex)


@pytest.mark.parametrize(
    ("questions", "predictions", "share"),
    [
        ([ask("q1", "a1"), ask("q2", "b2")], {"q1": "a1"}, 0.5),  # a missing one is wrong
        ([ask("q1", "a1")], {"q1": "a1", "q9": "z"}, 1.0),  # one too many is nothing
        ([ask("q1", "a1"), ask("q1", "c3")], {"q1": "a1"}, 0.0),  # the later one stands
        ([ask("q1", "a1"), ask("q1", "c3"), ask("q2", "b2")], {"q1": "c3", "q2": "x"}, 0.5),
        ([ask("q1", "b", is_regex=True)], {"q1": "abc"}, 0.0),
        ([ask("q1", "a", is_regex=True)], {"q1": "abc"}, 1.0),
    ],
)
def test_predictions_are_judged_by_question(
    questions: list[Question], predictions: dict[str, str], share: float
) -> None:
    assert judge_predictions(questions, predictions)["exact_match"].mean() == share


@pytest.mark.parametrize(
    ("answer", "raw", "whole_words"),
    [
        ("Aldera", True, True),
        ("aldera", False, True),  # case counts in the original
        ("lder", True, False),  # and parts of words do
        ("capital of Norland", True, True),
        ("Bresk", False, False),
    ],
)
def test_top_k_match_is_a_raw_substring_of_the_chunks(
    world: World, answer: str, raw: bool, whole_words: bool
) -> None:
    row = world.row_of("Aldera is the capital of Norland")
    rows = np.array([[row]])
    for is_raw, found in ((True, raw), (False, whole_words)):
        asked = [HeldOutQuery(id="1", text="?", answers=(answer,))]
        judged = relevance(world.store, asked, rows, raw=is_raw)
        assert recall_at_k(judged, 1).tolist() == [float(found)]
