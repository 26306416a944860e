"""Tests of worker processes: what happens to one that dies, hangs, or outlives its trainer."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from openrealm.training import worker_pool as worker_pool_module
from openrealm.training.worker_pool import WorkerPool

PATIENCE_S = 60.0


def python(script: str) -> list[str]:
    return [sys.executable, "-c", script]


def make(
    folder: Path, *scripts: str, hang_s: float = 60.0
) -> tuple[WorkerPool, list[dict[str, Any]]]:
    told: list[dict[str, Any]] = []
    crew = WorkerPool(
        [python(script) for script in scripts],
        folder=folder,
        hang_s=hang_s,
        environment={"FOLDER": str(folder)},
        report=lambda event: told.append(dict(event)),
    )
    return crew, told


def polled_until(crew: WorkerPool, done: Callable[[], bool]) -> None:
    """Looks after the crew, as training does, until something has happened."""
    until = time.monotonic() + PATIENCE_S
    while not done():
        assert time.monotonic() < until, "nothing happened"
        crew.poll()
        time.sleep(0.02)


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_pool_module, "_FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(worker_pool_module, "_LOOK_EVERY_S", 0.0)


STAYS = "import time; time.sleep(1000)"
COMES = """
import os, pathlib, time
path = pathlib.Path(os.environ["FOLDER"]) / f"came-{os.getpid()}"
path.touch()
time.sleep(1000)
"""


def test_a_worker_that_dies_is_told_and_started_again_after_ever_longer_pauses(
    tmp_path: Path,
) -> None:
    crew, told = make(tmp_path, "import sys; sys.exit('the disk is full')")
    with crew:
        polled_until(crew, lambda: len(told) >= 3)
    assert told[0]["text"] == "worker 0 ended with status 1; it is started again"
    assert told[0]["reason"] == "the disk is full"
    assert [event["pause_s"] for event in told[:3]] == [0.01, 0.02, 0.04]


def test_the_longest_pause_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_pool_module, "_LONGEST_PAUSE_S", 0.03)
    crew, told = make(tmp_path, "import sys; sys.exit(1)")
    with crew:
        polled_until(crew, lambda: len(told) >= 4)
    assert max(event["pause_s"] for event in told) == 0.03


def test_a_worker_killed_for_want_of_memory_is_started_again(tmp_path: Path) -> None:
    crew, told = make(tmp_path, COMES)

    def came() -> list[int]:
        return [int(path.name.split("-")[1]) for path in tmp_path.glob("came-*")]

    with crew:
        polled_until(crew, lambda: len(came()) == 1)
        os.kill(came()[0], signal.SIGKILL)
        polled_until(crew, lambda: len(came()) == 2)
    assert "was killed (signal 9)" in told[0]["text"]


def test_a_worker_without_a_pulse_is_killed_and_one_with_a_pulse_is_not(tmp_path: Path) -> None:
    beats = """
import os, pathlib, time
while True:
    (pathlib.Path(os.environ["FOLDER"]) / "worker-1.heartbeat").touch()
    time.sleep(0.05)
"""
    crew, told = make(tmp_path, STAYS, beats, hang_s=1.5)
    with crew:
        polled_until(crew, lambda: bool(told))
    assert "worker 0 showed no progress for 2 s and was killed" in told[0]["text"]
    assert {event["worker"] for event in told} == {0}


def test_an_old_pulse_of_an_earlier_run_does_not_count(tmp_path: Path) -> None:
    heartbeat = tmp_path / "worker-0.heartbeat"
    heartbeat.touch()
    os.utime(heartbeat, (1.0, 1.0))
    crew, told = make(tmp_path, STAYS, hang_s=30.0)
    with crew:
        crew.poll()
        assert told == []


def test_workers_end_with_the_training(tmp_path: Path) -> None:
    ignores = """
import os, pathlib, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
(pathlib.Path(os.environ["FOLDER"]) / f"came-{os.getpid()}").touch()
time.sleep(1000)
"""
    crew, told = make(tmp_path, COMES, ignores)
    crew_module_grace = 0.5
    with pytest.MonkeyPatch.context() as patch, crew:
        patch.setattr(worker_pool_module, "_GRACE_S", crew_module_grace)
        polled_until(crew, lambda: len(list(tmp_path.glob("came-*"))) == 2)
        pids = [int(path.name.split("-")[1]) for path in tmp_path.glob("came-*")]
        crew.__exit__(None, None, None)
        for pid in pids:
            with pytest.raises(ProcessLookupError):
                os.kill(pid, 0)
    assert told == []


def test_a_command_that_cannot_be_started_is_an_error_at_once(tmp_path: Path) -> None:
    crew = WorkerPool(
        [["/no/such/program"]],
        folder=tmp_path,
        hang_s=1.0,
        environment={},
        report=lambda event: None,
    )
    with pytest.raises(FileNotFoundError), crew:
        pass


def test_ctrl_c_at_the_terminal_is_not_the_workers_business(tmp_path: Path) -> None:
    crew, _ = make(tmp_path, COMES)
    with crew:
        polled_until(crew, lambda: bool(list(tmp_path.glob("came-*"))))
        pid = int(next(tmp_path.glob("came-*")).name.split("-")[1])
        assert os.getpgid(pid) != os.getpgid(0)
        assert subprocess.run(["kill", "-0", str(pid)], check=False).returncode == 0
