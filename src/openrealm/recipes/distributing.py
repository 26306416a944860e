"""A corpus embedded on a Ray cluster: what its nodes are told, and what they make of it.

Nodes read corpus and weights from the workspace and write shards into it, so that it must be on
storage that all share, under one name.
"""

from __future__ import annotations

import platform
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import torch

from openrealm.corpus.store import ChunkStore
from openrealm.errors import CheckpointError, SnapshotError
from openrealm.index.snapshot import Snapshot, SnapshotKey, SnapshotWriter, generations
from openrealm.models.embedder import Embedder
from openrealm.models.inputs import Templates
from openrealm.progress import Progress
from openrealm.recipes.loading import (
    empty_model,
    load_model,
    make_templates,
    matching_snapshot,
    open_corpus,
    pick_precision,
)
from openrealm.retrieval.embedding import shard_rows_for, write_shard
from openrealm.settings import Settings, read_settings
from openrealm.training.fleet import FLEET_WRITERS, connected, has_gpus, write_by_fleet
from openrealm.training.weights import (
    Order,
    is_ordered,
    load_ordered,
    ordered_embedder,
    publish_weights,
    tower_copy,
)
from openrealm.workspace import Run, Workspace

_LOOK_EVERY_S = 1.0


class TakenBack(Exception):
    """The order that somebody is at does not stand any more."""


@dataclass(frozen=True, kw_only=True)
class ShardOrder:
    """Embeds shards of an ordered snapshot; holds names only, so that it can be sent anywhere.

    Attributes:
        workspace: Its folder, under a name that means the same everywhere.
        run: Name of the run.
        weights: Folder that the order is in.
        order: The snapshot.
        dim: Its numbers per chunk.
        dtype: ``float32`` or ``float16``.
        shard_rows: Its chunks per file.
        on_gpu: Whether to compute on the GPU that Ray has given.
    """

    workspace: Path
    run: str
    weights: Path
    order: Order
    dim: int
    dtype: str
    shard_rows: int
    on_gpu: bool

    def __call__(self, shard: int) -> None:
        """Writes a shard, unless it is there or the order does not stand any more.

        Raises:
            SnapshotError: The workspace is not on this machine.
        """
        if not self.workspace.is_dir():
            raise SnapshotError(
                f"node '{platform.node()}' has no folder '{self.workspace}'; a fleet needs the "
                "workspace on storage that all its machines have under the same name"
            )
        try:
            node = _node(self.workspace, self.run, self.on_gpu)
            embedder = node.loaded_with(self.weights, self.order)
            write_shard(
                self.writer(node.corpus),
                shard,
                node.corpus,
                embedder,
                node.templates,
                batch_tokens=node.settings.refresh.batch_tokens,
                autocast=node.autocast,
                tick=standing(self.weights, self.order),
            )
        except (TakenBack, CheckpointError, FileNotFoundError):
            if is_ordered(self.weights, self.order):
                raise

    def writer(self, corpus: ChunkStore) -> SnapshotWriter:
        """The snapshot.

        Raises:
            CheckpointError: The order does not stand any more.
        """
        return SnapshotWriter(
            Workspace(self.workspace).run(self.run).snapshots,
            generation=self.order.generation,
            step=self.order.step,
            chunks=len(corpus),
            dim=self.dim,
            key=SnapshotKey(
                embedder=ordered_embedder(self.weights, self.order),
                corpus=corpus.fingerprint,
                tokenizer=corpus.tokenizer.fingerprint,
            ),
            dtype=self.dtype,
            shard_rows=self.shard_rows,
        )


def standing(weights: Path, order: Order) -> Callable[[], None]:
    """What looks whether an order still stands, at most every second, and else raises."""
    looked = -_LOOK_EVERY_S

    def look() -> None:
        nonlocal looked
        if time.monotonic() - looked < _LOOK_EVERY_S:
            return
        looked = time.monotonic()
        if not is_ordered(weights, order):
            raise TakenBack

    return look


