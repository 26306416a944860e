"""Tests of tensors written to disk, or not."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from openrealm.models import tensor_files
from openrealm.models.tensor_files import save_tensors


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    tensors = {"a": torch.arange(6.0).reshape(2, 3).T, "b": torch.ones(2, requires_grad=True)}
    save_tensors(tensors, tmp_path / "x.safetensors", metadata={"format": "pt"})
    found = load_file(tmp_path / "x.safetensors")
    assert found.keys() == tensors.keys()
    assert all(torch.equal(found[name], tensors[name]) for name in tensors)


def test_an_error_of_the_system_is_one_with_its_number(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere/x\.safetensors"):
        save_tensors({"a": torch.zeros(2)}, tmp_path / "nowhere" / "x.safetensors")


@pytest.mark.parametrize("system", [True, False])
def test_a_full_disk_is_told_from_other_faults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, system: bool
) -> None:
    def failing(*arguments: Any, **options: Any) -> None:
        reason = "I/O error: No space left on device (os error 28)" if system else "no header"
        raise SafetensorError(f"Error while serializing: {reason}")

    monkeypatch.setattr(tensor_files, "save_file", failing)
    with pytest.raises(OSError if system else SafetensorError) as raised:
        save_tensors({"a": torch.zeros(2)}, tmp_path / "x")
    if system:
        assert isinstance(raised.value, OSError) and raised.value.errno == errno.ENOSPC
        assert raised.value.filename == str(tmp_path / "x")
