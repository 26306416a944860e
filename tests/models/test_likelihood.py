"""Tests of the probabilities against sums written out by hand, in double precision."""

from __future__ import annotations

import math
from itertools import product

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
import torch

from openrealm.models import likelihood

BATCH, K, MASKS, VOCAB = 3, 4, 3, 5


class Numbers:
    """Scores and token probabilities as plain Python numbers, and as tensors."""

    def __init__(self, seed: int) -> None:
        draw = np.random.default_rng(seed)
        self.f = draw.normal(scale=3.0, size=(BATCH, K))
        self.filled = np.ones((BATCH, K), dtype=bool)
        self.filled[1, 2:] = False
        self.logits = draw.normal(scale=2.0, size=(BATCH, K, MASKS, VOCAB))
        self.targets = draw.integers(VOCAB, size=(BATCH, MASKS))
        self.real = np.ones((BATCH, MASKS), dtype=bool)
        self.real[0, 1:] = False
        self.real[2, 2:] = False

    def p_z(self, b: int, z: int) -> float:
        if not self.filled[b, z]:
            return 0.0
        total = sum(math.exp(self.f[b, n]) for n in range(K) if self.filled[b, n])
        return math.exp(self.f[b, z]) / total

    def p_token(self, b: int, z: int, j: int) -> float:
        total = sum(math.exp(v) for v in self.logits[b, z, j])
        return math.exp(self.logits[b, z, j, self.targets[b, j]]) / total

    def p_token_marginal(self, b: int, j: int) -> float:
        return sum(self.p_z(b, z) * self.p_token(b, z, j) for z in range(K))

    def p_span(self, b: int, z: int) -> float:
        return math.prod(self.p_token(b, z, j) for j in range(MASKS) if self.real[b, j])

    def p_span_marginal(self, b: int) -> float:
        return sum(self.p_z(b, z) * self.p_span(b, z) for z in range(K))

    def log_p_z(self, scores: torch.Tensor | None = None) -> torch.Tensor:
        scores = torch.tensor(self.f) if scores is None else scores
        return likelihood.log_p_z_given_x(scores, torch.tensor(self.filled))

    def log_p_y_given_z(self) -> torch.Tensor:
        logits = torch.tensor(self.logits).reshape(-1, VOCAB)
        targets = torch.tensor(self.targets)[:, None, :].expand(BATCH, K, MASKS).reshape(-1)
        flat = likelihood.log_p_y_given_zx(logits, targets)
        # As `Realm.read` leaves them: nothing at padded masks and at empty slots.
        table = flat.view(BATCH, K, MASKS).masked_fill(~torch.tensor(self.real)[:, None, :], 0.0)
        return table.masked_fill(~torch.tensor(self.filled)[:, :, None], 0.0)

    def mask(self) -> torch.Tensor:
        return torch.tensor(self.real)


@pytest.fixture(params=[0, 1])
def numbers(request: pytest.FixtureRequest) -> Numbers:
    return Numbers(request.param)


def test_relevance_is_the_inner_product(numbers: Numbers) -> None:
    draw = np.random.default_rng(2)
    queries, chunks = draw.normal(size=(BATCH, 6)), draw.normal(size=(BATCH, K, 6))
    found = likelihood.relevance_scores(torch.tensor(queries), torch.tensor(chunks))
    for b, z in product(range(BATCH), range(K)):
        by_hand = sum(q * c for q, c in zip(queries[b], chunks[b, z], strict=True))
        assert found[b, z].item() == pytest.approx(by_hand, rel=1e-12)


def test_p_of_z_is_a_softmax_over_the_filled_slots(numbers: Numbers) -> None:
    found = numbers.log_p_z().exp()
    for b, z in product(range(BATCH), range(K)):
        assert found[b, z].item() == pytest.approx(numbers.p_z(b, z), rel=1e-12)


