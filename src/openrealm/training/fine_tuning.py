"""Fine-tuning for open-domain question answering with the chunk embeddings fixed; knows nothing of
the loop around it.

ORQA's two losses (orqa/models/orqa_model.py): the retriever's, over a large beam of chunks, where
chunks that hold an answer are right; and the reader's, one softmax over the spans of the few
chunks read, each span's score plus its chunk's relevance. Gradients reach the query tower and the
reader; the chunk tower is not in the graph. A question's own context is read beside what was
retrieved.

Beyond the original, the null chunk stands for "no answer among the chunks read": its one span, at
``[CLS]``, is the right one where no other is.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from openrealm.data.qa import Question
from openrealm.models import likelihood
from openrealm.models.reader import CandidateSpans
from openrealm.retrieval.batches import read_batch
from openrealm.retrieval.live_index import LiveIndex
from openrealm.settings import QaConfig
from openrealm.training.alarms import Alarm, AnswersAlarm
from openrealm.training.questions import ContextWindow, QuestionSet
from openrealm.training.stage import IndexUse, Ingredients, Mean, StepResult

Ids = npt.NDArray[np.int32]
Spans = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Beam:
    """What was found for the questions of a step, and the retriever's loss over it.

    Attributes:
        chosen: Numbers of the questions.
        query_emb: Their vectors, with gradient.
        rows: ``(batch, beam)`` chunks, best first.
        scores: Their relevance, with gradient.
        in_words: What words in common add to it.
        held: ``(batch, beam)`` which hold an answer.
        query_tokens: Tokens of the questions.
        retrieval_s: Seconds that finding them took.
    """

    chosen: Sequence[int]
    query_emb: Float[Tensor, "batch dim"]
    rows: npt.NDArray[np.int64]
    scores: Float[Tensor, "batch beam"]
    in_words: Float[Tensor, "batch beam"]
    held: npt.NDArray[np.bool_]
    query_tokens: int
    retrieval_s: float

    def retriever_loss(self) -> Float[Tensor, " batch"]:
        """-log of the share of p(z|x) that chunks with an answer have; 0 where there is none."""
        holding = torch.from_numpy(self.held).to(self.scores.device)
        return -likelihood.log_marginal_of_correct(self.scores, torch.ones_like(holding), holding)

    def result(
        self, reader_loss: Float[Tensor, " batch"], found: Mean, *, num_tokens: int, read: int
    ) -> StepResult:
        """Both losses as a step's result.

        Args:
            reader_loss: The reader's, of each question.
            found: How often an answer stands in what was read.
            num_tokens: Tokens read.
            read: Chunks that are read at the end.
        """
        retriever_loss = self.retriever_loss()
        return StepResult(
            loss=(retriever_loss + reader_loss).mean(),
            weight=len(self.chosen),
            metrics={
                "qa/retriever_loss": Mean.of(retriever_loss.detach()),
                "qa/reader_loss": Mean.of(reader_loss.detach()),
                "qa/beam_holds_answer": Mean.of(np.asarray(self.held.any(axis=1))),
                "qa/read_holds_answer": found,
                "qa/retrieved_holds_answer": Mean.of(np.asarray(self.held[:, :read].any(axis=1))),
            },
            num_tokens=self.query_tokens + num_tokens,
            num_examples=len(self.chosen),
            retrieval_s=self.retrieval_s,
        )


def searched(
    parts: Ingredients, questions: QuestionSet, step: int, config: QaConfig, live: LiveIndex
) -> Beam:
    """This process's questions of a step with what the index finds for them."""
    size = config.batch_size
    numbers = [step * size + n for n in parts.processes.local_slice(size)]
    chosen = questions.chosen(numbers)
    queries = parts.encoder.templates.query([questions.ids[n] for n in chosen]).to(parts.device)
    with parts.encoder.precision():
        query_emb = parts.model.embedder.embed_queries(queries).float()
    started = time.perf_counter()
    texts = [questions.questions[n].text for n in chosen]
    num_wanted = max(config.beam, config.read)
    hits = live.retriever.search(query_emb.detach(), num_wanted, texts=texts)
    rows = hits.rows.cpu().numpy()
    held = np.array([questions.holding(n, r) for n, r in zip(chosen, rows, strict=True)])
    retrieval_s = time.perf_counter() - started
    vectors = live.index.vectors(hits.rows).to(query_emb)
    in_words = _in_words(parts, live, texts, rows).to(query_emb)
    return Beam(
        chosen=chosen,
        query_emb=query_emb,
        rows=rows,
        scores=likelihood.relevance_scores(query_emb, vectors) + in_words,
        in_words=in_words,
        held=held,
        query_tokens=int(queries.lengths.sum()),
        retrieval_s=retrieval_s,
    )


