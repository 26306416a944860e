"""Tests of training by several processes: it is the training of one with the same global batch."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from loops import Killed, Noted, lines, make_refresh, make_stage, make_trainer
from tiny import World
from together import run_together

from openrealm.errors import Stopped
from openrealm.index.mips import ExactIndex, ShardedIndex
from openrealm.models.realm import Realm
from openrealm.processes import Processes
from openrealm.runs.checkpoints import checkpoints
from openrealm.training.write_back import ChunkVectors, WriteBack

pytestmark = pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")

# Sums in another order differ in their last bits, and Adam makes steps of one size of any gradient:
# where there is next to none, a parameter may go another way. Losses and gradients do not.
TOLERANCE = 1e-4
STAGES = ["mlm", "ict", "warmup", "realm", "reading", "qa"]


def train(
    processes: Processes, world: World, directory: Path, name: str, dropout: float = 0.0
) -> dict[str, np.ndarray]:
    # Lively: chunks that all score alike would be ranked by the last bits.
    model = world.model(dropout=dropout, lively=True)
    stage = make_stage(name, world, model, processes)
    trainer = make_trainer(world, model, directory, processes)
    trainer.run(stage, next(checkpoints(directory / "checkpoints"), None))
    return weights(model)


def weights(model: Realm) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in model.state_dict().items()}


def gradients(
    processes: Processes, world: World, directory: Path, name: str
) -> dict[str, np.ndarray]:
    """Of the first step, before clipping."""
    model = world.model(lively=True)
    stage = make_stage(name, world, model, processes)
    stage.steps = 1
    trainer = make_trainer(world, model, directory, processes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("openrealm.training.trainer.CLIP_NORM", math.inf)
        trainer.run(stage)
    return {n: p.grad.numpy() for n, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("name", STAGES)
def test_two_processes_find_the_gradient_of_the_whole_batch(
    world: World, tmp_path: Path, name: str
) -> None:
    alone = run_together(gradients, world, tmp_path / "one", name, size=1)[0]
    together = run_together(gradients, world, tmp_path / "several", name)[1]
    assert alone.keys() == together.keys()
    scale = max(np.abs(gradient).max() for gradient in alone.values())
    for key in alone:
        np.testing.assert_allclose(
            together[key], alone[key], rtol=TOLERANCE, atol=1e-6 * scale, err_msg=key
        )


@pytest.mark.parametrize("name", STAGES)
@pytest.mark.parametrize("size", [2, 3])
def test_several_processes_train_as_one_does(
    world: World, tmp_path: Path, name: str, size: int
) -> None:
    run_together(train, world, tmp_path / "one", name, size=1)
    together = run_together(train, world, tmp_path / "several", name, size=size)
    for one in together[1:]:  # to the last bit the same in all of them
        for key in one:
            np.testing.assert_array_equal(one[key], together[0][key])
    assert_same_curve(tmp_path / "several", tmp_path / "one")


def assert_same_curve(directory: Path, other: Path) -> None:
    ours, theirs = lines(directory), lines(other)
    assert len(ours) == len(theirs)
    for record, wanted in zip(ours, theirs, strict=True):
        assert record.keys() == wanted.keys()
        for key in ("step", "index/generation", "index/staleness", "probe/recall@5"):
            assert record.get(key) == wanted.get(key)
        numbers = {k: v for k, v in record.items() if "/" in k and not isinstance(v, str)}
        assert numbers == pytest.approx({key: wanted[key] for key in numbers}, rel=TOLERANCE)


class Ends(Exception):
    """Stands for the end of all processes."""


def train_until(
    processes: Processes, world: World, directory: Path, dropout: float, stop_at: int
) -> None:
    model = world.model(dropout=dropout, lively=True)
    stage = make_stage("realm", world, model, processes)
    step = stage.step

    def stepping(number: int, live: Any) -> Any:
        if number == stop_at:
            raise Ends
        return step(number, live)

    stage.step = stepping  # type: ignore[method-assign]
    with pytest.raises(Ends):
        make_trainer(world, model, directory, processes).run(stage)


def test_two_processes_that_die_and_resume_are_two_that_never_died_bit_for_bit(
    world: World, tmp_path: Path
) -> None:
    whole = run_together(train, world, tmp_path / "whole", "realm", 0.2)
    run_together(train_until, world, tmp_path / "torn", 0.2, 5)
    resumed = run_together(train, world, tmp_path / "torn", "realm", 0.2)
    for key in whole[0]:
        np.testing.assert_array_equal(resumed[0][key], whole[0][key])
        np.testing.assert_array_equal(resumed[1][key], whole[1][key])
    assert lines(tmp_path / "torn") == lines(tmp_path / "whole")


@pytest.mark.parametrize(("before", "after"), [(2, 1), (1, 3)])
def test_a_checkpoint_is_taken_up_by_another_number_of_processes(
    world: World, tmp_path: Path, before: int, after: int
) -> None:
    run_together(train, world, tmp_path / "whole", "realm", size=1)
    run_together(train_until, world, tmp_path / "torn", 0.0, 5, size=before)
    run_together(train, world, tmp_path / "torn", "realm", size=after)
    assert_same_curve(tmp_path / "torn", tmp_path / "whole")


# What training writes into the live index ------------------------------------------------------


def train_writing(
    processes: Processes, world: World, directory: Path, steps: int, stop_at: int | None = None
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The live index at the end, as all processes see it, and what of it is newer."""
    model = world.model(lively=True)
    refresh = make_refresh(world, model, directory, processes, every=100)
    trainer = make_trainer(
        world, model, directory, processes, refresh, write_back=True, checkpoint_every=1
    )
    stage = Noted(make_stage("realm", world, model, processes), dies_at=stop_at)
    stage.stage.steps = steps
    resume = next(checkpoints(directory / "checkpoints"), None)
    if stop_at is None:
        trainer.run(stage, resume)
    else:
        with pytest.raises(Killed):
            trainer.run(stage, resume)
    assert trainer.index.live is not None and trainer.index._write_back is not None
    index = trainer.index.live.index
    state = trainer.index._write_back.state(index)
    np.testing.assert_array_equal(  # it is in the index of whoever holds it
        index.vectors(state["rows"]).numpy(), state["vectors"].numpy()
    )
    table = index.vectors(torch.arange(len(world.store))).numpy()
    return table, {name: one.numpy() for name, one in state.items()}


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize(("steps", "tolerance"), [(1, 1e-5), (6, TOLERANCE)])
def test_several_processes_write_what_one_writes(
    world: World, tmp_path: Path, size: int, steps: int, tolerance: float
) -> None:
    alone, wanted = run_together(train_writing, world, tmp_path / "one", steps, size=1)[0]
    together = run_together(train_writing, world, tmp_path / "several", steps, size=size)
    assert len(wanted["rows"]) > 3
    for table, state in together:
        np.testing.assert_array_equal(table, together[0][0])  # in all of them the same
        np.testing.assert_array_equal(state["rows"], wanted["rows"])
        np.testing.assert_array_equal(state["steps"], wanted["steps"])
        np.testing.assert_allclose(table, alone, rtol=tolerance, atol=tolerance)
    assert_same_curve(tmp_path / "several", tmp_path / "one")


