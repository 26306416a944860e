"""The live index of a training run and its refreshing; knows nothing of losses or examples.

Training moves the embedder, so the embeddings that candidates are found with go stale. A `Refresh`
is asked between two steps whether a newer index is there, and what it returns is swapped in. Here
the work is done in line, by the processes that train; `openrealm.training.background` does it
beside them. Either way the trainer only ever sees published snapshots.
"""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch

from openrealm.config import option
from openrealm.corpus.store import ChunkStore
from openrealm.index.mips import ExactIndex, Index
from openrealm.index.sharded import ShardedIndex
from openrealm.index.snapshot import (
    MappedRows,
    Snapshot,
    SnapshotKey,
    find_snapshot,
    generations,
    prune,
)
from openrealm.models.embedder import Embedder
from openrealm.models.inputs import Templates
from openrealm.processes import ALONE, Processes
from openrealm.progress import Progress
from openrealm.retrieval.embedding import (
    pooled_key,
    shard_rows_for,
    snapshot_key,
    write_pooled,
    write_snapshot,
)
from openrealm.retrieval.hybrid import Lexical
from openrealm.retrieval.retriever import RetrievalConfig, Retriever
from openrealm.training.weights import Order


@dataclass(frozen=True, kw_only=True)
class RefreshConfig:
    """When, where and how the corpus is embedded again."""

    mode: str = option(
        "inline",
        "Who embeds the corpus: the training processes between two steps (inline), workers beside "
        "them on this machine (background), a Ray cluster (fleet); or swaps happen when those of "
        "an earlier run did (replay).",
        choices=("inline", "background", "fleet", "replay"),
    )
    every: int = option(500, "Joint steps between two refreshes.", minimum=1, source="section 4.5")
    dtype: str = option("float32", "Numbers of a snapshot on disk.", choices=("float32", "float16"))
    batch_tokens: int = option(16_384, "Tokens per forward pass of the embedding.", minimum=512)
    shard_rows: int = option(65_536, "Chunks per file; what a crash can cost.", minimum=1)
    max_staleness_steps: int = option(
        0,
        "Beside the training: where the live index would become older than this, training waits "
        "and refreshes in line. 0: ten times `every`.",
        minimum=0,
    )
    workers: int = option(
        1, "Background, and a fleet that is started here: worker processes.", minimum=1
    )
    worker_threads: int = option(
        1, "Background and fleet: processor threads of each worker.", minimum=1
    )
    worker_device: str = option(
        "auto",
        "Background: where workers compute. auto: on the GPU with the next number after the "
        "trainers' if there is one, else on theirs, else on the processor, at low priority. "
        "Fleet: cuda, cpu, or auto for a GPU each where the cluster has any.",
    )
    hang_s: float = option(
        600.0,
        "Background and fleet: a worker here without progress for so many seconds is killed.",
        minimum=1.0,
    )
    write_back: bool = option(
        False,
        "The vectors that a joint step makes of its candidates anyway go into the live index too, "
        "in the place of older ones, until a refresh makes all anew: an index that ages more "
        "slowly and costs no embedding. They have the dropout of the step, where there is any.",
    )
    replay: str = option("", "Replay: the run whose swaps are repeated, as a folder or its name.")
    fleet: str = option("", "Fleet: address of the Ray cluster; empty starts one here.")
    storage: str = option(
        "",
        "Fleet: URL of a storage that this machine and the nodes reach, such as s3://bucket/folder "
        "(any that fsspec knows), for nodes that do not have the workspace's folder. Empty: they "
        "have it, under the same name.",
    )

    @property
    def patience(self) -> int:
        """Steps that a live index may be old before training waits for a newer one."""
        return self.max_staleness_steps or 10 * self.every


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
        rows = self.processes.share(snapshot.manifest.chunks)
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
        snapshot.verify(self.processes.share(snapshot.manifest.chunks))


