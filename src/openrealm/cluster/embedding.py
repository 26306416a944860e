"""A corpus embedded on a Ray cluster: its nodes are given orders, and what they make is collected.

Nodes read corpus and weights from the workspace and write shards into it, where all of them have
its folder under one name. Else both are put into a storage that all can reach::

    URL/corpus-HASH/          a chunk store, file by file; HASH is its manifest's
    URL/RUN-HASH/000003/      an order: its weights, and the shards until they are in the workspace
"""

from __future__ import annotations

import hashlib
import platform
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from openrealm.cluster.fleet import FLEET_WRITERS, connected, has_gpus, write_by_fleet
from openrealm.cluster.nodes import FolderOrder, StoredOrder
from openrealm.cluster.storage import Storage
from openrealm.corpus.manifest import MANIFEST
from openrealm.corpus.store import ChunkStore
from openrealm.errors import CheckpointError
from openrealm.files import checksum
from openrealm.index.snapshot import SHARD_ROWS, Snapshot, generations
from openrealm.progress import Progress
from openrealm.retrieval.embedding import WORKER_THREADS, Order, shard_rows_for
from openrealm.runs.folders import RunFolder, WorkspaceFolder
from openrealm.runs.loaded import load_model, matching_snapshot
from openrealm.settings import Settings, settings_text
from openrealm.training.weights import (
    ORDER_FILE,
    WEIGHTS_FILE,
    order_folder,
    ordered_embedder,
    publish_weights,
    tower_copy,
)


def write_ordered(
    workspace: WorkspaceFolder,
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
    """Has an ordered snapshot embedded by the cluster that this process is connected to.

    Args:
        workspace: The workspace.
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
    rows = shard_rows_for(len(corpus), most=SHARD_ROWS, writers=FLEET_WRITERS)
    by_folder = FolderOrder(
        workspace=workspace.directory.absolute(),
        run=run.name,
        weights=weights.absolute(),
        order=order,
        dim=dim,
        dtype=config.dtype,
        shard_rows=rows,
        on_gpu=on_gpu,
    )
    writer = by_folder.writer(corpus)

    by_fleet = partial(
        write_by_fleet,
        writer,
        num_chunks=len(corpus),
        threads=WORKER_THREADS,
        on_gpu=on_gpu,
        tick=tick,
        progress=progress,
    )
    if not config.storage:
        return by_fleet(by_folder)
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
    ) as by_storage:
        return by_fleet(
            by_storage,
            take=lambda shard, sha256: by_storage.taken(shard, sha256, writer, tick),
        )


def wants_gpus(settings: Settings) -> bool:
    """Whether nodes compute on GPUs."""
    wanted = settings.refresh.worker_device
    if wanted == "auto":
        return settings.device != "cpu" and has_gpus()
    return wanted != "cpu"


def index_by_fleet(
    workspace: WorkspaceFolder,
    *,
    name: str | None,
    address: str,
    storage: str | None = None,
    progress: Progress,
) -> None:
    """Embeds the corpus on a cluster with a run's newest weights, unless that is done already.

    Args:
        workspace: The workspace.
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
    loaded = load_model(workspace, name=name)
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
    with connected(address, cpus=config.workers * WORKER_THREADS):
        publish_weights(weights, order, tower_copy(loaded.model.embedder))
        try:
            snapshot = write_ordered(
                workspace,
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


@contextmanager
def stored(
    storage: Storage,
    corpus: ChunkStore,
    run: RunFolder,
    settings: Settings,
    *,
    weights: Path,
    order: Order,
    shard_rows: int,
    on_gpu: bool,
    tick: Callable[[], None] | None = None,
) -> Iterator[StoredOrder]:
    """Puts an order into a storage while the context lasts; the corpus stays there afterwards.

    Args:
        storage: Where to.
        corpus: Put there where it is not yet.
        run: Whose order it is.
        settings: Of the run.
        weights: Folder that the order is in.
        order: The snapshot.
        shard_rows: Chunks per file of the snapshot.
        on_gpu: Whether nodes compute on GPUs.
        tick: Called between files of the corpus; may raise to give up.

    Raises:
        CheckpointError: The order does not stand any more.
        StorageError: The storage cannot be read or written from here.
    """
    digest = hashlib.sha256(f"{platform.node()} {run.directory.absolute()}".encode())
    folder = f"{run.name}-{digest.hexdigest()[:12]}"
    here = order_folder(weights, order)
    sent = StoredOrder(
        storage=storage,
        settings=settings_text(settings),
        corpus=_offered(storage, corpus, tick or (lambda: None)),
        folder=f"{folder}/{here.name}",
        order=order,
        embedder=ordered_embedder(weights, order),
        checksums=tuple((name, _checksum_of(here / name)) for name in (WEIGHTS_FILE, ORDER_FILE)),
        num_chunks=len(corpus),
        shard_rows=shard_rows,
        on_gpu=on_gpu,
    )
    storage.remove(folder)  # what an earlier process could not
    try:
        for name, _ in sent.checksums:
            storage.put(here / name, f"{sent.folder}/{name}")
        yield sent
    finally:
        storage.remove(folder)


def _checksum_of(path: Path) -> str:
    try:
        return checksum(path)
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} has been taken back") from error


def _offered(storage: Storage, corpus: ChunkStore, tick: Callable[[], None]) -> tuple[str, str]:
    """Puts a chunk store into a storage; gives its name there and its manifest's checksum."""
    with tempfile.TemporaryDirectory(prefix="openrealm-") as temporary:
        corpus.manifest.write(Path(temporary))
        manifest = Path(temporary) / MANIFEST
        sha256 = checksum(manifest)
        name = f"corpus-{sha256[:16]}"
        if not storage.holds(f"{name}/{MANIFEST}"):
            for record in corpus.manifest.files():
                tick()
                storage.put(corpus.directory / record.path, f"{name}/{record.path}")
            storage.put(manifest, f"{name}/{MANIFEST}")  # last: a store that has one is whole
    return name, sha256