@dataclass(eq=False)
class _Node:
    """What a process on a node keeps from shard to shard."""

    settings: Settings
    corpus: ChunkStore
    templates: Templates
    embedder: Embedder
    autocast: torch.dtype | None
    _loaded: str = field(default="", init=False)

    def loaded_with(self, weights: Path, order: Order) -> Embedder:
        """The embedder, with the weights of an order."""
        wanted = ordered_embedder(weights, order)
        if wanted != self._loaded:
            self._loaded = ""  # in case that only half of them can be read
            load_ordered(weights, order, self.embedder)
            self._loaded = wanted
        return self.embedder


@lru_cache(maxsize=1)
def _node(workspace: Path, run: str, on_gpu: bool) -> _Node:
    place = Workspace(workspace)
    settings = read_settings(place.run(run).settings_file)
    corpus = open_corpus(place)
    device = torch.device("cuda" if on_gpu else "cpu")
    # Sums may depend on how work is divided: a node of many processors makes the same vectors.
    torch.set_num_threads(settings.refresh.worker_threads)
    model = empty_model(settings, corpus.tokenizer, stage="realm")
    return _Node(
        settings=settings,
        corpus=corpus,
        templates=make_templates(settings, corpus),
        embedder=model.embedder.to(device).eval(),
        autocast=pick_precision(settings, device),
    )


def write_ordered(
    place: Workspace,
    run: Run,
    settings: Settings,
    corpus: ChunkStore,
    *,
    dim: int,
    weights: Path,
    order: Order,
    tick: Callable[[], None] | None = None,
    progress: Progress,
) -> Snapshot:
    """The snapshot of an order, embedded on the cluster that this process is connected to.

    Args:
        place: The workspace.
        run: The run in it.
        settings: Of the run.
        corpus: Of the workspace.
        dim: Numbers per chunk.
        weights: Folder that the order is in.
        order: The snapshot.
        tick: Called while waiting; may raise to give up.
        progress: Where to tell how far it is.

    Raises:
        CheckpointError: The order does not stand any more.
        SnapshotError: A shard could not be embedded.
    """
    config = settings.refresh
    on_gpu = wants_gpus(settings)
    told = ShardOrder(
        workspace=place.directory.absolute(),
        run=run.name,
        weights=weights.absolute(),
        order=order,
        dim=dim,
        dtype=config.dtype,
        shard_rows=shard_rows_for(len(corpus), most=config.shard_rows, writers=FLEET_WRITERS),
        on_gpu=on_gpu,
    )
    return write_by_fleet(
        told.writer(corpus),
        told,
        num_chunks=len(corpus),
        threads=config.worker_threads,
        on_gpu=on_gpu,
        tick=tick,
        progress=progress,
    )


def wants_gpus(settings: Settings) -> bool:
    """Whether nodes compute on GPUs."""
    wanted = settings.refresh.worker_device
    if wanted == "auto":
        return settings.device != "cpu" and has_gpus()
    return wanted != "cpu"


def index_by_fleet(place: Workspace, *, name: str | None, address: str, progress: Progress) -> None:
    """Embeds the corpus with a run's newest weights on a cluster, where that is not done yet.

    Raises:
        ConfigError: No cluster answers at the address.
        MissingDependencyError: Ray is not installed.
        SnapshotError: A shard could not be embedded.
    """
    loaded = load_model(place, name=name)
    if matching_snapshot(loaded.run, loaded.corpus, loaded.model) is not None:
        return
    config = loaded.settings.refresh
    order = Order(
        generation=max(generations(loaded.run.snapshots), default=0) + 1,
        step=loaded.checkpoint.position.total_step,
    )
    # Not among the orders of a training, whose workers would take it for one of theirs.
    weights = loaded.run.workers / "index"
    with connected(address, cpus=config.workers * config.worker_threads):
        publish_weights(weights, order, tower_copy(loaded.model.embedder))
        try:
            write_ordered(
                place,
                loaded.run,
                loaded.settings,
                loaded.corpus,
                dim=loaded.model.embedder.dim,
                weights=weights,
                order=order,
                progress=progress,
            )
        finally:
            shutil.rmtree(weights, ignore_errors=True)
