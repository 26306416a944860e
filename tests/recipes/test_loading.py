"""Tests of what turns folders and settings into live objects."""

from __future__ import annotations

import numpy as np
import torch
from tiny import World

from openrealm.recipes.loading import known_tokens, token_prior


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
    prior = token_prior(store).exp().double().numpy()
    np.testing.assert_allclose(prior.sum(), 1.0, rtol=1e-5)
    np.testing.assert_allclose(prior, counts / counts.sum(), atol=1.1 / counts.sum())
    # A token that the texts do not have is less likely than one that they have once.
    assert prior[counts == 0].max() < prior[counts > 0].min() / len(counts) * 2


def test_a_reader_with_the_prior_predicts_it_before_it_reads(world: World) -> None:
    model, prior = world.model(), token_prior(world.store)
    for parameter in model.reader.masked_lm.parameters():
        parameter.data.zero_()
    model.reader.set_token_prior(prior)
    inputs = world.templates.query([world.ids("the old town")])
    logits = model.reader.logits_at(inputs, torch.tensor([[1]]))
    torch.testing.assert_close(logits[0, 0].log_softmax(-1), prior)
