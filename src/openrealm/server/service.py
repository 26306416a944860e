"""What all routes share, made when a server starts and ended when it stops: what it is handed of a
workspace, chunk stores, and what answers.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Hashable, Iterable, Sequence
from pathlib import Path
from typing import Annotated, Protocol

from fastapi import Depends, Request

from openrealm.answering.model_cache import ModelLoader
from openrealm.corpus.store import ChunkStore
from openrealm.server.counters import Counters
from openrealm.server.request_handler import RequestHandler
from openrealm.server.schemas import IngestView, RunView
from openrealm.settings import ServeConfig


class Backend(ModelLoader, Protocol):
    """A workspace, as far as a server looks into it."""

    @property
    def name(self) -> str:
        """Name of the workspace, for people."""

    def open_corpus(self) -> ChunkStore:
        """The corpus as it is now.

        Raises:
            CorpusError: It is missing or damaged.
        """

    def corpus_state(self) -> Hashable:
        """Differs where `open_corpus` would find something else; cheap."""

    def ingests(self) -> Sequence[IngestView]:
        """What was ingested, newest first."""

    def runs(self) -> Sequence[RunView]:
        """The runs, oldest first."""

    def metrics_file(self, run: str) -> Path:
        """Where a run's metrics are, or will be.

        Raises:
            InputError: There is no such run.
        """

    def in_training(self, run: str) -> bool:
        """Whether a process is training in a run."""


class Corpora:
    """The corpus as it is now, opened again when it has changed."""

    def __init__(
        self,
        open_corpus: Callable[[], ChunkStore],
        state: Callable[[], Hashable],
        others: Callable[[], Iterable[ChunkStore]],
    ) -> None:
        """Opens nothing yet.

        Args:
            open_corpus: Opens the corpus.
            state: Differs where it has changed.
            others: Stores that are in use, older ones among them.
        """
        self._open, self._state, self._others = open_corpus, state, others
        self._lock = threading.Lock()
        self._newest: tuple[Hashable, ChunkStore] | None = None

    def newest(self) -> ChunkStore:
        """The corpus as it is now.

        Raises:
            CorpusError: It is missing or damaged.
        """
        with self._lock:
            state = self._state()
            if self._newest is None or self._newest[0] != state:
                self._newest = state, self._open()
            return self._newest[1]

    def find(self, fingerprint: str | None) -> ChunkStore | None:
        """The corpus of this fingerprint, the newest for None; None where it is gone.

        Raises:
            CorpusError: The newest is missing or damaged.
        """
        if fingerprint is None:
            return self.newest()
        for store in self._others():
            if store.fingerprint == fingerprint:
                return store
        newest = self.newest()
        return newest if newest.fingerprint == fingerprint else None


class Service:
    """One server's parts.

    Attributes:
        backend: The workspace.
        counters: What is counted.
        handler: Answers what needs a model.
        corpora: Chunk stores.
        stopping: Set when the server has been asked to stop.
        num_followers: Clients that a metrics file is streamed to.
    """

    def __init__(self, backend: Backend, config: ServeConfig, counters: Counters) -> None:
        """Starts the threads that load and compute."""
        self.backend, self.counters = backend, counters
        self.handler = RequestHandler(backend, config, counters)
        self.corpora = Corpora(
            backend.open_corpus,
            backend.corpus_state,
            lambda: [cached.corpus for cached in self.handler.models.all()],
        )
        self.stopping = asyncio.Event()
        self.num_followers = 0


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


Served = Annotated[Service, Depends(_service)]
