"""Answers by a reader with start and end scores; knows no index and no files.

    p(y|x) = sum over z of p(y,z|x),    p(y,z|x) ~ p(z|x)^w p(y|z,x) / p("not here"|z,x)

One softmax over the spans of all chunks read, as ORQA's, in which every chunk's "not here" has the
same weight: what a chunk says of a span is told against what it says of none. Chunks are read a few
at a time, the most relevant first, until no unread chunk could change the best answer even if it
were as sure as the surest one read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float

from openrealm.answering.answer_spans import Answer, competing, united
from openrealm.corpus.store import Chunk, ChunkStore
from openrealm.models.span_reader import SpanReader, best_spans
from openrealm.retrieval.embedding import TextEncoder

Ids = npt.NDArray[np.int32]
# The weight w of log p(z|x). Held-out questions are answered as well with 1 as with 3: docs/log.md.
# With 1 a false span of a hardly relevant chunk sometimes outweighs the right one of the best.
WEIGHT = 2.0
_FIRST, _MORE = 5, 10  # chunks read at once
_SPANS = 32  # of each chunk that are looked at, the most probable
_SUREST = 30.0  # log odds; beyond, single precision has no room for sums
_LEAST = 1e-30  # in the place of numbers too small for single precision
_ANSWERS = 4  # united answers for each that is shown, since some say the same


@dataclass
class Marginal:
    """What has been read for one question.

    Attributes:
        chunks: The chunks found, best first.
        p_z: ``(chunks,)`` their p(z|x)^w, scaled to sum to one.
        odds: ``(read, spans)`` p(z|x)^w p(y|z,x) / p("not here"|z,x) of the probable spans of the
            chunks read: the odds of each against "nothing here answers this".
        spans: ``(read, spans, 2)`` first and last token of each in its body.
        answers: The best of what was read, none of which says again what a better one says; odds
            stand in the place of probabilities.
    """

    chunks: Sequence[Chunk]
    p_z: npt.NDArray[np.float32]
    odds: npt.NDArray[np.float32] = field(default_factory=lambda: np.empty((0, _SPANS), np.float32))
    spans: npt.NDArray[np.int64] = field(default_factory=lambda: np.empty((0, _SPANS, 2), np.int64))
    answers: tuple[Answer, ...] = ()

    @property
    def num_read(self) -> int:
        """Chunks read."""
        return len(self.odds)

    @property
    def unread(self) -> float:
        """p(z|x)^w of all chunks that were not read."""
        return float(self.p_z[self.num_read :].sum())

    @property
    def p_no_answer(self) -> float:
        """p("nothing here answers this"|x), as the reader says it; unread chunks have no say."""
        return 1 / (1 + float(self.odds.sum(dtype=np.float64)))

    def with_probabilities(self, no_answer: float) -> tuple[Answer, ...]:
        """The answers, their probabilities such that those of all spans and of none sum to one."""
        factor = (1 - no_answer) / max(float(self.odds.sum(dtype=np.float64)), _LEAST)
        return tuple(answer.scaled(factor) for answer in self.answers)

    @property
    def is_settled(self) -> bool:
        """Whether no unread chunk, as sure as the surest one read, could change the best answer."""
        if self.num_read == len(self.chunks):
            return True
        first, second = (*(answer.probability for answer in self.answers[:2]), 0.0, 0.0)[:2]
        p_z = np.maximum(self.p_z[: self.num_read], _LEAST)
        surest = float((self.odds.max(axis=1) / p_z).max())
        return first - second >= surest * self.unread


class SpanMarginal:
    """Reads chunks for questions, and unites what is found."""

    def __init__(self, reader: SpanReader, encoder: TextEncoder, corpus: ChunkStore) -> None:
        """Takes a reader, and a corpus of its vocabulary."""
        self._reader, self._encoder, self._corpus = reader.eval(), encoder, corpus

    @torch.inference_mode()
    def read(
        self,
        questions: Sequence[Ids],
        rows: npt.NDArray[np.int64],
        log_p_z: Float[torch.Tensor, "questions k"],
        *,
        top: int,
    ) -> list[Marginal]:
        """Reads until every question is settled.

        Args:
            questions: Tokens of each.
            rows: ``(questions, k)`` the chunks found, best first; -1 where there are none left.
            log_p_z: log p(z|x) of each.
            top: Answers of each, at most.
        """
        p_z = torch.softmax(WEIGHT * log_p_z, dim=1).cpu().numpy()
        found = [
            Marginal(
                chunks=[self._corpus.chunk(int(row)) for row in line if row >= 0],
                p_z=p[line >= 0],
            )
            for line, p in zip(rows, p_z, strict=True)
        ]
        open_ = list(range(len(found)))
        more = _FIRST
        while open_:
            self._read_on(questions, found, open_, more)
            for n in open_:
                self._unite(found[n], top)
            open_ = [n for n in open_ if not found[n].is_settled]
            more = _MORE
        return found

    def _read_on(
        self, questions: Sequence[Ids], found: Sequence[Marginal], numbers: Sequence[int], more: int
    ) -> None:
        """Reads some more chunks of some of the questions."""
        slots = [
            (n, slot)
            for n in numbers
            for slot in range(
                found[n].num_read, min(found[n].num_read + more, len(found[n].chunks))
            )
        ]
        if not slots:
            return
        templates = self._encoder.templates
        ids = [questions[n] for n, _ in slots]
        bodies = [self._corpus.body_ids(found[n].chunks[slot].row) for n, slot in slots]
        joint = templates.joint(ids, bodies).to(self._encoder.device)
        with self._encoder.precision():
            best = best_spans(self._reader.log_p(joint), top=_SPANS)
        firsts = np.array([min(len(each), templates.query_tokens - 2) + 2 for each in ids])
        log_odds = (best.log_p - best.log_p_null[:, None]).clamp(max=_SUREST)
        odds = _padded(log_odds.exp().cpu().numpy())
        spans = _padded(best.spans.cpu().numpy()) - firsts[:, None, None]
        for n in numbers:
            own = [at for at, (other, _) in enumerate(slots) if other == n]
            one = found[n]
            p_z = one.p_z[one.num_read : one.num_read + len(own)]
            one.odds = np.concatenate([one.odds, odds[own] * p_z[:, None]])
            one.spans = np.concatenate([one.spans, spans[own]])

    def _unite(self, one: Marginal, top: int) -> None:
        answers = united(
            one.odds,
            one.chunks[: one.num_read],
            one.spans[:, :, 0],
            one.spans[:, :, 1],
            tokenizer=self._corpus.tokenizer,
            top=_ANSWERS * top,
        )
        one.answers = competing(answers, top=max(top, 2))


def _padded(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """``(rows, spans, ...)`` with as many spans as always: a short body has fewer."""
    missing = _SPANS - values.shape[1]
    return np.pad(values, [(0, 0), (0, missing), *[(0, 0)] * (values.ndim - 2)])
