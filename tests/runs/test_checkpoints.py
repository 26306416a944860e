"""Tests of checkpoints: all of the state, bit for bit, or none; and of a model alone in a folder:
what is read is what was written, and damage is named.
"""

from __future__ import annotations

import ast
import errno
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import World
from torch import nn

import openrealm
import openrealm.runs.saved_state as checkpoint_module
from openrealm.errors import CheckpointError
from openrealm.runs.checkpoints import (
    Position,
    checkpoints,
    damaged_checkpoints,
    is_model_folder,
    open_checkpoint,
    open_model_folder,
    prune,
    write_model_folder,
)
from openrealm.runs.saved_state import load_training_state, save_checkpoint
from openrealm.training.optim import AdamWeightDecay, parameter_groups

POSITION = Position(
    stage="realm",
    step=4,
    total_step=14,
    finished=False,
    generation=2,
    index_step=12,
    metrics_bytes=77,
    window={"train/loss": 0.1 + 0.2, "steps": 2.0},
)


def at(step: int, *, stage: str = "realm", before: int = 10, finished: bool = False) -> Position:
    return replace(POSITION, stage=stage, step=step, total_step=before + step, finished=finished)


def model_and_optimizer(seed: int) -> tuple[nn.Module, AdamWeightDecay]:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5), nn.Linear(4, 1))
    groups = parameter_groups([(model[0], 0.1), (model[2], 0.2)])
    return model, AdamWeightDecay(groups, bias_correction=False)


def train(model: nn.Module, optimizer: AdamWeightDecay, steps: int) -> list[float]:
    """Some steps with dropout and random inputs: they depend on weights, moments and the RNG."""
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = model(torch.randn(5, 3)).pow(2).mean()
        loss.backward()
        for group in optimizer.param_groups:
            group["lr"] = group["peak"]
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


def test_training_goes_on_from_a_checkpoint_bit_for_bit(tmp_path: Path) -> None:
    model, optimizer = model_and_optimizer(0)
    train(model, optimizer, 3)
    saved = save_checkpoint(tmp_path, model, optimizer, POSITION)
    wanted = train(model, optimizer, 4)

    other, fresh = model_and_optimizer(1)
    opened = open_checkpoint(saved.directory)
    opened.load_weights(other)
    load_training_state(opened, fresh)
    assert train(other, fresh, 4) == wanted
    assert all(
        torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True)
    )


def test_the_position_comes_back_as_it_was(tmp_path: Path) -> None:
    model, optimizer = model_and_optimizer(0)
    saved = save_checkpoint(tmp_path, model, optimizer, POSITION)
    assert saved.directory.name == "realm-000004"
    assert open_checkpoint(saved.directory).position == POSITION


def test_parameters_that_had_no_gradient_yet_have_no_moments(tmp_path: Path) -> None:
    model, optimizer = model_and_optimizer(0)
    for parameter in model[2].parameters():
        parameter.requires_grad_(False)
    train(model, optimizer, 1)
    saved = save_checkpoint(tmp_path, model, optimizer, POSITION)
    _, fresh = model_and_optimizer(1)
    load_training_state(saved, fresh)
    assert len(fresh.state) == 2


def test_the_end_of_a_stage_has_weights_and_no_moments(tmp_path: Path) -> None:
    model, optimizer = model_and_optimizer(0)
    saved = save_checkpoint(tmp_path, model, None, at(9, finished=True))
    assert sorted(p.name for p in saved.directory.iterdir()) == [
        "state.json",
        "weights.safetensors",
    ]
    with pytest.raises(CheckpointError, match="no training state"):
        load_training_state(saved, optimizer)


@pytest.mark.parametrize("kind", ["fewer", "more", "shapes"])
def test_moments_of_other_parameters_are_refused(tmp_path: Path, kind: str) -> None:
    model, optimizer = model_and_optimizer(0)
    train(model, optimizer, 1)
    saved = save_checkpoint(tmp_path, model, optimizer, POSITION)
    others = {
        "fewer": [(model[0], 0.1)],
        "more": [(model[0], 0.1), (model[2], 0.2), (nn.Linear(2, 2), 0.1)],
        "shapes": [(nn.Linear(3, 5), 0.1), (nn.Linear(5, 1), 0.2)],
    }
    groups = parameter_groups(others[kind])
    with pytest.raises(CheckpointError, match="other trainable parameters"):
        load_training_state(saved, AdamWeightDecay(groups, bias_correction=False))


def test_the_newest_whole_checkpoint_is_found_although_later_ones_are_torn(
    tmp_path: Path,
) -> None:
    model, optimizer = model_and_optimizer(0)
    train(model, optimizer, 1)
    for step in (2, 4, 6, 8, 10, 12):
        save_checkpoint(tmp_path, model, optimizer, at(step))
    changed = tmp_path / "realm-000012" / "weights.safetensors"
    data = bytearray(changed.read_bytes())
    data[-1] ^= 1
    changed.write_bytes(data)
    (tmp_path / "realm-000010" / "optimizer.safetensors").unlink()
    (tmp_path / "realm-000008" / "state.json").write_text('{"format": 1,', encoding="utf-8")
    cut = tmp_path / "realm-000006" / "optimizer.safetensors"
    cut.write_bytes(cut.read_bytes()[:50])
    # One that died before its last step, the renaming.
    shutil.copytree(tmp_path / "realm-000004", tmp_path / ".staging-realm-000014")
    (tmp_path / "notes.txt").write_text("", encoding="utf-8")
    assert [c.position.step for c in checkpoints(tmp_path)] == [12, 10, 6, 4, 2]
    assert [c.position.step for c in checkpoints(tmp_path) if c.is_whole()] == [4, 2]
    with_weights = [c.position.step for c in checkpoints(tmp_path) if c.is_whole(only_weights=True)]
    assert with_weights == [10, 6, 4, 2]
    assert [path.name for path in damaged_checkpoints(tmp_path)] == [
        f"realm-{step:06d}" for step in (6, 8, 10, 12)
    ]