def write_the_same(processes: Processes) -> tuple[np.ndarray, list[int], float]:
    rows = processes.local_slice(5)
    part = ExactIndex(torch.zeros(len(rows), 2))
    index = ShardedIndex(part, first_row=rows.start, num_rows=5, processes=processes)
    written = WriteBack(index, processes)
    mine = {0: [3, 1], 1: [4, 3], 2: [3, 0]}[processes.rank]
    vectors = torch.full((2, 2), 1.0 + processes.rank)
    written.write(index, ChunkVectors(np.array(mine), vectors), step=2)
    state = written.state(index)
    return index.vectors(torch.arange(5)).numpy(), state["rows"].tolist(), written.written_part()


def test_of_a_chunk_that_several_have_embedded_the_first_processes_vector_counts() -> None:
    for table, rows, share in run_together(write_the_same, size=3):
        assert table[:, 0].tolist() == [3.0, 1.0, 0.0, 1.0, 2.0]
        assert rows == [0, 1, 3, 4] and share == pytest.approx(4 / 5)


@pytest.mark.parametrize(("before", "after"), [(2, 1), (1, 3), (3, 2)])
def test_what_was_written_is_taken_up_by_another_number_of_processes(
    world: World, tmp_path: Path, before: int, after: int
) -> None:
    whole, wanted = run_together(train_writing, world, tmp_path / "whole", 6, size=1)[0]
    run_together(train_writing, world, tmp_path / "torn", 6, 5, size=before)
    for table, state in run_together(train_writing, world, tmp_path / "torn", 6, size=after):
        np.testing.assert_array_equal(state["rows"], wanted["rows"])
        np.testing.assert_array_equal(state["steps"], wanted["steps"])
        np.testing.assert_allclose(table, whole, rtol=TOLERANCE, atol=TOLERANCE)
    assert_same_curve(tmp_path / "torn", tmp_path / "whole")


def test_two_processes_that_write_die_and_resume_are_two_that_never_died_bit_for_bit(
    world: World, tmp_path: Path
) -> None:
    whole = run_together(train_writing, world, tmp_path / "whole", 6)
    run_together(train_writing, world, tmp_path / "torn", 6, 4)
    resumed = run_together(train_writing, world, tmp_path / "torn", 6)
    np.testing.assert_array_equal(resumed[0][0], whole[0][0])
    np.testing.assert_array_equal(resumed[1][0], whole[0][0])
    assert lines(tmp_path / "torn") == lines(tmp_path / "whole")


def test_each_process_has_dropout_of_its_own(world: World, tmp_path: Path) -> None:
    drawn = run_together(draw, world, tmp_path)
    assert not np.array_equal(drawn[0], drawn[1])


def draw(processes: Processes, world: World, directory: Path) -> np.ndarray:
    model = world.model(dropout=0.2)
    trainer = make_trainer(world, model, directory, processes)
    trainer.run(make_stage("mlm", world, model, processes))
    return torch.rand(3).numpy()


def stop_one(processes: Processes, world: World, directory: Path) -> str:
    import os
    import signal

    model = world.model()
    stage = make_stage("realm", world, model, processes)
    step = stage.step

    def stepping(number: int, live: Any) -> Any:
        if number == 2 and processes.rank == 1:  # a signal that only one of them gets
            os.kill(os.getpid(), signal.SIGTERM)
        return step(number, live)

    stage.step = stepping  # type: ignore[method-assign]
    with pytest.raises(Stopped) as stopped:
        make_trainer(world, model, directory, processes).run(stage)
    return str(stopped.value)


def test_a_signal_to_one_process_stops_all_of_them_after_the_same_step(
    world: World, tmp_path: Path
) -> None:
    said = run_together(stop_one, world, tmp_path)
    assert said[0] == said[1] and "after step 3" in said[0]
    found = next(checkpoints(tmp_path / "checkpoints"))
    assert found.position.step == 3
