"""Settings and folders to live objects: what every recipe begins with."""

from __future__ import annotations

import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

import openrealm
from openrealm.answering import Answerer
from openrealm.corpus.store import ChunkStore
from openrealm.data.salient import SpanTagger, make_tagger
from openrealm.errors import ConfigError, CorpusError, InputError, MissingDependencyError
from openrealm.index.snapshot import Snapshot, find_snapshot
from openrealm.models.inputs import Templates
from openrealm.models.pretrained import MINILM, build_model, minilm_directory, tower_reader
from openrealm.models.realm import Realm, device_of
from openrealm.plots import plot_run
from openrealm.processes import ALONE, Processes
from openrealm.progress import Progress
from openrealm.recipes.frequencies import known_tokens, token_prior
from openrealm.recipes.starting import ancestors, begin, load_after, saved_model
from openrealm.recipes.wording import lexical_of
from openrealm.retrieval.embedding import snapshot_key
from openrealm.retrieval.retriever import Retriever
from openrealm.settings import CorpusConfig, Settings, read_settings
from openrealm.tokenizer import WordPiece
from openrealm.training.checkpoint import Checkpoint, Position, checkpoints
from openrealm.training.metrics_log import MetricsLog, tensorboard_listener
from openrealm.training.refresh import InlineRefresh, LiveIndex, Loader, PooledVectors
from openrealm.workspace import Run, Workspace

START = "start"
# Best first: which weights find chunks, which answer questions, and which fill masks. Those of the
# start are kept as a checkpoint where nothing was trained.
PRETRAINED_STAGES = ("realm", "warmup", "ict", "mlm", START)
ALL_STAGES = ("qa", *PRETRAINED_STAGES)
FILLING_STAGES = ("realm", "warmup", "mlm", START)


@dataclass(frozen=True)
class LoadedModel:
    """A run with its model; ``checkpoint`` says how far its weights are."""

    place: Workspace
    run: Run
    settings: Settings
    corpus: ChunkStore
    model: Realm
    templates: Templates
    checkpoint: Checkpoint

    def with_index(self, live: LiveIndex) -> LoadedRun:
        """The same with an index to search."""
        return LoadedRun(
            run=self.run,
            settings=self.settings,
            corpus=self.corpus,
            model=self.model,
            templates=self.templates,
            checkpoint=self.checkpoint,
            live=live,
        )

    def snapshot(
        self, progress: Progress, processes: Processes = ALONE, *, trains: bool = False
    ) -> Snapshot:
        """The snapshot of these weights over the present corpus; made where there is none.

        Args:
            progress: Where to tell how far it is.
            processes: Who makes it together.
            trains: Whether these processes are those that train in the run.

        Raises:
            CheckpointError: Others train in the run, who number and remove its snapshots.
        """
        found = matching_snapshot(self.run, self.corpus, self.model)
        # All look before one of them makes it.
        if not processes.any(found is None):
            assert found is not None
            return found
        if trains:
            return self._made(progress, processes)
        with self.run.embedding_alone():  # another command may be making it
            self.run.require_untrained_in(self.checkpoint.position.stage)
            found = matching_snapshot(self.run, self.corpus, self.model)
            return self._made(progress, processes) if found is None else found

    def _made(self, progress: Progress, processes: Processes) -> Snapshot:
        refresh = make_refresh(
            self.run,
            self.settings,
            self.corpus,
            self.model,
            self.templates,
            # To embed with; nothing is searched.
            load=Loader(self.corpus, self.settings.retrieval, device_of(self.model), processes),
            pooled=make_pooled(
                self.place,
                self.settings,
                self.corpus,
                self.model,
                self.templates,
                processes,
                progress=progress,
            ),
            progress=progress,
        )
        return refresh.now(self.checkpoint.position.total_step)


@dataclass(frozen=True)
class LoadedRun:
    """A run with its model and index, ready to answer."""

    run: Run
    settings: Settings
    corpus: ChunkStore
    model: Realm
    live: LiveIndex
    templates: Templates
    checkpoint: Checkpoint

    def answerer(self) -> Answerer:
        """What answers questions with this run."""
        return make_answerer(
            self.settings, self.model, self.corpus, self.live.retriever, self.templates
        )


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
    )