def _in_words(
    parts: Ingredients, live: LiveIndex, texts: Sequence[str], rows: npt.NDArray[np.int64]
) -> Float[Tensor, "batch beam"]:
    """What words in common add to the relevance of some chunks, by a weight that stays."""
    words, weight = live.retriever.bm25_scores(texts, rows), parts.model.lexical
    if words is None or weight is None:
        return torch.zeros(rows.shape)
    return weight.value * torch.from_numpy(words)


def own_contexts(
    parts: Ingredients, questions: QuestionSet, beam: Beam, *, read: int
) -> dict[int, tuple[ContextWindow, Float[Tensor, ""]]]:
    """The own contexts of a step's questions by their place in it, with their relevance."""
    chunk_tokens = parts.encoder.templates.chunk_tokens
    found = (questions.context_window(n, chunk_tokens=chunk_tokens) for n in beam.chosen)
    windows = {place: window for place, window in enumerate(found) if window is not None}
    if not windows:
        return {}
    with torch.no_grad(), parts.encoder.precision():
        inputs = parts.encoder.templates.chunk(
            [window.title for window in windows.values()],
            [window.body for window in windows.values()],
        )
        vectors = parts.model.embedder.embed_chunks(inputs.to(parts.device)).float()
    # A context is in no index: in words it counts as the best of what is read.
    words = beam.in_words[:, :read].max(dim=1).values
    return {
        place: (window, beam.query_emb[place] @ vector + words[place])
        for (place, window), vector in zip(windows.items(), vectors, strict=True)
    }


