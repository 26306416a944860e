"""First weights of a run: of an earlier run, of an exported model, or of any other start.

The first two are *saved* models: they bring reader and towers, and their whole section `model`,
over which a new run may still set what does not change a shape.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

import openrealm
from openrealm.corpus.store import ChunkStore
from openrealm.errors import CheckpointError, ConfigError, shell_command
from openrealm.models.bert import BertConfig
from openrealm.models.pretrained import (
    Started,
    StartedSpanReader,
    build_model,
    copy_encoder,
    empty_span_reader,
    published_span_reader,
    start_model,
    tower_span_reader,
)
from openrealm.models.realm import Realm, device_of
from openrealm.models.span_reader import SpanReader
from openrealm.models.starts import PACKAGED_STARTS, SCRATCH
from openrealm.runs.checkpoints import (
    SETTINGS,
    Checkpoint,
    ModelFolder,
    checkpoints,
    is_model_folder,
    open_checkpoint,
    open_model_folder,
)
from openrealm.runs.folders import RunFolder, WorkspaceFolder
from openrealm.settings import (
    ChunkingConfig,
    Settings,
    checked,
    preset_settings,
    read_settings,
    resolve,
)
from openrealm.tokenizer import VOCABULARY_FILES, WordPiece, agree

_READING, _FINE_TUNED = "reading", "qa"
TOWER = "tower"
SPAN_READER = "span_reader"  # in a run's record: the shape of its reader of answers


@dataclass(frozen=True)
class SavedModel:
    """A trained model that a new run may begin with.

    Attributes:
        weights: Where its weights are.
        stage: Stage after which they were taken.
        settings: What it was trained with.
        tokenizer: Fingerprint of its vocabulary.
        vocabulary: Where that vocabulary is.
        record: What made it.
    """

    weights: Checkpoint | ModelFolder
    stage: str
    settings: Settings
    tokenizer: str
    vocabulary: Path
    record: Mapping[str, Any]

    def started(self, settings: Settings, tokenizer: WordPiece) -> Started:
        """A model of a new run's settings with these weights.

        Raises:
            ConfigError: The corpus has another vocabulary.
            CheckpointError: The settings ask for another shape.
        """
        if self.tokenizer != tokenizer.fingerprint:
            raise ConfigError(
                f"start '{self.weights.directory}' has another vocabulary than the corpus; ingest "
                "with its own (an existing corpus with --rechunk): "
                + shell_command("--set", f"corpus.tokenizer={self.vocabulary}")
            )
        model = build_model(
            settings.model,
            vocab_size=tokenizer.vocab_size,
            pad_id=tokenizer.pad_id,
            seed=settings.seed,
        )
        if self.stage == _READING:
            model.span_reader = recorded_span_reader(self.record)
        load_after(
            self.stage, self.weights, model, copies_encoder=not self.settings.model.own_reader
        )
        model.span_reader = None  # the new run's stage `reading` begins with one of its own
        return Started(config=settings.model, model=model, has_masked_lm_head=True)


@dataclass(frozen=True)
class Beginning:
    """What a run begins with.

    Attributes:
        settings: Of the run.
        saved: The saved model that its start names, opened once; None where that is something else.
    """

    settings: Settings
    saved: SavedModel | None

    @classmethod
    def of(cls, settings: Settings) -> Beginning:
        """Settings with the saved model that they name.

        Raises:
            CheckpointError: It is damaged, or cannot be pre-trained.
        """
        saved = saved_model(settings.start)
        if saved is not None:
            settings = replace(settings, start=str(saved.weights.directory))
        return cls(settings, saved)

    @property
    def ancestors(self) -> list[str]:
        """Where a saved model's own first weights came from, the nearest first."""
        if self.saved is None:
            return []
        record = self.saved.record
        return [str(record["start"]), *record.get("ancestors", ())]


def load_after(
    stage: str, weights: Checkpoint | ModelFolder, model: Realm, *, copies_encoder: bool
) -> None:
    """Loads the weights at the end of a stage, and does what follows it.

    Args:
        stage: Its name.
        weights: Where they are.
        model: Of their shape.
        copies_encoder: Whether the towers get the reader's BERT after the stage `mlm`.
    """
    weights.load_weights(model)
    follow(stage, model, copies_encoder=copies_encoder)


def follow(stage: str, model: Realm, *, copies_encoder: bool) -> None:
    """What follows the end of a stage in the weights: after `mlm` the towers may get its BERT."""
    if stage == "mlm" and copies_encoder:
        copy_encoder(model.reader, model.embedder)