def open_corpus(workspace: Workspace) -> ChunkStore:
    """The workspace's knowledge corpus.

    Raises:
        CorpusError: Nothing was ingested, or the store is damaged or empty.
    """
    workspace.require_corpus()
    store = ChunkStore.open(workspace.corpus)
    if not len(store):
        raise CorpusError(
            f"the corpus of '{workspace.directory}' has no chunk; ingest some documents first"
        )
    return store


def load_tokenizer(config: CorpusConfig) -> WordPiece | None:
    """The tokenizer that the settings name; None where it is to be learned from the documents."""
    if config.tokenizer == "train":
        return None
    if config.tokenizer == MINILM:
        return WordPiece.load(minilm_directory())
    return WordPiece.load(Path(config.tokenizer))


def make_templates(settings: Settings, corpus: ChunkStore) -> Templates:
    """Templates with the lengths of the model and of the store."""
    return Templates.of(
        corpus.tokenizer,
        query_tokens=settings.model.query_tokens,
        chunk_tokens=corpus.chunking.chunk_tokens,
        query_masks=settings.model.query_masks,
    )


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


def span_tagger(settings: Settings, texts: ChunkStore) -> SpanTagger:
    """The tagger of the settings, with the texts' own titles as its gazetteer."""
    return make_tagger(
        settings.salient,
        texts=(document.text for document in texts.documents()),
        titles=(document.title for document in texts.documents()),
        seed=settings.seed,
    )


def first_model(settings: Settings, *, corpus: ChunkStore, texts: ChunkStore) -> Realm:
    """The model that training begins with.

    Args:
        settings: Of the run.
        corpus: What is retrieved from.
        texts: What is masked; may be the same object.

    Raises:
        CheckpointError: The start cannot be loaded, or is a saved model of another shape.
        ConfigError: Its vocabulary is another than the corpus's tokenizer's.
        MissingDependencyError: ``minilm`` is not installed.
    """
    started, shape = begin(settings, corpus.tokenizer), settings.model
    stores = [corpus] if texts is corpus else [corpus, texts]
    if shape.embedder.known_tokens and saved_model(settings.start) is None:
        started.model.embedder.set_known(known_tokens(stores))
    if shape.token_prior or shape.copy_head:
        prior = shape.token_prior and not started.has_masked_lm_head
        started.model.reader.set_frequencies(token_prior(stores), prior=prior)
    return started.model


def first_record(
    settings: Settings, corpus: ChunkStore, *, texts: Sequence[Path] = ()
) -> dict[str, Any]:
    """What ``run.json`` says of a run from its beginning."""
    return {
        "created": time.time(),
        "openrealm": openrealm.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "start": settings.start,
        "ancestors": ancestors(settings.start),
        "seed": settings.seed,
        "corpus": corpus.fingerprint,
        "tokenizer": corpus.tokenizer.fingerprint,
        "chunks": len(corpus),
        "texts": [str(path) for path in texts],
        "stage_reports": [],
    }


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


