"""Tests of weights that snapshots are ordered with."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny import World

from openrealm.errors import CheckpointError
from openrealm.models.pretrained import fingerprint
from openrealm.retrieval.embedding import Order
from openrealm.training.weights import (
    is_ordered,
    load_ordered,
    orders,
    prune_weights,
    publish_weights,
    take_back,
    tower_copy,
)


def ordered(world: World, directory: Path, generation: int, step: int = 0) -> Order:
    order = Order(generation=generation, step=step)
    publish_weights(directory, order, tower_copy(world.model(seed=generation).embedder))
    return order


def test_whoever_embeds_has_the_weights_that_were_ordered(world: World, tmp_path: Path) -> None:
    order = ordered(world, tmp_path, 3, step=40)
    assert orders(tmp_path) == [order] == [Order(generation=3, step=40)]
    embedder = world.model(seed=9).embedder
    load_ordered(tmp_path, order, embedder)
    assert fingerprint(embedder.chunk_tower) == fingerprint(
        world.model(seed=3).embedder.chunk_tower
    )


def test_a_copy_stays_as_it_was_when_training_goes_on(world: World) -> None:
    model = world.model()
    kept = tower_copy(model.embedder)
    before = fingerprint(kept)
    with torch.no_grad():
        model.embedder.chunk_tower.dense.bias.add_(1.0)
    assert fingerprint(kept) == before != fingerprint(model.embedder.chunk_tower)


def test_orders_are_taken_back_and_pruned(world: World, tmp_path: Path) -> None:
    first, second, third = (ordered(world, tmp_path, n) for n in (1, 2, 10))
    assert orders(tmp_path) == [first, second, third]
    take_back(tmp_path, second)
    assert not is_ordered(tmp_path, second) and is_ordered(tmp_path, third)
    prune_weights(tmp_path, keep={10})
    assert orders(tmp_path) == [third]
    with pytest.raises(CheckpointError, match="holds no weights to embed with"):
        load_ordered(tmp_path, first, world.model().embedder)


def test_no_folder_means_no_orders(tmp_path: Path) -> None:
    assert orders(tmp_path / "none") == []
    prune_weights(tmp_path / "none", keep=set())


def test_damaged_weights_are_refused(world: World, tmp_path: Path) -> None:
    order = ordered(world, tmp_path, 1)
    path = tmp_path / "000001" / "weights.safetensors"
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match="damaged"):
        load_ordered(tmp_path, order, world.model().embedder)


def test_an_order_half_removed_counts_as_none(world: World, tmp_path: Path) -> None:
    order = ordered(world, tmp_path, 1)
    (tmp_path / "000001" / "order.json").write_text("{", encoding="utf-8")
    assert orders(tmp_path) == []
    with pytest.raises(CheckpointError, match="holds no weights"):
        load_ordered(tmp_path, order, world.model().embedder)
