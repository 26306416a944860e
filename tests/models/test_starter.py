"""Tests of the starter's weights; those of a small one that was just packed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from packed import TOKENIZER, WORDS, Sources
from tiny import model_config
from transformers.models.bert.modeling_bert import BertForQuestionAnswering

from openrealm.errors import CheckpointError
from openrealm.models.pretrained import start_model
from openrealm.models.starter import (
    starter_calibration,
    starter_config,
    starter_reader_weights,
    tower_weights,
)


def test_the_reader_is_complete_and_one_of_hugging_faces(sources: Sources, packed: Path) -> None:
    found = starter_reader_weights()
    theirs = BertForQuestionAnswering.from_pretrained(sources.reader).float()
    result = theirs.load_state_dict(found, strict=True)
    assert not result.missing_keys and not result.unexpected_keys
    wanted = sources.tensors()[1]
    for name, value in found.items():
        step = wanted[name].abs().max() / 127
        assert (value - wanted[name]).abs().max() <= step / 2 + 1e-4, name


def test_word_embeddings_are_kept_once_and_are_the_towers(packed: Path) -> None:
    words = tower_weights(packed)[WORDS]
    assert torch.equal(starter_reader_weights()[f"bert.{WORDS}"], words)
    size = {path.name: path.stat().st_size for path in packed.iterdir()}
    assert size["reader.safetensors"] + words.numel() < size["tower.safetensors"]


def test_its_shape_and_its_calibration_are_told(sources: Sources, packed: Path) -> None:
    config = starter_config()
    assert (config.hidden_size, config.num_hidden_layers) == (64, 2)
    assert config.vocab_size == TOKENIZER.vocab_size
    assert starter_calibration() == {"temperature": 1.5}


def test_a_model_starts_from_its_tower(packed: Path) -> None:
    started = start_model(
        "starter",
        model_config(),
        vocab_size=TOKENIZER.vocab_size,
        pad_id=TOKENIZER.pad_id,
        mask_id=TOKENIZER.mask_id,
        seed=0,
    )
    wanted = tower_weights(packed)
    for tower in started.model.embedder.towers:
        for name, value in tower.bert.state_dict().items():
            assert torch.equal(value, wanted[name])
    assert started.config.bert.layers == 2 and not started.has_masked_lm_head


@pytest.mark.parametrize("name", ["tower.safetensors", "reader.safetensors", "vocab.txt"])
def test_a_damaged_file_is_named(packed: Path, name: str) -> None:
    content = bytearray((packed / name).read_bytes())
    content[-1] ^= 1
    (packed / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=f"{name} is not the file that starter.json states"):
        starter_reader_weights()
