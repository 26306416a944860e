"""Stages and trainers over the tiny world, for tests of the loop and of what runs beside it."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tiny import World
from torch import nn

from openrealm.corpus.store import ChunkStore
from openrealm.data.pretraining import MaskedQueries
from openrealm.data.qa import Question
from openrealm.data.recurring_spans import RecurringSpans
from openrealm.index.snapshot import Snapshot
from openrealm.models.pretrained import tower_span_reader
from openrealm.models.realm import Realm
from openrealm.processes import ALONE, Processes
from openrealm.progress import Silent
from openrealm.retrieval.lexical import LexicalRetriever
from openrealm.retrieval.live_index import LiveIndex, Loader, PooledVectors, SnapshotMaker
from openrealm.settings import (
    IctConfig,
    JointConfig,
    LoopConfig,
    MlmConfig,
    OptimConfig,
    QaConfig,
    ReadingConfig,
    RefreshConfig,
    RetrievalConfig,
    WarmupConfig,
)
from openrealm.training.background import BackgroundRefresh
from openrealm.training.fine_tuning import QaStage
from openrealm.training.index_keeper import IndexKeeper
from openrealm.training.metrics_log import MetricsLog
from openrealm.training.objectives import (
    JointStage,
    WarmupStage,
    joint_source,
    trained_retriever,
    warmup_source,
)
from openrealm.training.plain import IctStage, MlmStage
from openrealm.training.reading import RecurringSpanStage
from openrealm.training.refresh import InlineRefresh
from openrealm.training.replay import ReplayRefresh
from openrealm.training.stage import Ingredients, Stage, StepResult
from openrealm.training.trainer import Trainer

STEPS = 6
DROPOUT = 0.2
RETRIEVAL = RetrievalConfig(k=3)
QUESTIONS = [
    Question(id="1", text="what is the capital of norland?", answers=("Aldera",)),
    Question(id="2", text="when was bresk founded?", answers=("1377",)),
    Question(id="3", text="which river is in cazimir?", answers=("Orin",)),
]


def make_stage(name: str, world: World, model: Realm, processes: Processes = ALONE) -> Stage:
    parts, queries = replace(world.parts(model), processes=processes), world.queries()
    if name == "mlm":
        return MlmStage(parts, MlmConfig(steps=STEPS, batch_size=3, lr=1e-3))
    if name == "ict":
        return IctStage(parts, IctConfig(steps=STEPS, batch_size=4, lr=1e-3))
    if name == "warmup":
        config = WarmupConfig(steps=STEPS, batch_size=3, lr=1e-3, k=3)
        return warmup_stage(parts, config, queries)
    if name == "qa":
        model.embedder.unshare()
        config = QaConfig(steps=STEPS, batch_size=3, lr=1e-3, lr_retriever=1e-3, beam=10, read=2)
        return QaStage(parts, config, QUESTIONS)
    if name == "reading":
        model.span_reader = tower_span_reader(model.embedder, seed=0)
        spans = RecurringSpans(world.store, world.table, seed=parts.seed, progress=Silent())
        return RecurringSpanStage(parts, ReadingConfig(steps=STEPS, batch_size=3, lr=1e-3), spans)
    config = JointConfig(steps=STEPS, batch_size=3, lr=1e-3, lr_retriever=1e-3)
    return joint_stage(parts, config, queries)


def warmup_stage(
    parts: Ingredients,
    config: WarmupConfig,
    queries: MaskedQueries,
    *,
    lexical: LexicalRetriever | None = None,
) -> WarmupStage:
    """A warm-up stage as the settings compose it."""
    source = warmup_source(config.k, lexical=lexical)
    return WarmupStage(parts, config, queries, source=source)


def joint_stage(
    parts: Ingredients,
    config: JointConfig,
    queries: MaskedQueries,
    *,
    k: int = 3,
    lexical: LexicalRetriever | None = None,
    pooled: PooledVectors | None = None,
) -> JointStage:
    """A joint stage as the settings compose it."""
    return JointStage(
        parts,
        config,
        queries,
        retriever=trained_retriever(config.towers, parts.encoder, pooled),
        source=joint_source(k, num_lexical=config.lexical, lexical=lexical),
    )


def make_refresh(
    world: World, model: Realm, directory: Path, processes: Processes = ALONE, **config: Any
) -> InlineRefresh:
    """What embeds the world every second step."""
    return InlineRefresh(make_maker(world, model, directory, processes, **config))


def make_maker(
    world: World,
    model: Realm,
    directory: Path,
    processes: Processes = ALONE,
    *,
    store: ChunkStore | None = None,
    pooled: PooledVectors | None = None,
    shard_rows: int = 20,
    **config: Any,
) -> SnapshotMaker:
    """What makes snapshots of the world, or another store, to be refreshed every second step."""
    store = store or world.store
    return SnapshotMaker(
        store,
        world.encoder(model),
        directory / "snapshots",
        RefreshConfig(**{"every": 2} | config),
        shard_rows=shard_rows,
        load=Loader(store, RETRIEVAL, torch.device("cpu"), processes),
        pooled=pooled,
        progress=Silent(),
    )


def make_trainer(
    world: World,
    model: Realm,
    directory: Path,
    processes: Processes = ALONE,
    refresh: InlineRefresh | BackgroundRefresh | ReplayRefresh | None = None,
    *,
    write_back: bool = False,
    keep_checkpoints: int = 2,
    **loop: int,
) -> Trainer:
    """A trainer that probes, saves and refreshes every second step."""
    settings = {"log_every": 1, "probe_every": 2, "checkpoint_every": 2} | loop
    (directory / "checkpoints").mkdir(parents=True, exist_ok=True)
    refresh = refresh or make_refresh(world, model, directory, processes)
    log = MetricsLog(directory / "metrics.jsonl", listener=None, reads_only=not processes.is_first)
    probe = world.probe(model, world.queries().probe(), k=3)
    return Trainer(
        parts=replace(world.parts(model), processes=processes),
        optim=OptimConfig(),
        loop=LoopConfig(**settings),
        index=IndexKeeper(
            maker=refresh.maker,
            refresh=refresh,
            log=log,
            probe=probe,
            progress=Silent(),
            processes=processes,
            writes_back=write_back,
        ),
        checkpoints=directory / "checkpoints",
        log=log,
        probe=probe,
        progress=Silent(),
        keep_checkpoints=keep_checkpoints,
    )


class Killed(Exception):
    """Stands for the end of the process."""


class Noted:
    """A stage that remembers what its steps have made of chunks, and may die before one of them."""

    def __init__(self, stage: Stage, *, dies_at: int | None = None) -> None:
        self.stage, self.dies_at = stage, dies_at
        self.made: list[tuple[int, np.ndarray, np.ndarray]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stage, name)

    def step(self, step: int, live: LiveIndex | None) -> StepResult:
        if step == self.dies_at:
            raise Killed
        result = self.stage.step(step, live)
        assert result.embedded is not None
        self.made.append((step, result.embedded.rows, result.embedded.vectors.numpy().copy()))
        return result


def index_by_hand(
    directory: Path, live: LiveIndex, stage: Noted, *, swapped_at: int = 0
) -> np.ndarray:
    """The live snapshot's vectors, and over them what steps have made since or of newer weights.

    Args:
        directory: Of the run.
        live: The index.
        stage: What has made the steps; the only stage of the run.
        swapped_at: The step before which the index went live.
    """
    table = Snapshot.open(directory / "snapshots" / f"{live.generation:06d}").read()
    for step, rows, made in stage.made:
        if step >= swapped_at or step > live.step:
            table[rows] = made
    return table


def lines(directory: Path) -> list[dict[str, Any]]:
    """The metrics without what a clock has measured."""
    found = []
    for line in (directory / "metrics.jsonl").read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        clock = {
            k for k in record if k.startswith(("speed/", "seconds/", "time")) or "seconds" in k
        }
        found.append({k: v for k, v in record.items() if k not in clock})
    return found


def assert_same_weights(left: nn.Module, right: nn.Module) -> None:
    ours, theirs = left.state_dict(), right.state_dict()
    assert ours.keys() == theirs.keys()
    different = [name for name in ours if not torch.equal(ours[name], theirs[name])]
    assert different == []


def kill_at_file_operation(number: int) -> None:
    """Ends this process with SIGKILL just before the so many-th sync, rename or removal of files.

    In a step that is writing weights, moments and state of a checkpoint, its folder's name, shards
    and manifest of a snapshot, and pruning either.
    """
    left = iter(range(number))

    def deadly(call: Callable[..., Any]) -> Callable[..., Any]:
        def called(*arguments: Any, **options: Any) -> Any:
            if next(left, None) is None:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*arguments, **options)

        return called

    os.fsync, os.replace = deadly(os.fsync), deadly(os.replace)
    shutil.rmtree = deadly(shutil.rmtree)  # type: ignore[assignment]
