"""Queries to candidates, by inner product and words in common together: what may be retrieved for a
query, and what would give the answer away; knows nothing of readers or losses, nor how words are
compared.

A masked sentence must not retrieve the chunk that it came from, nor one that overlaps or nearly
repeats it: copying would then explain every mask and teach nothing. Such *trivial* candidates are
passed over in the order of the ranking and the next ones take their place, so that a query still
gets all its candidates (realm/example_generator.py drops the example instead).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor

from openrealm.corpus.store import ChunkStore
from openrealm.index.mips import Hits, Index
from openrealm.settings import RetrievalConfig

Ids = npt.NDArray[np.int32]
NO_CHUNK = -1
_SHINGLE = 3
_LEAST_WANTED = 64
# A chunk is trivial when it shares this part of its token trigrams with the query's own chunk, or
# holds this part of the query sentence's.
NEAR_DUPLICATE = 0.8


@dataclass(frozen=True)
class Origin:
    """Where a query was taken from.

    Attributes:
        row: Row of its chunk in the corpus searched, or `NO_CHUNK` if it is from other texts.
        document_id: Id of its document.
        sentence_ids: Its tokens, unmasked.
        body_ids: Tokens of the chunk around it.
    """

    row: int
    document_id: str
    sentence_ids: Ids
    body_ids: Ids


class Retriever:
    """Finds candidates for queries in a corpus through an index, and through words in common."""

    def __init__(
        self,
        store: ChunkStore,
        index: Index,
        config: RetrievalConfig,
        *,
        lexical: Lexical | None = None,
    ) -> None:
        """Takes a corpus and an index whose rows are its chunks.

        Args:
            store: The corpus.
            index: Its vectors.
            config: What is trivial.
            lexical: Words in common, where they are a part of the relevance score.
        """
        self._store = store
        self.config = config
        self.index = index
        self.lexical = lexical

    def search(
        self, query_emb: Float[Tensor, "batch dim"], k: int, *, texts: Sequence[str]
    ) -> Hits:
        """The ``min(k, chunks)`` chunks of highest relevance score for each query.

        Args:
            query_emb: Vectors of the queries.
            k: Chunks wanted.
            texts: The queries in words.
        """
        if self.lexical is None:
            return self.index.search(query_emb, k)
        return search_both(self.index, query_emb, k, self.lexical, texts)

    def bm25_scores(
        self, texts: Sequence[str], rows: npt.NDArray[np.int64]
    ) -> Float32[np.ndarray, "queries some"] | None:
        """BM25 ``(queries, some)`` of each text with some chunks; None where it does not count.

        Args:
            texts: The queries in words.
            rows: Chunks of each ``(queries, some)``, or the same ones for all ``(some,)``.
        """
        return None if self.lexical is None else self.lexical.scores(texts, rows)

    def candidates(
        self,
        query_emb: Float[Tensor, "batch dim"],
        num_chunks: int,
        *,
        texts: Sequence[str],
        origins: Sequence[Origin] | None = None,
    ) -> npt.NDArray[np.int64]:
        """Rows ``(batch, num_chunks)`` of the best chunks that are not trivial, best first.

        Where the corpus has fewer, the rest of a row is `NO_CHUNK`. The null chunk is not here:
        it is never in an index.

        Args:
            query_emb: Vectors of the queries.
            num_chunks: Chunks wanted.
            texts: The queries in words.
            origins: Where they were taken from; None for queries from elsewhere.
        """

        def ranked(queries: npt.NDArray[np.int64], num_wanted: int) -> npt.NDArray[np.int64]:
            asked = [texts[query] for query in queries]
            hits = self.search(query_emb[queries], num_wanted, texts=asked)
            rows: npt.NDArray[np.int64] = hits.rows.numpy(force=True)
            return rows

        return take_not_trivial(
            ranked,
            self._store,
            self.config,
            num_queries=len(query_emb),
            num_chunks=num_chunks,
            origins=origins,
            any_pending=self.index.any_pending,
        )


def take_not_trivial(
    ranked: Callable[[npt.NDArray[np.int64], int], npt.NDArray[np.int64]],
    store: ChunkStore,
    config: RetrievalConfig,
    *,
    num_queries: int,
    num_chunks: int,
    origins: Sequence[Origin] | None,
    any_pending: Callable[[bool], bool] = bool,
) -> npt.NDArray[np.int64]:
    """The best rows ``(num_queries, num_chunks)`` of a ranking that are not trivial, best first.

    Args:
        ranked: Best rows ``(queries, num_wanted)`` of the queries of the given numbers.
        store: The corpus that the rows are of.
        config: What is trivial.
        num_queries: How many queries there are.
        num_chunks: Rows wanted for each; where the corpus has fewer, the rest is `NO_CHUNK`.
        origins: Where the queries were taken from; None for queries from elsewhere.
        any_pending: Whether a further ranking is needed here or where others rank along.
    """
    num_wanted = num_chunks if origins is None else num_chunks + 8
    best = np.full((num_queries, num_chunks), NO_CHUNK, dtype=np.int64)
    pending = np.arange(num_queries)
    while any_pending(len(pending) > 0):
        num_wanted = min(num_wanted, len(store))
        rows = ranked(pending, num_wanted)
        still = []
        for rows_of_query, query in zip(rows, pending.tolist(), strict=True):
            origin = origins[query] if origins is not None else None
            kept = _not_trivial(rows_of_query, store, origin, config, num_chunks)
            best[query, : len(kept)] = kept
            if len(kept) < num_chunks and num_wanted < len(store):
                still.append(query)
        pending = np.asarray(still, dtype=np.int64)
        num_wanted *= 4
    return best


def _not_trivial(
    rows: npt.NDArray[np.int64],
    store: ChunkStore,
    origin: Origin | None,
    config: RetrievalConfig,
    wanted: int,
) -> list[int]:
    if origin is None or config.exclude == "nothing":
        return [int(row) for row in rows[:wanted]]
    trivial = TrivialTest(store, origin, config)
    kept: list[int] = []
    for row in rows:
        if len(kept) == wanted:
            break
        if not trivial(int(row)):
            kept.append(int(row))
    return kept


class TrivialTest:
    """Tells whether a chunk would give a query's masked words away."""

    def __init__(self, store: ChunkStore, origin: Origin, config: RetrievalConfig) -> None:
        self._store = store
        self._rows = _forbidden_rows(store, origin, config.exclude)
        self._sentence = shingles(origin.sentence_ids)
        self._body = shingles(origin.body_ids)

    def __call__(self, row: int, body: npt.NDArray[np.int64] | None = None) -> bool:
        """Whether the chunk is the query's own, overlaps it, or nearly repeats it.

        Args:
            row: The chunk.
            body: The `shingles` of its body, where they are known.
        """
        if row in self._rows:
            return True
        if body is None:
            body = shingles(self._store.body_ids(row))
        return (
            _overlap(self._sentence, body, of=len(self._sentence)) >= NEAR_DUPLICATE
            or _overlap(self._body, body, of=min(len(self._body), len(body))) >= NEAR_DUPLICATE
        )


