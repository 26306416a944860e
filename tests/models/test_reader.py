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
    states = torch.randn(3, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    spans = CandidateSpans.of(seq=3, max_width=2)
    found = torch.cat(head(states, widths=2)).detach().numpy()
    w, b = (p.detach().numpy() for p in head.dense_intermediate.parameters())
    v, c = (p.detach().numpy() for p in head.dense_output.parameters())
    for number, (start, end) in enumerate(zip(spans.starts, spans.ends, strict=True)):
        both = states.numpy() @ w.T + b
        joined = np.maximum(both[start, :5] + both[end, 5:], 0.0)
        centred = joined - joined.mean()
        normal = centred / np.sqrt((centred**2).mean() + 1e-3)
        assert found[number] == pytest.approx(float(normal @ v[0] + c[0]), rel=1e-9, abs=1e-12)


def test_logits_are_those_of_each_whole_sequence_at_the_chosen_places(
    world: World, reader: Reader
) -> None:
    queries, bodies = [ids(7, 8, 9), ids(7)], [world.store.body_ids(0), world.store.body_ids(1)[:4]]
    joint = world.templates.joint(queries, bodies)
    alone = [world.templates.joint([q], [b]) for q, b in zip(queries, bodies, strict=True)]
    first, second = (reader.masked_lm(inputs.packed()) for inputs in alone)
    real = torch.tensor([[True, False], [True, True]])
    found = reader.masked_logits(joint, torch.tensor([[3, 1], [2, 1]]), real)
    wanted = torch.stack([first[3], second[2], second[1]])
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


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
    null, full = (templates.joint([query], [each]).packed() for each in (ids(), body))
    no_answer = reader.span_head(reader.masked_lm.bert(null), widths=1)[0][0]
    ones, twos = reader.span_head(reader.masked_lm.bert(full), widths=2)
    by_hand = torch.stack([no_answer + 0.5, ones[3] + 1.0, ones[4] + 1.0, twos[3] + 1.0])
    torch.testing.assert_close(scores[valid], by_hand)


def test_a_question_without_a_null_chunk_has_no_null_item(reader: Reader) -> None:
    templates = Templates(cls_id=2, sep_id=3, pad_id=0, query_tokens=6, chunk_tokens=8)
    joint = templates.joint([ids(10)] * 2, [ids(), ids(20)])
    spans = CandidateSpans.of(seq=joint.token_ids.shape[1], max_width=1)
    _, valid = reader.span_table(joint, torch.zeros(1, 2), torch.tensor([[False, True]]), spans)
    assert valid.sum().item() == 1


def test_spans_are_scored_alike_whatever_stands_beside_their_row(world: World) -> None:
    reader = world.model(lively=True).reader
    bodies = [ids(), world.store.body_ids(0), ids(), world.store.body_ids(1)[:4]]
    joint = world.templates.joint([ids(7, 8, 9)] * 2 + [ids(7)] * 2, bodies)
    seq = joint.token_ids.shape[1]
    spans = CandidateSpans.of(seq=seq, max_width=4)
    relevance, filled = torch.zeros(2, 2), torch.ones(2, 2, dtype=torch.bool)
    scores, valid = reader.span_table(joint, relevance, filled, spans)
    scores, valid = scores.view(4, -1), valid.view(4, -1)
    for row in range(4):
        one = joint.rows(torch.tensor([row]))
        by_width = reader.span_head(reader.masked_lm.bert(one.packed()), widths=4)
        for item in valid[row].nonzero().flatten().tolist():
            start, end = int(spans.starts[item]), int(spans.ends[item])
            torch.testing.assert_close(
                scores[row, item], by_width[end - start][start], rtol=1e-4, atol=1e-4
            )
    # All spans of at most four tokens of each body, and one for no answer.
    lengths = [len(body) for body in bodies]
    assert valid.sum(dim=1).tolist() == [sum(max(n - w, 0) for w in range(4)) or 1 for n in lengths]