@dataclass(frozen=True)
class Swap:
    """A newer index, and what is to be logged about how it came.

    Attributes:
        live: The index.
        numbers: Such as ``index/refresh_seconds``.
    """

    live: LiveIndex
    numbers: Mapping[str, Any]


class EmbeddingStopped(Exception):
    """An embedding was given up because training is to end; what is done of it is kept."""


@runtime_checkable
class Refresh(Protocol):
    """Where newer indexes come from. Each method is called by all training processes together."""

    def at_work(self, stop: Callable[[], bool]) -> AbstractContextManager[object]:
        """Whatever runs beside the training does so inside this context.

        Args:
            stop: Says whether training is to end; an embedding in line is then given up.
        """

    def embedding(self, stop: Callable[[], bool]) -> AbstractContextManager[object]:
        """Inside this context `first` is given up, with `EmbeddingStopped`, where stop says so."""

    def first(self, total_step: int) -> LiveIndex:
        """An index of the present weights, for a stage to begin with."""

    def reopened(self, generation: int) -> LiveIndex:
        """The index that a resumed run had; its weights may be older ones."""

    def before_step(self, total_step: int, live: LiveIndex) -> Swap | None:
        """What to swap in before this step, or None to go on with the live index."""

    @property
    def ordered(self) -> Order | None:
        """What is being made beside the training, to be saved with it."""

    def take_up(self, order: Order | None) -> None:
        """Goes on with what a resumed run had ordered."""

    def news(self) -> Sequence[Mapping[str, Any]]:
        """What has happened beside the training since this was last asked."""

    def prune(self, keep: set[int], ordered: set[int]) -> None:
        """Removes what is not needed any more.

        Args:
            keep: Generations of the checkpoints and the live index.
            ordered: Generations that were being made when a checkpoint was saved.
        """


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
        key = pooled_key(self.corpus, self.embedder)
        if self._known is None or self._known[0] != key.embedder:
            self._known = (key.embedder, self._snapshot(key, tick).rows())
        return self._known[1]

    def _snapshot(self, key: SnapshotKey, tick: Callable[[], None] | None) -> Snapshot:
        processes = self.processes
        made_how = f"{key.embedder} {self.autocast} {self.config.shard_rows}"
        of_corpus = f"pooled-{key.corpus[:16]}-"
        name = of_corpus + hashlib.sha256(made_how.encode()).hexdigest()[:16]
        folder = self.directory / name
        planned = _planned(folder, key) if processes.is_first else [0, 0]
        generation, found = processes.from_first(planned)
        if found:
            return Snapshot.open(folder / f"{generation:06d}")
        elsewhere = self.directory.glob(f"pooled-*-{name.rpartition('-')[2]}")
        earlier = (_of_another_corpus(other, key, "float32") for other in elsewhere)
        snapshot = write_pooled(
            self.corpus,
            self.embedder,
            self.templates,
            folder,
            generation=generation,
            shard_rows=self.config.shard_rows,
            batch_tokens=self.config.batch_tokens,
            autocast=self.autocast,
            earlier=next(filter(None, earlier), None),
            tick=tick,
            progress=self.progress,
        )
        if processes.is_first:
            prune(folder, keep={generation})
            for other in self.directory.glob("pooled-*"):
                if not other.name.startswith(of_corpus):  # of an earlier corpus
                    shutil.rmtree(other, ignore_errors=True)
        return snapshot


def _planned(directory: Path, key: SnapshotKey) -> list[int]:
    """A generation, and 1 where it is whole and of this key, 0 where it is the next one free."""
    found = find_snapshot(directory, key, verify=True)
    if found is not None:
        return [found.manifest.generation, 1]
    return [max(generations(directory), default=0) + 1, 0]


def _of_another_corpus(directory: Path, key: SnapshotKey, dtype: str) -> Snapshot | None:
    """The newest snapshot by the same embedder, whose vectors may be taken over."""
    found = find_snapshot(directory, key, parts=("embedder", "tokenizer"), verify=True)
    return found if found is not None and found.manifest.dtype == dtype else None