@hypothesis.given(
    scores=st.lists(st.floats(-200, 200, width=32), min_size=2, max_size=8), empty=st.integers(0, 7)
)
def test_the_chunks_and_the_null_chunk_sum_to_probability_one(
    scores: list[float], empty: int
) -> None:
    filled = torch.arange(len(scores)) < max(1, len(scores) - empty)
    log_p_z = likelihood.log_p_z_given_x(torch.tensor([scores]), filled[None])
    assert log_p_z.exp().sum().item() == pytest.approx(1.0, abs=1e-6)
    assert bool((log_p_z.exp()[0, ~filled] == 0.0).all())


def test_a_masked_token_is_marginalised_by_itself(numbers: Numbers) -> None:
    found = likelihood.marginal_per_token(numbers.log_p_z(), numbers.log_p_y_given_z()).exp()
    for b, j in product(range(BATCH), range(MASKS)):
        if numbers.real[b, j]:
            by_hand = numbers.p_token_marginal(b, j)
            assert found[b, j].item() == pytest.approx(by_hand, rel=1e-12)


def test_a_span_is_marginalised_as_the_product_of_its_tokens(numbers: Numbers) -> None:
    found = likelihood.marginal_per_span(
        numbers.log_p_z(), numbers.log_p_y_given_z(), numbers.mask()
    )
    for b in range(BATCH):
        assert found[b].exp().item() == pytest.approx(numbers.p_span_marginal(b), rel=1e-12)


def test_the_two_marginals_agree_for_spans_of_one_token_only(numbers: Numbers) -> None:
    log_p_z, log_p_y = numbers.log_p_z(), numbers.log_p_y_given_z()
    tokens = likelihood.marginal_per_token(log_p_z, log_p_y)
    spans = likelihood.marginal_per_span(log_p_z, log_p_y, numbers.mask())
    assert tokens[0, 0].item() == pytest.approx(spans[0].item(), rel=1e-12)  # one mask
    assert tokens[1].sum().item() != pytest.approx(spans[1].item(), rel=1e-3)  # three


def test_the_token_loss_is_the_mean_over_all_masks_of_the_batch(numbers: Numbers) -> None:
    log_p_y = likelihood.marginal_per_token(numbers.log_p_z(), numbers.log_p_y_given_z())
    found = likelihood.per_token_loss(log_p_y, numbers.mask())
    places = [(b, j) for b, j in product(range(BATCH), range(MASKS)) if numbers.real[b, j]]
    by_hand = -sum(math.log(numbers.p_token_marginal(b, j)) for b, j in places) / len(places)
    assert found.item() == pytest.approx(by_hand, rel=1e-12)


def test_the_span_loss_is_in_nats_per_mask_too(numbers: Numbers) -> None:
    log_p_y = likelihood.marginal_per_span(
        numbers.log_p_z(), numbers.log_p_y_given_z(), numbers.mask()
    )
    found = likelihood.per_span_loss(log_p_y, numbers.mask())
    total = sum(math.log(numbers.p_span_marginal(b)) for b in range(BATCH))
    assert found.item() == pytest.approx(-total / numbers.real.sum(), rel=1e-12)


def test_a_batch_without_masks_has_no_loss_and_no_gradient() -> None:
    scores = torch.zeros(2, 3, dtype=torch.float64, requires_grad=True)
    log_p_z = likelihood.log_p_z_given_x(scores, torch.ones(2, 3, dtype=torch.bool))
    log_p_y_given_z = torch.zeros(2, 3, 1, dtype=torch.float64)
    none = torch.zeros(2, 1, dtype=torch.bool)
    token = likelihood.per_token_loss(likelihood.marginal_per_token(log_p_z, log_p_y_given_z), none)
    span = likelihood.per_span_loss(
        likelihood.marginal_per_span(log_p_z, log_p_y_given_z, none), none
    )
    assert token.item() == 0.0
    assert span.item() == pytest.approx(0.0, abs=1e-15)
    (token + span).backward()
    assert scores.grad is not None and scores.grad.abs().max().item() < 1e-15


