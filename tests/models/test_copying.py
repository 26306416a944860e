"""Tests of the copy head against sums by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny import World, model_config

from openrealm.models.copying import CopyHead, mixture, stands_in_query
from openrealm.models.likelihood import log_p_y_given_zx
from openrealm.models.pretrained import build_model
from openrealm.models.reader import Reader


@pytest.fixture()
def reader(world: World) -> Reader:
    config = replace(model_config(), copy_head=True)
    model = build_model(config, vocab_size=world.tokenizer.vocab_size, pad_id=0, seed=1)
    model.eval()
    return model.reader


def test_the_mixture_is_a_distribution_and_adds_up_by_hand() -> None:
    draw = np.random.default_rng(0)
    logits = draw.normal(size=(2, 6))
    copied = np.array([[0.1, 0.2, 0.0, 0.1], [0.0, 0.0, 0.0, 0.0]])
    ids = np.array([[5, 1, 5, 5], [0, 0, 0, 0]])
    wanted = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    wanted[0] *= 0.6
    wanted[0, 5] += 0.1 + 0.0 + 0.1
    wanted[0, 1] += 0.2
    found = mixture(torch.tensor(logits), torch.tensor(copied), torch.tensor(ids)).exp().numpy()
    np.testing.assert_allclose(found.sum(1), 1.0, rtol=1e-6)
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_attention_weighs_likeness_rarity_and_what_the_query_has() -> None:
    torch.manual_seed(0)
    head = CopyHead(4, 9)
    with torch.no_grad():
        head.query.weight.normal_()
        head.gate.weight.normal_()
    masks, states = torch.randn(1, 2, 4), torch.randn(1, 5, 4)
    body = torch.tensor([[False, False, True, True, False]])
    in_query = torch.tensor([[True, False, False, True, False]])
    head.log_frequency.copy_(-torch.arange(9.0))
    token_ids = torch.tensor([[1, 2, 3, 4, 5]])
    found = head.attention(masks, states, body=body, in_query=in_query, token_ids=token_ids)
    w = head.query.weight.detach().numpy()
    for mask in range(2):
        h = masks[0, mask].numpy()
        gate = 1 / (1 + math.exp(-(head.gate.weight @ masks[0, mask] + head.gate.bias).item()))
        score = [(w @ h) @ states[0, i].numpy() / 2 for i in (2, 3)]
        score = [score[0] + 0.5 * 3.0, score[1] + 0.5 * 4.0 - 2.0]
        soft = np.exp(score) / np.exp(score).sum()
        np.testing.assert_allclose(
            found[0, mask].detach().numpy(), [0, 0, gate * soft[0], gate * soft[1], 0], rtol=1e-5
        )


def test_without_a_body_nothing_is_copied_and_gradients_are_finite() -> None:
    head = CopyHead(4, 9)
    states = torch.randn(2, 3, 4, requires_grad=True)
    body = torch.tensor([[False, False, False], [False, True, False]])
    found = head.attention(
        states[:, :1],
        states,
        body=body,
        in_query=~body,
        token_ids=torch.zeros(2, 3, dtype=torch.long),
    )
    assert found[0].abs().sum() == 0 and found[1].sum() > 0.2
    found.sum().backward()  # type: ignore[no-untyped-call]
    assert states.grad is not None and torch.isfinite(states.grad).all()


def test_a_token_stands_in_the_query_wherever_it_is_in_the_row() -> None:
    ids = torch.tensor([[2, 7, 8, 3, 9, 7, 3]])
    query = torch.tensor([[True, True, True, True, False, False, False]])
    assert stands_in_query(ids, query).int().tolist() == [[1, 1, 1, 1, 0, 1, 1]]


def test_a_chunk_that_holds_the_answer_is_worth_nats_before_any_training(
    world: World, reader: Reader
) -> None:
    answer, other = world.ids("river")[0], world.ids("town")[0]
    query = np.array([world.tokenizer.mask_id, world.ids("old")[0]], dtype=np.int32)
    bodies = [np.array([answer] * 2, np.int32), np.array([other] * 2, np.int32), query[:0]]
    joint = world.templates.joint([query] * 3, bodies)
    first = torch.ones((3, 1), dtype=torch.long)
    logits = reader.masked_logits(joint, first, first == 1)
    with_it, without, null = log_p_y_given_zx(logits, torch.full((3,), int(answer))).tolist()
    assert with_it > null + 1.5
    # The masked LM sees the chunk as well, so that it is not exactly log(1 - g).
    assert without == pytest.approx(null + math.log(0.7), abs=0.2)


def test_what_stands_beside_a_row_does_not_change_what_is_copied(
    world: World, reader: Reader
) -> None:
    bodies = [world.store.body_ids(row) for row in (0, 1, 2)]
    joint = world.templates.joint([world.ids("the old town")] * 3, bodies)
    positions = torch.tensor([[1, 2], [2, 3], [3, 1]])
    real = torch.tensor([[True, True], [True, False], [False, True]])
    found = reader.masked_logits(joint, positions, real)
    torch.testing.assert_close(found.exp().sum(-1), torch.ones(4))
    one_by_one = [
        reader.masked_logits(joint.rows(row), positions[row], real[row])
        for row in torch.arange(3).split(1)
    ]
    torch.testing.assert_close(found, torch.cat(one_by_one), rtol=1e-4, atol=1e-5)
    targets = torch.tensor([[7, 8], [9, 10], [11, 12]])
    log_p = reader.masked_log_p(joint, positions, real, targets)
    wanted = found.gather(1, targets[real][:, None]).squeeze(1)
    torch.testing.assert_close(log_p, wanted, rtol=1e-4, atol=1e-5)
