"""Tests of queries and chunks as padded batches."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny import World

from openrealm.corpus.store import ChunkStore
from openrealm.data.pretraining import ClozePairs, MaskedText
from openrealm.retrieval.batches import (
    cloze_inputs,
    masked_batch,
    masked_text_inputs,
    query_inputs,
    read_batch,
)
from openrealm.retrieval.candidates import Candidates, origins_of
from openrealm.retrieval.retriever import NO_CHUNK


def test_every_slot_holds_the_chunk_retrieved_for_it(world: World) -> None:
    queries = world.queries().batch(0, 3)
    found = np.array([[3, 9], [9, NO_CHUNK], [NO_CHUNK, NO_CHUNK]])
    batch = masked_batch(queries, Candidates(found), world.store, world.templates)
    assert batch.candidate_mask.tolist() == [
        [True, True, True],
        [True, True, False],
        [True, False, False],
    ]
    cls_id, sep_id = world.tokenizer.cls_id, world.tokenizer.sep_id
    for query, line in enumerate(found):
        for slot, row in enumerate([NO_CHUNK, *line]):
            shown = batch.chunks.token_ids[batch.chunk_slots[query, slot]].tolist()
            if row == NO_CHUNK:
                assert shown[:3] == [cls_id, sep_id, sep_id]
            else:
                title, body = world.store.title_ids(row), world.store.body_ids(row)
                wanted = [cls_id, *title, sep_id, *body, sep_id]
                assert shown[: len(wanted)] == wanted


def test_every_joint_input_is_a_query_with_the_body_of_its_slot(world: World) -> None:
    queries = world.queries().batch(0, 2)
    found = np.array([[3, NO_CHUNK], [9, 4]])
    batch = masked_batch(queries, Candidates(found), world.store, world.templates)
    assert batch.joint_slots.tolist() == [[0, 0], [0, 1], [1, 0], [1, 1], [1, 2]]
    cls_id, sep_id = world.tokenizer.cls_id, world.tokenizer.sep_id
    for number, (query, slot) in enumerate(batch.joint_slots.tolist()):
        body = world.store.body_ids(int(found[query, slot - 1])) if slot else []
        wanted = [cls_id, *queries[query].masked_ids, sep_id, *body, sep_id]
        assert batch.joint.token_ids[number].tolist()[: len(wanted)] == wanted


def test_masks_are_padded_and_found_one_place_on_for_cls(world: World) -> None:
    several = world.queries().batch(0, 40)
    queries = (
        sorted(several, key=lambda q: len(q.targets))[:1]
        + [q for q in several if len(q.targets) == 2][:1]
    )
    batch = masked_batch(queries, Candidates(np.array([[1], [2]])), world.store, world.templates)
    assert batch.mask_mask.tolist() == [[True, False], [True, True]]
    assert batch.mask_positions[1].tolist() == (queries[1].positions + 1).tolist()
    shown = batch.query.token_ids.gather(1, batch.mask_positions)
    assert bool((shown == world.tokenizer.mask_id)[batch.mask_mask].all())


def test_origins_tell_where_a_query_stands_in_the_corpus(world: World) -> None:
    queries = world.queries().batch(0, 3)
    for query, origin in zip(queries, origins_of(queries, world.store, world.store), strict=True):
        assert origin.row == query.row
        assert origin.document_id == world.store.chunk(query.row).document_id
        np.testing.assert_array_equal(origin.sentence_ids, query.original_ids)
        np.testing.assert_array_equal(origin.body_ids, world.store.body_ids(query.row))
    elsewhere = origins_of(queries, world.store, ChunkStore.open(world.store.directory))
    assert [o.row for o in elsewhere] == [NO_CHUNK] * 3


def test_queries_are_shown_with_their_masks(world: World) -> None:
    queries = world.queries().batch(0, 3)
    shown = query_inputs(queries, world.templates)
    assert int((shown.token_ids == world.tokenizer.mask_id).sum()) == sum(
        len(q.positions) for q in queries
    )


def test_cloze_pairs_become_queries_and_chunks_with_their_titles(world: World) -> None:
    pairs = ClozePairs(world.store, seed=0, removal=1.0).batch(0, 4)
    queries, chunks = cloze_inputs(pairs, world.store, world.templates)
    for number, pair in enumerate(pairs):
        sentence = queries.token_ids[number, 1 : 1 + len(pair.sentence_ids)]
        assert sentence.tolist() == pair.sentence_ids.tolist()
        title = world.store.title_ids(pair.row)
        start = 2 + len(title)
        body = chunks.token_ids[number, start : start + len(pair.body_ids)]
        assert body.tolist() == pair.body_ids.tolist()


def test_plain_masked_texts_may_be_as_long_as_a_joint_input(world: World) -> None:
    size = world.templates.joint_tokens - 2
    ids = np.arange(10, 10 + size, dtype=np.int32)
    places = np.array([size - 1], dtype=np.int32)
    text = MaskedText(masked_ids=ids, positions=places, targets=ids[places])
    inputs, positions, targets, real = masked_text_inputs([text], world.templates)
    assert inputs.token_ids.shape == (1, world.templates.joint_tokens)
    assert inputs.token_ids[0, positions[0]].tolist() == targets[0].tolist()
    assert real.tolist() == [[True]]


def test_what_is_read_has_the_null_chunk_first_and_its_relevance(world: World) -> None:
    model = world.model(lively=True)
    bodies = [[world.store.body_ids(0), world.store.body_ids(5)], [world.store.body_ids(7)]]
    queries = [world.ids("capital of norland"), world.ids("bresk")]
    query_emb = model.embedder.embed_queries(world.templates.query(queries)).detach()
    relevance = torch.tensor([[2.0, 1.0], [0.5, 0.0]])
    batch = read_batch(world.encoder(model), queries, bodies, relevance, query_emb)
    assert batch.filled.tolist() == [[True, True, True], [True, True, False]]
    assert len(batch.joint) == 6
    assert torch.equal(batch.relevance[:, 1:], relevance)
    empty = np.empty(0, dtype=np.int32)
    null = model.embedder.embed_chunks(world.templates.chunk([empty], [empty])).detach()
    torch.testing.assert_close(batch.relevance[:, :1], query_emb @ null.T)
    assert not batch.relevance.requires_grad


def test_a_batch_keeps_its_values_on_its_way_to_a_device(world: World) -> None:
    queries = world.queries().batch(0, 2)
    batch = masked_batch(queries, Candidates(np.array([[3], [4]])), world.store, world.templates)
    moved = batch.to(torch.device("cpu"))
    assert torch.equal(moved.joint.token_ids, batch.joint.token_ids)
    assert torch.equal(moved.targets, batch.targets)
    assert vars(moved).keys() == vars(batch).keys()


def test_candidates_for_another_number_of_queries_are_refused(world: World) -> None:
    with pytest.raises(ValueError, match="dimension"):
        masked_batch(
            world.queries().batch(0, 3), Candidates(np.array([[1]])), world.store, world.templates
        )
