"""Tests of answers by start and end scores against sums over all spans of all chunks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny import World

from openrealm.answering.answer_spans import Answer, Evidence, competing
from openrealm.answering.answerer import Answerer
from openrealm.answering.span_marginal import WEIGHT, SpanMarginal
from openrealm.corpus.store import Chunk
from openrealm.models.pretrained import tower_span_reader
from openrealm.models.realm import Realm

QUESTIONS = ["what is the capital of norland?", "when was bresk founded?", "who is king?"]


@pytest.fixture(scope="module")
def model(world: World) -> Realm:
    model = world.model(seed=2, lively=True)
    model.span_reader = tower_span_reader(model.embedder, seed=0).eval()
    with torch.no_grad():
        model.span_reader.qa_outputs.weight.mul_(60.0)
    return model


@pytest.fixture(scope="module")
def marginal(world: World, model: Realm) -> SpanMarginal:
    assert model.span_reader is not None
    return SpanMarginal(model.span_reader, world.encoder(model), world.store)


def found(world: World, num: int, *, sharp: float, seed: int) -> tuple[np.ndarray, torch.Tensor]:
    """Some chunks for each question, with log p(z|x), the best first."""
    draw = np.random.default_rng(seed)
    rows = np.stack([draw.permutation(len(world.store))[:num] for _ in QUESTIONS])
    scores = -np.sort(-sharp * draw.normal(size=rows.shape), axis=1)
    return rows, torch.from_numpy(scores).float().log_softmax(dim=1)


def odds_by_hand(  # type: ignore[no-untyped-def]
    world: World, model: Realm, question: str, rows: np.ndarray, p_z: np.ndarray
):
    """Sum over z of p(z|x) p(y|z,x) / p("not here"|z,x) for every text, whole words."""
    reader, tokenizer = model.span_reader, world.tokenizer
    assert reader is not None
    ids = world.ids(question)
    odds: dict[str, float] = {}
    for row, weight in zip(rows.tolist(), p_z.tolist(), strict=True):
        body, text = world.store.body_ids(row), world.store.chunk(row).text
        tokens = tokenizer.encode(text)
        inside = tokenizer.is_continuation[tokens.ids]
        p = reader.log_p(world.templates.joint([ids], [body]))[0].detach().double().exp().numpy()
        p_null = p[0, 0] * p[0, 1]
        first = len(ids) + 2
        for a in range(len(body)):
            for b in range(a, min(a + 30, len(body))):
                begin, end = a, b
                while begin > 0 and inside[begin]:
                    begin -= 1
                while end + 1 < len(body) and inside[end + 1]:
                    end += 1
                said = text[tokens.offsets[begin][0] : tokens.offsets[end][1]].casefold()
                key = " ".join(said.split())
                span = p[first + a, 0] * p[first + b, 1]
                odds[key] = odds.get(key, 0.0) + weight * span / p_null
    return odds


def test_an_answers_probability_is_the_sum_over_chunks(
    world: World, model: Realm, marginal: SpanMarginal
) -> None:
    rows, log_p_z = found(world, 12, sharp=0.5, seed=1)
    read = marginal.read([world.ids(q) for q in QUESTIONS], rows, log_p_z, top=3)
    weights = (WEIGHT * log_p_z).softmax(dim=1)
    for question, line, p_z, one in zip(QUESTIONS, rows, weights, read, strict=True):
        here = line[: one.num_read]
        odds = odds_by_hand(world, model, question, here, p_z[: one.num_read].numpy())
        total = 1 + sum(odds.values())
        assert one.answers[0].text.casefold() == max(odds, key=lambda text: odds[text])
        for answer in one.with_probabilities(one.p_no_answer):
            assert answer.probability == pytest.approx(
                odds[answer.text.casefold()] / total, rel=0.05, abs=5e-3
            )
        # A little more: only the most probable spans of each chunk are looked at.
        assert 1 / total <= one.p_no_answer <= 1.05 / total


def test_calibrated_probabilities_leave_room_for_that_of_none(
    world: World, marginal: SpanMarginal
) -> None:
    rows, log_p_z = found(world, 5, sharp=0.5, seed=4)
    [one] = marginal.read([world.ids(QUESTIONS[0])], rows[:1], log_p_z[:1], top=5)
    said = one.with_probabilities(0.9)
    as_read = one.with_probabilities(one.p_no_answer)
    for answer, other in zip(said, as_read, strict=True):
        factor = 0.1 / (1 - one.p_no_answer)
        assert answer.probability == pytest.approx(factor * other.probability)
        places = sum(place.probability for place in answer.evidence)
        assert places == pytest.approx(answer.probability)


@pytest.mark.parametrize("seed", range(6))
def test_reading_ends_where_nothing_unread_could_change_the_best_answer(
    world: World, marginal: SpanMarginal, seed: int
) -> None:
    rows, log_p_z = found(world, 40, sharp=2.5, seed=seed)
    ids = [world.ids(q) for q in QUESTIONS]
    weights = (WEIGHT * log_p_z).softmax(dim=1)
    for one, row, p in zip(marginal.read(ids, rows, log_p_z, top=2), rows, weights, strict=True):
        assert one.unread == pytest.approx(float(p[one.num_read :].sum()), abs=1e-5)
        first, second = (*(answer.probability for answer in one.answers), 0.0)[:2]
        lead = first - second
        surest = float((one.odds.max(axis=1) / one.p_z[: one.num_read]).max())
        assert one.num_read == 40 or lead >= surest * one.unread
        assert [chunk.row for chunk in one.chunks] == row.tolist()


def test_what_is_clear_is_read_no_further_and_what_is_not_is(
    world: World, marginal: SpanMarginal
) -> None:
    rows, _ = found(world, 40, sharp=1.0, seed=0)
    ids = [world.ids(q) for q in QUESTIONS]
    clear = torch.full((3, 40), -30.0).index_fill(1, torch.tensor([0]), 0.0).log_softmax(dim=1)
    assert [one.num_read for one in marginal.read(ids, rows, clear, top=1)] == [5, 5, 5]
    alike = torch.zeros(3, 40).log_softmax(dim=1)
    assert all(one.num_read > 5 for one in marginal.read(ids, rows, alike, top=1))


def test_chunks_without_any_probability_are_no_trouble(
    world: World, marginal: SpanMarginal
) -> None:
    rows, _ = found(world, 8, sharp=1.0, seed=5)
    ids = [world.ids(q) for q in QUESTIONS]
    one_alone = torch.full((3, 8), -1e6).index_fill(1, torch.tensor([2]), 0.0)
    for one in marginal.read(ids, rows, one_alone, top=2):
        assert one.answers and {e.chunk.row for e in one.answers[0].evidence} == {one.chunks[2].row}
        assert all(0 < a.probability <= 1 for a in one.with_probabilities(one.p_no_answer))


def test_fewer_chunks_than_asked_for_are_read_and_no_more(
    world: World, marginal: SpanMarginal
) -> None:
    rows, log_p_z = found(world, 7, sharp=0.1, seed=3)
    rows[1, 4:] = -1
    log_p_z[1, 4:] = -torch.inf
    read = marginal.read([world.ids(q) for q in QUESTIONS], rows, log_p_z, top=2)
    assert read[1].num_read <= 4 and len(read[1].chunks) == 4


def test_ask_shows_the_chunks_that_were_read(world: World, model: Realm) -> None:
    answerer = Answerer(model, world.encoder(model), world.store, world.live(model).retriever)
    hits = answerer.search(QUESTIONS, k=8)
    for answers, line in zip(answerer.ask(QUESTIONS, read=8, top=2), hits, strict=True):
        assert 1 <= len(answers.answers) <= 2 and 0 <= answers.no_answer <= 1
        shown = [each.chunk.row for each in answers.read if each.chunk is not None]
        assert shown == [hit.chunk.row for hit in line][: len(shown)] and len(shown) >= 5
        scores = torch.tensor([hit.score for hit in line])
        assert [each.p_z for each in answers.read] == pytest.approx(
            scores.softmax(dim=0)[: len(shown)].tolist(), rel=1e-3
        )


# Answers that say the same ------------------------------------------------------------------------


def answer(text: str, p: float, *places: tuple[str, int]) -> Answer:
    """An answer that stands at some places of some documents."""
    chunk = {name: Chunk(0, name, "", "", 0, 100) for name, _ in places}
    return Answer(
        text, p, tuple(Evidence(chunk[n], at, at + len(text), p / len(places)) for n, at in places)
    )


def texts(*answers: Answer, top: int = 5) -> list[str]:
    return [each.text for each in competing(answers, top=top)]


def test_part_of_a_better_answer_and_more_than_it_are_left_out() -> None:
    newton = answer("Isaac Newton", 0.4, ("a", 10))
    assert texts(newton, answer("Newton", 0.3, ("b", 0))) == ["Isaac Newton"]
    assert texts(newton, answer("Sir Isaac Newton", 0.3, ("b", 0))) == ["Isaac Newton"]
    assert texts(newton, answer("Isaac", 0.2, ("b", 0)), answer("1668", 0.1, ("a", 40))) == [
        "Isaac Newton",
        "1668",
    ]
    # A part is one of whole words.
    assert texts(answer("1668", 0.4, ("a", 0)), answer("16", 0.3, ("b", 0))) == ["1668", "16"]


def test_spans_that_share_words_at_one_place_are_one_answer() -> None:
    best = answer("the year 1668", 0.4, ("a", 10))
    assert texts(best, answer("1668 in London", 0.3, ("a", 19))) == ["the year 1668"]
    assert texts(best, answer("1668 in London", 0.3, ("b", 19))) == [
        "the year 1668",
        "1668 in London",
    ]


def test_no_more_answers_are_kept_than_asked_for() -> None:
    assert texts(*(answer(str(n), 0.1, ("a", 9 * n)) for n in range(4)), top=2) == ["0", "1"]
