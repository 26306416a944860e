"""Tests of training a reader with start and end scores, on questions and on spans that recur: what
is read, the losses by hand, what learns.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from tiny import CAPITALS, NameTagger, World, ask

from openrealm.data.pretraining import SpanTable
from openrealm.data.qa import Question
from openrealm.data.recurring_spans import RecurringSpans
from openrealm.models.pretrained import tower_span_reader
from openrealm.models.realm import Realm
from openrealm.models.span_reader import SpanReader
from openrealm.progress import Silent
from openrealm.retrieval.live_index import LiveIndex
from openrealm.settings import QaConfig, ReadingConfig
from openrealm.training.reading import ReadingStage, RecurringSpanStage
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


# Spans that recur ---------------------------------------------------------------------------------


def spans_of(world: World) -> RecurringSpans:
    table = SpanTable.build(world.store, NameTagger(), max_masks=4, progress=Silent())
    return RecurringSpans(world.store, table, seed=0, progress=Silent())


def recurring_stage(world: World, model: Realm, *, batch_size: int = 12) -> RecurringSpanStage:
    config = ReadingConfig(steps=60, batch_size=batch_size, lr=1e-3)
    return RecurringSpanStage(world.parts(model), config, spans_of(world))


def test_the_loss_of_spans_that_recur_is_that_of_sums_by_hand(world: World, model: Realm) -> None:
    """What a span has anywhere in its chunk, and what "not here" has where it is not."""
    losses = []
    for question in spans_of(world).batch(2, 12):
        body = world.store.body_ids(question.row)
        right, nowhere = by_hand(
            world, model, question.query_ids, body, question.answer_ids.tolist()
        )
        losses.append(-math.log(right if len(question.spans) else nowhere))
    result = recurring_stage(world, model).step(2, None)
    assert result.loss.item() == pytest.approx(float(np.mean(losses)), rel=1e-3)
    assert result.metrics["reading/loss"].value == pytest.approx(result.loss.item())
    assert result.num_examples == 12


def test_held_out_spans_are_judged_as_by_a_search_of_all(world: World, model: Realm) -> None:
    stage = recurring_stage(world, model)
    exact, f1, sure = [], [], []
    for question in spans_of(world).held_out():
        body = world.store.body_ids(question.row).tolist()
        joint = world.templates.joint([question.query_ids], [np.array(body, dtype=np.int32)])
        scores = reader_of(model).log_p(joint)[0].detach()
        first, size = len(question.query_ids) + 2, len(body)
        each = {
            (a, b): float(scores[first + a, 0] + scores[first + b, 1])
            for a in range(size)
            for b in range(a, min(size, a + 30))
        }
        best = max(each, key=lambda span: each[span])
        sure.append((each[best] > float(scores[0].sum())) == bool(len(question.spans)))
        if len(question.spans):
            found, right = body[best[0] : best[1] + 1], question.answer_ids.tolist()
            same = sum(min(found.count(t), right.count(t)) for t in set(found))
            f1.append(2 * same / (len(found) + len(right)))
            exact.append(found == right)
    numbers = stage.held_out(None)
    assert len(f1) >= 3 and numbers["reading/questions"] == len(sure)
    assert numbers["reading/exact_match"] == pytest.approx(np.mean(exact))
    assert numbers["reading/f1"] == pytest.approx(np.mean(f1))
    assert numbers["reading/here_accuracy"] == pytest.approx(np.mean(sure))


def test_a_few_steps_teach_to_find_spans(world: World, model: Realm) -> None:
    stage = recurring_stage(world, model, batch_size=32)
    assert isinstance(stage, Stage)
    trained = [p for module, _ in stage.trained() for p in module.parameters()]
    optimizer = torch.optim.Adam(trained, lr=1e-2)
    losses = []
    for step in range(60):
        optimizer.zero_grad()
        result = stage.step(step, None)
        result.loss.backward()
        optimizer.step()
        losses.append(result.loss.item())
    assert np.mean(losses[-5:]) < 0.6 * np.mean(losses[:5])
    untouched = reader_of(model).bert.embeddings.word_embeddings.weight
    assert id(untouched) not in {id(p) for p in trained}
