"""Tensors in safetensors files at a quarter of their size; knows no model.

A matrix is kept as int8, with a scale for each `group` of numbers along a row; what is no matrix,
or too small to be worth it, stays as it is. Of the matrix ``a`` a file has ``a`` ``(rows,
columns)`` and ``a.scales`` ``(rows, groups)``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from jaxtyping import Float, Int8
from safetensors import SafetensorError, safe_open
from torch import Tensor

from openrealm.errors import CheckpointError, in_one_line
from openrealm.models.tensor_files import save_tensors

GROUP = 64
# One entry: the library writes several in an order that changes from process to process.
_FORMAT = {"format": "openrealm int8, version 1"}
_SCALES = ".scales"
_SMALL = 2  # rows: segment embeddings, the start and end scores of a reader
_LARGEST = 127


def save_int8(tensors: Mapping[str, Tensor], path: Path, *, group: int = GROUP) -> None:
    """Writes tensors, matrices rounded; the same tensors always make the same bytes.

    Args:
        tensors: By name.
        path: The new file.
        group: Numbers along a row that have one scale; the whole row where it is no multiple.

    Raises:
        OSError: The disk is full, or cannot be written.
    """
    kept: dict[str, Tensor] = {}
    for name, tensor in sorted(tensors.items()):
        if tensor.ndim == 2 and len(tensor) > _SMALL:
            kept[name], kept[name + _SCALES] = rounded(tensor.detach().float(), group=group)
        else:
            kept[name] = tensor.detach().float()
    save_tensors(kept, path, metadata=_FORMAT)


def load_int8(path: Path) -> dict[str, Tensor]:
    """The tensors of a file that `save_int8` wrote, in single precision.

    Raises:
        CheckpointError: The file is missing, damaged, or something else.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            kept = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} cannot be read ({in_one_line(error)})") from error
    if metadata != _FORMAT:
        raise CheckpointError(
            f"{path} is of the format '{metadata.get('format', 'unknown')}'; needed is "
            f"'{_FORMAT['format']}'"
        )
    found = {name: value for name, value in kept.items() if not name.endswith(_SCALES)}
    for name in sorted(kept.keys() - found.keys()):
        matrix = name.removesuffix(_SCALES)
        if matrix not in found or not _fit(found[matrix], kept[name]):
            raise CheckpointError(f"{path} has {name}, which fits no matrix of int8 in it")
        found[matrix] = restored(found[matrix], kept[name])
    if whole := sorted(name for name, value in found.items() if value.dtype != torch.float32):
        raise CheckpointError(f"{path} has {whole[0]} without the scales that belong to it")
    return found


def rounded(
    matrix: Float[Tensor, "rows columns"], *, group: int
) -> tuple[Int8[Tensor, "rows columns"], Float[Tensor, "rows groups"]]:
    """A matrix as int8, and the scale of each group along its rows."""
    rows, columns = matrix.shape
    grouped = matrix.reshape(rows, -1, columns if columns % group else group)
    scales = grouped.abs().amax(dim=2) / _LARGEST
    steps = scales.clamp(min=torch.finfo(scales.dtype).tiny)[:, :, None]  # of zeros it is 0
    values = (grouped / steps).round().clamp(-_LARGEST, _LARGEST)
    return values.to(torch.int8).view(rows, columns), scales


def restored(
    values: Int8[Tensor, "rows columns"], scales: Float[Tensor, "rows groups"]
) -> Float[Tensor, "rows columns"]:
    """The numbers that a rounded matrix stands for."""
    grouped = values.view(*scales.shape, -1).float()
    return (grouped * scales[:, :, None]).view(values.shape)


def _fit(values: Tensor, scales: Tensor) -> bool:
    """Whether these are numbers and scales of one matrix."""
    return (
        values.dtype == torch.int8
        and scales.dtype == torch.float32
        and values.ndim == scales.ndim == 2
        and len(values) == len(scales)
        and scales.shape[1] > 0
        and values.shape[1] % scales.shape[1] == 0
    )
