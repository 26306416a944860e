"""Chunk store x chunk tower -> snapshot; knows nothing of queries.

Chunks are embedded in order of length, in batches of a bounded number of tokens, so that little is
spent on padding; a snapshot is written shard by shard and taken up where a dead process left it.
Where only the projection above BERT moves, what is under it is kept (*pooled vectors*), and a
snapshot is no more than the projection of that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from openrealm.corpus.store import ChunkStore
from openrealm.index.snapshot import Snapshot, SnapshotKey, SnapshotWriter
from openrealm.models.embedder import Embedder
from openrealm.models.inputs import Templates
from openrealm.models.pretrained import fingerprint
from openrealm.models.realm import device_of, evaluating
from openrealm.progress import Progress, Silent


def embed_rows(
    store: ChunkStore,
    rows: Sequence[int] | npt.NDArray[np.int64],
    embedder: Embedder,
    templates: Templates,
    *,
    pooled: bool = False,
    batch_tokens: int = 16_384,
    autocast: torch.dtype | None = None,
) -> npt.NDArray[np.float32]:
    """Vectors ``(rows, dim)`` of some chunks, in the order given.

    Args:
        store: The chunks.
        rows: Which of them.
        embedder: The towers; put in evaluation mode for the duration.
        templates: How inputs are joined and where they are cut.
        pooled: Stop under the projection: ``(rows, hidden)``.
        batch_tokens: Tokens per forward pass, padding included.
        autocast: Lower precision for matrix products, where the hardware has it.
    """
    rows = np.asarray(rows, dtype=np.int64)
    out = np.empty((len(rows), embedder.hidden if pooled else embedder.dim), dtype=np.float32)
    embed = embedder.chunk_tower.pool if pooled else embedder.embed_chunks
    device = device_of(embedder)
    with evaluating(embedder), torch.inference_mode(), _autocast(device, autocast):
        for batch in batches_by_length(store.lengths[rows], batch_tokens=batch_tokens):
            titles = [store.title_ids(int(row)) for row in rows[batch]]
            bodies = [store.body_ids(int(row)) for row in rows[batch]]
            inputs = templates.chunk(titles, bodies).to(device)
            out[batch] = embed(inputs).float().cpu().numpy()
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


def write_snapshot(
    store: ChunkStore,
    embedder: Embedder,
    templates: Templates,
    directory: Path,
    *,
    generation: int,
    step: int,
    dtype: str = "float32",
    shard_rows: int = 65_536,
    batch_tokens: int = 16_384,
    autocast: torch.dtype | None = None,
    pooled: npt.NDArray[np.float32] | None = None,
    progress: Progress | None = None,
) -> Snapshot:
    """Embeds the whole corpus and publishes it as a snapshot.

    Args:
        store: The corpus.
        embedder: The towers whose weights the snapshot stands for.
        templates: How inputs are joined and where they are cut.
        directory: Folder of the run's snapshots.
        generation: Number of the snapshot.
        step: Training step of the weights.
        dtype: ``float32`` or ``float16`` on disk.
        shard_rows: Rows that a crash can cost.
        batch_tokens: Tokens per forward pass.
        autocast: Lower precision for matrix products.
        pooled: Pooled vectors of all chunks, where they are known: BERT is not run.
        progress: Where to tell how far it is; silent by default.
    """
    writer = SnapshotWriter(
        directory,
        generation=generation,
        step=step,
        chunks=len(store),
        dim=embedder.dim,
        key=snapshot_key(store, embedder),
        dtype=dtype,
        shard_rows=shard_rows,
    )

    def vectors(block: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        if pooled is not None:
            return project_rows(pooled[block], embedder)
        return embed_rows(
            store, block, embedder, templates, batch_tokens=batch_tokens, autocast=autocast
        )

    return _written(writer, len(store), vectors, progress if pooled is None else None)


def write_pooled(
    store: ChunkStore,
    embedder: Embedder,
    templates: Templates,
    directory: Path,
    *,
    generation: int,
    shard_rows: int = 65_536,
    batch_tokens: int = 16_384,
    autocast: torch.dtype | None = None,
    progress: Progress | None = None,
) -> Snapshot:
    """Embeds the whole corpus up to the projection; arguments as those of `write_snapshot`."""
    writer = SnapshotWriter(
        directory,
        generation=generation,
        step=0,
        chunks=len(store),
        dim=embedder.hidden,
        key=pooled_key(store, embedder),
        shard_rows=shard_rows,
    )

    def vectors(block: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        return embed_rows(
            store,
            block,
            embedder,
            templates,
            pooled=True,
            batch_tokens=batch_tokens,
            autocast=autocast,
        )

    return _written(writer, len(store), vectors, progress)


def _written(
    writer: SnapshotWriter,
    num_chunks: int,
    vectors: Callable[[npt.NDArray[np.int64]], npt.NDArray[np.float32]],
    progress: Progress | None,
) -> Snapshot:
    """What a writer still lacks, in blocks of rows, and all of it published."""
    missing = writer.missing_shards()
    left = sum(len(rows) for _, rows in missing)
    work = (progress or Silent()).task(
        "embedding chunks", total=num_chunks, unit="chunks", done=num_chunks - left
    )
    with work as task:
        for shard, rows in missing:
            parts = []
            for start in range(rows.start, rows.stop, 2048):
                block = np.arange(start, min(start + 2048, rows.stop))
                parts.append(vectors(block))
                task.advance(len(block))
            writer.write(shard, np.concatenate(parts))
    return writer.publish()


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


def _autocast(device: torch.device, dtype: torch.dtype | None) -> torch.autocast:
    return torch.autocast(device.type, dtype=dtype or torch.bfloat16, enabled=dtype is not None)
