"""The reading recipes: search, fill, ask, index, info."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openrealm.answering.answerer import Answers, ChunkHit, Fillings, answerer_of
from openrealm.cluster.embedding import index_by_fleet
from openrealm.errors import InputError, OpenRealmError, SnapshotError
from openrealm.index.snapshot import Snapshot, snapshot_folder
from openrealm.index.snapshot_catalog import generations
from openrealm.progress import Progress, Silent
from openrealm.runs.checkpoints import damaged_checkpoints
from openrealm.runs.folders import RunFolder, WorkspaceFolder
from openrealm.runs.loaded import FILLING_STAGES, load_run, open_corpus
from openrealm.runs.run_info import RunInfo, run_info
from openrealm.settings import preset_settings, settings_text


@dataclass(frozen=True)
class SearchResult:
    """Chunks found for a text."""

    query: str
    run: str
    hits: tuple[ChunkHit, ...]


@dataclass(frozen=True)
class FillResult:
    """Fillings of a masked text."""

    run: str
    fillings: Fillings


@dataclass(frozen=True)
class AskResult:
    """Answers to a question; without a QA reader there are search results in their place.

    Attributes:
        question: The question.
        run: The run that answered.
        has_reader: Whether the run has been fine-tuned for questions.
        answers: What was found, where it has.
        hits: Search results, where it has not.
    """

    question: str
    run: str
    has_reader: bool
    answers: Answers | None
    hits: tuple[ChunkHit, ...]


@dataclass(frozen=True)
class IndexReport:
    """A snapshot of the whole corpus."""

    run: str
    generation: int
    chunks: int
    dim: int
    dtype: str
    step: int
    verified: bool


@dataclass(frozen=True)
class WorkspaceInfo:
    """What is in a workspace, and whether it is whole."""

    workspace: str
    documents: int
    chunks: int
    chunk_tokens: int
    vocab_size: int
    corpus_fingerprint: str
    problems: tuple[str, ...]
    runs: tuple[RunInfo, ...]


def search(
    workspace: Path,
    text: str,
    *,
    k: int = 5,
    run: str | None = None,
    progress: Progress | None = None,
) -> SearchResult:
    """The k chunks of largest inner product with a text.

    Raises:
        InputError: The text is empty, or there is no run.
    """
    loaded = load_run(WorkspaceFolder(Path(workspace)), name=run, progress=progress or Silent())
    hits = answerer_of(loaded).search([text], k=k)[0]
    return SearchResult(query=text, run=loaded.run.name, hits=tuple(hits))


def fill(
    workspace: Path,
    text: str,
    *,
    k: int | None = None,
    top: int = 5,
    run: str | None = None,
    progress: Progress | None = None,
) -> FillResult:
    """The most probable words for the ``[MASK]``s of a text.

    Raises:
        InputError: The text has no mask, or there is no run.
    """
    loaded = load_run(
        WorkspaceFolder(Path(workspace)),
        name=run,
        stages=FILLING_STAGES,
        progress=progress or Silent(),
    )
    found = answerer_of(loaded).fill([text], k=k or loaded.settings.retrieval.k, top=top)[0]
    return FillResult(run=loaded.run.name, fillings=found)


def ask(
    workspace: Path,
    question: str,
    *,
    k: int | None = None,
    top: int = 5,
    run: str | None = None,
    progress: Progress | None = None,
) -> AskResult:
    """Answers with probability and evidence; search results where there is no QA reader yet.

    Raises:
        InputError: The question is empty, or there is no run.
    """
    loaded = load_run(WorkspaceFolder(Path(workspace)), name=run, progress=progress or Silent())
    answerer, read = answerer_of(loaded), k or loaded.settings.qa.read
    has_reader = loaded.checkpoint.position.stage == "qa"
    answers = answerer.ask([question], read=read, top=top)[0] if has_reader else None
    hits = () if has_reader else tuple(answerer.search([question], k=read)[0])
    return AskResult(
        question=question,
        run=loaded.run.name,
        has_reader=has_reader,
        answers=answers,
        hits=hits,
    )


def build_index(
    workspace: Path,
    *,
    run: str | None = None,
    check: bool = False,
    fleet: str | None = None,
    storage: str | None = None,
    progress: Progress | None = None,
) -> IndexReport:
    """Embeds the whole corpus with a run's newest embedder, where that is not done yet.

    Args:
        workspace: Its folder.
        run: Name of the run; the newest by default.
        check: Read every byte of the snapshot and compare checksums.
        fleet: Address of a Ray cluster that embeds; ``local`` for one that is started here, None
            for none.
        storage: URL of a storage for nodes that lack the workspace's folder; by default what the
            run's ``refresh.storage`` says.
        progress: Where to tell how far it is.

    Raises:
        ConfigError: No cluster answers at the address, or the URL is of an unknown kind.
        InputError: A storage is named, and no cluster.
        MissingDependencyError: A cluster is to embed, and Ray or the storage's driver is not
            installed.
        StorageError: The storage cannot be read or written.
        SnapshotError: The snapshot is damaged, or the cluster could not make it.
    """
    place, progress = WorkspaceFolder(Path(workspace)), progress or Silent()
    if fleet is not None:
        index_by_fleet(place, name=run, address=fleet, storage=storage, progress=progress)
    elif storage is not None:
        raise InputError(
            f"storage '{storage}' is for the nodes of a cluster; name that too (--fleet)"
        )
    loaded = load_run(place, name=run, progress=progress)
    snapshot = Snapshot.open(snapshot_folder(loaded.run.snapshots, loaded.live.generation))
    if check:
        snapshot.verify()
    manifest = snapshot.manifest
    return IndexReport(
        run=loaded.run.name,
        generation=manifest.generation,
        chunks=manifest.chunks,
        dim=manifest.dim,
        dtype=manifest.dtype,
        step=manifest.step,
        verified=check,
    )


def info(
    workspace: Path, *, run: str | None = None, progress: Progress | None = None
) -> WorkspaceInfo:
    """What is in a workspace, whether it is whole, and what made it.

    Raises:
        CorpusError: There is no corpus.
    """
    place = WorkspaceFolder(Path(workspace))
    corpus = open_corpus(place)
    problems: list[str] = []
    _collect(problems, corpus.verify)
    runs = [place.run(run)] if run else place.runs()
    found: list[RunInfo] = []
    for each in runs:
        damaged = damaged_checkpoints(each.checkpoints)
        _collect(
            problems,
            lambda each=each, damaged=damaged: found.append(
                run_info(each, corpus, damaged=damaged)
            ),
        )
        for generation in generations(each.snapshots):
            _check_snapshot(problems, each, generation)
        problems.extend(damaged.values())
    return WorkspaceInfo(
        workspace=str(workspace),
        documents=corpus.num_documents,
        chunks=len(corpus),
        chunk_tokens=corpus.chunking.chunk_tokens,
        vocab_size=corpus.tokenizer.vocab_size,
        corpus_fingerprint=corpus.fingerprint,
        problems=tuple(problems),
        runs=tuple(found),
    )


def config_text(preset: str | None = None) -> str:
    """The settings of a preset as commented TOML.

    Raises:
        ConfigError: There is no preset of that name.
    """
    return settings_text(preset_settings(preset or "adapt"))


def _check_snapshot(problems: list[str], run: RunFolder, generation: int) -> None:
    def check() -> None:
        directory = snapshot_folder(run.snapshots, generation)
        try:
            Snapshot.open(directory).verify()
        except SnapshotError:
            if directory.is_dir():  # training has not removed it meanwhile
                raise

    _collect(problems, check)


def _collect(problems: list[str], check: Any) -> None:
    try:
        check()
    except OpenRealmError as error:
        problems.append(str(error))
