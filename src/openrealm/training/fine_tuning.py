"""Fine-tuning for open-domain question answering with the chunk embeddings fixed; knows nothing of
the loop around it.

ORQA's two losses (orqa/models/orqa_model.py): the retriever's, over a large beam of chunks, where
chunks that hold an answer are right; and the reader's, one softmax over the spans of the few
chunks read, each span's score plus its chunk's relevance. Gradients reach the query tower and the
reader; the chunk tower is not in the graph. Which chunk holds an answer is distant supervision,
except where a question brings its own context, which then is read beside what was retrieved.

Beyond the original, the null chunk stands for "no answer among the chunks read": its one span, at
``[CLS]``, is the right one where no other is.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from openrealm.corpus.store import ChunkStore
from openrealm.data.matching import covering_tokens, find_answer_spans, find_regex_spans
from openrealm.data.qa import Question
from openrealm.errors import InputError
from openrealm.models import likelihood
from openrealm.models.reader import CandidateSpans
from openrealm.retrieval.batches import read_batch
from openrealm.retrieval.live_index import LiveIndex
from openrealm.settings import QaConfig
from openrealm.training.alarms import Alarm, AnswersAlarm
from openrealm.training.stage import IndexUse, Ingredients, Mean, StepResult

Ids = npt.NDArray[np.int32]
_EMPTY = np.empty(0, dtype=np.int32)


class QaStage:
    """Questions to the losses of retriever and reader."""

    name = "qa"
    index_use = IndexUse.FIXED

    def __init__(self, parts: Ingredients, config: QaConfig, questions: Sequence[Question]) -> None:
        """Takes the questions to learn from.

        Raises:
            InputError: There are none.
        """
        if not questions:
            raise InputError("there is no question with an answer to fine-tune on")
        self._parts, self._config, self._questions = parts, config, questions
        self.steps, self.batch_size = config.steps, config.batch_size
        tokenizer = parts.corpus.tokenizer
        texts = [question.text for question in questions]
        self._ids = [np.asarray(ids, dtype=np.int32) for ids in tokenizer.encode_ids(texts)]
        self._answers = [
            [] if q.is_regex else [a for a in tokenizer.encode_ids(list(q.answers)) if a]
            for q in questions
        ]

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
        chosen = self._chosen(step)
        queries = parts.encoder.templates.query([self._ids[n] for n in chosen]).to(parts.device)
        with parts.encoder.precision():
            query_emb = parts.model.embedder.embed_queries(queries).float()
        started = time.perf_counter()
        texts = [self._questions[n].text for n in chosen]
        num_wanted = max(config.beam, config.read)
        hits = live.retriever.search(query_emb.detach(), num_wanted, texts=texts)
        rows = hits.rows.cpu().numpy()
        held = np.array([self._holding(n, r) for n, r in zip(chosen, rows, strict=True)])
        retrieval_s = time.perf_counter() - started
        vectors = live.index.vectors(hits.rows).to(query_emb)
        in_words = self._in_words(live, texts, rows).to(query_emb)
        beam_scores = likelihood.relevance_scores(query_emb, vectors) + in_words
        holding = torch.from_numpy(held).to(parts.device)
        everything = torch.ones_like(holding)
        retriever_loss = -likelihood.log_marginal_of_correct(beam_scores, everything, holding)
        reader_loss, found, tokens = self._read(chosen, rows, beam_scores, query_emb, in_words)
        loss = (retriever_loss + reader_loss).mean()
        metrics = {
            "qa/retriever_loss": Mean.of(retriever_loss.detach()),
            "qa/reader_loss": Mean.of(reader_loss.detach()),
            "qa/beam_holds_answer": Mean.of(np.asarray(held.any(axis=1))),
            "qa/read_holds_answer": found,
            "qa/retrieved_holds_answer": Mean.of(np.asarray(held[:, : config.read].any(axis=1))),
        }
        return StepResult(
            loss=loss,
            weight=len(chosen),
            metrics=metrics,
            num_tokens=int(queries.lengths.sum()) + tokens,
            num_examples=len(chosen),
            retrieval_s=retrieval_s,
        )

    def _in_words(
        self, live: LiveIndex, texts: Sequence[str], rows: npt.NDArray[np.int64]
    ) -> Float[Tensor, "batch beam"]:
        """What words in common add to the relevance of some chunks, by a weight that stays."""
        words, weight = live.retriever.bm25_scores(texts, rows), self._parts.model.lexical
        if words is None or weight is None:
            return torch.zeros(rows.shape)
        return weight.value * torch.from_numpy(words)

    def _chosen(self, step: int) -> list[int]:
        size, batch = len(self._questions), self._config.batch_size
        chosen = []
        for number in (step * batch + n for n in self._parts.processes.local_slice(batch)):
            epoch, place = divmod(number, size)
            order = np.random.default_rng((self._parts.seed, 6, epoch)).permutation(size)
            chosen.append(int(order[place]))
        return chosen

    def _holding(self, number: int, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Which of the chunks hold an answer of the question."""
        corpus, question = self._parts.corpus, self._questions[number]
        if question.is_regex:
            texts = (corpus.chunk(int(row)).text for row in rows)
            return np.array([bool(find_regex_spans(t, question.answers)) for t in texts])
        return holding_rows(corpus, rows, self._answers[number])

    def _read(
        self,
        chosen: Sequence[int],
        rows: npt.NDArray[np.int64],
        beam_scores: Float[Tensor, "batch beam"],
        query_emb: Float[Tensor, "batch dim"],
        in_words: Float[Tensor, "batch beam"],
    ) -> tuple[Float[Tensor, " batch"], Mean, int]:
        parts, config = self._parts, self._config
        read = min(config.read, rows.shape[1])
        bodies = [[parts.corpus.body_ids(int(r)) for r in line[:read]] for line in rows]
        correct = [
            [self._correct_spans(n, int(r)) for r in line[:read]]
            for n, line in zip(chosen, rows, strict=True)
        ]
        relevance = beam_scores[:, :read]
        # The own context is in the index for nobody: it is taken for the best of them by words.
        relevance = self._with_contexts(
            chosen, bodies, correct, relevance, query_emb, in_words[:, :read].max(dim=1).values
        )
        unanswered = torch.tensor([not any(map(len, line)) for line in correct]).to(parts.device)
        batch = read_batch(
            parts.encoder,
            [self._ids[n] for n in chosen],
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
        lengths = [min(len(self._ids[n]), parts.encoder.templates.query_tokens - 2) for n in chosen]
        right = correct_items(correct, lengths, spans, slots=read + 1).to(parts.device) & valid
        found = Mean.of(right.any(dim=1).float())
        if config.no_answer:
            right[:, 0] |= unanswered  # not where one is too long for a span
        else:
            valid[:, 0] = False
        loss = -likelihood.log_p_of_any(likelihood.log_p_span_jointly(scores, valid), right)
        return loss, found, int(batch.joint.lengths.sum())

    def _correct_spans(self, number: int, row: int) -> npt.NDArray[np.int32]:
        """Token spans (start, stop) of a chunk's body that are an answer."""
        corpus, question = self._parts.corpus, self._questions[number]
        if question.is_regex:
            return regex_token_spans(corpus, corpus.chunk(row).text, question.answers)
        return find_answer_spans(
            corpus.body_ids(row),
            self._answers[number],
            is_continuation=corpus.tokenizer.is_continuation,
        )

    def _with_contexts(
        self,
        chosen: Sequence[int],
        bodies: list[list[Ids]],
        correct: list[list[npt.NDArray[np.int32]]],
        relevance: Float[Tensor, "batch read"],
        query_emb: Float[Tensor, "batch dim"],
        in_words: Float[Tensor, " batch"],
    ) -> Float[Tensor, "batch read"]:
        """The last chunk replaced by the question's own context, where it has one."""
        given = [n for n, q in enumerate(chosen) if self._questions[q].context is not None]
        if not given:
            return relevance
        parts = self._parts
        windows = [self._context_window(chosen[n]) for n in given]
        titles = [self._title_ids(chosen[n]) for n in given]
        with torch.no_grad(), parts.encoder.precision():
            inputs = parts.encoder.templates.chunk(titles, [ids for ids, _ in windows]).to(
                parts.device
            )
            vectors = parts.model.embedder.embed_chunks(inputs).float()
        relevance = relevance.clone()
        for place, (n, (ids, spans)) in enumerate(zip(given, windows, strict=True)):
            bodies[n][-1] = ids
            correct[n][-1] = spans
            relevance[n, -1] = query_emb[n] @ vectors[place] + in_words[n]
        return relevance

    def _title_ids(self, number: int) -> Ids:
        """The title of a context, no longer than a chunk's may be."""
        chunking, tokenizer = self._parts.corpus.chunking, self._parts.corpus.tokenizer
        ids = tokenizer.encode(self._questions[number].title or "").ids
        return ids[: int(chunking.chunk_tokens * chunking.title_share)]

    def _context_window(self, number: int) -> tuple[Ids, npt.NDArray[np.int32]]:
        """The part of a context around its marked answer that fits, and the answer's spans."""
        parts, question = self._parts, self._questions[number]
        assert question.context is not None
        tokens = parts.corpus.tokenizer.encode(question.context)
        spans = [
            covering_tokens(tokens.offsets, start, start + len(answer))
            for start, answer in zip(question.answer_starts or (), question.answers, strict=False)
        ]
        room = parts.encoder.templates.chunk_tokens - 3 - len(self._title_ids(number))
        first = min((start for start, _ in spans), default=0)
        begin = max(0, min(first - room // 4, len(tokens.ids) - room))
        inside = [(a - begin, b - begin) for a, b in spans if a >= begin and b <= begin + room]
        kept = np.asarray(inside, dtype=np.int32).reshape(-1, 2)
        return tokens.ids[begin : begin + room], kept


def _without_gradient(
    values: Float[Tensor, "batch any"], *, where: Bool[Tensor, "batch 1"]
) -> Float[Tensor, "batch any"]:
    """The same values, of which some questions' teach the query tower nothing.

    A question without an answer in what is read teaches the reader to say so. Through the relevance
    it would teach the query tower to move away from these chunks, whatever they are, and towards
    the null chunk: all queries to the same place, where none finds anything.
    """
    return torch.where(where, values.detach(), values)


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


def correct_items(
    correct: Sequence[Sequence[npt.NDArray[np.int32]]],
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
