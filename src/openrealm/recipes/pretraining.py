"""The `pretrain` recipe: from a corpus to a retriever and a reader that learned from it."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from openrealm.corpus.documents import read_documents
from openrealm.corpus.store import ChunkStore
from openrealm.corpus.updating import update_store
from openrealm.errors import ConfigError, OpenRealmError
from openrealm.files import require_files
from openrealm.models.realm import Realm
from openrealm.processes import Processes, joined
from openrealm.progress import Progress, Silent
from openrealm.recipes.training_session import TrainingSession, texts_of
from openrealm.report.plots import draw_run
from openrealm.runs.first_weights import Beginning, begin, first_model, first_record
from openrealm.runs.folders import RunFolder, WorkspaceFolder, open_corpus
from openrealm.runs.parts import uses_gpu
from openrealm.settings import (
    Settings,
    checked,
    preset_settings,
    read_settings,
    settings_text,
)


@dataclass(frozen=True)
class RunSummary:
    """What a training recipe leaves behind.

    Attributes:
        workspace: Folder of the workspace.
        run: Name of the run.
        stages: For each stage that was measured, its name and numbers, in order.
        seconds: Time that this call took.
        plot: Picture of the run; None without matplotlib.
    """

    workspace: str
    run: str
    stages: tuple[dict[str, Any], ...]
    seconds: float
    plot: str | None = None


def pretrain(
    workspace: Path,
    settings: Settings | None = None,
    *,
    texts: Sequence[Path] = (),
    queries: Path | None = None,
    resume: bool = False,
    run: str | None = None,
    progress: Progress | None = None,
) -> RunSummary:
    """Trains a retriever and a reader on the workspace's corpus.

    Args:
        workspace: Folder that `ingest` made.
        settings: What the run is made from; the preset ``adapt`` by default.
        texts: Training texts, where they are not the corpus itself.
        queries: Held-out queries (``text``, ``answers``, ``gold``), measured after each stage.
        resume: Go on with a run that was stopped or killed; ``settings`` may then lower
            learning rates, and change nothing else.
        run: Name of the run; a new one by default, the newest with ``resume``.
        progress: Where to tell how far it is.

    Raises:
        OpenRealmError: Of the kind that the message explains.
        Stopped: Ctrl-C; everything is saved.
    """
    began = time.perf_counter()
    progress, folders = progress or Silent(), WorkspaceFolder(Path(workspace))
    corpus, lowered, beginning = open_corpus(folders), None, None
    if resume:
        _require_no_texts(texts)
        settings, lowered = read_settings(folders.run(run).settings_file), settings
    else:
        require_files([*texts, *([queries] if queries else [])])
        beginning = _beginning(settings, corpus)
        settings = beginning.settings
    with joined(gpu=uses_gpu(settings)) as processes:
        if not processes.is_first:
            progress = Silent()
        folder, model = folders.run(run) if resume else None, None
        if beginning is not None and processes.is_first:
            folder, model = _new_run(folders, run, beginning, corpus, texts, progress)
        folder = folders.run(processes.broadcast_text(folder.name if folder is not None else ""))
        with training_in(folder, processes):
            try:
                session = TrainingSession(
                    folders,
                    folder,
                    corpus,
                    queries,
                    processes,
                    progress,
                    model=model,
                    lowered=lowered,
                )
            except OpenRealmError:
                if not resume and processes.is_first:
                    # What cannot begin leaves no run behind.
                    shutil.rmtree(folder.directory, ignore_errors=True)
                raise
            session.run()
        plot = draw_run(folder, progress) if processes.is_first else None
    return RunSummary(
        workspace=str(workspace),
        run=folder.name,
        stages=tuple(folder.read_record()["stage_reports"]),
        seconds=time.perf_counter() - began,
        plot=plot,
    )


@contextmanager
def training_in(run: RunFolder, processes: Processes) -> Iterator[None]:
    """The run's lock is held, by the first process for all."""
    with run.locked() if processes.is_first else nullcontext():
        yield


def _require_no_texts(texts: Sequence[Path]) -> None:
    if texts:
        raise ConfigError("--resume goes on with the run's own training texts; give no others")


def _beginning(settings: Settings | None, corpus: ChunkStore) -> Beginning:
    """What a new run begins with; how the corpus was cut no setting changes any more."""
    settings = settings or preset_settings("adapt")
    cut = replace(settings.corpus, chunking=corpus.chunking)
    return Beginning.of(checked(replace(settings, corpus=cut)))


def _new_run(
    workspace: WorkspaceFolder,
    name: str | None,
    beginning: Beginning,
    corpus: ChunkStore,
    texts: Sequence[Path],
    progress: Progress,
) -> tuple[RunFolder, Realm]:
    """A run folder with its settings, record and training texts; and its first model."""
    # The start's own shape replaces the preset's before anything is written.
    started, settings = begin(beginning, corpus.tokenizer), beginning.settings
    chunking = replace(settings.corpus, chunking=corpus.chunking)
    settings = checked(replace(settings, model=started.config, corpus=chunking))
    beginning = replace(beginning, settings=settings)
    run = workspace.new_run(name)
    try:
        if texts:
            _ingest_texts(run, texts, corpus, progress)
        run.settings_file.write_text(settings_text(settings), encoding="utf-8")
        run.write_record(first_record(beginning, corpus, texts=texts))
        model = first_model(beginning, corpus=corpus, texts=texts_of(run, corpus), started=started)
    except BaseException:
        shutil.rmtree(run.directory, ignore_errors=True)
        raise
    return run, model


def _ingest_texts(
    run: RunFolder, texts: Sequence[Path], corpus: ChunkStore, progress: Progress
) -> None:
    documents = read_documents(texts, on_problem=lambda problem: progress.say(str(problem)))
    update_store(
        run.texts,
        add=documents,
        tokenizer=corpus.tokenizer,
        chunking=corpus.chunking,
        progress=progress,
    )
