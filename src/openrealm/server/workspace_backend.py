"""A workspace as the server sees it: its runs loaded, its corpus, its metrics."""

from __future__ import annotations

import json
from collections.abc import Hashable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from openrealm.answering.answerer import make_answerer
from openrealm.corpus.store import ChunkStore
from openrealm.errors import CheckpointError
from openrealm.index.snapshot import Snapshot, SnapshotKey
from openrealm.models.pretrained import LABELLED_STARTS
from openrealm.progress import Progress
from openrealm.retrieval.retriever import Retriever
from openrealm.runs.checkpoints import checkpoints
from openrealm.runs.folders import RunFolder, WorkspaceFolder
from openrealm.runs.loaded import (
    ALL_STAGES,
    FILLING_STAGES,
    START,
    LoadedModel,
    load_model,
    newest_checkpoint,
    open_corpus,
)
from openrealm.runs.parts import make_loader
from openrealm.runs.run_info import RunInfo, run_info
from openrealm.server.model_cache import CachedModel, ModelKey
from openrealm.server.schemas import IngestView, RunView, Source

_NUM_INGESTS = 100


class WorkspaceBackend:
    """One workspace; implements `openrealm.server.backend.Backend`."""

    def __init__(self, workspace: WorkspaceFolder, run: str | None, progress: Progress) -> None:
        """Loads nothing yet.

        Args:
            workspace: The workspace.
            run: The run that answers by default; None for the newest that is not in training.
            progress: Where to tell how far an embedding of the corpus is.
        """
        self._workspace, self._default, self._progress = workspace, run, progress
        # Reader and question answerer of a run share their chunks' embeddings. (Whoever answers
        # keeps the retriever, and nobody the live index that it came with.)
        # Of the same vectors and weight of words in common.
        self._retrievers: WeakValueDictionary[tuple[SnapshotKey, float | None], Retriever] = (
            WeakValueDictionary()
        )

    @property
    def name(self) -> str:
        """Name of the workspace's folder."""
        return self._workspace.directory.resolve().name

    def identity(self, key: ModelKey) -> Hashable:
        """Run, checkpoint and state of the corpus.

        Raises:
            CheckpointError: The run is being trained.
            InputError: There is no such run, or it has no such weights.
        """
        run = self._run(key)
        if key.stage == START:
            return run.name, START, self.corpus_state()
        # Not verified: this is asked every few seconds, and would read all weights each time.
        folder = newest_checkpoint(run, _stages(key), verify=False).directory
        return run.name, folder.name, _changed(folder), self.corpus_state()

    def load(self, key: ModelKey) -> CachedModel:
        """The weights asked for, with an index over the present corpus.

        Raises:
            OpenRealmError: There are none, or they are damaged.
        """
        identity = self.identity(key)
        loaded = load_model(self._workspace, name=self._run(key).name, stages=_stages(key))
        snapshot = loaded.snapshot(self._progress)
        position, settings = loaded.checkpoint.position, loaded.settings
        return CachedModel(
            identity=identity,
            source=Source(
                run=loaded.run.name,
                stage=position.stage,
                step=position.total_step,
                generation=snapshot.manifest.generation,
                corpus=loaded.corpus.fingerprint,
            ),
            answerer=make_answerer(
                settings,
                loaded.model,
                loaded.corpus,
                self._retriever(loaded, snapshot),
                loaded.templates,
            ),
            corpus=loaded.corpus,
            has_reader=position.stage == "qa",
            k=settings.retrieval.k,
            read=settings.qa.read,
        )

    def open_corpus(self) -> ChunkStore:
        """The corpus as it is now.

        Raises:
            CorpusError: It is missing, damaged or empty.
        """
        return open_corpus(self._workspace)

    def corpus_state(self) -> Hashable:
        """When the store's manifest was last replaced."""
        return _changed(self._workspace.corpus / "store.json")

    def ingests(self) -> Sequence[IngestView]:
        """The last ingests, newest first."""
        newest_first = self._workspace.ingests()[: -_NUM_INGESTS - 1 : -1]
        return [view for record in newest_first if (view := _ingest_view(record)) is not None]

    def runs(self) -> Sequence[RunView]:
        """The runs, oldest first, without those whose record is damaged (`openrealm info`)."""
        corpus, found = self.open_corpus(), []
        for run in self._workspace.runs():
            with suppress(CheckpointError):
                found.append(_run_view(run_info(run, corpus, verify=False)))
        return found

    def metrics_file(self, run: str) -> Path:
        """Where a run's metrics are, or will be.

        Raises:
            InputError: There is no such run.
        """
        return self._workspace.run(run).metrics_file

    def in_training(self, run: str) -> bool:
        """Whether a process is training in a run; in one that has been removed nobody is."""
        return any(each.name == run and each.is_locked() for each in self._workspace.runs())

    def _run(self, key: ModelKey) -> RunFolder:
        """The run that is meant.

        Raises:
            CheckpointError: It is being trained.
            InputError: There is none.
        """
        name = key.run or self._default
        if name is None:
            for run in reversed(self._workspace.runs()):
                if not run.is_locked() and any(checkpoints(run.checkpoints, verify=False)):
                    return run
        run = self._workspace.run(name)
        if run.is_locked():
            raise CheckpointError(
                f"run '{run.name}' is being trained; it answers when its training has ended"
            )
        return run

    def _retriever(self, loaded: LoadedModel, snapshot: Snapshot) -> Retriever:
        weight = loaded.model.lexical
        key = snapshot.manifest.key, None if weight is None else weight.value
        found = self._retrievers.get(key)
        if found is None:
            load = make_loader(
                self._workspace,
                loaded.settings,
                loaded.corpus,
                loaded.model,
                progress=self._progress,
            )
            found = self._retrievers[key] = load(snapshot).retriever
        return found


def _stages(key: ModelKey) -> Sequence[str]:
    if key.stage is not None:
        return (key.stage,)
    return FILLING_STAGES if key.purpose == "fill" else ALL_STAGES


def _changed(path: Path) -> Hashable:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size


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
