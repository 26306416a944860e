"""Tests of what training writes into the live index: the vectors of its steps, kept over swaps and
checkpoints, and nothing else."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from loops import (
    DROPOUT,
    RETRIEVAL,
    STEPS,
    Killed,
    Noted,
    assert_same_weights,
    index_by_hand,
    joint_stage,
    kill_at_file_operation,
    lines,
    make_refresh,
    make_stage,
    make_trainer,
)
from tiny import World, model_config

from openrealm.index.mips import ExactIndex
from openrealm.index.snapshot import Snapshot, generations
from openrealm.models.pretrained import build_model
from openrealm.models.realm import Realm
from openrealm.progress import Silent
from openrealm.retrieval.batches import query_inputs
from openrealm.retrieval.candidates import origins_of, query_texts
from openrealm.retrieval.embedding import embed_rows
from openrealm.retrieval.live_index import LiveIndex, PooledVectors
from openrealm.retrieval.retriever import Retriever
from openrealm.runs.checkpoints import checkpoints
from openrealm.runs.saved_state import written_vectors
from openrealm.settings import JointConfig, RefreshConfig
from openrealm.training.objectives import JointStage
from openrealm.training.trainer import Trainer
from openrealm.training.write_back import ChunkVectors, WriteBack

NEVER = 100  # steps: no refresh in so short a run


def index_of(num_rows: int, dtype: torch.dtype = torch.float32, *, value: float = 0.0) -> Any:
    return ExactIndex(torch.full((num_rows, 3), value, dtype=dtype))


def live_of(world: World, index: ExactIndex, step: int) -> LiveIndex:
    return LiveIndex(Retriever(world.store, index, RETRIEVAL), index, generation=1, step=step)


def vectors(rows: Sequence[int], *values: float) -> ChunkVectors:
    return ChunkVectors(np.array(rows, dtype=np.int64), torch.tensor(values)[:, None].expand(-1, 3))


def firsts(index: ExactIndex) -> list[float]:
    return [float(value) for value in index.chunk_emb[:, 0]]


def test_vectors_take_the_place_of_older_ones_and_the_first_of_a_row_counts() -> None:
    index = index_of(6)
    written = WriteBack(index)
    assert written.written_part() == 0.0
    written.write(index, vectors([4, 1], 0.4, 0.1), step=7)
    written.write(index, vectors([4, 0, 4], 1.4, 1.0, 9.9), step=8)
    assert firsts(index) == pytest.approx([1.0, 0.1, 0.0, 0.0, 1.4, 0.0])
    assert written.written_part() == 3 / 6
    state = written.state(index)
    assert state["rows"].tolist() == [0, 1, 4] and state["steps"].tolist() == [8, 7, 8]


def test_a_step_that_found_no_chunk_writes_none() -> None:
    index = index_of(2)
    written = WriteBack(index)
    written.write(index, ChunkVectors(np.empty(0, dtype=np.int64), torch.empty(0, 3)), step=1)
    assert written.written_part() == 0.0 and firsts(index) == [0.0, 0.0]


def test_vectors_are_cast_to_the_numbers_of_the_index_and_come_back_bit_for_bit() -> None:
    index = index_of(4, torch.float16)
    written = WriteBack(index)
    written.write(index, vectors([2], 1 / 3), step=3)
    assert index.chunk_emb.dtype == torch.float16
    assert torch.equal(index.chunk_emb[2], torch.full((3,), 1 / 3).half())
    for dtype in (torch.float16, torch.float32):  # taken up on a GPU, and on a processor
        other = index_of(4, dtype)
        again = WriteBack(other)
        again.take_up(other, written.state(index))
        assert torch.equal(other.chunk_emb.float(), index.chunk_emb.float())
        assert again.written_part() == 1 / 4


def test_a_new_index_gets_what_is_newer_than_its_weights_and_nothing_else(world: World) -> None:
    old = live_of(world, index_of(5), step=0)
    written = WriteBack(old.index)
    for step, row in ((3, 0), (4, 1), (5, 2), (3, 3), (6, 3)):
        written.write(old.index, vectors([row], float(step)), step=step)
    new = live_of(world, index_of(5, value=-1.0), step=4)  # of the weights of step 4
    written.carry(old, new)
    assert firsts(new.index) == [-1.0, -1.0, 5.0, 6.0, -1.0]
    assert written.state(new.index)["rows"].tolist() == [2, 3]
    assert firsts(old.index) == [3.0, 4.0, 5.0, 6.0, 0.0]
    in_line = live_of(world, index_of(5, value=-2.0), step=7)
    written.carry(new, in_line)
    assert firsts(in_line.index) == [-2.0] * 5 and written.written_part() == 0.0


# The step ---------------------------------------------------------------------------------------


def joint(world: World, model: Realm, **config: Any) -> JointStage:
    settings = {"steps": STEPS, "batch_size": 3, "lr": 1e-3, "lr_retriever": 1e-3} | config
    return joint_stage(world.parts(model), JointConfig(**settings), world.queries(), k=3)


def candidates_by_hand(world: World, model: Realm, live: LiveIndex, wide: int) -> set[int]:
    """What the queries of the first batch find."""
    queries = world.queries().batch(0, 3)
    with torch.no_grad():
        query_emb = model.embedder.embed_queries(query_inputs(queries, world.templates))
    where = origins_of(queries, world.store, world.store)
    spoken = query_texts(queries, world.tokenizer)
    found = live.retriever.candidates(query_emb, wide, texts=spoken, origins=where)
    return set(found.flatten().tolist())


@pytest.mark.parametrize("unread", [False, True])
def test_a_step_tells_the_vectors_of_its_candidates(world: World, unread: bool) -> None:
    model, older = world.model(lively=True), world.model(lively=True, seed=1)
    live = world.live(older)
    embedded = joint(world, model, in_batch_negatives=unread).step(0, live).embedded
    assert embedded is not None and not embedded.vectors.requires_grad
    assert set(embedded.rows.tolist()) == candidates_by_hand(world, model, live, 2)
    wanted = embed_rows(world.store, embedded.rows, world.encoder(model))
    np.testing.assert_allclose(embedded.vectors.numpy(), wanted, rtol=1e-4, atol=1e-4)


def test_a_step_in_lower_precision_is_written_into_an_index_in_half_precision(
    world: World,
) -> None:
    model = world.model(lively=True)
    parts = replace(world.parts(model), encoder=world.encoder(model, autocast=torch.bfloat16))
    stage = joint_stage(parts, JointConfig(batch_size=3), world.queries(), k=3)
    embedded = stage.step(0, world.live(world.model(lively=True, seed=1))).embedded
    assert embedded is not None
    index = ExactIndex(torch.zeros(48, 8, dtype=torch.float16))
    WriteBack(index).write(index, embedded, step=0)
    rows, first = np.unique(embedded.rows, return_index=True)
    assert torch.equal(index.chunk_emb[rows], embedded.vectors[first].half())
    exact = embed_rows(world.store, rows, world.encoder(model))
    np.testing.assert_allclose(index.chunk_emb[rows].float().numpy(), exact, rtol=0.05, atol=0.05)


def test_where_only_the_query_tower_moves_there_is_nothing_to_write(
    world: World, tmp_path: Path
) -> None:
    model = world.model(shared=False)
    stage = joint(world, model, towers="query")
    trainer = make_trainer(world, model, tmp_path, write_back=True)
    trainer.run(stage)
    assert_untouched(trainer, tmp_path)
    assert all("index/written" not in record for record in lines(tmp_path))


@pytest.mark.parametrize("name", ["warmup", "qa", "frozen"])
def test_a_stage_that_moves_no_chunk_writes_none(world: World, tmp_path: Path, name: str) -> None:
    model = world.model(dropout=DROPOUT)
    frozen = name == "frozen"
    stage = joint(world, model, lr_retriever=0.0) if frozen else make_stage(name, world, model)
    trainer = make_trainer(world, model, tmp_path, write_back=True)
    trainer.run(stage)
    assert_untouched(trainer, tmp_path)


def assert_untouched(trainer: Trainer, directory: Path) -> None:
    assert trainer.index.live is not None
    snapshot = Snapshot.open(directory / "snapshots" / f"{trainer.index.live.generation:06d}")
    assert torch.equal(trainer.index.live.index.local.chunk_emb, torch.from_numpy(snapshot.read()))


def test_what_a_moving_projection_makes_is_written(world: World, tmp_path: Path) -> None:
    config = model_config(pooling="mean", projection="linear")
    size = world.tokenizer.vocab_size
    model = build_model(config, vocab_size=size, pad_id=world.tokenizer.pad_id, seed=0)
    pooled = PooledVectors(
        world.store,
        world.encoder(model),
        tmp_path / "pooled",
        RefreshConfig(),
        progress=Silent(),
    )
    config = JointConfig(batch_size=3, towers="projection")
    stage = joint_stage(world.parts(model), config, world.queries(), k=3, pooled=pooled)
    live = world.live(world.model(seed=1))
    embedded = stage.step(0, live).embedded
    assert embedded is not None and len(embedded.rows)
    wanted = embed_rows(world.store, embedded.rows, world.encoder(model))
    np.testing.assert_allclose(embedded.vectors.numpy(), wanted, rtol=1e-4, atol=1e-4)


# The loop ---------------------------------------------------------------------------------------


def in_line(
    world: World, model: Realm, directory: Path, *, every: int = NEVER, **options: Any
) -> Trainer:
    """A trainer that writes back, and does not refresh unless told."""
    refresh = make_refresh(world, model, directory, every=every)
    return make_trainer(world, model, directory, refresh=refresh, write_back=True, **options)


@pytest.mark.parametrize("every", [NEVER, 4])
def test_the_live_index_is_its_snapshot_and_over_it_what_steps_since_have_made(
    world: World, tmp_path: Path, every: int
) -> None:
    model = world.model(lively=True)
    stage = Noted(make_stage("realm", world, model))
    trainer = in_line(world, model, tmp_path, every=every)
    trainer.run(stage)
    live = trainer.index.live
    assert live is not None and live.step == (4 if every == 4 else 0)
    found = live.index.local.chunk_emb.numpy()
    np.testing.assert_array_equal(found, index_by_hand(tmp_path, live, stage, swapped_at=live.step))
    snapshot = Snapshot.open(tmp_path / "snapshots" / f"{live.generation:06d}")
    assert not np.array_equal(found, snapshot.read())


def test_what_is_published_is_never_changed(world: World, tmp_path: Path) -> None:
    model = world.model(lively=True)
    trainer = in_line(world, model, tmp_path)
    trainer.run(make_stage("realm", world, model))
    assert generations(tmp_path / "snapshots") == [1]
    snapshot = Snapshot.open(tmp_path / "snapshots" / "000001")
    snapshot.verify()
    first = embed_rows(world.store, range(48), world.encoder(world.model(lively=True)))
    np.testing.assert_allclose(snapshot.read(), first, rtol=1e-4, atol=1e-4)


def test_the_log_says_how_much_of_the_index_is_newer_than_its_snapshot(
    world: World, tmp_path: Path
) -> None:
    model = world.model(lively=True)
    stage = Noted(make_stage("realm", world, model))
    in_line(world, model, tmp_path, every=4).run(stage)
    rows = [set(rows.tolist()) for _, rows, _ in stage.made]
    wanted = [
        len(set.union(*rows[begin : n + 1])) / 48 for n, begin in enumerate([0] * 4 + [4] * 2)
    ]
    records = lines(tmp_path)
    assert [r["index/written"] for r in records if "event" not in r] == wanted
    # Staleness stays that of the snapshot.
    assert [r["index/staleness"] for r in records if "event" not in r] == [1, 2, 3, 4, 1, 2]
    swaps = [r for r in records if r.get("event") == "swap"]
    assert [r["index/written_before"] for r in swaps] == wanted[3:4]


def test_without_the_option_nothing_is_written_and_nothing_said(
    world: World, tmp_path: Path
) -> None:
    model = world.model(lively=True)
    trainer = make_trainer(
        world, model, tmp_path, refresh=make_refresh(world, model, tmp_path, every=NEVER)
    )
    trainer.run(make_stage("realm", world, model))
    assert_untouched(trainer, tmp_path)
    assert not any(key.startswith("index/written") for r in lines(tmp_path) for key in r)
    assert not list(tmp_path.glob("checkpoints/*/written.safetensors"))


def test_what_was_written_is_in_the_middle_of_a_stage_and_not_at_its_end(
    world: World, tmp_path: Path
) -> None:
    model = world.model(lively=True)
    stage = Noted(make_stage("realm", world, model))
    in_line(world, model, tmp_path).run(stage)
    end, middle, *_ = checkpoints(tmp_path / "checkpoints")
    assert end.position.finished and written_vectors(end) == {}
    made = [one for one in stage.made if one[0] < middle.position.step]
    state = written_vectors(middle)
    rows = state["rows"].tolist()
    assert rows == sorted(set(np.concatenate([rows for _, rows, _ in made]).tolist()))
    last = {row: step for step, rows, _ in made for row in rows.tolist()}
    assert state["steps"].tolist() == [last[row] for row in rows]


@pytest.mark.parametrize(("every", "dies_at"), [(NEVER, 5), (4, 5), (NEVER, 3)])
def test_a_run_killed_and_resumed_equals_one_never_stopped_bit_for_bit(
    world: World, tmp_path: Path, every: int, dies_at: int
) -> None:
    whole = world.model(dropout=DROPOUT, lively=True)
    untouched = in_line(world, whole, tmp_path / "whole", every=every)
    untouched.run(make_stage("realm", world, whole))

    model = world.model(dropout=DROPOUT, lively=True)
    stage = Noted(make_stage("realm", world, model), dies_at=dies_at)
    with pytest.raises(Killed):
        in_line(world, model, tmp_path / "torn", every=every).run(stage)

    again = world.model(dropout=DROPOUT, seed=5)
    trainer = in_line(world, again, tmp_path / "torn", every=every)
    found = next(checkpoints(tmp_path / "torn" / "checkpoints"))
    assert found.position.step == dies_at - 1
    trainer.run(make_stage("realm", world, again), found)
    assert_same_weights(whole, again)
    live, unchanged = trainer.index.live, untouched.index.live
    assert live is not None and unchanged is not None
    assert torch.equal(live.index.local.chunk_emb, unchanged.index.local.chunk_emb)
    assert lines(tmp_path / "whole") == lines(tmp_path / "torn")


def test_a_checkpoint_that_has_nothing_of_it_is_taken_up_with_the_snapshot_alone(
    world: World, tmp_path: Path
) -> None:
    model = world.model(lively=True)
    refresh = make_refresh(world, model, tmp_path, every=NEVER)
    with pytest.raises(Killed):
        make_trainer(world, model, tmp_path, refresh=refresh).run(
            Noted(make_stage("realm", world, model), dies_at=5)
        )
    again = world.model(lively=True)
    trainer = in_line(world, again, tmp_path)
    stage = Noted(make_stage("realm", world, again))
    trainer.run(stage, next(checkpoints(tmp_path / "checkpoints")))
    assert trainer.index.live is not None
    np.testing.assert_array_equal(
        trainer.index.live.index.local.chunk_emb.numpy(),
        index_by_hand(tmp_path, trainer.index.live, stage),
    )


def test_a_checkpoint_whose_written_vectors_are_damaged_is_not_whole(
    world: World, tmp_path: Path
) -> None:
    model = world.model(lively=True)
    with pytest.raises(Killed):
        in_line(world, model, tmp_path).run(Noted(make_stage("realm", world, model), dies_at=5))
    path = tmp_path / "checkpoints" / "realm-000004" / "written.safetensors"
    data = bytearray(path.read_bytes())
    data[-2] ^= 4
    path.write_bytes(data)
    newest, before = checkpoints(tmp_path / "checkpoints")
    assert (newest.is_whole(), newest.is_whole(only_weights=True)) == (False, True)
    assert before.is_whole() and before.position.step == 2


def run_to_death(world: World, directory: Path, death: int) -> None:
    """Trains until SIGKILL."""
    kill_at_file_operation(death)
    model = world.model(dropout=DROPOUT, lively=True)
    trainer = in_line(world, model, directory, every=3, checkpoint_every=1, keep_checkpoints=1)
    trainer.run(make_stage("realm", world, model))


@pytest.fixture(scope="module")
def never_killed(world: World, tmp_path_factory: pytest.TempPathFactory) -> tuple[Realm, Path]:
    directory = tmp_path_factory.mktemp("whole")
    model = world.model(dropout=DROPOUT, lively=True)
    trainer = in_line(world, model, directory, every=3, checkpoint_every=1, keep_checkpoints=1)
    trainer.run(make_stage("realm", world, model))
    return model, directory


# There are 93 places in all; before the 41st what was written is on its way to the disk.
@pytest.mark.parametrize("death", [19, 30, 40, 47, 55, 70, 86])
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # a fork beside threads
def test_kill_9_at_any_moment_and_resume_gives_the_weights_of_a_run_never_stopped(
    world: World, tmp_path: Path, never_killed: tuple[Realm, Path], death: int
) -> None:
    whole, directory = never_killed
    fork = multiprocessing.get_context("fork")
    process = fork.Process(target=run_to_death, args=(world, tmp_path, death))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL

    model = world.model(dropout=DROPOUT, lively=True)
    trainer = in_line(world, model, tmp_path, every=3, checkpoint_every=1, keep_checkpoints=1)
    found = next(checkpoints(tmp_path / "checkpoints"), None)
    if found is None:
        trainer.log.cut(0)
    trainer.run(make_stage("realm", world, model), found)
    assert_same_weights(whole, model)
    assert lines(directory) == lines(tmp_path)
