"""What trains a reader with start and end scores: questions, and before there are any, clauses of
the texts; knows nothing of the loop around it.

Fine-tuning here spends its time on reading: for each question one chunk that answers it and now and
then a likely one that does not. Equation 1 over the chunks that are read, of which one answers:
-log p(y|z,x) p(z|x), where p(y|z,x) is a span's among the tokens of one chunk and its ``[CLS]``. A
chunk without an answer teaches the reader to say so, -log p([CLS]|z,x). ORQA's protocol (`QaStage`)
reads five chunks and the null chunk for each question; this one learns from several times as many
questions in the same time.

Before that the stage `reading` asks for spans that recur in the texts (`data.recurring_spans`), one
chunk for each and no retriever.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from openrealm.data.qa import Question
from openrealm.data.recurring_spans import ClauseQuestion, RecurringSpans
from openrealm.models.inputs import Inputs
from openrealm.models.realm import evaluating
from openrealm.models.span_reader import SpanReader, best_spans, log_p_of_spans
from openrealm.retrieval.embedding import TextEncoder
from openrealm.retrieval.live_index import LiveIndex
from openrealm.settings import QaConfig, ReadingConfig
from openrealm.training.alarms import Alarm, AnswersAlarm, ReadingAlarm
from openrealm.training.fine_tuning import Beam, own_contexts, searched
from openrealm.training.questions import QuestionSet, Spans
from openrealm.training.stage import IndexUse, Ingredients, Mean, StepResult

Ids = npt.NDArray[np.int32]
_NEGATIVES = 0.25  # chunks without an answer, for each question that has one with
_WINDOW = 96  # tokens of a chunk that are read: what is learned from the rest is not worth its time
_LIKELY = 10  # the negatives are among the first so many chunks
_ROWS = 32  # that are read together where nothing is learned
_NO_SPANS = np.empty((0, 2), dtype=np.int32)


@dataclass(frozen=True)
class _Read:
    """A chunk beside a question.

    Attributes:
        query_ids: The question.
        body: Tokens of the chunk.
        spans: ``(spans, 2)`` token spans (start, stop) that answer it; none: "not here" is right.
    """

    query_ids: Ids
    body: Ids
    spans: Spans


@dataclass(frozen=True)
class _Retrieved:
    """A chunk beside a question of a step, where it came from a search.

    Attributes:
        place: Of the question in the step.
        read: What is read.
        relevance: The chunk's score.
    """

    place: int
    read: _Read
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
        read = [
            replace(each, read=_window(each.read, generator))
            for each in self._read(beam, generator)
        ]
        answered = np.zeros(len(beam.chosen), dtype=np.bool_)
        answered[[each.place for each in read if len(each.read.spans)]] = True
        reader_loss, num_tokens = self._loss(beam, read)
        found = Mean.of(answered)
        return beam.result(reader_loss, found, num_tokens=num_tokens, read=self._config.read)

    def _read(self, beam: Beam, generator: np.random.Generator) -> Iterator[_Retrieved]:
        """What is read: the own context, or the best chunk with an answer; and some without."""
        contexts = own_contexts(self._parts, self._questions, beam, read=self._config.read)
        for place, number in enumerate(beam.chosen):
            ids, answer = self._questions.ids[number], None
            if place in contexts:
                window, relevance = contexts[place]
                answer = _Retrieved(place, _Read(ids, window.body, window.spans), relevance)
            elif beam.held[place].any():
                answer = self._with_answer(beam, place, number)
            if answer is not None:
                yield answer
            others = np.flatnonzero(~beam.held[place][:_LIKELY])
            if len(others) and (answer is None or generator.random() < _NEGATIVES):
                at = int(others[generator.integers(len(others))])
                body = self._parts.corpus.body_ids(int(beam.rows[place, at]))
                yield _Retrieved(place, _Read(ids, body, _NO_SPANS), beam.scores[place, at])

    def _with_answer(self, beam: Beam, place: int, number: int) -> _Retrieved | None:
        at = int(beam.held[place].argmax())
        row = int(beam.rows[place, at])
        spans = self._questions.correct_spans(number, row)
        if not len(spans):  # an answer that the tokens of the chunk do not have as such
            return None
        read = _Read(self._questions.ids[number], self._parts.corpus.body_ids(row), spans)
        return _Retrieved(place, read, beam.scores[place, at])

    def _loss(self, beam: Beam, read: Sequence[_Retrieved]) -> tuple[Float[Tensor, " batch"], int]:
        """-log p(y|z,x) p(z|x), and -log p("not here"|z,x), for each question."""
        parts, batch = self._parts, len(beam.chosen)
        log_p_right, num_tokens = _log_p_of_right(
            self._reader, parts.encoder, [each.read for each in read]
        )
        place = torch.tensor([each.place for each in read], device=parts.device)
        answers = torch.tensor([len(each.read.spans) > 0 for each in read], device=parts.device)
        # At most one chunk with an answer and one without: columns 0 and 1.
        lowest = torch.finfo(beam.scores.dtype).min
        relevance = torch.stack([each.relevance for each in read])
        scores = beam.scores.new_full((batch, 2), lowest)
        scores = scores.index_put((place, (~answers).long()), relevance)
        log_p_z = scores.log_softmax(dim=1)[:, 0]
        log_p_y = log_p_right + torch.where(answers, log_p_z[place], 0.0)
        return -log_p_y.new_zeros(batch).index_add(0, place, log_p_y), num_tokens


class RecurringSpanStage:
    """-log p(y|z,x) of spans that recur in the texts, or of "not here"; no retrieval.

    Attributes:
        held_out: What is read at times to see what was learned.
    """

    name = "reading"
    index_use = IndexUse.NONE

    def __init__(
        self, parts: Ingredients, config: ReadingConfig, questions: RecurringSpans
    ) -> None:
        """Takes the questions that were made of the training texts."""
        assert parts.model.span_reader is not None
        self._parts, self._config, self._questions = parts, config, questions
        self._reader: SpanReader = parts.model.span_reader
        self.steps, self.batch_size = config.steps, config.batch_size
        self.held_out = HeldOutReading(self._reader, parts, questions.held_out())

    def trained(self) -> Sequence[tuple[nn.Module, float]]:
        """The reader but for its word embeddings."""
        return [
            (self._reader.bert.encoder, self._config.lr),
            (self._reader.qa_outputs, self._config.lr),
        ]

    def alarm(self) -> Alarm:
        """A reader that could read before may unlearn it."""
        return ReadingAlarm()

    def step(self, step: int, live: LiveIndex | None) -> StepResult:
        """The loss of one batch of clauses."""
        parts, numbers = self._parts, range(self.batch_size)
        questions = zip(self._questions.batch(step, self.batch_size), numbers, strict=True)
        read = [
            _window(
                _read_of(question, parts), np.random.default_rng((parts.seed, 11, step, number))
            )
            for question, number in parts.local(list(questions))
        ]
        log_p_right, num_tokens = _log_p_of_right(self._reader, parts.encoder, read)
        return StepResult(
            loss=-log_p_right.mean(),
            weight=len(read),
            metrics={"reading/loss": Mean.of(-log_p_right.detach())},
            num_tokens=num_tokens,
            num_examples=len(read),
        )


@dataclass(frozen=True)
class HeldOutReading:
    """Asks a reader for spans that no step has asked for; implements `Probe`."""

    reader: SpanReader
    parts: Ingredients
    questions: Sequence[ClauseQuestion]

    def __call__(self, live: LiveIndex | None) -> Mapping[str, float]:
        """Means over the questions whose chunk has the span; nothing where there are none.

        As in SQuAD: exact match, and F1 of the tokens of the likeliest span, whether or not "not
        here" is likelier. Then how often the likelier of the two is right, over all questions.
        """
        read = [_read_of(question, self.parts) for question in self.questions]
        if not any(len(each.spans) for each in read):
            return {}
        with evaluating(self.reader), torch.inference_mode():
            found = [
                one
                for at in range(0, len(read), _ROWS)
                for one in self._found(read[at : at + _ROWS])
            ]
        f1 = [
            _f1(each, span) for each, (span, _) in zip(read, found, strict=True) if len(each.spans)
        ]
        sure = [(len(each.spans) > 0) == here for each, (_, here) in zip(read, found, strict=True)]
        return {
            "reading/exact_match": float(np.mean([value == 1.0 for value in f1])),
            "reading/f1": float(np.mean(f1)),
            "reading/here_accuracy": float(np.mean(sure)),
            "reading/questions": float(len(read)),
        }

    def recall_of(self, stale: LiveIndex, fresh: LiveIndex) -> Mapping[str, float]:
        """No numbers: nothing is retrieved."""
        return {}

    def _found(self, read: Sequence[_Read]) -> Iterator[tuple[tuple[int, int], bool]]:
        """The likeliest span (start, stop) of each body, and whether it is likelier than none."""
        joint, firsts = _joint(self.parts.encoder, read)
        with self.parts.encoder.precision():
            best = best_spans(self.reader.log_p(joint.to(self.parts.device)), top=1)
        here = (best.log_p[:, 0] > best.log_p_null).tolist()
        for (start, last), first, is_here in zip(
            best.spans[:, 0].tolist(), firsts, here, strict=True
        ):
            yield (start - first, last - first + 1), is_here


def _f1(read: _Read, span: tuple[int, int]) -> float:
    """F1 of the tokens of a span with those of the right one, which all occurrences share."""
    found, right = (Counter(read.body[slice(*one)].tolist()) for one in (span, read.spans[0]))
    same = (found & right).total()
    return 2 * same / (found.total() + right.total())


def _read_of(question: ClauseQuestion, parts: Ingredients) -> _Read:
    return _Read(question.query_ids, parts.texts.body_ids(question.row), question.spans)


# What is read, and how probable it makes what is right --------------------------------------------


def _joint(encoder: TextEncoder, read: Sequence[_Read]) -> tuple[Inputs, list[int]]:
    """Joint inputs, and where their bodies begin."""
    joint = encoder.templates.joint([each.query_ids for each in read], [each.body for each in read])
    room = encoder.templates.query_tokens - 2
    return joint, [min(len(each.query_ids), room) + 2 for each in read]


def _log_p_of_right(
    reader: SpanReader, encoder: TextEncoder, read: Sequence[_Read]
) -> tuple[Float[Tensor, " rows"], int]:
    """log p(y|z,x) of each, of "not here" where no span is right; and how many tokens were read."""
    joint, firsts = _joint(encoder, read)
    spans, real = (tensor.to(encoder.device) for tensor in _padded_spans(read, firsts))
    with encoder.precision():
        log_p = reader.log_p(joint.to(encoder.device))
    return log_p_of_spans(log_p, spans, real), int(joint.lengths.sum())


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
