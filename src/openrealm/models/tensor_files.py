"""Tensors into safetensors files; knows nothing of what they are."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from openrealm.files import sync_file

_OS_ERROR = re.compile(r"\(os error (\d+)\)")


def save_tensors(
    tensors: Mapping[str, Tensor], path: Path, *, metadata: Mapping[str, str] | None = None
) -> None:
    """Writes tensors by name, from wherever they are, and waits until they are on the disk.

    Raises:
        OSError: The disk is full, or cannot be written; the library itself gives an error of its
            own, which hides the reason in its text.
    """
    ready = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    try:
        save_file(ready, path, metadata=dict(metadata) if metadata is not None else None)
    except SafetensorError as error:
        if found := _OS_ERROR.search(str(error)):
            number = int(found[1])
            raise OSError(number, os.strerror(number), str(path)) from error
        raise
    sync_file(path)
