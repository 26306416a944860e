"""Tests of what runs of one workspace share where a matrix above the same BERT is trained alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import commands
import numpy as np
import pytest
from trained import train

import openrealm
import openrealm.retrieval.live_index as making
from openrealm.index.snapshot import Snapshot, generations
from openrealm.progress import Silent
from openrealm.retrieval.embedding import embed_rows
from openrealm.runs.folders import WorkspaceFolder
from openrealm.runs.loaded import load_model, load_run

PROJECTION = ["model.embedder.projection=adapter", "realm.towers=projection"]


@pytest.fixture
def workspace(tmp_path: Path, trained: Path) -> Path:
    """A workspace with a run of which only the matrix was trained."""
    shutil.copytree(trained / "corpus", tmp_path / "rivers" / "corpus")
    train(tmp_path / "rivers", changes=PROJECTION)
    return tmp_path / "rivers"


def test_a_second_run_above_the_same_bert_embeds_nothing(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(making, "write_snapshot", None)
    name = train(workspace, changes=[*PROJECTION, "realm.lr_retriever=0.01"])
    first, second = (
        load_model(WorkspaceFolder(workspace), name=run, stages=("realm",)).model.state_dict()
        for run in ("run-001", name)
    )
    moved = {key for key in first if not (first[key] == second[key]).all()}
    assert any("dense" in key for key in moved)
    assert not any("bert.encoder" in key and "embedder" in key for key in moved)


def test_documents_that_come_later_are_embedded_alone(
    workspace: Path, tmp_path: Path, embedded: list[int]
) -> None:
    more = {"id": "new", "title": "Zanthor", "text": "A town of glass blowers."}
    (tmp_path / "more.jsonl").write_text(json.dumps(more) + "\n")
    commands.ingest(workspace, sources=[tmp_path / "more.jsonl"])
    found = openrealm.open(workspace).search("glass blowers", k=5)
    assert "new" in [hit.chunk.document_id for hit in found.hits]
    assert len(embedded) == 1


def test_weights_without_a_snapshot_are_embedded_by_the_matrix_alone(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(making, "write_snapshot", None)
    run = WorkspaceFolder(workspace).run()
    shutil.rmtree(run.snapshots)
    loaded = load_run(WorkspaceFolder(workspace), name=None, stages=("realm",), progress=Silent())
    (generation,) = generations(run.snapshots)
    found = Snapshot.open(run.snapshots / f"{generation:06d}").read()
    rows = range(len(loaded.corpus))
    wanted = embed_rows(loaded.corpus, rows, loaded.encoder)
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_a_replay_runs_no_bert_either_and_gives_the_same(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = [*PROJECTION, "refresh.every=1"]
    first = train(workspace, changes=settings)
    monkeypatch.setattr(making, "write_snapshot", None)
    replayed = [*settings, "refresh.mode=replay", f"refresh.replay={first}"]
    again = train(workspace, changes=replayed)
    one, other = (
        load_model(WorkspaceFolder(workspace), name=run, stages=("realm",)).model.state_dict()
        for run in (first, again)
    )
    assert all((one[name] == other[name]).all() for name in one)
    log = WorkspaceFolder(workspace).run(again).metrics_file.read_text()
    assert '"swap"' in log and "not bit for bit" not in log
