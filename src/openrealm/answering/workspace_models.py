"""The models of a workspace: which one answers by default, and how it is loaded with its index;
knows nothing of when.

The newest run that is not in training and has weights that fit answers. Where there is none, the
start does as it is; where that does not fit the corpus either, words in common alone search.
"""

from __future__ import annotations

import threading
from collections.abc import Hashable, Sequence
from contextlib import suppress
from pathlib import Path
from weakref import WeakValueDictionary

from openrealm.answering.answerer import Answerer, WordSearcher, make_answerer
from openrealm.answering.model_cache import CachedModel, ModelKey, Source
from openrealm.corpus.store import ChunkStore
from openrealm.errors import CheckpointError, InputError
from openrealm.index.snapshot import Snapshot, SnapshotKey
from openrealm.progress import Progress, Stoppable
from openrealm.retrieval.retriever import Retriever
from openrealm.runs.folders import RunFolder, WorkspaceFolder, open_corpus
from openrealm.runs.loaded import (
    ALL_STAGES,
    FILLING_STAGES,
    PRESET,
    START,
    LoadedModel,
    add_span_reader,
    load_model,
    load_untrained,
    newest_checkpoint,
    why_untrained_fails,
)
from openrealm.runs.parts import bm25_of, make_loader
from openrealm.settings import preset_settings

WORDS = "words"


