"""Tests of the reader of answers against Hugging Face's, and of its spans against all of them."""

from __future__ import annotations

import math
from dataclasses import asdict

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import BertConfig as TheirConfig
from transformers import BertForQuestionAnswering

from openrealm.models.bert import BertConfig
from openrealm.models.inputs import Inputs, Templates
from openrealm.models.span_reader import SpanReader, best_spans, log_p_of_spans

CONFIG = BertConfig(
    vocab_size=40,
    hidden_size=16,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=24,
    max_position_embeddings=32,
    hidden_dropout_prob=0.0,
    attention_probs_dropout_prob=0.0,
    initializer_range=0.5,
)
TEMPLATES = Templates(cls_id=2, sep_id=3, pad_id=0, query_tokens=8, chunk_tokens=16)


def joint_of(*lengths: tuple[int, int], seed: int = 0) -> Inputs:
    """Questions and bodies of random tokens, of the given lengths."""
    draw = np.random.default_rng(seed)
    parts = [[draw.integers(4, 40, size).astype(np.int32) for size in pair] for pair in lengths]
    return TEMPLATES.joint([x for x, _ in parts], [body for _, body in parts])


def reader_of(seed: int = 0) -> SpanReader:
    torch.manual_seed(seed)
    return SpanReader(CONFIG).eval()


def test_scores_are_hugging_faces() -> None:
    torch.manual_seed(0)
    theirs = BertForQuestionAnswering(TheirConfig(**asdict(CONFIG))).eval()
    ours = SpanReader(CONFIG).eval()
    missing = ours.load_state_dict(theirs.state_dict(), strict=False)
    assert missing == (["calibration"], [])
    joint = joint_of((3, 7), (5, 2), (1, 12))
    found = ours(joint)
    wanted = theirs(
        input_ids=joint.token_ids,
        token_type_ids=joint.segment_ids,
        attention_mask=joint.attention_mask,
    )
    real = joint.attention_mask
    torch.testing.assert_close(found[real][:, 0], wanted.start_logits[real], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found[real][:, 1], wanted.end_logits[real], rtol=1e-5, atol=1e-5)


def test_an_answer_stands_in_the_body_or_is_the_first_token() -> None:
    joint = joint_of((3, 4), (2, 6))
    log_p = reader_of().log_p(joint)
    possible = torch.isfinite(log_p).all(dim=2)
    # [CLS] x [SEP] body [SEP]
    assert possible[0].nonzero().flatten().tolist() == [0, 5, 6, 7, 8]
    assert possible[1].nonzero().flatten().tolist() == [0, 4, 5, 6, 7, 8, 9]
    torch.testing.assert_close(log_p.exp().sum(dim=1), torch.ones(2, 2))


@given(st.integers(1, 12), st.integers(1, 14), st.integers(1, 5), st.integers(0, 9))
@settings(max_examples=40, deadline=None)
def test_the_best_spans_are_those_of_a_full_search(
    body: int, top: int, max_width: int, seed: int
) -> None:
    joint = joint_of((3, body), (4, 6), seed=seed)
    log_p = reader_of(seed).log_p(joint).detach()
    found = best_spans(log_p, top=top, max_width=max_width)
    for row, first, size in ((0, 5, body), (1, 6, 6)):
        spans = sorted(
            (
                (float(log_p[row, a, 0] + log_p[row, b, 1]), a, b)
                for a in range(first, first + size)
                for b in range(a, min(a + max_width, first + size))
            ),
            reverse=True,
        )[:top]
        values = found.log_p[row][: len(spans)].tolist()
        assert values == pytest.approx([value for value, _, _ in spans], abs=1e-6)
        assert all(math.isinf(value) for value in found.log_p[row][len(spans) :].tolist())
        for value, (a, b) in zip(values, found.spans[row].tolist(), strict=False):
            assert value == pytest.approx(float(log_p[row, a, 0] + log_p[row, b, 1]), abs=1e-6)
        assert float(found.log_p_null[row]) == pytest.approx(float(log_p[row, 0].sum()))


def test_probabilities_of_right_spans_are_added() -> None:
    joint, reader = joint_of((3, 4), (2, 6)), reader_of()
    log_p = reader.log_p(joint)
    spans = torch.tensor([[[5, 6], [7, 7]], [[0, 0], [0, 0]]])
    real = torch.tensor([[True, True], [True, False]])
    p_start, p_end = log_p.exp().unbind(dim=2)
    both = p_start[0, 5] * p_end[0, 6] + p_start[0, 7] * p_end[0, 7]
    found = log_p_of_spans(log_p, spans, real)
    torch.testing.assert_close(found.exp(), torch.stack([both, p_start[1, 0] * p_end[1, 0]]))
    found.sum().backward()  # what cannot answer has log p = -inf, and no gradient
    assert all(p.grad is None or p.grad.isfinite().all() for p in reader.parameters())
    assert reader.qa_outputs.weight.grad.abs().sum() > 0


def test_a_calibration_moves_the_log_odds() -> None:
    reader = reader_of()
    assert reader.calibrated(0.3) == pytest.approx(0.3)
    reader.calibration = torch.tensor([0.5, -1.0])
    odds = math.exp(0.5 * math.log(0.3 / 0.7) - 1.0)
    assert reader.calibrated(0.3) == pytest.approx(odds / (1 + odds))
    assert 0 < reader.calibrated(0.0) < reader.calibrated(1.0) < 1
