"""What a server has to be handed: everything that it knows of a workspace."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Protocol

from openrealm.answering.model_cache import ModelLoader
from openrealm.corpus.store import ChunkStore
from openrealm.server.schemas import IngestView, RunView


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
