"""Tests of embedding a corpus: order, batches, taking up what a dead process left."""

from __future__ import annotations

import shutil
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import World

from openrealm.corpus.records import Document
from openrealm.corpus.store import ChunkStore
from openrealm.corpus.updating import rechunk_store, update_store
from openrealm.errors import SnapshotError
from openrealm.index.snapshot import Snapshot, generations
from openrealm.index.snapshot_writer import SnapshotWriter
from openrealm.models.realm import Realm
from openrealm.progress import SilentTask
from openrealm.retrieval import embedding
from openrealm.retrieval.embedding import (
    Order,
    batches_by_length,
    embed_rows,
    groups_of,
    pooled_key,
    snapshot_key,
    snapshot_writer,
    write_projected,
    write_snapshot,
)


@pytest.fixture()
def model(world: World) -> Realm:
    return world.model(lively=True)


def one_by_one(world: World, model: Realm) -> np.ndarray:
    found = []
    for row in range(len(world.store)):
        inputs = world.templates.chunk([world.store.title_ids(row)], [world.store.body_ids(row)])
        found.append(model.embedder.embed_chunks(inputs)[0].detach().numpy())
    return np.stack(found)


def snapshot(
    world: World,
    model: Realm,
    directory: Path,
    *,
    store: ChunkStore | None = None,
    generation: int = 1,
    step: int = 3,
    dtype: str = "float32",
    shard_rows: int = 10,
    pooled: bool = False,
    **options: Any,
) -> Snapshot:
    store, order = store or world.store, Order(generation=generation, step=step)
    writer = snapshot_writer(
        store,
        model.embedder,
        directory,
        order,
        dtype=dtype,
        shard_rows=shard_rows,
        pooled=pooled,
    )
    return write_snapshot(writer, store, world.encoder(model), pooled=pooled, **options)


@pytest.mark.parametrize("batch_tokens", [1, 100, 100_000])
def test_vectors_come_in_the_order_of_the_rows_whatever_the_batches(
    world: World, model: Realm, batch_tokens: int
) -> None:
    rows = [30, 2, 2, 17, 0]
    found = embed_rows(world.store, rows, world.encoder(model, batch_tokens=batch_tokens))
    np.testing.assert_allclose(found, one_by_one(world, model)[rows], rtol=1e-4, atol=1e-4)
    assert found.dtype == np.float32


def test_no_rows_give_no_vectors(world: World, model: Realm) -> None:
    assert embed_rows(world.store, [], world.encoder(model)).shape == (0, 8)


def test_dropout_is_off_while_chunks_are_embedded_and_then_as_it_was(world: World) -> None:
    model = world.model(dropout=0.5)
    model.embedder.query_tower.bert.encoder.train()
    before = [part.training for part in model.modules()]
    first = embed_rows(world.store, range(5), world.encoder(model))
    second = embed_rows(world.store, range(5), world.encoder(model))
    np.testing.assert_array_equal(first, second)
    assert [part.training for part in model.modules()] == before


def test_batches_hold_every_row_once_and_stay_within_their_tokens() -> None:
    lengths = np.random.default_rng(0).integers(3, 60, size=200).astype(np.int32)
    batches = list(batches_by_length(lengths, batch_tokens=128))
    assert sorted(np.concatenate(batches).tolist()) == list(range(200))
    assert all(len(b) * lengths[b].max() <= 128 or len(b) == 1 for b in batches)
    # Nearly full: the next row would not have fitted.
    for batch, after in pairwise(batches):
        assert (len(batch) + 1) * lengths[after[0]] > 128


def test_a_row_longer_than_a_batch_is_a_batch_of_its_own() -> None:
    lengths = np.array([50, 60, 2], dtype=np.int32)
    assert [b.tolist() for b in batches_by_length(lengths, batch_tokens=10)] == [[2], [0], [1]]


def test_a_snapshot_holds_the_vectors_of_all_chunks_in_order(
    world: World, model: Realm, tmp_path: Path
) -> None:
    written = snapshot(world, model, tmp_path)
    np.testing.assert_allclose(written.read(), one_by_one(world, model), rtol=1e-4, atol=1e-4)
    written.require(snapshot_key(world.store, model.embedder))
    assert (written.manifest.step, len(written.manifest.checksums)) == (3, 5)


