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

from openrealm.processes import Processes


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

    def vectors(self, rows: Int[Tensor, "*batch"]) -> Float[Tensor, "*batch dim"]:
        """Vectors of some rows, in float32."""

    def any_pending(self, asks: bool) -> bool:
        """Whether this process, or another that shares the index, has a search to make."""

    @property
    def local(self) -> ExactIndex:
        """What this process holds of the vectors."""

    @property
    def local_rows(self) -> range:
        """The rows of that part."""


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
        """The vectors searched, as they are kept."""
        return self._chunk_emb

    def vectors(self, rows: Int[Tensor, "*batch"]) -> Float[Tensor, "*batch dim"]:
        """Vectors of some rows, in float32."""
        return self._chunk_emb[rows.to(self._chunk_emb.device)].float()

    def any_pending(self, asks: bool) -> bool:
        """Whether this process has a search to make: nobody shares the index."""
        return asks

    @property
    def local(self) -> ExactIndex:
        """All of it."""
        return self

    @property
    def local_rows(self) -> range:
        """All rows."""
        return range(len(self))

    def write(self, rows: Int[Tensor, " rows"], vectors: Float[Tensor, "rows dim"]) -> None:
        """Puts vectors in the place of those of some rows, in the memory that was given.

        They are cast to the precision in which vectors are kept. No row stands twice: which of its
        vectors would stay, is not said.
        """
        kept = self._chunk_emb
        # Rows come from main memory: nothing has to wait for what the GPU is at.
        at = rows.to(kept.device, non_blocking=True)
        kept[at] = vectors.to(device=kept.device, dtype=kept.dtype)

    def search(self, query_emb: Float[Tensor, "batch dim"], k: int) -> Hits:
        """The ``min(k, len)`` rows of largest inner product for each query."""
        query_emb = query_emb.to(device=self._chunk_emb.device, dtype=self._chunk_emb.dtype)
        best: Hits | None = None
        for start in range(0, len(self) if k > 0 else 0, self._block_rows):
            block = self._chunk_emb[start : start + self._block_rows]
            scores = (query_emb @ block.T).float()
            here = _best(scores, min(k, scores.shape[1]), first_row=start)
            best = here if best is None else merge(best, here, k)
        if best is None:
            empty = query_emb.new_zeros((query_emb.shape[0], 0), dtype=torch.float32)
            return Hits(scores=empty, rows=empty.long())
        return best


def merge(left: Hits, right: Hits, k: int) -> Hits:
    """The best k of two sets of hits over different rows of one corpus."""
    scores = torch.cat([left.scores, right.scores], dim=1)
    rows = torch.cat([left.rows, right.rows], dim=1)
    return _ordered(scores, rows, k)


def _best(scores: Float[Tensor, "batch block"], k: int, *, first_row: int) -> Hits:
    # topk takes any of several equal scores at its edge: take those of the lowest rows instead. One
    # more than wanted tells where; counting all that reach the edge took as long as the products.
    top = torch.topk(scores, min(k + 1, scores.shape[1]), dim=1)
    values, rows = top.values[:, :k], top.indices[:, :k]
    tied = (top.values[:, k:] == values[:, -1:]).any(dim=1)
    if bool(tied.any()):
        rows = rows.clone()
        # A few queries at a time: where all scores are equal, all their places are listed.
        for some in torch.split(torch.nonzero(tied).flatten(), 32):
            rows[some] = _lowest(scores[some], values[some], rows[some])
    return _ordered(scores.gather(1, rows), rows + first_row, k)


def _lowest(
    scores: Float[Tensor, "batch block"],
    values: Float[Tensor, "batch hits"],
    rows: Int[Tensor, "batch hits"],
) -> Int[Tensor, "batch hits"]:
    """The rows of topk's values, those at the edge replaced by the first that have its score.

    Not by a stable sort of the block: half precision ties nearly everywhere, and sorting took
    longer than the products.
    """
    edge = values[:, -1:]
    replaced = values == edge
    queries, places = torch.nonzero(scores == edge, as_tuple=True)  # in the order of rows
    first = torch.searchsorted(queries, torch.arange(len(rows), device=rows.device))
    number = torch.arange(len(queries), device=rows.device) - first[queries]
    return rows.masked_scatter(replaced, places[number < replaced.sum(dim=1)[queries]])


