"""Who refreshes the index of a run, by its settings; and the worker beside the training, which does
nothing but embed what is ordered.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import torch

from openrealm.cluster.embedding import write_ordered
from openrealm.cluster.fleet import FLEET_WRITERS, connected, require_ray
from openrealm.cluster.nodes import TakenBack
from openrealm.cluster.storage import Storage
from openrealm.corpus.store import ChunkStore
from openrealm.errors import (
    CheckpointError,
    ConfigError,
    CorpusError,
    SnapshotError,
    StorageError,
)
from openrealm.index.snapshot import SHARD_ROWS, snapshot_folder
from openrealm.progress import Progress, Silent
from openrealm.retrieval.embedding import (
    WORKER_THREADS,
    Order,
    shard_rows_for,
    snapshot_writer,
    write_snapshot,
)
from openrealm.retrieval.live_index import SnapshotMaker
from openrealm.runs.folders import RunFolder, WorkspaceFolder, open_corpus
from openrealm.runs.loaded import empty_model
from openrealm.runs.parts import make_encoder
from openrealm.settings import Settings, read_settings
from openrealm.training.background import BackgroundRefresh, Makers
from openrealm.training.refresh import InlineRefresh, Refresh
from openrealm.training.replay import ReplayRefresh, recorded_swaps
from openrealm.training.weights import is_ordered, load_ordered, orders
from openrealm.training.worker_pool import Report, WorkerPool, heartbeat_file

_POLL_S = 0.2
_HANG_S = 600.0  # without progress
NICENESS = 10


def refresh_by_settings(
    workspace: WorkspaceFolder, run: RunFolder, settings: Settings, maker: SnapshotMaker
) -> Refresh:
    """What keeps the index of a run fresh while it is trained.

    Raises:
        ConfigError: The mode is replay and no run is named, or there is none of that name.
        InputError: The run that is to be repeated tells of no swaps.
        MissingDependencyError: The mode is fleet, and Ray or a driver for its storage is not
            installed.
    """
    mode = settings.refresh.mode
    if mode == "inline":
        return InlineRefresh(maker)
    if mode == "replay":
        return ReplayRefresh(maker, run.weights, recorded_swaps(_repeated(workspace, settings)))
    config = settings.refresh
    environment = {"OMP_NUM_THREADS": str(WORKER_THREADS)}
    if mode == "fleet":
        # At once, and not in a worker that is started again and again.
        require_ray()
        if config.storage:
            Storage(config.storage).require()
    # One that hands the work to the cluster is enough.
    num_workers = 1 if mode == "fleet" else config.workers

    def crew(report: Report) -> AbstractContextManager[Makers]:
        commands = [_command(workspace, run, n) for n in range(num_workers)]
        return WorkerPool(
            commands,
            folder=run.workers,
            hang_s=_HANG_S,
            environment=environment,
            report=report,
        )

    return BackgroundRefresh(maker, run.weights, crew, threads=WORKER_THREADS)


def _repeated(workspace: WorkspaceFolder, settings: Settings) -> Path:
    """The metrics of the run whose swaps are repeated."""
    named = settings.refresh.replay
    folder = Path(named)
    return (folder if folder.is_dir() else workspace.run(named).directory) / "metrics.jsonl"


def _command(workspace: WorkspaceFolder, run: RunFolder, number: int) -> Sequence[str]:
    own = [sys.executable, "-m", "openrealm", "worker", str(workspace.directory.absolute())]
    return [*own, "--run", run.name, "--number", str(number)]


@dataclass
class Heartbeat:
    """How a worker shows that it is alive, and learns that it need not be.

    Attributes:
        path: The file that is touched; None for a worker that nobody watches.
        parent: Process whose end ends the worker; None for one that a person has started.
        run: The run whose training the worker serves.
    """

    path: Path | None
    parent: int | None
    run: RunFolder

    def __call__(self) -> None:
        """Touches the file.

        Raises:
            WorkerDone: There is nobody left to work for.
        """
        if self.path is not None:
            self.path.touch()
        if self.parent is not None and os.getppid() != self.parent:
            raise WorkerDone
        if self.parent is None and not self.run.is_locked():
            raise WorkerDone


class WorkerDone(Exception):
    """The training that a worker serves has ended."""


def refresh_worker(
    workspace: str | Path,
    *,
    run: str | None = None,
    number: int | None = None,
    progress: Progress | None = None,
) -> None:
    """Embeds the corpus with every weights that a run's training orders, until that ends.

    Any number of workers may be at the same run, also on other machines that share the workspace:
    they divide the shards of a snapshot between them.

    Args:
        workspace: Its folder.
        run: Name of the run; the newest by default.
        number: Place in the crew of the training that has started this worker; None for a worker
            that a person starts, which ends when nobody trains.
        progress: Where to tell how far it is.

    Raises:
        CheckpointError: Nobody is training in the run.
    """
    progress = progress or Silent()
    home = WorkspaceFolder(Path(workspace))
    folder = home.run(run)
    if number is None and not folder.is_locked():
        raise CheckpointError(
            f"nobody is training in run '{folder.name}', so that there is nothing to embed for"
        )
    heartbeat = Heartbeat(
        path=heartbeat_file(folder.workers, number) if number is not None else None,
        parent=os.getppid() if number is not None else None,
        run=folder,
    )
    settings = read_settings(folder.settings_file)
    try:
        if settings.refresh.mode == "fleet" and number is not None:
            config = settings.refresh
            with connected(os.environ.get("RAY_ADDRESS", ""), cpus=config.workers * WORKER_THREADS):
                _serve(folder, heartbeat, _Dispatcher(home, folder, settings, progress))
        else:
            _serve(folder, heartbeat, _Worker(home, folder, settings, number or 0, progress))
    except WorkerDone:
        progress.say("the training has ended, and so does this worker")


Tick = Callable[[], None]


def _serve(run: RunFolder, heartbeat: Tick, make: Callable[[Order, Tick], object]) -> NoReturn:
    """Has a snapshot made for the newest order that is not fulfilled, again and again.

    Raises:
        WorkerDone: By the heartbeat.
    """
    while True:
        heartbeat()
        newest = orders(run.weights)[-1:]
        if not newest or snapshot_folder(run.snapshots, newest[0].generation).is_dir():
            time.sleep(_POLL_S)
            continue
        order = newest[0]

        def tick(order: Order = order) -> None:
            heartbeat()
            if not is_ordered(run.weights, order):
                raise TakenBack

        try:
            make(order, tick)
        except (TakenBack, CheckpointError, SnapshotError, StorageError, FileNotFoundError):
            if is_ordered(run.weights, order):
                raise


def _trained_corpus(workspace: WorkspaceFolder, run: RunFolder) -> ChunkStore:
    """The corpus, while it is the one that the run is trained on.

    Raises:
        CorpusError: Documents have been ingested since.
    """
    corpus = open_corpus(workspace)
    if run.read_record()["corpus"] != corpus.fingerprint:
        raise CorpusError(
            f"the corpus has changed since run '{run.name}' began, which can have no newer "
            "snapshot of it; start a new run"
        )
    return corpus


class _Worker:
    """A model to embed with."""

    def __init__(
        self,
        workspace: WorkspaceFolder,
        run: RunFolder,
        settings: Settings,
        number: int,
        progress: Progress,
    ) -> None:
        self._run, self._settings, self._progress = run, settings, progress
        self._corpus = _trained_corpus(workspace, run)
        device = worker_device(self._settings, number)
        if device.type == "cpu":
            os.nice(NICENESS)
            torch.set_num_threads(WORKER_THREADS)
        model = empty_model(self._settings, self._corpus.tokenizer, stage="realm")
        self._encoder = make_encoder(self._settings, self._corpus, model.embedder.to(device).eval())

    def __call__(self, order: Order, tick: Tick) -> None:
        """Embeds what is ordered, or its share where others are at it too."""
        config = self._settings.refresh
        # Whoever joins a fleet by hand cuts the snapshot as the fleet does.
        writers = FLEET_WRITERS if config.mode == "fleet" else config.workers
        load_ordered(self._run.weights, order, self._encoder.embedder)
        writer = snapshot_writer(
            self._corpus,
            self._encoder.embedder,
            self._run.snapshots,
            order,
            dtype=config.dtype,
            shard_rows=shard_rows_for(len(self._corpus), most=SHARD_ROWS, writers=writers),
        )
        write_snapshot(writer, self._corpus, self._encoder, tick=tick, progress=self._progress)


class _Dispatcher:
    """Hands what is ordered to the cluster that this process is connected to."""

    def __init__(
        self, workspace: WorkspaceFolder, run: RunFolder, settings: Settings, progress: Progress
    ) -> None:
        self._workspace, self._run, self._settings = workspace, run, settings
        self._corpus, self._progress = _trained_corpus(workspace, run), progress
        self._dim = empty_model(settings, self._corpus.tokenizer, stage="realm").embedder.dim

    def __call__(self, order: Order, tick: Tick) -> None:
        """Waits until the snapshot is made."""
        write_ordered(
            self._workspace,
            self._run,
            self._settings,
            self._corpus,
            dim=self._dim,
            weights=self._run.weights,
            order=order,
            tick=tick,
            progress=self._progress,
        )


def worker_device(settings: Settings, number: int) -> torch.device:
    """Where a worker computes.

    Raises:
        ConfigError: A GPU is named that there is not.
    """
    wanted = settings.refresh.worker_device
    num_gpus = torch.cuda.device_count() if settings.device != "cpu" else 0
    if wanted == "auto":
        # One that no trainer uses where there is one, else the last trainer's.
        training = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        gpu = min(training + number, num_gpus - 1)
        return torch.device("cuda", gpu) if num_gpus else torch.device("cpu")
    try:
        device = torch.device(wanted)
    except RuntimeError as error:
        raise ConfigError(
            f"refresh.worker_device = '{wanted}' is no device; set auto, cpu, cuda or cuda:1"
        ) from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(
            f"refresh.worker_device = '{wanted}', but torch sees {torch.cuda.device_count()} GPUs "
            "here; set auto"
        )
    return device
