"""Tests of the model folder: what is read is what was written, and damage is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from tiny import World

from openrealm.errors import CheckpointError
from openrealm.runs.model_folder import (
    is_model_folder,
    open_model_folder,
    write_model_folder,
)

RECORD = {"start": "scratch", "stage_reports": [{"stage": "realm", "total_step": 90}]}


@pytest.fixture()
def folder(world: World, tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    write_model_folder(
        folder,
        world.model(seed=3),
        world.tokenizer,
        settings="seed = 3\n",
        stage="realm",
        step=90,
        record=RECORD,
    )
    return folder


def test_a_folder_gives_back_weights_tokenizer_settings_and_record(
    world: World, folder: Path
) -> None:
    found = open_model_folder(folder)
    assert is_model_folder(folder)
    assert (found.stage, found.step, found.record) == ("realm", 90, RECORD)
    assert found.settings_file.read_text() == "seed = 3\n"
    assert found.tokenizer().fingerprint == world.tokenizer.fingerprint
    wanted, model = world.model(seed=3), world.model(seed=4)
    found.load_weights(model)
    for name, tensor in wanted.state_dict().items():
        assert torch.equal(model.state_dict()[name], tensor), name


def test_it_holds_no_optimiser_and_no_pickle(folder: Path) -> None:
    assert {path.name for path in folder.iterdir()} == {
        *("openrealm.json", "settings.toml", "weights.safetensors", "tokenizer.json", "vocab.txt")
    }


@pytest.mark.parametrize("name", ["weights.safetensors", "settings.toml", "vocab.txt"])
@pytest.mark.parametrize("how", ["changed", "missing"])
def test_a_damaged_file_is_refused_by_name(folder: Path, name: str, how: str) -> None:
    path = folder / name
    data = bytearray(path.read_bytes())
    path.unlink()
    if how == "changed":
        data[-1] ^= 1
        path.write_bytes(bytes(data))
    with pytest.raises(CheckpointError, match=name):
        open_model_folder(folder)


@pytest.mark.parametrize("key", ["format", "stage", "run", "checksums"])
def test_a_manifest_that_lacks_something_is_refused(folder: Path, key: str) -> None:
    manifest = json.loads((folder / "openrealm.json").read_text())
    del manifest[key]
    (folder / "openrealm.json").write_text(json.dumps(manifest))
    with pytest.raises(CheckpointError, match="no model that openrealm exported"):
        open_model_folder(folder)


def test_weights_without_a_checksum_are_refused(folder: Path) -> None:
    manifest = json.loads((folder / "openrealm.json").read_text())
    del manifest["checksums"]["weights.safetensors"]
    (folder / "openrealm.json").write_text(json.dumps(manifest))
    with pytest.raises(CheckpointError, match=r"weights\.safetensors"):
        open_model_folder(folder)


def test_another_format_and_a_folder_of_something_else_are_refused(
    folder: Path, tmp_path: Path
) -> None:
    manifest = json.loads((folder / "openrealm.json").read_text())
    (folder / "openrealm.json").write_text(json.dumps(manifest | {"format": 2}))
    with pytest.raises(CheckpointError, match="format 2; this version reads 1"):
        open_model_folder(folder)
    assert not is_model_folder(tmp_path)
    with pytest.raises(CheckpointError, match="export WS --to openrealm"):
        open_model_folder(tmp_path)
