"""Tests of the input templates against lists of tokens written by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny import CHUNK_TOKENS, World

from openrealm.models.inputs import Inputs, Templates, length_groups
from openrealm.retrieval.batches import masked_batch
from openrealm.retrieval.candidates import Candidates
from openrealm.retrieval.embedding import embed_rows

CLS, SEP, PAD = 2, 3, 0
TEMPLATES = Templates(cls_id=CLS, sep_id=SEP, pad_id=PAD, query_tokens=6, chunk_tokens=10)


def ids(*numbers: int) -> np.ndarray:
    return np.asarray(numbers, dtype=np.int32)


def rows(inputs: Inputs) -> list[tuple[list[int], list[int]]]:
    """Tokens and segments of each row without its padding."""
    found = []
    for tokens, segments, real in zip(
        inputs.token_ids.tolist(), inputs.segment_ids.tolist(), inputs.attention_mask, strict=True
    ):
        length = int(real.sum())
        assert real.tolist() == [n < length for n in range(len(tokens))]
        assert tokens[length:] == [PAD] * (len(tokens) - length)
        assert segments[length:] == [0] * (len(tokens) - length)
        found.append((tokens[:length], segments[:length]))
    return found


def test_a_query_is_cls_x_sep_in_segment_0() -> None:
    inputs = TEMPLATES.query([ids(10, 11), ids(12)])
    assert rows(inputs) == [([CLS, 10, 11, SEP], [0, 0, 0, 0]), ([CLS, 12, SEP], [0, 0, 0])]
    assert inputs.token_ids.shape == (2, 4)


def test_a_query_too_long_loses_its_tail() -> None:
    inputs = TEMPLATES.query([ids(10, 11, 12, 13, 14, 15)])
    assert rows(inputs) == [([CLS, 10, 11, 12, 13, SEP], [0] * 6)]


def test_a_chunk_is_title_and_body_in_segments_0_and_1() -> None:
    inputs = TEMPLATES.chunk([ids(20)], [ids(30, 31)])
    assert rows(inputs) == [([CLS, 20, SEP, 30, 31, SEP], [0, 0, 0, 1, 1, 1])]


def test_the_body_gets_what_the_title_leaves() -> None:
    inputs = TEMPLATES.chunk([ids(20, 21)], [ids(*range(30, 40))])
    tokens, segments = rows(inputs)[0]
    assert tokens == [CLS, 20, 21, SEP, 30, 31, 32, 33, 34, SEP]
    assert segments == [0, 0, 0, 0, 1, 1, 1, 1, 1, 1]


def test_a_title_may_take_all_the_room_but_for_the_special_tokens() -> None:
    inputs = TEMPLATES.chunk([ids(*range(20, 40))], [ids(30, 31)])
    assert rows(inputs) == [([CLS, *range(20, 27), SEP, SEP], [0] * 9 + [1])]


def test_the_null_chunk_is_cls_sep_sep_in_segments_0_0_1() -> None:
    assert rows(TEMPLATES.chunk([ids()], [ids()])) == [([CLS, SEP, SEP], [0, 0, 1])]


def test_a_joint_input_has_the_query_first_and_no_title() -> None:
    inputs = TEMPLATES.joint([ids(10, 11), ids(10, 11)], [ids(30), ids()])
    assert rows(inputs) == [
        ([CLS, 10, 11, SEP, 30, SEP], [0, 0, 0, 0, 1, 1]),
        ([CLS, 10, 11, SEP, SEP], [0, 0, 0, 0, 1]),
    ]


def test_a_joint_input_cuts_query_and_body_at_their_own_lengths() -> None:
    inputs = TEMPLATES.joint([ids(*range(10, 20))], [ids(*range(30, 50))])
    tokens, segments = rows(inputs)[0]
    assert tokens == [CLS, 10, 11, 12, 13, SEP, *range(30, 38), SEP]
    assert segments == [0] * 6 + [1] * 9
    assert len(tokens) == TEMPLATES.joint_tokens


def test_a_mask_has_the_same_place_beside_every_candidate(world: World) -> None:
    queries = world.queries().batch(0, 4)
    found = np.tile(np.arange(3), (4, 1))
    batch = masked_batch(queries, Candidates(found), world.store, world.templates)
    for number, (query, _) in enumerate(batch.joint_slots.tolist()):
        real = batch.mask_mask[query]
        places = batch.mask_positions[query][real]
        assert set(batch.joint.token_ids[number, places].tolist()) == {world.tokenizer.mask_id}
        assert batch.targets[query][real].tolist() == queries[query].targets.tolist()


def test_no_rows_make_an_empty_input() -> None:
    inputs = TEMPLATES.query([])
    assert len(inputs) == 0 and inputs.token_ids.shape == (0, 0)


def test_queries_and_bodies_of_different_number_are_refused() -> None:
    with pytest.raises(ValueError, match="shorter"):
        TEMPLATES.joint([ids(1), ids(2)], [ids(3)])


def test_chosen_rows_are_cut_to_the_longest_among_them() -> None:
    inputs = TEMPLATES.query([ids(10), ids(11, 12, 13), ids(14, 15)])
    chosen = inputs.rows(torch.tensor([2, 0]))
    assert rows(chosen) == [([CLS, 14, 15, SEP], [0] * 4), ([CLS, 10, SEP], [0] * 3)]
    assert chosen.token_ids.shape == (2, 4)
    assert inputs.lengths.tolist() == [3, 5, 4]


@pytest.mark.parametrize("groups", [1, 2, 3, 7])
def test_length_groups_hold_every_row_once_shorter_ones_first(groups: int) -> None:
    lengths = torch.tensor([5, 1, 4, 4, 2])
    parts = length_groups(lengths, groups=groups)
    together = torch.cat(parts).tolist()
    assert sorted(together) == [0, 1, 2, 3, 4]
    assert [int(lengths[n]) for n in together] == [1, 2, 4, 4, 5]
    assert len(parts) <= groups and all(len(part) for part in parts)


def test_a_chunk_is_cut_at_the_same_place_for_the_index_as_for_training(world: World) -> None:
    # A long title and body, cut by templates shorter than the store's own chunks.
    short = Templates.of(world.tokenizer, query_tokens=12, chunk_tokens=12)
    model = world.model()
    row = world.row_of("The old town lies")
    indexed = embed_rows(world.store, [row], replace(world.encoder(model), templates=short))
    queries = world.queries().batch(0, 1)
    batch = masked_batch(queries, Candidates(np.array([[row]])), world.store, short)
    trained = model.embedder.embed_chunks(batch.chunks).detach().numpy()
    assert batch.chunks.lengths.tolist() == [3, 12]
    np.testing.assert_allclose(trained[1:], indexed, rtol=1e-5, atol=1e-6)


def test_the_stores_own_chunks_are_never_cut(world: World) -> None:
    for row in range(len(world.store)):
        inputs = world.templates.chunk([world.store.title_ids(row)], [world.store.body_ids(row)])
        assert int(inputs.lengths) == int(world.store.lengths[row]) <= CHUNK_TOKENS
        tokens = inputs.token_ids[0].tolist()
        body = world.store.body_ids(row).tolist()
        assert tokens[-1 - len(body) : -1] == body


def test_masks_may_be_left_out_of_what_the_embedder_reads(world: World) -> None:
    mask = world.tokenizer.mask_id
    ids = np.array([7, mask, mask, 9, mask], dtype=np.int32)
    blind = Templates.of(world.tokenizer, query_tokens=8, chunk_tokens=12, query_masks=False)
    seeing = replace(blind, left_out_id=None)
    assert blind.query([ids, ids[1:3]]).token_ids.tolist() == [
        [world.tokenizer.cls_id, 7, 9, world.tokenizer.sep_id],
        [world.tokenizer.cls_id, world.tokenizer.sep_id] + [world.tokenizer.pad_id] * 2,
    ]
    assert mask in seeing.query([ids]).token_ids
    # The reader has them all the same.
    assert torch.equal(blind.joint([ids], [ids]).token_ids, seeing.joint([ids], [ids]).token_ids)
