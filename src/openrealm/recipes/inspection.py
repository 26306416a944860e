"""The recipes that look at what there is: `index` at a snapshot, `info` at a whole workspace."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openrealm.errors import InputError, OpenRealmError, SnapshotError
from openrealm.index.snapshot import Snapshot, generations, snapshot_folder
from openrealm.progress import Progress, Silent
from openrealm.runs.checkpoints import damaged_checkpoints
from openrealm.runs.folders import RunFolder, WorkspaceFolder, open_corpus
from openrealm.runs.record import RunInfo, run_info


@dataclass(frozen=True)
class IndexReport:
    """A snapshot of the whole corpus; ``run`` is None where the start has made it."""

    run: str | None
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
        run: Name of the run; the newest by default, and where there is none the start as it is.
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
    # Not at the top: they import torch, and `info` looks at no model.
    from openrealm.runs.loaded import load_model, load_untrained

    folder, progress = WorkspaceFolder(Path(workspace)), progress or Silent()
    if fleet is not None:
        from openrealm.cluster.embedding import index_by_fleet

        index_by_fleet(folder, name=run, address=fleet, storage=storage, progress=progress)
    elif storage is not None:
        raise InputError(
            f"storage '{storage}' is for the nodes of a cluster; name that too (--fleet)"
        )
    is_untrained = run is None and not folder.runs()
    loaded = (
        load_untrained(folder, open_corpus(folder))
        if is_untrained
        else load_model(folder, name=run)
    )
    snapshot = loaded.snapshot(progress)
    if check:
        snapshot.verify()
    manifest = snapshot.manifest
    return IndexReport(
        run=None if is_untrained else loaded.run.name,
        generation=manifest.generation,
        chunks=manifest.chunks,
        dim=manifest.dim,
        dtype=manifest.dtype,
        step=manifest.step,
        verified=check,
    )


def info(workspace: Path, *, run: str | None = None) -> WorkspaceInfo:
    """What is in a workspace, whether it is whole, and what made it.

    Raises:
        CorpusError: There is no corpus.
    """
    folder = WorkspaceFolder(Path(workspace))
    corpus = open_corpus(folder)
    problems: list[str] = []
    _collect(problems, corpus.verify)
    infos: list[RunInfo] = []
    for each in [folder.run(run)] if run else folder.runs():
        damaged = damaged_checkpoints(each.checkpoints)
        _collect(
            problems,
            lambda each=each, damaged=damaged: infos.append(
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
        runs=tuple(infos),
    )


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
