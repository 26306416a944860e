"""The `import` recipe: published weights and blocks to a run and a corpus like any other."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from openrealm.corpus.records import Document, Problem
from openrealm.corpus.store import ChunkStore
from openrealm.corpus.updating import update_store
from openrealm.errors import ConfigError, CorpusError, InputError, shell_command
from openrealm.index.snapshot_writer import SnapshotWriter
from openrealm.interchange.block_records import count_block_records
from openrealm.interchange.blocks import BlockFile, block_id
from openrealm.interchange.hugging_face import HfModel
from openrealm.interchange.hugging_face_names import BLOCK_EMB
from openrealm.interchange.imported_model import (
    QA,
    REALM,
    Assembly,
    assemble,
    imported_settings,
    opened,
    require_rows,
    stage_of,
    tokenizer_of,
)
from openrealm.progress import Progress, Silent
from openrealm.recipes.ingestion import load_tokenizer
from openrealm.retrieval.embedding import groups_of, snapshot_key
from openrealm.runs.first_weights import Beginning, first_record
from openrealm.runs.folders import RunFolder, WorkspaceFolder
from openrealm.settings import BertShape, CorpusConfig, Settings, checked, settings_text
from openrealm.tokenizer import WordPiece, agree

_COMPARED_BLOCKS = 1000
_VOCABULARY = "corpus.tokenizer=FOLDER_OF_THE_WEIGHTS"


@dataclass(frozen=True)
class ImportedPart:
    """One model among the sources.

    Attributes:
        source: What the user called it.
        kind: embedder, scorer, encoder, reader, openqa or bert.
        stage: Checkpoint that it went into first.
        format: Of its weights' file.
        tensors: How many are used.
        parameters: How many numbers they have.
        dropped: How many numbers of the file are dead: untied masked-LM heads, unread poolers.
    """

    source: str
    kind: str
    stage: str
    format: str
    tensors: int
    parameters: int
    dropped: int


@dataclass(frozen=True)
class ImportReport:
    """What an import brought.

    Attributes:
        workspace: Folder of the workspace.
        run: Name of the new run; None where only blocks were imported.
        stages: Checkpoints of the run.
        parts: The models.
        blocks: Chunks added to the corpus, one for each block.
        chunks: Chunks in the corpus.
        vectors: Rows of ``block_emb`` that became the run's snapshot.
        notes: What no source held and how it begins; what else to know.
        seconds: Time that this call took.
    """

    workspace: str
    run: str | None
    stages: tuple[str, ...]
    parts: tuple[ImportedPart, ...]
    blocks: int
    chunks: int
    vectors: int
    notes: tuple[str, ...]
    seconds: float


def import_weights(
    workspace: str | Path,
    *,
    sources: Sequence[str | Path],
    stage: str | None = None,
    run: str | None = None,
    changes: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> ImportReport:
    """Makes a run, and a corpus where blocks are given, out of published files.

    Args:
        workspace: Its folder, made where there is none.
        sources: Directories of weights, hub names, ``block_records.npy`` or ``blocks.tfr``; they
            complement each other.
        stage: Whether readers among them are fine-tuned (``qa``) or not (``realm``); by default
            they are, unless their name has ``cc-news-pretrained`` in it.
        run: Name of the run; the next free number by default.
        changes: Settings by name over what the sources say: ``{"qa": {"read": 20}}``.
        progress: Where to tell how far it is.

    Raises:
        OpenRealmError: Of the kind that the message explains; the workspace is as it was.
    """
    began = time.perf_counter()
    progress = progress or Silent()
    if stage not in (None, QA, REALM):
        raise ConfigError(f"--stage {stage} is neither {QA} nor {REALM}")
    home = WorkspaceFolder(Path(workspace))
    models, blocks = opened(sources)
    assembly = Assembly.of([(model, stage_of(model, stage)) for model in models])
    changes = changes or {}
    settings = imported_settings(models, assembly, changes, names=[str(s) for s in sources])
    tokenizer = tokenizer_of(models)
    require_rows(models, blocks)
    with _undone_on_failure(home) as made:
        store, added, notes = _corpus(home, blocks, tokenizer, settings, progress)
        folder = None
        vectors = 0
        if models:
            settings = _with_corpus(settings, store, changes)
            folder = home.new_run(run)
            made.append(folder.directory)
            vectors, said = _make_run(folder, assembly, settings, store, progress)
            notes += said
    return ImportReport(
        workspace=str(workspace),
        run=folder.name if folder is not None else None,
        stages=assembly.stages,
        parts=tuple(_part(model, assembly) for model in models),
        blocks=added,
        chunks=len(store),
        vectors=vectors,
        notes=tuple(notes),
        seconds=time.perf_counter() - began,
    )


# The corpus ---------------------------------------------------------------------------------------


@contextmanager
def _undone_on_failure(home: WorkspaceFolder) -> Iterator[list[Path]]:
    """On failure, removes all that was made; add new folders to the list that it gives."""
    had_corpus = ChunkStore.exists(home.corpus)
    had = home.directory.is_dir()
    made: list[Path] = []
    try:
        yield made
    except BaseException:
        for path in [*made, *([] if had_corpus else [home.corpus])]:
            shutil.rmtree(path, ignore_errors=True)
        with suppress(OSError):  # what else is in there stays
            if made:
                made[0].parent.rmdir()
            if not had:
                home.directory.rmdir()
        raise


def _corpus(
    home: WorkspaceFolder,
    blocks: BlockFile | None,
    tokenizer: WordPiece | None,
    settings: Settings,
    progress: Progress,
) -> tuple[ChunkStore, int, list[str]]:
    """The corpus, the number of blocks added to it, and notes for the report."""
    if not ChunkStore.exists(home.corpus):
        return _new_corpus(home, blocks, tokenizer, settings, progress)
    store = ChunkStore.open(home.corpus)
    if tokenizer is not None and not agree(tokenizer, store.tokenizer):
        anew = ("openrealm", "ingest", "--to", home.directory, "--rechunk", "--set", _VOCABULARY)
        raise CorpusError(
            f"the corpus of '{home.directory}' was cut with another vocabulary than these "
            "weights have; import them into a workspace of their own, or cut the corpus anew: "
            + shell_command(*anew)
        )
    if blocks is None:
        return store, 0, []
    if not _holds(store, blocks):
        raise CorpusError(
            f"'{home.directory}' has a corpus already; import {blocks.path.name} into a "
            "workspace of its own"
        )
    return store, 0, [f"the corpus has the blocks of {blocks.path.name} already"]


def _new_corpus(
    home: WorkspaceFolder,
    blocks: BlockFile | None,
    tokenizer: WordPiece | None,
    settings: Settings,
    progress: Progress,
) -> tuple[ChunkStore, int, list[str]]:
    if blocks is None:
        documents = ("openrealm", "ingest", "YOUR_DOCUMENTS", "--to", home.directory)
        raise CorpusError(
            f"'{home.directory}' holds no corpus for these weights; give a block file as a "
            "further source, or ingest documents first, with the vocabulary of the weights: "
            + shell_command(*documents, "--set", _VOCABULARY)
        )
    notes = []
    if tokenizer is None:
        tokenizer = load_tokenizer(settings.corpus)
        notes = [f"no source holds a vocabulary: it is that of '{settings.corpus.tokenizer}'"]
    if tokenizer is None:
        raise ConfigError("corpus.tokenizer = train: a vocabulary cannot be learned in an import")
    report = update_store(
        home.corpus,
        add=blocks.documents(),
        tokenizer=tokenizer,
        chunking=settings.corpus.chunking,
        on_problem=_refuse,
        progress=progress,
    )
    return ChunkStore.open(home.corpus), report.chunks, notes


def _refuse(problem: Problem) -> None:
    raise InputError(f"{problem.reason}; every block must become one chunk (nothing was changed)")


def _holds(store: ChunkStore, blocks: BlockFile) -> bool:
    """Whether a corpus was made of these blocks, by their number and the first of them."""
    if blocks.path.suffix == ".npy" and count_block_records(blocks.path) != len(store):
        return False
    first: list[Document] = list(islice(blocks.documents(), _COMPARED_BLOCKS))
    return is_of_blocks(store) and all(
        number < store.num_documents and store.document(number) == block
        for number, block in enumerate(first)
    )


def is_of_blocks(store: ChunkStore) -> bool:
    """Whether chunk i of a corpus is block i of a block file."""
    last = len(store) - 1
    return (
        store.chunking.whole
        and store.num_documents == len(store) > 0
        and store.document(0).id == block_id(0)
        and store.document(last).id == block_id(last)
    )


def _with_corpus(settings: Settings, store: ChunkStore, changes: Mapping[str, Any]) -> Settings:
    """The settings with the chunking that the corpus has, and room for queries beside it."""
    longest: BertShape = settings.model.bert
    room = longest.max_positions + 1 - store.chunking.chunk_tokens
    query_tokens = min(settings.model.query_tokens, max(8, room))
    corpus: CorpusConfig = replace(settings.corpus, chunking=store.chunking)
    settings = replace(
        settings, corpus=corpus, model=replace(settings.model, query_tokens=query_tokens)
    )
    cut = {name: value for name, value in changes.get("corpus", {}).items() if name != "chunking"}
    return checked(settings.changed(**{**changes, "corpus": cut}))


# The run ------------------------------------------------------------------------------------------


def _make_run(
    run: RunFolder, assembly: Assembly, settings: Settings, store: ChunkStore, progress: Progress
) -> tuple[int, list[str]]:
    """Writes a run; gives the number of vectors in its snapshot, and notes for the report."""
    model, notes = assemble(assembly, settings, store.tokenizer, run.checkpoints, progress)
    vectors = 0
    source = next((m for m in assembly.models if m.num_blocks), None)
    if source is not None and is_of_blocks(store):
        if source.num_blocks != len(store):
            raise InputError(
                f"{source.name} has {source.num_blocks} vectors of blocks, the corpus "
                f"{len(store)} chunks; they belong together row by row"
            )
        dim = source.files.shape(BLOCK_EMB)[1]
        if dim != model.embedder.dim:
            raise InputError(
                f"{source.name} has vectors of {dim} numbers, its embedder makes "
                f"{model.embedder.dim}"
            )
        writer = SnapshotWriter(
            run.snapshots,
            generation=1,
            step=0,
            chunks=source.num_blocks,
            dim=dim,
            key=snapshot_key(store, model.embedder),
            groups=groups_of(store),
        )
        _copy_vectors(source, writer, progress)
        vectors = source.num_blocks
    elif source is not None:
        notes.append(f"the vectors of {source.name} are left: the corpus is not of its blocks")
    if not vectors:
        notes.append("no vectors came with the corpus: the first search embeds it")
    run.settings_file.write_text(settings_text(settings), encoding="utf-8")
    parts = [asdict(_part(model, assembly)) for model in assembly.models]
    # Last: a folder without it is no run.
    run.write_record(first_record(Beginning.of(settings), store) | {"imported": parts})
    return vectors, notes


def _copy_vectors(source: HfModel, writer: SnapshotWriter, progress: Progress) -> None:
    """Copies vectors shard by shard, so that the table is never in memory as a whole."""
    with progress.task("copying vectors", total=source.num_blocks, unit="vectors") as task:
        for shard, rows in writer.missing_shards():
            part = source.files.rows(BLOCK_EMB, rows.start, rows.stop)
            writer.write(shard, part.float().numpy())
            task.advance(len(rows))
    writer.publish()


def _part(model: HfModel, assembly: Assembly) -> ImportedPart:
    return ImportedPart(
        source=model.name,
        kind=model.kind,
        stage=assembly.stage_of(model),
        format=model.files.format,
        tensors=model.num_tensors,
        parameters=model.num_parameters,
        dropped=model.num_dropped,
    )
