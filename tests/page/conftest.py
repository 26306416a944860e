"""Servers that the page's tests look at."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from served import Server, WaitingBackend, backend_of, serving

from openrealm.corpus.store import ChunkStore


@pytest.fixture
def unread(trained: Path, tmp_path: Path) -> Iterator[Server]:
    """A run without a QA reader."""
    backend = WaitingBackend(ChunkStore.open(trained / "corpus"), tmp_path)
    with serving(backend) as server:
        yield server


@pytest.fixture
def changing(trained: Path, tmp_path: Path) -> Iterator[tuple[Path, Server]]:
    """A workspace that may be changed, and its server."""
    shutil.copytree(trained, tmp_path / "rivers")
    with serving(backend_of(tmp_path / "rivers"), watch_s=0.2) as server:
        yield tmp_path / "rivers", server
