"""Tests of when the live index is renewed in line, and of what is removed then."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from tiny import World

from openrealm.corpus.store import ChunkStore
from openrealm.index.snapshot import generations
from openrealm.models.realm import Realm
from openrealm.progress import Silent
from openrealm.retrieval.embedding import embed_rows
from openrealm.retrieval.retriever import RetrievalConfig
from openrealm.training.live import Loader
from openrealm.training.making import SnapshotMaker
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


def test_the_index_is_renewed_when_it_is_so_many_steps_old(world: World, tmp_path: Path) -> None:
    model = world.model()
    refresh = refresh_of(world, model, tmp_path)
    assert isinstance(refresh, Refresh)
    live = refresh.maker.first(10)
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


def test_pruning_keeps_what_checkpoints_need(world: World, tmp_path: Path) -> None:
    model = world.model()
    refresh = refresh_of(world, model, tmp_path)
    for step in range(3):
        refresh.maker.now(step)
        move(model)
    refresh.prune({1, 3}, set())
    assert generations(tmp_path) == [1, 3]
