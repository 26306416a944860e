"""Tests of the lock: one holder at a time, and none once its process is dead."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from openrealm.corpus.transaction import sole_writer
from openrealm.errors import CorpusError

HOLDER = """
import sys, time
from pathlib import Path
from openrealm.corpus.transaction import sole_writer
with sole_writer(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_lock_is_free_again_after_its_block(tmp_path: Path) -> None:
    for _ in range(2):
        with sole_writer(tmp_path), pytest.raises(CorpusError, match=f"pid {os.getpid()}"):
            sole_writer(tmp_path).__enter__()


def test_a_lock_is_free_again_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), sole_writer(tmp_path):
        raise ZeroDivisionError
    with sole_writer(tmp_path):
        assert (tmp_path / ".lock").read_text() == f"{os.getpid()}\n"
    assert (tmp_path / ".lock").read_text() == ""


def test_the_lock_of_a_process_that_was_killed_does_not_hold(tmp_path: Path) -> None:
    paths = os.pathsep.join(path for path in sys.path if path)
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, tmp_path],
        env={**os.environ, "PYTHONPATH": paths},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(CorpusError, match=f"pid {holder.pid}"), sole_writer(tmp_path):
            pass
        holder.kill()
        holder.wait()
        with sole_writer(tmp_path):
            pass


def test_a_folder_that_cannot_be_written_to_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="may not be written to"), sole_writer(tmp_path / "no"):
        pass
