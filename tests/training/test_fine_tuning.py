"""Tests of fine-tuning: which chunks and spans are right, both losses by hand, what learns."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from tiny import CAPITALS, World, ask

from openrealm.data.qa import Question
from openrealm.errors import InputError
from openrealm.models.reader import CandidateSpans
from openrealm.models.realm import Realm
from openrealm.retrieval.live_index import LiveIndex
from openrealm.settings import QaConfig
from openrealm.training.fine_tuning import QaStage, correct_items
from openrealm.training.questions import (
    ContextWindow,
    QuestionSet,
    holding_rows,
    regex_token_spans,
)
from openrealm.training.stage import IndexUse, Stage


@pytest.fixture()
def model(world: World) -> Realm:
    model = world.model(lively=True)
    model.embedder.unshare()
    return model


@pytest.fixture()
def live(world: World, model: Realm) -> LiveIndex:
    return world.live(model)


def stage_of(world: World, model: Realm, questions: list[Question], **config: object) -> QaStage:
    settings = {"steps": 5, "batch_size": len(questions), "beam": 20, "read": 3} | config
    return QaStage(world.parts(model), QaConfig(**settings), questions)  # type: ignore[arg-type]


def window_of(world: World, question: Question) -> ContextWindow:
    """The part of a question's own context that is read."""
    window = QuestionSet([question], world.store, seed=0).context_window(
        0, chunk_tokens=world.templates.chunk_tokens
    )
    assert window is not None
    return window


# Which chunks hold an answer ----------------------------------------------------------------------


def test_a_chunk_holds_an_answer_as_whole_words(world: World) -> None:
    rows = np.arange(len(world.store))
    answers = [world.ids("Bresk").tolist(), world.ids("the year 1204").tolist()]
    found = holding_rows(world.store, rows, answers)
    by_hand = [
        "Bresk" in world.store.chunk(r).text or "the year 1204" in world.store.chunk(r).text
        for r in rows
    ]
    assert found.tolist() == by_hand and 3 < sum(by_hand) < 10


def test_an_answer_across_two_chunks_counts_for_neither(world: World) -> None:
    store = world.store
    rows = np.array([0, 1])
    across = [*store.body_ids(0)[-1:].tolist(), *store.body_ids(1)[:2].tolist()]
    assert holding_rows(store, rows, [across]).tolist() == [False, False]
    last = store.body_ids(0)[-2:].tolist()
    assert holding_rows(store, rows[:1], [last]).tolist() == [True]
    assert holding_rows(store, np.empty(0, dtype=np.int64), [last]).tolist() == []


def test_an_answer_inside_a_longer_word_does_not_count(world: World, model: Realm) -> None:
    # "rhodia" and "rhod" are both tokens here or pieces: only the whole word may match.
    rows = np.arange(len(world.store))
    part = world.tokenizer.encode_ids(["Rhod"])
    assert not holding_rows(world.store, rows, part).any()


def test_a_substring_or_another_case_is_no_answer_and_is_one(
    world: World, model: Realm, live: LiveIndex
) -> None:
    held = [
        stage_of(world, model, [ask("who?", text)], beam=48).step(0, live).metrics
        for text in ("res", "bresk")
    ]
    assert [metrics["qa/beam_holds_answer"].value for metrics in held] == [0.0, 1.0]


def test_a_regular_expression_is_searched_in_the_text(
    world: World, model: Realm, live: LiveIndex
) -> None:
    question = ask("when?", r"1[23]\d\d", is_regex=True)
    stage = stage_of(world, model, [question], beam=48, read=48)
    assert stage.step(0, live).metrics["qa/beam_holds_answer"].value == 1.0
    nothing = stage_of(world, model, [ask("when?", r"\bxyz\d", is_regex=True)], beam=48)
    assert nothing.step(0, live).metrics["qa/beam_holds_answer"].value == 0.0


def test_the_tokens_of_a_match_are_found(world: World) -> None:
    text = "It was founded in 1377 by a king of Ostmark."
    ids = world.tokenizer.encode(text).ids
    spans = regex_token_spans(world.store, text, [r"13\d\d", r"king of \w+"])
    words = [world.tokenizer.decode(ids[a:b]) for a, b in spans]
    assert words == ["1377", "king of ostmark"]
    assert regex_token_spans(world.store, text, ["nothing"]).shape == (0, 2)


# Which spans are right ----------------------------------------------------------------------------


def token_spans(*spans: tuple[int, int]) -> np.ndarray:
    return np.array(spans, dtype=np.int32).reshape(-1, 2)


