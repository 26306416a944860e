"""The objectives over retrieved chunks: reader warm-up and REALM's joint objective; knows nothing
of the loop around them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from torch import Tensor, nn

from openrealm.data.pretraining import MaskedQueries, MaskedQuery
from openrealm.index.mips import Index
from openrealm.index.snapshot import MappedRows
from openrealm.models import likelihood
from openrealm.models.realm import MaskedBatch, MaskedOutput
from openrealm.retrieval.batches import masked_batch
from openrealm.retrieval.candidates import (
    Candidates,
    CandidateSource,
    FromBM25,
    FromIndex,
    QueryBatch,
    WithBM25,
    embed_masked_queries,
    in_batch_negatives,
    origins_of,
    with_bm25,
)
from openrealm.retrieval.embedding import TextEncoder
from openrealm.retrieval.lexical import LexicalRetriever
from openrealm.retrieval.live_index import LiveIndex, PooledVectors
from openrealm.retrieval.retriever import Origin
from openrealm.settings import JointConfig, WarmupConfig
from openrealm.training.alarms import Alarm, CollapseAlarm, NoAlarm
from openrealm.training.stage import IndexUse, Ingredients, Mean, StepResult
from openrealm.training.write_back import ChunkVectors


class JointStage:
    """REALM: -log sum_z p(y|z,x) p(z|x) over the null chunk and the top of the index."""

    name = "realm"

    def __init__(
        self,
        parts: Ingredients,
        config: JointConfig,
        queries: MaskedQueries,
        *,
        retriever: TrainedRetriever,
        source: CandidateSource,
    ) -> None:
        """Takes what is shared, the masked queries, what moves, and who proposes candidates."""
        self._parts, self._config, self._queries = parts, config, queries
        self._retriever, self._source = retriever, source
        self.steps, self.batch_size = config.steps, config.batch_size
        moves = retriever.moves_chunks and config.lr_retriever > 0
        self.index_use = IndexUse.MOVING if moves else IndexUse.FIXED

    def trained(self) -> Sequence[tuple[nn.Module, float]]:
        """Reader and towers, at rates of their own."""
        model, config = self._parts.model, self._config
        rates: list[tuple[nn.Module, float]] = [
            *((part, config.lr) for part in model.reader.mlm_parts),
            *((part, config.lr_retriever) for part in self._retriever.modules()),
        ]
        if model.lexical is not None:
            rates.append((model.lexical, config.lr_lexical))
        return [(part, lr) for part, lr in rates if lr]

    def alarm(self) -> Alarm:
        """Training may drive the answers out of what is retrieved."""
        return CollapseAlarm()

    def step(self, step: int, live: LiveIndex | None) -> StepResult:
        """Retrieve, read, marginalise: equation 1, as `realm.marginal` has it."""
        assert live is not None
        parts, config, started = self._parts, self._config, time.perf_counter()
        queries = parts.local(self._queries.batch(step, self.batch_size))  # x
        batch = self._retriever.embed(queries, origins_of(queries, parts.texts, parts.corpus))
        candidates = self._candidates(batch, live)  # the top k of f(x,z)
        retrieval_s = time.perf_counter() - started
        known = self._retriever.known(batch, candidates, live.index)
        masked = masked_batch(
            queries,
            candidates,
            parts.corpus,
            parts.encoder.templates,
            null_chunk=config.null_chunk,
        ).to(parts.device)
        with parts.encoder.precision():  # p(z|x), p(y|z,x) and their marginal
            output = parts.model(masked, query_emb=known.query_emb, chunk_emb=known.chunk_emb)
        metrics = retrieval_metrics(masked, output, prefix=self.name)
        if (weight := parts.model.lexical) is not None:
            metrics["realm/lexical_weight"] = Mean(weight.value)
        embedded = None
        if self._retriever.moves_chunks:  # row 0 is the null chunk
            embedded = ChunkVectors(candidates.distinct, output.chunk_emb.detach()[1:])
        return StepResult(
            loss=MARGINAL_LOSSES[config.marginal](masked, output),
            weight=int(masked.mask_mask.sum()),
            metrics=metrics,
            num_tokens=num_tokens(masked, embeds_chunks=known.chunk_emb is None),
            num_examples=len(queries),
            retrieval_s=retrieval_s,
            embedded=embedded,
        )

    def _candidates(self, batch: QueryBatch, live: LiveIndex) -> Candidates:
        rows, retriever = self._source(batch, live.retriever), live.retriever
        candidates = with_bm25(batch, rows, retriever)
        if not self._config.in_batch_negatives:
            return candidates
        negatives = in_batch_negatives(batch, rows, self._parts.corpus, retriever.config)
        return Candidates(rows, bm25=candidates.bm25, in_batch_negatives=negatives)


class WarmupStage:
    """The joint loss with the retriever frozen and the query's own chunk sometimes allowed.

    Without it, a reader that cannot use chunks yet sends the retriever noise, and learns to ignore
    what it is given before the retriever can find anything.
    """

    name = "warmup"
    index_use = IndexUse.FIXED

    def __init__(
        self,
        parts: Ingredients,
        config: WarmupConfig,
        queries: MaskedQueries,
        *,
        source: CandidateSource,
    ) -> None:
        """Takes what is shared, the masked queries, and who proposes candidates."""
        self._parts, self._config, self._queries = parts, config, queries
        self._retriever, self._source = FrozenRetriever(parts.encoder), source
        self.steps, self.batch_size = config.steps, config.batch_size

    def trained(self) -> Sequence[tuple[nn.Module, float]]:
        """The reader alone."""
        return [(part, self._config.lr) for part in self._parts.model.reader.mlm_parts]

    def alarm(self) -> Alarm:
        """The retriever cannot lose what it has."""
        return NoAlarm()

    def step(self, step: int, live: LiveIndex | None) -> StepResult:
        """Marginal likelihood over the null chunk, retrieved chunks and, at times, the own one."""
        assert live is not None
        parts, started = self._parts, time.perf_counter()
        queries = parts.local(self._queries.batch(step, self.batch_size))
        batch = self._retriever.embed(queries, origins_of(queries, parts.texts, parts.corpus))
        rows = self._source(batch, live.retriever)
        retrieval_s = time.perf_counter() - started
        candidates = with_bm25(batch, self._with_own(rows, queries, step), live.retriever)
        known = self._retriever.known(batch, candidates, live.index)
        masked = masked_batch(queries, candidates, parts.corpus, parts.encoder.templates)
        masked = masked.to(parts.device)
        with parts.encoder.precision():
            output = parts.model(masked, query_emb=known.query_emb, chunk_emb=known.chunk_emb)
        return StepResult(
            loss=per_token(masked, output),
            weight=int(masked.mask_mask.sum()),
            metrics=retrieval_metrics(masked, output, prefix=self.name),
            num_tokens=num_tokens(masked, embeds_chunks=False),
            num_examples=len(queries),
            retrieval_s=retrieval_s,
        )

    def _with_own(
        self, rows: npt.NDArray[np.int64], queries: Sequence[MaskedQuery], step: int
    ) -> npt.NDArray[np.int64]:
        """The last candidate replaced by the query's own chunk, with the set probability."""
        parts, size = self._parts, self.batch_size
        if parts.texts is not parts.corpus:
            return rows
        draw = np.random.default_rng((parts.seed, 5, step)).random(size)
        for line, query, drawn in zip(rows, queries, parts.local(draw.tolist()), strict=True):
            # One that was retrieved (nothing is excluded) stands once.
            if drawn < self._config.own_chunk and query.row not in line:
                line[-1] = query.row
        return rows