def test_the_posterior_follows_bayes_rule(numbers: Numbers) -> None:
    log_p_y_given_z = numbers.log_p_y_given_z().sum(dim=2)
    found = likelihood.posterior(numbers.log_p_z(), log_p_y_given_z)
    for b, z in product(range(BATCH), range(K)):
        by_hand = numbers.p_z(b, z) * numbers.p_span(b, z) / numbers.p_span_marginal(b)
        assert found[b, z].item() == pytest.approx(by_hand, rel=1e-12, abs=1e-300)


def test_the_closed_form_of_the_papers_gradient_is_autograds(numbers: Numbers) -> None:
    scores = torch.tensor(numbers.f, requires_grad=True)
    log_p_z = numbers.log_p_z(scores)
    table = numbers.log_p_y_given_z()
    likelihood.marginal_per_span(log_p_z, table, numbers.mask()).sum().backward()
    found = likelihood.score_gradient(log_p_z.detach(), table.sum(dim=2))
    assert scores.grad is not None
    torch.testing.assert_close(found, scores.grad, rtol=1e-10, atol=1e-14)
    # r(z) = [p(y|z,x) / p(y|x) - 1] p(z|x), as section 3.3 writes it.
    for b, z in product(range(BATCH), range(K)):
        ratio = numbers.p_span(b, z) / numbers.p_span_marginal(b)
        by_hand = (ratio - 1.0) * numbers.p_z(b, z)
        assert found[b, z].item() == pytest.approx(by_hand, rel=1e-10, abs=1e-15)


def test_words_in_common_learn_their_weight_from_what_the_reader_says(numbers: Numbers) -> None:
    words = torch.tensor(np.random.default_rng(5).uniform(0.0, 9.0, (BATCH, K)))
    log_weight = torch.tensor(0.3, dtype=torch.float64).log().requires_grad_()
    scores = likelihood.with_words(torch.tensor(numbers.f), words, log_weight)
    torch.testing.assert_close(scores.detach(), torch.tensor(numbers.f) + 0.3 * words)
    log_p_z = numbers.log_p_z(scores)
    table = numbers.log_p_y_given_z()
    likelihood.marginal_per_span(log_p_z, table, numbers.mask()).sum().backward()
    # d log p(y|x) / d log w = w sum_z r(z) BM25(x,z): chunks that help pull it to their words.
    r = likelihood.score_gradient(log_p_z.detach(), table.sum(dim=2))
    assert log_weight.grad is not None
    torch.testing.assert_close(log_weight.grad, 0.3 * (r * words).sum(), rtol=1e-9, atol=0.0)


def test_the_gradient_of_the_token_loss_is_that_of_the_reference(numbers: Numbers) -> None:
    scores = torch.tensor(numbers.f, requires_grad=True)
    log_p_y = likelihood.marginal_per_token(numbers.log_p_z(scores), numbers.log_p_y_given_z())
    likelihood.per_token_loss(log_p_y, numbers.mask()).backward()
    assert scores.grad is not None
    num_masks = numbers.real.sum()
    for b, z in product(range(BATCH), range(K)):
        gains = [
            numbers.p_z(b, z) * numbers.p_token(b, z, j) / numbers.p_token_marginal(b, j)
            - numbers.p_z(b, z)
            for j in range(MASKS)
            if numbers.real[b, j]
        ]
        by_hand = -sum(gains) / num_masks
        assert scores.grad[b, z].item() == pytest.approx(by_hand, rel=1e-10, abs=1e-15)


def test_utility_is_what_the_marginal_gains_over_the_null_chunk(numbers: Numbers) -> None:
    log_p_y_given_z = numbers.log_p_y_given_z()
    log_p_y = likelihood.marginal_per_token(numbers.log_p_z(), log_p_y_given_z)
    found = likelihood.retrieval_utility(log_p_y, log_p_y_given_z)
    for b, j in product(range(BATCH), range(MASKS)):
        if numbers.real[b, j]:
            by_hand = math.log(numbers.p_token_marginal(b, j) / numbers.p_token(b, 0, j))
            assert found[b, j].item() == pytest.approx(by_hand, rel=1e-10)


