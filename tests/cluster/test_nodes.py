"""Tests of embedding on nodes that share nothing but a storage: the vectors are those of one
process, and what is in the storage is whole, right, and gone when it is not needed.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import commands
import pytest
from trained import SHAPE, STEPS, by_one_process

import openrealm
from openrealm.cluster.embedding import stored
from openrealm.cluster.nodes import StoredOrder, _node_of_storage
from openrealm.cluster.storage import Storage
from openrealm.errors import ConfigError, InputError, StorageError
from openrealm.index.snapshot import Snapshot
from openrealm.index.snapshot_writer import SnapshotWriter
from openrealm.retrieval.embedding import Order, groups_of, snapshot_key
from openrealm.runs.folders import WorkspaceFolder
from openrealm.runs.loaded import LoadedModel, load_model
from openrealm.training.weights import publish_weights, take_back

SHARD_ROWS, NUM_SHARDS = 4, 12
ORDER = Order(generation=7, step=4)


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    pytest.importorskip("fsspec")
    return tmp_path / "shared"


@pytest.fixture
def storage(shared: Path) -> Storage:
    return Storage(f"file://{shared}")


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The temporary files of a node of one's own."""
    folder = tmp_path / "node"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    _node_of_storage.cache_clear()
    return folder


@pytest.fixture
def workspace(trained: Path, tmp_path: Path) -> Path:
    """A workspace of one's own whose run has no snapshot."""
    copy = tmp_path / "rivers"
    shutil.copytree(trained, copy)
    shutil.rmtree(WorkspaceFolder(copy).run().snapshots)
    return copy


@pytest.fixture
def loaded(workspace: Path) -> LoadedModel:
    found = load_model(WorkspaceFolder(workspace), name=None)
    publish_weights(found.run.weights, ORDER, found.model.embedder.chunk_tower)
    return found


def writer(loaded: LoadedModel) -> SnapshotWriter:
    return SnapshotWriter(
        loaded.run.snapshots,
        generation=ORDER.generation,
        step=ORDER.step,
        chunks=len(loaded.corpus),
        dim=loaded.model.embedder.dim,
        key=snapshot_key(loaded.corpus, loaded.model.embedder),
        shard_rows=SHARD_ROWS,
        groups=groups_of(loaded.corpus),
    )


def offered(
    storage: Storage, loaded: LoadedModel, tick: Callable[[], None] | None = None
) -> AbstractContextManager[StoredOrder]:
    return stored(
        storage,
        loaded.corpus,
        loaded.run,
        loaded.settings,
        weights=loaded.run.weights,
        order=ORDER,
        shard_rows=SHARD_ROWS,
        on_gpu=False,
        tick=tick,
    )


def test_nodes_without_the_workspace_make_the_snapshot_of_one_process(
    storage: Storage, shared: Path, elsewhere: Path, workspace: Path, loaded: LoadedModel
) -> None:
    with offered(storage, loaded) as sent:
        away = workspace.rename(workspace.with_name("away"))
        left = {shard: sent(shard) for shard in [*reversed(range(NUM_SHARDS)), 3]}
        away.rename(workspace)
        made = writer(loaded)
        for shard, sha256 in left.items():
            sent.taken(shard, sha256, made)
            sent.taken(shard, sha256, made)  # as when a node is at it twice
    expected = by_one_process(loaded, workspace / "alone", ORDER, shard_rows=SHARD_ROWS)
    assert made.publish().manifest == expected.manifest
    assert [path.name[:7] for path in shared.iterdir()] == ["corpus-"]
    assert len(list(elsewhere.glob("openrealm-*/corpus-*/store.json"))) == 1
    assert not list(elsewhere.glob("openrealm-*/*.tmp"))


def test_the_corpus_is_put_once(
    storage: Storage, shared: Path, elsewhere: Path, loaded: LoadedModel
) -> None:
    with offered(storage, loaded):
        times = {p: p.stat().st_mtime_ns for p in shared.glob("corpus-*/**/*") if p.is_file()}
        (manifest,) = [path for path in times if path.name == "store.json"]
    assert times[manifest] == max(times.values()), "the manifest is not the last"
    with offered(storage, loaded):
        assert {path: path.stat().st_mtime_ns for path in times} == times
    manifest.unlink()  # as after a process that died before it had put all
    with offered(storage, loaded):
        assert manifest.is_file()


def test_whoever_puts_a_large_corpus_shows_that_it_is_alive_and_may_give_up(
    storage: Storage, shared: Path, loaded: LoadedModel
) -> None:
    class GivenUp(Exception):
        pass

    put: list[int] = []

    def tick() -> None:
        put.append(len(list(shared.glob("corpus-*/**/*.*"))) if shared.is_dir() else 0)
        if len(put) == 3:
            raise GivenUp

    with pytest.raises(GivenUp), offered(storage, loaded, tick=tick):
        pass
    assert put == [0, 1, 2]
    assert not list(shared.glob("corpus-*/store.json"))


