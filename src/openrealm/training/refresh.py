"""The live index of a training run and its refreshing; knows nothing of losses or examples.

Training moves the embedder, so the embeddings that candidates are found with go stale. A `Refresh`
is asked between two steps whether a newer snapshot is there, and what it returns is swapped in.
Here the work is done in line, in the same process; the interface lets it move beside the training,
since the trainer only ever sees published snapshots.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch

from openrealm.config import option
from openrealm.corpus.store import ChunkStore
from openrealm.errors import SnapshotError
from openrealm.index.mips import ExactIndex
from openrealm.index.snapshot import Snapshot, SnapshotKey, generations, prune
from openrealm.models.embedder import Embedder
from openrealm.models.inputs import Templates
from openrealm.progress import Progress
from openrealm.retrieval.embedding import (
    pooled_key,
    snapshot_key,
    write_pooled,
    write_snapshot,
)
from openrealm.retrieval.retriever import RetrievalConfig, Retriever

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class RefreshConfig:
    """When and how the corpus is embedded again."""

    every: int = option(500, "Joint steps between two refreshes.", minimum=1, source="section 4.5")
    dtype: str = option("float32", "Numbers of a snapshot on disk.", choices=("float32", "float16"))
    batch_tokens: int = option(16_384, "Tokens per forward pass of the embedding.", minimum=512)
    shard_rows: int = option(65_536, "Chunks per file; what a crash can cost.", minimum=1)


@dataclass(frozen=True)
class LiveIndex:
    """The index that candidates come from, and what it was made of.

    Attributes:
        retriever: Finds candidates in it.
        index: Its vectors.
        generation: Number of its snapshot.
        step: Training step of the weights that made it.
    """

    retriever: Retriever
    index: ExactIndex
    generation: int
    step: int


@runtime_checkable
class Refresh(Protocol):
    """Where newer snapshots come from."""

    def before_step(self, total_step: int, live: LiveIndex | None) -> Snapshot | None:
        """A snapshot to swap in before this step, or None to go on with the live one."""


@dataclass(eq=False)
class _Embeds:
    """What embeds a corpus into a folder.

    Attributes:
        corpus: The chunks.
        embedder: The towers, as they are when asked.
        templates: How inputs are joined.
        directory: Where what is made is kept.
        config: How.
        autocast: Lower precision for matrix products, or None.
        progress: Where to tell how far it is.
    """

    corpus: ChunkStore
    embedder: Embedder
    templates: Templates
    directory: Path
    config: RefreshConfig
    autocast: torch.dtype | None = field(kw_only=True)
    progress: Progress = field(kw_only=True)


@dataclass(eq=False)
class PooledVectors(_Embeds):
    """What BERT makes of every chunk, under the projection: kept while BERT does not move."""

    _known: tuple[str, npt.NDArray[np.float32]] | None = field(default=None, init=False)

    def now(self) -> npt.NDArray[np.float32]:
        """``(chunks, hidden)`` by the present BERT, made where nothing kept is of it."""
        key = pooled_key(self.corpus, self.embedder)
        if self._known is None or self._known[0] != key.embedder:
            vectors = self._snapshot(key).read().astype(np.float32)
            self._known = (key.embedder, vectors)
        return self._known[1]

    def _snapshot(self, key: SnapshotKey) -> Snapshot:
        published = generations(self.directory)
        for generation in reversed(published):
            try:
                snapshot = Snapshot.open(self.directory / f"{generation:06d}")
                if snapshot.manifest.key == key:
                    snapshot.verify()
                    return snapshot
            except SnapshotError as error:
                logger.warning("%s; embedding again", error)
        snapshot = write_pooled(
            self.corpus,
            self.embedder,
            self.templates,
            self.directory,
            generation=published[-1] + 1 if published else 1,
            shard_rows=self.config.shard_rows,
            batch_tokens=self.config.batch_tokens,
            autocast=self.autocast,
            progress=self.progress,
        )
        prune(self.directory, keep={snapshot.manifest.generation})
        return snapshot


@dataclass(eq=False)
class InlineRefresh(_Embeds):
    """Embeds the corpus in the training process, every so many steps.

    Attributes:
        pooled: What is under the projection, where only that moves.
    """

    pooled: PooledVectors | None = field(default=None, kw_only=True)

    def before_step(self, total_step: int, live: LiveIndex | None) -> Snapshot | None:
        """A new snapshot where the live one is ``every`` steps old or there is none."""
        if live is not None and total_step - live.step < self.config.every:
            return None
        return self.now(total_step)

    def now(self, total_step: int) -> Snapshot:
        """A snapshot by the present weights; a published one where it is of these."""
        published = generations(self.directory)
        key = snapshot_key(self.corpus, self.embedder)
        for generation in reversed(published):
            found = self._of_present_weights(generation, key)
            if found is not None:
                return found
        return write_snapshot(
            self.corpus,
            self.embedder,
            self.templates,
            self.directory,
            generation=published[-1] + 1 if published else 1,
            step=total_step,
            dtype=self.config.dtype,
            shard_rows=self.config.shard_rows,
            batch_tokens=self.config.batch_tokens,
            autocast=self.autocast,
            pooled=self.pooled.now() if self.pooled is not None else None,
            progress=self.progress,
        )

    def _of_present_weights(self, generation: int, key: SnapshotKey) -> Snapshot | None:
        try:
            snapshot = Snapshot.open(self.directory / f"{generation:06d}")
            if snapshot.manifest.key == key:
                snapshot.verify()
                return snapshot
        except SnapshotError as error:
            logger.warning("%s; doing so", error)
        return None

    def open(self, generation: int) -> Snapshot:
        """A published snapshot, checked against the corpus; its weights may be older ones."""
        snapshot = Snapshot.open(self.directory / f"{generation:06d}")
        key = snapshot_key(self.corpus, self.embedder)
        snapshot.require(key, parts=("tokenizer", "corpus"))
        snapshot.verify()
        return snapshot

    def prune(self, keep: set[int]) -> None:
        """Removes snapshots that neither a checkpoint nor the live index needs."""
        prune(self.directory, keep=keep)


def go_live(
    snapshot: Snapshot, corpus: ChunkStore, config: RetrievalConfig, *, device: torch.device
) -> LiveIndex:
    """Loads a snapshot for searching: in its own precision on a GPU, in float32 on a CPU."""
    vectors = torch.from_numpy(snapshot.read()).to(device)
    index = ExactIndex(vectors if device.type == "cuda" else vectors.float())
    return LiveIndex(
        retriever=Retriever(corpus, index, config),
        index=index,
        generation=snapshot.manifest.generation,
        step=snapshot.manifest.step,
    )
