"""openrealm's own format for a model alone: weights, settings, tokenizer, and what made it.

::

    openrealm.json          format, version, stage and step, the run's record, checksums
    settings.toml           the resolved configuration
    weights.safetensors     the model, as in a checkpoint
    tokenizer.json  vocab.txt
    README.md               model card; may be edited, and so has no checksum

Knows the files, not how settings become a model. A folder of this kind needs no corpus, and goes
to the hub as it is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

import openrealm
from openrealm.errors import CheckpointError, InputError
from openrealm.files import checksum
from openrealm.models.pretrained import load_weights, save_weights
from openrealm.tokenizer import WordPiece

FORMAT = 1
MANIFEST, SETTINGS, WEIGHTS = "openrealm.json", "settings.toml", "weights.safetensors"


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
        if manifest["format"] != FORMAT:
            raise CheckpointError(
                f"{directory} is of model format {manifest['format']}; this version reads {FORMAT}"
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
    save_weights(model, directory / WEIGHTS)
    tokenizer.save(directory)
    (directory / SETTINGS).write_text(settings, encoding="utf-8")
    files = sorted(path.name for path in directory.iterdir())
    manifest = {
        "format": FORMAT,
        "openrealm": openrealm.__version__,
        "stage": stage,
        "step": step,
        "run": dict(record),
        "checksums": {name: checksum(directory / name) for name in files},
    }
    (directory / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