def test_right_items_are_the_spans_of_the_body_behind_the_question() -> None:
    spans = CandidateSpans.of(seq=9, max_width=3)
    first = [token_spans((1, 3)), token_spans((0, 1), (2, 3))]
    table = correct_items([first, [token_spans(), token_spans()]], [2, 1], spans, slots=3)
    per_slot = len(spans.starts)
    found = [divmod(n, per_slot) for n in table[0].nonzero().flatten().tolist()]
    places = [(slot, int(spans.starts[n]), int(spans.ends[n])) for slot, n in found]
    # [CLS] x x [SEP] come first: body token 0 is at place 4; spans here include their end.
    assert places == [(1, 5, 6), (2, 4, 4), (2, 6, 6)]
    assert not table[1].any()


def test_answers_wider_than_the_head_can_say_are_never_right() -> None:
    spans = CandidateSpans.of(seq=9, max_width=2)
    table = correct_items([[token_spans((0, 3))]], [1], spans, slots=2)
    assert not table.any()


# The losses ---------------------------------------------------------------------------------------


def by_hand(
    world: World, model: Realm, live: LiveIndex, question: Question, *, beam: int, read: int
) -> tuple[float, float]:
    """Both losses of one question, span by span, nothing padded."""
    store, templates, width = world.store, world.templates, model.reader.span_head.max_width
    ids, answer = world.ids(question.text), world.ids(question.answers[0]).tolist()
    x = model.embedder.embed_queries(templates.query([ids]))[0].detach()
    scores = (live.index.chunk_emb @ x).double()
    rows = scores.argsort(descending=True)[:beam].tolist()
    holding = [
        r
        for r in rows
        if any(
            store.body_ids(r)[n : n + len(answer)].tolist() == answer
            for n in range(len(store.body_ids(r)))
        )
    ]
    total = sum(math.exp(scores[r].item()) for r in rows)
    share = sum(math.exp(scores[r].item()) for r in holding)
    retriever = -math.log(share / total) if holding else 0.0

    empty = np.empty(0, dtype=np.int32)
    null = model.embedder.embed_chunks(templates.chunk([empty], [empty]))[0].detach()
    everything, right = 0.0, 0.0
    null_mass = 0.0
    for slot, row in enumerate([None, *rows[:read]]):
        body = store.body_ids(row) if row is not None else empty
        joint = templates.joint([ids], [body])
        states = model.reader.masked_lm.bert(joint.packed())
        relevance = scores[row].item() if row is not None else float(x @ null)
        first = len(ids) + 2
        pairs = (
            [(first + a, first + b) for a in range(len(body)) for b in range(a, len(body))]
            if slot
            else [(0, 0)]
        )
        for start, end in pairs:
            if end - start >= width:
                continue
            score = model.reader.span_head(states, widths=width)[end - start][start]
            mass = math.exp(score.item() + relevance)
            everything += mass
            if slot == 0:
                null_mass = mass
            elif body[start - first : end - first + 1].tolist() == answer:
                right += mass
    return retriever, -math.log((right or null_mass) / everything)


@pytest.mark.parametrize("beam", [5, 48])
def test_both_losses_are_those_of_a_sum_over_chunks_and_spans(
    world: World, model: Realm, live: LiveIndex, beam: int
) -> None:
    with torch.no_grad():  # small enough for exp() by hand
        model.embedder.query_tower.layer_norm.weight.mul_(0.3)
    questions = CAPITALS[:4]
    stage = stage_of(world, model, questions, beam=beam, read=3)
    result = stage.step(0, live)
    losses = [by_hand(world, model, live, q, beam=beam, read=3) for q in questions]
    retriever, reader = (float(np.mean(part)) for part in zip(*losses, strict=True))
    assert result.metrics["qa/retriever_loss"].value == pytest.approx(retriever, rel=1e-3, abs=1e-6)
    assert result.metrics["qa/reader_loss"].value == pytest.approx(reader, rel=1e-3)
    assert result.loss.item() == pytest.approx(retriever + reader, rel=1e-3)


def test_questions_of_other_lengths_beside_it_do_not_change_a_questions_loss(
    world: World, model: Realm, live: LiveIndex
) -> None:
    long = ask("what is the old town that lies on the river called Velle in the country?", "Bresk")
    both = stage_of(world, model, [CAPITALS[1], long]).step(0, live).loss.item()
    alone = [stage_of(world, model, [q]).step(0, live).loss.item() for q in (CAPITALS[1], long)]
    assert both == pytest.approx(float(np.mean(alone)), rel=1e-4)


