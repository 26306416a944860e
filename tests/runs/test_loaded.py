"""Tests of runs as they are loaded: one that trains nothing, one in training, one after a stage."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import commands
import pytest
import torch
from trained import SHAPE, STEPS, train

import openrealm
import openrealm.runs.checkpoints as checkpoints_module
from openrealm import recipes
from openrealm.errors import CheckpointError, ConfigError, InputError
from openrealm.files import checksum
from openrealm.index.snapshot import generations
from openrealm.progress import Silent
from openrealm.runs.folders import WorkspaceFolder
from openrealm.runs.loaded import load_model, load_run, newest_checkpoint

UNTRAINED = ["ict.steps=0", "realm.steps=0"]


@pytest.fixture
def untrained(tmp_path: Path, trained: Path) -> Path:
    """A workspace whose run begins and ends with the weights that inverse cloze has made."""
    shutil.copytree(trained / "corpus", tmp_path / "rivers" / "corpus")
    start = newest_checkpoint(WorkspaceFolder(trained).run(), ["ict"]).directory
    train(tmp_path / "rivers", start=str(start), changes=UNTRAINED)
    return tmp_path / "rivers"


def test_the_start_itself_searches_and_fills(untrained: Path, trained: Path) -> None:
    (report,) = WorkspaceFolder(untrained).run().read_record()["stage_reports"]
    assert report["stage"] == "start" and "probe/recall@1" in report
    start = newest_checkpoint(WorkspaceFolder(trained).run(), ["ict"])
    loaded = load_model(WorkspaceFolder(untrained), name=None)
    assert loaded.checkpoint.position.stage == "start"
    wanted = load_model(WorkspaceFolder(trained), name=None, stages=["ict"]).model.state_dict()
    assert start.position.stage == "ict"
    for name, tensor in loaded.model.state_dict().items():
        assert torch.equal(tensor, wanted[name])
    assert len(openrealm.open(untrained).search("the longest river", k=3).hits) == 3
    assert openrealm.open(untrained).fill("Aldera is the capital of [MASK].", top=2).fillings
    rows = recipes.evaluate(untrained, probe=True).rows
    assert rows[0].measures["recall@1"].mean == report["probe/recall@1"]


def test_it_stays_usable_with_more_documents_and_is_taken_up(
    untrained: Path, tmp_path: Path
) -> None:
    more = {"id": "new", "title": "Zanthor", "text": "Zanthor is a town of glass blowers."}
    (tmp_path / "more.jsonl").write_text(json.dumps(more) + "\n")
    commands.pretrain(untrained, resume=True)  # nothing is left to do
    commands.ingest(untrained, sources=[tmp_path / "more.jsonl"])
    found = openrealm.open(untrained).search("Zanthor glass blowers", k=3)
    assert "new" in [hit.chunk.document_id for hit in found.hits]


@pytest.fixture
def summed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A list that gets the checkpoints' files whose checksum is computed."""
    files: list[str] = []

    def spy(path: Path) -> str:
        files.append(f"{path.parent.name}/{path.name}")
        return checksum(path)

    monkeypatch.setattr(checkpoints_module, "checksum", spy)
    return files


def test_who_asks_reads_the_weights_that_answer_and_no_others(
    trained: Path, summed: list[str]
) -> None:
    openrealm.open(trained).search("river")
    assert summed == ["qa-000001/weights.safetensors"]
    summed.clear()
    openrealm.open(trained).fill("Aldera is the capital of [MASK].")
    assert summed == ["realm-000002/weights.safetensors"]
    summed.clear()
    openrealm.open(trained).info()
    assert len(summed) == len(set(summed)) > 2


def test_weights_that_are_damaged_are_passed_over(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained, tmp_path / "rivers")
    workspace = WorkspaceFolder(tmp_path / "rivers")
    file = workspace.run().checkpoints / "realm-000002" / "weights.safetensors"
    data = file.read_bytes()
    file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert newest_checkpoint(workspace.run(), ["realm", "ict"]).position.stage == "ict"
    with pytest.raises(InputError, match="no checkpoint of realm"):
        load_model(workspace, name=None, stages=["realm"])
    (damaged,) = openrealm.open(tmp_path / "rivers").info().problems
    assert damaged == f"{file} is missing or damaged; it is passed over"


