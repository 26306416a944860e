"""Weights, moments and random state into a checkpoint and out of it; knows nothing of what is
trained.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from openrealm.errors import CheckpointError
from openrealm.files import checksum, sync_directory, write_atomic
from openrealm.models.pretrained import save_weights
from openrealm.models.tensor_files import save_tensors
from openrealm.runs.checkpoints import (
    FORMAT,
    OPTIMIZER,
    STATE,
    WEIGHTS,
    WRITTEN,
    Checkpoint,
    Position,
    checkpoint_name,
)


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
        save_weights(module, staging / WEIGHTS)
        steps: dict[str, int] = {}
        shapes: list[list[int]] = []
        if optimizer is not None:
            steps = _save_moments(optimizer, staging / OPTIMIZER)
            shapes = [list(p.shape) for _, p in _numbered(optimizer)]
        if written is not None:
            save_tensors(written, staging / WRITTEN)
        files = sorted(p.name for p in staging.iterdir())
        state = {
            "format": FORMAT,
            "position": asdict(position),
            "optimizer_steps": steps,
            "optimizer_shapes": shapes,
            "random": [_state_to_bytes(one) for one in random or [random_state()]],
            "checksums": {name: checksum(staging / name) for name in files},
        }
        write_atomic(staging / STATE, json.dumps(state, indent=1).encode())
        if final.exists():
            shutil.rmtree(final)
        os.replace(staging, final)
    finally:  # a full disk has no room for half a checkpoint
        shutil.rmtree(staging, ignore_errors=True)
    sync_directory(directory)
    return Checkpoint(directory=final, position=position)


def load_training_state(
    checkpoint: Checkpoint, optimizer: torch.optim.Optimizer, *, rank: int = 0
) -> bool:
    """Puts moments and the random state back; says whether a process of this rank had one.

    Args:
        checkpoint: Where they are.
        optimizer: With the parameters that were trained.
        rank: Number of this process among those that train together.

    Raises:
        CheckpointError: The optimiser has other parameters than the saved one, or the
            checkpoint is the end of a stage, which has no moments.
    """
    try:
        moments = load_file(checkpoint.directory / OPTIMIZER)
        state = json.loads((checkpoint.directory / STATE).read_text(encoding="utf-8"))
    except (OSError, ValueError, SafetensorError) as error:
        raise CheckpointError(
            f"{checkpoint.directory} holds no training state to go on from ({error})"
        ) from error
    parameters = _numbered(optimizer)
    steps: dict[str, int] = state["optimizer_steps"]
    if state["optimizer_shapes"] != [list(p.shape) for _, p in parameters]:
        raise CheckpointError(
            f"{checkpoint.directory} was saved with other trainable parameters; "
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


def written_vectors(checkpoint: Checkpoint) -> dict[str, torch.Tensor]:
    """What was written into the live index since its snapshot; nothing in older checkpoints.

    Raises:
        CheckpointError: The file is damaged.
    """
    path = checkpoint.directory / WRITTEN
    try:
        return load_file(path) if path.is_file() else {}
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} is damaged ({error})") from error


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
