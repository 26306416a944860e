"""Tests of weights by name out of the files that hold them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from openrealm.errors import CheckpointError
from openrealm.models.weight_files import WeightFiles, write_tensors

TENSORS = {"a.weight": torch.arange(12.0).view(4, 3), "b": torch.ones(2)}


@pytest.fixture(params=["safetensors", "bin", "old bin", "safetensors in shards", "bin in shards"])
def folder(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    form = request.param
    if form == "safetensors":
        save_file(TENSORS, tmp_path / "model.safetensors")
    elif form.endswith("bin"):
        new = form == "bin"
        path = tmp_path / "pytorch_model.bin"
        torch.save(TENSORS, path, _use_new_zipfile_serialization=new)
    else:
        stem, end = ("model", "safetensors") if "safe" in form else ("pytorch_model", "bin")
        names = {}
        for number, (name, value) in enumerate(TENSORS.items(), start=1):
            names[name] = f"{stem}-0000{number}-of-00002.{end}"
            write = save_file if end == "safetensors" else torch.save
            write({name: value}, tmp_path / names[name])
        index = tmp_path / f"{stem}.{end}.index.json"
        index.write_text(json.dumps({"weight_map": names}), encoding="utf-8")
    return tmp_path


def test_tensors_shapes_and_rows_are_the_same_in_every_form(folder: Path) -> None:
    files = WeightFiles(folder)
    assert files.names == set(TENSORS)
    for name, value in TENSORS.items():
        assert torch.equal(files.tensor(name), value)
        assert files.shape(name) == tuple(value.shape)
    assert torch.equal(files.rows("a.weight", 1, 3), TENSORS["a.weight"][1:3])


class _Command:
    def __init__(self, text: str) -> None:
        self.text = text

    def __reduce__(self) -> Any:
        return os.system, (self.text,)


def test_a_bin_file_that_would_run_a_program_is_refused_and_not_run(tmp_path: Path) -> None:
    bad = {"a": torch.ones(1), "b": _Command(f"touch {tmp_path / 'ran'}")}
    torch.save(bad, tmp_path / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="not loaded"):
        WeightFiles(tmp_path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("value", [[torch.ones(1)], {"a": 1}, torch.ones(1)])
def test_a_bin_file_of_something_else_is_refused(tmp_path: Path, value: object) -> None:
    torch.save(value, tmp_path / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="named tensors"):
        WeightFiles(tmp_path)


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_a_damaged_file_is_an_error_in_a_sentence(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"not weights at all" * 10)
    with pytest.raises(CheckpointError, match=name):
        WeightFiles(tmp_path)


def test_an_index_cannot_point_out_of_its_folder(tmp_path: Path) -> None:
    index = {"weight_map": {"a": "../secret.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    with pytest.raises(CheckpointError, match="no list of weight files"):
        WeightFiles(tmp_path)


def test_a_folder_without_weights_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="holds neither"):
        WeightFiles(tmp_path)


def test_what_is_written_in_pieces_is_what_safetensors_reads(tmp_path: Path) -> None:
    rows = np.arange(20, dtype=np.float16).reshape(10, 2)
    path = tmp_path / "model.safetensors"
    write_tensors(path, TENSORS, table=("table", (10, 2), iter([rows[:4], rows[4:]])))
    found = load_file(path)
    assert torch.equal(found.pop("table"), torch.from_numpy(rows).float())
    assert set(found) == set(TENSORS)
    assert all(torch.equal(found[name], value) for name, value in TENSORS.items())
    with pytest.raises(CheckpointError, match="rows"):
        write_tensors(path, {}, table=("table", (10, 2), iter([rows[:4]])))
