"""Tests of the optimiser against Adam written out in numpy, and of the learning rate."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from openrealm.training import optim
from openrealm.training.optim import (
    AdamWeightDecay,
    learning_rate_factor,
    parameter_groups,
    set_learning_rate,
)


def adam_by_hand(
    weight: np.ndarray,
    gradients: list[np.ndarray | None],
    rates: list[float],
    *,
    decay: float,
    correct: bool,
) -> np.ndarray:
    """bert/optimization.py step by step, in double precision."""
    weight = weight.astype(np.float64)
    m, v = np.zeros_like(weight), np.zeros_like(weight)
    steps = 0
    for gradient, lr in zip(gradients, rates, strict=True):
        if gradient is None:
            continue
        steps += 1
        m = 0.9 * m + 0.1 * gradient
        v = 0.999 * v + 0.001 * gradient**2
        m_hat = m / (1 - 0.9**steps) if correct else m
        v_hat = v / (1 - 0.999**steps) if correct else v
        weight = weight - lr * (m_hat / (np.sqrt(v_hat) + 1e-6) + decay * weight)
    return weight


@pytest.mark.parametrize("correct", [False, True])
@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_weights_move_as_in_the_original_code(correct: bool, decay: float) -> None:
    draw = np.random.default_rng(0)
    first = [draw.normal(size=(3, 2)), draw.normal(size=4)]
    params = [nn.Parameter(torch.tensor(value)) for value in first]
    groups = [{"params": params, "lr": 0.0, "peak": 0.05, "weight_decay": decay}]
    optimizer = AdamWeightDecay(groups, bias_correction=correct)
    gradients: list[list[np.ndarray | None]] = [[], []]
    rates = [0.05 * (n + 1) / 20 for n in range(20)]
    for step, rate in enumerate(rates):
        for number, parameter in enumerate(params):
            gradient = draw.normal(size=parameter.shape)
            # The second parameter takes no part in some steps.
            absent = number == 1 and step % 3 == 0
            gradients[number].append(None if absent else gradient)
            parameter.grad = None if absent else torch.tensor(gradient)
        set_learning_rate(optimizer, rate / 0.05)
        optimizer.step()
    for parameter, start, given in zip(params, first, gradients, strict=True):
        wanted = adam_by_hand(start, given, rates, decay=decay, correct=correct)
        np.testing.assert_allclose(parameter.detach().numpy(), wanted, rtol=1e-10)


def test_with_bias_correction_it_is_torchs_adamw(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optim, "_EPS", 1e-8)
    torch.manual_seed(0)
    ours = nn.Linear(5, 3).double()
    theirs = nn.Linear(5, 3).double()
    theirs.load_state_dict(ours.state_dict())
    mine = AdamWeightDecay(
        [{"params": list(ours.parameters()), "lr": 0.01, "weight_decay": 0.1}],
        bias_correction=True,
    )
    adamw = torch.optim.AdamW(theirs.parameters(), lr=0.01, weight_decay=0.1, eps=1e-8)
    for _ in range(10):
        x = torch.randn(4, 5, dtype=torch.float64)
        for module, optimizer in ((ours, mine), (theirs, adamw)):
            optimizer.zero_grad()
            module(x).pow(2).sum().backward()
            optimizer.step()
    for left, right in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(left, right, rtol=1e-9, atol=1e-12)


def test_without_bias_correction_the_first_steps_are_longer() -> None:
    moved = {}
    for correct in (False, True):
        parameter = nn.Parameter(torch.zeros(1))
        groups = [{"params": [parameter], "lr": 1.0, "weight_decay": 0.0}]
        optimizer = AdamWeightDecay(groups, bias_correction=correct)
        parameter.grad = torch.ones(1)
        optimizer.step()
        moved[correct] = abs(parameter.item())
    assert moved[True] == pytest.approx(1.0, rel=1e-4)
    assert moved[False] == pytest.approx(0.1 / math.sqrt(0.001), rel=1e-3)  # 3.16


def test_a_step_without_gradients_moves_nothing() -> None:
    parameter = nn.Parameter(torch.ones(2))
    optimizer = AdamWeightDecay(
        [{"params": [parameter], "lr": 1.0, "weight_decay": 0.5}], bias_correction=False
    )
    optimizer.step()
    assert parameter.tolist() == [1.0, 1.0] and not optimizer.state


class Block(nn.Module):
    """Names as in a BERT and in the heads."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = nn.Linear(2, 2)
        self.LayerNorm = nn.LayerNorm(2)
        self.layer_norm = nn.LayerNorm(2)
        self.embeddings = nn.Embedding(3, 2)
        self.weight_of_words = nn.Parameter(torch.tensor(0.5))
        self.rarity = nn.Parameter(torch.ones(1))


def test_biases_and_layer_norms_have_no_weight_decay() -> None:
    block = Block()
    # A LayerNorm may also stand alone, as what is above a tower's BERT does.
    alone = nn.LayerNorm(2)
    groups = parameter_groups([(alone, 0.1)])
    assert {g["weight_decay"] for g in groups} == {0.0}
    groups = parameter_groups([(block, 0.1)])
    decay = {id(p): g["weight_decay"] for g in groups for p in g["params"]}
    found = {name for name, p in block.named_parameters() if decay[id(p)] == 0.01}
    assert found == {"dense.weight", "embeddings.weight"}
    assert {g["weight_decay"] for g in groups} == {0.0, 0.01}


def test_every_module_has_its_own_rate_and_a_shared_parameter_the_first_ones() -> None:
    first, second = nn.Linear(2, 2), nn.Linear(2, 2)
    second.weight = first.weight
    second.bias.requires_grad_(False)
    groups = parameter_groups([(first, 0.1), (second, 0.3)])
    assert [g["peak"] for g in groups] == [0.1, 0.1]
    third = nn.Linear(2, 2)
    groups = parameter_groups([(first, 0.1), (third, 0.3)])
    optimizer = AdamWeightDecay(groups, bias_correction=False)
    set_learning_rate(optimizer, 0.5)
    assert [g["lr"] for g in optimizer.param_groups] == [0.05, 0.05, 0.15, 0.15]


def test_the_rate_rises_linearly_and_then_falls_linearly_to_nothing() -> None:
    factors = [learning_rate_factor(step, 10, warmup_min=2) for step in range(10)]
    assert factors == pytest.approx([0.5, 1.0, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1])


def test_the_rate_is_never_zero_in_the_first_step_nor_above_its_peak() -> None:
    for steps in (1, 2, 3, 7, 50):
        for least in (0, 1, 4, 50):
            factors = [learning_rate_factor(n, steps, warmup_min=least) for n in range(steps)]
            assert factors[0] > 0.0 and max(factors) <= 1.0 and min(factors) > 0.0


@pytest.mark.parametrize(
    ("steps", "warmup"),
    [(200_000, 10_000), (100_000, 10_000), (68_340, 6_834), (1_000, 100), (400, 100), (50, 100)],
)
def test_the_rise_is_as_long_as_published(steps: int, warmup: int) -> None:
    # min(10000, max(100, steps / 10)): realm/model.py, ict_model.py, orqa_model.py.
    last = min(warmup, steps) - 1
    assert learning_rate_factor(last, steps, warmup_min=100) == pytest.approx((last + 1) / warmup)
    if warmup < steps:
        falling = learning_rate_factor(warmup, steps, warmup_min=100)
        assert falling == pytest.approx(1 - warmup / steps)
