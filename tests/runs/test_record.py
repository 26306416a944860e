"""Tests of a run's record: reports of stages, and learning rates that a resumption has lowered."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import commands
import pytest
import torch
from click.testing import Result
from safetensors.torch import load_file
from trained import SHAPE, STEPS, train
from typer.testing import CliRunner

from openrealm.cli.app import app
from openrealm.errors import ConfigError, TrainingError
from openrealm.metrics import Interval
from openrealm.runs.folders import RunFolder, WorkspaceFolder
from openrealm.runs.record import add_report, note_lowered, stage_intervals
from openrealm.settings import Settings, lower_rates, read_settings, resolve
from openrealm.training import trainer as trainer_module
from openrealm.training.fine_tuning import QaStage
from openrealm.training.objectives import JointStage
from openrealm.training.optim import set_learning_rate

MRR = Interval(mean=0.5, low=0.25, high=0.75)


def test_intervals_are_kept_beside_the_means_which_stay_as_they_were() -> None:
    record = {"stage_reports": []}
    add_report(
        record, {"stage": "ict", "total_step": 4, "held_out/mrr": 0.5}, {"held_out/mrr": MRR}
    )
    assert record["stage_reports"] == [{"stage": "ict", "total_step": 4, "held_out/mrr": 0.5}]
    kept = json.loads(json.dumps(record))
    assert stage_intervals(kept, "ict") == {"held_out/mrr": MRR}


def test_a_stage_measured_again_takes_the_place_of_what_was_there() -> None:
    record = {"stage_reports": [{"stage": "qa", "total_step": 4}]}
    add_report(record, {"stage": "qa", "total_step": 9}, {})
    assert record["stage_reports"] == [{"stage": "qa", "total_step": 9}]


def test_a_record_of_an_older_version_has_no_intervals() -> None:
    old = {"stage_reports": [{"stage": "ict", "total_step": 4, "held_out/mrr": 0.5}]}
    assert stage_intervals(old, "ict") == {}
    add_report(old, {"stage": "realm", "total_step": 9, "held_out/mrr": 0.5}, {"held_out/mrr": MRR})
    assert stage_intervals(old, "ict") == {}
    assert stage_intervals(old, "realm") == {"held_out/mrr": MRR}


def test_every_figure_after_a_training_has_an_interval_around_it(trained: Path) -> None:
    record = RunFolder(WorkspaceFolder(trained).run().directory).read_record()
    for report in record["stage_reports"]:
        intervals = stage_intervals(record, report["stage"])
        wanted = {name for name in report if "/" in name} - {"probe/queries"}
        assert set(intervals) == wanted
        for name, interval in intervals.items():
            # Rounding, where all values are the same.
            assert interval.low - 1e-9 <= report[name] <= interval.high + 1e-9


RATES = ["realm.lr=0.001", "realm.lr_retriever=0.002", "qa.lr=0.0004", "qa.lr_retriever=0.0002"]
LONGER = [
    *RATES,
    "realm.steps=6",
    "qa.steps=6",
    "loop.log_every=1",
    "loop.probe_every=3",
    "loop.checkpoint_every=2",
]


@pytest.fixture
def workspace(trained: Path, tmp_path: Path) -> Path:
    """A corpus without a run, in a folder with a space in its name."""
    shutil.copytree(trained / "corpus", tmp_path / "my rivers" / "corpus")
    return tmp_path / "my rivers"


def command(*words: str) -> Result:
    return CliRunner().invoke(app, list(words), prog_name="openrealm")


def settings_of(*values: str) -> list[str]:
    return [word for value in values for word in ("--set", value)]


def spoil(stage: type, monkeypatch: pytest.MonkeyPatch, *, at: int) -> None:
    """Makes the loss of a stage not a number at one of its steps."""
    step = stage.step  # type: ignore[attr-defined]

    def spoiled(self: Any, number: int, live: Any) -> Any:
        result = step(self, number, live)
        return replace(result, loss=result.loss * float("nan")) if number == at else result

    monkeypatch.setattr(stage, "step", spoiled)


def halve_from(monkeypatch: pytest.MonkeyPatch, *, step: int) -> None:
    """What a run does whose rates are halved, by hand, before one of all its steps."""
    steps = iter(range(100))

    def halving(optimizer: torch.optim.Optimizer, factor: float) -> None:
        set_learning_rate(optimizer, factor / 2 if next(steps) >= step else factor)

    monkeypatch.setattr(trainer_module, "set_learning_rate", halving)


def weights(run: RunFolder, checkpoint: str) -> dict[str, torch.Tensor]:
    return load_file(run.checkpoints / checkpoint / "weights.safetensors")


def log(run: RunFolder) -> list[dict[str, Any]]:
    """The records without what a clock has measured."""
    records = map(json.loads, run.metrics_file.read_text(encoding="utf-8").splitlines())
    return [
        {k: v for k, v in r.items() if not k.startswith(("speed", "time")) and "seconds" not in k}
        for r in records
    ]


def assert_the_same(run: RunFolder, other: RunFolder, checkpoint: str) -> None:
    ours, theirs = weights(run, checkpoint), weights(other, checkpoint)
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        assert torch.equal(tensor, theirs[name]), name
    assert [r for r in log(run) if r.get("event") != "rate"] == log(other)


def rate_events(run: RunFolder) -> list[tuple[Any, ...]]:
    keys = ("stage", "step", "total_step", "setting", "from", "to")
    return [tuple(r[k] for k in keys) for r in log(run) if r.get("event") == "rate"]


def printed(result: Result) -> list[str]:
    """The words of the command that a message ends with."""
    assert result.exit_code == 2
    told = result.stderr.strip().splitlines()[-1]
    assert told.startswith("to go on with lower rates: openrealm ")
    return shlex.split(told.partition("openrealm ")[2])


def test_the_printed_command_goes_on_with_half_the_rates_and_changes_nothing_else(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = settings_of(*SHAPE, *STEPS, *LONGER)
    words = ["pretrain", str(workspace), "--preset", "tiny", "--start", "scratch", *given]
    with monkeypatch.context() as patch:
        spoil(JointStage, patch, at=5)
        told = printed(command(*words))
    assert told[:3] == ["pretrain", str(workspace), "--resume"]
    assert command(*told).exit_code == 0
    place = WorkspaceFolder(workspace)
    run = place.run()
    halved = ("realm.lr", 0.001, 0.0005), ("realm.lr_retriever", 0.002, 0.001)
    assert rate_events(run) == [("realm", 4, 6, *rate) for rate in halved]
    assert [note["setting"] for note in run.read_record()["lowered_rates"]] == [
        "realm.lr",
        "realm.lr_retriever",
    ]
    assert read_settings(run.settings_file).realm.lr_retriever == 0.001
    assert (
        "at step 6: realm.lr lowered from 0.001 to 0.0005" in command("info", str(workspace)).stdout
    )

    with monkeypatch.context() as patch:
        halve_from(patch, step=6)
        other = train(workspace, changes=LONGER)
    assert_the_same(run, place.run(other), "realm-000006")


def test_the_printed_command_goes_on_with_a_fine_tuning(
    trained: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    questions = str(trained.parent / "qa.jsonl")
    place = WorkspaceFolder(workspace)
    for name in (train(workspace, changes=LONGER), train(workspace, changes=LONGER)):
        words = ["finetune", str(workspace), "--qa", questions, "--run", name]
        with monkeypatch.context() as patch:
            if name == "run-001":
                spoil(QaStage, patch, at=3)
                told = printed(command(*words))
            else:
                halve_from(patch, step=2)
                assert command(*words).exit_code == 0
    assert command(*told).exit_code == 0
    run = place.run("run-001")
    halved = ("qa.lr", 0.0004, 0.0002), ("qa.lr_retriever", 0.0002, 0.0001)
    assert rate_events(run) == [("qa", 2, 10, *rate) for rate in halved]
    assert_the_same(run, place.run("run-002"), "qa-000006")
    with pytest.raises(ConfigError, match=r"lowering qa\.lr does nothing.*none"):
        commands.finetune(
            workspace, qa=[Path(questions)], run="run-001", resume=True, assignments=["qa.lr=1e-6"]
        )


def test_before_the_first_checkpoint_the_stage_begins_anew_with_the_lower_rate(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        spoil(JointStage, patch, at=1)
        with pytest.raises(TrainingError) as caught:
            train(workspace, changes=LONGER)
    assert caught.value.lower == ("realm.lr=0.0005", "realm.lr_retriever=0.001")
    commands.pretrain(workspace, resume=True, assignments=caught.value.lower)
    with monkeypatch.context() as patch:
        halve_from(patch, step=2)
        other = train(workspace, changes=LONGER)
    place = WorkspaceFolder(workspace)
    run = place.run("run-001")
    assert {event[:3] for event in rate_events(run)} == {("realm", 0, 2)}
    assert_the_same(run, place.run(other), "realm-000006")


def test_a_rate_lowered_twice_is_told_once_from_where_it_holds(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die_at(step: int, resumed: Callable[[], object]) -> None:
        with monkeypatch.context() as patch:
            spoil(JointStage, patch, at=step)
            with pytest.raises(TrainingError):
                resumed()

    def resume(*assignments: str) -> None:
        commands.pretrain(workspace, resume=True, assignments=assignments)

    die_at(5, lambda: train(workspace, changes=LONGER))
    die_at(4, lambda: resume("realm.lr=0.0005"))
    die_at(4, lambda: resume("realm.lr=0.00025"))
    run = WorkspaceFolder(workspace).run()
    assert rate_events(run) == [("realm", 4, 6, "realm.lr", 0.001, 0.00025)]
    shutil.rmtree(run.checkpoints / "realm-000004")  # it goes on from an earlier one
    die_at(3, resume)
    resume("realm.lr=0.00025")
    assert rate_events(run) == [("realm", 2, 4, "realm.lr", 0.001, 0.00025)]
    assert run.read_record()["lowered_rates"][0]["step"] == 2


@pytest.mark.parametrize(
    ("assignments", "message"),
    [
        (["realm.steps=9"], "may only lower learning rates: leave out realm.steps=9"),
        (["optim.bias_correction=false"], "leave out optim.bias_correction=false"),
        (["realm.lr=0.01"], "realm.lr = 0.01 is above the run's 0.001"),
        (["realm.lr=0"], "realm.lr = 0 would leave out"),
        (["realm.lr=-1"], "realm.lr = -1"),
        (["realm.lr"], "not an assignment"),
    ],
)
def test_a_resumption_changes_no_other_setting(assignments: list[str], message: str) -> None:
    settings = resolve(preset="tiny", assignments=RATES)
    with pytest.raises(ConfigError) as caught:
        lower_rates(settings, assignments)
    assert message in str(caught.value)
    assert lower_rates(settings, ["realm.lr=0.001"]) == settings


def test_the_rate_of_a_stage_that_has_ended_is_refused_and_stays(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(JointStage, monkeypatch, at=3)
    with pytest.raises(TrainingError):
        train(workspace, changes=LONGER)
    file = WorkspaceFolder(workspace).run().settings_file
    before = file.read_text(encoding="utf-8")
    for rate in ("ict.lr=1e-6", "qa.lr=1e-6"):
        with pytest.raises(ConfigError, match=r"of the run's stages are left: realm"):
            commands.pretrain(workspace, resume=True, assignments=[rate])
    with pytest.raises(ConfigError, match="nothing else is given"):
        commands.pretrain(workspace, resume=True, preset="tiny")
    assert file.read_text(encoding="utf-8") == before


def at(settings: Settings, *assignments: str) -> Settings:
    return lower_rates(settings, assignments)


def test_settings_that_a_crash_has_left_as_they_were_are_not_noted_as_lower() -> None:
    settings = resolve(preset="tiny", assignments=RATES)
    record: dict[str, Any] = {}
    lower = at(settings, "realm.lr=0.0001")
    place = {"stage": "realm", "step": 4, "total": 6}
    assert len(note_lowered(record, settings, lower, **place)) == 1  # type: ignore[arg-type]
    assert note_lowered(record, settings, settings, **place) == []  # type: ignore[arg-type]
    assert record["lowered_rates"] == []


def test_what_was_noted_before_the_checkpoint_stays() -> None:
    first = resolve(preset="tiny", assignments=RATES)
    second = at(first, "realm.lr=0.0005")
    third = at(second, "realm.lr=0.0001")
    record: dict[str, Any] = {}
    steps: Sequence[tuple[Settings | None, Settings, int]] = [
        (first, second, 4),
        (second, third, 8),
        (None, third, 12),
    ]
    for before, after, step in steps:
        note_lowered(record, before, after, stage="realm", step=step, total=step + 2)
    found = [(n["step"], n["from"], n["to"]) for n in record["lowered_rates"]]
    assert found == [(4, 0.001, 0.0005), (8, 0.0005, 0.0001)]
