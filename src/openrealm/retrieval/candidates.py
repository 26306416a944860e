"""Queries to the chunks that are read with them: sources that compose; knows no loss and no model.

A source proposes rows of the corpus for a batch of queries: the index, words in common, or both.
`with_bm25` and `in_batch_negatives` add what else p(z|x) takes of the batch's chunks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
from jaxtyping import Float
from torch import Tensor

from openrealm.corpus.store import ChunkStore
from openrealm.data.matching import holds
from openrealm.data.pretraining import MaskedQuery
from openrealm.retrieval.embedding import TextEncoder
from openrealm.retrieval.lexical import LexicalRetriever
from openrealm.retrieval.retriever import (
    NO_CHUNK,
    Origin,
    Retriever,
    TrivialTest,
    shingles,
)
from openrealm.settings import RetrievalConfig
from openrealm.tokenizer import WordPiece

Ids = npt.NDArray[np.int32]
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class QueryBatch:
    """Masked queries with all that retrieval needs of them.

    Attributes:
        queries: The masked sentences: x.
        query_emb: Their vectors ``(batch, dim)``.
        tokenizer: Of their ids.
        origins: Where they were taken from; None for queries from elsewhere.
    """

    queries: Sequence[MaskedQuery]
    query_emb: Float[Tensor, "batch dim"]
    tokenizer: WordPiece
    origins: Sequence[Origin] | None = None

    @cached_property
    def texts(self) -> list[str]:
        """The queries in words, as far as these are not masked out."""
        return query_texts(self.queries, self.tokenizer)

    def __len__(self) -> int:
        """Number of queries."""
        return len(self.queries)


def embed_masked_queries(
    queries: Sequence[MaskedQuery],
    encoder: TextEncoder,
    *,
    origins: Sequence[Origin] | None = None,
) -> QueryBatch:
    """Queries, embedded by the present query tower without its dropout."""
    return QueryBatch(
        queries=queries,
        query_emb=encoder.embed_queries([query.masked_ids for query in queries]),
        tokenizer=encoder.tokenizer,
        origins=origins,
    )


def query_texts(queries: Sequence[MaskedQuery], tokenizer: WordPiece) -> list[str]:
    """Masked queries in words, as far as these are not masked out."""
    return [tokenizer.decode(q.masked_ids[q.masked_ids != tokenizer.mask_id]) for q in queries]


def origins_of(
    queries: Sequence[MaskedQuery], texts: ChunkStore, corpus: ChunkStore
) -> list[Origin]:
    """Where queries were taken from, so that trivial candidates can be told.

    Args:
        queries: Masked sentences of the training texts.
        texts: The training texts.
        corpus: What is searched; may be the same object.
    """
    return [origin_of(texts, corpus, query.row, query.original_ids) for query in queries]


def origin_of(texts: ChunkStore, corpus: ChunkStore, row: int, sentence_ids: Ids) -> Origin:
    """Where a sentence of a chunk of the training texts stands."""
    return Origin(
        row=row if texts is corpus else NO_CHUNK,
        document_id=texts.document(int(texts.document_of[row])).id,
        sentence_ids=sentence_ids,
        body_ids=texts.body_ids(row),
    )


@dataclass(frozen=True)
class Candidates:
    """The chunks of a batch of queries.

    Attributes:
        rows: Chunks ``(batch, chunks)`` that each query is read with, best first, `NO_CHUNK` in
            empty slots. The null chunk is not here: it is in every batch.
        bm25: Words in common of each query with the batch's distinct chunks
            ``(batch, distinct)``; None where they do not count.
        in_batch_negatives: Which of the distinct chunks ``(batch, distinct)`` take part in p(z|x)
            without being read; None: none.
    """

    rows: Rows
    bm25: npt.NDArray[np.float32] | None = None
    in_batch_negatives: npt.NDArray[np.bool_] | None = None

    @cached_property
    def distinct(self) -> Rows:
        """The chunks of the batch, each once, in order of rows."""
        return np.unique(self.rows[self.rows != NO_CHUNK])


@runtime_checkable
class CandidateSource(Protocol):
    """Who proposes chunks for queries."""

    def __call__(self, batch: QueryBatch, retriever: Retriever) -> Rows:
        """Rows ``(batch, chunks)``, best first, none of them trivial; `NO_CHUNK` in empty slots.

        Args:
            batch: The queries.
            retriever: Over the live index.
        """


@dataclass(frozen=True)
class FromIndex:
    """The chunks of highest relevance score, by the vectors of the index.

    Attributes:
        num_chunks: How many for each query.
    """

    num_chunks: int

    def __call__(self, batch: QueryBatch, retriever: Retriever) -> Rows:
        """The top of the index."""
        return retrieved(batch, retriever, self.num_chunks)


@dataclass(frozen=True)
class FromBM25:
    """The chunks with most words in common, whatever the vectors are.

    Attributes:
        lexical: What ranks by words.
        num_chunks: How many for each query.
    """

    lexical: LexicalRetriever
    num_chunks: int

    def __call__(self, batch: QueryBatch, retriever: Retriever) -> Rows:
        """The top of BM25."""
        assert batch.origins is not None
        return self.lexical.candidates(batch.texts, self.num_chunks, origins=batch.origins)


@dataclass(frozen=True)
class WithBM25:
    """Chunks of one source, the last few by words in common instead.

    Attributes:
        first: The source.
        lexical: The other.
        num_last: How many of its chunks take the place of the first's last ones.
    """

    first: CandidateSource
    lexical: FromBM25
    num_last: int

    def __call__(self, batch: QueryBatch, retriever: Retriever) -> Rows:
        """Both, each chunk once."""
        rows = self.first(batch, retriever)
        return interleave(rows, self.lexical(batch, retriever), num_last=self.num_last)


def interleave(first: Rows, second: Rows, *, num_last: int) -> Rows:
    """Rows ``(batch, k)`` of the first ranking, the last ``num_last`` of them by the second.

    A row stands once: what the second would repeat is passed over, and what it cannot fill stays.
    """
    mixed = first.copy()
    num_first = max(first.shape[1] - num_last, 0)
    for line, others in zip(mixed, second, strict=True):
        head = line[:num_first]
        new = others[(others != NO_CHUNK) & ~np.isin(others, head)]
        rest = np.concatenate([new[:num_last], line[num_first:]])
        rest = rest[rest != NO_CHUNK]
        _, at = np.unique(rest, return_index=True)
        tail = rest[np.sort(at)][: len(line) - num_first]
        line[num_first:] = NO_CHUNK
        line[num_first : num_first + len(tail)] = tail
    return mixed


def retrieved(batch: QueryBatch, retriever: Retriever, num_chunks: int) -> Rows:
    """Rows ``(batch, num_chunks)`` of highest relevance score that are not trivial."""
    return retriever.candidates(
        batch.query_emb.detach().float(),
        num_chunks,
        # Only looked at where words in common count.
        texts=batch.texts if retriever.lexical is not None else [""] * len(batch),
        origins=batch.origins,
    )


def with_bm25(batch: QueryBatch, rows: Rows, retriever: Retriever) -> Candidates:
    """Candidates out of rows, with words in common where the relevance score has them."""
    if retriever.lexical is None:
        return Candidates(rows)
    distinct = Candidates(rows).distinct
    return Candidates(rows, bm25=retriever.lexical.scores(batch.texts, distinct))


def in_batch_negatives(
    batch: QueryBatch, rows: Rows, corpus: ChunkStore, rule: RetrievalConfig
) -> npt.NDArray[np.bool_]:
    """Which distinct chunks of a batch ``(batch, distinct)`` are others' and seem not to help.

    Top-k candidates alone leave the retriever free to score everything else as high as it likes:
    it learns to prefer chunks that suit any query. Chunks that the batch's other queries retrieved
    stand for the rest of the corpus. Left out are the query's own candidates, chunks that are
    trivial for it, and chunks that hold the words masked out, which might well help.

    Args:
        batch: The masked queries.
        rows: Chunks ``(batch, chunks)`` that each of them reads.
        corpus: The chunks.
        rule: What is trivial.
    """
    assert batch.origins is not None
    distinct = Candidates(rows).distinct
    bodies = [corpus.body_ids(int(row)) for row in distinct]
    tokens = [set(body.tolist()) for body in bodies]
    trigrams = [shingles(body) for body in bodies]
    negatives = np.zeros((len(batch), len(distinct)), dtype=np.bool_)
    for line, query, own, origin in zip(negatives, batch.queries, rows, batch.origins, strict=True):
        trivial, wanted = TrivialTest(corpus, origin, rule), set(query.targets.tolist())
        for n in np.flatnonzero(~np.isin(distinct, own)).tolist():
            # The tokens in any order first: most chunks lack one.
            supports = wanted <= tokens[n] and holds(bodies[n], query.targets, corpus)
            line[n] = not (supports or trivial(int(distinct[n]), trigrams[n]))
    return negatives
