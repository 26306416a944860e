"""Tests of the stage `reading` in a run: what it leaves behind, and what goes on from there."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import commands
import pytest
import torch
from trained import SHAPE, train

import openrealm
from openrealm.errors import ConfigError, InputError
from openrealm.models.span_reader import SpanReader
from openrealm.runs.checkpoints import checkpoints
from openrealm.runs.folders import WorkspaceFolder
from openrealm.runs.loaded import load_model
from openrealm.training.trainer import Trainer

READING = [
    "stages=['ict','realm','reading']",
    "reading.steps=4",
    "reading.batch_size=4",
    "reading.lr=1e-3",
    "qa.reader=tower",
    "loop.checkpoint_every=2",
]


def workspace_at(path: Path, trained: Path) -> Path:
    shutil.copytree(trained / "corpus", path / "rivers" / "corpus")
    return path / "rivers"


@pytest.fixture(scope="module")
def read(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a run that went through the stage `reading`; not to be changed."""
    workspace = workspace_at(tmp_path_factory.mktemp("read"), trained)
    train(workspace, changes=READING)
    return workspace


def reader_of(workspace: Path, stage: str = "reading") -> SpanReader:
    model = load_model(WorkspaceFolder(workspace), name=None, stages=(stage,)).model
    assert model.span_reader is not None
    return model.span_reader


def same(one: SpanReader, other: SpanReader) -> bool:
    weights = other.state_dict()
    return all(torch.equal(tensor, weights[name]) for name, tensor in one.state_dict().items())


def test_a_run_has_its_reader_from_that_stage_on(read: Path) -> None:
    run = WorkspaceFolder(read).run()
    stages = {c.position.stage for c in checkpoints(run.checkpoints)}
    assert stages == {"ict", "realm", "reading"}
    before = load_model(WorkspaceFolder(read), name=None, stages=("realm",)).model
    assert before.span_reader is None
    assert load_model(WorkspaceFolder(read), name=None).checkpoint.position.stage == "reading"
    tower = before.embedder.chunk_tower.bert.state_dict()
    now = reader_of(read).bert.state_dict()
    words = "embeddings.word_embeddings.weight"
    assert torch.equal(now[words], tower[words])
    layer = "encoder.layer.0.output.dense.weight"
    assert not torch.equal(now[layer], tower[layer])


def test_what_was_learned_is_in_the_log_and_in_the_runs_record(read: Path) -> None:
    run = WorkspaceFolder(read).run()
    records = [json.loads(line) for line in run.metrics_file.read_text().splitlines()]
    steps = [r for r in records if r["stage"] == "reading" and "event" not in r]
    assert steps and all(r["reading/loss"] > 0.0 for r in steps)
    probes = [r for r in records if r["stage"] == "reading" and r.get("event") == "probe"]
    assert [r["step"] for r in probes] == [0, 4]
    report = run.read_record()["stage_reports"][-1]
    assert report["stage"] == "reading"
    for name in ("exact_match", "f1", "here_accuracy", "questions"):
        assert report[f"reading/{name}"] == probes[-1][f"reading/{name}"]


def test_it_answers(read: Path) -> None:
    found = openrealm.open(read).ask("What is the capital of Norland?")
    assert found.answers is not None and any(each.text for each in found.answers.answers)


def test_it_is_exported_and_a_start_for_another_run(read: Path, tmp_path: Path) -> None:
    exported = openrealm.open(read).export("openrealm", output=tmp_path / "model")
    model = openrealm.from_pretrained(exported.directory).model
    assert model.span_reader is not None and same(model.span_reader, reader_of(read))
    workspace = workspace_at(tmp_path, read)
    train(workspace, start=exported.directory, changes=["stages=['realm']"])
    assert load_model(WorkspaceFolder(workspace), name=None).model.span_reader is None


def test_fine_tuning_goes_on_from_it(read: Path, trained: Path, tmp_path: Path) -> None:
    shutil.copytree(read, tmp_path / "rivers")
    commands.finetune(
        tmp_path / "rivers",
        qa=[trained.parent / "qa.jsonl"],
        assignments=["qa.lr=0", "qa.lr_retriever=0"],
    )
    assert same(reader_of(tmp_path / "rivers", "qa"), reader_of(read))


def test_a_run_killed_in_it_goes_on_as_if_it_had_not_been(
    read: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = workspace_at(tmp_path, read)

    def dying(trainer: Trainer, stage: object, step: int, *rest: object) -> object:
        if stage.name == "reading" and step == 3:  # type: ignore[attr-defined]
            raise KeyboardInterrupt
        return one_step(trainer, stage, step, *rest)  # type: ignore[arg-type]

    one_step = Trainer._one_step
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_one_step", dying)
        with pytest.raises(KeyboardInterrupt):
            train(workspace, changes=READING)
    newest = next(checkpoints(WorkspaceFolder(workspace).run().checkpoints))
    assert (newest.position.stage, newest.position.step) == ("reading", 2)
    commands.pretrain(workspace, resume=True)
    assert same(reader_of(workspace), reader_of(read))
    records = [WorkspaceFolder(each).run().read_record() for each in (workspace, read)]
    assert records[0]["stage_reports"] == records[1]["stage_reports"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (["qa.reader=pretrained"], "qa.reader = pretrained has none; set qa.reader=tower"),
        (["stages=['ict','reading','realm']"], "stages lists realm after reading"),
    ],
)
def test_a_stage_without_a_reader_or_before_others_is_refused(
    trained: Path, changes: list[str], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        train(trained, changes=[*READING, *changes])


def test_texts_without_spans_that_recur_are_refused_before_the_first_stage(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.txt").write_text("Bridges near Quelmora were built of stone.")
    (tmp_path / "docs" / "b.txt").write_text("Lakes near Tornau freeze each winter.")

    commands.ingest(tmp_path / "ws", sources=[tmp_path / "docs"], preset="tiny", assignments=SHAPE)
    with pytest.raises(InputError, match=r"leave the stage out: reading\.steps=0"):
        train(tmp_path / "ws", changes=READING)
    assert not WorkspaceFolder(tmp_path / "ws").runs()
