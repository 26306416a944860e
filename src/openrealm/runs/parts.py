"""Parts of a run out of its settings and folder: what several recipes put together alike."""

from __future__ import annotations

from openrealm.corpus.store import ChunkStore
from openrealm.models.embedder import Embedder
from openrealm.models.inputs import Templates
from openrealm.models.realm import Realm, device_of
from openrealm.processes import ALONE, Processes
from openrealm.progress import Progress
from openrealm.retrieval.live_index import Loader
from openrealm.retrieval.snapshot_maker import PooledVectors, SnapshotMaker
from openrealm.retrieval.text_encoder import TextEncoder
from openrealm.runs.bm25_cache import lexical_of
from openrealm.runs.devices import pick_precision
from openrealm.runs.folders import RunFolder, WorkspaceFolder
from openrealm.settings import Settings


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
