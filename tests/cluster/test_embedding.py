"""Tests of embedding a run's corpus on a Ray cluster: whoever comes and goes, the vectors are those
of one process.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import commands
import pytest
from nodes import until
from trained import SHAPE, STEPS, by_one_process

import openrealm
from openrealm.cluster.fleet import connected, write_by_fleet
from openrealm.cluster.nodes import FolderOrder
from openrealm.errors import CheckpointError, ConfigError, MissingDependencyError, SnapshotError
from openrealm.files import held
from openrealm.index.snapshot import Snapshot, generations
from openrealm.index.snapshot_writer import SnapshotWriter
from openrealm.progress import Silent, SilentTask
from openrealm.retrieval.embedding import Order, groups_of, snapshot_key
from openrealm.runs.folders import WorkspaceFolder
from openrealm.runs.loaded import LoadedModel, load_model
from openrealm.training.weights import publish_weights, take_back

SHARD_ROWS = 4  # of 48 chunks


@pytest.fixture
def workspace(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace of one's own whose run has no snapshot; one that is made has small shards."""
    monkeypatch.setattr("openrealm.cluster.embedding.SHARD_ROWS", SHARD_ROWS)
    copy = tmp_path / "rivers"
    shutil.copytree(trained, copy)
    run = WorkspaceFolder(copy).run()
    shutil.rmtree(run.snapshots)
    return copy


def ordered(workspace: Path, loaded: LoadedModel, order: Order) -> FolderOrder:
    publish_weights(loaded.run.weights, order, loaded.model.embedder.chunk_tower)
    return FolderOrder(
        workspace=workspace,
        run=loaded.run.name,
        weights=loaded.run.weights,
        order=order,
        dim=loaded.model.embedder.dim,
        dtype="float32",
        shard_rows=SHARD_ROWS,
        on_gpu=False,
    )


def announced(write: Callable[[int], None], marks: Path, gate: Path) -> Callable[[int], None]:
    """Tells which node has begun with which shard, and waits until the gate is there."""

    def waiting(shard: int) -> None:

        import ray

        (marks / f"{ray.get_runtime_context().get_node_id()} {shard}").touch()
        while not gate.exists():
            time.sleep(0.02)
        write(shard)

    return waiting


@dataclass
class Turnover:
    """What happens to a cluster while it embeds: a node is killed, another one comes."""

    cluster: Any
    leaving: Any
    marks: Path
    gate: Path
    new: Any = None

    def __call__(self) -> None:
        if self.gate.exists():
            return
        if self.new is None:
            until(lambda: self.leaving.node_id in self.at_work())
            self.cluster.remove_node(self.leaving, allow_graceful=False)
            self.new = self.cluster.add_node(num_cpus=1)
        elif self.new.node_id in self.at_work():
            self.gate.touch()

    def at_work(self) -> set[str]:
        return {path.name.split()[0] for path in self.marks.iterdir()}


@pytest.mark.slow
def test_a_snapshot_is_the_same_when_a_node_is_killed_at_it_and_another_one_joins(
    cluster: Any, workspace: Path, tmp_path: Path
) -> None:
    loaded = load_model(WorkspaceFolder(workspace), name=None)
    order = Order(generation=7, step=4)
    sent = ordered(workspace, loaded, order)
    marks, gate = tmp_path / "marks", tmp_path / "gate"
    marks.mkdir()
    turnover = Turnover(cluster, cluster.add_node(num_cpus=1), marks, gate)
    with connected(cluster.address, cpus=1):
        snapshot = write_by_fleet(
            sent.writer(loaded.corpus),
            announced(sent, marks, gate),
            num_chunks=len(loaded.corpus),
            threads=1,
            tick=turnover,
        )
    cluster.remove_node(turnover.new)
    assert len(turnover.at_work()) == 3
    begun = [path.name.split()[1] for path in marks.iterdir()]
    assert len(begun) > len(set(begun)) == 12, "no shard was lost with the node"
    expected = by_one_process(loaded, tmp_path / "alone", order, shard_rows=SHARD_ROWS)
    assert snapshot.manifest == expected.manifest  # checksums included


def test_shards_that_any_process_embeds_make_the_snapshot_of_one(
    workspace: Path, tmp_path: Path
) -> None:
    loaded = load_model(WorkspaceFolder(workspace), name=None)
    order = Order(generation=7, step=4)
    sent = ordered(workspace, loaded, order)
    writer = sent.writer(loaded.corpus)
    for shard in [*reversed(range(12)), 3]:
        sent(shard)
    expected = by_one_process(loaded, tmp_path / "alone", order, shard_rows=SHARD_ROWS)
    assert writer.publish().manifest == expected.manifest


def test_a_node_without_the_workspace_is_named(workspace: Path) -> None:
    loaded = load_model(WorkspaceFolder(workspace), name=None)
    sent = ordered(workspace, loaded, Order(generation=7, step=4))
    shutil.move(workspace, workspace.with_name("elsewhere"))
    with pytest.raises(SnapshotError, match=r"node '.+' has no folder '.+rivers'"):
        sent(0)


