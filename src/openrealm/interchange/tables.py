"""Chunks and their vectors as a Parquet table or a FAISS index, row by row in the corpus's order;
knows neither runs nor models.

The Parquet table is written in groups of rows, so that memory does not grow with the corpus. A
flat FAISS index is in memory as a whole while it is written, 4 bytes a number.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from openrealm.corpus.store import ChunkStore
from openrealm.errors import MissingDependencyError
from openrealm.index.snapshot import Snapshot
from openrealm.progress import Task

GROUP_ROWS = 4096


def write_parquet(
    path: Path,
    store: ChunkStore,
    snapshot: Snapshot,
    *,
    with_vectors: bool = True,
    made_of: Mapping[str, str],
    task: Task,
) -> None:
    """Writes all chunks as a Parquet table, row i of the corpus in row i.

    Args:
        path: The file.
        store: The chunks.
        snapshot: Their vectors.
        with_vectors: Write the column ``vector``.
        made_of: What is noted in the file's own metadata, beside the snapshot's fingerprints.
        task: Told of each group of rows.
    """
    schema = _schema(snapshot, with_vectors=with_vectors, made_of=made_of)
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for rows, vectors in _groups(snapshot):
            columns = _columns(store, rows)
            columns["generation"] = pa.array(
                np.full(len(rows), snapshot.manifest.generation, dtype=np.int32)
            )
            if with_vectors:
                flat = pa.array(vectors.astype(np.float32).reshape(-1))
                columns["vector"] = pa.FixedSizeListArray.from_arrays(flat, snapshot.manifest.dim)
            writer.write_table(pa.table(columns, schema=schema), row_group_size=GROUP_ROWS)
            task.advance(len(rows))


def write_faiss(path: Path, snapshot: Snapshot) -> None:
    """Writes a snapshot's vectors as a flat inner-product index; its ids are the corpus's rows.

    Raises:
        MissingDependencyError: faiss is not installed.
    """
    faiss = require_faiss()
    index = faiss.IndexFlatIP(snapshot.manifest.dim)
    for _, vectors in _groups(snapshot):
        index.add(np.ascontiguousarray(vectors, dtype=np.float32))
    faiss.write_index(index, str(path))


def require_faiss() -> Any:
    """The faiss module.

    Raises:
        MissingDependencyError: It is not installed.
    """
    try:
        import faiss
    except ImportError as error:
        raise MissingDependencyError(
            "a FAISS index needs faiss, which is not installed: pip install 'openrealm[faiss]'"
        ) from error
    return faiss


def _schema(snapshot: Snapshot, *, with_vectors: bool, made_of: Mapping[str, str]) -> pa.Schema:
    fields = [
        pa.field("id", pa.string(), nullable=False),
        pa.field("document_id", pa.string(), nullable=False),
        pa.field("title", pa.string(), nullable=False),
        pa.field("text", pa.string(), nullable=False),
        pa.field("start", pa.int32(), nullable=False),
        pa.field("stop", pa.int32(), nullable=False),
        pa.field("generation", pa.int32(), nullable=False),
    ]
    if with_vectors:
        fields.append(pa.field("vector", pa.list_(pa.float32(), snapshot.manifest.dim)))
    key = snapshot.manifest.key
    notes = {
        "embedder": key.embedder,
        "corpus": key.corpus,
        "tokenizer": key.tokenizer,
        "step": str(snapshot.manifest.step),
    }
    notes = {**made_of, **notes}
    return pa.schema(fields, metadata={f"openrealm.{name}": text for name, text in notes.items()})


def _columns(store: ChunkStore, rows: range) -> dict[str, pa.Array]:
    chunks = [store.chunk(row) for row in rows]
    return {
        # Characters of a text are told apart by their places, so no two chunks share an id.
        "id": pa.array([f"{chunk.document_id}#{chunk.start}-{chunk.stop}" for chunk in chunks]),
        "document_id": pa.array([chunk.document_id for chunk in chunks]),
        "title": pa.array([chunk.title for chunk in chunks]),
        "text": pa.array([chunk.text for chunk in chunks]),
        "start": pa.array([chunk.start for chunk in chunks], pa.int32()),
        "stop": pa.array([chunk.stop for chunk in chunks], pa.int32()),
    }


def _groups(snapshot: Snapshot) -> Iterator[tuple[range, npt.NDArray[np.floating]]]:
    """Rows and their vectors, at most ``GROUP_ROWS`` at a time; the vectors stay on the disk."""
    at = 0
    for shard in snapshot.shards():
        for start in range(0, len(shard), GROUP_ROWS):
            vectors = shard[start : start + GROUP_ROWS]
            yield range(at, at + len(vectors)), vectors
            at += len(vectors)
