"""What is kept of a model, as one folder that is whole or not there: the checkpoints of a run, and
a model alone, for others; knows files, and nothing of what is trained.

A checkpoint is weights, optimiser, random state and position. Here they are found; `saved_state`
writes and reads them.

::

    realm-000400/
      weights.safetensors     the model
      optimizer.safetensors   moments of every parameter, by number
      written.safetensors     what was written into the live index since its snapshot; only where
                              that is done
      state.json              stage, step, generation, random state of every process that trains,
                              checksums of the other files

Folders are staged and renamed. The newest good one is found even if a later one is torn.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import openrealm
from openrealm.errors import CheckpointError, InputError
from openrealm.files import checksum
from openrealm.tokenizer import WordPiece

if TYPE_CHECKING:
    from torch import nn


FORMAT, OLDEST = 2, 1
WEIGHTS, OPTIMIZER, STATE = "weights.safetensors", "optimizer.safetensors", "state.json"
WRITTEN = "written.safetensors"
MODEL_FORMAT = 1
MANIFEST, SETTINGS = "openrealm.json", "settings.toml"


@dataclass(frozen=True, kw_only=True)
class Position:
    """How far training is.

    Attributes:
        stage: Name of the stage.
        step: Steps of the stage that are done.
        total_step: Steps of all stages that are done.
        finished: Whether the stage is at its end.
        generation: Live snapshot, or 0 where there is none yet.
        index_step: Training step of that snapshot's weights.
        metrics_bytes: Length of the metrics file at this point.
        window: Sums of the metrics since the last line of that file.
        ordered_generation: Snapshot that is being made beside the training, or 0.
        ordered_step: Training step of that one's weights.
    """

    stage: str
    step: int
    total_step: int
    finished: bool
    generation: int
    index_step: int
    metrics_bytes: int
    window: dict[str, float]
    ordered_generation: int = 0
    ordered_step: int = 0

    @classmethod
    def without_steps(cls, stage: str) -> Position:
        """Where weights stand that no step of ours has made."""
        return cls(
            stage=stage,
            step=0,
            total_step=0,
            finished=True,
            generation=0,
            index_step=0,
            metrics_bytes=0,
            window={},
        )


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint on disk.

    Attributes:
        directory: Its folder.
        position: How far training was.
        checksums: SHA-256 of its files, by name.
    """

    directory: Path
    position: Position
    checksums: Mapping[str, str] = field(default_factory=dict)

    def verify(self, *, only_weights: bool = False) -> None:
        """Reads its files in whole and compares them with their checksums.

        Args:
            only_weights: Leave out what only a training goes on with: the moments of the optimiser
                are twice as large.

        Raises:
            CheckpointError: A file is missing or damaged.
        """
        for name, expected in self.checksums.items():
            path = self.directory / name
            if only_weights and name != WEIGHTS:
                continue
            if not path.is_file() or checksum(path) != expected:
                raise CheckpointError(f"{path} is missing or damaged")

    def is_whole(self, *, only_weights: bool = False) -> bool:
        """Whether `verify` finds nothing; reads the files in whole."""
        try:
            self.verify(only_weights=only_weights)
        except CheckpointError:
            return False
        return True

    def load_weights(self, module: nn.Module) -> None:
        """Puts the weights into a model of the same shape.

        Raises:
            CheckpointError: They are damaged or do not fit.
        """
        # Not at the top: who only looks at what is there needs no torch.
        from openrealm.models.pretrained import load_weights

        load_weights(module, self.directory / WEIGHTS)


def checkpoint_name(position: Position) -> str:
    """Name of the folder of a checkpoint."""
    return f"{position.stage}-{position.step:06d}"


