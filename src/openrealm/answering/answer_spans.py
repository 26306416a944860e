"""Probabilities of spans to answers: spans of one text united, wherever they stand; knows no model.

A chunk read has a thousand spans, most of them of next to no weight: places are united and weighed
as arrays, and only the best become answers with their text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from openrealm.corpus.store import Chunk
from openrealm.data.matching import answer_words
from openrealm.tokenizer import Tokens, WordPiece

# An odd number, so that it has an inverse among the 64-bit numbers.
_BASE = np.uint64(0x9E3779B97F4A7C15)
_INVERSE = np.uint64(pow(int(_BASE), -1, 1 << 64))
_DROPPED = 1e-6


@dataclass(frozen=True)
class Evidence:
    """Where an answer stands: characters ``[start, stop)`` of a document's text."""

    chunk: Chunk
    start: int
    stop: int
    probability: float


@dataclass(frozen=True)
class Answer:
    """An answer in the document's own spelling, and its probability over all places it stands."""

    text: str
    probability: float
    evidence: tuple[Evidence, ...]

    def scaled(self, factor: float) -> Answer:
        """The same with all its probabilities times a factor."""
        places = (replace(e, probability=e.probability * factor) for e in self.evidence)
        return Answer(self.text, self.probability * factor, tuple(places))


@dataclass(frozen=True)
class _Places:
    """Distinct places, the most probable first.

    Attributes:
        slot: ``(places,)`` number of the chunk.
        first: ``(places,)`` first token in its body.
        last: ``(places,)`` last token.
        p: ``(places,)`` probability.
        group: ``(places,)`` equal where the tokens are equal.
    """

    slot: npt.NDArray[np.int64]
    first: npt.NDArray[np.int64]
    last: npt.NDArray[np.int64]
    p: npt.NDArray[np.float64]
    group: npt.NDArray[np.int64]


def united(
    p_spans: npt.NDArray[np.float32],
    chunks: Sequence[Chunk],
    starts: npt.NDArray[np.int64],
    ends: npt.NDArray[np.int64],
    *,
    tokenizer: WordPiece,
    top: int,
) -> tuple[Answer, ...]:
    """The best answers: all spans of the same text united and their probabilities added.

    A span that begins or ends inside a word counts for the whole word. The least probable spans, a
    millionth of all together, are left out.

    Args:
        p_spans: ``(chunks, spans)`` their probabilities, 0 where a chunk has no such span.
        chunks: The chunks.
        starts: ``(spans,)`` first tokens in the chunk's body, or ``(chunks, spans)``.
        ends: Last tokens, likewise.
        tokenizer: That of the spans.
        top: Answers at most.
    """
    tokens = [tokenizer.encode(chunk.text) for chunk in chunks]
    places = _places(p_spans, tokens, starts, ends, tokenizer)
    totals = np.bincount(places.group, weights=places.p)
    answers: list[Answer] = []
    for group in np.argsort(-totals, kind="stable").tolist():
        # No answer of this group, nor of those behind it, is more probable than the whole group.
        if len(answers) >= top and answers[top - 1].probability >= totals[group]:
            break
        members = np.flatnonzero(places.group == group)
        answers += _answers(places, members, chunks, tokens)
        answers.sort(key=lambda answer: -answer.probability)
    return tuple(answers[:top])


def competing(answers: Sequence[Answer], *, top: int) -> tuple[Answer, ...]:
    """The best answers of which none says again what a better one says.

    "Newton" beside "Isaac Newton" is one answer told twice, and so are two spans that share words
    at one place. What is left out keeps its probability: nothing is added to what is shown.

    Args:
        answers: Best first.
        top: How many at most.
    """
    kept: list[Answer] = []
    for answer in answers:
        if len(kept) == top:
            break
        if not any(_say_the_same(answer, better) for better in kept):
            kept.append(answer)
    return tuple(kept)


def _say_the_same(answer: Answer, better: Answer) -> bool:
    return (
        _overlap(answer.evidence[0], better.evidence)
        or _overlap(better.evidence[0], answer.evidence)
        or _holds_words(answer.text, better.text)
        or _holds_words(better.text, answer.text)
    )


def _overlap(place: Evidence, others: Sequence[Evidence]) -> bool:
    return any(
        place.chunk.document_id == other.chunk.document_id
        and place.start < other.stop
        and other.start < place.stop
        for other in others
    )


