"""Tests of fine-tuning a reader with start and end scores: what is read, both losses by hand, what
learns.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from tiny import CAPITALS, World, ask

from openrealm.data.qa import Question
from openrealm.models.pretrained import tower_span_reader
from openrealm.models.realm import Realm
from openrealm.models.span_reader import SpanReader
from openrealm.retrieval.live_index import LiveIndex
from openrealm.settings import QaConfig
from openrealm.training.reading import ReadingStage
from openrealm.training.stage import Stage


@pytest.fixture()
def model(world: World) -> Realm:
    model = world.model(lively=True)
    model.embedder.unshare()
    model.span_reader = tower_span_reader(model.embedder, seed=0)
    with torch.no_grad():
        model.embedder.query_tower.layer_norm.weight.mul_(0.3)  # small enough for exp() by hand
        model.span_reader.qa_outputs.weight.mul_(20.0)
    return model


@pytest.fixture()
def live(world: World, model: Realm) -> LiveIndex:
    return world.live(model)


def reader_of(model: Realm) -> SpanReader:
    assert model.span_reader is not None
    return model.span_reader


def stage_of(
    world: World, model: Realm, questions: list[Question], **config: object
) -> ReadingStage:
    settings = {"steps": 5, "batch_size": len(questions), "beam": 48, "read": 3} | config
    return ReadingStage(world.parts(model), QaConfig(**settings), questions)  # type: ignore[arg-type]


def by_hand(
    world: World, model: Realm, ids: np.ndarray, body: np.ndarray, answer: list[int]
) -> tuple[float, float]:
    """p of the answer wherever it stands in a body, and of "not here"."""
    joint = world.templates.joint([ids], [body])
    scores = reader_of(model)(joint)[0].detach().double()
    first = len(ids) + 2
    allowed = [0, *range(first, first + len(body))]
    p_start, p_end = (torch.softmax(scores[allowed, side], dim=0) for side in (0, 1))
    right = sum(
        float(p_start[1 + n] * p_end[len(answer) + n])
        for n in range(len(body) - len(answer) + 1)
        if body[n : n + len(answer)].tolist() == answer
    )
    return right, float(p_start[0] * p_end[0])


def test_the_loss_is_that_of_a_sum_by_hand(world: World, model: Realm, live: LiveIndex) -> None:
    """One question: its best chunk with an answer, and perhaps a likely one without."""
    store, question = world.store, CAPITALS[3]
    ids, answer = world.ids(question.text), world.ids(question.answers[0]).tolist()
    x = model.embedder.embed_queries(world.templates.query([ids]))[0].detach()
    scores = (live.index.chunk_emb @ x).double()
    rows = scores.argsort(descending=True).tolist()
    found = {row: by_hand(world, model, ids, store.body_ids(row), answer) for row in rows}
    holding = [row for row in rows if found[row][0] > 0]
    total = scores.logsumexp(dim=0)
    retriever = float(total - scores[holding].logsumexp(dim=0))
    best = holding[0]
    alone = retriever - math.log(found[best][0])
    beside = {
        row: retriever
        - math.log(found[best][0])
        + float(torch.logaddexp(scores[best], scores[row]) - scores[best])
        - math.log(found[row][1])
        for row in rows[:10]
        if row not in holding
    }
    told = {
        round(stage_of(world, model, [question]).step(step, live).loss.item(), 3)
        for step in range(40)
    }
    possible = {round(value, 3) for value in (alone, *beside.values())}
    near = {value for value in told if min(abs(value - other) for other in possible) <= 0.002}
    assert told == near
    assert len(told) > 5 and any(abs(value - alone) <= 0.002 for value in told)


def test_a_question_without_an_answer_teaches_the_reader_and_not_the_query_tower(
    world: World, model: Realm, live: LiveIndex
) -> None:
    nowhere = ask("what is the capital of norland?", "Timbuktu")
    result = stage_of(world, model, [nowhere]).step(0, live)
    assert result.metrics["qa/reader_loss"].value > 0.0
    assert result.metrics["qa/read_holds_answer"].value == 0.0
    result.loss.backward()
    query = model.embedder.query_tower
    assert all(p.grad is None or not p.grad.abs().sum() for p in query.parameters())
    grad = reader_of(model).qa_outputs.weight.grad
    assert grad is not None and grad.isfinite().all() and float(grad.abs().sum()) > 0.0


def test_questions_beside_it_do_not_change_a_questions_loss(
    world: World, model: Realm, live: LiveIndex
) -> None:
    context = "The town was founded in 1512."
    marked = ask("when?", "1512", context=context, title="Dunmore", answer_starts=(24,))
    questions = [marked, ask("when was it founded?", "1512", context=context, answer_starts=(24,))]
    # Nothing else is read where every chunk holds an answer: nothing is drawn.
    everywhere = [ask("what?", r"\w+", is_regex=True)]
    for several in (questions, everywhere * 2):
        for question in several:
            assert math.isfinite(stage_of(world, model, [question]).step(0, live).loss.item())
        together = stage_of(world, model, several).step(0, live)
        assert math.isfinite(together.loss.item())
        assert together.metrics["qa/read_holds_answer"].value == 1.0


def test_query_tower_and_reader_learn_and_chunks_and_word_embeddings_do_not(
    world: World, model: Realm, live: LiveIndex
) -> None:
    stage = stage_of(world, model, CAPITALS)
    assert isinstance(stage, Stage)
    stage.step(0, live).loss.backward()
    assert all(p.grad is None for p in model.embedder.chunk_tower.parameters())
    trained = {id(p) for module, _ in stage.trained() for p in module.parameters()}
    reader = reader_of(model)
    assert id(reader.bert.embeddings.word_embeddings.weight) not in trained
    for parameter in (reader.qa_outputs.weight, *reader.bert.encoder.parameters()):
        assert id(parameter) in trained and parameter.grad is not None
        assert parameter.grad.isfinite().all()
    assert model.embedder.query_tower.dense.weight.grad is not None


def test_a_few_steps_teach_what_was_asked(world: World, model: Realm, live: LiveIndex) -> None:
    stage = stage_of(world, model, CAPITALS)
    parameters = [p for module, _ in stage.trained() for p in module.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=3e-3)
    losses = []
    for step in range(60):
        optimizer.zero_grad()
        result = stage.step(step, live)
        result.loss.backward()
        optimizer.step()
        losses.append(result.metrics["qa/reader_loss"].value)
    assert np.mean(losses[-5:]) < 0.5 * np.mean(losses[:5])