def shingles(ids: Ids) -> npt.NDArray[np.int64]:
    """Sorted distinct hashes of a text's token trigrams."""
    if len(ids) < _SHINGLE:
        return np.empty(0, dtype=np.int64)
    ids64 = ids.astype(np.int64)
    # Ids stay below 2**21: three of them fit one integer without collisions.
    return np.unique((ids64[:-2] << 42) | (ids64[1:-1] << 21) | ids64[2:])


def _overlap(left: npt.NDArray[np.int64], right: npt.NDArray[np.int64], *, of: int) -> float:
    if of == 0:
        return 0.0
    return len(np.intersect1d(left, right, assume_unique=True)) / of


def _forbidden_rows(store: ChunkStore, origin: Origin, exclude: str) -> range | tuple[int, ...]:
    if exclude == "document":
        number = store.find_document(origin.document_id)
        return () if number is None else store.rows_of(number)
    if origin.row == NO_CHUNK:
        return ()
    if exclude == "neighbours":
        own = store.rows_of(int(store.document_of[origin.row]))
        return range(max(own.start, origin.row - 1), min(own.stop, origin.row + 2))
    return (origin.row,)


# Words in common ----------------------------------------------------------------------------------

# A chunk scores f(x,z) + w BM25(x,z) with w > 0. Two rankings are merged by Fagin's threshold
# algorithm (Fagin, Lotem and Naor, 2003): whatever stands in neither list scores at most what their
# ends do together, so that the lists are made longer until the best k are above that.