class WorkspaceModels:
    """What answers in one workspace; implements `ModelLoader`."""

    def __init__(self, workspace: WorkspaceFolder, run: str | None, progress: Progress) -> None:
        """Loads nothing yet.

        Args:
            workspace: The workspace.
            run: The run that answers by default; None for the newest that can.
            progress: Where to tell how far an embedding of the corpus is.
        """
        self._workspace, self._default, self._progress = workspace, run, Stoppable(progress)
        self._lock = threading.Lock()
        self._corpus: tuple[Hashable, ChunkStore] | None = None
        self._obstacle: tuple[str, str | None] | None = None
        # Reader and question answerer of a run share their chunks' embeddings. (Whoever answers
        # keeps the retriever, and nobody the live index that it came with.)
        # Of the same vectors and weight of words in common.
        self._retrievers: WeakValueDictionary[tuple[SnapshotKey, float | None], Retriever] = (
            WeakValueDictionary()
        )

    def corpus(self) -> ChunkStore:
        """The corpus as it is now, opened again when it has changed.

        Raises:
            CorpusError: It is missing, damaged or empty.
        """
        with self._lock:
            state = self.corpus_state()
            if self._corpus is None or self._corpus[0] != state:
                self._corpus = state, open_corpus(self._workspace)
            return self._corpus[1]

    def corpus_state(self) -> Hashable:
        """When the store's manifest was last replaced."""
        return _changed(self._workspace.corpus / "store.json")

    def identity(self, key: ModelKey, known: Hashable = None) -> Hashable:
        """Run, checkpoint and state of the corpus.

        Args:
            key: Which model.
            known: The identity of what is in memory: while its run is trained further, what was
                loaded of it before goes on answering.

        Raises:
            CheckpointError: The run is being trained.
            CorpusError: There is no corpus.
            InputError: There is no such run, or it has no such weights, or nothing can fill masks.
        """
        in_memory = known[0] if isinstance(known, tuple) else None
        run = self._run(key, in_memory)
        if run is None:
            self._require_filler(key)
            return None, START, self.corpus_state()
        if run.name == in_memory and run.is_locked():
            return known
        if key.stage == START:
            return run.name, START, self.corpus_state()
        # Not verified: this is asked at every call, and would read all weights each time.
        folder = newest_checkpoint(run, _stages(key), verify=False).directory
        return run.name, folder.name, _changed(folder), self.corpus_state()

    def load(self, key: ModelKey) -> CachedModel:
        """The model asked for, with an index over the present corpus.

        Raises:
            OpenRealmError: There is none, or it is damaged.
        """
        identity, run = self.identity(key), self._run(key)
        if run is not None:
            loaded = load_model(self._workspace, name=run.name, stages=_stages(key))
            add_span_reader(loaded)
            return self._ready(identity, loaded, run=run.name)
        corpus = self.corpus()
        obstacle = self._why_untrained_fails(corpus)
        if obstacle is not None:
            return self._words_alone(identity, corpus, obstacle)
        loaded = load_untrained(self._workspace, corpus)
        add_span_reader(loaded)
        return self._ready(identity, loaded, note=f"start ({loaded.settings.start}), untrained")

    def close(self) -> None:
        """Ends a load that goes on, between two batches where it embeds the corpus."""
        self._progress.stop()

    def _ready(
        self, identity: Hashable, loaded: LoadedModel, *, run: str | None = None, note: str = ""
    ) -> CachedModel:
        """A model with its index."""
        snapshot = loaded.snapshot(self._progress)
        position, settings = loaded.checkpoint.position, loaded.settings
        return CachedModel(
            identity=identity,
            source=Source(
                run=run,
                stage=position.stage,
                step=position.total_step,
                generation=snapshot.manifest.generation,
                corpus=loaded.corpus.fingerprint,
                note=note,
            ),
            answerer=self._answerer(loaded, snapshot),
            corpus=loaded.corpus,
            has_reader=position.stage == "qa" or loaded.model.span_reader is not None,
            k=settings.retrieval.k,
            read=settings.qa.read,
        )

    def _words_alone(self, identity: Hashable, corpus: ChunkStore, obstacle: str) -> CachedModel:
        defaults = preset_settings(PRESET)
        return CachedModel(
            identity=identity,
            source=Source(
                run=None,
                stage=WORDS,
                step=0,
                generation=0,
                corpus=corpus.fingerprint,
                note=f"words in common alone (BM25), untrained: {obstacle}",
            ),
            answerer=WordSearcher(corpus, bm25_of(self._workspace, corpus, self._progress)),
            corpus=corpus,
            has_reader=False,
            k=defaults.retrieval.k,
            read=defaults.qa.read,
        )

    def _answerer(self, loaded: LoadedModel, snapshot: Snapshot) -> Answerer:
        return make_answerer(
            loaded.settings,
            loaded.model,
            loaded.encoder,
            loaded.corpus,
            self._retriever(loaded, snapshot),
        )

    def _retriever(self, loaded: LoadedModel, snapshot: Snapshot) -> Retriever:
        weight = loaded.model.lexical
        key = snapshot.manifest.key, None if weight is None else weight.value
        retriever = self._retrievers.get(key)
        if retriever is None:
            load = make_loader(
                self._workspace,
                loaded.settings,
                loaded.corpus,
                loaded.model,
                progress=self._progress,
            )
            retriever = self._retrievers[key] = load(snapshot).retriever
        return retriever

    def _run(self, key: ModelKey, in_memory: object = None) -> RunFolder | None:
        """The run that is meant; None for the start.

        The run in memory may be in training.

        Raises:
            CheckpointError: It is being trained.
            InputError: There is none of the name, or none that has the stage.
        """
        name = key.run or self._default
        if name is None:
            usable = _newest_usable(self._workspace, key, in_memory)
            if usable is not None or key.stage in (None, START):
                return usable
        run = self._workspace.run(name)
        if run.is_locked() and run.name != in_memory:
            raise CheckpointError(
                f"run '{run.name}' is being trained; it answers when its training has ended"
            )
        return run

    def _require_filler(self, key: ModelKey) -> None:
        """Checks that the start can do what is asked for.

        Raises:
            InputError: Masks are to be filled, and nothing can.
        """
        obstacle = self._why_untrained_fails(self.corpus())
        if key.purpose == "fill" and obstacle is not None:
            raise InputError(f"nothing here can fill a mask yet: {obstacle}")

    def _why_untrained_fails(self, corpus: ChunkStore) -> str | None:
        if self._obstacle is None or self._obstacle[0] != corpus.fingerprint:
            self._obstacle = corpus.fingerprint, why_untrained_fails(corpus)
        return self._obstacle[1]


def _newest_usable(
    workspace: WorkspaceFolder, key: ModelKey, in_memory: object
) -> RunFolder | None:
    """The newest run that has weights of the purpose and that nobody trains, or is in memory."""
    stages = ALL_STAGES if key.stage is not None else _stages(key)
    for run in reversed(workspace.runs()):
        if run.name == in_memory or not run.is_locked():
            with suppress(InputError):
                newest_checkpoint(run, stages, verify=False)
                return run
    return None


def _stages(key: ModelKey) -> Sequence[str]:
    if key.stage is not None:
        return (key.stage,)
    return FILLING_STAGES if key.purpose == "fill" else ALL_STAGES


def _changed(path: Path) -> Hashable:
    try:
        state = path.stat()
    except OSError:
        return None
    return state.st_mtime_ns, state.st_ino, state.st_size
