"""Questions as fine-tuning asks them: their tokens, which chunks hold an answer, and where.

Which chunk holds an answer is distant supervision, except where a question brings its own context,
of which the part around the answer is taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from openrealm.corpus.store import ChunkStore
from openrealm.data.matching import covering_tokens, find_answer_spans, find_regex_spans
from openrealm.data.qa import Question
from openrealm.errors import InputError

Ids = npt.NDArray[np.int32]
Spans = npt.NDArray[np.int32]
_EMPTY = np.empty(0, dtype=np.int32)


@dataclass(frozen=True)
class ContextWindow:
    """The part of a question's own context that is read.

    Attributes:
        title: Its tokens, no longer than a chunk's title may be.
        body: Tokens around the marked answer.
        spans: ``(spans, 2)`` token spans (start, stop) of the answer in them.
    """

    title: Ids
    body: Ids
    spans: Spans


class QuestionSet:
    """Questions to learn from, over one corpus."""

    def __init__(self, questions: Sequence[Question], corpus: ChunkStore, *, seed: int) -> None:
        """Takes the questions.

        Raises:
            InputError: There are none.
        """
        if not questions:
            raise InputError("there is no question with an answer to fine-tune on")
        self.questions, self._corpus, self._seed = questions, corpus, seed
        tokenizer = corpus.tokenizer
        texts = [question.text for question in questions]
        self.ids = [np.asarray(ids, dtype=np.int32) for ids in tokenizer.encode_ids(texts)]
        self._answers = [
            [] if q.is_regex else [a for a in tokenizer.encode_ids(list(q.answers)) if a]
            for q in questions
        ]

    def __len__(self) -> int:
        """Number of questions."""
        return len(self.questions)

    def chosen(self, numbers: Sequence[int]) -> list[int]:
        """Which question is the n-th to be asked: whole passes, each in an order of its own."""
        chosen = []
        for number in numbers:
            epoch, place = divmod(number, len(self))
            order = np.random.default_rng((self._seed, 6, epoch)).permutation(len(self))
            chosen.append(int(order[place]))
        return chosen

    def holding(self, number: int, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Which of some chunks hold an answer of a question."""
        question = self.questions[number]
        if question.is_regex:
            texts = (self._corpus.chunk(int(row)).text for row in rows)
            return np.array([bool(find_regex_spans(t, question.answers)) for t in texts])
        return holding_rows(self._corpus, rows, self._answers[number])

    def correct_spans(self, number: int, row: int) -> Spans:
        """Token spans (start, stop) of a chunk's body that are an answer."""
        corpus, question = self._corpus, self.questions[number]
        if question.is_regex:
            return regex_token_spans(corpus, corpus.chunk(row).text, question.answers)
        return find_answer_spans(
            corpus.body_ids(row),
            self._answers[number],
            is_continuation=corpus.tokenizer.is_continuation,
        )

    def context_window(self, number: int, *, chunk_tokens: int) -> ContextWindow | None:
        """The part of a question's own context around its marked answer; None: it brings none.

        Args:
            number: Of the question.
            chunk_tokens: Longest chunk input.
        """
        question = self.questions[number]
        if question.context is None:
            return None
        title = self._title_ids(number)
        tokens = self._corpus.tokenizer.encode(question.context)
        spans = [
            covering_tokens(tokens.offsets, start, start + len(answer))
            for start, answer in zip(question.answer_starts or (), question.answers, strict=False)
        ]
        room = chunk_tokens - 3 - len(title)
        first = min((start for start, _ in spans), default=0)
        begin = max(0, min(first - room // 4, len(tokens.ids) - room))
        inside = [(a - begin, b - begin) for a, b in spans if a >= begin and b <= begin + room]
        kept = np.asarray(inside, dtype=np.int32).reshape(-1, 2)
        return ContextWindow(title, tokens.ids[begin : begin + room], kept)

    def _title_ids(self, number: int) -> Ids:
        chunking = self._corpus.chunking
        ids = self._corpus.tokenizer.encode(self.questions[number].title or "").ids
        return ids[: int(chunking.chunk_tokens * chunking.title_share)]


def holding_rows(
    corpus: ChunkStore, rows: npt.NDArray[np.int64], answers: Sequence[Sequence[int]]
) -> npt.NDArray[np.bool_]:
    """Which chunks hold any of the answers as whole words.

    The bodies are laid end to end and searched at once; a match across two of them does not
    count.
    """
    bodies = [corpus.body_ids(int(row)) for row in rows]
    together = np.concatenate([*bodies, _EMPTY])
    ends = np.cumsum([len(body) for body in bodies])
    continues = corpus.tokenizer.is_continuation
    held = np.zeros(len(rows), dtype=np.bool_)
    for start, stop in find_answer_spans(together, answers, is_continuation=continues):
        place = int(np.searchsorted(ends, start, side="right"))
        if stop <= ends[place]:
            held[place] = True
    return held


def regex_token_spans(
    corpus: ChunkStore, text: str, patterns: Sequence[str]
) -> npt.NDArray[np.int32]:
    """Token spans (start, stop) of the matches of any pattern in a chunk's text."""
    matches = find_regex_spans(text, patterns)
    if not matches:
        return np.empty((0, 2), dtype=np.int32)
    offsets = corpus.tokenizer.encode(text).offsets
    spans = [covering_tokens(offsets, start, stop) for start, stop in matches]
    return np.asarray([s for s in spans if s[0] < s[1]], dtype=np.int32).reshape(-1, 2)