def test_a_shard_that_was_torn_does_not_come_into_the_workspace(
    storage: Storage, shared: Path, elsewhere: Path, loaded: LoadedModel
) -> None:
    with offered(storage, loaded) as sent:
        sha256 = sent(2)
        (file,) = shared.glob("*/000007/shard-00002.npy")
        file.write_bytes(file.read_bytes()[:-1])
        made = writer(loaded)
        with pytest.raises(StorageError, match="shard-00002"):
            sent.taken(2, sha256, made)
        assert len(made.missing_shards()) == NUM_SHARDS
        sent.taken(2, sent(2), made)
        assert len(made.missing_shards()) == NUM_SHARDS - 1


def test_a_corpus_that_was_damaged_in_the_storage_is_refused_and_not_kept(
    storage: Storage, shared: Path, elsewhere: Path, loaded: LoadedModel
) -> None:
    with offered(storage, loaded) as sent:
        (file,) = shared.glob("corpus-*/segment-*/bodies.ids")
        whole = file.read_bytes()
        file.write_bytes(whole[:-2])
        with pytest.raises(StorageError, match=r"bodies\.ids' is not what was written there"):
            sent(0)
        assert not list(elsewhere.glob("openrealm-*/corpus-*/"))
        file.write_bytes(whole)
        assert sent(0)


def test_an_order_that_was_taken_back_is_left(
    storage: Storage, elsewhere: Path, loaded: LoadedModel
) -> None:
    with offered(storage, loaded) as sent:
        pass
    assert sent(3) == ""
    with pytest.raises(StorageError, match="has gone while nodes were at it"):
        sent.taken(3, "", writer(loaded))
    take_back(loaded.run.weights, ORDER)
    with pytest.raises(Exception, match="no weights to embed with"), offered(storage, loaded):
        pass


def test_what_another_process_could_not_remove_is_removed(
    storage: Storage, shared: Path, elsewhere: Path, loaded: LoadedModel
) -> None:
    with offered(storage, loaded) as sent:
        left = shared / sent.folder / "shard-00099.npy"
        left.touch()
        with offered(storage, loaded):
            assert not left.exists()


def test_a_folder_of_somebody_else_is_not_trusted(
    storage: Storage, elsewhere: Path, loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    with offered(storage, loaded) as sent:
        folder = elsewhere / "openrealm-12345678"
        folder.mkdir()
        monkeypatch.setattr("os.getuid", lambda: 12345678)
        with pytest.raises(StorageError, match="belongs to somebody else; set TMPDIR"):
            sent(0)


@pytest.mark.slow
def test_a_cluster_indexes_through_a_storage(
    cluster: Any, workspace: Path, shared: Path, tmp_path: Path
) -> None:
    report = openrealm.open(workspace).index(
        fleet=cluster.address, storage=f"file://{shared}", check=True
    )
    loaded = load_model(WorkspaceFolder(workspace), name=None)
    order = Order(generation=report.generation, step=report.step)
    expected = by_one_process(loaded, tmp_path / "alone", order, shard_rows=2048)
    made = Snapshot.open(loaded.run.snapshots / f"{report.generation:06d}")
    assert made.manifest == expected.manifest  # checksums included
    assert [path.name[:7] for path in shared.iterdir()] == ["corpus-"]


@pytest.mark.parametrize(
    ("refused", "said"),
    [
        (lambda place: openrealm.open(place).index(storage="s3://b"), "name that too"),
        (lambda place: openrealm.open(place).index(fleet="local", storage="s4://b"), "s4://b"),
    ],
)
def test_a_storage_that_cannot_be_used_is_refused_at_once(
    workspace: Path, refused: Callable[[Path], object], said: str
) -> None:
    pytest.importorskip("ray")
    with pytest.raises((ConfigError, InputError), match=said):
        refused(workspace)


def test_a_storage_that_cannot_be_used_is_refused_also_where_nothing_is_left_to_do(
    trained: Path,
) -> None:
    with pytest.raises(ConfigError, match="s4://b"):
        openrealm.open(trained).index(fleet="local", storage="s4://b")


def test_a_training_with_a_storage_of_an_unknown_kind_does_not_begin(
    trained: Path, tmp_path: Path
) -> None:
    pytest.importorskip("ray")
    shutil.copytree(trained / "corpus", tmp_path / "rivers" / "corpus")
    with pytest.raises(ConfigError, match="'s4://b' is no URL"):
        commands.pretrain(
            tmp_path / "rivers",
            preset="tiny",
            start="scratch",
            assignments=[*SHAPE, *STEPS, "refresh.mode=fleet", "refresh.storage=s4://b"],
        )
