"""Tests of the composition: embed, score, read, marginalise."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny import World
from torch import nn

from openrealm.data.pretraining import MaskedQuery
from openrealm.models.realm import (
    MaskedBatch,
    MaskedOutput,
    Realm,
    device_of,
    evaluating,
    freeze,
)
from openrealm.retrieval.batches import masked_batch
from openrealm.retrieval.candidates import Candidates
from openrealm.retrieval.retriever import NO_CHUNK


@pytest.fixture()
def model(world: World) -> Realm:
    return world.model(lively=True)


def three_queries(world: World) -> list[MaskedQuery]:
    """One query with a single mask and two with two."""
    several = world.queries().batch(0, 40)
    single = [q for q in several if len(q.targets) == 1]
    double = [q for q in several if len(q.targets) == 2]
    return [double[0], single[0], double[1]]


FOUND = np.array([[3, 9, 20], [9, 4, NO_CHUNK], [1, 30, 3]])


@pytest.fixture()
def batch(world: World) -> MaskedBatch:
    return masked_batch(three_queries(world), Candidates(FOUND), world.store, world.templates)


def one_by_one(world: World, model: Realm) -> list[list[float]]:
    """p(y_j|x) of every query by a loop over candidates, with nothing shared or padded."""
    tokenizer, templates, store = world.tokenizer, world.templates, world.store
    empty = np.empty(0, dtype=np.int32)
    answers = []
    for query, rows in zip(three_queries(world), FOUND, strict=True):
        text = templates.query([query.masked_ids])
        x = model.embedder.embed_queries(text)[0].double()
        scores, tokens = [], []
        for row in [NO_CHUNK, *rows[rows != NO_CHUNK]]:
            title = store.title_ids(row) if row != NO_CHUNK else empty
            body = store.body_ids(row) if row != NO_CHUNK else empty
            z = model.embedder.embed_chunks(templates.chunk([title], [body]))[0].double()
            scores.append(math.exp((x @ z).item()))
            joint = templates.joint([query.masked_ids], [body])
            logits = model.reader.masked_lm(joint.packed())
            places = (joint.token_ids[0] == tokenizer.mask_id).nonzero().flatten()
            p = logits[places].double().softmax(dim=-1)
            tokens.append([p[j, t].item() for j, t in enumerate(query.targets)])
        weights = [score / sum(scores) for score in scores]
        answers.append(
            [
                sum(w * t[j] for w, t in zip(weights, tokens, strict=True))
                for j in range(len(query.targets))
            ]
        )
    return answers


def test_the_forward_pass_is_the_sum_over_candidates_written_out(
    world: World, model: Realm, batch: MaskedBatch
) -> None:
    output = model(batch)
    by_hand = one_by_one(world, model)
    for row, wanted in enumerate(by_hand):
        got = output.log_p_y[row, : len(wanted)].exp().tolist()
        assert got == pytest.approx(wanted, rel=1e-3)
    # It tells something only where candidates differ.
    assert output.log_p_z.exp().max().item() > 0.5


def test_a_chunk_that_several_queries_retrieved_is_embedded_once(batch: MaskedBatch) -> None:
    assert len(batch.chunks) == 1 + 6  # the null chunk, and the distinct ones of eight slots
    assert len(batch.joint) == 3 + 8


def test_vectors_that_are_known_are_not_computed_again(
    world: World, model: Realm, batch: MaskedBatch
) -> None:
    known = model.embedder.embed_chunks(batch.chunks).detach()
    whole = model(batch)
    model.embedder.embed_chunks = None  # type: ignore[assignment,method-assign]
    given = model(batch, chunk_emb=known)
    torch.testing.assert_close(given.log_p_y, whole.log_p_y)
    given.log_p_y.sum().backward()
    tower = model.embedder.query_tower
    assert tower.dense.weight.grad is not None  # the query side still learns


def test_the_gradient_reaches_query_tower_chunk_tower_and_reader(
    world: World, batch: MaskedBatch
) -> None:
    model = world.model(shared=False)
    model(batch).log_p_y.sum().backward()
    for module in (
        model.embedder.query_tower,
        model.embedder.chunk_tower,
        model.reader.masked_lm,
    ):
        total = sum(float(p.grad.abs().sum()) for p in module.parameters() if p.grad is not None)
        assert total > 0.0


def test_an_empty_slot_is_as_good_as_no_slot(world: World, model: Realm) -> None:
    queries = world.queries().batch(0, 2)
    two = masked_batch(
        queries, Candidates(np.array([[3, 9], [9, 4]])), world.store, world.templates
    )
    wide = masked_batch(
        queries,
        Candidates(np.array([[3, 9, NO_CHUNK], [9, 4, NO_CHUNK]])),
        world.store,
        world.templates,
    )
    left, right = model(two), model(wide)
    torch.testing.assert_close(left.log_p_y, right.log_p_y)
    assert right.log_p_z.exp()[:, -1].tolist() == [0.0, 0.0]


def test_an_ablation_without_the_null_chunk_gives_it_no_probability(
    world: World, model: Realm
) -> None:
    queries = world.queries().batch(0, 2)
    found = np.array([[3, 9], [9, 4]])
    without = masked_batch(
        queries, Candidates(found), world.store, world.templates, null_chunk=False
    )
    assert len(without.joint) == 4
    p_z = model(without).log_p_z.exp()
    assert p_z[:, 0].tolist() == [0.0, 0.0]
    assert p_z.sum(dim=1).tolist() == pytest.approx([1.0, 1.0])


def test_scores_are_computed_in_full_precision_under_autocast(
    world: World, batch: MaskedBatch
) -> None:
    model = world.model()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = model(batch)
    assert output.log_p_z.dtype == torch.float32
    assert output.log_p_y.dtype == torch.float32
    query_emb, chunk_emb = output.query_emb.double(), output.chunk_emb.double()
    scores = torch.einsum("bd,bkd->bk", query_emb, chunk_emb[batch.chunk_slots])
    by_hand = torch.softmax(scores.masked_fill(~batch.candidate_mask, -torch.inf), dim=1)
    torch.testing.assert_close(output.log_p_z.exp().double(), by_hand, rtol=1e-5, atol=1e-7)


def test_padded_masks_count_for_nothing(model: Realm, batch: MaskedBatch) -> None:
    wide = replace(
        batch,
        mask_positions=torch.nn.functional.pad(batch.mask_positions, (0, 2), value=1),
        mask_mask=torch.nn.functional.pad(batch.mask_mask, (0, 2)),
        targets=torch.nn.functional.pad(batch.targets, (0, 2)),
    )
    masks = batch.targets.shape[1]
    left, right = model(batch), model(wide)
    torch.testing.assert_close(left.log_p_y, right.log_p_y[:, :masks])
    assert right.log_p_y_given_z[:, :, masks:].abs().max().item() == 0.0


def test_freezing_stops_gradients_and_thawing_restarts_them(world: World) -> None:
    model = world.model()
    freeze(model.embedder, frozen=True)
    assert not any(p.requires_grad for p in model.embedder.parameters())
    assert any(p.requires_grad for p in model.reader.parameters())
    freeze(model.embedder, frozen=False)
    assert all(p.requires_grad for p in model.embedder.parameters())
    assert device_of(model) == torch.device("cpu")


def test_evaluating_gives_every_part_its_own_mode_back() -> None:
    module = nn.Sequential(nn.Dropout(), nn.Sequential(nn.Dropout(), nn.Linear(2, 2)))
    module.eval()
    module[1].train()
    before = [part.training for part in module.modules()]
    with pytest.raises(ValueError, match="inside"), evaluating(module):
        assert not any(part.training for part in module.modules())
        raise ValueError("inside")
    assert [part.training for part in module.modules()] == before
    assert any(before) and not all(before)


def check_p_z(
    output: MaskedOutput,
    scores: torch.Tensor,
    unread: np.ndarray,
    distinct: list[int],
    q: int,
    line: list[int],
) -> list[int]:
    """That p(z|x) has one slot more, for all that is not read; the columns of what is."""
    read = [0, *(1 + distinct.index(row) for row in line if row != NO_CHUNK)]
    rest = [n + 1 for n in range(len(distinct)) if unread[q, n]]
    p_z = [*scores[q, read].tolist(), scores[q, rest].sum().item()]
    found = output.log_p_z[q].exp()
    shown = [*found[: len(read)].tolist(), found[-1].item()]
    assert shown == pytest.approx([p / sum(p_z) for p in p_z], rel=1e-4)
    return read


def test_chunks_of_other_queries_take_part_where_they_may(world: World, model: Realm) -> None:
    queries = three_queries(world)
    distinct = [1, 3, 4, 9, 20, 30]
    unread = np.array([[row not in line for row in distinct] for line in FOUND.tolist()])
    unread[2, distinct.index(20)] = False
    batch = masked_batch(
        queries, Candidates(FOUND, in_batch_negatives=unread), world.store, world.templates
    )
    plain = model(masked_batch(queries, Candidates(FOUND), world.store, world.templates))
    output = model(batch)
    scores = (output.query_emb @ output.chunk_emb.T).double().exp()
    for q, line in enumerate(FOUND.tolist()):
        read = check_p_z(output, scores, unread, distinct, q, line)
        worst = plain.log_p_y_given_z[q, : len(read)].min(dim=0).values
        torch.testing.assert_close(output.log_p_y_given_z[q, -1], worst)
    torch.testing.assert_close(output.log_p_y_given_z[:, :-1], plain.log_p_y_given_z)
    assert not torch.allclose(output.log_p_y, plain.log_p_y)


def test_words_in_common_add_to_every_score_but_the_null_chunks(world: World) -> None:
    plain, model = world.model(lively=True), world.model(lively=True, lexical_weight=0.25)
    assert model.lexical is not None and plain.lexical is None
    queries, distinct = three_queries(world), [1, 3, 4, 9, 20, 30]
    unread = np.array([[row not in line for row in distinct] for line in FOUND.tolist()])
    batch = masked_batch(
        queries, Candidates(FOUND, in_batch_negatives=unread), world.store, world.templates
    )
    drawn = torch.rand((3, 6), generator=torch.Generator().manual_seed(3)) * 9.0
    words = torch.cat([torch.zeros(3, 1), drawn], dim=1)
    output, without = model(replace(batch, bm25=words)), plain(batch)
    torch.testing.assert_close(output.log_p_y_given_z, without.log_p_y_given_z)
    scores = (without.query_emb @ without.chunk_emb.T + 0.25 * words).double().exp()
    for q, line in enumerate(FOUND.tolist()):
        check_p_z(output, scores, unread, distinct, q, line)
    # A model without the weight takes no notice of them.
    torch.testing.assert_close(plain(replace(batch, bm25=words)).log_p_z, without.log_p_z)


def test_a_guess_at_what_was_not_read_teaches_the_reader_nothing(
    world: World, model: Realm
) -> None:
    unread = np.array([[row not in line for row in (1, 3, 4, 9, 20, 30)] for line in FOUND])
    batch = masked_batch(
        three_queries(world),
        Candidates(FOUND, in_batch_negatives=unread),
        world.store,
        world.templates,
    )
    model(batch).log_p_y_given_z[:, -1].sum().backward()
    assert all(p.grad is None or not p.grad.any() for p in model.parameters())