def make_refresh(
    run: Run,
    settings: Settings,
    corpus: ChunkStore,
    model: Realm,
    templates: Templates,
    *,
    load: Loader,
    pooled: PooledVectors | None = None,
    progress: Progress,
) -> InlineRefresh:
    """Refreshing in the training processes."""
    return InlineRefresh(
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


def load_model(
    workspace: Workspace,
    *,
    name: str | None,
    stages: Sequence[str] = ALL_STAGES,
) -> LoadedModel:
    """A run's newest weights of the first of the stages that it has.

    The stage ``start`` alone means the weights that training began with, which are made again where
    they were not kept.

    Raises:
        InputError: There is no such run, or it has no checkpoint of these stages.
        CorpusError: The corpus was ingested with another tokenizer since.
    """
    corpus = open_corpus(workspace)
    run = workspace.run(name)
    settings = read_settings(run.settings_file)
    record = run.read_record()
    if record["tokenizer"] != corpus.tokenizer.fingerprint:
        raise CorpusError(
            f"run '{run.name}' was trained with another vocabulary than the corpus has now; "
            "train a new run"
        )
    if tuple(stages) == (START,) and not _has_kept_start(run):
        checkpoint, model = _start_of(run), _first_of(run, settings, corpus)
    else:
        checkpoint = newest_checkpoint(run, stages)
        model = empty_model(settings, corpus.tokenizer, stage=checkpoint.position.stage)
        stage, share = checkpoint.position.stage, settings.mlm.share
        load_after(stage, checkpoint, model, share=share)
    return LoadedModel(
        place=workspace,
        run=run,
        settings=settings,
        corpus=corpus,
        model=model.to(pick_device(settings)),
        templates=make_templates(settings, corpus),
        checkpoint=checkpoint,
    )


def load_run(
    workspace: Workspace,
    *,
    name: str | None,
    stages: Sequence[str] = ALL_STAGES,
    processes: Processes = ALONE,
    trains: bool = False,
    progress: Progress,
) -> LoadedRun:
    """What `load_model` gives, with an index of these weights over the present corpus.

    Raises:
        CheckpointError: The index has to be made, and others than this process (``trains``) train
            in the run.
    """
    loaded = load_model(workspace, name=name, stages=stages)
    settings = loaded.settings
    load = make_loader(workspace, settings, loaded.corpus, loaded.model, processes, progress)
    return loaded.with_index(load(loaded.snapshot(progress, processes, trains=trains)))


def _has_kept_start(run: Run) -> bool:
    return any(checkpoint.position.stage == START for checkpoint in checkpoints(run.checkpoints))


def _start_of(run: Run) -> Checkpoint:
    """Where a run stands before its first step."""
    return Checkpoint(directory=run.directory, position=Position.without_steps(START))


def _first_of(run: Run, settings: Settings, corpus: ChunkStore) -> Realm:
    """The weights that a run began with.

    Raises:
        CorpusError: The corpus has changed, and with it the frequencies that some are made of.
    """
    record = run.read_record()
    if record["corpus"] != corpus.fingerprint:
        raise CorpusError(
            f"the corpus has changed since run '{run.name}' began, so that its first weights "
            "cannot be made again; measure one of its stages"
        )
    # Fine-tuning may have been given others.
    settings = replace(settings, start=record["start"], seed=record["seed"])
    texts = ChunkStore.open(run.texts) if run.texts.is_dir() else corpus
    return first_model(settings, corpus=corpus, texts=texts)


def newest_checkpoint(run: Run, stages: Sequence[str], *, verify: bool = True) -> Checkpoint:
    """The newest checkpoint of the first of the stages that has one.

    Args:
        run: The run.
        stages: Names of stages, the best first.
        verify: Read every byte of the checkpoints and pass over those that are damaged.

    Raises:
        InputError: None has.
    """
    found = list(checkpoints(run.checkpoints, verify=verify))
    for stage in stages:
        for checkpoint in found:
            if checkpoint.position.stage == stage:
                return checkpoint
    raise InputError(
        f"run '{run.name}' has no checkpoint of {' or '.join(stages)}; go on with: "
        f"openrealm pretrain {run.directory.parent.parent} --run {run.name} --resume"
    )


def matching_snapshot(run: Run, corpus: ChunkStore, model: Realm) -> Snapshot | None:
    """A published snapshot of these weights over this corpus, if there is one."""
    return find_snapshot(run.snapshots, snapshot_key(corpus, model.embedder))


def empty_model(settings: Settings, tokenizer: WordPiece, *, stage: str) -> Realm:
    """A model of the right shape for the weights after a stage."""
    model = build_model(
        settings.model,
        vocab_size=tokenizer.vocab_size,
        pad_id=tokenizer.pad_id,
        seed=settings.seed,
    )
    if stage == "qa":
        prepare_for_questions(model, settings)
    return model


def prepare_for_questions(model: Realm, settings: Settings) -> None:
    """Gives a pre-trained model the parts that fine-tuning trains.

    Queries get a tower of their own, so that chunk embeddings stay those of the snapshot; the
    reader is replaced where the settings say so.
    """
    model.embedder.unshare()
    if settings.qa.reader == "tower":
        model.reader = tower_reader(model.embedder, settings.model.span_head, seed=settings.seed)


def require_files(paths: Sequence[Path]) -> None:
    """Checks that every path is there.

    Raises:
        InputError: One is not.
    """
    for path in paths:
        if not path.exists():
            raise InputError(f"there is no file or folder '{path}'")