def open_checkpoint(directory: Path) -> Checkpoint:
    """A checkpoint folder, whose files are not read yet (`Checkpoint.verify`).

    Raises:
        CheckpointError: It is torn, or of another format.
    """
    try:
        state = json.loads((directory / STATE).read_text(encoding="utf-8"))
        if not OLDEST <= state["format"] <= FORMAT:
            raise CheckpointError(
                f"{directory} is of checkpoint format {state['format']}; "
                f"this version reads {OLDEST} to {FORMAT}"
            )
        position = Position(**state["position"])
        checksums = dict(state["checksums"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{directory} is not a whole checkpoint ({error})") from error
    return Checkpoint(directory=directory, position=position, checksums=checksums)


def checkpoints(directory: Path) -> Iterator[Checkpoint]:
    """The checkpoints of a run, the newest first; torn folders are passed over.

    Their files are not read: whoever uses one asks first whether it `is_whole`.
    """
    whole = []
    for path in _folders(directory):
        try:
            whole.append(open_checkpoint(path))
        except CheckpointError:
            continue
    whole.sort(key=lambda c: (c.position.total_step, c.position.finished), reverse=True)
    yield from whole


def damaged_checkpoints(directory: Path) -> dict[Path, str]:
    """The folders that are passed over when weights are sought, with a sentence why."""
    problems = {}
    for path in _folders(directory):
        try:
            open_checkpoint(path).verify()
        except CheckpointError as error:
            problems[path] = f"{error}; it is passed over"
    return problems


def _folders(directory: Path) -> list[Path]:
    if not directory.is_dir():
        return []
    return sorted(p for p in directory.iterdir() if p.is_dir() and not p.name.startswith("."))


def prune(directory: Path, *, keep_last: int) -> None:
    """Removes older checkpoints; the end of each stage and the newest few stay."""
    unfinished = [c for c in checkpoints(directory) if not c.position.finished]
    for checkpoint in unfinished[keep_last:]:
        shutil.rmtree(checkpoint.directory, ignore_errors=True)
    for leftover in directory.glob(".staging-*"):
        shutil.rmtree(leftover, ignore_errors=True)


# A model alone, in a format of our own ------------------------------------------------------------

# ::
#
#     openrealm.json          format, version, stage and step, the run's record, checksums
#     settings.toml           the resolved configuration
#     weights.safetensors     the model, as in a checkpoint
#     tokenizer.json  vocab.txt
#     README.md               model card; may be edited, and so has no checksum
#
# A folder of this kind needs no corpus, and goes to the hub as it is.


@dataclass(frozen=True)
class ModelFolder:
    """A folder that is whole.

    Attributes:
        directory: Where it is.
        stage: Stage after which the weights were taken.
        step: Training steps of all stages until then.
        record: What made the run: start, seed, versions, fingerprints, stage reports.
    """

    directory: Path
    stage: str
    step: int
    record: Mapping[str, Any]

    @property
    def settings_file(self) -> Path:
        """Resolved configuration."""
        return self.directory / SETTINGS

    def tokenizer(self) -> WordPiece:
        """The tokenizer of the model's ids.

        Raises:
            CheckpointError: It is damaged.
        """
        try:
            return WordPiece.load(self.directory)
        except InputError as error:
            raise CheckpointError(f"the tokenizer of {self.directory} is damaged") from error

    def load_weights(self, model: nn.Module) -> None:
        """Puts the weights into a model of the same shape.

        Raises:
            CheckpointError: They do not fit.
        """
        from openrealm.models.pretrained import load_weights

        load_weights(model, self.directory / WEIGHTS)


def is_model_folder(path: Path) -> bool:
    """Whether a folder says that it is of this kind; `open_model_folder` finds out if it is."""
    return (path / MANIFEST).is_file()


def open_model_folder(directory: Path) -> ModelFolder:
    """Opens and checks a folder.

    Raises:
        CheckpointError: It is of another kind or format, or a file is missing or damaged.
    """
    try:
        manifest = json.loads((directory / MANIFEST).read_text(encoding="utf-8"))
        if manifest["format"] != MODEL_FORMAT:
            raise CheckpointError(
                f"{directory} is of model format {manifest['format']}; "
                f"this version reads {MODEL_FORMAT}"
            )
        checksums: dict[str, str] = manifest["checksums"]
        folder = ModelFolder(
            directory=directory,
            stage=manifest["stage"],
            step=manifest["step"],
            record=manifest["run"],
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{directory} is no model that openrealm exported ({error}); "
            "make one: openrealm export WS --to openrealm"
        ) from error
    for name in {SETTINGS, WEIGHTS, *checksums}:
        path = directory / Path(name).name
        if not path.is_file() or checksum(path) != checksums.get(name):
            raise CheckpointError(f"{path} is missing or damaged; export the model again")
    return folder


def write_model_folder(
    directory: Path,
    model: nn.Module,
    tokenizer: WordPiece,
    *,
    settings: str,
    stage: str,
    step: int,
    record: Mapping[str, Any],
) -> None:
    """Writes all but the card into an empty folder; the manifest comes last."""
    from openrealm.models.pretrained import save_weights

    save_weights(model, directory / WEIGHTS)
    tokenizer.save(directory)
    (directory / SETTINGS).write_text(settings, encoding="utf-8")
    files = sorted(path.name for path in directory.iterdir())
    manifest = {
        "format": MODEL_FORMAT,
        "openrealm": openrealm.__version__,
        "stage": stage,
        "step": step,
        "run": dict(record),
        "checksums": {name: checksum(directory / name) for name in files},
    }
    (directory / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