@dataclass(eq=False)
class InlineRefresh(_Embeds):
    """Embeds the corpus in the training processes, which share the work, every so many steps.

    Attributes:
        pooled: What is under the projection, where only that moves.
        load: What makes a live index of a snapshot.
    """

    load: Loader = field(kw_only=True)
    pooled: PooledVectors | None = field(default=None, kw_only=True)
    _stop: Callable[[], bool] | None = field(default=None, init=False)

    @property
    def ordered(self) -> Order | None:
        """Nothing is made beside the training."""
        return None

    def at_work(self, stop: Callable[[], bool]) -> AbstractContextManager[object]:
        """Nothing runs beside the training."""
        return self.embedding(stop)

    @contextmanager
    def embedding(self, stop: Callable[[], bool]) -> Iterator[None]:
        """Inside this context an embedding ends with the stop request; its shards are kept.

        Of several processes each might hear of the request at another block, so that they finish.
        """
        self._stop = stop if self.load.processes.size == 1 else None
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

    def take_up(self, order: Order | None) -> None:
        """An order that a run had in another mode is not waited for."""

    def news(self) -> Sequence[Mapping[str, Any]]:
        """Nothing happens beside the training."""
        return ()

    def first(self, total_step: int) -> LiveIndex:
        """An index of the present weights."""
        return self.load(self.now(total_step))

    def before_step(self, total_step: int, live: LiveIndex) -> Swap | None:
        """A new index where the live one is ``every`` steps old."""
        if total_step - live.step < self.config.every:
            return None
        snapshot = self.now(total_step)
        live = replace(self.load(snapshot), step=total_step)
        return Swap(live, swap_numbers(snapshot, step=total_step))

    def now(self, total_step: int) -> Snapshot:
        """A snapshot by the present weights; a published one where it is of these."""
        processes = self.load.processes
        key = snapshot_key(self.corpus, self.embedder)
        planned = _planned(self.directory, key) if processes.is_first else [0, 0]
        generation, found = processes.from_first(planned)
        if found:
            return Snapshot.open(self.directory / f"{generation:06d}")
        return write_snapshot(
            self.corpus,
            self.embedder,
            self.templates,
            self.directory,
            generation=generation,
            step=total_step,
            dtype=self.config.dtype,
            shard_rows=shard_rows_for(
                len(self.corpus), most=self.config.shard_rows, writers=processes.size
            ),
            batch_tokens=self.config.batch_tokens,
            autocast=self.autocast,
            pooled=self.pooled.now(self.tick) if self.pooled is not None else None,
            earlier=_of_another_corpus(self.directory, key, self.config.dtype),
            tick=self.tick,
            progress=self.progress,
        )

    def reopened(self, generation: int) -> LiveIndex:
        """A published snapshot, checked against the corpus; its weights may be older ones."""
        snapshot = Snapshot.open(self.directory / f"{generation:06d}")
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

    def prune(self, keep: set[int], ordered: set[int]) -> None:
        """Removes snapshots that neither a checkpoint nor the live index needs."""
        prune(self.directory, keep=keep)


def swap_numbers(snapshot: Snapshot, *, step: int, threads: int | None = None) -> dict[str, Any]:
    """What it takes to repeat a swap, and to see whether it was repeated.

    Args:
        snapshot: What was swapped in.
        step: Training step of its weights.
        threads: Processor threads that it was made with; by default those of this process.
    """
    plan = snapshot.manifest
    return {
        "index/generation": plan.generation,
        "index/weights_step": step,
        "index/threads": threads or torch.get_num_threads(),
        "index/shard_rows": plan.shard_rows,
        "index/digest": hashlib.sha256("".join(plan.checksums).encode()).hexdigest()[:16],
    }
