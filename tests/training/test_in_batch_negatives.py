"""Tests of which chunks of a batch count unread."""

from __future__ import annotations

import numpy as np
from tiny import World

from openrealm.retrieval.batches import origins
from openrealm.retrieval.retriever import NO_CHUNK, TrivialTest
from openrealm.settings import RetrievalConfig
from openrealm.training.in_batch_negatives import unread_chunks


def test_others_chunks_count_unless_they_are_trivial_or_hold_the_words(world: World) -> None:
    store, rule = world.store, RetrievalConfig(exclude="document")
    queries = world.queries().batch(0, 8)
    draw = np.random.default_rng(0)
    found = np.stack([draw.permutation(len(store))[:4] for _ in queries])
    found[1, 2:] = NO_CHUNK
    where = origins(queries, store, texts_are_corpus=True)
    unread = unread_chunks(queries, found, where, store, rule)
    distinct = sorted(set(found.flatten().tolist()) - {NO_CHUNK})
    assert unread.shape == (8, len(distinct))
    seen = {"own": 0, "trivial": 0, "holds": 0, "unread": 0}
    for q, query in enumerate(queries):
        words = world.tokenizer.decode(query.targets.tolist())
        for n, row in enumerate(distinct):
            text = world.tokenizer.decode(store.body_ids(row).tolist()).replace(".", " ")
            kind = (
                "own"
                if row in found[q]
                else "trivial"
                if TrivialTest(store, where[q], rule)(row)
                else "holds"
                if f" {words} " in f" {text} "
                else "unread"
            )
            seen[kind] += 1
            assert unread[q, n] == (kind == "unread"), (words, text)
    assert min(seen.values()) > 0


def test_a_batch_without_chunks_has_none_unread(world: World) -> None:
    queries = world.queries().batch(0, 2)
    where = origins(queries, world.store, texts_are_corpus=True)
    nothing = np.full((2, 3), NO_CHUNK)
    assert unread_chunks(queries, nothing, where, world.store, RetrievalConfig()).shape == (2, 0)
