"""Parts of a run out of its settings and folder: what several recipes put together alike."""

from __future__ import annotations

from pathlib import Path

from openrealm.answering import Answerer
from openrealm.corpus.store import ChunkStore
from openrealm.data.salient import SpanTagger, make_tagger
from openrealm.errors import InputError, MissingDependencyError
from openrealm.models.inputs import Templates
from openrealm.models.pretrained import MINILM, minilm_directory
from openrealm.models.realm import Realm, device_of
from openrealm.plots import plot_run
from openrealm.processes import ALONE, Processes
from openrealm.progress import Progress
from openrealm.recipes.devices import pick_precision
from openrealm.recipes.wording import lexical_of
from openrealm.retrieval.retriever import Retriever
from openrealm.settings import CorpusConfig, Settings
from openrealm.tokenizer import WordPiece
from openrealm.training.live import Loader
from openrealm.training.making import PooledVectors, SnapshotMaker
from openrealm.training.metrics_log import MetricsLog, tensorboard_listener
from openrealm.workspace import Run, Workspace


def make_answerer(
    settings: Settings,
    model: Realm,
    corpus: ChunkStore,
    retriever: Retriever,
    templates: Templates,
) -> Answerer:
    """What answers as a model was fine-tuned to."""
    return Answerer(
        model,
        corpus,
        retriever,
        templates,
        by_chunk=settings.qa.marginal == "chunks",
        no_answer=settings.qa.no_answer,
        groups=settings.length_groups,
    )


def make_templates(settings: Settings, corpus: ChunkStore) -> Templates:
    """Templates with the lengths of the model and of the store."""
    return Templates.of(
        corpus.tokenizer,
        query_tokens=settings.model.query_tokens,
        chunk_tokens=corpus.chunking.chunk_tokens,
        query_masks=settings.model.query_masks,
    )


def make_loader(
    place: Workspace,
    settings: Settings,
    corpus: ChunkStore,
    model: Realm,
    processes: Processes = ALONE,
    progress: Progress | None = None,
) -> Loader:
    """What makes an index of a snapshot, and of words in common where the model weighs them."""
    lexical = lexical_of(place, corpus, model, processes=processes, progress=progress)
    return Loader(corpus, settings.retrieval, device_of(model), processes, lexical=lexical)


def make_maker(
    run: Run,
    settings: Settings,
    corpus: ChunkStore,
    model: Realm,
    templates: Templates,
    *,
    load: Loader,
    pooled: PooledVectors | None = None,
    progress: Progress,
) -> SnapshotMaker:
    """What makes snapshots of the present weights in these processes."""
    return SnapshotMaker(
        corpus,
        model.embedder,
        templates,
        run.snapshots,
        settings.refresh,
        autocast=pick_precision(settings, device_of(model)),
        load=load,
        pooled=pooled,
        progress=progress,
    )


def make_pooled(
    place: Workspace,
    settings: Settings,
    corpus: ChunkStore,
    model: Realm,
    templates: Templates,
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
        model.embedder,
        templates,
        place.cache,
        settings.refresh,
        autocast=pick_precision(settings, device_of(model)),
        processes=processes,
        progress=progress,
    )


def metrics_log(run: Run, settings: Settings, processes: Processes = ALONE) -> MetricsLog:
    """The run's metrics file, and TensorBoard beside it where the settings ask for it."""
    wanted = settings.loop.tensorboard and processes.is_first
    listener = tensorboard_listener(run.directory / "tensorboard") if wanted else None
    return MetricsLog(run.metrics_file, listener=listener, reads_only=not processes.is_first)


def draw(run: Run, progress: Progress) -> str | None:
    """The picture of a run; None without matplotlib, or where no step was logged."""
    try:
        return str(plot_run(run))
    except (MissingDependencyError, InputError) as error:
        progress.say(f"no picture was drawn: {error}")
        return None


def load_tokenizer(config: CorpusConfig) -> WordPiece | None:
    """The tokenizer that the settings name; None where it is to be learned from the documents."""
    if config.tokenizer == "train":
        return None
    if config.tokenizer == MINILM:
        return WordPiece.load(minilm_directory())
    return WordPiece.load(Path(config.tokenizer))


def span_tagger(settings: Settings, texts: ChunkStore) -> SpanTagger:
    """The tagger of the settings, with the texts' own titles as its gazetteer."""
    return make_tagger(
        settings.salient,
        texts=(document.text for document in texts.documents()),
        titles=(document.title for document in texts.documents()),
        seed=settings.seed,
    )
