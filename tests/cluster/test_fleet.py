"""Tests of the shards of a snapshot as tasks of a Ray cluster: what is kept, and what is said."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from openrealm.cluster.fleet import connected, require_ray, write_by_fleet
from openrealm.errors import ConfigError, MissingDependencyError, SnapshotError
from openrealm.index.snapshot import SnapshotKey
from openrealm.index.snapshot_writer import SnapshotWriter
from openrealm.progress import Silent

DIM, CHUNKS, SHARD_ROWS = 4, 10, 3


def writer_in(directory: Path) -> SnapshotWriter:
    return SnapshotWriter(
        directory,
        generation=1,
        step=0,
        chunks=CHUNKS,
        dim=DIM,
        key=SnapshotKey(embedder="e", corpus="c", tokenizer="t"),
        shard_rows=SHARD_ROWS,
    )


def writes(directory: Path, *, first: Callable[[int], None] = lambda shard: None) -> Any:
    """What writes the row numbers of a shard as its vectors, after something else.

    A function of its own, which goes to a node by value: a node has no modules of tests. It opens
    the snapshot there, by the name of its folder.
    """

    def write(shard: int) -> None:
        import numpy as np

        from openrealm.index.snapshot import SnapshotKey
        from openrealm.index.snapshot_writer import SnapshotWriter

        first(shard)
        writer = SnapshotWriter(
            directory,
            generation=1,
            step=0,
            chunks=10,
            dim=4,
            key=SnapshotKey(embedder="e", corpus="c", tokenizer="t"),
            shard_rows=3,
        )
        rows = dict(writer.missing_shards()).get(shard)
        if rows is not None:
            writer.write(shard, np.repeat(np.array(rows, dtype=np.float32)[:, None], 4, axis=1))

    return write


def test_without_ray_an_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'openrealm\[ray\]'"):
        require_ray()


def test_an_address_where_nobody_listens_is_named_at_once() -> None:
    pytest.importorskip("ray")
    with (
        pytest.raises(ConfigError, match=r"'127\.0\.0\.1:9'.*ray start --head"),
        connected("127.0.0.1:9", cpus=1),
    ):
        pass


@pytest.mark.slow
def test_every_shard_is_written_on_the_cluster_and_the_snapshot_published(
    cluster: Any, tmp_path: Path
) -> None:
    with connected(cluster.address, cpus=1):
        snapshot = write_by_fleet(
            writer_in(tmp_path), writes(tmp_path), num_chunks=CHUNKS, threads=1
        )
    snapshot.verify()
    np.testing.assert_array_equal(snapshot.read()[:, 0], np.arange(CHUNKS))


@pytest.mark.slow
def test_a_shard_that_cannot_be_written_ends_it_in_a_sentence_and_the_others_stay(
    cluster: Any, tmp_path: Path
) -> None:
    from openrealm.errors import SnapshotError as Refused  # by name on the node

    def refuse(shard: int) -> None:
        if shard == 3:
            raise Refused("shard 3 is not finite")

    def divide(shard: int) -> None:
        shard // (shard - 3)

    with connected(cluster.address, cpus=1):
        for fails, said in [(refuse, "^shard 3 is not finite$"), (divide, r"shard 3 .*division")]:
            write = writes(tmp_path, first=fails)
            with pytest.raises(SnapshotError, match=said):
                write_by_fleet(writer_in(tmp_path), write, num_chunks=CHUNKS, threads=1)
        assert [shard for shard, _ in writer_in(tmp_path).missing_shards()] == [3]
        write_by_fleet(writer_in(tmp_path), writes(tmp_path), num_chunks=CHUNKS, threads=1)


@pytest.mark.slow
def test_a_disk_that_fails_for_a_moment_is_tried_again(cluster: Any, tmp_path: Path) -> None:
    tried = tmp_path / "tried"

    def full_once(shard: int) -> None:
        if not tried.exists():
            tried.touch()
            raise OSError("no space left on device")

    with connected(cluster.address, cpus=1):
        write = writes(tmp_path / "snapshots", first=full_once)
        write_by_fleet(
            writer_in(tmp_path / "snapshots"), write, num_chunks=CHUNKS, threads=1
        ).verify()
    assert tried.exists()


@pytest.mark.slow
def test_a_cluster_of_small_nodes_is_told_of_and_waits_for_a_larger_one(
    cluster: Any, tmp_path: Path
) -> None:
    said: list[str] = []
    joined: list[Any] = []

    class Listening(Silent):
        def say(self, text: str) -> None:
            said.append(text)

    def tick() -> None:
        if not joined:
            joined.append(cluster.add_node(num_cpus=2))

    with connected(cluster.address, cpus=1):
        write_by_fleet(
            writer_in(tmp_path),
            writes(tmp_path),
            num_chunks=CHUNKS,
            threads=2,
            tick=tick,
            progress=Listening(),
        )
    cluster.remove_node(joined[0])
    assert [text for text in said if "no node of the cluster has 2 CPU" in text]


@pytest.mark.slow
def test_whoever_waits_may_give_up(cluster: Any, tmp_path: Path) -> None:
    class GivenUp(Exception):
        pass

    def forever(shard: int) -> None:
        import time

        while True:
            time.sleep(0.05)

    def tick() -> None:
        raise GivenUp

    with connected(cluster.address, cpus=1):
        with pytest.raises(GivenUp):
            write_by_fleet(
                writer_in(tmp_path),
                writes(tmp_path, first=forever),
                num_chunks=CHUNKS,
                threads=1,
                tick=tick,
            )
        # The only processor is free again.
        write_by_fleet(writer_in(tmp_path), writes(tmp_path), num_chunks=CHUNKS, threads=1)
