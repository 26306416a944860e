"""Tests of chunks and vectors in other formats: what is read back is what the store holds."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import pytest
import torch
from tiny import World

from openrealm.errors import MissingDependencyError
from openrealm.index.mips import ExactIndex
from openrealm.index.snapshot import Snapshot, SnapshotKey
from openrealm.index.snapshot_writer import SnapshotWriter
from openrealm.interchange import tables
from openrealm.interchange.tables import write_faiss, write_parquet
from openrealm.progress import SilentTask

DIM = 5


class Counting(SilentTask):
    """Counts what is told."""

    done = 0

    def advance(self, amount: int = 1, *, note: str = "") -> None:
        self.done += amount


def vectors_of(world: World) -> npt.NDArray[np.float32]:
    return np.random.default_rng(0).normal(size=(len(world.store), DIM)).astype(np.float32)


@pytest.fixture(params=["float32", "float16"])
def snapshot(world: World, tmp_path: Path, request: pytest.FixtureRequest) -> Snapshot:
    """A snapshot in shards that are no multiples of the groups of rows."""
    writer = SnapshotWriter(
        tmp_path / "snapshots",
        generation=7,
        step=90,
        chunks=len(world.store),
        dim=DIM,
        key=SnapshotKey(embedder="ab", corpus="cd", tokenizer="ef"),
        dtype=request.param,
        shard_rows=11,
    )
    for shard, rows in writer.missing_shards():
        writer.write(shard, vectors_of(world)[rows.start : rows.stop])
    return writer.publish()


@pytest.mark.parametrize("group_rows", [4, 4096])
def test_the_table_has_every_chunk_in_order_with_its_text_vector_and_generation(
    world: World,
    snapshot: Snapshot,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    group_rows: int,
) -> None:
    monkeypatch.setattr(tables, "GROUP_ROWS", group_rows)
    task, path = Counting(), tmp_path / "chunks.parquet"
    write_parquet(path, world.store, snapshot, made_of={"run": "r1"}, task=task)
    table = pq.read_table(path)
    assert table.column_names == [
        *("id", "document_id", "title", "text", "start", "stop", "generation", "vector")
    ]
    rows = table.to_pylist()
    assert len(rows) == len(world.store) == task.done
    for number, row in enumerate(rows):
        chunk = world.store.chunk(number)
        assert (row["document_id"], row["title"]) == (chunk.document_id, chunk.title)
        assert (row["text"], row["start"], row["stop"]) == (chunk.text, chunk.start, chunk.stop)
        assert row["generation"] == 7
    np.testing.assert_array_equal(
        np.array([row["vector"] for row in rows], dtype=np.float32),
        vectors_of(world).astype(snapshot.manifest.dtype).astype(np.float32),
    )
    assert len({row["id"] for row in rows}) == len(rows)


def test_the_table_says_what_it_was_made_of(
    world: World, snapshot: Snapshot, tmp_path: Path
) -> None:
    path = tmp_path / "chunks.parquet"
    write_parquet(path, world.store, snapshot, made_of={"run": "r1"}, task=SilentTask())
    metadata = pq.read_schema(path).metadata
    for name, value in {"run": "r1", "embedder": "ab", "corpus": "cd", "step": "90"}.items():
        assert metadata[f"openrealm.{name}".encode()] == value.encode()


def test_groups_of_rows_are_bounded_so_that_memory_is(
    world: World, snapshot: Snapshot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "GROUP_ROWS", 4)
    path = tmp_path / "chunks.parquet"
    write_parquet(path, world.store, snapshot, made_of={}, task=SilentTask())
    file = pq.ParquetFile(path)
    sizes = [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)]
    assert sum(sizes) == len(world.store) and max(sizes) == 4


def test_a_table_without_vectors_has_the_same_rows(
    world: World, snapshot: Snapshot, tmp_path: Path
) -> None:
    for name, with_vectors in (("with", True), ("without", False)):
        write_parquet(
            tmp_path / name,
            world.store,
            snapshot,
            with_vectors=with_vectors,
            made_of={},
            task=SilentTask(),
        )
    whole, bare = pq.read_table(tmp_path / "with"), pq.read_table(tmp_path / "without")
    assert whole.drop_columns(["vector"]).equals(bare)


def test_the_faiss_index_finds_what_exact_search_finds(
    world: World, snapshot: Snapshot, tmp_path: Path
) -> None:
    faiss = pytest.importorskip("faiss", reason="the extra faiss brings it")
    write_faiss(tmp_path / "index.faiss", snapshot)
    index = faiss.read_index(str(tmp_path / "index.faiss"))
    queries = np.random.default_rng(1).normal(size=(6, DIM)).astype(np.float32)
    scores, rows = index.search(queries, 10)
    stored = torch.from_numpy(snapshot.read().astype(np.float32))
    wanted = ExactIndex(stored).search(torch.from_numpy(queries), 10)
    np.testing.assert_array_equal(rows, wanted.rows.numpy())
    np.testing.assert_allclose(scores, wanted.scores.numpy(), rtol=1e-5)


def test_without_faiss_the_command_that_installs_it_is_named(
    snapshot: Snapshot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'openrealm\[faiss\]'"):
        write_faiss(tmp_path / "index.faiss", snapshot)
