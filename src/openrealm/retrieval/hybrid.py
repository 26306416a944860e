"""The best chunks by inner product and words in common together, exactly; knows neither models nor
how words are compared.

A chunk scores f(x,z) + w BM25(x,z) with w > 0. Two rankings are merged by Fagin's threshold
algorithm (Fagin, Lotem and Naor, 2003): whatever stands in neither list scores at most what their
ends do together, so that the lists are made longer until the best k are above that.
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

from openrealm.index.mips import Hits, Index

_LEAST_WIDE = 64


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
        found = [self.words.scores(text)[line] for text, line in zip(texts, rows, strict=True)]
        return np.stack(found) if found else np.zeros(rows.shape, dtype=np.float32)


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
    waiting, wide = list(range(len(query_emb))), max(4 * k, _LEAST_WIDE)
    while index.any_pending(bool(waiting and k)):
        wide = min(wide, len(index))
        dense = index.search(query_emb[waiting], wide)
        ends = [best_rows(words[query], wide) for query in waiting]
        both = [
            torch.unique(torch.cat([line, torch.from_numpy(end)]))
            for line, end in zip(dense.rows.cpu(), ends, strict=True)
        ]
        vectors = index.vectors(torch.cat([torch.empty(0, dtype=torch.long), *both]))
        still = []
        for place, of_query in enumerate(torch.split(vectors, [len(line) for line in both])):
            query, line = waiting[place], both[place]
            every = words[query]
            found = of_query @ query_emb[query].to(of_query)
            found = found + weight * torch.from_numpy(every[line.numpy()]).to(found)
            # Rows are ascending: of equal scores the lower one comes first.
            order = torch.argsort(found, descending=True, stable=True)[:k]
            scores[query], rows[query] = found[order].to(scores), line.to(rows)[order.to(rows)]
            bound = float(dense.scores[place, -1]) + weight * float(every[ends[place][-1]])
            if wide < len(index) and float(scores[query, -1]) <= bound:
                still.append(query)
        waiting, wide = still, 4 * wide
    return Hits(scores=scores, rows=rows)


def best_rows(scores: Float32[np.ndarray, " rows"], k: int) -> Int64[np.ndarray, " k"]:
    """The k rows of the highest scores, of equal ones the lowest rows, in that order."""
    least = np.partition(scores, len(scores) - k)[len(scores) - k]
    above = np.flatnonzero(scores > least)
    level = np.flatnonzero(scores == least)[: k - len(above)]
    chosen = np.concatenate([above, level])
    order = np.lexsort((chosen, -scores[chosen]))
    return chosen[order].astype(np.int64)
