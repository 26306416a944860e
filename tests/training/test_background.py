"""Tests of refreshing beside the training: the trainer does not wait, uses nothing that is not
whole, and what happened can be repeated bit for bit."""

from __future__ import annotations

import json
import multiprocessing
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import loops
import numpy as np
import pytest
import torch
from loops import (
    Noted,
    assert_same_weights,
    index_by_hand,
    kill_at_file_operation,
    lines,
    make_maker,
    make_refresh,
    make_stage,
    make_trainer,
)
from tiny import World
from together import run_together

from openrealm.errors import InputError
from openrealm.index.snapshot import generations
from openrealm.models.realm import Realm
from openrealm.processes import Processes
from openrealm.retrieval.embedding import Order, TextEncoder, snapshot_writer, write_snapshot
from openrealm.retrieval.live_index import LiveIndex
from openrealm.runs.checkpoints import checkpoints
from openrealm.training import background as background_module
from openrealm.training.background import (
    BackgroundRefresh,
    Makers,
)
from openrealm.training.refresh import Refresh, Swap
from openrealm.training.replay import ReplayRefresh, recorded_swaps
from openrealm.training.trainer import Trainer
from openrealm.training.weights import load_ordered, orders
from openrealm.training.worker_pool import Report

DROPOUT = 0.2


class Hand:
    """Makers that make what is ordered when the test says so."""

    def __init__(self, world: World, directory: Path) -> None:
        self._world, self._directory = world, directory
        self.report: Report = lambda event: None
        self.delay = 0
        self._seen: dict[int, int] = {}
        self.spoil: Callable[[Path], None] | None = None
        self.idle = False

    @contextmanager
    def __call__(self, report: Report) -> Iterator[Makers]:
        self.report = report
        yield self

    def poll(self, order: Order | None) -> None:
        if order is None or self.idle or order not in orders(self._directory / "weights"):
            return
        waited = self._seen.setdefault(order.generation, 0)
        self._seen[order.generation] += 1
        if waited >= self.delay:
            self.make(order)

    def make(self, order: Order) -> None:
        folder = self._directory / "snapshots" / f"{order.generation:06d}"
        if folder.is_dir():
            return
        embedder = self._world.model().embedder
        load_ordered(self._directory / "weights", order, embedder)
        encoder = TextEncoder(embedder, self._world.tokenizer, self._world.templates)
        writer = snapshot_writer(self._world.store, embedder, folder.parent, order, shard_rows=20)
        write_snapshot(writer, self._world.store, encoder)
        if self.spoil is not None:
            spoil, self.spoil = self.spoil, None
            spoil(folder)


def refresh_of(
    world: World, model: Realm, directory: Path, **config: Any
) -> tuple[BackgroundRefresh, Hand]:
    hand = Hand(world, directory)
    maker = make_maker(world, model, directory, **config)
    return BackgroundRefresh(maker, directory / "weights", hand, threads=1), hand


def never() -> bool:
    return False


def move(model: Realm) -> None:
    with torch.no_grad():
        model.embedder.chunk_tower.dense.bias.add_(0.5)


def asked(refresh: Refresh, steps: range, live: LiveIndex) -> tuple[int, Swap]:
    """The first of the steps before which something is swapped in."""
    for step in steps:
        for _ in range(500):  # the second buffer fills in a thread
            swap = refresh.before_step(step, live)
            if swap is not None:
                return step, swap
            _ = refresh.ordered  # waits for the weights
            if getattr(refresh, "_loading", None) is None:
                break
            threading.Event().wait(0.01)
    raise AssertionError("nothing was swapped in")


def test_an_order_has_the_weights_of_its_step_and_training_goes_on_meanwhile(
    world: World, tmp_path: Path
) -> None:
    model = world.model(lively=True)
    refresh, hand = refresh_of(world, model, tmp_path)
    assert isinstance(refresh, Refresh) and isinstance(hand, Makers)
    hand.delay = 3
    with refresh.at_work(never):
        live = refresh.maker.first(0)
        assert refresh.before_step(1, live) is None and refresh.ordered is None
        assert refresh.before_step(2, live) is None
        assert refresh.ordered == Order(generation=2, step=2)
        wanted = world.model(lively=True)  # as it is now
        move(model)
        step, swap = asked(refresh, range(3, 20), live)
        assert step > 4 and (swap.live.generation, swap.live.step) == (2, 2)
        fresh = make_refresh(world, wanted, tmp_path / "other").maker.first(0)
        rows = torch.arange(48)
        np.testing.assert_array_equal(
            swap.live.index.vectors(rows).numpy(), fresh.index.vectors(rows).numpy()
        )
        assert refresh.ordered is None
        assert swap.numbers["index/weights_step"] == 2 and swap.numbers["index/threads"] == 1
    assert refresh.news() == []


