"""A corpus embedded on a Ray cluster: what its nodes are told, and what they make of it.

Nodes read corpus and weights from the workspace and write shards into it, where all of them have
its folder under one name; else from and into a storage that all can reach.
"""

from __future__ import annotations

import platform
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path

from openrealm.cluster.fleet import FLEET_WRITERS, connected, has_gpus, write_by_fleet
from openrealm.cluster.nodes import Node, TakenBack, standing
from openrealm.cluster.storage import Storage
from openrealm.cluster.storage_embedding import stored
from openrealm.corpus.store import ChunkStore
from openrealm.errors import CheckpointError, SnapshotError
from openrealm.index.snapshot import Snapshot, SnapshotKey, SnapshotWriter
from openrealm.index.snapshot_catalog import generations
from openrealm.progress import Progress
from openrealm.retrieval.embedding import groups_of, shard_rows_for, write_shard
from openrealm.retrieval.snapshot_maker import Order
from openrealm.runs.folders import RunFolder, WorkspaceFolder
from openrealm.runs.loaded import load_model, matching_snapshot, open_corpus
from openrealm.settings import Settings, read_settings
from openrealm.training.weights import (
    is_ordered,
    load_ordered,
    ordered_embedder,
    publish_weights,
    tower_copy,
)

_LOOK_EVERY_S = 1.0


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
            embedder = node.loaded(
                ordered_embedder(self.weights, self.order),
                lambda embedder: load_ordered(self.weights, self.order, embedder),
            )
            write_shard(
                self.writer(node.corpus),
                shard,
                node.corpus,
                embedder,
                node.templates,
                batch_tokens=node.settings.refresh.batch_tokens,
                autocast=node.autocast,
                tick=standing(lambda: is_ordered(self.weights, self.order), every_s=_LOOK_EVERY_S),
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
            WorkspaceFolder(self.workspace).run(self.run).snapshots,
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
            groups=groups_of(corpus),
        )


@lru_cache(maxsize=1)
def _node(workspace: Path, run: str, on_gpu: bool) -> Node:
    place = WorkspaceFolder(workspace)
    settings = read_settings(place.run(run).settings_file)
    return Node.of(settings, open_corpus(place), on_gpu=on_gpu)


def write_ordered(
    place: WorkspaceFolder,
    run: RunFolder,
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
    rows = shard_rows_for(len(corpus), most=config.shard_rows, writers=FLEET_WRITERS)
    told = ShardOrder(
        workspace=place.directory.absolute(),
        run=run.name,
        weights=weights.absolute(),
        order=order,
        dim=dim,
        dtype=config.dtype,
        shard_rows=rows,
        on_gpu=on_gpu,
    )
    writer = told.writer(corpus)

    by_fleet = partial(
        write_by_fleet,
        writer,
        num_chunks=len(corpus),
        threads=config.worker_threads,
        on_gpu=on_gpu,
        tick=tick,
        progress=progress,
    )
    if not config.storage:
        return by_fleet(told)
    with stored(
        Storage(config.storage),
        corpus,
        run,
        settings,
        weights=weights,
        order=order,
        shard_rows=rows,
        on_gpu=on_gpu,
        tick=tick,
    ) as left:
        return by_fleet(left, take=lambda shard, sha256: left.taken(shard, sha256, writer, tick))


def wants_gpus(settings: Settings) -> bool:
    """Whether nodes compute on GPUs."""
    wanted = settings.refresh.worker_device
    if wanted == "auto":
        return settings.device != "cpu" and has_gpus()
    return wanted != "cpu"


def index_by_fleet(
    place: WorkspaceFolder,
    *,
    name: str | None,
    address: str,
    storage: str | None = None,
    progress: Progress,
) -> None:
    """Embeds the corpus with a run's newest weights on a cluster, where that is not done yet.

    Args:
        place: The workspace.
        name: Of the run; the newest by default.
        address: Of the cluster.
        storage: URL by which its nodes are reached that lack the workspace's folder; None for the
            run's setting.
        progress: Where to tell how far it is.

    Raises:
        CheckpointError: The run is being trained.
        ConfigError: No cluster answers at the address, or the URL is none.
        MissingDependencyError: Ray is not installed, or a driver for such URLs.
        SnapshotError: A shard could not be embedded.
        StorageError: The storage cannot be read or written.
    """
    loaded = load_model(place, name=name)
    settings = loaded.settings
    if storage is not None:
        settings = replace(settings, refresh=replace(settings.refresh, storage=storage))
    config = settings.refresh
    if config.storage:
        Storage(config.storage).require()
    if matching_snapshot(loaded.run, loaded.corpus, loaded.model) is not None:
        return
    loaded.run.require_not_in_training(loaded.checkpoint.position.stage)
    order = Order(
        generation=max(generations(loaded.run.snapshots), default=0) + 1,
        step=loaded.checkpoint.position.total_step,
    )
    # Not among the orders of a training, whose workers would take it for one of theirs.
    weights = loaded.run.workers / "index"
    with connected(address, cpus=config.workers * config.worker_threads):
        publish_weights(weights, order, tower_copy(loaded.model.embedder))
        try:
            snapshot = write_ordered(
                place,
                loaded.run,
                settings,
                loaded.corpus,
                dim=loaded.model.embedder.dim,
                weights=weights,
                order=order,
                progress=progress,
            )
            loaded.remove_superseded(snapshot)
        finally:
            shutil.rmtree(weights, ignore_errors=True)
