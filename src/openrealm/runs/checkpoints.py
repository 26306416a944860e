"""Checkpoints: weights, optimiser, random state and position, as one folder that is whole or not
there; knows nothing of what is trained.

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

import base64
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from openrealm.errors import CheckpointError
from openrealm.files import checksum, sync_directory, write_atomic
from openrealm.models.pretrained import load_weights, save_weights
from openrealm.models.tensor_files import save_tensors

FORMAT, OLDEST = 2, 1
_WEIGHTS, _OPTIMIZER, _STATE = "weights.safetensors", "optimizer.safetensors", "state.json"
_WRITTEN = "written.safetensors"


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
            if only_weights and name != _WEIGHTS:
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
        load_weights(module, self.directory / _WEIGHTS)

    def load_training_state(self, optimizer: torch.optim.Optimizer, *, rank: int = 0) -> bool:
        """Puts moments and the random state back; says whether a process of this rank had one.

        Args:
            optimizer: With the parameters that were trained.
            rank: Number of this process among those that train together.

        Raises:
            CheckpointError: The optimiser has other parameters than the saved one, or the
                checkpoint is the end of a stage, which has no moments.
        """
        try:
            moments = load_file(self.directory / _OPTIMIZER)
            state = json.loads((self.directory / _STATE).read_text(encoding="utf-8"))
        except (OSError, ValueError, SafetensorError) as error:
            raise CheckpointError(
                f"{self.directory} holds no training state to go on from ({error})"
            ) from error
        parameters = _numbered(optimizer)
        steps: dict[str, int] = state["optimizer_steps"]
        if state["optimizer_shapes"] != [list(p.shape) for _, p in parameters]:
            raise CheckpointError(
                f"{self.directory} was saved with other trainable parameters; "
                "resume with the configuration of the run"
            )
        for number, parameter in parameters:
            if str(number) in steps:
                optimizer.state[parameter] = {
                    "step": steps[str(number)],
                    "exp_avg": moments[f"{number}.exp_avg"].to(parameter.device),
                    "exp_avg_sq": moments[f"{number}.exp_avg_sq"].to(parameter.device),
                }
        # Format 1 was of one process.
        random = state.get("random") or [state["torch_rng"]]
        if rank >= len(random):
            return False
        set_random_state(_bytes_to_state(random[rank]))
        return True

    def written(self) -> dict[str, torch.Tensor]:
        """What was written into the live index since its snapshot; nothing in older checkpoints.

        Raises:
            CheckpointError: The file is damaged.
        """
        path = self.directory / _WRITTEN
        try:
            return load_file(path) if path.is_file() else {}
        except (OSError, SafetensorError) as error:
            raise CheckpointError(f"{path} is damaged ({error})") from error


def save_checkpoint(
    directory: Path,
    module: nn.Module,
    optimizer: torch.optim.Optimizer | None,
    position: Position,
    *,
    random: Sequence[torch.Tensor] | None = None,
    written: Mapping[str, torch.Tensor] | None = None,
) -> Checkpoint:
    """Writes one checkpoint; nothing is visible before all of it is on disk.

    Args:
        directory: Folder of the run's checkpoints.
        module: The model.
        optimizer: None for the end of a stage, where nothing goes on from its moments.
        position: How far training is.
        random: The `random_state` of every process that trains; this one's alone by default.
        written: What was written into the live index since its snapshot; None where that is not
            done.
    """
    name = checkpoint_name(position)
    staging, final = directory / f".staging-{name}", directory / name
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    try:
        save_weights(module, staging / _WEIGHTS)
        steps: dict[str, int] = {}
        shapes: list[list[int]] = []
        if optimizer is not None:
            steps = _save_moments(optimizer, staging / _OPTIMIZER)
            shapes = [list(p.shape) for _, p in _numbered(optimizer)]
        if written is not None:
            save_tensors(written, staging / _WRITTEN)
        files = sorted(p.name for p in staging.iterdir())
        state = {
            "format": FORMAT,
            "position": asdict(position),
            "optimizer_steps": steps,
            "optimizer_shapes": shapes,
            "random": [_state_to_bytes(one) for one in random or [random_state()]],
            "checksums": {name: checksum(staging / name) for name in files},
        }
        write_atomic(staging / _STATE, json.dumps(state, indent=1).encode())
        if final.exists():
            shutil.rmtree(final)
        os.replace(staging, final)
    finally:  # a full disk has no room for half a checkpoint
        shutil.rmtree(staging, ignore_errors=True)
    sync_directory(directory)
    return Checkpoint(directory=final, position=position)


def checkpoint_name(position: Position) -> str:
    """Name of the folder of a checkpoint."""
    return f"{position.stage}-{position.step:06d}"


def random_state() -> torch.Tensor:
    """What torch draws from next in this process, on the processor and on its GPU, as bytes."""
    states = [torch.get_rng_state()]
    if torch.cuda.is_available():
        states.append(torch.cuda.get_rng_state())
    return torch.cat(states)


def set_random_state(state: torch.Tensor) -> None:
    """Puts back what `random_state` gave; a GPU's part where there is one on both sides."""
    size = len(torch.get_rng_state())
    torch.set_rng_state(state[:size])
    if torch.cuda.is_available() and len(state) > size:
        torch.cuda.set_rng_state(state[size:])


def open_checkpoint(directory: Path) -> Checkpoint:
    """A checkpoint folder, whose files are not read yet (`Checkpoint.verify`).

    Raises:
        CheckpointError: It is torn, or of another format.
    """
    try:
        state = json.loads((directory / _STATE).read_text(encoding="utf-8"))
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
    found = []
    for path in _folders(directory):
        try:
            found.append(open_checkpoint(path))
        except CheckpointError:
            continue
    found.sort(key=lambda c: (c.position.total_step, c.position.finished), reverse=True)
    yield from found


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


def _numbered(optimizer: torch.optim.Optimizer) -> list[tuple[int, nn.Parameter]]:
    return list(enumerate(p for group in optimizer.param_groups for p in group["params"]))


def _save_moments(optimizer: torch.optim.Optimizer, path: Path) -> dict[str, int]:
    tensors: dict[str, torch.Tensor] = {}
    steps: dict[str, int] = {}
    for number, parameter in _numbered(optimizer):
        state = optimizer.state.get(parameter)
        if state:
            steps[str(number)] = int(state["step"])
            for name in ("exp_avg", "exp_avg_sq"):
                tensors[f"{number}.{name}"] = state[name]
    save_tensors(tensors, path)
    return steps


def _state_to_bytes(state: torch.Tensor) -> str:
    return base64.b64encode(state.cpu().numpy().tobytes()).decode()


def _bytes_to_state(text: str) -> torch.Tensor:
    return torch.from_numpy(np.frombuffer(base64.b64decode(text), dtype=np.uint8).copy())