def test_the_entropy_counts_filled_slots_only(numbers: Numbers) -> None:
    found = likelihood.entropy(numbers.log_p_z())
    for b in range(BATCH):
        p = [numbers.p_z(b, z) for z in range(K) if numbers.filled[b, z]]
        assert found[b].item() == pytest.approx(-sum(x * math.log(x) for x in p), rel=1e-12)


def test_an_even_retriever_has_the_entropy_log_k() -> None:
    log_p_z = likelihood.log_p_z_given_x(torch.zeros(1, 7), torch.ones(1, 7, dtype=torch.bool))
    assert likelihood.entropy(log_p_z).item() == pytest.approx(math.log(7), rel=1e-6)


def test_an_empty_slot_gets_no_gradient(numbers: Numbers) -> None:
    scores = torch.tensor(numbers.f, requires_grad=True)
    log_p_y = likelihood.marginal_per_token(numbers.log_p_z(scores), numbers.log_p_y_given_z())
    likelihood.per_token_loss(log_p_y, numbers.mask()).backward()
    assert scores.grad is not None
    assert bool((scores.grad[~torch.tensor(numbers.filled)] == 0.0).all())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_scores_far_apart_stay_finite(dtype: torch.dtype) -> None:
    scores = torch.tensor([[500.0, -500.0, 0.0]], dtype=dtype, requires_grad=True)
    filled = torch.tensor([[True, True, False]])
    log_p_z = likelihood.log_p_z_given_x(scores, filled)
    table = torch.tensor([[[-800.0], [-0.01], [0.0]]], dtype=dtype)
    loss = likelihood.per_token_loss(
        likelihood.marginal_per_token(log_p_z, table), torch.ones(1, 1, dtype=torch.bool)
    )
    loss.backward()
    assert math.isfinite(loss.item()) and scores.grad is not None
    assert bool(scores.grad.isfinite().all())


# Inverse cloze ------------------------------------------------------------------------------------


def test_inverse_cloze_is_cross_entropy_over_the_chunks_of_the_batch() -> None:
    draw = np.random.default_rng(0)
    queries, chunks = draw.normal(size=(3, 4)), draw.normal(size=(3, 4))
    found = likelihood.in_batch_cross_entropy(
        torch.tensor(queries), torch.tensor(chunks), torch.arange(3)
    )
    scores = queries @ chunks.T
    by_hand = -sum(
        math.log(math.exp(scores[n, n]) / sum(math.exp(s) for s in scores[n])) for n in range(3)
    )
    assert found.item() == pytest.approx(by_hand / 3, rel=1e-12)


def test_a_chunk_that_is_not_allowed_is_no_negative() -> None:
    draw = np.random.default_rng(1)
    queries, chunks = draw.normal(size=(2, 4)), draw.normal(size=(2, 4))
    allowed = torch.tensor([[True, False], [True, True]])
    found = likelihood.in_batch_cross_entropy(
        torch.tensor(queries), torch.tensor(chunks), torch.arange(2), allowed
    )
    scores = queries @ chunks.T
    second = math.exp(scores[1, 1]) / (math.exp(scores[1, 0]) + math.exp(scores[1, 1]))
    assert found.item() == pytest.approx(-math.log(second) / 2, rel=1e-12)  # the first costs 0


# Answers ------------------------------------------------------------------------------------------


def test_the_share_of_correct_items_is_their_part_of_the_softmax() -> None:
    scores = torch.tensor([[1.0, 2.0, -1.0, 0.5]], dtype=torch.float64)
    valid = torch.tensor([[True, True, True, False]])
    correct = torch.tensor([[False, True, True, True]])  # the last is not valid: counts nowhere
    found = likelihood.log_marginal_of_correct(scores, valid, correct)
    by_hand = (math.exp(2.0) + math.exp(-1.0)) / (math.exp(1.0) + math.exp(2.0) + math.exp(-1.0))
    assert found.item() == pytest.approx(math.log(by_hand), rel=1e-12)