class QaStage:
    """Questions to the losses of retriever and reader."""

    name = "qa"
    index_use = IndexUse.FIXED

    def __init__(self, parts: Ingredients, config: QaConfig, questions: Sequence[Question]) -> None:
        """Takes the questions to learn from.

        Raises:
            InputError: There are none.
        """
        self._parts, self._config = parts, config
        self._questions = QuestionSet(questions, parts.corpus, seed=parts.seed)
        self.steps, self.batch_size = config.steps, config.batch_size

    def trained(self) -> Sequence[tuple[nn.Module, float]]:
        """The reader and the query tower; a shared tower would move the chunks' too."""
        model = self._parts.model
        return [
            (model.reader, self._config.lr),
            (model.embedder.query_tower, self._config.lr_retriever),
        ]

    def alarm(self) -> Alarm:
        """Fine-tuning may drive the answers out of what is read."""
        return AnswersAlarm(self.batch_size)

    def step(self, step: int, live: LiveIndex | None) -> StepResult:
        """Both losses of one batch of questions."""
        assert live is not None
        parts, config = self._parts, self._config
        beam = searched(parts, self._questions, step, config, live)
        reader_loss, found, tokens = self._read(beam)
        return beam.result(reader_loss, found, num_tokens=tokens, read=config.read)

    def _read(self, beam: Beam) -> tuple[Float[Tensor, " batch"], Mean, int]:
        parts, config, questions = self._parts, self._config, self._questions
        chosen, rows, query_emb = beam.chosen, beam.rows, beam.query_emb
        read = min(config.read, rows.shape[1])
        bodies = [[parts.corpus.body_ids(int(r)) for r in line[:read]] for line in rows]
        correct = [
            [questions.correct_spans(n, int(r)) for r in line[:read]]
            for n, line in zip(chosen, rows, strict=True)
        ]
        relevance = self._with_contexts(beam, bodies, correct, beam.scores[:, :read])
        unanswered = torch.tensor([not any(map(len, line)) for line in correct]).to(parts.device)
        batch = read_batch(
            parts.encoder,
            [questions.ids[n] for n in chosen],
            bodies,
            _without_gradient(relevance, where=unanswered[:, None]),
            _without_gradient(query_emb, where=unanswered[:, None]),
        )
        spans = CandidateSpans.of(
            seq=batch.joint.token_ids.shape[1],
            max_width=parts.model.reader.span_head.max_width,
            device=parts.device,
        )
        with parts.encoder.precision():
            scores, valid = parts.model.reader.span_table(
                batch.joint, batch.relevance, batch.filled, spans
            )
        scores = scores.float()
        lengths = [
            min(len(questions.ids[n]), parts.encoder.templates.query_tokens - 2) for n in chosen
        ]
        right = correct_items(correct, lengths, spans, slots=read + 1).to(parts.device) & valid
        found = Mean.of(right.any(dim=1).float())
        if config.no_answer:
            right[:, 0] |= unanswered  # not where one is too long for a span
        else:
            valid[:, 0] = False
        loss = -likelihood.log_p_of_any(likelihood.log_p_span_jointly(scores, valid), right)
        return loss, found, int(batch.joint.lengths.sum())

    def _with_contexts(
        self,
        beam: Beam,
        bodies: list[list[Ids]],
        correct: list[list[Spans]],
        relevance: Float[Tensor, "batch read"],
    ) -> Float[Tensor, "batch read"]:
        """The last chunk replaced by the question's own context, where it has one."""
        windows = own_contexts(self._parts, self._questions, beam, read=self._config.read)
        relevance = relevance.clone() if windows else relevance
        for n, (window, score) in windows.items():
            bodies[n][-1], correct[n][-1] = window.body, window.spans
            relevance[n, -1] = score
        return relevance


def _without_gradient(
    values: Float[Tensor, "batch any"], *, where: Bool[Tensor, "batch 1"]
) -> Float[Tensor, "batch any"]:
    """The same values, of which some questions' teach the query tower nothing.

    A question without an answer in what is read teaches the reader to say so. Through the relevance
    it would teach the query tower to move away from these chunks, whatever they are, and towards
    the null chunk: all queries to the same place, where none finds anything.
    """
    return torch.where(where, values.detach(), values)


def correct_items(
    correct: Sequence[Sequence[Spans]],
    query_lengths: Sequence[int],
    spans: CandidateSpans,
    *,
    slots: int,
) -> Bool[Tensor, "batch items"]:
    """Which items of `Reader.span_table` are answers.

    Args:
        correct: For each question and chunk read, token spans (start, stop) in the body.
        query_lengths: Tokens of each question in its joint inputs.
        spans: The order of spans.
        slots: Slots per question, the null chunk included.
    """
    per_slot = len(spans.starts)
    place = {
        (int(start), int(end)): number
        for number, (start, end) in enumerate(
            zip(spans.starts.tolist(), spans.ends.tolist(), strict=True)
        )
    }
    table = torch.zeros((len(correct), slots * per_slot), dtype=torch.bool)
    for query, line in enumerate(correct):
        # [CLS] x [SEP] stand before the body.
        shift = query_lengths[query] + 2
        for slot, found in enumerate(line, start=1):
            for start, stop in found:
                number = place.get((int(start) + shift, int(stop) - 1 + shift))
                if number is not None:
                    table[query, slot * per_slot + number] = True
    return table
