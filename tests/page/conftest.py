"""Servers that the page's tests look at."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from served import Server, WaitingBackend, backend_of, serving
from tiny import tokenizer_of

from openrealm.corpus.records import Document
from openrealm.corpus.store import ChunkStore
from openrealm.corpus.updating import update_store
from openrealm.settings import ChunkingConfig


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Sixty documents, the first of them of a hundred thousand characters."""
    folder = tmp_path_factory.mktemp("large")
    long = " ".join(f"Ship {number} sails on the river." for number in range(3600))
    texts = [long, *(f"Aldera has a street of number {number}." for number in range(59))]
    found = [
        Document(id=f"d{number}", title=f"Document {number}", text=text, source="tiny")
        for number, text in enumerate(texts)
    ]
    chunking = ChunkingConfig(chunk_tokens=32, min_chunk_tokens=8)
    update_store(folder, add=found, tokenizer=tokenizer_of(texts[:20]), chunking=chunking)
    with serving(WaitingBackend(ChunkStore.open(folder), folder)) as server:
        yield server


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