def test_a_row_without_a_correct_item_costs_nothing_and_moves_nothing() -> None:
    scores = torch.tensor([[1.0, 2.0], [3.0, -1.0], [0.0, 0.0]], requires_grad=True)
    valid = torch.tensor([[True, True], [True, True], [False, False]])
    correct = torch.tensor([[False, False], [True, False], [True, True]])
    found = likelihood.log_marginal_of_correct(scores, valid, correct)
    found.sum().backward()
    assert found[0].item() == 0.0 and found[2].item() == 0.0
    assert scores.grad is not None
    assert scores.grad[0].tolist() == [0.0, 0.0] and scores.grad[2].tolist() == [0.0, 0.0]
    assert bool(scores.grad.isfinite().all()) and scores.grad[1, 0].item() > 0.0


def test_the_gradient_of_the_share_is_that_of_finite_differences() -> None:
    valid = torch.tensor([[True, True, True, False], [True, True, True, True]])
    correct = torch.tensor([[True, False, True, False], [False, True, False, False]])
    scores = torch.randn(2, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.autograd.gradcheck(
        lambda s: likelihood.log_marginal_of_correct(s, valid, correct),
        scores.requires_grad_(True),
    )


def test_chunks_that_are_not_read_count_as_the_worst_that_was() -> None:
    numbers, draw = Numbers(7), np.random.default_rng(8)
    others = draw.normal(scale=3.0, size=(BATCH, 6))
    unread = draw.random((BATCH, 6)) < 0.5
    unread[2] = False
    rest = likelihood.in_batch_negatives_score(torch.tensor(others), torch.tensor(unread))
    filled, read = torch.tensor(numbers.filled), numbers.log_p_y_given_z()
    guess = likelihood.log_p_y_given_negatives(read, filled)
    log_p_z = likelihood.log_p_z_given_x(
        torch.cat([torch.tensor(numbers.f), rest[:, None]], dim=1),
        torch.cat([filled, torch.ones(BATCH, 1, dtype=torch.bool)], dim=1),
    )
    log_p_y = likelihood.marginal_per_token(log_p_z, torch.cat([read, guess[:, None]], dim=1))
    for b in range(BATCH):
        mine = [math.exp(numbers.f[b, z]) * numbers.filled[b, z] for z in range(K)]
        mass = sum(math.exp(f) for f, yes in zip(others[b], unread[b], strict=True) if yes)
        for j in np.flatnonzero(numbers.real[b]).tolist():
            tokens = [numbers.p_token(b, z, j) for z in range(K)]
            worst = min(p for p, yes in zip(tokens, numbers.filled[b], strict=True) if yes)
            together = sum(w * p for w, p in zip(mine, tokens, strict=True)) + mass * worst
            wanted = together / (sum(mine) + mass)
            assert math.exp(log_p_y[b, j].item()) == pytest.approx(wanted, rel=1e-9)
    assert log_p_z.exp()[2, -1].item() == 0.0


# Spans of several chunks --------------------------------------------------------------------------


def test_the_joint_softmax_gives_the_share_of_correct_items() -> None:
    generator = torch.Generator().manual_seed(6)
    scores = torch.randn(3, 5, generator=generator)
    valid = torch.rand(3, 5, generator=generator) < 0.8
    correct = valid & (torch.rand(3, 5, generator=generator) < 0.5)
    correct[2] = False
    log_p = likelihood.log_p_span_jointly(scores, valid)
    found = likelihood.log_p_of_any(log_p, correct)
    wanted = likelihood.log_marginal_of_correct(scores, valid, correct)
    torch.testing.assert_close(found, wanted)
    assert found[2].item() == 0.0
