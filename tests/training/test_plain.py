"""Tests of the stages without retrieval: losses against those computed by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny import World, log_p_everywhere

from openrealm.data.pretraining import ClozePairs, MaskedTexts
from openrealm.models.realm import Realm
from openrealm.settings import IctConfig, MlmConfig
from openrealm.training.plain import IctStage, MlmStage


@pytest.fixture()
def model(world: World) -> Realm:
    return world.model(lively=True)


def test_plain_masked_lm_is_the_mean_cross_entropy_of_the_masks(world: World, model: Realm) -> None:
    config = MlmConfig(steps=5, batch_size=4)
    stage = MlmStage(world.parts(model, seed=7), config)
    texts = MaskedTexts(
        world.store,
        seed=7,
        mask_rate=0.15,
        max_tokens=world.templates.joint_tokens - 2,
    ).batch(2, 4)
    wide = replace(world.templates, query_tokens=world.templates.joint_tokens)
    losses, right = [], []
    for text in texts:
        log_p = log_p_everywhere(model, wide.query([text.masked_ids]))
        for place, target in zip(text.positions, text.targets, strict=True):
            losses.append(-log_p[place + 1, target].item())
            right.append(int(log_p[place + 1].argmax()) == target)
    result = stage.step(2, None)
    assert result.loss.item() == pytest.approx(float(np.mean(losses)), rel=1e-4)
    assert result.metrics["mlm/accuracy"].value == pytest.approx(float(np.mean(right)))
    assert result.num_examples == 4
    assert result.num_tokens == sum(len(t.masked_ids) + 2 for t in texts)


def test_inverse_cloze_is_softmax_cross_entropy_over_the_batch(world: World, model: Realm) -> None:
    stage = IctStage(world.parts(model, seed=7), IctConfig(steps=5, batch_size=6))
    pairs = ClozePairs(world.store, seed=7, removal=0.9).batch(1, 6)
    queries, chunks = [], []
    for pair in pairs:
        title = world.store.title_ids(pair.row)
        queries.append(model.embedder.embed_queries(world.templates.query([pair.sentence_ids]))[0])
        chunks.append(
            model.embedder.embed_chunks(world.templates.chunk([title], [pair.body_ids]))[0]
        )
    scores = (torch.stack(queries) @ torch.stack(chunks).T).double().detach()
    by_hand = -scores.log_softmax(dim=1).diagonal().mean().item()
    result = stage.step(1, None)
    assert result.loss.item() == pytest.approx(by_hand, rel=1e-4)
    right = (scores.argmax(dim=1) == torch.arange(6)).double().mean().item()
    assert result.metrics["ict/accuracy"].value == pytest.approx(right)


def test_a_chunk_that_is_twice_in_a_batch_is_no_negative_of_itself(
    world: World, model: Realm
) -> None:
    # Two passes over the corpus in one batch: every chunk is there twice.
    size = len(world.store)
    stage = IctStage(world.parts(model), IctConfig(steps=1, batch_size=2 * size))
    loss = stage.step(0, None).loss.item()
    pairs = ClozePairs(world.store, seed=0, removal=0.9).batch(0, 2 * size)
    queries = model.embedder.embed_queries(world.templates.query([p.sentence_ids for p in pairs]))
    chunks = model.embedder.embed_chunks(
        world.templates.chunk(
            [world.store.title_ids(p.row) for p in pairs], [p.body_ids for p in pairs]
        )
    )
    scores = (queries @ chunks.T).double().detach().numpy()
    losses = []
    for n, pair in enumerate(pairs):
        kept = [m for m, other in enumerate(pairs) if m == n or other.row != pair.row]
        top = max(scores[n, m] for m in kept)
        total = top + math.log(sum(math.exp(scores[n, m] - top) for m in kept))
        losses.append(total - scores[n, n])
    assert loss == pytest.approx(float(np.mean(losses)), rel=1e-4)


def test_plain_masked_lm_reads_no_more_than_a_joint_input_holds(world: World, model: Realm) -> None:
    short = replace(world.templates, query_tokens=8, chunk_tokens=8)
    encoder = replace(world.encoder(model), templates=short)
    parts = replace(world.parts(model), encoder=encoder)
    result = MlmStage(parts, MlmConfig(batch_size=48)).step(0, None)
    bodies = [len(world.store.body_ids(row)) for row in range(48)]
    assert result.num_tokens == sum(min(body + 2, short.joint_tokens) for body in bodies)