def saved_model(start: str) -> SavedModel | None:
    """The saved model that a start names; None where the start is something else.

    Args:
        start: A run's folder (its newest weights of pre-training), a checkpoint's, an exported
            model's; or a BERT directory, a hub name, a word.

    Raises:
        CheckpointError: It is damaged, was fine-tuned, or has no weights of pre-training.
    """
    path = Path(start).absolute()
    if is_model_folder(path):
        return _of_model_folder(open_model_folder(path))
    if (path / "run.json").is_file():
        newest_first = checkpoints(RunFolder(path).checkpoints)
        pretrained = (c for c in newest_first if c.position.stage != _FINE_TUNED)
        checkpoint = next((c for c in pretrained if c.is_whole(only_weights=True)), None)
        if checkpoint is None:
            raise CheckpointError(f"start '{start}' is a run without a checkpoint of pre-training")
        return _of_checkpoint(checkpoint)
    if (path / "state.json").is_file():
        checkpoint = open_checkpoint(path)
        checkpoint.verify(only_weights=True)
        return _of_checkpoint(checkpoint)
    return None


def _of_model_folder(folder: ModelFolder) -> SavedModel:
    if folder.stage == _FINE_TUNED:
        raise CheckpointError(
            f"start '{folder.directory}' was fine-tuned on questions; export the run's weights "
            "before that: openrealm export WS --to openrealm --stage realm"
        )
    return SavedModel(
        weights=folder,
        stage=folder.stage,
        settings=read_settings(folder.settings_file),
        tokenizer=folder.tokenizer().fingerprint,
        vocabulary=folder.directory,
        record=folder.record,
    )


def _of_checkpoint(checkpoint: Checkpoint) -> SavedModel:
    stage = checkpoint.position.stage
    if stage == _FINE_TUNED:
        raise CheckpointError(
            f"start '{checkpoint.directory}' was fine-tuned on questions; take a checkpoint from "
            "before"
        )
    run = RunFolder(checkpoint.directory.parent.parent)
    corpus = WorkspaceFolder(run.directory.parent.parent).corpus
    record = run.read_record()
    return SavedModel(
        weights=checkpoint,
        stage=stage,
        settings=read_settings(run.settings_file),
        tokenizer=record["tokenizer"],
        vocabulary=next(corpus.glob("tokenizer-*"), corpus),
        record=record,
    )


def settings_for(
    start: str | None,
    *,
    preset: str | None,
    config: Path | None,
    assignments: Sequence[str],
    chunking: ChunkingConfig,
) -> Settings:
    """Settings of a new run; where its start is a saved model, with that one's `model`.

    Args:
        start: First weights; None for what the settings say.
        preset: Name of a preset.
        config: TOML file over the preset.
        assignments: ``section.key=value`` over both.
        chunking: How the corpus was cut, which no setting changes any more.

    Raises:
        ConfigError: An unknown preset, key, or value.
    """
    start = start or resolve(preset=preset, config=config, assignments=assignments).start
    # The start counts in what is checked: what is kept of it must not be random.
    base = begun_from(preset_settings(preset or "adapt"), start)
    base = replace(base, corpus=replace(base.corpus, chunking=chunking))
    settings = resolve(base=base, config=config, assignments=assignments)
    return checked(replace(settings, start=start))


def begun_from(settings: Settings, start: str) -> Settings:
    """The settings with a start; where that is a saved model, with its `model` and `corpus`.

    Only its settings are read: `Beginning.of` opens it.
    """
    own = _settings_of(start)
    if own is None:
        return replace(settings, start=start)
    return replace(settings, start=start, model=own.model, corpus=own.corpus)


def _settings_of(start: str) -> Settings | None:
    """The settings of the saved model that a start names; None where it is something else."""
    path = Path(start).absolute()
    if is_model_folder(path):
        return read_settings(path / SETTINGS)
    run = RunFolder(path if (path / "run.json").is_file() else path.parent.parent)
    if run.directory == path or (path / "state.json").is_file():
        return read_settings(run.settings_file)
    return None


def begin(beginning: Beginning, tokenizer: WordPiece) -> Started:
    """The model that the start gives, with its resolved shape.

    Args:
        beginning: Of the run.
        tokenizer: Of the corpus.

    Raises:
        CheckpointError: The start cannot be loaded, or has another shape than the settings.
        ConfigError: Its vocabulary is not the corpus's.
        MissingDependencyError: The package of the start is not installed.
    """
    settings = beginning.settings
    if beginning.saved is not None:
        return beginning.saved.started(settings, tokenizer)
    _require_vocabulary(settings.start, tokenizer)
    return start_model(
        settings.start,
        settings.model,
        vocab_size=tokenizer.vocab_size,
        pad_id=tokenizer.pad_id,
        mask_id=tokenizer.mask_id,
        seed=settings.seed,
    )