@runtime_checkable
class WordScores(Protocol):
    """What compares a text with all chunks by their words."""

    def scores(self, text: str) -> Float32[np.ndarray, " rows"]:
        """The score of each chunk, none below 0."""


@dataclass(frozen=True)
class Lexical:
    """Words in common, as a part of the relevance score.

    Attributes:
        words: Scores chunks by their words.
        weight: What these scores are multiplied with, as it is when asked; above 0.
    """

    words: WordScores
    weight: Callable[[], float]

    def scores(
        self, texts: Sequence[str], rows: npt.NDArray[np.int64]
    ) -> Float32[np.ndarray, "queries some"]:
        """Scores ``(queries, some)``, without the weight, of some chunks for each text.

        Args:
            texts: The queries.
            rows: Chunks of each ``(queries, some)``, or the same ones for all ``(some,)``.
        """
        if rows.ndim == 1:
            rows = np.broadcast_to(rows, (len(texts), len(rows)))
        scores = [self.words.scores(text)[some] for text, some in zip(texts, rows, strict=True)]
        return np.stack(scores) if scores else np.zeros(rows.shape, dtype=np.float32)


def search_both(
    index: Index,
    query_emb: Float[Tensor, "batch dim"],
    k: int,
    lexical: Lexical,
    texts: Sequence[str],
) -> Hits:
    """The ``min(k, len(index))`` chunks of largest f(x,z) + w BM25(x,z) for each query.

    Where several processes share the index, all call it together, each with queries of its own. An
    index in half precision is exact up to its rounding: its own scores say where a list ends.

    Args:
        index: All chunks' vectors.
        query_emb: Vectors of the queries.
        k: Chunks wanted.
        lexical: Words in common.
        texts: The queries.
    """
    k, weight = min(k, len(index)), lexical.weight()
    scores = query_emb.new_zeros((len(query_emb), k), dtype=torch.float32)
    rows = torch.zeros((len(query_emb), k), dtype=torch.long, device=query_emb.device)
    words = [lexical.words.scores(text) for text in texts]
    pending, num_wanted = list(range(len(query_emb))), max(4 * k, _LEAST_WANTED)
    while index.any_pending(bool(pending and k)):
        num_wanted = min(num_wanted, len(index))
        dense = index.search(query_emb[pending], num_wanted)
        by_words = [best_rows(words[query], num_wanted) for query in pending]
        merged = [
            torch.unique(torch.cat([by_vectors, torch.from_numpy(best)]))
            for by_vectors, best in zip(dense.rows.cpu(), by_words, strict=True)
        ]
        vectors = index.vectors(torch.cat([torch.empty(0, dtype=torch.long), *merged]))
        still = []
        for number, chunk_emb in enumerate(torch.split(vectors, [len(each) for each in merged])):
            query, of_query = pending[number], merged[number]
            by_word = words[query]
            total = chunk_emb @ query_emb[query].to(chunk_emb)
            total = total + weight * torch.from_numpy(by_word[of_query.numpy()]).to(total)
            # Rows are ascending: of equal scores the lower one comes first.
            order = torch.argsort(total, descending=True, stable=True)[:k]
            scores[query], rows[query] = total[order].to(scores), of_query.to(rows)[order.to(rows)]
            bound = float(dense.scores[number, -1]) + weight * float(by_word[by_words[number][-1]])
            if num_wanted < len(index) and float(scores[query, -1]) <= bound:
                still.append(query)
        pending, num_wanted = still, 4 * num_wanted
    return Hits(scores=scores, rows=rows)


def best_rows(scores: Float32[np.ndarray, " rows"], k: int) -> Int64[np.ndarray, " k"]:
    """The k rows of the highest scores, of equal ones the lowest rows, in that order."""
    least = np.partition(scores, len(scores) - k)[len(scores) - k]
    above = np.flatnonzero(scores > least)
    level = np.flatnonzero(scores == least)[: k - len(above)]
    chosen = np.concatenate([above, level])
    order = np.lexsort((chosen, -scores[chosen]))
    return chosen[order].astype(np.int64)
