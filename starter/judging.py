"""How well a reader reads where the right context is given; knows nothing of training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from readings import NO_SPANS, Reading
from span_reader import batch_of, first_of_body

from openrealm.data.qa import Question
from openrealm.metrics import exact_match, token_f1
from openrealm.models.span_reader import MAX_ANSWER, SpanReader, best_spans
from openrealm.tokenizer import WordPiece

_ROWS = 32
_MAX_TOKENS = 512


class Found(NamedTuple):
    """The best span of a body, and how far its score is above that of "no answer here"."""

    first: int
    last: int
    margin: float


@dataclass(frozen=True)
class Judged:
    """One question's answer with its figures; `margin` is that of `Found`."""

    answer: str
    exact_match: float
    f1: float
    margin: float


@dataclass(frozen=True)
class Verdict:
    """Means over questions."""

    exact_match: float
    f1: float
    count: int

    def __str__(self) -> str:
        return f"EM {self.exact_match:.3f} F1 {self.f1:.3f} ({self.count} questions)"


def best_of_bodies(
    reader: SpanReader,
    readings: Sequence[Reading],
    tokenizer: WordPiece,
    *,
    max_answer: int = MAX_ANSWER,
    bf16: bool = True,
) -> list[Found]:
    """What a reader finds in each body, which is read whole; in the given order."""
    was_training = reader.training
    reader.eval()
    order = np.argsort([len(reading) for reading in readings], kind="stable")
    found: dict[int, Found] = {}
    for at in range(0, len(order), _ROWS):
        rows = order[at : at + _ROWS].tolist()
        batch = batch_of([readings[row] for row in rows], tokenizer, max_tokens=_MAX_TOKENS)
        with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            best = best_spans(reader.log_p(batch.joint), top=1, max_width=max_answer)
        margins = (best.log_p[:, 0] - best.log_p_null).tolist()
        spans = best.spans[:, 0].tolist()
        for row, (first, last), margin in zip(rows, spans, margins, strict=True):
            begin = first_of_body(readings[row])
            found[row] = Found(first - begin, last - begin, margin)
    reader.train(was_training)
    return [found[row] for row in range(len(readings))]


def judge(
    reader: SpanReader,
    questions: Sequence[Question],
    tokenizer: WordPiece,
    *,
    max_answer: int = MAX_ANSWER,
    bf16: bool = True,
) -> list[Judged]:
    """What a reader answers to each question beside its own context, in the given order."""
    contexts = [tokenizer.encode(str(question.context)) for question in questions]
    readings = [
        Reading(tokenizer.encode(question.text).ids, context.ids, NO_SPANS)
        for question, context in zip(questions, contexts, strict=True)
    ]
    found = best_of_bodies(reader, readings, tokenizer, max_answer=max_answer, bf16=bf16)
    judged = []
    for question, context, (first, last, margin) in zip(questions, contexts, found, strict=True):
        start, stop = context.offsets[first][0], context.offsets[last][1]
        answer, right = str(question.context)[start:stop], question.answers
        right_or_not = float(exact_match(answer, right))
        judged.append(Judged(answer, right_or_not, token_f1(answer, right), margin))
    return judged


def verdict(judged: Sequence[Judged]) -> Verdict:
    """Exact match and F1 over all of them."""
    return Verdict(
        exact_match=float(np.mean([one.exact_match for one in judged])),
        f1=float(np.mean([one.f1 for one in judged])),
        count=len(judged),
    )


def auroc(higher: Sequence[float], lower: Sequence[float]) -> float:
    """How often a value of the first kind is above one of the second; equal ones count half."""
    below = np.sort(np.asarray(lower))
    left = np.searchsorted(below, higher, side="left")
    right = np.searchsorted(below, higher, side="right")
    return float((left + right).mean() / 2 / len(below))
