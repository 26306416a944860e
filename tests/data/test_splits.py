"""Tests of the original's rule for development questions."""

from __future__ import annotations

from pathlib import Path

import pytest

from openrealm.data.qa import Question, read_questions
from openrealm.data.splits import fingerprint64, is_development, split_development

TEXT = (
    "The retriever and the reader learn together, from text alone, what a chunk is worth to a "
    "prediction. "
) * 3
# What FarmHash's own code (pyfarmhash 0.3) computes for the first characters of TEXT.
FINGERPRINTS = {
    0: 11160318154034397263,
    1: 1366698271136253306,
    3: 9622071900453499901,
    4: 17648915545525335717,
    7: 9376237656954281183,
    8: 8348694499318348471,
    16: 10349599101892590558,
    17: 15741167752087879872,
    32: 1841265393156097186,
    33: 114684669221337187,
    64: 16723395604719130389,
    65: 267002267317668473,
    127: 7719658883292042538,
    128: 13532331893528167454,
    129: 16542819617743793996,
    200: 1132435734270160681,
}


@pytest.mark.parametrize("length", FINGERPRINTS)
def test_fingerprints_are_farmhashs(length: int) -> None:
    assert fingerprint64(TEXT[:length].encode()) == FINGERPRINTS[length]


def test_a_tenth_of_the_questions_is_for_development_whatever_their_order() -> None:
    questions = [Question(id=str(n), text=f"who was number {n}", answers=()) for n in range(2000)]
    train, dev = split_development(questions)
    assert 150 < len(dev) < 250
    assert sorted([*train, *dev], key=lambda q: int(q.id)) == questions
    assert split_development(questions[::-1])[1] == dev[::-1]
    assert all(is_development(question.text) for question in dev)


def test_webquestions_is_split_as_published(shared_data: Path) -> None:
    read = [
        question
        for part in ("train", "dev")
        for question in read_questions(shared_data / "data/qa" / f"webquestions.{part}.jsonl")
    ]
    train, dev = split_development(read)
    # Published: 3,417 and 361 of 3,778; two questions that repeat others are merged in the files.
    assert (len(train), len(dev)) == (3417 - (3778 - len(read)), 361)
