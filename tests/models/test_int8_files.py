"""Tests of matrices rounded to int8 on disk."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from openrealm.errors import CheckpointError
from openrealm.models.int8_files import load_int8, save_int8

FORMAT = {"format": "openrealm int8, version 1"}


def tensors() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    wide = torch.randn(5, 128, generator=generator)
    wide[0], wide[1, 64:] = 0.0, wide[1, 64:] * 1000
    return {
        "wide": wide,
        "odd": torch.randn(7, 9, generator=generator),
        "small": torch.randn(2, 9, generator=generator),
        "vector": torch.randn(9, generator=generator),
    }


def test_a_number_comes_back_within_half_a_step_of_its_own_group(tmp_path: Path) -> None:
    save_int8(tensors(), tmp_path / "x.safetensors")
    found = load_int8(tmp_path / "x.safetensors")
    wanted = tensors()
    assert found.keys() == wanted.keys()
    for name, width in (("wide", 64), ("odd", 9)):
        for row, expected in zip(found[name], wanted[name], strict=True):
            for at in range(0, len(row), width):
                part = expected[at : at + width]
                step = part.abs().max().item() / 127
                error = (row[at : at + width] - part).abs().max().item()
                assert error <= step / 2 * (1 + 1e-5)
    assert torch.equal(found["wide"][0], torch.zeros(128))


def test_what_is_no_matrix_or_small_is_kept_whole(tmp_path: Path) -> None:
    save_int8(tensors(), tmp_path / "x.safetensors")
    found = load_int8(tmp_path / "x.safetensors")
    for name in ("small", "vector"):
        assert torch.equal(found[name], tensors()[name])


def test_a_matrix_takes_a_quarter_and_its_scales(tmp_path: Path) -> None:
    save_int8({"a": torch.ones(1000, 128)}, tmp_path / "x.safetensors")
    assert (tmp_path / "x.safetensors").stat().st_size < 1000 * (128 + 2 * 4) + 500


def test_the_same_tensors_make_the_same_bytes_whatever_their_order(tmp_path: Path) -> None:
    save_int8(tensors(), tmp_path / "x.safetensors")
    save_int8(dict(reversed(tensors().items())), tmp_path / "y.safetensors")
    assert (tmp_path / "x.safetensors").read_bytes() == (tmp_path / "y.safetensors").read_bytes()


def test_rounding_what_was_rounded_changes_nothing(tmp_path: Path) -> None:
    save_int8(tensors(), tmp_path / "x.safetensors")
    once = load_int8(tmp_path / "x.safetensors")
    save_int8(once, tmp_path / "y.safetensors")
    again = load_int8(tmp_path / "y.safetensors")
    assert all(torch.allclose(again[name], once[name], rtol=1e-6, atol=0) for name in once)


def broken(name: str, path: Path) -> None:
    """A file with one fault."""
    save_int8(tensors(), path)
    kept = load_file(path)
    if name == "cut":
        path.write_bytes(path.read_bytes()[:-100])
    elif name == "foreign":
        save_file(tensors(), path)
    elif name == "newer":
        save_file(kept, path, metadata={"format": "openrealm int8, version 2"})
    else:
        changes: dict[str, dict[str, Tensor]] = {
            "no scales": {"wide.scales": torch.empty(0)},
            "of other rows": {"wide.scales": kept["wide.scales"][:3].clone()},
            "of other columns": {"wide.scales": torch.ones(5, 3)},
            "of whole numbers": {"wide.scales": torch.ones(5, 2, dtype=torch.int32)},
            "of nothing": {"other.scales": torch.ones(5, 2)},
        }
        kept |= changes[name]
        left = {key: value for key, value in kept.items() if value.numel()}
        save_file(left, path, metadata=FORMAT)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("cut", "cannot be read"),
        ("foreign", "is of the format 'unknown'; needed is 'openrealm int8, version 1'"),
        ("newer", "is of the format 'openrealm int8, version 2'; needed is .* 1'"),
        ("no scales", "has wide without the scales that belong to it"),
        ("of other rows", "has wide.scales, which fits no matrix"),
        ("of other columns", "has wide.scales, which fits no matrix"),
        ("of whole numbers", "has wide.scales, which fits no matrix"),
        ("of nothing", "has other.scales, which fits no matrix"),
    ],
)
def test_a_file_with_a_fault_is_refused_by_its_name(
    tmp_path: Path, fault: str, message: str
) -> None:
    path = tmp_path / "x.safetensors"
    broken(fault, path)
    with pytest.raises(CheckpointError, match=message) as raised:
        load_int8(path)
    assert str(path) in str(raised.value) and "\n" not in str(raised.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"nothing\.safetensors cannot be read"):
        load_int8(tmp_path / "nothing.safetensors")
