"""Tests of the index that training searches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from loops import make_maker
from tiny import World

from openrealm.index.mips import ExactIndex
from openrealm.retrieval.embedding import Order, snapshot_writer, write_snapshot
from openrealm.retrieval.live_index import Loader
from openrealm.settings import RetrievalConfig

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
