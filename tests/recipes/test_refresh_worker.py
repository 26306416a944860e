"""Tests of refreshing by a run's settings, and of the worker that embeds beside a training."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import commands
import numpy as np
import pytest
import torch
from together import environment, free_port
from trained import SHAPE, STEPS

from openrealm.errors import CheckpointError, ConfigError, CorpusError, InputError
from openrealm.index.snapshot import Snapshot
from openrealm.progress import Silent
from openrealm.recipes.refresh_worker import _Dispatcher, _Worker, refresh_worker, worker_device
from openrealm.retrieval.embedding import Order, embed_rows
from openrealm.runs.folders import RunFolder, WorkspaceFolder
from openrealm.runs.loaded import load_model
from openrealm.settings import read_settings, resolve
from openrealm.training.weights import publish_weights, take_back, tower_copy

PATIENCE_S = 120.0
ORDER = Order(generation=50, step=7)


@pytest.fixture
def place(trained: Path, tmp_path: Path) -> WorkspaceFolder:
    """A copy of the trained workspace."""
    shutil.copytree(trained, tmp_path / "ws")
    return WorkspaceFolder(tmp_path / "ws")


def order_from(place: WorkspaceFolder) -> RunFolder:
    """The run, with an order of other weights than those of its snapshots."""
    loaded = load_model(place, name=None, stages=("realm",))
    with torch.no_grad():
        loaded.model.embedder.chunk_tower.bert.embeddings.word_embeddings.weight.mul_(1.5)
    publish_weights(loaded.run.weights, ORDER, tower_copy(loaded.model.embedder))
    return loaded.run


def wait_for(path: Path) -> None:
    until = time.monotonic() + PATIENCE_S
    while not path.exists():
        assert time.monotonic() < until, f"{path} did not come"
        time.sleep(0.05)


def test_a_worker_started_by_hand_embeds_what_is_ordered_and_ends_with_the_training(
    place: WorkspaceFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "nice", lambda by: by)  # this process is not to become slow
    run = order_from(place)
    worker = threading.Thread(
        target=refresh_worker, args=(place.directory,), kwargs={"progress": Silent()}
    )
    with run.locked():
        worker.start()
        wait_for(run.snapshots / "000050")
        snapshot = Snapshot.open(run.snapshots / "000050")
    worker.join(PATIENCE_S)
    assert not worker.is_alive()
    snapshot.verify()
    loaded = load_model(place, name=None, stages=("realm",))
    embedder = loaded.model.embedder
    with torch.no_grad():
        embedder.chunk_tower.bert.embeddings.word_embeddings.weight.mul_(1.5)
    rows = np.arange(len(loaded.corpus))
    wanted = embed_rows(loaded.corpus, rows, replace(loaded.encoder, embedder=embedder))
    np.testing.assert_array_equal(snapshot.read(), wanted)
    assert snapshot.manifest.step == 7


def test_a_worker_gives_up_what_is_taken_back(
    place: WorkspaceFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "nice", lambda by: by)
    run = order_from(place)
    from openrealm.recipes import refresh_worker as refreshing

    begun = threading.Event()

    def slow(*arguments: object, **options: object) -> None:
        begun.set()
        tick = options["tick"]
        assert callable(tick)
        while True:
            time.sleep(0.01)
            tick()

    monkeypatch.setattr(refreshing, "write_snapshot", slow)
    worker = threading.Thread(
        target=refresh_worker, args=(place.directory,), kwargs={"progress": Silent()}
    )
    with run.locked():
        worker.start()
        assert begun.wait(PATIENCE_S)
        take_back(run.weights, ORDER)
        time.sleep(0.2)
        assert worker.is_alive()  # it waits for the next one
    worker.join(PATIENCE_S)
    assert not worker.is_alive()
    assert not (run.snapshots / "000050").exists()


def test_without_a_training_there_is_nothing_to_embed_for(place: WorkspaceFolder) -> None:
    with pytest.raises(CheckpointError, match="nobody is training in run 'run-001'"):
        refresh_worker(place.directory, progress=Silent())


# The trainer's place is taken by a process that starts a worker, waits for it and is killed.
TRAINER = """
import subprocess, sys, time
subprocess.Popen([sys.executable, "-m", "openrealm", "worker", *sys.argv[1:]])
time.sleep(1000)
"""


def test_a_worker_whose_trainer_is_killed_ends_by_itself(place: WorkspaceFolder) -> None:
    run = order_from(place)
    run.workers.mkdir()
    command = [sys.executable, "-c", TRAINER, str(place.directory), "--number", "0"]
    trainer = subprocess.Popen(command, stderr=subprocess.PIPE)
    wait_for(run.snapshots / "000050")
    assert (run.workers / "worker-0.heartbeat").is_file()
    trainer.send_signal(signal.SIGKILL)
    trainer.wait()
    assert trainer.stderr is not None
    said = trainer.stderr.read()  # until the worker has closed its end, too
    trainer.stderr.close()
    assert b"the training has ended, and so does this worker" in said


def test_a_run_with_its_refresh_in_the_background_can_be_repeated(
    place: WorkspaceFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("openrealm.settings.training._PATIENCE", 1)
    changes = [*SHAPE, *STEPS, "realm.steps=4", "refresh.every=2"]
    beside = [*changes, "refresh.mode=background"]
    summary = commands.pretrain(place.directory, preset="tiny", assignments=beside, run="beside")
    assert summary.stages[-1]["stage"] == "realm"
    run = place.run("beside")
    records = [json.loads(line) for line in run.metrics_file.read_text().splitlines()]
    assert any(record.get("event") == "swap" for record in records)
    again = [*changes, "refresh.mode=replay", "refresh.replay=beside"]
    commands.pretrain(place.directory, preset="tiny", assignments=again, run="again")
    ours, theirs = (
        load_model(place, name=name, stages=("realm",)).model for name in ("again", "beside")
    )
    for left, right in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(left, right)


def test_what_a_run_writes_into_its_live_index_is_in_its_log_and_can_be_repeated(
    place: WorkspaceFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("openrealm.settings.training._PATIENCE", 1)
    changes = [*SHAPE, *STEPS, "realm.steps=4", "refresh.every=2", "refresh.write_back=true"]
    beside = [*changes, "refresh.mode=background"]
    commands.pretrain(place.directory, preset="tiny", assignments=beside, run="beside")
    run = place.run("beside")
    records = [json.loads(line) for line in run.metrics_file.read_text().splitlines()]
    written = [r["index/written"] for r in records if "index/written" in r]
    assert written and all(0 < share < 1 for share in written)
    assert any(r.get("index/written_before") for r in records)
    again = [*changes, "refresh.mode=replay", "refresh.replay=beside"]
    commands.pretrain(place.directory, preset="tiny", assignments=again, run="again")
    ours, theirs = (
        load_model(place, name=name, stages=("realm",)).model for name in ("again", "beside")
    )
    for left, right in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(left, right)


def test_a_replay_of_a_run_that_is_not_there_is_refused(place: WorkspaceFolder) -> None:
    changes = [*SHAPE, *STEPS, "refresh.mode=replay", "refresh.replay=nowhere"]
    with pytest.raises(InputError, match="no run 'nowhere'"):
        commands.pretrain(place.directory, preset="tiny", assignments=changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["refresh.mode=replay"], "go together"),
        (["refresh.replay=run-001"], "go together"),
        (["refresh.mode=background", "realm.towers=projection"], "one matrix product"),
        (["refresh.write_back=true", "realm.towers=query"], "where no chunk moves"),
        (["refresh.write_back=true", "realm.lr_retriever=0"], "realm.lr_retriever = 0"),
    ],
)
def test_settings_of_a_refresh_that_cannot_be_are_refused(changes: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        resolve(preset="tiny", assignments=changes)


def test_a_worker_computes_where_the_settings_say() -> None:
    def device(*changes: str) -> torch.device:
        return worker_device(resolve(preset="tiny", assignments=changes), 0)

    assert device("refresh.worker_device=cpu") == torch.device("cpu")
    assert device("device=cpu") == torch.device("cpu")
    with pytest.raises(ConfigError, match="'gpu9' is no device"):
        device("refresh.worker_device=gpu9")
    with pytest.raises(ConfigError, match="torch sees"):
        device("refresh.worker_device=cuda:77")


def test_torchrun_trains_with_two_processes_as_the_command_does_with_one(
    place: WorkspaceFolder,
) -> None:
    changes = [part for one in [*SHAPE, *STEPS] for part in ("--set", one)]
    command = ["-m", "openrealm", "pretrain", str(place.directory), "--preset", "tiny", *changes]
    port = free_port()
    started = [
        subprocess.Popen(
            [sys.executable, *command, "--run", "two", "--json"],
            env=os.environ | environment(rank, 2, port),
            stdout=subprocess.PIPE,
        )
        for rank in range(2)
    ]
    said = [process.communicate(timeout=PATIENCE_S)[0] for process in started]
    assert [process.returncode for process in started] == [0, 0]
    assert json.loads(said[0])["run"] == "two" and said[1] == b""
    commands.pretrain(
        place.directory, preset="tiny", assignments=[*SHAPE, *STEPS, "realm.steps=2"], run="one"
    )
    curves = [
        [
            record["train/loss"]
            for record in map(json.loads, place.run(name).metrics_file.read_text().splitlines())
            if "train/loss" in record
        ]
        for name in ("one", "two")
    ]
    assert curves[1] == pytest.approx(curves[0], rel=1e-4)


def test_a_worker_embeds_no_other_corpus_than_the_trainers(trained: Path, tmp_path: Path) -> None:
    place = WorkspaceFolder(shutil.copytree(trained, tmp_path / "rivers"))
    run = place.run()
    more = {"id": "new", "title": "Zanthor", "text": "Zanthor is a town of glass blowers."}
    (tmp_path / "more.jsonl").write_text(json.dumps(more) + "\n")
    commands.ingest(place.directory, sources=[tmp_path / "more.jsonl"])
    settings = read_settings(run.settings_file)
    for maker in (_Dispatcher, partial(_Worker, number=0)):
        with pytest.raises(CorpusError, match="the corpus has changed since run"):
            maker(place, run, settings, progress=Silent())
