"""Tests of the reader's heads: logits at the masks, the table of spans."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny import World

from openrealm.models.inputs import Templates
from openrealm.models.reader import CandidateSpans, Reader, SpanHead, body_mask
from openrealm.settings import SpanHeadConfig


def ids(*numbers: int) -> np.ndarray:
    return np.asarray(numbers, dtype=np.int32)


@pytest.fixture()
def reader(world: World) -> Reader:
    return world.model().reader


def test_spans_are_all_pairs_up_to_the_width_ordered_by_width_then_start() -> None:
    spans = CandidateSpans.of(seq=4, max_width=3)
    pairs = list(zip(spans.starts.tolist(), spans.ends.tolist(), strict=True))
    assert pairs == [(0, 0), (1, 1), (2, 2), (3, 3), (0, 1), (1, 2), (2, 3), (0, 2), (1, 3)]


def test_spans_are_never_wider_than_the_text() -> None:
    assert len(CandidateSpans.of(seq=2, max_width=10).starts) == 3


def test_a_spans_score_is_that_of_the_original_written_out() -> None:
    head = SpanHead(6, SpanHeadConfig(hidden=5, max_width=2)).double()
    states = torch.randn(1, 3, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    spans = CandidateSpans.of(seq=3, max_width=2)
    found = head(states, spans)[0].detach().numpy()
    w, b = (p.detach().numpy() for p in head.dense_intermediate.parameters())
    v, c = (p.detach().numpy() for p in head.dense_output.parameters())
    for number, (start, end) in enumerate(zip(spans.starts, spans.ends, strict=True)):
        both = states[0].numpy() @ w.T + b
        joined = np.maximum(both[start, :5] + both[end, 5:], 0.0)
        centred = joined - joined.mean()
        normal = centred / np.sqrt((centred**2).mean() + 1e-3)
        assert found[number] == pytest.approx(float(normal @ v[0] + c[0]), rel=1e-9, abs=1e-12)


def test_logits_are_those_of_the_whole_sequence_at_the_chosen_places(
    world: World, reader: Reader
) -> None:
    joint = world.templates.joint(
        [ids(7, 8, 9), ids(7)], [world.store.body_ids(0), world.store.body_ids(1)[:4]]
    )
    everywhere = reader.masked_lm(
        input_ids=joint.token_ids,
        token_type_ids=joint.segment_ids,
        attention_mask=joint.attention_mask,
    ).logits
    positions = torch.tensor([[3, 1], [2, 2]])
    for groups in (1, 2):
        found = reader.logits_at(joint, positions, groups=groups)
        for row in range(2):
            torch.testing.assert_close(
                found[row], everywhere[row, positions[row]], rtol=1e-5, atol=1e-5
            )
        real = torch.tensor([[True, False], [True, True]])
        wanted = torch.stack([everywhere[0, 3], everywhere[1, 2], everywhere[1, 2]])
        alone = reader.masked_logits(joint, positions, real, groups=groups)
        torch.testing.assert_close(alone, wanted, rtol=1e-5, atol=1e-5)


def test_the_body_lies_between_the_first_and_the_last_sep() -> None:
    templates = Templates(cls_id=2, sep_id=3, pad_id=0, query_tokens=6, chunk_tokens=8)
    joint = templates.joint([ids(10, 11), ids(10), ids(10)], [ids(20, 21), ids(20), ids()])
    assert body_mask(joint).int().tolist() == [
        [0, 0, 0, 0, 1, 1, 0],  # [CLS] x x [SEP] b b [SEP]
        [0, 0, 0, 1, 0, 0, 0],
        [0, 0, 0, 0, 0, 0, 0],
    ]


def test_only_spans_of_a_filled_body_and_the_null_item_are_valid(reader: Reader) -> None:
    templates = Templates(cls_id=2, sep_id=3, pad_id=0, query_tokens=6, chunk_tokens=8)
    query, body = ids(10), ids(20, 21)
    joint = templates.joint([query] * 3, [ids(), body, body])
    spans = CandidateSpans.of(seq=joint.token_ids.shape[1], max_width=2)
    relevance = torch.tensor([[0.5, 1.0, 2.0]])
    filled = torch.tensor([[True, True, False]])
    scores, valid = reader.span_table(joint, relevance, filled, spans)
    per_slot = len(spans.starts)
    found = [divmod(n, per_slot) for n in valid[0].nonzero().flatten().tolist()]
    places = [(slot, int(spans.starts[n]), int(spans.ends[n])) for slot, n in found]
    # Body tokens are at 3 and 4; the third slot holds nothing.
    assert places == [(0, 0, 0), (1, 3, 3), (1, 4, 4), (1, 3, 4)]
    alone = reader.span_head(reader.states(joint), spans)
    by_hand = (alone + relevance[0, :, None]).flatten()
    torch.testing.assert_close(scores[0], by_hand)


def test_a_question_without_a_null_chunk_has_no_null_item(reader: Reader) -> None:
    templates = Templates(cls_id=2, sep_id=3, pad_id=0, query_tokens=6, chunk_tokens=8)
    joint = templates.joint([ids(10)] * 2, [ids(), ids(20)])
    spans = CandidateSpans.of(seq=joint.token_ids.shape[1], max_width=1)
    _, valid = reader.span_table(joint, torch.zeros(1, 2), torch.tensor([[False, True]]), spans)
    assert valid.sum().item() == 1


@pytest.mark.parametrize("groups", [2, 3, 9])
def test_spans_are_scored_alike_in_groups_of_similar_length(world: World, groups: int) -> None:
    reader = world.model(lively=True).reader
    bodies = [ids(), world.store.body_ids(0), world.store.body_ids(1)[:4], ids(11, 12)]
    joint = world.templates.joint([ids(7, 8, 9)] * 2 + [ids(7)] * 2, bodies)
    spans = CandidateSpans.of(seq=joint.token_ids.shape[1], max_width=4)
    relevance, filled = torch.zeros(2, 2), torch.ones(2, 2, dtype=torch.bool)
    wanted, valid = reader.span_table(joint, relevance, filled, spans)
    found, also_valid = reader.span_table(joint, relevance, filled, spans, groups=groups)
    assert torch.equal(valid, also_valid)
    torch.testing.assert_close(found[valid], wanted[valid], rtol=1e-4, atol=1e-4)
