"""Parts of a run out of its settings and folder, which several recipes put together alike: device
and precision, templates and encoder, BM25, what makes an index and a snapshot.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
from pathlib import Path

import torch

from openrealm.corpus.store import ChunkStore
from openrealm.errors import ConfigError
from openrealm.files import staged_directory
from openrealm.models.embedder import Embedder
from openrealm.models.inputs import Templates
from openrealm.models.realm import LexicalWeight, Realm, device_of
from openrealm.processes import ALONE, Processes
from openrealm.progress import Progress
from openrealm.retrieval.embedding import TextEncoder
from openrealm.retrieval.lexical import BM25, stemming
from openrealm.retrieval.live_index import Loader, PooledVectors, SnapshotMaker
from openrealm.retrieval.retriever import Lexical, WordScores
from openrealm.runs.folders import RunFolder, WorkspaceFolder
from openrealm.settings import Settings

_BM25_FORMAT = 1

logger = logging.getLogger(__name__)


# Device and precision -----------------------------------------------------------------------------


def pick_device(settings: Settings) -> torch.device:
    """The device to compute on; of several GPUs the current one.

    Raises:
        ConfigError: A GPU is demanded and there is none.
    """
    if not uses_gpu(settings):
        return torch.device("cpu")
    return torch.device("cuda", torch.cuda.current_device())


def uses_gpu(settings: Settings) -> bool:
    """Whether to compute on a GPU.

    Raises:
        ConfigError: A GPU is demanded and there is none.
    """
    has_gpu = torch.cuda.is_available()
    if settings.device == "cuda" and not has_gpu:
        raise ConfigError("device = 'cuda', but torch sees no GPU here; set device=cpu")
    return has_gpu and settings.device != "cpu"


def pick_precision(settings: Settings, device: torch.device) -> torch.dtype | None:
    """Lower precision for matrix products, where it is asked for and the hardware has it."""
    if settings.precision == "bfloat16":
        return torch.bfloat16
    if settings.precision == "auto" and device.type == "cuda" and torch.cuda.is_bf16_supported():
        return torch.bfloat16
    return None


# BM25 ---------------------------------------------------------------------------------------------

# Kept on the disk from command to command.


def bm25_of(
    workspace: WorkspaceFolder, corpus: ChunkStore, progress: Progress | None = None
) -> BM25:
    """BM25 over a corpus, made where it is not kept yet."""
    key = hashlib.sha256(f"{_BM25_FORMAT} {corpus.fingerprint} {stemming()}".encode()).hexdigest()
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


# Encoder, index and snapshots ---------------------------------------------------------------------


def make_templates(settings: Settings, corpus: ChunkStore) -> Templates:
    """Templates with the lengths of the model and of the store."""
    return Templates.of(
        corpus.tokenizer,
        query_tokens=settings.model.query_tokens,
        chunk_tokens=corpus.chunking.chunk_tokens,
        query_masks=settings.model.query_masks,
    )


def make_encoder(settings: Settings, corpus: ChunkStore, embedder: Embedder) -> TextEncoder:
    """Towers with the corpus's tokenizer, the lengths of both, and the settings' precision."""
    return TextEncoder(
        embedder,
        corpus.tokenizer,
        make_templates(settings, corpus),
        autocast=pick_precision(settings, device_of(embedder)),
    )


def make_loader(
    workspace: WorkspaceFolder,
    settings: Settings,
    corpus: ChunkStore,
    model: Realm,
    processes: Processes = ALONE,
    progress: Progress | None = None,
) -> Loader:
    """What makes an index of a snapshot, and of words in common where the model weighs them."""
    lexical = lexical_of(workspace, corpus, model, processes=processes, progress=progress)
    return Loader(corpus, settings.retrieval, device_of(model), processes, lexical=lexical)


def make_maker(
    run: RunFolder,
    settings: Settings,
    corpus: ChunkStore,
    encoder: TextEncoder,
    *,
    load: Loader,
    pooled: PooledVectors | None = None,
    progress: Progress,
) -> SnapshotMaker:
    """What makes snapshots of the present weights in these processes."""
    return SnapshotMaker(
        corpus,
        encoder,
        run.snapshots,
        settings.refresh,
        load=load,
        pooled=pooled,
        progress=progress,
    )


def make_pooled(
    workspace: WorkspaceFolder,
    settings: Settings,
    corpus: ChunkStore,
    encoder: TextEncoder,
    processes: Processes = ALONE,
    *,
    progress: Progress,
) -> PooledVectors | None:
    """What is under the projection, for all runs alike; None where more than that is trained."""
    joint = "realm" in settings.stages and settings.realm.steps
    if not joint or settings.realm.towers != "projection":
        return None
    return PooledVectors(
        corpus,
        encoder,
        workspace.cache,
        settings.refresh,
        processes=processes,
        progress=progress,
    )