# What of the retriever a stage trains ------------------------------------------------------------
#
# Where a tower moves, the model embeds with it itself, with gradients and dropout. Where it stays
# as it is, its vectors are known: those of chunks from the index, those of queries from the search.


@dataclass(frozen=True)
class KnownVectors:
    """Vectors that the model need not make; None where it has to.

    Attributes:
        query_emb: Of the batch's queries.
        chunk_emb: Of the null chunk and the batch's distinct chunks, in this order.
    """

    query_emb: Float[Tensor, "batch dim"] | None
    chunk_emb: Float[Tensor, "rows dim"] | None


@runtime_checkable
class TrainedRetriever(Protocol):
    """Which part of the retriever moves.

    Attributes:
        moves_chunks: Whether chunk vectors do, so that the index goes stale.
    """

    moves_chunks: bool

    def modules(self) -> Sequence[nn.Module]:
        """What is trained."""

    def embed(self, queries: Sequence[MaskedQuery], origins: Sequence[Origin]) -> QueryBatch:
        """Queries with the vectors that their candidates are searched with."""

    def known(self, batch: QueryBatch, candidates: Candidates, index: Index) -> KnownVectors:
        """The vectors of a step that need not be made by the model."""


@dataclass(frozen=True)
class BothTowers:
    """Queries and chunks move; the paper's way."""

    encoder: TextEncoder
    moves_chunks = True

    def modules(self) -> Sequence[nn.Module]:
        """The whole embedder."""
        return (self.encoder.embedder,)

    def embed(self, queries: Sequence[MaskedQuery], origins: Sequence[Origin]) -> QueryBatch:
        """Without gradient: the model embeds them again."""
        with torch.no_grad():
            return embed_masked_queries(queries, self.encoder, origins=origins)

    def known(self, batch: QueryBatch, candidates: Candidates, index: Index) -> KnownVectors:
        """None: a BERT that moves has dropout and gradients, and is run anew."""
        return KnownVectors(query_emb=None, chunk_emb=None)


