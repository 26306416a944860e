"""Worker processes beside the training: started, watched, started again when they die or hang;
knows commands and files, not what the workers do.

A worker shows that it is alive by touching its *heartbeat* file. Nothing here waits: `poll` looks
and
returns. Workers end by themselves when their parent has gone.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 60.0
_LOOK_EVERY_S = 0.2
_GRACE_S = 5.0

Report = Callable[[Mapping[str, Any]], None]


@dataclass
class _Worker:
    """One place in the crew, and the process that has it."""

    number: int
    command: Sequence[str]
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    pause_s: float = 0.0
    not_before: float = 0.0
    log: IO[bytes] | None = field(default=None, repr=False)


class WorkerPool:
    """Some workers that run as long as it is open; use it as a context manager."""

    def __init__(
        self,
        commands: Sequence[Sequence[str]],
        *,
        folder: Path,
        hang_s: float,
        environment: Mapping[str, str],
        report: Report,
    ) -> None:
        """Takes what to run; nothing is started yet.

        Args:
            commands: A command line for each worker.
            folder: Where their heartbeats and logs are.
            hang_s: A worker without a heartbeat for so long is killed.
            environment: Variables over this process's own.
            report: Called with what happened to a worker.
        """
        self._workers = [_Worker(n, command) for n, command in enumerate(commands)]
        self._folder, self._hang_s, self._report = folder, hang_s, report
        self._environment = {**os.environ, **environment}
        self._looked = 0.0

    def __enter__(self) -> WorkerPool:
        self._folder.mkdir(parents=True, exist_ok=True)
        try:
            for worker in self._workers:
                self._start(worker)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        for worker in self._workers:
            if worker.process is not None:
                worker.process.terminate()
        for worker in self._workers:
            if worker.process is not None:
                try:
                    worker.process.wait(timeout=_GRACE_S)
                except subprocess.TimeoutExpired:
                    worker.process.kill()
                    worker.process.wait()
            self._let_go(worker)

    def poll(self, order: object = None) -> None:
        """Looks after every worker, at most a few times a second.

        Args:
            order: What is to be made; workers find it on the disk.
        """
        now = time.monotonic()
        if now - self._looked < _LOOK_EVERY_S:
            return
        self._looked = now
        for worker in self._workers:
            if worker.process is None:
                if now >= worker.not_before:
                    self._start(worker)
            elif worker.process.poll() is not None:
                self._lost(worker, _how_it_ended(worker.process.returncode))
            elif self._silent_s(worker) > self._hang_s:
                worker.process.kill()
                worker.process.wait()
                self._lost(worker, f"showed no progress for {self._hang_s:.0f} s and was killed")

    def _start(self, worker: _Worker) -> None:
        self._let_go(worker)
        worker.log = self._log(worker).open("ab")
        worker.process = subprocess.Popen(
            worker.command,
            stdin=subprocess.DEVNULL,
            stdout=worker.log,
            stderr=worker.log,
            env=self._environment,
            # Ctrl-C at the terminal is the trainer's: it ends its workers in order.
            start_new_session=True,
        )
        worker.started = time.time()

    def _lost(self, worker: _Worker, how: str) -> None:
        lived_s = time.time() - worker.started
        worn_out = lived_s > 2 * _LONGEST_PAUSE_S
        worker.pause_s = (
            _FIRST_PAUSE_S
            if worn_out or not worker.pause_s
            else min(2 * worker.pause_s, _LONGEST_PAUSE_S)
        )
        worker.not_before = time.monotonic() + worker.pause_s
        worker.process = None
        self._report(
            {
                "worker": worker.number,
                "text": f"worker {worker.number} {how}; it is started again",
                "reason": _last_line(self._log(worker)),
                "lived_s": round(lived_s, 1),
                "pause_s": worker.pause_s,
            }
        )

    def _silent_s(self, worker: _Worker) -> float:
        with contextlib.suppress(FileNotFoundError):
            return time.time() - max(
                heartbeat_file(self._folder, worker.number).stat().st_mtime, worker.started
            )
        return time.time() - worker.started

    def _log(self, worker: _Worker) -> Path:
        return self._folder / f"worker-{worker.number}.log"

    @staticmethod
    def _let_go(worker: _Worker) -> None:
        worker.process = None
        if worker.log is not None:
            worker.log.close()
            worker.log = None


def heartbeat_file(folder: Path, number: int) -> Path:
    """The file that a worker touches."""
    return folder / f"worker-{number}.heartbeat"


def _how_it_ended(code: int) -> str:
    if code == -signal.SIGKILL:
        return "was killed (signal 9), by a person or for want of memory"
    if code < 0:
        return f"died of signal {-code}"
    return f"ended with status {code}"


def _last_line(path: Path) -> str:
    """The last thing that a worker has said."""
    try:
        with open(path, "rb") as file:
            file.seek(max(0, path.stat().st_size - 2000))
            lines = file.read().decode("utf-8", "replace").split("\n")
    except OSError:
        return ""
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
