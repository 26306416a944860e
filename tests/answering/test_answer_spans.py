"""The answers of arrays are those of a plain loop over all spans."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import tokenizer_of

from openrealm.answering.answer_spans import Answer, united
from openrealm.corpus.store import Chunk
from openrealm.tokenizer import WordPiece

TEXTS = (
    "The Café of Lima. Lima lies  by the sea, and LIMA is warm.",
    "Lima\nhas cafes; the cafe of lima is old.",
    "seaslima Limas in the sea of seas",
    "x",
)
WIDTH = 4


@pytest.fixture(scope="module")
def tokenizer() -> WordPiece:
    return tokenizer_of(["the cafe of lima lies by the sea and is warm has old in"] * 3)


def chunk(row: int, text: str) -> Chunk:
    start = 100 * row
    return Chunk(
        row=row,
        document_id=f"d{row}",
        title="",
        text=text,
        start=start,
        stop=start + len(text),
    )


def spans(length: int) -> tuple[np.ndarray, np.ndarray]:
    pairs = [(a, b) for a in range(length) for b in range(a, min(a + WIDTH, length))]
    starts, ends = np.array(pairs, dtype=np.int64).T
    return starts, ends


def by_loop(
    p: np.ndarray, chunks: list[Chunk], tokenizer: WordPiece, starts: np.ndarray, ends: np.ndarray
) -> dict[str, tuple[float, set[tuple[int, int, int]]]]:
    """Text to probability and places, span by span."""
    found: dict[str, tuple[float, set[tuple[int, int, int]]]] = {}
    for c, each in enumerate(chunks):
        tokens = tokenizer.encode(each.text)
        inside = tokenizer.is_continuation[tokens.ids]
        for s, (first, last) in enumerate(zip(starts, ends, strict=True)):
            if p[c, s] == 0:
                continue
            while first > 0 and inside[first]:
                first -= 1
            while last + 1 < len(inside) and inside[last + 1]:
                last += 1
            begin, stop = int(tokens.offsets[first, 0]), int(tokens.offsets[last, 1])
            key = " ".join(each.text[begin:stop].casefold().split())
            total, places = found.get(key, (0.0, set()))
            places.add((each.row, each.start + begin, each.start + stop))
            found[key] = total + float(p[c, s]), places
    return found


def key_of(answer: Answer) -> str:
    return answer.text.casefold()


@given(seed=st.integers(0, 2**32 - 1), top=st.integers(1, 30), sharp=st.floats(0.1, 8.0))
@settings(max_examples=60, deadline=None)
def test_answers_are_those_of_a_loop_over_all_spans(
    tokenizer: WordPiece, seed: int, top: int, sharp: float
) -> None:
    random = np.random.default_rng(seed)
    chunks = [chunk(row, TEXTS[int(n)]) for row, n in enumerate(random.integers(0, 4, size=3))]
    lengths = [len(tokenizer.encode(c.text).ids) for c in chunks]
    starts, ends = spans(max(lengths))
    p = np.exp(sharp * random.normal(size=(3, len(starts)))).astype(np.float32)
    for row, length in enumerate(lengths):
        p[row, ends >= length] = 0.0
    p /= p.sum()
    expected = by_loop(p, chunks, tokenizer, starts, ends)
    answers = united(p, chunks, starts, ends, tokenizer=tokenizer, top=top)
    told = [answer.probability for answer in answers]
    best = sorted((total for total, _ in expected.values()), reverse=True)[:top]
    assert told == pytest.approx(best[: len(told)], abs=3e-6)
    assert sum(best[len(told) :]) < 3e-6
    for answer in answers:
        total, places = expected[key_of(answer)]
        assert answer.probability == pytest.approx(total, abs=3e-6)
        shown = [(e.chunk.row, e.start, e.stop) for e in answer.evidence]
        assert len(shown) == len(set(shown)) and set(shown) <= places
        assert sum(e.probability for e in answer.evidence) == pytest.approx(answer.probability)


def test_spans_of_one_word_are_one_place(tokenizer: WordPiece) -> None:
    text = "seaslima"
    num = len(tokenizer.encode(text).ids)
    assert num > 2
    starts, ends = spans(num)
    p = np.full((1, len(starts)), 1 / len(starts), np.float32)
    [answer] = united(p, [chunk(0, text)], starts, ends, tokenizer=tokenizer, top=5)
    assert answer.text == text and answer.probability == pytest.approx(1.0)
    assert [(e.start, e.stop) for e in answer.evidence] == [(0, len(text))]


def test_texts_of_the_same_tokens_stay_apart_and_in_order(tokenizer: WordPiece) -> None:
    """Tokens leave accents out; an answer is told in the document's own spelling."""
    chunks = [chunk(0, "Café"), chunk(1, "cafe"), chunk(2, "lima")]
    starts = ends = np.zeros(1, dtype=np.int64)
    p = np.array([[0.3], [0.25], [0.45]], np.float32)
    found = united(p, chunks, starts, ends, tokenizer=tokenizer, top=2)
    assert [answer.text for answer in found] == ["lima", "Café"]


def test_without_any_probable_span_there_is_no_answer(tokenizer: WordPiece) -> None:
    starts = ends = np.zeros(1, dtype=np.int64)
    p = np.zeros((1, 1), np.float32)
    assert united(p, [chunk(0, "lima")], starts, ends, tokenizer=tokenizer, top=2) == ()
