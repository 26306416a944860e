"""Tests of what is read with a query: two rankings mixed."""

from __future__ import annotations

import numpy as np
from tiny import World

from openrealm.retrieval.candidates import (
    embed_masked_queries,
    in_batch_negatives,
    interleave,
    origins_of,
)
from openrealm.retrieval.retriever import NO_CHUNK, TrivialTest
from openrealm.settings import RetrievalConfig


def test_two_rankings_are_mixed_without_a_row_twice() -> None:
    first = np.array([[1, 2, 3, 4], [5, 6, 7, 8], [1, 2, NO_CHUNK, NO_CHUNK]])
    second = np.array([[2, 9, 1, 8], [5, 6, NO_CHUNK, NO_CHUNK], [2, 1, 7, 9]])
    # Two of the first, then what the second has new; what it cannot fill is left to the first.
    assert interleave(first, second, num_last=2).tolist() == [
        [1, 2, 9, 8],
        [5, 6, 7, 8],
        [1, 2, 7, 9],
    ]
    assert interleave(first, second, num_last=0).tolist() == first.tolist()
    assert interleave(first, second, num_last=4)[0].tolist() == [2, 9, 1, 8]
    # In a small corpus neither has enough.
    few = np.array([[10, 11, NO_CHUNK, NO_CHUNK]])
    assert interleave(few, few, num_last=3).tolist() == few.tolist()
    other = np.array([[12, NO_CHUNK, NO_CHUNK, NO_CHUNK]])
    assert interleave(few, other, num_last=3).tolist() == [[10, 12, 11, NO_CHUNK]]


def test_others_chunks_count_unless_they_are_trivial_or_hold_the_words(world: World) -> None:
    store, rule = world.store, RetrievalConfig(exclude="document")
    queries = world.queries().batch(0, 8)
    draw = np.random.default_rng(0)
    found = np.stack([draw.permutation(len(store))[:4] for _ in queries])
    found[1, 2:] = NO_CHUNK
    where = origins_of(queries, store, store)
    batch = embed_masked_queries(queries, world.encoder(world.model()), origins=where)
    negatives = in_batch_negatives(batch, found, store, rule)
    distinct = sorted(set(found.flatten().tolist()) - {NO_CHUNK})
    assert negatives.shape == (8, len(distinct))
    seen = {"own": 0, "trivial": 0, "holds": 0, "negatives": 0}
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
                else "negatives"
            )
            seen[kind] += 1
            assert negatives[q, n] == (kind == "negatives"), (words, text)
    assert min(seen.values()) > 0


def test_a_batch_without_chunks_has_none_negatives(world: World) -> None:
    queries = world.queries().batch(0, 2)
    where = origins_of(queries, world.store, world.store)
    nothing = np.full((2, 3), NO_CHUNK)
    batch = embed_masked_queries(queries, world.encoder(world.model()), origins=where)
    assert in_batch_negatives(batch, nothing, world.store, RetrievalConfig()).shape == (2, 0)
