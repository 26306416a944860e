"""Text to vectors: the towers with all that it takes to use them, and with them the chunks of a
store to a snapshot.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from torch import Tensor

from openrealm.corpus.store import ChunkStore
from openrealm.errors import SnapshotError
from openrealm.index.snapshot import SHARD_ROWS, Groups, MappedRows, Snapshot, SnapshotKey
from openrealm.index.snapshot_writer import SnapshotWriter
from openrealm.models.embedder import Embedder
from openrealm.models.inputs import Inputs, Templates
from openrealm.models.pretrained import fingerprint
from openrealm.models.realm import device_of, evaluating
from openrealm.progress import Progress, Silent
from openrealm.tokenizer import WordPiece

Ids = npt.NDArray[np.int32]
_EMPTY = np.empty(0, dtype=np.int32)

BLOCK_ROWS = 2048
# Sums may depend on how work is divided: every worker of a snapshot makes the same vectors.
WORKER_THREADS = 1
_POLL_S = 0.1

# Whoever writes shard after shard asks for them each time.
_GROUPS: WeakKeyDictionary[ChunkStore, Groups] = WeakKeyDictionary()

# Of chunks by their rows.
Vectors = Callable[[npt.NDArray[np.int64]], npt.NDArray[np.float32]]


@dataclass(frozen=True)
class TextEncoder:
    """Towers with all that it takes to use them.

    Training, refreshing, searching and answering share one, so that a text has the same vector
    wherever it is embedded.

    Attributes:
        embedder: Query and chunk towers.
        tokenizer: Of their vocabulary.
        templates: How inputs are joined and where they are cut.
        autocast: Lower precision for matrix products, or None.
        batch_tokens: Tokens of a forward pass over many chunks, padding included.
    """

    embedder: Embedder
    tokenizer: WordPiece
    templates: Templates
    autocast: torch.dtype | None = None
    batch_tokens: int = 16_384

    @property
    def device(self) -> torch.device:
        """Where the towers are."""
        return device_of(self.embedder)

    def precision(self) -> torch.autocast:
        """Context in which forward passes run."""
        dtype = self.autocast or torch.bfloat16
        return torch.autocast(self.device.type, dtype=dtype, enabled=self.autocast is not None)

    def embed_queries(self, queries: Sequence[Ids]) -> Float[Tensor, "queries dim"]:
        """Embed_input(x) of token ids, by the present query tower without its dropout."""
        inputs = self.templates.query(queries).to(self.device)
        with evaluating(self.embedder), self.precision():
            vectors: Tensor = self.embedder.embed_queries(inputs)
        return vectors

    def null_chunk(self) -> Inputs:
        """The chunk that says nothing: ``[CLS] [SEP] [SEP]``  (section 3.4)."""
        return self.templates.chunk([_EMPTY], [_EMPTY]).to(self.device)


# Snapshots ----------------------------------------------------------------------------------------

# Chunks are embedded in order of length, in batches of a bounded number of tokens, so that little
# is spent on padding; a snapshot is written shard by shard and taken up where a dead process left
# it. Where a corpus has grown, the vectors of the chunks that it had before are taken over. Where
# only the projection above BERT moves, what is under it is kept (*pooled vectors*), and a snapshot
# is no more than the projection of that.


@dataclass(frozen=True, kw_only=True)
class Order:
    """One snapshot that is wanted.

    Attributes:
        generation: Its number.
        step: Training step of the weights.
    """

    generation: int
    step: int


def embed_rows(
    store: ChunkStore,
    rows: Sequence[int] | npt.NDArray[np.int64],
    encoder: TextEncoder,
    *,
    pooled: bool = False,
    tick: Callable[[], None] | None = None,
) -> npt.NDArray[np.float32]:
    """Vectors ``(rows, dim)`` of some chunks, in the order given, by the chunk tower.

    Args:
        store: The chunks.
        rows: Which of them.
        encoder: The towers; put in evaluation mode for the duration.
        pooled: Stop under the projection: ``(rows, hidden)``.
        tick: Called after every forward pass; may raise to give up.
    """
    rows, embedder = np.asarray(rows, dtype=np.int64), encoder.embedder
    out = np.empty((len(rows), embedder.hidden if pooled else embedder.dim), dtype=np.float32)
    embed = embedder.chunk_tower.pool if pooled else embedder.embed_chunks
    batches = batches_by_length(store.lengths[rows], batch_tokens=encoder.batch_tokens)
    with evaluating(embedder), torch.inference_mode(), encoder.precision():
        for batch in batches:
            titles = [store.title_ids(int(row)) for row in rows[batch]]
            bodies = [store.body_ids(int(row)) for row in rows[batch]]
            inputs = encoder.templates.chunk(titles, bodies).to(encoder.device)
            out[batch] = embed(inputs).float().cpu().numpy()
            if tick is not None:
                tick()
    return out


def project_rows(pooled: npt.NDArray[np.float32], embedder: Embedder) -> npt.NDArray[np.float32]:
    """Vectors ``(rows, dim)`` out of pooled ones, as the present projection makes them."""
    with evaluating(embedder), torch.inference_mode():
        states = torch.from_numpy(pooled).to(device_of(embedder))
        vectors: npt.NDArray[np.float32] = (
            embedder.chunk_tower.project(states).float().cpu().numpy()
        )
    return vectors


def batches_by_length(
    lengths: npt.NDArray[np.int32], *, batch_tokens: int
) -> Iterator[npt.NDArray[np.int64]]:
    """Positions in batches of similar length; rows x longest row stays within ``batch_tokens``.

    A batch has at least one row, however long.
    """
    order = np.argsort(lengths, kind="stable")
    start = 0
    while start < len(order):
        stop = start + 1
        while stop < len(order) and (stop + 1 - start) * int(lengths[order[stop]]) <= batch_tokens:
            stop += 1
        yield order[start:stop]
        start = stop


def snapshot_writer(
    store: ChunkStore,
    embedder: Embedder,
    directory: Path,
    order: Order,
    *,
    dtype: str = "float32",
    shard_rows: int = SHARD_ROWS,
    pooled: bool = False,
) -> SnapshotWriter:
    """What writes a snapshot of a whole corpus.

    Args:
        store: The corpus.
        embedder: The towers whose weights the snapshot stands for.
        directory: Folder of the run's snapshots.
        order: Number of the snapshot, and training step of the weights.
        dtype: ``float32`` or ``float16`` on disk.
        shard_rows: Rows that a crash can cost.
        pooled: Of what is under the projection.
    """
    return SnapshotWriter(
        directory,
        generation=order.generation,
        step=order.step,
        chunks=len(store),
        dim=embedder.hidden if pooled else embedder.dim,
        key=pooled_key(store, embedder) if pooled else snapshot_key(store, embedder),
        dtype=dtype,
        shard_rows=shard_rows,
        groups=groups_of(store),
    )


def write_snapshot(
    writer: SnapshotWriter,
    store: ChunkStore,
    encoder: TextEncoder,
    *,
    earlier: Snapshot | None = None,
    pooled: bool = False,
    tick: Callable[[], None] | None = None,
    progress: Progress | None = None,
) -> Snapshot:
    """Embeds the whole corpus and publishes it as a snapshot.

    Several processes that call it with the same arguments share the work, shard by shard; it
    returns in each when all is published.

    Args:
        writer: The snapshot.
        store: The corpus.
        encoder: The towers, with the weights that the snapshot stands for.
        earlier: A snapshot by the same weights of another corpus, whose vectors of the chunks that
            this one has too are taken over. They may differ from those of a new embedding as far
            as other batches, or another precision of the hardware that made them, go.
        pooled: Stop under the projection.
        tick: Called after every forward pass and while waiting for others; may raise to give up.
        progress: Where to tell how far it is; silent by default.
    """
    vectors = _embedding(store, encoder, pooled=pooled, tick=tick)
    if earlier is not None:
        vectors = _taking_over(store, earlier, vectors, progress or Silent())
    return _written(writer, len(store), vectors, tick=tick, progress=progress)


def write_projected(
    writer: SnapshotWriter,
    store: ChunkStore,
    pooled: MappedRows,
    embedder: Embedder,
    *,
    tick: Callable[[], None] | None = None,
) -> Snapshot:
    """A snapshot out of pooled vectors: BERT is not run.

    Args:
        writer: The snapshot.
        store: The corpus.
        pooled: Of all its chunks.
        embedder: The towers, whose projection is applied.
        tick: Called while waiting for others; may raise to give up.
    """

    def projected(block: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        return project_rows(pooled[block], embedder)

    return _written(writer, len(store), projected, tick=tick)


def write_shard(
    writer: SnapshotWriter,
    shard: int,
    store: ChunkStore,
    encoder: TextEncoder,
    *,
    tick: Callable[[], None] | None = None,
) -> None:
    """Embeds one shard of a snapshot, unless it is there; returns when it is, by whoever's hand.

    Args:
        writer: The snapshot.
        shard: Which of its shards.
        store: The corpus.
        encoder: The towers, with the weights that the snapshot stands for.
        tick: Called after every forward pass and while waiting for another; may raise to give up.
    """
    vectors = _embedding(store, encoder, tick=tick)
    fill_shard(writer, shard, lambda rows: _in_blocks(rows, vectors), tick=tick)


def fill_shard(
    writer: SnapshotWriter,
    shard: int,
    vectors: Callable[[range], npt.NDArray[np.floating]],
    *,
    tick: Callable[[], None] | None = None,
) -> None:
    """Writes one shard of a snapshot, unless it is there; returns when it is, by whoever's hand.

    Args:
        writer: The snapshot.
        shard: Which of its shards.
        vectors: Makes the vectors ``(rows, dim)`` of its rows, or fetches them.
        tick: Called while waiting for another; may raise to give up.
    """
    tick = tick or (lambda: None)
    while (rows := dict(writer.missing_shards()).get(shard)) is not None:
        with writer.claimed(shard) as mine:
            if mine:
                writer.write(shard, vectors(rows))
        if not mine:  # one that dies lets go of it
            tick()
            time.sleep(_POLL_S)


def embed_block(
    rows: range,
    store: ChunkStore,
    encoder: TextEncoder,
    *,
    tick: Callable[[], None] | None = None,
) -> npt.NDArray[np.float32]:
    """Vectors ``(rows, dim)`` of successive chunks, the same as a snapshot has of them."""
    return _in_blocks(rows, _embedding(store, encoder, tick=tick))


def _taking_over(store: ChunkStore, earlier: Snapshot, vectors: Vectors, to: Progress) -> Vectors:
    """Vectors of chunks out of an earlier snapshot where that has them."""
    try:
        groups, known = earlier.groups(), earlier.rows()
    except SnapshotError:  # removed by another process, as it happens
        return vectors
    if groups is None:
        return vectors
    earlier_rows = groups_of(store).rows_in(groups)
    to.say(f"{(earlier_rows >= 0).sum():,} of {len(store):,} chunks have vectors from before")

    def those_and(block: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        rows = earlier_rows[block]
        new, out = rows < 0, known[np.maximum(rows, 0)]
        if new.any():
            out[new] = vectors(block[new])
        return out

    return those_and


def _embedding(
    store: ChunkStore,
    encoder: TextEncoder,
    *,
    pooled: bool = False,
    tick: Callable[[], None] | None = None,
) -> Vectors:
    """`embed_rows` as a function of the rows alone."""

    def vectors(block: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        return embed_rows(store, block, encoder, pooled=pooled, tick=tick)

    return vectors


def _written(
    writer: SnapshotWriter,
    num_chunks: int,
    vectors: Vectors,
    *,
    tick: Callable[[], None] | None = None,
    progress: Progress | None = None,
) -> Snapshot:
    """What a writer still lacks and nobody else is at, in blocks of rows, and all published."""
    tick = tick or (lambda: None)
    left = sum(len(rows) for _, rows in writer.missing_shards())
    work = (progress or Silent()).task(
        "embedding chunks", total=num_chunks, unit="chunks", done=num_chunks - left
    )
    with work as task:
        while missing := writer.missing_shards():
            wrote = False
            for shard, rows in missing:
                with writer.claimed(shard) as mine:
                    if not mine:
                        continue
                    writer.write(shard, _in_blocks(rows, vectors, task.advance))
                    wrote = True
            if not wrote:  # others are at the rest; one that dies lets go of its shard
                writer.require_staging()
                tick()
                time.sleep(_POLL_S)
    return writer.publish(tick)


def _in_blocks(
    rows: range,
    vectors: Vectors,
    done: Callable[[int], object] = int,
) -> npt.NDArray[np.float32]:
    """Vectors of successive rows; after each block it is told how many more there are."""
    parts = []
    for start in range(rows.start, rows.stop, BLOCK_ROWS):
        block = np.arange(start, min(start + BLOCK_ROWS, rows.stop))
        parts.append(vectors(block))
        done(len(block))
    return np.concatenate(parts)


def shard_rows_for(num_chunks: int, *, most: int, writers: int) -> int:
    """Rows of a shard, so that there are a few for each writer where the corpus is large enough.

    Shards end where blocks end, so that the vectors are the same however many write.

    Args:
        num_chunks: Chunks of the corpus.
        most: Rows of a shard at most.
        writers: Processes that share the work.
    """
    if writers == 1:
        return most
    blocks = -(-num_chunks // (4 * writers * BLOCK_ROWS))
    return min(most, blocks * BLOCK_ROWS)


def groups_of(store: ChunkStore) -> Groups:
    """The chunks of a store by their documents."""
    groups = _GROUPS.get(store)
    if groups is None:
        sizes = np.bincount(store.document_of, minlength=store.num_documents)
        groups = _GROUPS[store] = Groups(store.cut_digests(), sizes.astype(np.int32))
    return groups


def snapshot_key(store: ChunkStore, embedder: Embedder) -> SnapshotKey:
    """What a snapshot of this store by this embedder is marked with."""
    return SnapshotKey(
        embedder=fingerprint(embedder.chunk_tower),
        corpus=store.fingerprint,
        tokenizer=store.tokenizer.fingerprint,
    )


def pooled_key(store: ChunkStore, embedder: Embedder) -> SnapshotKey:
    """The same for what is under the projection, which may move without it."""
    tower = embedder.chunk_tower
    under = fingerprint(tower, but=tower.projections)
    return SnapshotKey(
        embedder=f"{under} {tower.config.pooling}",
        corpus=store.fingerprint,
        tokenizer=store.tokenizer.fingerprint,
    )
