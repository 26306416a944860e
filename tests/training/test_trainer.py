"""Tests of the loop: what is logged and saved, and that a resumed run is the run never stopped."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from loops import (
    DROPOUT,
    STEPS,
    assert_same_weights,
    kill_at_file_operation,
    lines,
    make_stage,
    make_trainer,
)
from tiny import World
from torch import nn

from openrealm.errors import MissingDependencyError, Stopped, TrainingError
from openrealm.index.snapshot import generations
from openrealm.index.snapshot_writer import SnapshotWriter
from openrealm.models.realm import Realm
from openrealm.retrieval.live_index import LiveIndex
from openrealm.runs.checkpoints import checkpoints
from openrealm.settings import OptimConfig
from openrealm.training.alarms import Alarm
from openrealm.training.metrics_log import MetricsLog, tensorboard_listener
from openrealm.training.optim import AdamWeightDecay
from openrealm.training.probe import NoProbe
from openrealm.training.stage import IndexUse, Stage, StepResult
from openrealm.training.trainer import Trainer


@dataclass
class Interrupted:
    """A stage that calls something before one of its steps."""

    stage: Stage
    at: int
    call: Callable[[], object]

    @property
    def name(self) -> str:
        return self.stage.name

    @property
    def steps(self) -> int:
        return self.stage.steps

    @property
    def batch_size(self) -> int:
        return self.stage.batch_size

    @property
    def index_use(self) -> IndexUse:
        return self.stage.index_use

    def alarm(self) -> Alarm:
        return self.stage.alarm()

    def trained(self) -> Sequence[tuple[nn.Module, float]]:
        return self.stage.trained()

    def step(self, step: int, live: LiveIndex | None) -> StepResult:
        if step == self.at:
            self.call()
        return self.stage.step(step, live)


class Killed(Exception):
    """Stands for the end of the process."""


def die() -> None:
    raise Killed


@pytest.mark.parametrize("name", ["mlm", "ict", "warmup", "realm", "reading", "qa"])
@pytest.mark.parametrize("dies_at", [1, 5])
def test_a_run_killed_and_resumed_equals_one_never_stopped_bit_for_bit(
    world: World, tmp_path: Path, name: str, dies_at: int
) -> None:
    whole = world.model(dropout=DROPOUT)
    stage = make_stage(name, world, whole)
    torch.manual_seed(1)
    make_trainer(world, whole, tmp_path / "whole").run(stage)

    torch.manual_seed(2)  # the state of another process
    first = world.model(dropout=DROPOUT)
    stage = make_stage(name, world, first)
    with pytest.raises(Killed):
        make_trainer(world, first, tmp_path / "torn").run(Interrupted(stage, dies_at, die))

    torch.manual_seed(3)
    second = world.model(dropout=DROPOUT, seed=0 if dies_at == 1 else 5)
    stage = make_stage(name, world, second)
    trainer = make_trainer(world, second, tmp_path / "torn")
    found = next(checkpoints(tmp_path / "torn" / "checkpoints"), None)
    if dies_at == 1:
        assert found is None  # it begins anew
        trainer.log.cut(0)
    else:
        assert found is not None and found.position.step == 4
    trainer.run(stage, found)

    assert_same_weights(whole, second)
    assert lines(tmp_path / "whole") == lines(tmp_path / "torn")


def run_to_death(world: World, directory: Path, death: int) -> None:
    """Trains until SIGKILL."""
    kill_at_file_operation(death)
    model = world.model(dropout=DROPOUT)
    make_trainer(world, model, directory, checkpoint_every=1, keep_checkpoints=1).run(
        make_stage("realm", world, model)
    )


@pytest.fixture(scope="module")
def never_killed(world: World, tmp_path_factory: pytest.TempPathFactory) -> tuple[Realm, Path]:
    directory = tmp_path_factory.mktemp("whole")
    model = world.model(dropout=DROPOUT)
    make_trainer(world, model, directory, checkpoint_every=1, keep_checkpoints=1).run(
        make_stage("realm", world, model)
    )
    return model, directory


# There are 104 places in all.
@pytest.mark.parametrize("death", [1, 3, 9, 17, 24, 31, 47, 58, 66, 76, 95, 102])
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

    model = world.model(dropout=DROPOUT)
    trainer = make_trainer(world, model, tmp_path, checkpoint_every=1, keep_checkpoints=1)
    found = next(checkpoints(tmp_path / "checkpoints"), None)
    if found is None:
        trainer.log.cut(0)
    trainer.run(make_stage("realm", world, model), found)
    assert_same_weights(whole, model)
    assert lines(directory) == lines(tmp_path)


def test_every_stage_changes_what_it_trains_and_nothing_else(world: World, tmp_path: Path) -> None:
    moved = {}
    for name in ("mlm", "ict", "warmup", "realm", "reading", "qa"):
        model = world.model()
        stage = make_stage(name, world, model)
        before = {k: v.clone() for k, v in model.state_dict().items()}
        make_trainer(world, model, tmp_path / name).run(stage)
        after = model.state_dict()
        changed = {k for k in before if not torch.equal(before[k], after[k])}
        parts = {"embedder.chunk_tower", "embedder.query_tower", "reader.masked_lm"}
        parts |= {"reader.span_head", "span_reader.bert.encoder", "span_reader.qa_outputs"}
        parts.add("span_reader.bert.embeddings")
        moved[name] = {part for part in parts if any(k.startswith(part) for k in changed)}
    towers = {"embedder.chunk_tower", "embedder.query_tower"}
    assert moved["mlm"] == {"reader.masked_lm"}
    assert moved["ict"] == towers
    assert moved["warmup"] == {"reader.masked_lm"}
    assert moved["realm"] == {"reader.masked_lm", *towers}
    assert moved["reading"] == {"span_reader.bert.encoder", "span_reader.qa_outputs"}
    assert moved["qa"] == {"embedder.query_tower", "reader.masked_lm", "reader.span_head"}


def test_dropout_stays_on_after_the_probe_and_after_a_refresh(world: World, tmp_path: Path) -> None:
    model = world.model(dropout=DROPOUT)
    stage = make_stage("realm", world, model)
    seen = []

    def look() -> None:
        seen.append((model.reader.masked_lm.training, model.embedder.chunk_tower.training))

    make_trainer(world, model, tmp_path).run(Interrupted(stage, 5, look))
    assert seen == [(True, True)]


def test_a_frozen_tower_has_no_dropout(world: World, tmp_path: Path) -> None:
    model = world.model(dropout=DROPOUT)
    stage = make_stage("warmup", world, model)
    seen = []
    look = Interrupted(stage, 5, lambda: seen.append(model.embedder.chunk_tower.training))
    make_trainer(world, model, tmp_path).run(look)
    assert seen == [False]


def test_the_index_is_refreshed_between_two_steps_and_its_staleness_logged(
    world: World, tmp_path: Path
) -> None:
    model = world.model()
    make_trainer(world, model, tmp_path).run(make_stage("realm", world, model))
    records = lines(tmp_path)
    steps = [r for r in records if "event" not in r]
    assert [r["index/generation"] for r in steps] == [1, 1, 2, 2, 3, 3]
    assert [r["index/staleness"] for r in steps] == [1, 2, 1, 2, 1, 2]
    swaps = [r for r in records if r.get("event") == "swap"]
    assert [(r["total_step"], r["index/generation"]) for r in swaps] == [(2, 2), (4, 3)]


def test_every_logged_line_has_the_numbers_that_the_documentation_promises(
    world: World, tmp_path: Path
) -> None:
    model = world.model()
    make_trainer(world, model, tmp_path).run(make_stage("realm", world, model))
    raw = (tmp_path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    steps = [r for r in map(json.loads, raw) if "event" not in r]
    wanted = {
        "train/loss",
        "train/lr",
        "train/gradient_norm",
        "realm/utility",
        "realm/p_null",
        "realm/entropy",
        "index/generation",
        "index/staleness",
        "speed/tokens_per_second",
        "speed/examples_per_second",
        "seconds/retrieval",
        "seconds/reading",
        "seconds/refresh",
    }
    assert all(wanted <= record.keys() for record in steps)


def test_a_line_of_metrics_is_the_mean_of_the_steps_since_the_last(
    world: World, tmp_path: Path
) -> None:
    one, three = world.model(), world.model()
    make_trainer(world, one, tmp_path / "1").run(make_stage("mlm", world, one))
    make_trainer(world, three, tmp_path / "3", log_every=3).run(make_stage("mlm", world, three))
    single = [r["train/loss"] for r in lines(tmp_path / "1")]
    means = [r["train/loss"] for r in lines(tmp_path / "3")]
    assert means == pytest.approx([sum(single[:3]) / 3, sum(single[3:]) / 3], rel=1e-12)


def test_a_line_of_metrics_begun_before_a_run_died_is_ended_after_it_goes_on(
    world: World, tmp_path: Path
) -> None:
    whole, model = world.model(), world.model()
    make_trainer(world, whole, tmp_path / "whole", log_every=3).run(
        make_stage("warmup", world, whole)
    )
    with pytest.raises(Killed):  # after the checkpoint of step 2, in the middle of a line
        make_trainer(world, model, tmp_path / "torn", log_every=3).run(
            Interrupted(make_stage("warmup", world, model), 3, die)
        )
    again = world.model()
    found = next(checkpoints(tmp_path / "torn" / "checkpoints"))
    assert found.position.step == 2
    make_trainer(world, again, tmp_path / "torn", log_every=3).run(
        make_stage("warmup", world, again), found
    )
    assert lines(tmp_path / "whole") == lines(tmp_path / "torn")


def test_a_stop_request_saves_after_the_step_and_the_run_goes_on_from_there(
    world: World, tmp_path: Path
) -> None:
    whole = world.model(dropout=DROPOUT)
    make_trainer(world, whole, tmp_path / "whole").run(make_stage("realm", world, whole))

    model = world.model(dropout=DROPOUT)
    before = signal.getsignal(signal.SIGINT)
    press = Interrupted(
        make_stage("realm", world, model), 2, lambda: os.kill(os.getpid(), signal.SIGINT)
    )
    with pytest.raises(Stopped, match="everything is saved"):
        make_trainer(world, model, tmp_path / "torn").run(press)
    assert signal.getsignal(signal.SIGINT) is before
    found = next(checkpoints(tmp_path / "torn" / "checkpoints"))
    assert found.position.step == 3 and not found.position.finished

    again = world.model(seed=9, dropout=DROPOUT)
    stage = make_stage("realm", world, again)
    make_trainer(world, again, tmp_path / "torn").run(stage, found)
    assert_same_weights(whole, again)
    assert lines(tmp_path / "whole") == lines(tmp_path / "torn")


def test_a_stop_request_in_the_last_step_is_not_forgotten(world: World, tmp_path: Path) -> None:
    model = world.model()
    press = Interrupted(
        make_stage("mlm", world, model), STEPS - 1, lambda: os.kill(os.getpid(), signal.SIGTERM)
    )
    with pytest.raises(Stopped):
        make_trainer(world, model, tmp_path).run(press)
    found = next(checkpoints(tmp_path / "checkpoints"))
    assert found.position.finished


def test_a_second_ctrl_c_acts_at_once(world: World, tmp_path: Path) -> None:
    model = world.model()

    def press_twice() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    # What a shell starts in the background ignores Ctrl-C, and so would these tests there.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            make_trainer(world, model, tmp_path).run(
                Interrupted(make_stage("mlm", world, model), 1, press_twice)
            )
    finally:
        signal.signal(signal.SIGINT, before)


def test_sigterm_twice_still_saves(world: World, tmp_path: Path) -> None:
    model = world.model()

    def press_twice() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Stopped) as stopped:
        make_trainer(world, model, tmp_path).run(
            Interrupted(make_stage("mlm", world, model), 1, press_twice)
        )
    assert stopped.value.by_system
    assert next(checkpoints(tmp_path / "checkpoints")).position.step == 2


def test_sigterm_in_an_embedding_in_line_keeps_what_is_done_and_goes_on_there(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = world.model(dropout=DROPOUT)
    make_trainer(world, whole, tmp_path / "whole").run(make_stage("realm", world, whole))
    model = world.model(dropout=DROPOUT)
    trainer = make_trainer(world, model, tmp_path / "torn")
    write = SnapshotWriter.write

    def written(writer: SnapshotWriter, shard: int, vectors: Any) -> None:
        write(writer, shard, vectors)
        if trainer.total_step == 4:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(SnapshotWriter, "write", written)
    with pytest.raises(Stopped, match="before step 5 of stage 'realm'") as stopped:
        trainer.run(make_stage("realm", world, model))
    assert stopped.value.by_system
    monkeypatch.undo()
    (staged,) = (tmp_path / "torn" / "snapshots").glob(".staging-000003-*")
    assert len(list(staged.glob("shard-*.npy"))) == 1
    again = world.model(dropout=DROPOUT, seed=4)
    found = next(checkpoints(tmp_path / "torn" / "checkpoints"))
    assert found.position.step == 4
    trainer = make_trainer(world, again, tmp_path / "torn")
    trainer.run(make_stage("realm", world, again), found)
    assert_same_weights(whole, again)
    assert lines(tmp_path / "torn") == lines(tmp_path / "whole")


def test_training_in_another_thread_leaves_signals_alone(world: World, tmp_path: Path) -> None:
    model = world.model()
    trainer, stage = make_trainer(world, model, tmp_path), make_stage("mlm", world, model)
    thread = threading.Thread(target=trainer.run, args=(stage,))
    thread.start()
    thread.join()
    assert next(checkpoints(tmp_path / "checkpoints")).position.finished


class Spoiled(Interrupted):
    """A stage whose loss or gradient is not finite at one step."""

    def step(self, step: int, live: LiveIndex | None) -> StepResult:
        result = self.stage.step(step, live)
        if step == self.at:
            result = replace(result, loss=result.loss * self.call())  # type: ignore[operator]
        return result


def test_a_loss_that_is_not_finite_stops_training_and_names_the_stage(
    world: World, tmp_path: Path
) -> None:
    model = world.model()
    stage = Spoiled(make_stage("mlm", world, model), 3, lambda: float("nan"))
    with pytest.raises(TrainingError, match=r"stage 'mlm' is nan at step 3; lower"):
        make_trainer(world, model, tmp_path).run(stage)


def test_a_gradient_that_is_not_finite_stops_training_before_it_spoils_the_weights(
    world: World, tmp_path: Path
) -> None:
    model = world.model()
    stage = make_stage("mlm", world, model)
    weight = model.reader.masked_lm.bert.embeddings.word_embeddings.weight

    class Steep(Spoiled):
        def step(self, step: int, live: LiveIndex | None) -> StepResult:
            result = self.stage.step(step, live)
            if step == self.at:
                # The root of 0: the loss is finite, its gradient is not.
                steep = (weight - weight.detach()).abs().sum().sqrt()
                result = replace(result, loss=result.loss + steep)
            return result

    with pytest.raises(TrainingError, match="gradient"):
        make_trainer(world, model, tmp_path).run(Steep(stage, 3, die))
    assert all(bool(p.isfinite().all()) for p in model.parameters())


def test_gradients_are_clipped_together_and_the_rate_follows_its_schedule(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = world.model(lively=True)
    stage = make_stage("realm", world, model)
    trainer = make_trainer(world, model, tmp_path)
    trainer.optim = OptimConfig(warmup_min=3)
    monkeypatch.setattr("openrealm.training.trainer.CLIP_NORM", 0.01)
    norms, rates = [], []
    original = AdamWeightDecay.step

    def spy(optimizer: AdamWeightDecay) -> None:
        params = [p for group in optimizer.param_groups for p in group["params"]]
        squares = [float(p.grad.pow(2).sum()) for p in params if p.grad is not None]
        norms.append(sum(squares) ** 0.5)
        rates.append(sorted({group["lr"] for group in optimizer.param_groups}))
        original(optimizer)

    monkeypatch.setattr(AdamWeightDecay, "step", spy)
    trainer.run(stage)
    assert norms == pytest.approx([0.01] * STEPS, rel=1e-3)
    steps = [r for r in lines(tmp_path) if "event" not in r]
    assert all(r["train/gradient_norm"] > 0.1 for r in steps)  # as it was before
    factors = [1 / 3, 2 / 3, 1, 3 / 6, 2 / 6, 1 / 6]
    assert rates == [[pytest.approx(1e-3 * factor)] for factor in factors]
    assert [r["train/lr"] for r in steps] == pytest.approx([1e-3 * f for f in factors])


def test_only_the_newest_checkpoints_and_the_ends_of_stages_are_kept(
    world: World, tmp_path: Path
) -> None:
    model = world.model()
    trainer = make_trainer(world, model, tmp_path, checkpoint_every=1, keep_checkpoints=2)
    trainer.run(make_stage("mlm", world, model))
    trainer.run(make_stage("realm", world, model))
    kept = [(c.position.stage, c.position.step) for c in checkpoints(tmp_path / "checkpoints")]
    assert kept == [("realm", 6), ("realm", 5), ("realm", 4), ("mlm", 6)]
    assert trainer.total_step == 2 * STEPS


def test_snapshots_that_no_checkpoint_needs_are_removed(world: World, tmp_path: Path) -> None:
    model = world.model()
    trainer = make_trainer(world, model, tmp_path, checkpoint_every=1, keep_checkpoints=1)
    trainer.run(make_stage("realm", world, model))
    needed = {c.position.generation for c in checkpoints(tmp_path / "checkpoints")}
    assert set(generations(tmp_path / "snapshots")) == needed


def falling(world: World, model: Realm, directory: Path, recalls: list[float]) -> Trainer:
    """A trainer whose probe reports these recalls, by total step."""
    trainer = make_trainer(world, model, directory, probe_every=1)

    class Falling(NoProbe):
        def __call__(self, live: LiveIndex | None) -> Mapping[str, float]:
            recall = recalls[trainer.total_step]
            return {"probe/recall@5": recall, "probe/queries": 100.0}

    trainer.probe = Falling()
    return trainer


def test_a_collapse_of_retrieval_is_told_and_a_resumed_run_remembers_what_was_before(
    world: World, tmp_path: Path
) -> None:
    recalls = [0.8, 0.9, 0.7, 0.6, 0.5, 0.3, 0.1]
    whole = world.model()
    falling(world, whole, tmp_path / "whole", recalls).run(make_stage("realm", world, whole))
    warnings = [r for r in lines(tmp_path / "whole") if r.get("event") == "warning"]
    assert [(r["step"], "from 0.800 to 0.300" in r["text"]) for r in warnings] == [(5, True)]

    model = world.model()
    stage = make_stage("realm", world, model)
    with pytest.raises(Killed):
        falling(world, model, tmp_path / "torn", recalls).run(Interrupted(stage, 4, die))
    model = world.model()
    found = next(checkpoints(tmp_path / "torn" / "checkpoints"))
    falling(world, model, tmp_path / "torn", recalls).run(make_stage("realm", world, model), found)
    assert lines(tmp_path / "torn") == lines(tmp_path / "whole")


def test_a_stage_that_leaves_the_retriever_alone_is_not_watched(
    world: World, tmp_path: Path
) -> None:
    model = world.model()
    trainer = falling(world, model, tmp_path, [0.9, 0.8, 0.7, 0.1, 0.1, 0.1, 0.1])
    trainer.run(make_stage("warmup", world, model))
    assert not [r for r in lines(tmp_path) if r.get("event") == "warning"]


def test_metrics_go_to_tensorboard_where_it_is_installed(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    listen = tensorboard_listener(tmp_path / "board")
    log = MetricsLog(tmp_path / "metrics.jsonl", listener=listen)
    log.write({"stage": "realm", "total_step": 7, "train/loss": 2.5, "event": "x/y"})
    events = EventAccumulator(str(tmp_path / "board"))
    events.Reload()
    assert events.Tags()["scalars"] == ["train/loss"]
    assert [(e.step, e.value) for e in events.Scalars("train/loss")] == [(7, 2.5)]


def test_tensorboard_that_is_not_installed_says_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(MissingDependencyError, match=r"openrealm\[track\]"):
        tensorboard_listener(tmp_path)


def test_metrics_are_handed_to_a_listener_too(tmp_path: Path) -> None:
    heard: list[Mapping[str, Any]] = []
    log = MetricsLog(tmp_path / "metrics.jsonl", listener=heard.append)
    log.write({"a": 1})
    assert heard == [{"a": 1}]
    size = log.size_bytes
    log.write({"b": 2})
    log.cut(size)
    assert (tmp_path / "metrics.jsonl").read_text(encoding="utf-8") == '{"a": 1}\n'


def test_what_a_power_failure_has_left_of_a_line_is_forgotten(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path / "metrics.jsonl", listener=None)
    log.write({"step": 1})
    kept = log.size_bytes
    log.write({"step": 2})
    with open(tmp_path / "metrics.jsonl", "rb+") as file:
        file.truncate(log.size_bytes - 4)
    log.cut(kept + 1000)
    assert list(log.records()) == [{"step": 1}] and log.size_bytes == kept
