"""The index that training searches, what makes one of a snapshot, and what makes snapshots of the
present weights in the processes that train; knows nothing of when.
"""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch

from openrealm.corpus.store import ChunkStore
from openrealm.index.mips import ExactIndex, Index, ShardedIndex
from openrealm.index.snapshot import (
    SHARD_ROWS,
    MappedRows,
    Snapshot,
    SnapshotKey,
    find_snapshot,
    generations,
    prune,
    snapshot_folder,
)
from openrealm.processes import ALONE, Processes
from openrealm.progress import Progress
from openrealm.retrieval.embedding import (
    Order,
    TextEncoder,
    pooled_key,
    shard_rows_for,
    snapshot_key,
    snapshot_writer,
    write_projected,
    write_snapshot,
)
from openrealm.retrieval.retriever import Lexical, Retriever
from openrealm.settings import RefreshConfig, RetrievalConfig


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


# Snapshots of the present weights -----------------------------------------------------------------


class EmbeddingStopped(Exception):
    """An embedding was given up because training is to end; what is done of it is kept."""


@dataclass(eq=False)
class _Embeds:
    """What embeds a corpus into a folder.

    Attributes:
        corpus: The chunks.
        encoder: The towers, as they are when asked.
        directory: Where what is made is kept.
        config: How.
        shard_rows: Chunks per file at most.
        progress: Where to tell how far it is.
    """

    corpus: ChunkStore
    encoder: TextEncoder
    directory: Path
    config: RefreshConfig
    shard_rows: int = field(default=SHARD_ROWS, kw_only=True)
    progress: Progress = field(kw_only=True)


@dataclass(eq=False)
class PooledVectors(_Embeds):
    """What BERT makes of every chunk, under the projection: kept while BERT does not move.

    It is the same for all runs that begin with the same BERT, so that it is kept for all of them:
    ``directory`` is the workspace's folder of what can be computed again.

    Attributes:
        processes: Who makes them together.
    """

    processes: Processes = field(default=ALONE, kw_only=True)
    _known: tuple[str, MappedRows] | None = field(default=None, init=False)

    def now(self, tick: Callable[[], None] | None = None) -> MappedRows:
        """``(chunks, hidden)`` by the present BERT, made where nothing kept is of it.

        Args:
            tick: Called after every forward pass; may raise to give up, whole shards are kept.
        """
        key = pooled_key(self.corpus, self.encoder.embedder)
        if self._known is None or self._known[0] != key.embedder:
            self._known = (key.embedder, self._snapshot(key, tick).rows())
        return self._known[1]

    def _snapshot(self, key: SnapshotKey, tick: Callable[[], None] | None) -> Snapshot:
        processes = self.processes
        made_how = f"{key.embedder} {self.encoder.autocast} {self.shard_rows}"
        made_how = hashlib.sha256(made_how.encode()).hexdigest()[:16]
        name = f"pooled-{key.corpus[:16]}-{made_how}"
        folder = self.directory / name
        planned = _planned(folder, key) if processes.is_first else [0, 0]
        generation, is_made = processes.broadcast(planned)
        if is_made:
            return Snapshot.open(snapshot_folder(folder, generation))
        others = sorted(self.directory.glob(f"pooled-*-{made_how}"), key=_made_at, reverse=True)
        there = (_of_another_corpus(other, key, "float32") for other in others)
        writer = snapshot_writer(
            self.corpus,
            self.encoder.embedder,
            folder,
            Order(generation=generation, step=0),
            shard_rows=self.shard_rows,
            pooled=True,
        )
        snapshot = write_snapshot(
            writer,
            self.corpus,
            self.encoder,
            pooled=True,
            earlier=next(filter(None, there), None),
            tick=tick,
            progress=self.progress,
        )
        if processes.is_first:
            prune(folder, keep={generation})
            for other in [other for other in others if other != folder][1:]:
                shutil.rmtree(other, ignore_errors=True)  # the newest may be read by somebody
        return snapshot