def test_a_corpus_that_grows_is_embedded_where_it_is_new_and_leaves_nothing_behind(
    untrained: Path, tmp_path: Path, embedded: list[int]
) -> None:
    openrealm.open(untrained).search("river")
    embedded.clear()
    snapshots = WorkspaceFolder(untrained).run().snapshots
    before = len(generations(snapshots))
    for number in range(3):
        more = {"id": f"new{number}", "title": "Zanthor", "text": "A town of glass blowers."}
        (tmp_path / "more.jsonl").write_text(json.dumps(more) + "\n")
        commands.ingest(untrained, sources=[tmp_path / "more.jsonl"])
        found = openrealm.open(untrained).search("Zanthor glass blowers", k=5)
        assert f"new{number}" in [hit.chunk.document_id for hit in found.hits]
        assert len(embedded) == number + 1
    assert len(generations(snapshots)) == before + 1  # the last one, which may still be read


def test_who_opened_the_corpus_before_it_grew_leaves_the_newer_snapshot_alone(
    untrained: Path, tmp_path: Path
) -> None:
    run = WorkspaceFolder(untrained).run()
    stale = load_model(WorkspaceFolder(untrained), name=None)
    for number in range(2):
        more = {"id": f"new{number}", "title": "Zanthor", "text": "A town of glass blowers."}
        (tmp_path / "more.jsonl").write_text(json.dumps(more) + "\n")
        commands.ingest(untrained, sources=[tmp_path / "more.jsonl"])
        openrealm.open(untrained).search("Zanthor glass blowers", k=5)
    newest = generations(run.snapshots)[-1]
    stale.snapshot(Silent())
    assert newest in generations(run.snapshots)
    found = load_run(WorkspaceFolder(untrained), name=None, progress=Silent())
    assert found.live.generation == newest


def test_it_is_fine_tuned_and_exported(untrained: Path, trained: Path, tmp_path: Path) -> None:
    commands.finetune(untrained, qa=[trained.parent / "qa.jsonl"])
    assert load_model(WorkspaceFolder(untrained), name=None).checkpoint.position.stage == "qa"
    log = WorkspaceFolder(untrained).run().metrics_file
    before = log.read_bytes()
    commands.pretrain(untrained, resume=True)  # nothing is left to do, and nothing is lost
    assert before and log.read_bytes() == before
    recipes.export(untrained, to="openrealm", stage="start", output=tmp_path / "model")
    recipes.from_pretrained(tmp_path / "model")


def test_texts_that_tell_nothing_twice_can_be_searched_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.txt").write_text("The bridge was repaired by Anna Berg in 1987.")
    (tmp_path / "docs" / "b.txt").write_text("Lakes near Tornau freeze each winter.")
    workspace = tmp_path / "ws"
    commands.ingest(workspace, sources=[tmp_path / "docs"], preset="tiny", assignments=SHAPE)
    told = [*SHAPE, *STEPS, "salient.supported_within=4"]
    with pytest.raises(InputError, match="nothing here is said twice"):
        commands.pretrain(workspace, preset="tiny", assignments=told)
    assert not WorkspaceFolder(workspace).runs()
    commands.pretrain(workspace, preset="tiny", assignments=[*told, *UNTRAINED])
    assert len(openrealm.open(workspace).search("bridge").hits) == 2


def test_settings_that_come_out_late_leave_no_run_behind(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained / "corpus", tmp_path / "rivers" / "corpus")
    with pytest.raises(ConfigError, match=r"salient\.kind"):
        train(tmp_path / "rivers", changes=["salient.kind=rule"])
    assert not WorkspaceFolder(tmp_path / "rivers").runs()
    assert not list((tmp_path / "rivers" / "runs").iterdir())


def test_after_plain_masked_lm_the_towers_have_the_readers_bert(
    tmp_path: Path, trained: Path
) -> None:
    shutil.copytree(trained / "corpus", tmp_path / "rivers" / "corpus")
    plain = ["stages=['mlm']", "mlm.steps=2", "mlm.batch_size=4", "model.own_reader=false"]
    plain += ["model.bert.layers=2", "model.bert.hidden=64"]
    train(tmp_path / "rivers", changes=plain)
    model = load_model(WorkspaceFolder(tmp_path / "rivers"), name=None, stages=("mlm",)).model
    tower = model.embedder.chunk_tower.bert.state_dict()
    reader = model.reader.masked_lm.bert.state_dict()
    assert all(torch.equal(tower[name], reader[name]) for name in reader)


def test_a_run_in_training_is_not_given_a_snapshot_by_others(tmp_path: Path, trained: Path) -> None:
    """The trainer numbers its snapshots, and would take this one for its own."""
    shutil.copytree(trained, tmp_path / "rivers")
    workspace = WorkspaceFolder(tmp_path / "rivers")
    run = workspace.run()
    with run.locked():
        load_run(workspace, name=None, progress=Silent())  # its snapshot is there
        shutil.rmtree(run.snapshots)
        with pytest.raises(CheckpointError, match="is being trained, and has no snapshot"):
            load_run(workspace, name=None, progress=Silent())
    load_run(workspace, name=None, progress=Silent())
