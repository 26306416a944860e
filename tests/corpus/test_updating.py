"""Tests of updates whose process dies or whose disk is full, and of the memory they take."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs fork and limits of files")


def run(*arguments: str | Path) -> str:
    """Runs `crashes.py`; a process of its own, as only one without threads may fork safely."""
    script = Path(__file__).with_name("crashes.py")
    paths = os.pathsep.join(path for path in sys.path if path)
    done = subprocess.run(
        [sys.executable, script, *arguments],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_an_update_killed_at_any_step_leaves_the_old_store_or_the_new_one(tmp_path: Path) -> None:
    assert len(run(tmp_path, "kill").splitlines()) == 3


def test_a_full_disk_is_an_error_in_words_and_leaves_the_store_as_it_was(tmp_path: Path) -> None:
    run(tmp_path, "full")


def test_the_memory_of_an_ingest_does_not_grow_with_the_corpus(tmp_path: Path) -> None:
    small, large = (
        float(run(tmp_path / str(count), "memory", str(count))) for count in (600, 2400)
    )
    # 0.8 and 3.1 MB of text: to keep the text and its tokens would take ten times as much.
    assert large < small + 2