def test_the_next_order_is_placed_only_when_the_last_is_live(world: World, tmp_path: Path) -> None:
    model = world.model()
    refresh, hand = refresh_of(world, model, tmp_path)
    hand.idle = True
    with refresh.at_work(never):
        live = refresh.maker.first(0)
        for step in range(2, 15):
            assert refresh.before_step(step, live) is None
            assert refresh.ordered is not None
            move(model)
        assert orders(tmp_path / "weights") == [Order(generation=2, step=2)]
        hand.idle = False
        _, swap = asked(refresh, range(15, 18), live)
        assert swap.live.step == 2
        # The live index is 13 steps old again: the next order is placed at once.
        assert refresh.before_step(15, swap.live) is None
        assert refresh.ordered == Order(generation=3, step=15)


def damage(folder: Path) -> None:
    shard = folder / "shard-00001.npy"
    data = bytearray(shard.read_bytes())
    data[-3] ^= 8
    shard.write_bytes(data)


def remove_manifest(folder: Path) -> None:
    (folder / "manifest.json").unlink()


def of_another_corpus(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["key"]["corpus"] = "f" * 64
    (folder / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize("spoil", [damage, remove_manifest, of_another_corpus])
def test_a_snapshot_that_does_not_verify_never_goes_live_and_is_made_again(
    world: World, tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    model = world.model()
    refresh, hand = refresh_of(world, model, tmp_path)
    hand.spoil = spoil
    with refresh.at_work(never):
        live = refresh.maker.first(0)
        _, swap = asked(refresh, range(2, 30), live)
    swap.live.index.vectors(torch.arange(48))
    told = refresh.news()
    assert len(told) == 1 and "is not used and made again" in told[0]["text"]
    assert swap.live.generation == 2


def test_where_the_index_becomes_too_old_training_says_so_once_and_refreshes_in_line(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("openrealm.settings.training._PATIENCE", 3)
    model = world.model()
    refresh, hand = refresh_of(world, model, tmp_path)
    hand.idle = True
    with refresh.at_work(never):
        live = refresh.maker.first(0)
        move(model)
        steps = []
        for step in range(1, 14):
            swap = refresh.before_step(step, live)
            if swap is not None:
                live = swap.live
                steps.append((step, live.step))
            move(model)
        assert steps == [(6, 6), (12, 12)]  # of the present weights
        assert refresh.ordered is None
    told = refresh.news()
    assert len(told) == 1 and "training waits and refreshes in line" in told[0]["text"]
    assert orders(tmp_path / "weights") == []


def test_weights_that_cannot_be_written_are_told_and_ordered_again(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = world.model()
    refresh, _ = refresh_of(world, model, tmp_path)
    publish = background_module.publish_weights
    full = [True]

    def publish_where_there_is_room(*arguments: Any) -> None:
        if full[0]:
            raise OSError(28, "No space left on device")
        publish(*arguments)

    monkeypatch.setattr(background_module, "publish_weights", publish_where_there_is_room)
    monkeypatch.setattr(background_module, "_PAUSE_S", 0.0)
    with refresh.at_work(never):
        live = refresh.maker.first(0)
        refresh.before_step(2, live)
        assert refresh.ordered is None  # after the attempt
        assert "No space left on device" in refresh.news()[0]["text"]
        full[0] = False
        step, _ = asked(refresh, range(3, 20), live)
        assert step >= 3


def test_pruning_leaves_alone_what_is_being_made(world: World, tmp_path: Path) -> None:
    model = world.model()
    refresh, hand = refresh_of(world, model, tmp_path)
    hand.idle = True
    with refresh.at_work(never):
        live = refresh.maker.first(0)
        refresh.before_step(2, live)
        order = refresh.ordered
        assert order is not None
        hand.make(order)
        refresh.prune({1}, set())
        assert generations(tmp_path / "snapshots") == [1, 2]
        assert orders(tmp_path / "weights") == [order]
        refresh.take_up(None)
        refresh.prune({1}, set())
        assert generations(tmp_path / "snapshots") == [1]
        assert orders(tmp_path / "weights") == []


def test_an_order_whose_weights_are_lost_is_told_and_not_waited_for(
    world: World, tmp_path: Path
) -> None:
    refresh, _ = refresh_of(world, world.model(), tmp_path)
    refresh.take_up(Order(generation=7, step=4))
    assert refresh.ordered is None
    assert "weights of generation 7 are lost" in refresh.news()[0]["text"]


# The loop ---------------------------------------------------------------------------------------


def background_trainer(
    world: World, model: Realm, directory: Path, delay: int, **options: Any
) -> Trainer:
    refresh, hand = refresh_of(world, model, directory)
    hand.delay = delay
    return make_trainer(world, model, directory, refresh=refresh, **options)


def replay_trainer(
    world: World, model: Realm, directory: Path, metrics: Path, **options: Any
) -> Trainer:
    maker = make_maker(world, model, directory)
    refresh = ReplayRefresh(maker, directory / "weights", recorded_swaps(metrics))
    return make_trainer(world, model, directory, refresh=refresh, **options)


def long_stage(world: World, model: Realm) -> Any:
    stage = make_stage("realm", world, model)
    stage.steps = 14
    return stage


def waiting(stage: Any, trainer: Trainer) -> Any:
    """The stage, in whose steps a second buffer that is being filled becomes full."""
    step = stage.step

    def stepping(number: int, live: LiveIndex | None) -> Any:
        loading = getattr(trainer.index.refresh, "_loading", None)
        if loading is not None:
            loading.exception()
        return step(number, live)

    stage.step = stepping
    return stage


@pytest.fixture(scope="module")
def recorded(world: World, tmp_path_factory: pytest.TempPathFactory) -> tuple[Realm, Path]:
    """A run with its refreshes beside it."""
    directory = tmp_path_factory.mktemp("background")
    model = world.model(dropout=DROPOUT)
    trainer = background_trainer(world, model, directory, delay=1)
    trainer.run(waiting(long_stage(world, model), trainer))
    return model, directory


def test_swaps_are_in_the_log_with_what_it_takes_to_know_every_examples_index(
    recorded: tuple[Realm, Path],
) -> None:
    _, directory = recorded
    records = lines(directory)
    swaps = [r for r in records if r.get("event") == "swap"]
    assert len(swaps) >= 2
    begin = next(r for r in records if r.get("event") == "index")
    assert begin["index/generation"] == 1
    for swap in swaps:
        assert swap["index/weights_step"] < swap["total_step"]
        assert swap["index/staleness_before"] > 0
        assert 0.0 <= swap["index/recall"] <= 1.0
    generation, weights_step = 1, 0
    for record in records:
        if record.get("event") == "swap":
            generation, weights_step = record["index/generation"], record["index/weights_step"]
        if "train/loss" in record:
            assert record["index/generation"] == generation
            assert record["index/staleness"] == record["total_step"] - weights_step


def test_nothing_is_left_of_an_order_when_its_stage_has_ended(recorded: tuple[Realm, Path]) -> None:
    _, directory = recorded
    found = next(checkpoints(directory / "checkpoints"))
    assert found.position.finished and found.position.ordered_generation == 0
    needed = {c.position.ordered_generation for c in checkpoints(directory / "checkpoints")}
    left = {order.generation for order in orders(directory / "weights")}
    assert left <= needed


def test_a_replay_is_the_recorded_run_bit_for_bit(
    world: World, tmp_path: Path, recorded: tuple[Realm, Path]
) -> None:
    whole, directory = recorded
    model = world.model(dropout=DROPOUT)
    replay_trainer(world, model, tmp_path, directory / "metrics.jsonl").run(
        long_stage(world, model)
    )
    assert_same_weights(whole, model)
    assert lines(tmp_path) == lines(directory)


class Killed(Exception):
    """Stands for the end of the process."""


@pytest.mark.parametrize("dies_at", [3, 6, 7, 11])
def test_a_replay_that_dies_and_resumes_is_still_the_recorded_run(
    world: World, tmp_path: Path, recorded: tuple[Realm, Path], dies_at: int
) -> None:
    whole, directory = recorded
    model = world.model(dropout=DROPOUT)
    stage = long_stage(world, model)
    step = stage.step

    def stepping(number: int, live: LiveIndex | None) -> Any:
        if number == dies_at:
            raise Killed
        return step(number, live)

    stage.step = stepping
    with pytest.raises(Killed):
        replay_trainer(world, model, tmp_path, directory / "metrics.jsonl").run(stage)
    model = world.model(dropout=DROPOUT, seed=5)
    found = next(checkpoints(tmp_path / "checkpoints"))
    trainer = replay_trainer(world, model, tmp_path, directory / "metrics.jsonl")
    trainer.run(long_stage(world, model), found)
    assert_same_weights(whole, model)
    assert lines(tmp_path) == lines(directory)


def test_a_run_that_dies_with_an_order_under_way_goes_on_with_it(
    world: World, tmp_path: Path
) -> None:
    model = world.model(dropout=DROPOUT)
    trainer = background_trainer(world, model, tmp_path, delay=100)
    stage = long_stage(world, model)
    step = stage.step

    def stepping(number: int, live: LiveIndex | None) -> Any:
        if number == 5:
            raise Killed
        return step(number, live)

    stage.step = stepping
    with pytest.raises(Killed):
        trainer.run(stage)
    found = next(checkpoints(tmp_path / "checkpoints"))
    assert (found.position.ordered_generation, found.position.ordered_step) == (2, 2)
    again = world.model(dropout=DROPOUT, seed=5)
    trainer = background_trainer(world, again, tmp_path, delay=0)
    trainer.run(waiting(long_stage(world, again), trainer), found)
    swaps = [r for r in lines(tmp_path) if r.get("event") == "swap"]
    assert (swaps[0]["index/generation"], swaps[0]["index/weights_step"]) == (2, 2)
    assert swaps[0]["total_step"] >= 4
    model = world.model(dropout=DROPOUT)
    replay_trainer(world, model, tmp_path / "replay", tmp_path / "metrics.jsonl").run(
        long_stage(world, model)
    )
    assert_same_weights(model, again)  # though one of them died


def run_to_death(world: World, directory: Path, metrics: Path, death: int) -> None:
    kill_at_file_operation(death)
    model = world.model(dropout=DROPOUT)
    replay_trainer(world, model, directory, metrics).run(long_stage(world, model))


# There are 120 to 170 places in all, weights that are published among them.
@pytest.mark.parametrize("death", [5, 13, 22, 38, 55, 71, 90, 117])
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # a fork beside threads
def test_kill_9_at_any_moment_of_a_replay_and_resume_gives_the_recorded_run(
    world: World, tmp_path: Path, recorded: tuple[Realm, Path], death: int
) -> None:
    whole, directory = recorded
    fork = multiprocessing.get_context("fork")
    metrics = directory / "metrics.jsonl"
    process = fork.Process(target=run_to_death, args=(world, tmp_path, metrics, death))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    model = world.model(dropout=DROPOUT)
    trainer = replay_trainer(world, model, tmp_path, metrics)
    found = next(checkpoints(tmp_path / "checkpoints"), None)
    if found is None:
        trainer.log.cut(0)
    trainer.run(long_stage(world, model), found)
    assert_same_weights(whole, model)
    assert lines(tmp_path) == lines(directory)


# What training writes into the live index meanwhile -------------------------------------------


@pytest.fixture(scope="module")
def writing(world: World, tmp_path_factory: pytest.TempPathFactory) -> tuple[Realm, Path, Noted]:
    """A run with its refreshes beside it, that writes what its steps make into the live index."""
    directory = tmp_path_factory.mktemp("writing")
    model = world.model(dropout=DROPOUT, lively=True)
    trainer = background_trainer(world, model, directory, delay=2, write_back=True)
    stage = Noted(waiting(long_stage(world, model), trainer))
    swapped, states = trainer.index.refresh.before_step, []

    def before_step(total_step: int, live: LiveIndex) -> Swap | None:
        states.append((total_step, live, live.index.local.chunk_emb.clone()))
        return swapped(total_step, live)

    trainer.index.refresh.before_step = before_step  # type: ignore[method-assign]
    trainer.run(stage)
    stage.states = states
    return model, directory, stage


def test_rows_written_since_the_order_survive_the_swap(
    world: World, writing: tuple[Realm, Path, Noted]
) -> None:
    _, directory, stage = writing
    swaps = [r for r in lines(directory) if r.get("event") == "swap"]
    assert len(swaps) >= 2
    for swap in swaps:
        at, weights_step = swap["total_step"], swap["index/weights_step"]
        assert weights_step + 1 < at and swap["index/written_before"] > 0
        # Before the step after the swap: the new snapshot, what survived, and that one step.
        live, found = next((live, emb) for step, live, emb in stage.states if step == at + 1)
        assert live.generation == swap["index/generation"] and live.step == weights_step
        until = Noted(stage.stage)
        until.made = [one for one in stage.made if one[0] <= at]
        expected = index_by_hand(directory, live, until, swapped_at=at)
        np.testing.assert_array_equal(found.numpy(), expected)
        only_since = Noted(stage.stage)
        only_since.made = until.made[at:]
        fewer = index_by_hand(directory, live, only_since, swapped_at=at)
        assert not np.array_equal(expected, fewer)  # something had to survive


def test_a_replay_writes_what_the_recorded_run_wrote(
    world: World, tmp_path: Path, writing: tuple[Realm, Path, Noted]
) -> None:
    whole, directory, _ = writing
    metrics = directory / "metrics.jsonl"
    model = world.model(dropout=DROPOUT, lively=True)
    trainer = replay_trainer(world, model, tmp_path, metrics, write_back=True)
    trainer.run(long_stage(world, model))
    assert_same_weights(whole, model)
    assert lines(tmp_path) == lines(directory)


@pytest.mark.parametrize("dies_at", [3, 6, 7, 9, 11])
def test_a_replay_that_writes_dies_and_resumes_is_still_the_recorded_run(
    world: World, tmp_path: Path, writing: tuple[Realm, Path, Noted], dies_at: int
) -> None:
    whole, directory, _ = writing
    metrics = directory / "metrics.jsonl"
    model = world.model(dropout=DROPOUT, lively=True)
    trainer = replay_trainer(world, model, tmp_path, metrics, write_back=True)
    with pytest.raises(loops.Killed):
        trainer.run(Noted(long_stage(world, model), dies_at=dies_at))
    model = world.model(dropout=DROPOUT, seed=5)
    found = next(checkpoints(tmp_path / "checkpoints"))
    trainer = replay_trainer(world, model, tmp_path, metrics, write_back=True)
    trainer.run(long_stage(world, model), found)
    assert_same_weights(whole, model)
    assert lines(tmp_path) == lines(directory)


def train_beside(processes: Processes, world: World, directory: Path) -> dict[str, np.ndarray]:
    model = world.model(dropout=DROPOUT)
    hand = Hand(world, directory)
    maker = make_maker(world, model, directory, processes)
    refresh = BackgroundRefresh(maker, directory / "weights", hand, threads=1)
    trainer = make_trainer(world, model, directory, processes, refresh)
    stage = make_stage("realm", world, model, processes)
    stage.steps = 14
    trainer.run(waiting(stage, trainer))
    return {name: tensor.numpy() for name, tensor in model.state_dict().items()}


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # a fork beside threads
def test_several_processes_swap_before_the_same_step(world: World, tmp_path: Path) -> None:
    one, two = run_together(train_beside, world, tmp_path)
    for name in one:
        np.testing.assert_array_equal(one[name], two[name])
    swaps = [r for r in lines(tmp_path) if r.get("event") == "swap"]
    assert len(swaps) >= 2
    assert all(swap["index/weights_step"] < swap["total_step"] for swap in swaps)


def test_a_replay_of_other_vectors_is_told(
    world: World, tmp_path: Path, recorded: tuple[Realm, Path]
) -> None:
    _, directory = recorded
    shutil.copy(directory / "metrics.jsonl", tmp_path / "metrics.jsonl")
    text = (tmp_path / "metrics.jsonl").read_text(encoding="utf-8")
    digest = next(r for r in lines(directory) if r.get("event") == "swap")["index/digest"]
    (tmp_path / "metrics.jsonl").write_text(text.replace(digest, "0" * 16), encoding="utf-8")
    model = world.model(dropout=DROPOUT)
    replay_trainer(world, model, tmp_path / "run", tmp_path / "metrics.jsonl").run(
        long_stage(world, model)
    )
    told = [r for r in lines(tmp_path / "run") if r.get("event") == "refresh"]
    assert len(told) == 1 and "is not bit for bit the one that is repeated" in told[0]["text"]


def test_a_run_without_records_of_its_swaps_cannot_be_repeated(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no swaps to repeat"):
        recorded_swaps(tmp_path / "metrics.jsonl")
    (tmp_path / "metrics.jsonl").write_text('{"event": "swap"}\n', encoding="utf-8")
    with pytest.raises(InputError, match=r"refresh\.replay names a run"):
        recorded_swaps(tmp_path / "metrics.jsonl")
