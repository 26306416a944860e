"""Questions to answers with evidence, masked text to fillings, text to chunks; knows no files.

Retrieval happens once, and only the top k are read. What is shown is what was computed: p(z|x) of
every chunk read, and p(y|x), summed over them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from openrealm.answering.answer_spans import Answer, united
from openrealm.answering.span_marginal import SpanMarginal
from openrealm.corpus.store import Chunk, ChunkStore
from openrealm.data.pretraining import MaskedQuery
from openrealm.errors import InputError
from openrealm.models import likelihood
from openrealm.models.reader import CandidateSpans
from openrealm.models.realm import Realm
from openrealm.retrieval.batches import masked_batch, read_batch
from openrealm.retrieval.candidates import embed_masked_queries, retrieved, with_bm25
from openrealm.retrieval.embedding import TextEncoder
from openrealm.retrieval.lexical import BM25
from openrealm.retrieval.retriever import Retriever
from openrealm.runs.loaded import LoadedRun
from openrealm.settings import Settings
from openrealm.tokenizer import MASK

Ids = npt.NDArray[np.int32]
_EMPTY = "the question is empty; write some words"


@dataclass(frozen=True)
class ChunkHit:
    """A chunk that search found: its score is f(x,z), with words in common where they count."""

    rank: int
    score: float
    chunk: Chunk


@dataclass(frozen=True)
class Answers:
    """What was found for one question.

    Attributes:
        question: The question.
        answers: Best first; probabilities sum to at most 1 - ``no_answer``.
        no_answer: Probability that nothing here answers the question.
        read: The chunks read, with p(z|x); before them the null chunk, where the reader has one.
    """

    question: str
    answers: tuple[Answer, ...]
    no_answer: float
    read: tuple[WeighedChunk, ...]

    @property
    def is_answered(self) -> bool:
        """Whether it is more likely than not that something here answers the question."""
        return self.no_answer <= 0.5


@dataclass(frozen=True)
class WeighedChunk:
    """A candidate with its p(z|x); ``chunk`` is None for the null chunk."""

    chunk: Chunk | None
    p_z: float


@dataclass(frozen=True)
class Filling:
    """Words for the masks, with p(y|x) and, for every candidate, p(y|z,x)."""

    tokens: tuple[str, ...]
    text: str
    p_y: float
    p_y_given_z: tuple[float, ...]


@dataclass(frozen=True)
class Fillings:
    """What was found for one masked text: p_y is the sum over candidates of p_z * p_y_given_z."""

    masked: str
    fillings: tuple[Filling, ...]
    candidates: tuple[WeighedChunk, ...]


class Answerer:
    """Answers from one corpus with one model and its index."""

    def __init__(
        self,
        model: Realm,
        encoder: TextEncoder,
        corpus: ChunkStore,
        retriever: Retriever,
        *,
        no_answer: bool = True,
    ) -> None:
        """Takes a model, whose dropout is switched off, and an index of its own embeddings.

        Args:
            model: Towers and reader.
            encoder: The model's towers.
            corpus: The chunks.
            retriever: Over their embeddings.
            no_answer: Whether the reader has learned to say that no chunk holds an answer.
        """
        model.eval()
        self._no_answer = no_answer
        self._model, self._encoder = model, encoder
        self._corpus, self._retriever = corpus, retriever
        self._span_marginal = (
            SpanMarginal(model.span_reader, encoder, corpus)
            if model.span_reader is not None
            else None
        )

    @torch.inference_mode()
    def search(self, texts: Sequence[str], *, k: int) -> list[list[ChunkHit]]:
        """The k best chunks for each text.

        Raises:
            InputError: A text is empty, or ``k`` is less than 1.
        """
        _require_positive(k)
        query_emb = self._embed([self._query_ids(text) for text in texts])
        hits = self._retriever.search(query_emb, k, texts=texts)
        return [
            _hits(self._corpus, scores, rows)
            for scores, rows in zip(hits.scores.tolist(), hits.rows.tolist(), strict=True)
        ]

    @torch.inference_mode()
    def rank(self, texts: Sequence[str], k: int) -> npt.NDArray[np.int64]:
        """Rows ``(texts, k)`` of the k best chunks for each text."""
        query_emb = self._embed([self._query_ids(text) for text in texts])
        return self._retriever.search(query_emb, k, texts=texts).rows.cpu().numpy()

    @torch.inference_mode()
    def ask(self, questions: Sequence[str], *, read: int, top: int = 5) -> list[Answers]:
        """Answers with evidence.

        Args:
            questions: The questions.
            read: Chunks read for each.
            top: Answers returned for each, at most.

        Raises:
            InputError: A question is empty, or ``read`` is less than 1.
        """
        _require_positive(read)
        ids = [self._query_ids(text) for text in questions]
        query_emb = self._embed(ids)
        hits = self._retriever.search(query_emb, read, texts=questions)
        rows = hits.rows.cpu().numpy()
        if self.has_span_reader:
            return self.ask_beside(questions, rows, hits.scores, top=top)
        bodies = [[self._corpus.body_ids(int(row)) for row in line] for line in rows]
        batch = read_batch(self._encoder, ids, bodies, hits.scores.to(query_emb), query_emb)
        spans = CandidateSpans.of(
            seq=batch.joint.token_ids.shape[1],
            max_width=self._model.reader.span_head.max_width,
            device=batch.joint.token_ids.device,
        )
        scores, valid = self._model.reader.span_table(
            batch.joint, batch.relevance, batch.filled, spans
        )
        valid[:, 0] &= self._no_answer
        p_spans = likelihood.log_p_span_jointly(scores.float(), valid).exp().cpu().numpy()
        p_z = torch.softmax(batch.relevance.float(), dim=1).cpu().numpy()
        starts, ends = spans.starts.cpu().numpy(), spans.ends.cpu().numpy()
        return [
            Answers(
                question=question,
                answers=united(
                    p_spans[n].reshape(-1, len(starts))[1:],  # without the null chunk
                    [self._corpus.chunk(int(row)) for row in rows[n]],
                    starts - self._body_start(ids[n]),
                    ends - self._body_start(ids[n]),
                    tokenizer=self._corpus.tokenizer,
                    top=top,
                ),
                no_answer=float(p_spans[n][0]),
                read=self._weighed(rows[n], p_z[n]),
            )
            for n, question in enumerate(questions)
        ]

    @property
    def has_span_reader(self) -> bool:
        """Whether answers are read by start and end scores."""
        return self._span_marginal is not None

    def ask_beside(
        self,
        questions: Sequence[str],
        rows: npt.NDArray[np.int64],
        scores: torch.Tensor,
        *,
        top: int = 5,
    ) -> list[Answers]:
        """Answers out of chunks that somebody has found, by a reader with start and end scores.

        Args:
            questions: The questions.
            rows: ``(questions, k)`` chunks, the best first.
            scores: ``(questions, k)`` of which p(z|x) is the softmax.
            top: Answers returned for each, at most.
        """
        assert self._span_marginal is not None and self._model.span_reader is not None
        log_p_z = torch.log_softmax(scores.float(), dim=1)
        ids = [self._query_ids(text) for text in questions]
        p_z = log_p_z.exp().tolist()
        found = self._span_marginal.read(ids, rows, log_p_z, top=top)
        no_answer = [self._model.span_reader.calibrated(one.p_no_answer) for one in found]
        return [
            Answers(
                question=question,
                answers=one.with_probabilities(nothing)[:top],
                no_answer=nothing,
                read=tuple(
                    WeighedChunk(chunk=chunk, p_z=p)
                    for chunk, p in zip(one.chunks[: one.num_read], line, strict=False)
                ),
            )
            for question, one, nothing, line in zip(questions, found, no_answer, p_z, strict=True)
        ]

    @torch.inference_mode()
    def fill(
        self,
        texts: Sequence[str],
        *,
        k: int,
        top: int = 5,
        also: Sequence[Sequence[str]] | None = None,
    ) -> list[Fillings]:
        """The most probable words for the ``[MASK]``s of each text.

        One mask: p(y|x) = sum over z of p(y|z,x) p(z|x). Several: each filling is a combination
        of likely words, scored as one y; p(y|z,x) is then the product over its tokens.

        Args:
            texts: The texts.
            k: Candidates of each, the null chunk included.
            top: Fillings of each, at most.
            also: For each text, words that are told behind its best fillings however improbable
                they are; those of another number of tokens than the text has masks are left out.

        Raises:
            InputError: A text has no mask, or none within the longest query, or ``k`` (which
                counts the null chunk) is less than 1.
        """
        _require_positive(k)
        queries = [self._masked_query(text) for text in texts]
        asked = embed_masked_queries(queries, self._encoder)
        query_emb, rows = asked.query_emb.float(), retrieved(asked, self._retriever, k - 1)
        candidates = with_bm25(asked, rows, self._retriever)
        batch = masked_batch(queries, candidates, self._corpus, self._encoder.templates)
        batch = batch.to(self._encoder.device)
        chunk_emb = self._model.embedder.embed_chunks(batch.chunks)
        relevance = self._model.relevance(batch, query_emb, chunk_emb)
        log_p_z = likelihood.log_p_z_given_x(relevance, batch.candidate_mask)
        query, slot = batch.joint_slots.unbind(dim=1)
        real = batch.mask_mask[query]
        logits = self._model.reader.masked_logits(batch.joint, batch.mask_positions[query], real)
        # The inputs of a query are together, and each has all of the query's masks.
        sizes = batch.candidate_mask.sum(dim=1) * batch.mask_mask.sum(dim=1)
        found = []
        for n, part in enumerate(torch.split(logits, sizes.tolist())):
            log_p = torch.log_softmax(part.float(), dim=-1).view(
                -1, len(queries[n].positions), part.shape[-1]
            )
            weights = log_p_z[n][slot[query == n]]
            fillings = self._best_fillings(log_p, weights, top)
            fillings += self._fillings_of(also[n] if also else (), log_p, weights, fillings)
            weighed = self._weighed(rows[n], log_p_z[n].exp().cpu().numpy())
            found.append(Fillings(masked=texts[n], fillings=fillings, candidates=weighed))
        return found

    def _best_fillings(
        self, log_p: torch.Tensor, log_p_z: torch.Tensor, top: int
    ) -> tuple[Filling, ...]:
        """Beam search over the masks under the marginal of the whole span (equation 1)."""
        beams = torch.zeros((1, 0), dtype=torch.long, device=log_p.device)
        joint = torch.zeros((1, len(log_p)), device=log_p.device)  # log p(y so far|z,x)
        for mask in range(log_p.shape[1]):
            step = log_p[:, mask, :].T  # (vocab, candidates)
            wide = joint[:, None, :] + step[None, :, :]
            total = torch.logsumexp(wide + log_p_z, dim=-1).flatten()
            best = total.topk(min(max(top, 20), len(total))).indices
            beam, token = best // step.shape[0], best % step.shape[0]
            beams = torch.cat([beams[beam], token[:, None]], dim=1)
            joint = joint[beam] + step[token]
        p_y = torch.logsumexp(joint + log_p_z, dim=-1)
        order = p_y.argsort(descending=True, stable=True)[:top].tolist()
        return tuple(self._filling(beams[n].tolist(), joint[n], log_p_z) for n in order)

    def _fillings_of(
        self,
        words: Sequence[str],
        log_p: torch.Tensor,
        log_p_z: torch.Tensor,
        known: Sequence[Filling],
    ) -> tuple[Filling, ...]:
        """The fillings that certain words make, but for those that are known."""
        masks = torch.arange(log_p.shape[1], device=log_p.device)
        found = []
        for each in words:
            ids = self._corpus.tokenizer.encode(each).ids.tolist()
            if len(ids) == len(masks):
                joint = log_p[:, masks, torch.tensor(ids, device=log_p.device)].sum(dim=1)
                found.append(self._filling(ids, joint, log_p_z))
        tokens = {filling.tokens for filling in known}
        return tuple({f.tokens: f for f in found if f.tokens not in tokens}.values())

    def _filling(self, ids: list[int], joint: torch.Tensor, log_p_z: torch.Tensor) -> Filling:
        """A filling by its log p(y|z,x) ``(candidates,)``."""
        tokenizer = self._corpus.tokenizer
        return Filling(
            tokens=tuple(tokenizer.token(t) for t in ids),
            text=tokenizer.decode(ids),
            p_y=float(torch.logsumexp(joint + log_p_z, dim=-1).exp()),
            p_y_given_z=tuple(joint.exp().tolist()),
        )

    def _weighed(
        self, rows: npt.NDArray[np.int64], p_z: npt.NDArray[np.float32]
    ) -> tuple[WeighedChunk, ...]:
        chunks = [None, *(self._corpus.chunk(int(row)) for row in rows if row >= 0)]
        return tuple(
            WeighedChunk(chunk=chunk, p_z=float(p))
            for chunk, p in zip(chunks, p_z[: len(chunks)], strict=True)
        )

    def _embed(self, ids: Sequence[Ids]) -> torch.Tensor:
        return self._encoder.embed_queries(ids).float()

    def _query_ids(self, text: str) -> Ids:
        ids = self._corpus.tokenizer.encode(text).ids
        if not len(ids):
            raise InputError(_EMPTY)
        return ids

    def _masked_query(self, text: str) -> MaskedQuery:
        ids = self._masked_ids(text)
        positions = np.flatnonzero(ids == self._corpus.tokenizer.mask_id).astype(np.int32)
        if not len(positions):
            raise InputError(f"'{text}' has no {MASK} within the longest query; put one in")
        return MaskedQuery(
            row=-1,
            original_ids=ids,
            masked_ids=ids,
            positions=positions,
            targets=np.zeros(len(positions), dtype=np.int32),
        )

    def _masked_ids(self, text: str) -> Ids:
        """Token ids in which every ``[MASK]`` of the text is the mask token."""
        tokenizer = self._corpus.tokenizer
        parts: list[Ids] = []
        for number, piece in enumerate(text.split(MASK)):
            if number:
                parts.append(np.array([tokenizer.mask_id], dtype=np.int32))
            parts.append(tokenizer.encode(piece).ids)
        return np.concatenate(parts)[: self._encoder.templates.query_tokens - 2]

    def _body_start(self, ids: Ids) -> int:
        """Where a body begins in ``[CLS] x [SEP] body [SEP]``."""
        return min(len(ids), self._encoder.templates.query_tokens - 2) + 2


class WordSearcher:
    """Searches one corpus by words in common alone, where no model fits it."""

    def __init__(self, corpus: ChunkStore, bm25: BM25) -> None:
        """Takes a corpus and BM25 over its chunks."""
        self._corpus, self._bm25 = corpus, bm25

    def search(self, texts: Sequence[str], *, k: int) -> list[list[ChunkHit]]:
        """The k best chunks for each text; fewer where fewer have a word of it.

        Raises:
            InputError: A text is empty, or ``k`` is less than 1.
        """
        _require_positive(k)
        if not all(text.strip() for text in texts):
            raise InputError(_EMPTY)
        every_scores, every_rows = self._bm25.search(texts, k)
        return [
            _hits(self._corpus, scores[scores > 0].tolist(), rows[scores > 0].tolist())
            for scores, rows in zip(every_scores, every_rows, strict=True)
        ]


def _hits(corpus: ChunkStore, scores: Sequence[float], rows: Sequence[int]) -> list[ChunkHit]:
    """What was found for one query, the best first."""
    return [
        ChunkHit(rank=rank, score=score, chunk=corpus.chunk(row))
        for rank, (score, row) in enumerate(zip(scores, rows, strict=True), start=1)
    ]


def _require_positive(k: int) -> None:
    if k < 1:
        raise InputError(f"k = {k} chunks cannot be read; ask for 1 or more")


def make_answerer(
    settings: Settings,
    model: Realm,
    encoder: TextEncoder,
    corpus: ChunkStore,
    retriever: Retriever,
) -> Answerer:
    """What answers as a model was fine-tuned to."""
    return Answerer(
        model,
        encoder,
        corpus,
        retriever,
        no_answer=settings.qa.no_answer,
    )


def answerer_of(loaded: LoadedRun) -> Answerer:
    """What answers with a run that is ready to be asked."""
    return make_answerer(
        loaded.settings, loaded.model, loaded.encoder, loaded.corpus, loaded.live.retriever
    )