def _require_vocabulary(start: str, tokenizer: WordPiece) -> None:
    """Compares a folder's vocabulary with the corpus's: those of one size need not be the same.

    Raises:
        ConfigError: They differ.
    """
    folder = Path(start)
    has_vocabulary = any((folder / name).is_file() for name in VOCABULARY_FILES)
    if start in (*PACKAGED_STARTS, SCRATCH) or not has_vocabulary:
        return
    if not agree(WordPiece.load(folder), tokenizer):
        raise ConfigError(
            f"start '{start}' has another vocabulary than the corpus; ingest with its own (an "
            "existing corpus with --rechunk): "
            + shell_command("--set", f"corpus.tokenizer={start}")
        )


def first_model(
    beginning: Beginning,
    *,
    corpus: ChunkStore,
    texts: ChunkStore,
    started: Started | None = None,
) -> Realm:
    """The model that training begins with.

    Args:
        beginning: Of the run.
        corpus: What is retrieved from.
        texts: What is masked; may be the same object.
        started: What `begin` has given; asked again where it is None.

    Raises:
        CheckpointError: The start cannot be loaded, or is a saved model of another shape.
        ConfigError: Its vocabulary is another than the corpus's tokenizer's.
        MissingDependencyError: The package of the start is not installed.
    """
    started, shape = started or begin(beginning, corpus.tokenizer), beginning.settings.model
    stores = [corpus] if texts is corpus else [corpus, texts]
    if shape.embedder.known_tokens and beginning.saved is None:
        started.model.embedder.set_known(known_tokens(stores))
    if shape.token_prior or shape.copy_head:
        prior = shape.token_prior and not started.has_masked_lm_head
        started.model.reader.set_frequencies(token_prior(stores), prior=prior)
    return started.model


def first_span_reader(model: Realm, settings: Settings, tokenizer: WordPiece) -> StartedSpanReader:
    """The reader of answers that the settings name.

    Args:
        model: Whose chunk tower it may begin as.
        settings: Of the run.
        tokenizer: Of the corpus.

    Raises:
        CheckpointError: It cannot be loaded.
        ConfigError: Its vocabulary is another than the corpus's.
    """
    start = settings.qa.reader
    if start == TOWER:
        reader = tower_span_reader(model.embedder, seed=settings.seed)
        return StartedSpanReader(reader, has_scores=False)
    _require_vocabulary(start, tokenizer)
    started = published_span_reader(start, vocab_size=tokenizer.vocab_size, seed=settings.seed)
    started.reader.to(device_of(model))
    return started


def recorded_span_reader(record: Mapping[str, Any]) -> SpanReader:
    """A reader of answers of the shape that a run's record says, with random weights.

    Raises:
        CheckpointError: It does not say that.
    """
    try:
        return empty_span_reader(BertConfig(**record[SPAN_READER]))
    except (KeyError, TypeError) as error:
        raise CheckpointError(
            "these weights are of an earlier version, whose reader had another form; "
            "fine-tune again"
        ) from error


def first_record(
    beginning: Beginning, corpus: ChunkStore, *, texts: Sequence[Path] = ()
) -> dict[str, Any]:
    """What ``run.json`` says of a run from its beginning."""
    settings = beginning.settings
    return {
        "created": time.time(),
        "openrealm": openrealm.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "start": settings.start,
        "ancestors": beginning.ancestors,
        "seed": settings.seed,
        "corpus": corpus.fingerprint,
        "tokenizer": corpus.tokenizer.fingerprint,
        "chunks": len(corpus),
        "texts": [str(path) for path in texts],
        "stage_reports": [],
    }


# What first weights take from the texts -----------------------------------------------------------


def token_counts(stores: Sequence[ChunkStore]) -> npt.NDArray[np.int64]:
    """How often each token of the vocabulary ``(vocab,)`` stands in the titles and bodies."""
    counts = np.zeros(stores[0].tokenizer.vocab_size, dtype=np.int64)
    for store in stores:
        for row in range(len(store)):
            np.add.at(counts, store.title_ids(row), 1)
            np.add.at(counts, store.body_ids(row), 1)
    return counts


def known_tokens(stores: Sequence[ChunkStore]) -> torch.Tensor:
    """Which tokens of the vocabulary the texts have ``(vocab,)``; joints and masks count as had."""
    tokenizer = stores[0].tokenizer
    known = token_counts(stores) > 0
    known[[tokenizer.cls_id, tokenizer.sep_id, tokenizer.mask_id]] = True
    return torch.from_numpy(known)


def token_prior(stores: Sequence[ChunkStore]) -> torch.Tensor:
    """log p(token) ``(vocab,)`` in the texts; a token that they lack counts as had once."""
    counts = np.maximum(token_counts(stores), 1)
    return torch.from_numpy(np.log(counts / counts.sum())).float()
