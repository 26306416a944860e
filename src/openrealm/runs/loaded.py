"""A run with its weights and its index, ready to be asked: what every recipe that reads one begins
with; and the start as it is, where there is no such run.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from types import MappingProxyType
from typing import Any

import torch

from openrealm.corpus.store import ChunkStore
from openrealm.errors import (
    CheckpointError,
    ConfigError,
    CorpusError,
    InputError,
    MissingDependencyError,
    shell_command,
)
from openrealm.index.snapshot import Snapshot, find_snapshot, remove_superseded
from openrealm.models.pretrained import build_model, materialized
from openrealm.models.realm import Realm, device_of
from openrealm.models.starts import packaged_start
from openrealm.processes import ALONE, Processes
from openrealm.progress import Progress
from openrealm.retrieval.embedding import TextEncoder, snapshot_key
from openrealm.retrieval.live_index import LiveIndex, Loader
from openrealm.runs.checkpoints import Checkpoint, Position, checkpoints
from openrealm.runs.first_weights import (
    SPAN_READER,
    TOWER,
    Beginning,
    first_model,
    first_span_reader,
    load_after,
    recorded_span_reader,
    settings_for,
)
from openrealm.runs.folders import RunFolder, WorkspaceFolder, open_corpus
from openrealm.runs.parts import make_encoder, make_loader, make_maker, make_pooled, pick_device
from openrealm.settings import Settings, read_settings
from openrealm.tokenizer import WordPiece, agree

logger = logging.getLogger(__name__)

START = "start"
PRETRAINED = "pretrained"
PRESET = "adapt"  # whose start is asked where no run can be
# Best first: which weights find chunks, which answer questions, and which fill masks. Those of the
# start are kept as a checkpoint where nothing was trained.
PRETRAINED_STAGES = ("reading", "realm", "warmup", "ict", "mlm", START)
ALL_STAGES = ("qa", *PRETRAINED_STAGES)
FILLING_STAGES = ("reading", "realm", "warmup", "mlm", START)


@dataclass(frozen=True)
class LoadedModel:
    """A run with its model; ``checkpoint`` says how far its weights are."""

    workspace: WorkspaceFolder
    run: RunFolder
    settings: Settings
    corpus: ChunkStore
    model: Realm
    encoder: TextEncoder
    checkpoint: Checkpoint

    def with_index(self, live: LiveIndex) -> LoadedRun:
        """The same with an index to search."""
        return LoadedRun(
            run=self.run,
            settings=self.settings,
            corpus=self.corpus,
            model=self.model,
            encoder=self.encoder,
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
        snapshot = matching_snapshot(self.run, self.corpus, self.model)
        # All look before one of them makes it.
        if not processes.any(snapshot is None):
            assert snapshot is not None
            return snapshot
        if trains:
            return self._made(progress, processes)
        with self.run.embedding_alone():  # another command may be making it
            self.run.require_not_in_training(self.checkpoint.position.stage)
            snapshot = matching_snapshot(self.run, self.corpus, self.model)
            if snapshot is None:
                snapshot = self._made(progress, processes)
                self.remove_superseded(snapshot)
            return snapshot

    def remove_superseded(self, by: Snapshot) -> None:
        """Removes snapshots of these weights over what the corpus was, and keeps the checkpoints'.

        Otherwise each change of a corpus would leave one more. Where this process has opened the
        corpus before others changed it, it is theirs that counts.
        """
        if ChunkStore.open(self.corpus.directory).fingerprint != self.corpus.fingerprint:
            return
        needed = {c.position.generation for c in checkpoints(self.run.checkpoints)}
        remove_superseded(self.run.snapshots, by, keep=needed)

    def _made(self, progress: Progress, processes: Processes) -> Snapshot:
        maker = make_maker(
            self.run,
            self.settings,
            self.corpus,
            self.encoder,
            # To embed with; nothing is searched.
            load=Loader(self.corpus, self.settings.retrieval, device_of(self.model), processes),
            pooled=make_pooled(
                self.workspace,
                self.settings,
                self.corpus,
                self.encoder,
                processes,
                progress=progress,
            ),
            progress=progress,
        )
        return maker.now(self.checkpoint.position.total_step)


@dataclass(frozen=True)
class LoadedRun:
    """A run with its model and index, ready to answer."""

    run: RunFolder
    settings: Settings
    corpus: ChunkStore
    model: Realm
    live: LiveIndex
    encoder: TextEncoder
    checkpoint: Checkpoint


def load_model(
    workspace: WorkspaceFolder,
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
    checkpoint = _newest_of(run, stages, verify=True)
    if checkpoint is not None:
        model = empty_model(
            settings, corpus.tokenizer, stage=checkpoint.position.stage, record=record
        )
        stage, copies_encoder = checkpoint.position.stage, not settings.model.own_reader
        load_after(stage, checkpoint, model, copies_encoder=copies_encoder)
    elif tuple(stages) == (START,):
        checkpoint, model = _start_of(run), _first_of(run, settings, corpus)
    else:
        raise _no_checkpoint(run, stages)
    model.to(pick_device(settings))
    return LoadedModel(
        workspace=workspace,
        run=run,
        settings=settings,
        corpus=corpus,
        model=model,
        encoder=make_encoder(settings, corpus, model.embedder),
        checkpoint=checkpoint,
    )


def load_run(
    workspace: WorkspaceFolder,
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
    add_span_reader(loaded)
    settings = loaded.settings
    load = make_loader(workspace, settings, loaded.corpus, loaded.model, processes, progress)
    return loaded.with_index(load(loaded.snapshot(progress, processes, trains=trains)))


def _start_of(run: RunFolder) -> Checkpoint:
    """Where a run stands before its first step."""
    return Checkpoint(directory=run.directory, position=Position.without_steps(START))


def _first_of(run: RunFolder, settings: Settings, corpus: ChunkStore) -> Realm:
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
    return first_model(Beginning.of(settings), corpus=corpus, texts=texts)


def newest_checkpoint(run: RunFolder, stages: Sequence[str], *, verify: bool = True) -> Checkpoint:
    """The newest checkpoint of the first of the stages that has one.

    Args:
        run: The run.
        stages: Names of stages, the best first.
        verify: Read the weights in whole and pass over those that are damaged.

    Raises:
        InputError: None has.
    """
    newest = _newest_of(run, stages, verify=verify)
    if newest is None:
        raise _no_checkpoint(run, stages)
    return newest


def _newest_of(run: RunFolder, stages: Sequence[str], *, verify: bool) -> Checkpoint | None:
    newest_first = list(checkpoints(run.checkpoints))
    for stage in stages:
        for checkpoint in newest_first:
            of_stage = checkpoint.position.stage == stage
            if of_stage and (not verify or checkpoint.is_whole(only_weights=True)):
                return checkpoint
    return None


def _no_checkpoint(run: RunFolder, stages: Sequence[str]) -> InputError:
    workspace = run.directory.parent.parent
    return InputError(
        f"run '{run.name}' has no checkpoint of {' or '.join(stages)}; go on with: "
        + shell_command("openrealm", "pretrain", workspace, "--run", run.name, "--resume")
    )


def matching_snapshot(run: RunFolder, corpus: ChunkStore, model: Realm) -> Snapshot | None:
    """A published snapshot of these weights over this corpus, if there is one."""
    return find_snapshot(run.snapshots, snapshot_key(corpus, model.embedder))


def empty_model(
    settings: Settings,
    tokenizer: WordPiece,
    *,
    stage: str,
    record: Mapping[str, Any] = MappingProxyType({}),
) -> Realm:
    """A model of the right shape for the weights after a stage, whose numbers mean nothing yet.

    Args:
        settings: Of its run.
        tokenizer: Of its vocabulary.
        stage: After which the weights were written.
        record: Of its run; it says what shape a reader of answers has.

    Raises:
        CheckpointError: It should say that, and does not.
    """
    with torch.device("meta"):  # random first weights would take longer than reading the real ones
        model = build_model(
            settings.model,
            vocab_size=tokenizer.vocab_size,
            pad_id=tokenizer.pad_id,
            seed=settings.seed,
        )
        if stage == "qa":
            model.embedder.unshare()
        if stage in ("reading", "qa") and settings.qa.has_span_reader:
            model.span_reader = recorded_span_reader(record)
    return materialized(model)


def begin_span_reader(model: Realm, settings: Settings, tokenizer: WordPiece) -> dict[str, Any]:
    """Gives a model the reader of answers that the settings name, where it has none yet.

    Returns:
        What the run's record has to say of it.

    Raises:
        CheckpointError: The reader's start cannot be loaded.
        ConfigError: It has another vocabulary.
    """
    if model.span_reader is None:
        model.span_reader = first_span_reader(model, settings, tokenizer).reader
    return {SPAN_READER: asdict(model.span_reader.bert.config)}


def prepare_for_questions(model: Realm, settings: Settings, tokenizer: WordPiece) -> dict[str, Any]:
    """Gives a pre-trained model the parts that fine-tuning trains.

    Queries get a tower of their own, so that chunk embeddings stay those of the snapshot; answers
    get the reader that the stage `reading` has trained, or else the one that the settings name.

    Returns:
        What the run's record has to say of it.

    Raises:
        CheckpointError: The reader's start cannot be loaded.
        ConfigError: It has another vocabulary.
    """
    model.embedder.unshare()
    return begin_span_reader(model, settings, tokenizer) if settings.qa.has_span_reader else {}


def add_span_reader(loaded: LoadedModel) -> None:
    """Gives a model that was not fine-tuned the reader that its settings name, if that can answer.

    What is started from a BERT that answers questions already answers before it is trained further.
    """
    model, settings = loaded.model, loaded.settings
    if model.span_reader is not None or settings.qa.reader in (PRETRAINED, TOWER):
        return
    try:
        started = first_span_reader(model, settings, loaded.corpus.tokenizer)
    except (CheckpointError, ConfigError, MissingDependencyError) as error:
        logger.warning("no answers, only search: %s", error)
        return
    if started.has_scores:
        model.span_reader = started.reader


# Where no run can be asked ------------------------------------------------------------------------

# The start as it is, that of the preset `adapt`: a sentence encoder, and words in common with the
# weight that the preset gives them. Only its embeddings of the corpus are kept, in the workspace's
# cache; its weights are made again, and nothing of it counts as a run.


def untrained_settings(corpus: ChunkStore) -> Settings:
    """The settings of the start over a corpus.

    Raises:
        ConfigError: The corpus has another vocabulary than the start, or chunks that are too long.
        MissingDependencyError: The start is not installed.
    """
    settings = settings_for(
        None, preset=PRESET, config=None, assignments=(), chunking=corpus.chunking
    )
    directory = packaged_start(settings.start)
    assert directory is not None
    if not agree(WordPiece.load(directory), corpus.tokenizer):
        command = shell_command(
            "openrealm", "pretrain", corpus.directory.parent, "--preset", "tiny"
        )
        raise ConfigError(
            "the corpus has a vocabulary of its own, which a model has to learn first: " + command
        )
    return settings


def why_untrained_fails(corpus: ChunkStore) -> str | None:
    """Why the start cannot be used over a corpus; None where it can."""
    try:
        untrained_settings(corpus)
    except (ConfigError, MissingDependencyError) as error:
        return str(error)
    return None


def load_untrained_run(workspace: WorkspaceFolder, *, progress: Progress) -> LoadedRun:
    """What `load_untrained` gives, with a reader of answers where there is one, and an index."""
    loaded = load_untrained(workspace, open_corpus(workspace))
    add_span_reader(loaded)
    load = make_loader(workspace, loaded.settings, loaded.corpus, loaded.model, progress=progress)
    return loaded.with_index(load(loaded.snapshot(progress)))


def load_untrained(workspace: WorkspaceFolder, corpus: ChunkStore) -> LoadedModel:
    """The model that the start makes of a corpus.

    Raises:
        ConfigError: The corpus has another vocabulary than the start, or chunks that are too long.
        MissingDependencyError: The start is not installed.
    """
    settings = untrained_settings(corpus)
    model = first_model(Beginning(settings, saved=None), corpus=corpus, texts=corpus)
    model.to(pick_device(settings))
    # Not among the runs: only its snapshots are ever written.
    folder = RunFolder(workspace.cache / START)
    folder.directory.mkdir(parents=True, exist_ok=True)
    return LoadedModel(
        workspace=workspace,
        run=folder,
        settings=settings,
        corpus=corpus,
        model=model,
        encoder=make_encoder(settings, corpus, model.embedder),
        checkpoint=Checkpoint(directory=folder.directory, position=Position.without_steps(START)),
    )
