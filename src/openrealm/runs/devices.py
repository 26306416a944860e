"""Where a run computes and in which precision; knows settings and torch, no files."""

from __future__ import annotations

import torch

from openrealm.errors import ConfigError
from openrealm.settings import Settings


def pick_device(settings: Settings) -> torch.device:
    """The device to compute on; of several GPUs the current one.

    Raises:
        ConfigError: A GPU is demanded and there is none.
    """
    if not uses_gpu(settings):
        return torch.device("cpu")
    return torch.device("cuda", torch.cuda.current_device())


def uses_gpu(settings: Settings) -> bool:
    """Whether to compute on a GPU.

    Raises:
        ConfigError: A GPU is demanded and there is none.
    """
    has_gpu = torch.cuda.is_available()
    if settings.device == "cuda" and not has_gpu:
        raise ConfigError("device = 'cuda', but torch sees no GPU here; set device=cpu")
    return has_gpu and settings.device != "cpu"


def pick_precision(settings: Settings, device: torch.device) -> torch.dtype | None:
    """Lower precision for matrix products, where it is asked for and the hardware has it."""
    if settings.precision == "bfloat16":
        return torch.bfloat16
    if settings.precision == "auto" and device.type == "cuda" and torch.cuda.is_bf16_supported():
        return torch.bfloat16
    return None