def _holds_words(text: str, part: str) -> bool:
    """Whether the words of a part stand in a text, one after another."""
    words, wanted = answer_words(text), answer_words(part)
    return bool(wanted) and any(
        words[at : at + len(wanted)] == wanted for at in range(len(words) - len(wanted) + 1)
    )


def _places(
    p_spans: npt.NDArray[np.float32],
    tokens: Sequence[Tokens],
    starts: npt.NDArray[np.int64],
    ends: npt.NDArray[np.int64],
    tokenizer: WordPiece,
) -> _Places:
    starts, ends = (np.broadcast_to(each, p_spans.shape) for each in (starts, ends))
    slot, span = np.nonzero(p_spans > _threshold(p_spans))
    p = p_spans[slot, span].astype(np.float64)
    first, last = np.empty(len(slot), np.int64), np.empty(len(slot), np.int64)
    code = np.empty(len(slot), np.uint64)
    for number, encoded in enumerate(tokens):
        here = slot == number
        left, right = _word_bounds(tokenizer.is_continuation[encoded.ids])
        first[here] = left[starts[number, span[here]]]
        last[here] = right[ends[number, span[here]]]
        code[here] = _codes(encoded.ids, first[here], last[here])
    place = (slot << 40) | (first << 20) | last
    _, lead, same = np.unique(place, return_index=True, return_inverse=True)
    total = np.bincount(same, weights=p, minlength=len(lead)).astype(np.float64)
    order = np.argsort(-total, kind="stable")
    lead = lead[order]
    _, group = np.unique(code[lead], return_inverse=True)
    return _Places(slot=slot[lead], first=first[lead], last=last[lead], p=total[order], group=group)


def _threshold(p_spans: npt.NDArray[np.float32]) -> float:
    """The probability up to which spans are left out."""
    ascending = np.sort(p_spans, axis=None)
    mass = np.cumsum(ascending, dtype=np.float64)
    num_dropped = int(np.searchsorted(mass, mass[-1] * _DROPPED, side="right"))
    return float(ascending[num_dropped - 1]) if num_dropped else 0.0


def _word_bounds(
    inside: npt.NDArray[np.bool_],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """``(tokens,)``: the first and the last token of the word of each token."""
    number = np.arange(len(inside))
    begins = ~inside
    begins[:1] = True
    left = np.maximum.accumulate(np.where(begins, number, 0))
    stops = np.append(number[begins][1:], len(inside)) - 1
    return left, stops[np.cumsum(begins) - 1]


def _codes(
    ids: npt.NDArray[np.int32], first: npt.NDArray[np.int64], last: npt.NDArray[np.int64]
) -> npt.NDArray[np.uint64]:
    """``(places,)``: numbers that are equal for equal tokens, and hardly ever for others."""
    powers = np.cumprod(np.full(len(ids), _BASE, np.uint64))
    inverses = np.cumprod(np.append(np.uint64(1), np.full(len(ids), _INVERSE, np.uint64)))
    sums = np.append(np.uint64(0), np.cumsum((ids.astype(np.uint64) + np.uint64(1)) * powers))
    codes: npt.NDArray[np.uint64] = (sums[last + 1] - sums[first]) * inverses[first]
    return codes


def _answers(
    places: _Places,
    members: npt.NDArray[np.int64],
    chunks: Sequence[Chunk],
    tokens: Sequence[Tokens],
) -> list[Answer]:
    """Answers of one group: its texts may still differ in what tokens leave out."""
    found: dict[str, list[Evidence]] = {}
    for n in members.tolist():
        chunk, offsets = chunks[places.slot[n]], tokens[places.slot[n]].offsets
        begin, stop = int(offsets[places.first[n], 0]), int(offsets[places.last[n], 1])
        evidence = Evidence(
            chunk=chunk,
            start=chunk.start + begin,
            stop=chunk.start + stop,
            probability=float(places.p[n]),
        )
        words = " ".join(chunk.text[begin:stop].casefold().split())
        found.setdefault(words, []).append(evidence)
    return [
        Answer(
            text=_spelling(evidence[0]),
            probability=sum(place.probability for place in evidence),
            evidence=tuple(evidence),
        )
        for evidence in found.values()
    ]


def _spelling(evidence: Evidence) -> str:
    begin = evidence.start - evidence.chunk.start
    return " ".join(evidence.chunk.text[begin : begin + evidence.stop - evidence.start].split())