def test_a_shard_of_an_order_that_was_taken_back_is_left(workspace: Path) -> None:
    loaded = load_model(WorkspaceFolder(workspace), name=None)
    order = Order(generation=7, step=4)
    sent = ordered(workspace, loaded, order)
    writer = sent.writer(loaded.corpus)
    take_back(loaded.run.weights, order)
    sent(3)
    assert len(writer.missing_shards()) == 12
    publish_weights(
        loaded.run.weights, Order(generation=7, step=5), loaded.model.embedder.chunk_tower
    )
    with pytest.raises(CheckpointError, match="step 5, not 4"):
        sent(3)


def staged(loaded: LoadedModel) -> tuple[SnapshotWriter, Path]:
    """The snapshot that ``index`` will make, begun: and the folder in which it grows."""
    writer = SnapshotWriter(
        loaded.run.snapshots,
        generation=1,
        step=loaded.checkpoint.position.total_step,
        chunks=len(loaded.corpus),
        dim=loaded.model.embedder.dim,
        key=snapshot_key(loaded.corpus, loaded.model.embedder),
        shard_rows=SHARD_ROWS,
        groups=groups_of(loaded.corpus),
    )
    return writer, writer.staging


@pytest.mark.slow
def test_a_first_index_goes_on_where_a_driver_was_killed(
    cluster: Any, workspace: Path, tmp_path: Path
) -> None:
    loaded = load_model(WorkspaceFolder(workspace), name=None)
    writer, staging = staged(loaded)
    with held(staging / "shard-00011.lock") as mine:  # so that it cannot come to its end
        assert mine
        code = (
            "from openrealm import cli\nfrom openrealm.cluster import embedding\n"
            f"embedding.SHARD_ROWS = {SHARD_ROWS}\ncli.main()"
        )
        command = [sys.executable, "-c", code, "index", str(workspace)]
        driver = subprocess.Popen([*command, "--fleet", cluster.address])
        until(lambda: len(writer.missing_shards()) <= 6)
        driver.kill()
        driver.wait()
        # A node may still be waiting for the last one, and makes it once it can.
        whole = {path: path.stat().st_mtime_ns for path in staging.glob("shard-*.npy")}
        assert 6 <= len(whole) <= 11
    report = openrealm.open(workspace).index(fleet=cluster.address, check=True)
    assert report.verified
    final = loaded.run.snapshots / "000001"
    assert {staging / p.name: p.stat().st_mtime_ns for p in final.glob("shard-*.npy")}.items() >= (
        whole.items()
    )
    order = Order(generation=1, step=report.step)
    expected = by_one_process(loaded, tmp_path / "alone", order, shard_rows=SHARD_ROWS)
    assert Snapshot.open(final).manifest == expected.manifest
    assert not (loaded.run.workers / "index").exists()
    # What is there is not made again.
    assert openrealm.open(workspace).index(fleet="nowhere").generation == 1


class Waiting(Silent):
    """Progress of a training that is so slow that a fleet can keep up with it."""

    def __init__(self, workspace: Path, until_step: int) -> None:
        self.workspace, self.until_step, self.said = workspace, until_step, list[str]()

    def say(self, text: str) -> None:
        self.said.append(text)

    def task(self, label: str, *, total: int | None, unit: str = "", done: int = 0) -> SilentTask:
        return _Paced(self.workspace, self.until_step) if "realm" in label else SilentTask()


class _Paced(SilentTask):
    def __init__(self, workspace: Path, until_step: int) -> None:
        self.workspace, self.until_step, self.step = workspace, until_step, 0

    def advance(self, amount: int = 1, *, note: str = "") -> None:
        self.step += amount
        if self.step == self.until_step:
            run = WorkspaceFolder(self.workspace).run()
            until(lambda: max(generations(run.snapshots)) > 1)


@pytest.mark.slow
def test_a_fleet_keeps_the_index_of_a_training_fresh(
    cluster: Any, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", cluster.address)
    workspace = tmp_path / "rivers"
    workspace.mkdir()
    shutil.copytree(trained / "corpus", workspace / "corpus")
    changes = ["refresh.mode=fleet", "refresh.every=2"]
    changes += ["realm.steps=8", "loop.checkpoint_every=100"]
    progress = Waiting(workspace, until_step=5)
    commands.pretrain(
        workspace,
        preset="tiny",
        start="scratch",
        assignments=[*SHAPE, *STEPS, *changes],
        progress=progress,
    )
    run = WorkspaceFolder(workspace).run()
    records = [json.loads(line) for line in run.metrics_file.read_text().splitlines()]
    swaps = [record for record in records if record.get("event") == "swap"]
    assert [swap["index/generation"] for swap in swaps][:1] == [2], progress.said
    assert swaps[0]["index/weights_step"] == 4  # two of ict, two of realm
    assert not [line for line in progress.said if line.startswith("refresh:")]


def test_a_training_with_a_fleet_and_without_ray_does_not_begin(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(trained / "corpus", tmp_path / "rivers" / "corpus")
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'openrealm\[ray\]'"):
        commands.pretrain(
            tmp_path / "rivers",
            preset="tiny",
            start="scratch",
            assignments=[*SHAPE, *STEPS, "refresh.mode=fleet"],
        )


def test_ray_chooses_the_gpu_of_a_fleet(trained: Path) -> None:
    with pytest.raises(ConfigError, match="Ray chooses"):
        commands.pretrain(
            trained,
            preset="tiny",
            assignments=[*SHAPE, *STEPS, "refresh.mode=fleet", "refresh.worker_device=cuda:1"],
        )
