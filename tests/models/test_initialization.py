"""Tests of first weights from which matching and copying are a short way."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny import model_config

from openrealm.models.initialization import sinusoids
from openrealm.models.pretrained import ModelConfig, build_model, fingerprint
from openrealm.models.realm import Realm

VOCAB = 300


def matching(*, shared: bool = True, layers: int = 1) -> ModelConfig:
    config = model_config(shared=shared)
    bert = replace(
        config.bert,
        initialization="matching",
        hidden=64,
        heads=4,
        intermediate=64,
        layers=layers,
    )
    return replace(config, bert=bert)


def build(config: ModelConfig, seed: int = 0) -> Realm:
    return build_model(config, vocab_size=VOCAB, pad_id=0, seed=seed).eval()


def test_positions_are_sines_and_cosines_of_growing_wavelengths() -> None:
    found = sinusoids(5, 6).numpy()
    for place in range(5):
        for pair in range(3):
            angle = place / 1000.0 ** (2 * pair / 6)
            assert found[place, 2 * pair] == pytest.approx(np.sin(angle), abs=1e-6)
            assert found[place, 2 * pair + 1] == pytest.approx(np.cos(angle), abs=1e-6)
    assert sinusoids(3, 5).shape == (3, 5)


def test_a_shift_of_positions_is_the_same_rotation_everywhere() -> None:
    waves = sinusoids(40, 8)
    dots = waves[:-1] @ waves[1:].T
    torch.testing.assert_close(dots.diagonal(), dots[0, 0].expand(39), rtol=1e-4, atol=1e-4)


def test_tokens_attend_to_tokens_like_themselves() -> None:
    layer = build(matching()).reader.masked_lm.bert.encoder.layer[0].attention.self
    torch.testing.assert_close(layer.query.weight, layer.key.weight)
    tokens = torch.nn.functional.normalize(torch.randn(30, 64), dim=1) * 8
    scores = (layer.query(tokens) @ layer.key(tokens).T).detach()
    assert scores.argmax(dim=1).tolist() == list(range(30))


def test_values_pass_through_unchanged() -> None:
    attention = build(matching()).reader.masked_lm.bert.encoder.layer[0].attention
    tokens = torch.randn(7, 64)
    passed = attention.output.dense(attention.self.value(tokens))
    torch.testing.assert_close(passed, tokens, rtol=1e-4, atol=1e-4)


def test_the_head_begins_as_the_identity_before_the_tied_output() -> None:
    masked_lm = build(matching()).reader.masked_lm
    assert torch.equal(masked_lm.cls.predictions.transform.dense.weight, torch.eye(64))
    words = masked_lm.bert.embeddings.word_embeddings.weight
    assert masked_lm.cls.predictions.decoder.weight is words
    assert words.std().item() == pytest.approx(0.1, rel=1e-3)


@pytest.mark.parametrize("shared", [True, False])
def test_these_weights_too_depend_on_the_seed_alone(shared: bool) -> None:
    config = matching(shared=shared)
    # Kept alive, so that every one lies elsewhere in memory.
    models = [build(config, seed=1) for _ in range(8)]
    assert len({fingerprint(model) for model in models}) == 1
    assert fingerprint(build(config, seed=2)) != fingerprint(models[0])


def test_both_towers_and_the_reader_get_them() -> None:
    model = build(matching(shared=False))
    berts = [
        model.embedder.chunk_tower.bert,
        model.embedder.query_tower.bert,
        model.reader.masked_lm.bert,
    ]
    for bert in berts:
        layer = bert.encoder.layer[0].attention.self
        assert torch.equal(layer.query.weight, layer.key.weight)
    first, second = (b.encoder.layer[0].attention.self.query.weight for b in berts[:2])
    assert not torch.equal(first, second)


def test_berts_own_weights_are_the_default() -> None:
    layer = build(model_config()).reader.masked_lm.bert.encoder.layer[0].attention.self
    assert not torch.equal(layer.query.weight, layer.key.weight)