@dataclass(frozen=True)
class QueryTower:
    """The query tower alone moves, which leaves the chunk embeddings as they are."""

    encoder: TextEncoder
    moves_chunks = False

    def modules(self) -> Sequence[nn.Module]:
        """The query tower, which is one of its own."""
        return (self.encoder.embedder.query_tower,)

    def embed(self, queries: Sequence[MaskedQuery], origins: Sequence[Origin]) -> QueryBatch:
        """Without gradient: the model embeds them again."""
        with torch.no_grad():
            return embed_masked_queries(queries, self.encoder, origins=origins)

    def known(self, batch: QueryBatch, candidates: Candidates, index: Index) -> KnownVectors:
        """The chunks', out of the index."""
        chunk_emb = indexed_vectors(self.encoder, candidates, index)
        return KnownVectors(query_emb=None, chunk_emb=chunk_emb)


@dataclass
class Projections:
    """What stands above BERT moves: a corpus is embedded anew by one matrix product.

    Attributes:
        encoder: The towers.
        pooled: What BERT makes of every chunk.
    """

    encoder: TextEncoder
    pooled: PooledVectors
    moves_chunks = True
    _rows: MappedRows | None = field(default=None, init=False)

    def modules(self) -> Sequence[nn.Module]:
        """The projections of the towers."""
        towers = self.encoder.embedder.towers
        return [part for tower in towers for part in tower.projections]

    def embed(self, queries: Sequence[MaskedQuery], origins: Sequence[Origin]) -> QueryBatch:
        """With gradient: these vectors are the model's too."""
        return embed_masked_queries(queries, self.encoder, origins=origins)

    def known(self, batch: QueryBatch, candidates: Candidates, index: Index) -> KnownVectors:
        """Both: what is under the projection does not move."""
        return KnownVectors(batch.query_emb, self._projected(candidates.distinct))

    def _projected(self, rows: npt.NDArray[np.int64]) -> Float[Tensor, "rows dim"]:
        """Vectors of the null chunk and some chunks by the present projection, with gradient."""
        if self._rows is None:  # no step of a stage moves what they are made by
            self._rows = self.pooled.now()
        tower = self.encoder.embedder.chunk_tower
        with torch.no_grad():
            null = tower.pool(self.encoder.null_chunk()).float()
        of_chunks = torch.from_numpy(self._rows[rows]).to(null)
        vectors: Tensor = tower.project(torch.cat([null, of_chunks]))
        return vectors


@dataclass(frozen=True)
class FrozenRetriever:
    """Nothing moves: the reader learns alone."""

    encoder: TextEncoder
    moves_chunks = False

    def modules(self) -> Sequence[nn.Module]:
        """Nothing."""
        return ()

    def embed(self, queries: Sequence[MaskedQuery], origins: Sequence[Origin]) -> QueryBatch:
        """Without gradient."""
        with torch.no_grad():
            return embed_masked_queries(queries, self.encoder, origins=origins)

    def known(self, batch: QueryBatch, candidates: Candidates, index: Index) -> KnownVectors:
        """Both."""
        return KnownVectors(batch.query_emb, indexed_vectors(self.encoder, candidates, index))


