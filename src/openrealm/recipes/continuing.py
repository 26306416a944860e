"""An earlier run as the start of a new one: its shape and its weights; knows no training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from openrealm.corpus.store import ChunkStore
from openrealm.errors import CheckpointError, ConfigError
from openrealm.models.pretrained import build_model, copy_encoder
from openrealm.models.realm import Realm
from openrealm.settings import (
    STAGES,
    Settings,
    checked,
    preset_settings,
    read_settings,
    resolve,
)
from openrealm.training.checkpoint import Checkpoint, checkpoints, open_checkpoint
from openrealm.workspace import Run, Workspace


@dataclass(frozen=True)
class EarlierRun:
    """Weights of an earlier run that a new one may begin with."""

    run: Run
    settings: Settings
    checkpoint: Checkpoint

    def model(self, settings: Settings, corpus: ChunkStore) -> Realm:
        """A model of a run's settings with these weights.

        Raises:
            ConfigError: The corpus has another vocabulary.
            CheckpointError: The settings ask for another shape.
        """
        if self.run.read_record()["tokenizer"] != corpus.tokenizer.fingerprint:
            raise ConfigError(
                f"start '{self.checkpoint.directory}' has another vocabulary than this corpus; "
                f"ingest into a new workspace with: --set corpus.tokenizer={self._vocabulary()}"
            )
        model = build_model(
            settings.model,
            vocab_size=corpus.tokenizer.vocab_size,
            pad_id=corpus.tokenizer.pad_id,
            seed=settings.seed,
        )
        self.checkpoint.load_weights(model)
        if self.checkpoint.position.stage == "mlm" and self.settings.mlm.share:
            copy_encoder(model.reader, model.embedder)  # what follows that stage
        return model

    def _vocabulary(self) -> Path:
        corpus = Workspace(self.run.directory.parent.parent).corpus
        return next(corpus.glob("tokenizer-*"), corpus)


def earlier_run(start: str) -> EarlierRun | None:
    """The run that a start names, by its folder or by that of one of its checkpoints.

    Of a run's folder the newest weights of pre-training are taken. None where the start is
    something else: a BERT directory, a hub name, a word.

    Raises:
        CheckpointError: It is one, and has no whole checkpoint of pre-training.
    """
    path = Path(start).absolute()
    if (path / "run.json").is_file():
        run = Run(path)
        found = (c for c in checkpoints(run.checkpoints) if c.position.stage in STAGES)
        checkpoint = next(found, None)
        if checkpoint is None:
            raise CheckpointError(f"start '{start}' is a run without a checkpoint of pre-training")
    elif (path / "state.json").is_file():
        run, checkpoint = Run(path.parent.parent), open_checkpoint(path)
        if checkpoint.position.stage not in STAGES:
            raise CheckpointError(
                f"start '{start}' has been fine-tuned on questions; take a checkpoint from before"
            )
    else:
        return None
    return EarlierRun(run, read_settings(run.settings_file), checkpoint)


def settings_after(
    start: str | None,
    *,
    preset: str | None,
    config: Path | None,
    assignments: Sequence[str],
) -> Settings:
    """Settings of a new run; where its start is an earlier run, with that one's model.

    Raises:
        ConfigError: An unknown preset, key, or value.
        CheckpointError: The earlier run has no whole checkpoint of pre-training.
    """
    start = start or resolve(preset=preset, config=config, assignments=assignments).start
    base, earlier = preset_settings(preset or "adapt"), earlier_run(start)
    if earlier is not None:
        base, start = replace(base, model=earlier.settings.model), str(earlier.checkpoint.directory)
    settings = resolve(base=base, config=config, assignments=assignments)
    return checked(replace(settings, start=start))
