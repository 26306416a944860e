"""Tests of the index that training searches, and of snapshots of the present weights: what is made
again, and what is used as it is.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from loops import make_maker
from tiny import World, make_store

from openrealm.corpus.records import Document
from openrealm.corpus.store import ChunkStore
from openrealm.corpus.updating import update_store
from openrealm.errors import SnapshotError
from openrealm.index.mips import ExactIndex
from openrealm.index.snapshot import generations
from openrealm.models.realm import Realm
from openrealm.progress import Silent
from openrealm.retrieval import live_index
from openrealm.retrieval.embedding import Order, embed_rows, snapshot_writer, write_snapshot
from openrealm.retrieval.live_index import Loader, PooledVectors
from openrealm.settings import RefreshConfig, RetrievalConfig

CPU = torch.device("cpu")


def test_the_live_index_searches_the_vectors_of_its_snapshot(world: World, tmp_path: Path) -> None:
    model = world.model(lively=True)
    maker = make_maker(world, model, tmp_path)
    live = maker.first(4)
    assert torch.equal(live.index.chunk_emb, torch.from_numpy(maker.now(4).read()))
    hits = live.index.search(live.index.chunk_emb[7:8] * 10, 1)
    own = (live.index.chunk_emb @ live.index.chunk_emb[7]).argmax()
    assert hits.rows.tolist() == [[int(own)]]
    assert live.retriever.index is live.index


def test_on_a_cpu_half_precision_on_disk_is_searched_in_single(
    world: World, tmp_path: Path
) -> None:
    model = world.model(lively=True)
    order = Order(generation=1, step=0)
    writer = snapshot_writer(world.store, model.embedder, tmp_path, order, dtype="float16")
    snapshot = write_snapshot(writer, world.store, world.encoder(model))
    live = Loader(world.store, RetrievalConfig(), CPU)(snapshot)
    assert isinstance(live.index, ExactIndex)
    assert live.index.chunk_emb.dtype == torch.float32
    np.testing.assert_array_equal(live.index.chunk_emb.numpy(), snapshot.read())


def move(model: Realm) -> None:
    with torch.no_grad():
        model.embedder.chunk_tower.dense.bias.add_(1.0)


def test_a_snapshot_of_the_same_weights_is_used_again(world: World, tmp_path: Path) -> None:
    model = world.model()
    maker = make_maker(world, model, tmp_path)
    first = maker.now(3)
    assert maker.now(8).directory == first.directory
    move(model)
    assert maker.now(8).directory != first.directory
    assert generations(tmp_path / "snapshots") == [1, 2]


def test_a_snapshot_of_another_corpus_is_not_used(world: World, tmp_path: Path) -> None:
    model = world.model()
    make_maker(world, model, tmp_path).now(0)
    document = Document(id="d", title="", text="Ships sail on the river.", source="test")
    store = make_store(tmp_path / "corpus", [document], world.tokenizer)
    other = make_maker(world, model, tmp_path, store=store)
    assert other.now(0).manifest.chunks == 1
    with pytest.raises(SnapshotError, match="another corpus"):
        other.reopened(1)


def test_a_resumed_run_opens_the_very_snapshot_it_had(world: World, tmp_path: Path) -> None:
    model = world.model()
    maker = make_maker(world, model, tmp_path)
    vectors = maker.now(0).read()
    move(model)
    maker.now(5)
    np.testing.assert_array_equal(
        maker.reopened(1).index.vectors(torch.arange(48)).numpy(), vectors
    )


def test_a_damaged_snapshot_is_not_gone_on_with(world: World, tmp_path: Path) -> None:
    maker = make_maker(world, world.model(), tmp_path)
    maker.now(0)
    shard = tmp_path / "snapshots" / "000001" / "shard-00002.npy"
    data = bytearray(shard.read_bytes())
    data[-3] ^= 16
    shard.write_bytes(data)
    with pytest.raises(SnapshotError, match="damaged"):
        maker.reopened(1)


@pytest.mark.parametrize("spoil", ["manifest.json", "shard-00001.npy"])
def test_a_damaged_newest_snapshot_is_made_again_rather_than_stopping_the_training(
    world: World, tmp_path: Path, spoil: str
) -> None:
    model = world.model()
    maker = make_maker(world, model, tmp_path)
    vectors = maker.now(0).read()
    path = tmp_path / "snapshots" / "000001" / spoil
    path.write_bytes(path.read_bytes()[:30])
    np.testing.assert_array_equal(maker.now(0).read(), vectors)


ALL = np.arange(48)


def pooled_of(world: World, model: Realm, directory: Path) -> PooledVectors:
    return PooledVectors(
        world.store,
        world.encoder(model),
        directory,
        RefreshConfig(),
        shard_rows=10,
        progress=Silent(),
    )


def test_pooled_vectors_are_made_once_for_one_state_of_bert(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = world.model()
    first = pooled_of(world, model, tmp_path).now()[ALL]
    move(model)  # the projection alone
    again = pooled_of(world, model, tmp_path)
    monkeypatch.setattr(live_index, "write_snapshot", None)
    np.testing.assert_array_equal(again.now()[ALL], first)  # from the disk
    monkeypatch.undo()
    with torch.no_grad():
        model.embedder.chunk_tower.bert.embeddings.word_embeddings.weight.mul_(2.0)
    assert not np.allclose(again.now()[ALL], first)
    # Those of the other state stay: another run may have begun with it.
    monkeypatch.setattr(live_index, "write_snapshot", None)
    np.testing.assert_array_equal(pooled_of(world, world.model(), tmp_path).now()[ALL], first)


def test_damaged_pooled_vectors_are_made_again(world: World, tmp_path: Path) -> None:
    model = world.model()
    first = pooled_of(world, model, tmp_path).now()[ALL]
    (shard,) = tmp_path.glob("pooled-*/000001/shard-00000.npy")
    shard.write_bytes(shard.read_bytes()[:-8])
    np.testing.assert_array_equal(pooled_of(world, model, tmp_path).now()[ALL], first)


def test_a_refresh_with_pooled_vectors_runs_no_bert(world: World, tmp_path: Path) -> None:
    model = world.model()
    pooled = pooled_of(world, model, tmp_path / "pooled")
    pooled.now()
    maker = make_maker(world, model, tmp_path, pooled=pooled)
    move(model)
    wanted = embed_rows(world.store, range(48), world.encoder(model))
    model.embedder.chunk_tower.bert.forward = None  # type: ignore[method-assign,assignment]
    np.testing.assert_allclose(maker.now(3).read(), wanted, rtol=1e-4, atol=1e-4)


def test_a_corpus_that_grows_lends_to_each_way_of_making_them(
    world: World, tmp_path: Path, embedded: list[int]
) -> None:
    """Two runs that share a folder and not their precision, or here the rows of a shard."""
    folder = tmp_path / "corpus"
    shutil.copytree(world.store.directory, folder)
    model = world.model()
    for number in range(3):
        document = Document(id=f"n{number}", title="", text="Ships sail.", source="test")
        update_store(folder, add=[document])
        store = ChunkStore.open(folder)
        for shard_rows in (10, 20):
            PooledVectors(
                store,
                world.encoder(model),
                tmp_path / "cache",
                RefreshConfig(),
                shard_rows=shard_rows,
                progress=Silent(),
            ).now()
    assert len(embedded) == 49 + 49 + 4
    # Of each way the present one, and the last, which may still be read.
    assert len(list((tmp_path / "cache").iterdir())) == 4
