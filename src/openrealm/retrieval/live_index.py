"""The index that training searches, and what makes one of a snapshot; knows nothing of when."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import torch

from openrealm.corpus.store import ChunkStore
from openrealm.index.mips import ExactIndex, Index
from openrealm.index.sharded import ShardedIndex
from openrealm.index.snapshot import Snapshot
from openrealm.processes import ALONE, Processes
from openrealm.retrieval.hybrid import Lexical
from openrealm.retrieval.retriever import Retriever
from openrealm.settings import RetrievalConfig


@dataclass(frozen=True)
class LiveIndex:
    """The index that candidates come from, and what it was made of.

    Attributes:
        retriever: Finds candidates in it.
        index: Its vectors.
        generation: Number of its snapshot.
        step: Training step of the weights that made it.
        made_at: When these were the newest, in seconds since 1970.
    """

    retriever: Retriever
    index: Index
    generation: int
    step: int
    made_at: float = field(default_factory=time.time)


@dataclass(frozen=True)
class Loader:
    """Snapshots to live indexes, of which each process that trains holds its part.

    Attributes:
        corpus: The chunks.
        config: How candidates are chosen.
        device: Where to search.
        processes: Who holds the other parts.
        lexical: Words in common, where they count.
    """

    corpus: ChunkStore
    config: RetrievalConfig
    device: torch.device
    processes: Processes = ALONE
    lexical: Lexical | None = None

    def __call__(self, snapshot: Snapshot) -> LiveIndex:
        """The snapshot in memory: in its own precision on a GPU, in float32 on a CPU."""
        rows = self.processes.local_slice(snapshot.manifest.chunks)
        dtype = None if self.device.type == "cuda" else "float32"
        vectors = torch.from_numpy(snapshot.read(rows, dtype=dtype)).to(self.device)
        index: Index = ExactIndex(vectors)
        if self.processes.size > 1:
            assert isinstance(index, ExactIndex)
            index = ShardedIndex(
                index,
                first_row=rows.start,
                num_rows=snapshot.manifest.chunks,
                processes=self.processes,
            )
        return LiveIndex(
            retriever=Retriever(self.corpus, index, self.config, lexical=self.lexical),
            index=index,
            generation=snapshot.manifest.generation,
            step=snapshot.manifest.step,
        )

    def verify(self, snapshot: Snapshot) -> None:
        """Compares the checksums of what this process will hold.

        Raises:
            SnapshotError: Something is missing or damaged.
        """
        snapshot.verify(self.processes.local_slice(snapshot.manifest.chunks))
