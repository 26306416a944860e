"""What a reader learns from and is judged on: questions beside texts, with spans; knows no model.

A *reading* is a question, a body and the spans of the body that answer it. A reading without a
span teaches "no answer here", which is the span of ``[CLS]``.
"""

from __future__ import annotations

import os
import random
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from openrealm.data.qa import Question
from openrealm.retrieval.lexical import BM25
from openrealm.tokenizer import WordPiece

Ids = npt.NDArray[np.int32]
Spans = npt.NDArray[np.int32]

NO_SPANS: Spans = np.empty((0, 2), dtype=np.int32)
MAX_OCCURRENCES = 8  # of an answer that are learned from; "the" would stand anywhere


@dataclass(frozen=True, slots=True)
class Reading:
    """Token ids of a question ``(query,)`` and a body ``(seq,)``, and the answers' spans.

    Attributes:
        question: The question.
        body: The text read.
        spans: ``(spans, 2)``, first and last token of each in the body; none means that the body
            does not hold the answer.
    """

    question: Ids
    body: Ids
    spans: Spans

    def __len__(self) -> int:
        """Tokens of question and body together."""
        return len(self.question) + len(self.body)


# Questions with their contexts ---------------------------------------------------------------


def held_out_titles(questions: Sequence[Question], *, count: int, seed: int) -> list[str]:
    """The articles kept for choosing, a function of the seed and the titles alone."""
    titles = sorted({str(question.title) for question in questions})
    return sorted(random.Random(seed).sample(titles, count))


def split_by_title(
    questions: Sequence[Question], held_out: Sequence[str]
) -> tuple[list[Question], list[Question]]:
    """Questions to learn from, and those whose articles are held out."""
    rest = [question for question in questions if question.title not in held_out]
    return rest, [question for question in questions if question.title in held_out]


def readings_of(
    questions: Iterable[Question], tokenizer: WordPiece, *, every_occurrence: bool
) -> Iterator[Reading]:
    """Each question beside its own context.

    Args:
        questions: Questions with a context.
        tokenizer: The reader's.
        every_occurrence: Whether an answer counts wherever it stands in the context, or only
            where the file says.
    """
    for question in questions:
        context = str(question.context)
        tokens = tokenizer.encode(context)
        places = set(zip(question.answer_starts or (), map(len, question.answers), strict=True))
        if every_occurrence:
            places = {
                (start, len(answer))
                for answer in question.answers
                for start in occurrences(answer, context)
            } | places
        spans = token_spans(sorted(places), tokens.offsets)
        yield Reading(tokenizer.encode(question.text).ids, tokens.ids, spans)


def squad_readings(
    questions: Sequence[Question],
    tokenizer: WordPiece,
    *,
    every_occurrence: bool,
    unanswerable_share: float,
    seed: int,
) -> list[Reading]:
    """Questions beside their contexts, and a share also beside one that does not answer them."""
    found = list(readings_of(questions, tokenizer, every_occurrence=every_occurrence))
    return found + list(unanswerable(questions, tokenizer, share=unanswerable_share, seed=seed))


def occurrences(answer: str, text: str) -> list[int]:
    """First characters of an answer in a text, whole words only, the first few."""
    pattern = rf"(?<!\w){re.escape(answer)}(?!\w)"
    return [match.start() for match in re.finditer(pattern, text)][:MAX_OCCURRENCES]


def token_spans(places: Sequence[tuple[int, int]], offsets: npt.NDArray[np.int32]) -> Spans:
    """First and last token of pieces of a text, each given by first character and length."""
    if not len(offsets):
        return NO_SPANS
    starts, ends = offsets[:, 0], offsets[:, 1]
    found = {
        (int(np.searchsorted(ends, start, side="right")), int(np.searchsorted(starts, stop) - 1))
        for start, length in places
        if (stop := start + length) > start
    }
    kept = sorted((first, last) for first, last in found if first <= last)
    return np.array(kept, dtype=np.int32).reshape(-1, 2)


# Questions beside contexts that do not answer them ---------------------------------------------


def unanswerable(
    questions: Sequence[Question], tokenizer: WordPiece, *, share: float, seed: int
) -> Iterator[Reading]:
    """Some of the questions, each beside the likest context of its article without the answer.

    Args:
        questions: Questions with contexts and titles.
        tokenizer: The reader's.
        share: How many of the questions.
        seed: Which of them.
    """
    if share <= 0:
        return
    of_title: dict[str, list[str]] = defaultdict(list)
    for question in questions:
        of_title[str(question.title)].append(str(question.context))
    contexts = {title: list(dict.fromkeys(found)) for title, found in of_title.items()}
    indexes = {title: BM25(texts) for title, texts in contexts.items()}
    generator = random.Random(seed)
    for question in questions:
        if generator.random() >= share:
            continue
        texts = contexts[str(question.title)]
        _, rows = indexes[str(question.title)].search([question.text], 6)
        wrong = [texts[row] for row in rows[0] if not _answers(texts[row], question)]
        if wrong:
            body = tokenizer.encode(wrong[0]).ids
            yield Reading(tokenizer.encode(question.text).ids, body, NO_SPANS)


def _answers(text: str, question: Question) -> bool:
    lower = text.lower()
    return any(answer.lower() in lower for answer in question.answers)


def cropped(reading: Reading, tokens: int, generator: np.random.Generator) -> Reading:
    """The reading with a window of its body that holds one of its answers, at a random place.

    What is computed for a reading grows with its tokens, what is learned from it much less.
    """
    length = len(reading.body)
    if length <= tokens:
        return reading
    first, last = (0, length - 1)
    if len(reading.spans):
        first, last = reading.spans[generator.integers(len(reading.spans))]
    # Every window that holds the span is as likely; without one, every window of the body.
    low, high = (max(0, last + 1 - tokens), min(first, length - tokens))
    if not len(reading.spans) or low > high:
        low, high = (0, length - tokens)
    start = int(generator.integers(low, high + 1))
    inside = (reading.spans[:, 0] >= start) & (reading.spans[:, 1] < start + tokens)
    return Reading(
        reading.question, reading.body[start : start + tokens], reading.spans[inside] - start
    )


# On the disk -----------------------------------------------------------------------------------


def save_readings(readings: Sequence[Reading], path: Path) -> None:
    """Writes readings as arrays laid end to end, under a temporary name first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {}
    for name in ("question", "body", "spans"):
        parts = [getattr(reading, name) for reading in readings]
        arrays[name] = np.concatenate(parts) if parts else np.empty(0, dtype=np.int32)
        arrays[f"{name}_stops"] = np.cumsum([len(part) for part in parts])
    staged = path.with_name(f".{path.name}.tmp.npz")
    np.savez(staged, **arrays)
    os.replace(staged, path)


def load_readings(path: Path) -> list[Reading]:
    """The readings that `save_readings` wrote."""
    with np.load(path, allow_pickle=False) as arrays:
        columns = [
            np.split(arrays[name], arrays[f"{name}_stops"][:-1])
            for name in ("question", "body", "spans")
        ]
    return [Reading(*parts) for parts in zip(*columns, strict=True)]
