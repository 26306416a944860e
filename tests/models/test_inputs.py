"""Tests of the input templates against lists of tokens written by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny import CHUNK_TOKENS, World

from openrealm.models.inputs import Inputs, Templates
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


def test_packed_rows_lie_end_to_end_the_shortest_first() -> None:
    mask = torch.tensor([[1, 1, 1, 0], [1, 0, 0, 0], [1, 1, 1, 0], [1, 1, 0, 0]], dtype=torch.bool)
    ids_ = torch.arange(16).view(4, 4)
    packed = Inputs(token_ids=ids_, segment_ids=ids_ % 2, attention_mask=mask).packed()
    assert packed.token_ids.tolist() == [4, 12, 13, 0, 1, 2, 8, 9, 10]
    assert packed.segment_ids.tolist() == [0, 0, 1, 0, 1, 0, 0, 1, 0]
    assert packed.positions.tolist() == [0, 0, 1, 0, 1, 2, 0, 1, 2]
    assert packed.rows.tolist() == [1, 3, 3, 0, 0, 0, 2, 2, 2]
    assert packed.starts.tolist() == [3, 0, 6, 1] and packed.lengths.tolist() == [3, 1, 3, 2]
    assert packed.blocks == [(1, 1), (1, 2), (2, 3)]
    table = packed.padded(packed.token_ids[:, None].float())
    assert torch.equal(table[..., 0], (ids_ * mask).float())


def test_tokens_that_are_left_out_leave_their_position_empty() -> None:
    ids_ = torch.tensor([[5, 6, 7, 8], [9, 5, 0, 0]])
    inputs = Inputs(token_ids=ids_, segment_ids=ids_ * 0, attention_mask=ids_ > 0)
    packed = inputs.packed(only=ids_ != 6)
    assert packed.token_ids.tolist() == [9, 5, 5, 7, 8]
    assert packed.positions.tolist() == [0, 1, 0, 2, 3]
    assert packed.lengths.tolist() == [3, 2] and packed.width == 4


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


@pytest.mark.parametrize("most", [1, 2, 3, 5, 9, 50])
def test_pieces_are_whole_rows_that_lie_end_to_end_again(most: int) -> None:
    mask = torch.arange(4) < torch.tensor([3, 1, 3, 2, 3, 1])[:, None]
    ids_ = torch.arange(24).view(6, 4)
    packed = Inputs(token_ids=ids_, segment_ids=ids_ % 2, attention_mask=mask).packed()
    pieces = packed.pieces(most)
    for name in ("token_ids", "segment_ids", "positions", "rows"):
        together = torch.cat([getattr(piece, name) for piece in pieces])
        assert torch.equal(together, getattr(packed, name))
    for piece in pieces:
        lengths = [length for rows, length in piece.blocks for _ in range(rows)]
        assert (
            piece.rows.tolist()
            == torch.tensor(
                [
                    row
                    for row, n in zip(piece.rows.unique_consecutive(), lengths, strict=True)
                    for _ in range(n)
                ]
            ).tolist()
        )
        assert len(piece.token_ids) == sum(lengths) <= max(most, lengths[0])
    # No two that follow each other would have fitted into one.
    sizes = [len(piece.token_ids) for piece in pieces]
    firsts = [piece.blocks[0][1] for piece in pieces[1:]]
    assert all(size + first > most for size, first in zip(sizes, firsts, strict=False))
