"""The shards of a snapshot as tasks of a Ray cluster, which places them, balances them and repeats
those whose node dies; knows neither models nor corpora, only what writes a shard.

A process that is connected ends when its cluster does, without an exception, and Ray takes its
SIGTERM. So the process that trains never is: it has a worker beside it that is.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any, TypeVar

from openrealm.errors import (
    ConfigError,
    MissingDependencyError,
    OpenRealmError,
    SnapshotError,
    StorageError,
)
from openrealm.index.snapshot import Snapshot
from openrealm.index.snapshot_writer import SnapshotWriter
from openrealm.progress import Progress, Silent

# Nodes come and go while a snapshot is made, so that it cannot be cut for the number of them: for
# so many there are a few shards each, if the corpus is large enough.
FLEET_WRITERS = 16
_POLL_S = 0.2
_RETRIES = 10
_ANSWER_S = 10.0
_HERE = "local"

T = TypeVar("T")


def require_ray() -> ModuleType:
    """Ray, which takes a second to import.

    Raises:
        MissingDependencyError: It is not installed.
    """
    # Read at import: this project reports nothing to anybody.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise MissingDependencyError(
            "embedding on a fleet needs Ray; install it with: pip install 'openrealm[ray]'"
        ) from error
    return ray


@contextmanager
def connected(address: str, *, cpus: int) -> Iterator[None]:
    """Connects to a cluster while the context lasts; a connection that is there already is used.

    Args:
        address: Of a cluster that runs, as ``ray start`` shows it; empty or ``local`` for one that
            is started here and ends with the context.
        cpus: Processors of one that is started here.

    Raises:
        MissingDependencyError: Ray is not installed.
        ConfigError: No cluster answers at the address.
    """
    ray = require_ray()
    if ray.is_initialized():
        yield
        return
    here = address in ("", _HERE)
    own = {"num_cpus": cpus, "include_dashboard": False} if here else {}
    try:
        if not here:
            _require_answer(address)
        ray.init(
            address=_HERE if here else address,
            logging_level=logging.ERROR,
            log_to_driver=False,
            **own,
        )
    except (RuntimeError, ValueError, OSError, ray.exceptions.RayError) as error:
        raise ConfigError(
            f"no Ray cluster can be used at '{address or _HERE}' ({_first_line(error)}); start one "
            "with 'ray start --head' and give the address that it shows"
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def _require_answer(address: str) -> None:
    """Raises if nobody listens at ``host:port``. Ray itself would wait for minutes."""
    host, _, port = address.rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=_ANSWER_S).close()


def has_gpus() -> bool:
    """Whether the cluster has a GPU at present."""
    return bool(require_ray().cluster_resources().get("GPU"))


def write_by_fleet(
    writer: SnapshotWriter,
    write: Callable[[int], T],
    *,
    take: Callable[[int, T], None] | None = None,
    num_chunks: int,
    threads: int,
    on_gpu: bool = False,
    tick: Callable[[], None] | None = None,
    progress: Progress | None = None,
) -> Snapshot:
    """Has the missing shards of a snapshot written on the cluster, then publishes the snapshot.

    Shards that are written stay whatever happens; another call with the same writer goes on there.

    Args:
        writer: The snapshot.
        write: Writes a shard, unless it is there. It is sent to the nodes, where it may be called
            again for the same shard, also while a node that seems dead is still at it.
        take: Called here with each shard and what ``write`` has returned for it, where a node
            cannot write into the snapshot itself.
        num_chunks: Rows of the snapshot.
        threads: Processors that each call is given.
        on_gpu: Whether each call is given a GPU too.
        tick: Called while waiting; may raise to give up.
        progress: Where to tell how far it is.

    Raises:
        SnapshotError: A shard could not be written, however often it was tried.
    """
    ray = require_ray()
    task = ray.remote(_call).options(
        num_cpus=threads,
        num_gpus=int(on_gpu),
        max_retries=_RETRIES,
        retry_exceptions=[OSError, StorageError],
    )
    progress = progress or Silent()
    _say_what_lacks(ray, threads, on_gpu, progress)
    missing = writer.missing_shards()
    left = sum(len(rows) for _, rows in missing)
    bar = progress.task("embedding chunks", total=num_chunks, unit="chunks", done=num_chunks - left)
    pending = {task.remote(write, shard): (shard, len(rows)) for shard, rows in missing}
    try:
        with bar:
            while pending:
                for done in ray.wait(list(pending), timeout=_POLL_S)[0]:
                    shard, num_rows = pending.pop(done)
                    returned = _returned(ray, done, shard)
                    if take is not None:
                        take(shard, returned)
                    bar.advance(num_rows)
                if tick is not None:
                    tick()
    finally:
        for task_ref in pending:
            ray.cancel(task_ref)
    return writer.publish(tick)


def _say_what_lacks(ray: ModuleType, threads: int, on_gpu: bool, progress: Progress) -> None:
    """Warns the user if no node is large enough for a task; such a node may still join."""
    for resource, wanted in {"CPU": threads, "GPU": int(on_gpu)}.items():
        nodes = [node["Resources"].get(resource, 0) for node in ray.nodes() if node["Alive"]]
        if max(nodes, default=0) < wanted:
            progress.say(
                f"no node of the cluster has {wanted} {resource}; waiting for one "
                "(refresh.worker_device)"
            )


def _call(write: Callable[[int], T], shard: int) -> T:
    """What runs on a node."""
    return write(shard)


def _returned(ray: ModuleType, task_ref: object, shard: int) -> Any:
    """The value that a finished task returned; an error of the task is raised here."""
    try:
        return ray.get(task_ref)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, OpenRealmError):
            raise error.cause from error
        raise SnapshotError(
            f"shard {shard} could not be embedded on the cluster ({_first_line(error.cause)})"
        ) from error
    except ray.exceptions.RayError as error:
        raise SnapshotError(
            f"shard {shard} was lost {_RETRIES + 1} times with the node or process that was at it "
            f"({_first_line(error)}); whole shards are kept, so that another run goes on there"
        ) from error


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
