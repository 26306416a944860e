"""Fine-tuning that spends its time on reading: for each question one chunk that answers it and
now and then a likely one that does not; knows nothing of the loop around it.

Equation 1 over the chunks that are read: -log sum over z of p(y|z,x) p(z|x), where p(y|z,x) is a
span's among the tokens of one chunk and its ``[CLS]``. A chunk without an answer teaches the reader
to say so, -log p([CLS]|z,x). ORQA's protocol (`QaStage`) reads five chunks and the null chunk for
each question instead; this one learns from several times as many questions in the same time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from openrealm.data.qa import Question
from openrealm.models.span_reader import SpanReader, log_p_of_spans
from openrealm.retrieval.live_index import LiveIndex
from openrealm.settings import QaConfig
from openrealm.training.alarms import Alarm, AnswersAlarm
from openrealm.training.fine_tuning import Beam, own_contexts, searched
from openrealm.training.questions import QuestionSet, Spans
from openrealm.training.stage import IndexUse, Ingredients, Mean, StepResult

Ids = npt.NDArray[np.int32]
_NEGATIVES = 0.25  # chunks without an answer, for each question that has one with
_WINDOW = 96  # tokens of a chunk that are read: what is learned from the rest is not worth its time
_LIKELY = 10  # the negatives are among the first so many chunks
_NO_SPANS = np.empty((0, 2), dtype=np.int32)


@dataclass(frozen=True)
class _Read:
    """A chunk beside a question.

    Attributes:
        place: Of the question in the step.
        body: Tokens of the chunk.
        spans: ``(spans, 2)`` token spans (start, stop) that answer it; none: "not here" is right.
        relevance: Its score.
    """

    place: int
    body: Ids
    spans: Spans
    relevance: Float[Tensor, ""]


class ReadingStage:
    """Questions to the losses of the retriever and of a reader with start and end scores."""

    name = "qa"
    index_use = IndexUse.FIXED

    def __init__(self, parts: Ingredients, config: QaConfig, questions: Sequence[Question]) -> None:
        """Takes the questions to learn from.

        Raises:
            InputError: There are none.
        """
        assert parts.model.span_reader is not None
        self._parts, self._config = parts, config
        self._reader: SpanReader = parts.model.span_reader
        self._questions = QuestionSet(questions, parts.corpus, seed=parts.seed)
        self.steps, self.batch_size = config.steps, config.batch_size

    def trained(self) -> Sequence[tuple[nn.Module, float]]:
        """The reader but for its word embeddings, and the query tower."""
        reader, config = self._reader, self._config
        return [
            (reader.bert.encoder, config.lr),
            (reader.qa_outputs, config.lr),
            (self._parts.model.embedder.query_tower, config.lr_retriever),
        ]

    def alarm(self) -> Alarm:
        """Fine-tuning may drive the answers out of what is read."""
        return AnswersAlarm(self.batch_size)

    def step(self, step: int, live: LiveIndex | None) -> StepResult:
        """Both losses of one batch of questions."""
        assert live is not None
        beam = searched(self._parts, self._questions, step, self._config, live)
        generator = np.random.default_rng((self._parts.seed, 7, step, *beam.chosen[:1]))
        read = [_window(each, generator) for each in self._read(beam, generator)]
        answered = np.zeros(len(beam.chosen), dtype=np.bool_)
        answered[[each.place for each in read if len(each.spans)]] = True
        reader_loss, num_tokens = self._loss(beam, read)
        found = Mean.of(answered)
        return beam.result(reader_loss, found, num_tokens=num_tokens, read=self._config.read)

    def _read(self, beam: Beam, generator: np.random.Generator) -> Iterator[_Read]:
        """What is read: the own context, or the best chunk with an answer; and some without."""
        contexts = own_contexts(self._parts, self._questions, beam, read=self._config.read)
        for place, number in enumerate(beam.chosen):
            answer = None
            if place in contexts:
                window, relevance = contexts[place]
                answer = _Read(place, window.body, window.spans, relevance)
            elif beam.held[place].any():
                answer = self._with_answer(beam, place, number)
            if answer is not None:
                yield answer
            others = np.flatnonzero(~beam.held[place][:_LIKELY])
            if len(others) and (answer is None or generator.random() < _NEGATIVES):
                at = int(others[generator.integers(len(others))])
                body = self._parts.corpus.body_ids(int(beam.rows[place, at]))
                yield _Read(place, body, _NO_SPANS, beam.scores[place, at])

    def _with_answer(self, beam: Beam, place: int, number: int) -> _Read | None:
        at = int(beam.held[place].argmax())
        row = int(beam.rows[place, at])
        spans = self._questions.correct_spans(number, row)
        if not len(spans):  # an answer that the tokens of the chunk do not have as such
            return None
        return _Read(place, self._parts.corpus.body_ids(row), spans, beam.scores[place, at])

    def _loss(self, beam: Beam, read: Sequence[_Read]) -> tuple[Float[Tensor, " batch"], int]:
        """-log sum over z of p(y|z,x) p(z|x), and -log p("not here"|z,x), for each question."""
        parts, batch = self._parts, len(beam.chosen)
        queries = [self._questions.ids[beam.chosen[each.place]] for each in read]
        joint = parts.encoder.templates.joint(queries, [each.body for each in read])
        firsts = [min(len(ids), parts.encoder.templates.query_tokens - 2) + 2 for ids in queries]
        spans, real = _padded_spans(read, firsts)
        joint = joint.to(parts.device)
        with parts.encoder.precision():
            log_p = self._reader.log_p(joint)
        log_p_right = log_p_of_spans(log_p, spans.to(parts.device), real.to(parts.device))
        place = torch.tensor([each.place for each in read], device=parts.device)
        answers = torch.tensor([len(each.spans) > 0 for each in read], device=parts.device)
        # At most one chunk with an answer and one without: columns 0 and 1.
        lowest = torch.finfo(beam.scores.dtype).min
        relevance = torch.stack([each.relevance for each in read])
        scores = beam.scores.new_full((batch, 2), lowest)
        scores = scores.index_put((place, (~answers).long()), relevance)
        log_p_z = scores.log_softmax(dim=1)[:, 0]
        log_p_y = log_p_right + torch.where(answers, log_p_z[place], 0.0)
        return -log_p_y.new_zeros(batch).index_add(0, place, log_p_y), int(joint.lengths.sum())


def _window(read: _Read, generator: np.random.Generator) -> _Read:
    """A chunk cut to a window that holds one of its answers, at a random place."""
    size, spans = len(read.body), read.spans
    if size <= _WINDOW:
        return read
    low, high = 0, size - _WINDOW
    if len(spans):
        first, stop = spans[generator.integers(len(spans))]
        around = max(0, int(stop) - _WINDOW), min(int(first), size - _WINDOW)
        low, high = around if around[0] <= around[1] else (min(int(first), high),) * 2
    begin = int(generator.integers(low, high + 1))
    inside = (spans[:, 0] >= begin) & (spans[:, 1] <= begin + _WINDOW)
    body = read.body[begin : begin + _WINDOW]
    return replace(read, body=body, spans=spans[inside] - begin)


def _padded_spans(
    read: Sequence[_Read], firsts: Sequence[int]
) -> tuple[Int[Tensor, "rows spans 2"], Tensor]:
    """First and last position of right spans in joint inputs, ``[CLS]`` where there is none.

    Args:
        read: The chunks.
        firsts: Where their bodies begin.
    """
    width = max((len(each.spans) for each in read), default=0) or 1
    spans = np.zeros((len(read), width, 2), dtype=np.int64)
    real = np.zeros((len(read), width), dtype=np.bool_)
    real[:, 0] = True
    for row, (each, first) in enumerate(zip(read, firsts, strict=True)):
        size = len(each.spans)
        spans[row, :size] = each.spans + np.array([first, first - 1])  # stop is one further on
        real[row, :size] = True
    return torch.from_numpy(spans), torch.from_numpy(real)
