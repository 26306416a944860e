"""Which chunks the masked queries of a step are read with, beyond what the index finds: the same in
the order of the present tower, and chunks with words in common; knows no loss.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from openrealm.data.pretraining import MaskedQuery
from openrealm.retrieval.batches import origins, query_texts
from openrealm.retrieval.embedding import embed_rows
from openrealm.retrieval.lexical import LexicalRetriever
from openrealm.retrieval.retriever import NO_CHUNK, Origin
from openrealm.training.stage import Ingredients
from openrealm.training.write_back import ChunkVectors


def where_from(parts: Ingredients, queries: Sequence[MaskedQuery]) -> list[Origin]:
    """Where a step's queries were taken from, so that what gives them away is passed over."""
    return origins(queries, parts.texts, texts_are_corpus=parts.texts is parts.corpus)


def embedded_anew(parts: Ingredients, rows: npt.NDArray[np.int64]) -> ChunkVectors:
    """Vectors of some chunks by the present chunk tower, without dropout."""
    vectors = embed_rows(
        parts.corpus, rows, parts.model.embedder, parts.templates, autocast=parts.autocast
    )
    return ChunkVectors(rows, torch.from_numpy(vectors))


def rerank(
    query_emb: Tensor, found: npt.NDArray[np.int64], present: ChunkVectors, num_chunks: int
) -> npt.NDArray[np.int64]:
    """The best rows ``(batch, num_chunks)`` of those found, as the present chunk tower sees them.

    Args:
        query_emb: Present vectors ``(batch, dim)`` of the queries.
        found: Rows ``(batch, wide)`` out of an index of older vectors; empty slots stay last.
        present: Present vectors of the distinct rows found, in order.
        num_chunks: Rows to keep.
    """
    if not len(present.rows):  # nothing that is not trivial
        return found[:, :num_chunks]
    place = np.searchsorted(present.rows, found).clip(max=len(present.rows) - 1)
    scores = (query_emb @ present.vectors.to(query_emb).T).cpu().numpy()
    scores = np.take_along_axis(scores, place, axis=1)
    order = np.argsort(-np.where(found == NO_CHUNK, -np.inf, scores), axis=1, kind="stable")
    return np.take_along_axis(found, order[:, :num_chunks], axis=1)


def by_words(
    parts: Ingredients,
    lexical: LexicalRetriever,
    queries: Sequence[MaskedQuery],
    where: Sequence[Origin],
    num_chunks: int,
    words: str,
) -> npt.NDArray[np.int64]:
    """Candidates ``(batch, num_chunks)`` by words in common, with the masked sentence or all of it.

    Args:
        parts: The texts.
        lexical: What ranks by words.
        queries: The queries.
        where: Where they were taken from.
        num_chunks: Candidates of each.
        words: ``unmasked`` looks up the words that are masked out too.
    """
    tokenizer = parts.texts.tokenizer
    if words == "unmasked":
        texts = [tokenizer.decode(query.original_ids) for query in queries]
    else:
        texts = query_texts(queries, tokenizer)
    return lexical.candidates(texts, num_chunks, origins=where)


def interleave(
    first: npt.NDArray[np.int64], second: npt.NDArray[np.int64], *, num_last: int
) -> npt.NDArray[np.int64]:
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
