"""Tensors by name out of safetensors or ``pytorch_model.bin``, one at a time, and into safetensors;
knows no model.

Files are memory-mapped: what is not asked for is not read. A ``.bin`` file is a pickle, of which
torch reads tensors and plain containers only (``weights_only``).
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from openrealm.errors import CheckpointError
from openrealm.files import sync_file

# The first that is there is read.
WEIGHTS = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
# Names of BERT's first releases.
_OLD_ENDINGS = {"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"}


class WeightFiles:
    """The tensors in a folder; names are those of today's BERT."""

    def __init__(self, directory: Path) -> None:
        """Opens the weights of a folder.

        Raises:
            CheckpointError: There are none, they are damaged, or hold something else.
        """
        self.directory = directory
        weights = next((name for name in WEIGHTS if (directory / name).is_file()), None)
        if weights is None:
            raise CheckpointError(f"{directory} holds neither {WEIGHTS[0]} nor {WEIGHTS[2]}")
        self._homes: dict[str, tuple[Any, str]] = {}
        for path in _shards(directory / weights):
            opened = _opened(path)
            for theirs in opened.keys():  # noqa: SIM118 - safetensors' files are no dictionaries
                self._homes[_today(theirs)] = (opened, theirs)
        self.format = "safetensors" if "safetensors" in weights else "pytorch_model.bin"

    @property
    def names(self) -> frozenset[str]:
        """Names of all tensors."""
        return frozenset(self._homes)

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a tensor, which is not read."""
        opened, theirs = self._homes[name]
        if isinstance(opened, dict):
            return tuple(opened[theirs].shape)
        return tuple(opened.get_slice(theirs).get_shape())

    def tensor(self, name: str) -> Tensor:
        """A tensor."""
        opened, theirs = self._homes[name]
        value: Tensor = opened[theirs] if isinstance(opened, dict) else opened.get_tensor(theirs)
        return value

    def rows(self, name: str, start: int, stop: int) -> Tensor:
        """Some rows of a tensor; only they are read."""
        opened, theirs = self._homes[name]
        whole = opened if isinstance(opened, dict) else None
        value: Tensor = whole[theirs][start:stop] if whole else opened.get_slice(theirs)[start:stop]
        return value


def _today(name: str) -> str:
    for old, new in _OLD_ENDINGS.items():
        if name.endswith(old):
            return name.removesuffix(old) + new
    return name


def _shards(path: Path) -> list[Path]:
    if path.suffix != ".json":
        return [path]
    try:
        files = sorted(set(json.loads(path.read_text(encoding="utf-8"))["weight_map"].values()))
        if not all(name == Path(name).name for name in files):
            raise ValueError("a file outside of the folder")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path} is no list of weight files ({error})") from error
    return [path.with_name(name) for name in files]


def _opened(path: Path) -> Any:
    try:
        if path.suffix == ".safetensors":
            return safe_open(path, framework="pt")
        return _tensors(path)
    except (OSError, SafetensorError, RuntimeError, EOFError) as error:
        raise CheckpointError(f"{path} cannot be read ({_first_line(error)})") from error
    except UnpicklingError as error:
        raise CheckpointError(
            f"{path} holds more than tensors, and was not loaded: such a file can run programs "
            f"({_first_line(error)})"
        ) from error


def _tensors(path: Path) -> dict[str, Tensor]:
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except RuntimeError as error:
        if "mmap" not in str(error):
            raise
        # Files from before torch 1.6 cannot be mapped.
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    is_right = isinstance(loaded, Mapping) and all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in loaded.items()
    )
    if not is_right:
        raise CheckpointError(f"{path} holds something else than named tensors")
    return dict(loaded)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:160] if lines else type(error).__name__


def write_tensors(
    path: Path,
    tensors: Mapping[str, Tensor],
    *,
    table: tuple[str, tuple[int, int], Iterable[npt.NDArray[np.floating]]] | None = None,
) -> None:
    """Writes a safetensors file of float32; a large table comes in pieces, and is never whole.

    Args:
        path: The new file.
        tensors: By name.
        table: Name, shape ``(rows, dim)`` and rows of one tensor more.
    """
    shapes = {name: tuple(value.shape) for name, value in tensors.items()}
    if table is not None:
        shapes[table[0]] = table[1]
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape in shapes.items():
        start, end = end, end + 4 * math.prod(shape)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": (start, end)}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for value in tensors.values():
            numbers = value.detach().cpu().contiguous().numpy()
            file.write(numbers.astype("<f4", copy=False).tobytes())
        for rows in table[2] if table is not None else ():
            file.write(np.ascontiguousarray(rows, dtype="<f4").tobytes())
        if file.tell() != 8 + len(text) + end:
            raise CheckpointError(f"{path} did not get the rows that were stated")
    sync_file(path)
