"""Tests of the two towers: pooling, projection, sharing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny import World, model_config

from openrealm.models.embedder import Embedder
from openrealm.models.inputs import Inputs
from openrealm.models.pretrained import build_model
from openrealm.settings import EmbedderConfig, ModelConfig


def embedder_of(config: ModelConfig, world: World) -> Embedder:
    tokenizer = world.tokenizer
    model = build_model(config, vocab_size=tokenizer.vocab_size, pad_id=tokenizer.pad_id, seed=0)
    return model.eval().embedder


@pytest.fixture()
def chunks(world: World) -> Inputs:
    rows = range(0, 12)
    return world.templates.chunk(
        [world.store.title_ids(r) for r in rows], [world.store.body_ids(r) for r in rows]
    )


def sentence_encoder(**changes: object) -> ModelConfig:
    """Shape of a mean-pooled sentence encoder, as the preset `adapt` has it."""
    options = {"pooling": "mean", "projection": "none", "score_scale": 20.0}
    return model_config(**(options | changes))


def test_the_released_projection_is_a_dense_layer_with_bias_and_a_layer_norm(
    world: World, chunks: Inputs
) -> None:
    embedder = embedder_of(model_config(), world)
    tower = embedder.chunk_tower
    packed = chunks.packed()
    assert tower.bert.pooler is not None
    pooled = tower.bert.pooler(tower.bert(packed)[packed.starts]).detach().double().numpy()
    weight, bias = (p.detach().double().numpy() for p in tower.dense.parameters())
    projected = pooled @ weight.T + bias
    centred = projected - projected.mean(axis=1, keepdims=True)
    by_hand = centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + 1e-12)
    found = embedder.embed_chunks(chunks).detach().numpy()
    np.testing.assert_allclose(found, by_hand, rtol=1e-3, atol=1e-4)
    assert found.shape == (12, 8) and embedder.dim == 8


def test_a_sentence_encoder_is_the_mean_of_the_real_tokens(world: World, chunks: Inputs) -> None:
    embedder = embedder_of(sentence_encoder(), world)
    found = embedder.embed_chunks(chunks).detach().numpy()
    for row in range(len(chunks)):
        alone = chunks.rows(torch.tensor([row])).packed()
        states = embedder.chunk_tower.bert(alone).detach()
        by_hand = states.double().numpy().mean(axis=0)
        by_hand /= np.linalg.norm(by_hand)
        np.testing.assert_allclose(found[row], by_hand, rtol=1e-4, atol=1e-6)
    assert embedder.dim == 16


def test_a_sentence_encoders_scores_are_scaled_cosines(world: World, chunks: Inputs) -> None:
    scaled = embedder_of(sentence_encoder(), world)
    raw = scaled.chunk_tower.pool(chunks).detach()
    cosines = torch.nn.functional.cosine_similarity(raw[:, None], raw[None], dim=-1)
    scores = scaled.embed_queries(chunks) @ scaled.embed_chunks(chunks).T
    torch.testing.assert_close(scores.detach(), 20.0 * cosines, rtol=1e-4, atol=1e-3)


def test_padding_does_not_change_a_vector(world: World) -> None:
    embedder = embedder_of(model_config(), world)
    short, long = world.store.body_ids(1), world.store.body_ids(0)
    alone = embedder.embed_queries(world.templates.query([short[:3]]))
    padded = embedder.embed_queries(world.templates.query([short[:3], long]))
    torch.testing.assert_close(alone[0], padded[0], rtol=1e-5, atol=1e-5)


def test_a_shared_tower_is_one_module_and_an_unshared_one_is_a_copy(
    world: World, chunks: Inputs
) -> None:
    embedder = embedder_of(model_config(), world)
    assert embedder.is_shared
    before = embedder.embed_queries(chunks).detach()
    embedder.unshare()
    assert not embedder.is_shared
    assert torch.equal(embedder.embed_queries(chunks), before)
    with torch.no_grad():
        embedder.query_tower.dense.bias.add_(torch.arange(8.0))
    assert not torch.equal(embedder.embed_queries(chunks), before)
    assert torch.equal(embedder.embed_chunks(chunks), before)  # the chunks' tower has not moved
    tower = embedder.query_tower
    embedder.unshare()
    assert embedder.query_tower is tower


def test_towers_that_are_not_shared_begin_apart(world: World, chunks: Inputs) -> None:
    embedder = embedder_of(model_config(shared=False), world)
    assert not embedder.is_shared
    assert not torch.equal(embedder.embed_queries(chunks), embedder.embed_chunks(chunks))


def test_the_papers_embedder_is_the_default() -> None:
    config = EmbedderConfig()
    assert (config.dim, config.pooling, config.projection, config.shared) == (
        128,
        "cls",
        "linear",
        True,
    )
    assert (config.has_unit_length, config.score_scale) == (False, 1.0)


def test_tokens_that_the_texts_do_not_have_are_passed_over(world: World) -> None:
    embedder = embedder_of(sentence_encoder(known_tokens=True), world)
    texts = ("the river Velle", "the river Bresk", "the river Sable")
    inputs = world.templates.query([world.ids(text) for text in texts])
    assert inputs.attention_mask.all()
    before = embedder.embed_queries(inputs)
    known = torch.ones(world.tokenizer.vocab_size, dtype=torch.bool)
    for name in ("Velle", "Bresk"):
        known[world.ids(name).tolist()] = False
    embedder.set_known(known)
    velle, bresk, sable = embedder.embed_queries(inputs)
    torch.testing.assert_close(velle, bresk)
    torch.testing.assert_close(sable, before[2])
    assert not torch.allclose(velle, before[0]) and not torch.allclose(velle, sable)


@pytest.mark.parametrize("projection", ["linear", "none", "adapter"])
def test_a_vector_is_the_projection_of_what_was_pooled(
    world: World, chunks: Inputs, projection: str
) -> None:
    embedder = embedder_of(sentence_encoder(projection=projection), world)
    tower = embedder.chunk_tower
    pooled = tower.pool(chunks)
    assert pooled.shape == (12, embedder.hidden)
    torch.testing.assert_close(tower.project(pooled), embedder.embed_chunks(chunks))


def test_an_adapter_begins_as_nothing_and_bends_the_vectors_before_their_length(
    world: World, chunks: Inputs
) -> None:
    plain = embedder_of(sentence_encoder(), world)
    bent = embedder_of(sentence_encoder(projection="adapter"), world)
    bent.chunk_tower.bert.load_state_dict(plain.chunk_tower.bert.state_dict())
    torch.testing.assert_close(bent.embed_chunks(chunks), plain.embed_chunks(chunks))
    with torch.no_grad():
        weight = torch.randn(16, 16, generator=torch.Generator().manual_seed(0))
        bent.chunk_tower.adapter.weight.copy_(weight)
    pooled = plain.chunk_tower.pool(chunks)
    by_hand = torch.nn.functional.normalize(pooled @ weight.T, dim=-1)
    torch.testing.assert_close(bent.embed_chunks(chunks), by_hand)
