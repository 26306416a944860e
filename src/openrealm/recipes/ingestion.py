"""The `ingest` recipe: documents of many formats to the workspace's chunk store."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path

from openrealm.corpus.documents import read_documents
from openrealm.corpus.records import Document, IngestReport, Problem, ProblemLog
from openrealm.corpus.store import ChunkStore
from openrealm.corpus.updating import rechunk_store, update_store
from openrealm.errors import ConfigError, InputError
from openrealm.files import require_files
from openrealm.models.starts import packaged_start
from openrealm.progress import Progress, Silent
from openrealm.runs.folders import WorkspaceFolder
from openrealm.settings import CorpusConfig, Settings, preset_settings
from openrealm.tokenizer import WordPiece

# A vocabulary is learned from so many documents at most; more change it little.
_VOCABULARY_DOCUMENTS = 100_000


def ingest(
    workspace: Path,
    *,
    sources: Sequence[Path] = (),
    remove: Sequence[str] = (),
    settings: Settings | None = None,
    strict: bool = False,
    rechunk: bool = False,
    progress: Progress | None = None,
) -> IngestReport:
    """Adds documents to a workspace, removes some, or cuts all of them anew.

    Args:
        workspace: Its folder, made where there is none.
        sources: Files and folders.
        remove: Ids of documents to remove.
        settings: Whose section ``corpus`` fixes tokenizer and chunk size of a new workspace; the
            preset ``adapt`` by default.
        strict: End at the first problem and leave the store as it was.
        rechunk: Cut the documents of an existing store anew with these settings.
        progress: Where to tell how far it is.

    Raises:
        InputError: A source is missing, or ``strict`` and there is a problem.
        CorpusError: The store cannot be written; it is as it was.
        ConfigError: Settings of tokenizer or chunking for a store that has others.
    """
    progress = progress or Silent()
    folder = WorkspaceFolder(Path(workspace))
    require_files(sources)
    if not (sources or remove or rechunk):
        raise InputError("there is nothing to ingest; name files or folders, or --remove ID")
    log = ProblemLog(_refuse if strict else None)
    exists = ChunkStore.exists(folder.corpus)
    if rechunk:
        if settings is None:
            raise ConfigError(
                "--rechunk cuts all documents anew; say how: --preset NAME or --set "
                "corpus.KEY=VALUE"
            )
        return _noted(folder, _rechunk(folder, settings, log, progress))
    if exists and settings is not None:
        raise ConfigError(
            f"'{folder.directory}' has its tokenizer and chunk size already; "
            "change them for all documents with --rechunk"
        )
    tokenizer = chunking = None
    if not exists:
        settings = settings or preset_settings("adapt")
        tokenizer = load_tokenizer(settings.corpus) or _learned(sources, settings, progress)
        chunking = settings.corpus.chunking
    report = update_store(
        folder.corpus,
        add=read_documents(sources, on_problem=log, progress=progress),
        remove=remove,
        tokenizer=tokenizer,
        chunking=chunking,
        on_problem=log,
        progress=progress,
    )
    return _noted(folder, report, sources)


def load_tokenizer(config: CorpusConfig) -> WordPiece | None:
    """The tokenizer that the settings name; None where it is to be learned from the documents."""
    if config.tokenizer == "train":
        return None
    return WordPiece.load(packaged_start(config.tokenizer) or Path(config.tokenizer))


def _noted(
    folder: WorkspaceFolder, report: IngestReport, sources: Sequence[Path] = ()
) -> IngestReport:
    """The report, kept in the workspace for whoever asks later what was skipped."""
    record = {"time": time.time(), "sources": [str(path) for path in sources], **asdict(report)}
    folder.add_ingest(record)
    return report


def _rechunk(
    folder: WorkspaceFolder, settings: Settings, log: ProblemLog, progress: Progress
) -> IngestReport:
    folder.require_corpus()
    tokenizer = load_tokenizer(settings.corpus)
    if tokenizer is None:
        tokenizer = _trained(ChunkStore.open(folder.corpus).documents(), settings)
    return rechunk_store(
        folder.corpus,
        tokenizer=tokenizer,
        chunking=settings.corpus.chunking,
        on_problem=log,
        progress=progress,
    )


def _learned(sources: Sequence[Path], settings: Settings, progress: Progress) -> WordPiece:
    """A vocabulary of the documents about to be ingested; their problems are reported later."""
    documents = read_documents(sources, on_problem=lambda problem: None, progress=progress)
    return _trained(documents, settings)


def _trained(documents: Iterable[Document], settings: Settings) -> WordPiece:
    some = islice(documents, _VOCABULARY_DOCUMENTS)
    texts = [f"{document.title}\n{document.text}" for document in some]
    if not texts:
        raise InputError("there is no document to learn a vocabulary from")
    return WordPiece.train(texts, vocab_size=settings.corpus.vocab_size)


def _refuse(problem: Problem) -> None:
    raise InputError(f"{problem} (--strict: nothing was changed)")
