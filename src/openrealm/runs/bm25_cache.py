"""BM25 over a workspace's corpus, kept on the disk from command to command; and what of it a model
wants in its relevance score.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
from pathlib import Path

from openrealm.corpus.store import ChunkStore
from openrealm.files import staged_directory
from openrealm.models.realm import LexicalWeight, Realm
from openrealm.processes import ALONE, Processes
from openrealm.progress import Progress
from openrealm.retrieval.hybrid import Lexical, WordScores
from openrealm.retrieval.lexical import BM25, stemming
from openrealm.runs.folders import WorkspaceFolder

_FORMAT = 1

logger = logging.getLogger(__name__)


def bm25_of(
    workspace: WorkspaceFolder, corpus: ChunkStore, progress: Progress | None = None
) -> BM25:
    """BM25 over a corpus, made where it is not kept yet."""
    key = hashlib.sha256(f"{_FORMAT} {corpus.fingerprint} {stemming()}".encode()).hexdigest()
    kept = workspace.cache / f"bm25-{key[:16]}"
    if kept.is_dir():
        try:
            return BM25.load(kept)
        except (OSError, ValueError, KeyError) as error:
            logger.warning("%s is damaged (%s) and is made again", kept, error)
            shutil.rmtree(kept, ignore_errors=True)
    made = BM25.build(corpus, progress=progress)
    _keep(made, kept)
    return made


def bm25_together(
    workspace: WorkspaceFolder,
    corpus: ChunkStore,
    processes: Processes,
    progress: Progress | None = None,
) -> BM25:
    """The same for each of several processes: one makes it, the others read what it has kept."""
    made = bm25_of(workspace, corpus, progress) if processes.is_first else None
    processes.barrier()
    return bm25_of(workspace, corpus) if made is None else made


def _keep(made: BM25, folder: Path) -> None:
    """Writes it down where that can be done; it can be made again."""
    try:
        with staged_directory(folder) as staging:
            made.save(staging)
    except OSError as error:  # a full disk; or another process was quicker
        logger.warning("%s was not kept (%s)", folder, error)
    for other in folder.parent.glob("bm25-*"):
        if other != folder:  # of an earlier corpus
            shutil.rmtree(other, ignore_errors=True)


def lexical_of(
    workspace: WorkspaceFolder,
    corpus: ChunkStore,
    model: Realm,
    *,
    processes: Processes = ALONE,
    progress: Progress | None = None,
) -> Lexical | None:
    """Words in common as a part of a model's relevance score; None where they are none.

    Each process has all of BM25, which is mapped from the same files.
    """
    if model.lexical is None:
        return None
    return weighed(bm25_together(workspace, corpus, processes, progress), model.lexical)


def weighed(words: WordScores, weight: LexicalWeight) -> Lexical:
    """Words in common with a model's weight, which may move."""
    return Lexical(words, lambda: weight.value)