def _ordered(scores: Float[Tensor, "batch hits"], rows: Int[Tensor, "batch hits"], k: int) -> Hits:
    by_row = torch.argsort(rows, dim=1, stable=True)
    scores, rows = scores.gather(1, by_row), rows.gather(1, by_row)
    order = torch.argsort(scores, dim=1, descending=True, stable=True)[:, :k]
    return Hits(scores=scores.gather(1, order), rows=rows.gather(1, order))


# Vectors that several processes hold in parts -----------------------------------------------------

# Each process asks with queries of its own. All queries go to all processes, each finds the best of
# its part, and the (score, row) pairs go back: a few bytes per query and process, however many
# vectors there are.


class ShardedIndex:
    """An `Index` over every process's part; each method is called by all processes together.

    What is written into a process's own part (`part`) needs no other.
    """

    def __init__(
        self, part: ExactIndex, *, first_row: int, num_rows: int, processes: Processes
    ) -> None:
        """Takes this process's part.

        Args:
            part: Vectors of rows ``first_row`` and following.
            first_row: Where the part begins.
            num_rows: Vectors of all processes.
            processes: Who holds the others; parts are in the order of their ranks.
        """
        self._part, self._first_row, self._num_rows = part, first_row, num_rows
        self._processes = processes

    def __len__(self) -> int:
        return self._num_rows

    def search(self, query_emb: Float[Tensor, "batch dim"], k: int) -> Hits:
        """The ``min(k, len)`` rows of largest inner product; ``k`` is the same everywhere."""
        asked = self._processes.all_gather(query_emb.float())
        here = self._part.search(torch.cat(asked), min(k, self._num_rows))
        scores, rows = self._filled(here, min(k, self._num_rows))
        start = sum(len(one) for one in asked[: self._processes.rank])
        mine = slice(start, start + len(query_emb))
        best: Hits | None = None
        parts = zip(
            self._processes.all_gather(scores), self._processes.all_gather(rows), strict=True
        )
        for one_scores, one_rows in parts:
            hits = Hits(scores=one_scores[mine], rows=one_rows[mine])
            best = hits if best is None else merge(best, hits, scores.shape[1])
        assert best is not None
        return best

    def _filled(
        self, hits: Hits, k: int
    ) -> tuple[Float[Tensor, "batch hits"], Int[Tensor, "batch hits"]]:
        """Hits with rows of the whole; where the part has fewer than k, the rest loses to all."""
        missing = k - hits.scores.shape[1]
        scores = torch.nn.functional.pad(hits.scores, (0, missing), value=-torch.inf)
        rows = torch.nn.functional.pad(
            hits.rows + self._first_row, (0, missing), value=self._num_rows
        )
        return scores, rows

    def vectors(self, rows: Int[Tensor, "*batch"]) -> Float[Tensor, "*batch dim"]:
        """Vectors of rows that this process names, whoever holds them."""
        asked = self._processes.all_gather(rows.flatten())
        wanted = torch.cat(asked) - self._first_row
        mine = (wanted >= 0) & (wanted < len(self._part))
        table = self._part.vectors(wanted.clamp(0, max(len(self._part) - 1, 0)))
        table = self._processes.all_reduce(table.masked_fill(~mine.to(table.device)[:, None], 0.0))
        own = torch.split(table, [len(one) for one in asked])[self._processes.rank]
        return own.view(*rows.shape, table.shape[1])

    def any_pending(self, asks: bool) -> bool:
        """Whether any process still asks: those that do not have to ask along with it."""
        return self._processes.any(asks)

    @property
    def local(self) -> ExactIndex:
        """What this process holds; asking it is not asking the others."""
        return self._part

    @property
    def local_rows(self) -> range:
        """The rows of that part."""
        return range(self._first_row, self._first_row + len(self._part))