def indexed_vectors(
    encoder: TextEncoder, candidates: Candidates, index: Index
) -> Float[Tensor, "rows dim"]:
    """The null chunk's vector, and those of the distinct candidates out of the index."""
    with torch.no_grad(), encoder.precision():
        null_emb = encoder.embedder.embed_chunks(encoder.null_chunk()).float()
    vectors = index.vectors(torch.from_numpy(candidates.distinct)).to(null_emb)
    return torch.cat([null_emb, vectors])


def trained_retriever(
    towers: str, encoder: TextEncoder, pooled: PooledVectors | None
) -> TrainedRetriever:
    """The part that the setting ``realm.towers`` names.

    Args:
        towers: ``both``, ``query`` or ``projection``.
        encoder: The towers.
        pooled: What is under the projection, where that alone moves.
    """
    if towers == "query":
        return QueryTower(encoder)
    if towers == "projection":
        assert pooled is not None
        return Projections(encoder, pooled)
    return BothTowers(encoder)


# Who proposes candidates, and what a step tells ---------------------------------------------------


def warmup_source(k: int, *, lexical: LexicalRetriever | None) -> CandidateSource:
    """Who proposes candidates in the warm-up: the index, or words in common in its place.

    Args:
        k: Candidates, the null chunk included.
        lexical: What ranks by words; None where the index proposes.
    """
    return FromIndex(k - 1) if lexical is None else FromBM25(lexical, k - 1)


def joint_source(k: int, *, num_lexical: int, lexical: LexicalRetriever | None) -> CandidateSource:
    """Who proposes candidates in joint training.

    Args:
        k: Candidates, the null chunk included.
        num_lexical: How many of them by words in common.
        lexical: What ranks by words; None where it proposes none.
    """
    index = FromIndex(k - 1)
    if lexical is None:
        return index
    return WithBM25(index, FromBM25(lexical, k - 1), num_last=num_lexical)


def per_token(batch: MaskedBatch, output: MaskedOutput) -> Float[Tensor, ""]:
    """-log p(y_j|x), the marginal of each masked token by itself  (realm/model.py)."""
    return likelihood.per_token_loss(output.log_p_y, batch.mask_mask)


def per_span(batch: MaskedBatch, output: MaskedOutput) -> Float[Tensor, ""]:
    """-log p(y|x), the marginal of the span as a whole  (equation 1)."""
    log_p_span = likelihood.marginal_per_span(
        output.log_p_z, output.log_p_y_given_z, batch.mask_mask
    )
    return likelihood.per_span_loss(log_p_span, batch.mask_mask)


MARGINAL_LOSSES: dict[str, Callable[[MaskedBatch, MaskedOutput], Float[Tensor, ""]]] = {
    "token": per_token,
    "span": per_span,
}


@torch.no_grad()
def retrieval_metrics(batch: MaskedBatch, output: MaskedOutput, *, prefix: str) -> dict[str, Mean]:
    """What a step says of p(z|x): the null chunk's part, its entropy, what retrieval is worth."""
    metrics = {
        f"{prefix}/p_null": Mean.of(output.log_p_z[:, 0].exp()),
        f"{prefix}/entropy": Mean.of(likelihood.entropy(output.log_p_z)),
    }
    if batch.in_batch_negatives is not None:
        metrics[f"{prefix}/p_in_batch_negatives"] = Mean.of(output.log_p_z[:, -1].exp())
    # Without the null chunk (an ablation) there is nothing that retrieval could be better than.
    if bool(batch.candidate_mask[:, 0].all()):
        utility = likelihood.retrieval_utility(output.log_p_y, output.log_p_y_given_z)
        metrics[f"{prefix}/utility"] = Mean.of(utility[batch.mask_mask])
    return metrics


def num_tokens(batch: MaskedBatch, *, embeds_chunks: bool) -> int:
    """Tokens that went through an encoder, those of the chunks where they were embedded."""
    tokens = batch.query.lengths.sum() + batch.joint.lengths.sum()
    if embeds_chunks:
        tokens += batch.chunks.lengths.sum()
    return int(tokens)
