"""A workspace as the server sees it: its runs loaded, its corpus, its metrics."""

from __future__ import annotations

import json
from collections.abc import Hashable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from openrealm.answering.model_cache import CachedModel, ModelKey
from openrealm.answering.workspace_models import WorkspaceModels
from openrealm.corpus.store import ChunkStore
from openrealm.errors import CheckpointError
from openrealm.models.starts import LABELLED_STARTS
from openrealm.progress import Progress
from openrealm.runs.folders import WorkspaceFolder
from openrealm.runs.record import RunInfo, run_info
from openrealm.server.schemas import IngestView, RunView

_NUM_INGESTS = 100


class WorkspaceBackend:
    """One workspace; implements `openrealm.server.service.Backend`."""

    def __init__(self, workspace: WorkspaceFolder, run: str | None, progress: Progress) -> None:
        """Loads nothing yet.

        Args:
            workspace: The workspace.
            run: The run that answers by default; None for the newest that can.
            progress: Where to tell how far an embedding of the corpus is.
        """
        self._workspace = workspace
        self._models = WorkspaceModels(workspace, run, progress)

    @property
    def name(self) -> str:
        """Name of the workspace's folder."""
        return self._workspace.directory.resolve().name

    def identity(self, key: ModelKey, known: Hashable = None) -> Hashable:
        """What `load` would give, found without loading it."""
        return self._models.identity(key, known)

    def load(self, key: ModelKey) -> CachedModel:
        """The model asked for, with an index over the present corpus."""
        return self._models.load(key)

    def close(self) -> None:
        """Ends a load that goes on."""
        self._models.close()

    def open_corpus(self) -> ChunkStore:
        """The corpus as it is now.

        Raises:
            CorpusError: It is missing, damaged or empty.
        """
        return self._models.corpus()

    def corpus_state(self) -> Hashable:
        """When the store's manifest was last replaced."""
        return self._models.corpus_state()

    def ingests(self) -> Sequence[IngestView]:
        """The last ingests, newest first."""
        newest_first = self._workspace.ingests()[: -_NUM_INGESTS - 1 : -1]
        return [view for record in newest_first if (view := _ingest_view(record)) is not None]

    def runs(self) -> Sequence[RunView]:
        """The runs, oldest first, without those whose record is damaged (`openrealm info`)."""
        corpus, views = self.open_corpus(), []
        for run in self._workspace.runs():
            with suppress(CheckpointError):
                views.append(_run_view(run_info(run, corpus)))
        return views

    def metrics_file(self, run: str) -> Path:
        """Where a run's metrics are, or will be.

        Raises:
            InputError: There is no such run.
        """
        return self._workspace.run(run).metrics_file

    def in_training(self, run: str) -> bool:
        """Whether a process is training in a run; in one that has been removed nobody is."""
        return any(each.name == run and each.is_locked() for each in self._workspace.runs())


def _ingest_view(record: dict[str, Any]) -> IngestView | None:
    """A record of an ingest; None where it is none that this version can read."""
    try:
        # Names of files need not be Unicode; what is sent has to be.
        text = json.dumps(record, ensure_ascii=False).encode(errors="replace")
        return IngestView.model_validate_json(text)
    except ValueError:
        return None


def _run_view(info: RunInfo) -> RunView:
    record = info.record
    stages = list(dict.fromkeys(c["stage"] for c in reversed(info.checkpoints)))
    starts = (record["start"], *record.get("ancestors", ()))
    labelled = next((LABELLED_STARTS[s] for s in starts if s in LABELLED_STARTS), None)
    return RunView(
        name=info.name,
        created=record["created"],
        start=record["start"],
        saw_labels=labelled,
        seed=record["seed"],
        stages=stages,
        has_reader="qa" in stages,
        in_training=info.in_training,
        fits_corpus=info.fits_corpus,
        reports=record["stage_reports"],
        events=[f"step {e['total_step']}: {e['text']}" for e in info.refreshes],
    )