def test_a_question_too_long_is_cut_and_its_answer_still_found_behind_it(
    world: World, model: Realm, live: LiveIndex
) -> None:
    words = "what is the old town that lies on the river called Velle in the country of Ostmark"
    cut = world.tokenizer.decode(world.ids(f"{words} {words}")[: world.templates.query_tokens - 2])
    losses = [
        stage_of(world, model, [ask(text, "Bresk")], read=48, beam=48).step(0, live).loss.item()
        for text in (f"{words} {words}?", cut)
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_where_no_chunk_read_holds_an_answer_the_null_item_is_right(
    world: World, model: Realm, live: LiveIndex
) -> None:
    nowhere = [ask("what is the capital of norland?", "Timbuktu")]
    with_null = stage_of(world, model, nowhere).step(0, live)
    without = stage_of(world, model, nowhere, no_answer=False).step(0, live)
    assert with_null.metrics["qa/reader_loss"].value > 0.0
    assert without.metrics["qa/reader_loss"].value == 0.0 == without.loss.item()
    assert with_null.metrics["qa/read_holds_answer"].value == 0.0
    without.loss.backward()
    grads = [p.grad for p in model.parameters() if p.grad is not None]
    assert all(float(g.abs().max()) == 0.0 for g in grads)


def test_an_answer_that_is_too_long_for_a_span_is_not_taken_for_none(
    world: World, model: Realm, live: LiveIndex
) -> None:
    long = " ".join(world.store.chunk(0).text.split()[:8])
    stage = stage_of(world, model, [ask("what is said?", long)], read=48, beam=48)
    result = stage.step(0, live)
    assert result.metrics["qa/retrieved_holds_answer"].value == 1.0
    assert result.metrics["qa/reader_loss"].value == 0.0


def test_a_question_without_an_answer_to_read_teaches_the_reader_and_not_the_query_tower(
    world: World, model: Realm, live: LiveIndex
) -> None:
    """Else it would drive all queries away from whatever they find, to the null chunk."""
    nowhere = ask("what is the capital of norland?", "Timbuktu")
    stage_of(world, model, [nowhere]).step(0, live).loss.backward()
    query, reader = model.embedder.query_tower, model.reader.span_head
    assert all(p.grad is None or not p.grad.abs().sum() for p in query.parameters())
    assert reader.dense_output.weight.grad is not None
    assert float(reader.dense_output.weight.grad.abs().sum()) > 0.0
    # Beside one that has an answer, that one's gradient is what the tower gets.
    gradients = []
    for questions in (CAPITALS[:1], [CAPITALS[0], nowhere]):
        model.zero_grad(set_to_none=True)
        stage = stage_of(world, model, questions, read=48, beam=48)
        (stage.step(0, live).loss * len(questions)).backward()
        gradients.append(model.embedder.query_tower.dense.weight.grad)
    torch.testing.assert_close(gradients[0], gradients[1])


def test_the_chunk_tower_gets_no_gradient(world: World, model: Realm, live: LiveIndex) -> None:
    stage = stage_of(world, model, CAPITALS)
    assert isinstance(stage, Stage) and stage.index_use is IndexUse.FIXED
    stage.step(0, live).loss.backward()
    assert all(p.grad is None for p in model.embedder.chunk_tower.parameters())
    assert model.embedder.query_tower.dense.weight.grad is not None
    assert model.reader.span_head.dense_output.weight.grad is not None
    assert live.index.chunk_emb.grad is None


def test_the_question_tower_learns_from_both_losses(
    world: World, model: Realm, live: LiveIndex
) -> None:
    # An answer in the beam but in none of the chunks read, and no null item: one loss is zero.
    stage = stage_of(world, model, CAPITALS[:1], beam=48, read=1, no_answer=False)
    result = stage.step(0, live)
    if result.metrics["qa/read_holds_answer"].value == 0.0:
        assert result.metrics["qa/reader_loss"].value == 0.0
    result.loss.backward()
    gradient = model.embedder.query_tower.dense.weight.grad
    assert gradient is not None and float(gradient.abs().sum()) > 0.0


# Contexts -----------------------------------------------------------------------------------------


def test_a_questions_own_context_is_read_in_the_last_place(
    world: World, model: Realm, live: LiveIndex
) -> None:
    context = "Somebody says that the town was founded in 1512 by a king of Quenta."
    marked = ask(
        "when was the town founded?",
        "1512",
        context=context,
        title="Dunmore",
        answer_starts=(context.index("1512"),),
    )
    result = stage_of(world, model, [marked], read=2, no_answer=False).step(0, live)
    assert result.metrics["qa/read_holds_answer"].value == 1.0
    assert result.metrics["qa/retrieved_holds_answer"].value == 0.0
    assert result.metrics["qa/reader_loss"].value > 0.0


def test_only_the_marked_place_of_a_context_is_right(
    world: World, model: Realm, live: LiveIndex
) -> None:
    context = "In 1512 a king built the town. It was founded in 1512."
    first = context.index("1512")
    losses = []
    for starts in ((first,), (context.rindex("1512"),)):
        marked = ask("when?", "1512", context=context, title="", answer_starts=starts)
        stage = stage_of(world, model, [marked], read=1)
        losses.append(stage.step(0, live).metrics["qa/reader_loss"].value)
    assert losses[0] != pytest.approx(losses[1], rel=1e-4)


def test_a_context_is_embedded_as_it_is_read_whatever_its_title(
    world: World, model: Realm, live: LiveIndex
) -> None:
    """The window leaves room for the title, which is no longer than a chunk's may be."""
    words = " ".join(["the old town by the river"] * 20)
    context = f"{words} Aldera {words}"
    for title in ("", "Norland " * 3, "Norland " * 40):
        marked = ask(
            "where?",
            "Aldera",
            context=context,
            title=title,
            answer_starts=(context.index("Aldera"),),
        )
        window = window_of(world, marked)
        ids, spans = window.body, window.spans
        inputs = world.templates.chunk([window.title], [ids])
        assert int(inputs.lengths[0]) == len(window.title) + len(ids) + 3
        assert len(spans) == 1 and spans[0][1] <= len(ids)


def test_a_long_context_is_cut_to_a_window_around_its_answer(
    world: World, model: Realm, live: LiveIndex
) -> None:
    before = "Many people visit the old town in summer. " * 8
    context = f"{before}The king of Quenta was warm. {before}"
    marked = ask(
        "who was warm?",
        "king of Quenta",
        context=context,
        title="Dunmore",
        answer_starts=(context.index("king of Quenta"),),
    )
    stage = stage_of(world, model, [marked])
    window = window_of(world, marked)
    ids, spans = window.body, window.spans
    assert len(ids) <= world.templates.chunk_tokens - 3
    assert [world.tokenizer.decode(ids[a:b]) for a, b in spans] == ["king of quenta"]
    assert stage.step(0, live).metrics["qa/read_holds_answer"].value == 1.0


def test_an_answer_at_the_very_end_of_the_window_is_inside_it(
    world: World, model: Realm, live: LiveIndex
) -> None:
    room = world.templates.chunk_tokens - 3
    context = "the " * (room - 1) + "king"
    marked = ask("who?", "king", context=context, title="", answer_starts=(context.index("king"),))
    window = window_of(world, marked)
    ids, spans = window.body, window.spans
    assert len(ids) == room and spans.tolist() == [[room - 1, room]]


def test_questions_with_and_without_contexts_share_a_batch(
    world: World, model: Realm, live: LiveIndex
) -> None:
    context = "The town was founded in 1512."
    marked = ask("when?", "1512", context=context, title="Dunmore", answer_starts=(24,))
    unanswerable = ask("why?", context=context, title=None, answer_starts=())
    both = [CAPITALS[0], marked, unanswerable]
    together = stage_of(world, model, both).step(0, live).loss.item()
    alone = [stage_of(world, model, [q]).step(0, live).loss.item() for q in both]
    assert together == pytest.approx(float(np.mean(alone)), rel=1e-4)


# The order ----------------------------------------------------------------------------------------


def test_questions_come_in_an_order_that_is_a_function_of_seed_and_step(world: World) -> None:
    def order(seed: int, steps: range) -> list[int]:
        questions = QuestionSet(CAPITALS, world.store, seed=seed)
        return questions.chosen(range(5 * steps.start, 5 * steps.stop))

    whole = order(1, range(12))
    assert sorted(whole[:12]) == sorted(whole[12:24]) == list(range(12))
    assert whole[:12] != whole[12:24] and whole != order(2, range(12))
    assert order(1, range(7, 9)) == whole[35:45]


def test_no_question_at_all_is_refused(world: World, model: Realm) -> None:
    with pytest.raises(InputError, match="no question"):
        stage_of(world, model, [], batch_size=1)


def test_a_beam_wider_than_the_corpus_takes_all_of_it(
    world: World, model: Realm, live: LiveIndex
) -> None:
    result = stage_of(world, model, CAPITALS[:2], beam=5000, read=5000).step(0, live)
    assert math.isfinite(result.loss.item())
    assert result.metrics["qa/beam_holds_answer"].value == 1.0
    assert result.metrics["qa/read_holds_answer"].value == 1.0
