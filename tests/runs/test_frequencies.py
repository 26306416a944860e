"""Tests of how often tokens stand in texts, and of first weights that know it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny import World, model_config

from openrealm.runs.first_weights import Beginning, first_model
from openrealm.runs.frequencies import known_tokens, token_prior
from openrealm.settings import Settings


def test_the_known_tokens_are_those_of_titles_and_bodies_and_what_joins_them(world: World) -> None:
    store, tokenizer = world.store, world.tokenizer
    had = {tokenizer.cls_id, tokenizer.sep_id, tokenizer.mask_id}
    for row in range(len(store)):
        had |= {*store.title_ids(row).tolist(), *store.body_ids(row).tolist()}
    known = known_tokens([store]).numpy()
    assert set(np.flatnonzero(known).tolist()) == had
    assert not known[tokenizer.pad_id] and len(known) == tokenizer.vocab_size


def test_the_token_prior_is_the_frequency_in_titles_and_bodies(world: World) -> None:
    store = world.store
    counts = np.zeros(world.tokenizer.vocab_size)
    for row in range(len(store)):
        for token in [*store.title_ids(row).tolist(), *store.body_ids(row).tolist()]:
            counts[token] += 1
    # What the texts do not have is no rarer than what they have once.
    counts = np.maximum(counts, 1)
    prior = token_prior([store]).exp().double().numpy()
    np.testing.assert_allclose(prior, counts / counts.sum(), rtol=1e-5)


def test_a_reader_with_the_prior_predicts_it_before_it_reads(world: World) -> None:
    model, prior = world.model(), token_prior([world.store])
    for parameter in model.reader.masked_lm.parameters():
        parameter.data.zero_()
    model.reader.set_frequencies(prior, prior=True)
    inputs = world.templates.query([world.ids("the old town")])
    logits = model.reader.masked_logits(inputs, torch.tensor([[1]]), torch.tensor([[True]]))
    torch.testing.assert_close(logits[0].log_softmax(-1), prior)


@pytest.mark.parametrize("prior", [True, False])
def test_a_copy_head_knows_the_frequencies_with_and_without_the_prior(
    world: World, prior: bool
) -> None:
    shape = replace(model_config(), copy_head=True, token_prior=prior)
    settings = replace(Settings(), start="scratch", model=shape)
    reader = first_model(Beginning.of(settings), corpus=world.store, texts=world.store).reader
    wanted = token_prior([world.store])
    assert reader.copy_head is not None
    torch.testing.assert_close(reader.copy_head.log_frequency, wanted)
    bias = reader.masked_lm.cls.predictions.bias
    torch.testing.assert_close(bias, wanted if prior else torch.zeros_like(wanted))


def test_two_towers_from_scratch_begin_alike(world: World) -> None:
    settings = replace(Settings(), start="scratch", model=model_config(shared=False))
    embedder = first_model(Beginning.of(settings), corpus=world.store, texts=world.store).embedder
    assert not embedder.is_shared
    inputs = world.templates.query([world.ids("the old town")])
    torch.testing.assert_close(embedder.query_tower(inputs), embedder.chunk_tower(inputs))