@dataclass(eq=False)
class SnapshotMaker(_Embeds):
    """Makes snapshots of the present weights, in the training processes, which share the work.

    Attributes:
        load: What makes a live index of a snapshot.
        pooled: What is under the projection, where only that moves.
    """

    load: Loader = field(kw_only=True)
    pooled: PooledVectors | None = field(default=None, kw_only=True)
    _stop: Callable[[], bool] | None = field(default=None, init=False)

    @property
    def processes(self) -> Processes:
        """Who makes them together."""
        return self.load.processes

    def folder(self, generation: int) -> Path:
        """Where a published snapshot is."""
        return snapshot_folder(self.directory, generation)

    @contextmanager
    def embedding(self, stop: Callable[[], bool]) -> Iterator[None]:
        """Inside this context an embedding ends with the stop request; its shards are kept.

        Of several processes each might hear of the request at another block, so that they finish.
        """
        self._stop = stop if self.processes.size == 1 else None
        try:
            yield
        finally:
            self._stop = None

    def tick(self) -> None:
        """Called between blocks of rows.

        Raises:
            EmbeddingStopped: Training is to end.
        """
        if self._stop is not None and self._stop():
            raise EmbeddingStopped

    def now(self, total_step: int) -> Snapshot:
        """A snapshot by the present weights; a published one where it is of these."""
        processes = self.processes
        key = snapshot_key(self.corpus, self.encoder.embedder)
        planned = _planned(self.directory, key) if processes.is_first else [0, 0]
        generation, is_made = processes.broadcast(planned)
        if is_made:
            return Snapshot.open(self.folder(generation))
        earlier = None
        if self.pooled is None:
            earlier = _of_another_corpus(self.directory, key, self.config.dtype)
        return self.write(
            self.encoder,
            Order(generation=generation, step=total_step),
            shard_rows=shard_rows_for(
                len(self.corpus), most=self.shard_rows, writers=processes.size
            ),
            earlier=earlier,
        )

    def write(
        self,
        encoder: TextEncoder,
        order: Order,
        *,
        shard_rows: int,
        earlier: Snapshot | None = None,
    ) -> Snapshot:
        """A snapshot by the weights of an encoder, whatever is there already.

        Args:
            encoder: Of the shape of the maker's own.
            order: Its number, and the training step of the weights.
            shard_rows: Chunks per file.
            earlier: A snapshot by the same weights of another corpus, to take over from.

        Raises:
            EmbeddingStopped: Training is to end.
        """
        writer = snapshot_writer(
            self.corpus,
            encoder.embedder,
            self.directory,
            order,
            dtype=self.config.dtype,
            shard_rows=shard_rows,
        )
        if self.pooled is not None:
            pooled = self.pooled.now(self.tick)
            return write_projected(writer, self.corpus, pooled, encoder.embedder, tick=self.tick)
        return write_snapshot(
            writer,
            self.corpus,
            encoder,
            earlier=earlier,
            tick=self.tick,
            progress=self.progress,
        )

    def first(self, total_step: int) -> LiveIndex:
        """An index of the present weights."""
        return self.load(self.now(total_step))

    def reopened(self, generation: int) -> LiveIndex:
        """A published snapshot, checked against the corpus; its weights may be older ones."""
        snapshot = Snapshot.open(self.folder(generation))
        self.check(snapshot)
        return self.load(snapshot)

    def check(self, snapshot: Snapshot) -> None:
        """Reads every byte, and compares what the rows are of; weights may be older ones.

        Raises:
            SnapshotError: It is damaged, or of another corpus or tokenizer.
        """
        of = self.corpus.fingerprint, self.corpus.tokenizer.fingerprint
        key = SnapshotKey(embedder="", corpus=of[0], tokenizer=of[1])
        snapshot.require(key, parts=("tokenizer", "corpus"))
        self.load.verify(snapshot)


def _planned(directory: Path, key: SnapshotKey) -> list[int]:
    """A generation, and 1 where it is whole and of this key, 0 where it is the next one free."""
    snapshot = find_snapshot(directory, key, verify=True)
    if snapshot is not None:
        return [snapshot.manifest.generation, 1]
    return [max(generations(directory), default=0) + 1, 0]


def _made_at(folder: Path) -> float:
    try:
        return folder.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _of_another_corpus(directory: Path, key: SnapshotKey, dtype: str) -> Snapshot | None:
    """The newest snapshot by the same embedder, whose vectors may be taken over."""
    snapshot = find_snapshot(directory, key, parts=("embedder", "tokenizer"), verify=True)
    return snapshot if snapshot is not None and snapshot.manifest.dtype == dtype else None
