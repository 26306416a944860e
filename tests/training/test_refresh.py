"""Tests of when the live index is renewed in line, and of what is removed then."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from loops import make_maker
from tiny import World

from openrealm.index.snapshot import generations
from openrealm.models.realm import Realm
from openrealm.retrieval.embedding import embed_rows
from openrealm.training.refresh import InlineRefresh, Refresh

CPU = torch.device("cpu")


def move(model: Realm) -> None:
    with torch.no_grad():
        model.embedder.chunk_tower.dense.bias.add_(1.0)


def test_the_index_is_renewed_when_it_is_so_many_steps_old(world: World, tmp_path: Path) -> None:
    model = world.model()
    refresh = InlineRefresh(make_maker(world, model, tmp_path, every=5))
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
        embed_rows(world.store, range(48), world.encoder(model)),
        rtol=1e-4,
        atol=1e-4,
    )


def test_pruning_keeps_what_checkpoints_need(world: World, tmp_path: Path) -> None:
    model = world.model()
    refresh = InlineRefresh(make_maker(world, model, tmp_path, every=5))
    for step in range(3):
        refresh.maker.now(step)
        move(model)
    refresh.prune({1, 3}, set())
    assert generations(tmp_path / "snapshots") == [1, 3]