def test_checkpoints_are_ordered_by_all_steps_and_an_end_of_a_stage_comes_last(
    tmp_path: Path,
) -> None:
    model, _ = model_and_optimizer(0)
    save_checkpoint(tmp_path, model, None, at(10, stage="mlm", before=0, finished=True))
    save_checkpoint(tmp_path, model, None, at(2, stage="realm"))
    save_checkpoint(tmp_path, model, None, at(6, stage="ict", before=0))
    found = [(c.position.stage, c.position.step) for c in checkpoints(tmp_path)]
    assert found == [("realm", 2), ("mlm", 10), ("ict", 6)]


def test_without_a_folder_there_is_no_checkpoint(tmp_path: Path) -> None:
    assert list(checkpoints(tmp_path / "nowhere")) == []


def test_a_save_that_dies_leaves_the_older_checkpoint_and_nothing_with_a_final_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from openrealm.runs import saved_state as module

    model, optimizer = model_and_optimizer(0)
    save_checkpoint(tmp_path, model, optimizer, at(2))
    for name in ("save_weights", "_save_moments", "write_atomic"):
        with monkeypatch.context() as patch:

            def die(*arguments: object) -> None:
                raise KeyboardInterrupt

            patch.setattr(module, name, die)
            with pytest.raises(KeyboardInterrupt):
                save_checkpoint(tmp_path, model, optimizer, at(4))
        assert [c.position.step for c in checkpoints(tmp_path)] == [2]
        assert not (tmp_path / "realm-000004").exists()
    save_checkpoint(tmp_path, model, optimizer, at(4))
    assert [c.position.step for c in checkpoints(tmp_path)] == [4, 2]


def test_a_save_that_has_no_room_leaves_nothing_in_the_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, optimizer = model_and_optimizer(0)
    save_checkpoint(tmp_path, model, optimizer, at(1))

    def full(*arguments: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    for function in ("save_tensors", "write_atomic"):
        with monkeypatch.context() as patch:
            patch.setattr(checkpoint_module, function, full)
            with pytest.raises(OSError, match="No space"):
                save_checkpoint(tmp_path, model, optimizer, at(2))
        assert [path.name for path in tmp_path.iterdir()] == ["realm-000001"]


def test_saving_a_step_again_replaces_it(tmp_path: Path) -> None:
    model, optimizer = model_and_optimizer(0)
    save_checkpoint(tmp_path, model, optimizer, POSITION)
    with torch.no_grad():
        model[0].bias.fill_(3.0)
    save_checkpoint(tmp_path, model, optimizer, POSITION)
    other, _ = model_and_optimizer(1)
    next(checkpoints(tmp_path)).load_weights(other)
    assert other[0].bias.tolist() == [3.0] * 4


def test_pruning_keeps_the_newest_and_the_ends_of_stages(tmp_path: Path) -> None:
    model, optimizer = model_and_optimizer(0)
    save_checkpoint(tmp_path, model, None, at(10, stage="mlm", before=0, finished=True))
    save_checkpoint(tmp_path, model, optimizer, at(8, stage="mlm", before=0))
    for step in (2, 4, 6):
        save_checkpoint(tmp_path, model, optimizer, at(step))
    (tmp_path / ".staging-realm-000008").mkdir()
    prune(tmp_path, keep_last=2)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "mlm-000010",
        "realm-000004",
        "realm-000006",
    ]


def test_a_checkpoint_of_another_format_is_refused_by_number(tmp_path: Path) -> None:
    model, optimizer = model_and_optimizer(0)
    directory = save_checkpoint(tmp_path, model, optimizer, POSITION).directory
    path = directory / "state.json"
    state = json.loads(path.read_text(encoding="utf-8")) | {"format": 9}
    path.write_text(json.dumps(state), encoding="utf-8")
    with pytest.raises(CheckpointError, match="format 9; this version reads 1"):
        open_checkpoint(directory)


def test_a_folder_that_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="not a whole checkpoint"):
        open_checkpoint(tmp_path)


def test_nothing_in_the_package_loads_pickles() -> None:
    """A pickled file runs what its maker wrote: none is ever loaded, but for torch's tensors."""
    forbidden = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
    found = []
    for path in sorted(Path(openrealm.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names: set[str] = set()
            if isinstance(node, ast.Import):
                names = {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                names = {(node.module or "").split(".")[0]}
                if [alias.name for alias in node.names] == ["UnpicklingError"]:
                    names = set()
            elif isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                options = {k.arg: ast.unparse(k.value) for k in node.keywords}
                is_safe = called == "torch.load" and options.get("weights_only") == "True"
                if called in ("torch.load", "torch.save", "pd.read_pickle") and not is_safe:
                    found.append(f"{path.name}:{node.lineno} {called}")
                if called.endswith(("np.load", "np.save")) and (
                    options.get("allow_pickle") != "False"
                ):
                    found.append(f"{path.name}:{node.lineno} {called} without allow_pickle=False")
                if options.get("allow_pickle") == "True":
                    found.append(f"{path.name}:{node.lineno} allow_pickle=True")
            found += [f"{path.name}:{node.lineno} {name}" for name in names & forbidden]
    assert found == []


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
