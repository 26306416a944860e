"""Runs a function in several processes that are joined, as torchrun would start them."""

from __future__ import annotations

import multiprocessing
import socket
import traceback
from collections.abc import Callable
from typing import Any

from openrealm.processes import joined


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def environment(rank: int, size: int, port: int) -> dict[str, str]:
    """What torchrun tells a process."""
    return {
        "RANK": str(rank),
        "WORLD_SIZE": str(size),
        "LOCAL_RANK": str(rank),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }


def run_together(
    function: Callable[..., Any], *arguments: Any, size: int = 2, timeout_s: float = 120.0
) -> list[Any]:
    """What ``function(processes, *arguments)`` returns in each of the processes, by rank."""
    fork = multiprocessing.get_context("fork")
    port = free_port()
    started = []
    for rank in range(size):
        ours, theirs = fork.Pipe()
        process = fork.Process(
            target=_child, args=(theirs, rank, size, port, function, arguments), daemon=True
        )
        process.start()
        started.append((process, ours))
    results = []
    for rank, (process, ours) in enumerate(started):
        assert ours.poll(timeout_s), f"process {rank} has not answered in {timeout_s} s"
        ok, result = ours.recv()
        assert ok, f"process {rank}:\n{result}"
        results.append(result)
        process.join()
    return results


def _child(
    pipe: Any, rank: int, size: int, port: int, function: Callable[..., Any], arguments: Any
) -> None:
    import os

    os.environ.update(environment(rank, size, port))
    try:
        with joined(gpu=False) as processes:
            pipe.send((True, function(processes, *arguments)))
    except BaseException:
        pipe.send((False, traceback.format_exc()))
