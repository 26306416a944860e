"""What training has written into the live index since its snapshot; knows neither losses nor files.

A step of joint training embeds its candidates anyway, with weights newer than the snapshot's. With
`refresh.write_back` these vectors take the place of the older ones in the live index, in memory:
the snapshot on the disk stays as it is, and p(z|x) is computed anew as ever. Which rows are newer,
and of which step's weights, is kept here, so that a checkpoint can hold them and a swap need not
set them back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from torch import Tensor

from openrealm.index.mips import Index
from openrealm.processes import ALONE, Processes
from openrealm.retrieval.live_index import LiveIndex

_NEVER = -1


@dataclass(frozen=True)
class ChunkVectors:
    """Vectors of some chunks by the present weights; where a row stands twice, the first counts.

    Attributes:
        rows: Rows ``(rows,)`` of the corpus.
        vectors: One for each, without gradients.
    """

    rows: npt.NDArray[np.int64]
    vectors: Float[Tensor, "rows dim"]


class WriteBack:
    """Which rows of the live index are newer than its snapshot, and of which step's weights.

    Each process remembers the rows that it holds, at four bytes a row.
    """

    def __init__(self, index: Index, processes: Processes = ALONE) -> None:
        """Nothing is written yet.

        Args:
            index: The live index.
            processes: Who holds its parts.
        """
        self._processes, self._num_rows = processes, len(index)
        self._steps = np.full(len(index.local_rows), _NEVER, dtype=np.int32)

    def write(self, index: Index, embedded: ChunkVectors, *, step: int) -> None:
        """Puts what the processes have embedded into the live index; together.

        Several may have embedded the same chunk, with sums in another order: the vector of the
        first of them counts everywhere.

        Args:
            index: The live index.
            embedded: By this process.
            step: Training step of the weights.
        """
        gather = self._processes.all_gather
        rows = torch.cat(gather(torch.from_numpy(embedded.rows))).numpy()
        vectors = torch.cat(gather(embedded.vectors.float()))
        _, first = np.unique(rows, return_index=True)
        at = torch.from_numpy(first).to(vectors.device, non_blocking=True)
        self._put(index, rows[first], vectors[at], step)

    def carry(self, old: LiveIndex, new: LiveIndex) -> None:
        """Takes over into a new index what is newer than its weights, and forgets the rest.

        A row of the very weights that made the new index is not newer: it is the same but for
        dropout.
        """
        rows = torch.from_numpy(np.flatnonzero(self._steps > new.step))
        held = old.index.local.chunk_emb
        new.index.local.write(rows, held[rows.to(held.device)])
        self._steps[self._steps <= new.step] = _NEVER

    def written_part(self) -> float:
        """The part of the corpus that is newer in the live index than in its snapshot; together."""
        here = torch.tensor([float(np.count_nonzero(self._steps != _NEVER))])
        return float(self._processes.all_reduce(here.double())) / self._num_rows

    def state(self, index: Index) -> dict[str, Tensor]:
        """``rows``, ``steps`` and ``vectors`` of what is newer, in order of rows; together."""
        here = np.flatnonzero(self._steps != _NEVER)
        vectors = index.local.chunk_emb
        mine = {
            "rows": torch.from_numpy(here + index.local_rows.start),
            "steps": torch.from_numpy(self._steps[here]),
            "vectors": vectors[torch.from_numpy(here).to(vectors.device)],
        }
        return {name: torch.cat(self._processes.all_gather(one)) for name, one in mine.items()}

    def take_up(self, index: Index, state: Mapping[str, Tensor]) -> None:
        """Puts back what `state` has given, to however many processes; nothing of an empty one."""
        if state:
            self._put(index, state["rows"].numpy(), state["vectors"], state["steps"].numpy())

    def _put(
        self,
        index: Index,
        rows: npt.NDArray[np.int64],
        vectors: Tensor,
        steps: int | npt.NDArray[np.int32],
    ) -> None:
        """Writes those of the distinct, ascending rows that this process holds."""
        start, stop = np.searchsorted(
            rows, [index.local_rows.start, index.local_rows.stop]
        ).tolist()
        here = rows[start:stop] - index.local_rows.start
        index.local.write(torch.from_numpy(here), vectors[start:stop])
        self._steps[here] = steps if isinstance(steps, int) else steps[start:stop]
