"""Exact search over vectors that several processes hold in parts; knows vectors and rows only.

Each process asks with queries of its own. All queries go to all processes, each finds the best of
its part, and the (score, row) pairs go back: a few bytes per query and process, however many
vectors there are.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from openrealm.index.mips import ExactIndex, Hits, merge
from openrealm.processes import Processes


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
        found: Hits | None = None
        parts = zip(
            self._processes.all_gather(scores), self._processes.all_gather(rows), strict=True
        )
        for one_scores, one_rows in parts:
            hits = Hits(scores=one_scores[mine], rows=one_rows[mine])
            found = hits if found is None else merge(found, hits, scores.shape[1])
        assert found is not None
        return found

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
