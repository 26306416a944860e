"""What of the retriever a stage trains, and what follows for the vectors of queries and chunks.

Where a tower moves, the model embeds with it itself, with gradients and dropout. Where it stays as
it is, its vectors are known: those of chunks from the index, those of queries from the search.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from torch import Tensor, nn

from openrealm.data.pretraining import MaskedQuery
from openrealm.index.mips import Index
from openrealm.index.snapshot import MappedRows
from openrealm.retrieval.candidates import Candidates, QueryBatch, embed_masked_queries
from openrealm.retrieval.retriever import Origin
from openrealm.retrieval.snapshot_maker import PooledVectors
from openrealm.retrieval.text_encoder import TextEncoder


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