def test_half_precision_on_disk_is_the_rounding_of_the_same_vectors(
    world: World, model: Realm, tmp_path: Path
) -> None:
    full = snapshot(world, model, tmp_path).read()
    half = snapshot(world, model, tmp_path, generation=2, dtype="float16").read()
    np.testing.assert_array_equal(half, full.astype(np.float16))


def test_an_embedding_that_was_killed_goes_on_after_its_last_whole_shard(
    world: World, model: Realm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = snapshot(world, model, tmp_path / "whole").read()
    embedded: list[int] = []
    original = embedding.embed_rows

    def counting(store: Any, rows: Any, *rest: Any, **options: Any) -> Any:
        if len(embedded) == 20:
            raise KeyboardInterrupt
        embedded.extend(int(row) for row in rows)
        return original(store, rows, *rest, **options)

    monkeypatch.setattr(embedding, "embed_rows", counting)
    with pytest.raises(KeyboardInterrupt):
        snapshot(world, model, tmp_path / "torn")
    assert generations(tmp_path / "torn") == []
    embedded.append(-1)  # alive again
    found = snapshot(world, model, tmp_path / "torn").read()
    assert embedded == [*range(20), -1, *range(20, 48)]
    np.testing.assert_array_equal(found, whole)


class Counting(SilentTask):
    """A task that remembers how far it was and how far it came."""

    def __init__(self) -> None:
        self.total, self.done = 0, 0

    def task(self, label: str, *, total: int | None, unit: str = "", done: int = 0) -> Counting:
        self.total, self.done = total or 0, done
        return self

    def say(self, text: str) -> None:
        """Says nothing."""

    def advance(self, amount: int = 1, *, note: str = "") -> None:
        self.done += amount


def test_progress_counts_what_lies_behind_already(
    world: World, model: Realm, tmp_path: Path
) -> None:
    key = snapshot_key(world.store, model.embedder)
    writer = SnapshotWriter(
        tmp_path,
        generation=1,
        step=3,
        chunks=48,
        dim=8,
        key=key,
        shard_rows=10,
        groups=groups_of(world.store),
    )
    writer.write(1, np.zeros((10, 8), dtype=np.float32))
    progress = Counting()
    snapshot(world, model, tmp_path, progress=progress)
    assert (progress.total, progress.done) == (48, 48)


def test_an_embedder_that_has_diverged_is_told_before_its_vectors_are_searched(
    world: World, model: Realm, tmp_path: Path
) -> None:
    with torch.no_grad():
        model.embedder.chunk_tower.layer_norm.bias[0] = torch.nan
    with pytest.raises(SnapshotError, match="diverged"):
        snapshot(world, model, tmp_path)
    assert generations(tmp_path) == []


def test_the_key_of_a_snapshot_follows_the_chunk_tower_alone(world: World) -> None:
    model = world.model(shared=False)
    before = snapshot_key(world.store, model.embedder)
    with torch.no_grad():
        model.embedder.query_tower.dense.bias.add_(1.0)
        model.reader.span_head.dense_output.bias.add_(1.0)
    assert snapshot_key(world.store, model.embedder) == before
    with torch.no_grad():
        model.embedder.chunk_tower.dense.bias.add_(1.0)
    after = snapshot_key(world.store, model.embedder)
    assert after.embedder != before.embedder
    assert (after.corpus, after.tokenizer) == (before.corpus, before.tokenizer)
    assert before.corpus == world.store.fingerprint


def test_lower_precision_gives_nearly_the_same_vectors(world: World, model: Realm) -> None:
    full = embed_rows(world.store, range(8), world.encoder(model))
    low = embed_rows(world.store, range(8), world.encoder(model, autocast=torch.bfloat16))
    assert not np.array_equal(full, low)
    np.testing.assert_allclose(full, low, atol=0.3)


def test_a_snapshot_of_pooled_vectors_is_that_of_the_chunks(
    world: World, model: Realm, tmp_path: Path
) -> None:
    pooled = snapshot(world, model, tmp_path / "p", pooled=True)
    assert (pooled.manifest.chunks, pooled.manifest.dim) == (48, 16)
    whole = snapshot(world, model, tmp_path / "whole")
    order = Order(generation=1, step=3)
    writer = snapshot_writer(world.store, model.embedder, tmp_path / "known", order)
    known = write_projected(writer, world.store, pooled.rows(), model.embedder)
    np.testing.assert_allclose(known.read(), whole.read(), rtol=1e-4, atol=1e-4)
    assert known.manifest.key == whole.manifest.key


def test_the_key_of_pooled_vectors_leaves_the_projection_out(world: World, model: Realm) -> None:
    before = pooled_key(world.store, model.embedder)
    tower = model.embedder.chunk_tower
    with torch.no_grad():
        tower.dense.weight.add_(1.0)
        tower.layer_norm.bias.add_(1.0)
    assert pooled_key(world.store, model.embedder) == before
    with torch.no_grad():
        tower.bert.embeddings.word_embeddings.weight[3, 3] += 1.0
    assert pooled_key(world.store, model.embedder) != before


@pytest.fixture()
def grown(world: World, tmp_path: Path) -> ChunkStore:
    """The world's store with a document more, one less, and one changed."""
    folder = tmp_path / "grown"
    shutil.copytree(world.store.directory, folder)
    documents = list(world.store.documents())
    new = Document(id="new", title="Zanthor", text="A town of glass blowers.", source="test")
    changed = replace(documents[5], text=documents[5].text + " It is old.")
    update_store(folder, add=[new, changed], remove=[documents[2].id])
    return ChunkStore.open(folder)


@pytest.mark.parametrize("pooled", [False, True])
def test_a_corpus_that_has_grown_is_embedded_where_it_is_new(
    world: World,
    model: Realm,
    grown: ChunkStore,
    tmp_path: Path,
    embedded: list[int],
    pooled: bool,
) -> None:
    write = partial(snapshot, world, model, pooled=pooled)
    before = write(tmp_path / "a")
    fresh = write(tmp_path / "b", store=grown).read()
    embedded.clear()
    after = write(tmp_path / "c", store=grown, earlier=before)
    old = set(world.store.documents())
    new = {n for n in range(grown.num_documents) if grown.document(n) not in old}
    assert {int(grown.document_of[row]) for row in embedded} == new and len(new) == 2
    np.testing.assert_allclose(after.read(), fresh, rtol=1e-4, atol=1e-4)
    after.verify()
    # What was there before has the very same numbers.
    for document in old - {world.store.document(2), world.store.document(5)}:
        theirs, ours = (
            store.rows_of(store.find_document(document.id) or 0) for store in (world.store, grown)
        )
        np.testing.assert_array_equal(after.read(ours), before.read(theirs))
    # And back: nothing is left to embed but what was removed and changed.
    embedded.clear()
    write(tmp_path / "d", earlier=after)
    assert {int(world.store.document_of[row]) for row in embedded} == {2, 5}


@pytest.mark.parametrize("lacking", ["groups", "folder"])
def test_all_is_embedded_where_an_earlier_snapshot_lends_nothing(
    world: World, model: Realm, grown: ChunkStore, tmp_path: Path, lacking: str
) -> None:
    earlier = snapshot(world, model, tmp_path / "a")
    if lacking == "groups":  # as it was written by an earlier version
        earlier = Snapshot(earlier.directory, replace(earlier.manifest, groups=""))
    else:  # removed by another process
        shutil.rmtree(earlier.directory)
    found = snapshot(world, model, tmp_path / "b", store=grown, earlier=earlier)
    wanted = snapshot(world, model, tmp_path / "c", store=grown)
    np.testing.assert_array_equal(found.read(), wanted.read())


def test_nothing_is_taken_over_where_the_store_was_cut_otherwise(
    world: World, model: Realm, tmp_path: Path
) -> None:
    folder = tmp_path / "recut"
    shutil.copytree(world.store.directory, folder)
    rechunk_store(folder, chunking=replace(world.store.chunking, chunk_tokens=24))
    recut = ChunkStore.open(folder)
    before = snapshot(world, model, tmp_path / "a")
    after = snapshot(world, model, tmp_path / "a", store=recut, generation=2, earlier=before)
    wanted = embed_rows(recut, range(len(recut)), world.encoder(model))
    np.testing.assert_allclose(after.read(), wanted, rtol=1e-4, atol=1e-4)
    assert not {bytes(d) for d in recut.cut_digests()} & {
        bytes(d) for d in world.store.cut_digests()
    }
