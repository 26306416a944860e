"""Tests of what is read with a query: the order of the present tower, and two rankings mixed."""

from __future__ import annotations

import numpy as np
import torch
from tiny import World

from openrealm.retrieval.batches import distinct_rows
from openrealm.retrieval.embedding import embed_rows
from openrealm.retrieval.retriever import NO_CHUNK
from openrealm.training.candidates import embedded_anew, interleave, rerank


def test_re_ranking_keeps_empty_slots_last(world: World) -> None:
    model = world.model(lively=True)
    found = np.array([[3, 1, NO_CHUNK, NO_CHUNK], [2, 5, 1, 0]])
    parts = world.parts(model)
    query_emb = torch.randn(2, 8, generator=torch.Generator().manual_seed(1))
    kept = rerank(query_emb, found, embedded_anew(parts, distinct_rows(found)), 3)
    vectors = embed_rows(world.store, np.arange(6), model.embedder, world.templates)
    scores = query_emb.numpy() @ vectors.T
    assert kept[0].tolist() == [*sorted([3, 1], key=lambda row: -scores[0, row]), NO_CHUNK]
    assert kept[1].tolist() == sorted([2, 5, 1, 0], key=lambda row: -scores[1, row])[:3]
    nothing = np.full((2, 4), NO_CHUNK)
    none = embedded_anew(parts, distinct_rows(nothing))
    assert (rerank(query_emb, nothing, none, 3) == NO_CHUNK).all()


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
