"""Maximum inner-product search; knows vectors and row numbers only.

Exact search by blocks of matrix products: 13 million vectors of 128 numbers are 3.4 GB in half
precision, so no approximation is needed where every vector changes every few hundred steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Hits:
    """The best rows for each query, best first; equal scores are ordered by row number."""

    scores: Float[Tensor, "batch hits"]
    rows: Int[Tensor, "batch hits"]


@runtime_checkable
class Index(Protocol):
    """What answers maximum inner-product search over a snapshot."""

    def __len__(self) -> int:
        """Number of vectors."""

    def search(self, query_emb: Float[Tensor, "batch dim"], k: int) -> Hits:
        """The ``min(k, len)`` rows of largest inner product for each query."""


class ExactIndex:
    """Search by full matrix products, in blocks of bounded size."""

    def __init__(
        self, chunk_emb: Float[Tensor, "chunks dim"], *, block_rows: int = 1 << 18
    ) -> None:
        """Takes the vectors as they are: their device and dtype are those of the search."""
        self._chunk_emb = chunk_emb
        self._block_rows = block_rows

    def __len__(self) -> int:
        return int(self._chunk_emb.shape[0])

    @property
    def chunk_emb(self) -> Float[Tensor, "chunks dim"]:
        """The vectors searched, for callers that score rows of their own choice."""
        return self._chunk_emb

    def search(self, query_emb: Float[Tensor, "batch dim"], k: int) -> Hits:
        """The ``min(k, len)`` rows of largest inner product for each query."""
        query_emb = query_emb.to(device=self._chunk_emb.device, dtype=self._chunk_emb.dtype)
        found: Hits | None = None
        for start in range(0, len(self) if k > 0 else 0, self._block_rows):
            block = self._chunk_emb[start : start + self._block_rows]
            scores = (query_emb @ block.T).float()
            here = _best(scores, min(k, scores.shape[1]), first_row=start)
            found = here if found is None else merge(found, here, k)
        if found is None:
            empty = query_emb.new_zeros((query_emb.shape[0], 0), dtype=torch.float32)
            return Hits(scores=empty, rows=empty.long())
        return found


def merge(left: Hits, right: Hits, k: int) -> Hits:
    """The best k of two sets of hits over different rows of one corpus."""
    scores = torch.cat([left.scores, right.scores], dim=1)
    rows = torch.cat([left.rows, right.rows], dim=1)
    return _ordered(scores, rows, k)


def _best(scores: Float[Tensor, "batch block"], k: int, *, first_row: int) -> Hits:
    top = torch.topk(scores, k, dim=1)
    # topk takes any of several equal scores at its edge: take those of the lowest rows instead.
    edge = top.values[:, -1:]
    tied = (scores >= edge).sum(dim=1) > k
    rows = top.indices
    if bool(tied.any()):
        rows = rows.clone()
        for query in torch.nonzero(tied).flatten().tolist():
            order = torch.argsort(scores[query], descending=True, stable=True)
            rows[query] = order[:k]
    return _ordered(scores.gather(1, rows), rows + first_row, k)


def _ordered(scores: Float[Tensor, "batch hits"], rows: Int[Tensor, "batch hits"], k: int) -> Hits:
    by_row = torch.argsort(rows, dim=1, stable=True)
    scores, rows = scores.gather(1, by_row), rows.gather(1, by_row)
    order = torch.argsort(scores, dim=1, descending=True, stable=True)[:, :k]
    return Hits(scores=scores.gather(1, order), rows=rows.gather(1, order))
