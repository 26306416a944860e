"""Tests of the live index: when it is renewed, what it is made of, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import World, make_store

from openrealm.corpus.documents import Document
from openrealm.corpus.store import ChunkStore
from openrealm.errors import SnapshotError
from openrealm.index.mips import ExactIndex
from openrealm.index.snapshot import generations
from openrealm.models.realm import Realm
from openrealm.progress import Silent
from openrealm.retrieval.embedding import embed_rows, write_snapshot
from openrealm.retrieval.retriever import RetrievalConfig
from openrealm.training import making
from openrealm.training.live import LiveIndex, Loader
from openrealm.training.making import PooledVectors, SnapshotMaker
from openrealm.training.refresh import InlineRefresh, Refresh
from openrealm.training.refresh_config import RefreshConfig

CPU = torch.device("cpu")


def refresh_of(
    world: World, model: Realm, directory: Path, store: ChunkStore | None = None
) -> InlineRefresh:
    maker = SnapshotMaker(
        store or world.store,
        model.embedder,
        world.templates,
        directory,
        RefreshConfig(every=5, shard_rows=10),
        autocast=None,
        load=Loader(store or world.store, RetrievalConfig(), CPU),
        progress=Silent(),
    )
    return InlineRefresh(maker)


def move(model: Realm) -> None:
    with torch.no_grad():
        model.embedder.chunk_tower.dense.bias.add_(1.0)


def live_at(world: World, refresh: InlineRefresh, step: int) -> LiveIndex:
    return refresh.first(step)


def test_the_index_is_renewed_when_it_is_so_many_steps_old(world: World, tmp_path: Path) -> None:
    model = world.model()
    refresh = refresh_of(world, model, tmp_path)
    assert isinstance(refresh, Refresh)
    live = live_at(world, refresh, 10)
    assert (live.generation, live.step) == (1, 10)
    move(model)
    assert refresh.before_step(14, live) is None
    renewed = refresh.before_step(15, live)
    assert renewed is not None
    assert (renewed.live.generation, renewed.live.step) == (2, 15)
    np.testing.assert_allclose(
        renewed.live.index.vectors(torch.arange(48)).numpy(),
        embed_rows(world.store, range(48), model.embedder, world.templates),
        rtol=1e-4,
        atol=1e-4,
    )


def test_a_snapshot_of_the_same_weights_is_used_again(world: World, tmp_path: Path) -> None:
    model = world.model()
    refresh = refresh_of(world, model, tmp_path)
    first = refresh.maker.now(3)
    assert refresh.maker.now(8).directory == first.directory
    move(model)
    assert refresh.maker.now(8).directory != first.directory
    assert generations(tmp_path) == [1, 2]


def test_a_snapshot_of_another_corpus_is_not_used(world: World, tmp_path: Path) -> None:
    model = world.model()
    refresh_of(world, model, tmp_path / "snapshots").maker.now(0)
    document = Document(id="d", title="", text="Ships sail on the river.", source="test")
    store = make_store(tmp_path / "corpus", [document], world.tokenizer)
    other = refresh_of(world, model, tmp_path / "snapshots", store)
    assert other.maker.now(0).manifest.chunks == 1
    with pytest.raises(SnapshotError, match="another corpus"):
        other.reopened(1)


def test_a_resumed_run_opens_the_very_snapshot_it_had(world: World, tmp_path: Path) -> None:
    model = world.model()
    refresh = refresh_of(world, model, tmp_path)
    vectors = refresh.maker.now(0).read()
    move(model)
    refresh.maker.now(5)
    np.testing.assert_array_equal(
        refresh.reopened(1).index.vectors(torch.arange(48)).numpy(), vectors
    )


def test_a_damaged_snapshot_is_not_gone_on_with(world: World, tmp_path: Path) -> None:
    refresh = refresh_of(world, world.model(), tmp_path)
    refresh.maker.now(0)
    shard = tmp_path / "000001" / "shard-00002.npy"
    data = bytearray(shard.read_bytes())
    data[-3] ^= 16
    shard.write_bytes(data)
    with pytest.raises(SnapshotError, match="damaged"):
        refresh.reopened(1)


@pytest.mark.parametrize("spoil", ["manifest.json", "shard-00001.npy"])
def test_a_damaged_newest_snapshot_is_made_again_rather_than_stopping_the_training(
    world: World, tmp_path: Path, spoil: str
) -> None:
    model = world.model()
    refresh = refresh_of(world, model, tmp_path)
    vectors = refresh.maker.now(0).read()
    path = tmp_path / "000001" / spoil
    path.write_bytes(path.read_bytes()[:30])
    np.testing.assert_array_equal(refresh.maker.now(0).read(), vectors)


def test_pruning_keeps_what_checkpoints_need(world: World, tmp_path: Path) -> None:
    model = world.model()
    refresh = refresh_of(world, model, tmp_path)
    for step in range(3):
        refresh.maker.now(step)
        move(model)
    refresh.prune({1, 3}, set())
    assert generations(tmp_path) == [1, 3]


def test_the_live_index_searches_the_vectors_of_its_snapshot(world: World, tmp_path: Path) -> None:
    model = world.model(lively=True)
    refresh = refresh_of(world, model, tmp_path)
    live = live_at(world, refresh, 4)
    assert torch.equal(live.index.chunk_emb, torch.from_numpy(refresh.maker.now(4).read()))
    hits = live.index.search(live.index.chunk_emb[7:8] * 10, 1)
    own = (live.index.chunk_emb @ live.index.chunk_emb[7]).argmax()
    assert hits.rows.tolist() == [[int(own)]]
    assert live.retriever.index is live.index


def test_on_a_cpu_half_precision_on_disk_is_searched_in_single(
    world: World, tmp_path: Path
) -> None:
    model = world.model(lively=True)
    snapshot = write_snapshot(
        world.store,
        model.embedder,
        world.templates,
        tmp_path,
        generation=1,
        step=0,
        dtype="float16",
    )
    live = Loader(world.store, RetrievalConfig(), CPU)(snapshot)
    assert isinstance(live.index, ExactIndex)
    assert live.index.chunk_emb.dtype == torch.float32
    np.testing.assert_array_equal(live.index.chunk_emb.numpy(), snapshot.read())


ALL = np.arange(48)


def pooled_of(world: World, model: Realm, directory: Path) -> PooledVectors:
    return PooledVectors(
        world.store,
        model.embedder,
        world.templates,
        directory,
        RefreshConfig(shard_rows=10),
        autocast=None,
        progress=Silent(),
    )


def test_pooled_vectors_are_made_once_for_one_state_of_bert(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = world.model()
    first = pooled_of(world, model, tmp_path).now()[ALL]
    move(model)  # the projection alone
    again = pooled_of(world, model, tmp_path)
    monkeypatch.setattr(making, "write_pooled", None)
    np.testing.assert_array_equal(again.now()[ALL], first)  # from the disk
    monkeypatch.undo()
    with torch.no_grad():
        model.embedder.chunk_tower.bert.embeddings.word_embeddings.weight.mul_(2.0)
    assert not np.allclose(again.now()[ALL], first)
    # Those of the other state stay: another run may have begun with it.
    monkeypatch.setattr(making, "write_pooled", None)
    np.testing.assert_array_equal(pooled_of(world, world.model(), tmp_path).now()[ALL], first)


def test_pooled_vectors_of_an_earlier_corpus_are_removed(world: World, tmp_path: Path) -> None:
    earlier = tmp_path / "pooled-0123456789abcdef-0123456789abcdef"
    (earlier / "000001").mkdir(parents=True)
    others = tmp_path / "bm25-0123456789abcdef"
    others.mkdir()
    pooled_of(world, world.model(), tmp_path).now()
    assert not earlier.exists()
    assert others.is_dir()
    assert len(list(tmp_path.glob("pooled-*"))) == 1


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
    maker = SnapshotMaker(
        world.store,
        model.embedder,
        world.templates,
        tmp_path / "snapshots",
        RefreshConfig(),
        autocast=None,
        load=Loader(world.store, RetrievalConfig(), CPU),
        progress=Silent(),
        pooled=pooled,
    )
    move(model)
    wanted = embed_rows(world.store, range(48), model.embedder, world.templates)
    model.embedder.chunk_tower.bert.forward = None  # type: ignore[method-assign,assignment]
    np.testing.assert_allclose(maker.now(3).read(), wanted, rtol=1e-4, atol=1e-4)
