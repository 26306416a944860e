"""Tests of answers and fillings: what is shown is what was computed, and where it stands."""

from __future__ import annotations

import math
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import CITIES, World, make_store

from openrealm.answering.answerer import Answerer, Answers
from openrealm.corpus.records import Document
from openrealm.errors import InputError
from openrealm.index.mips import ExactIndex
from openrealm.models.inputs import Templates
from openrealm.models.realm import Realm
from openrealm.retrieval.embedding import TextEncoder, embed_rows
from openrealm.retrieval.lexical import BM25
from openrealm.retrieval.retriever import Retriever
from openrealm.settings import RetrievalConfig


@pytest.fixture(scope="module")
def model(world: World) -> Realm:
    return world.model(seed=2, lively=True)


@pytest.fixture(scope="module")
def answerer(world: World, model: Realm) -> Answerer:
    return Answerer(model, world.encoder(model), world.store, world.live(model).retriever)


NONE = np.empty(0, dtype=np.int32)
QUESTIONS = ["what is the capital of norland?", "when was bresk founded?", "who is king?"]


# Search -------------------------------------------------------------------------------------------


def test_search_gives_chunks_by_inner_product(
    world: World, model: Realm, answerer: Answerer
) -> None:
    vectors = embed_rows(world.store, range(48), world.encoder(model))
    found = answerer.search(QUESTIONS, k=5)
    rows = answerer.rank(QUESTIONS, k=5)
    for text, hits, line in zip(QUESTIONS, found, rows, strict=True):
        x = model.embedder.embed_queries(world.templates.query([world.ids(text)]))
        scores = vectors @ x[0].detach().numpy()
        order = np.argsort(-scores, kind="stable")[:5]
        assert [hit.chunk.row for hit in hits] == order.tolist() == line.tolist()
        assert [hit.score for hit in hits] == pytest.approx(scores[order].tolist(), rel=1e-4)
        assert [hit.rank for hit in hits] == [1, 2, 3, 4, 5]


def test_words_in_common_count_in_all_that_is_shown(world: World) -> None:
    model = world.model(seed=2, lively=True, lexical_weight=0.7)
    assert model.lexical is not None
    retriever = world.live(model).retriever
    answerer = Answerer(model, world.encoder(model), world.store, retriever)
    vectors = embed_rows(world.store, range(48), world.encoder(model))
    bm25 = BM25.build(world.store)

    def everything(ids: np.ndarray, text: str) -> np.ndarray:
        x = model.embedder.embed_queries(world.templates.query([ids]))[0].detach().numpy()
        return np.asarray(vectors @ x + 0.7 * bm25.scores(text), dtype=np.float64)

    for text, hits, line in zip(
        QUESTIONS, answerer.search(QUESTIONS, k=5), answerer.rank(QUESTIONS, k=5), strict=True
    ):
        scores = everything(world.ids(text), text)
        order = np.argsort(-scores, kind="stable")[:5]
        assert [hit.chunk.row for hit in hits] == order.tolist() == line.tolist()
        assert [hit.score for hit in hits] == pytest.approx(scores[order].tolist(), rel=1e-4)

    null = model.embedder.embed_chunks(world.templates.chunk([NONE], [NONE]))[0].detach().numpy()

    def p_z(ids: np.ndarray, text: str, rows: list[int]) -> np.ndarray:
        x = model.embedder.embed_queries(world.templates.query([ids]))[0].detach().numpy()
        scores = np.array([x @ null, *everything(ids, text)[rows]])
        return np.exp(scores - scores.max()) / np.exp(scores - scores.max()).sum()

    [asked] = answerer.ask(QUESTIONS[:1], read=3)
    rows = [weighed.chunk.row for weighed in asked.read if weighed.chunk is not None]
    expected = p_z(world.ids(QUESTIONS[0]), QUESTIONS[0], rows)
    assert [weighed.p_z for weighed in asked.read] == pytest.approx(expected.tolist(), rel=1e-3)

    [filled] = answerer.fill(["bresk is the capital of [MASK] ."], k=4)
    rows = [weighed.chunk.row for weighed in filled.candidates if weighed.chunk is not None]
    words = "bresk is the capital of ."
    masked = world.ids("bresk is the capital of")
    mask = np.array([world.tokenizer.mask_id], dtype=np.int32)
    masked = np.concatenate([masked, mask, world.ids(".")])
    assert rows == np.argsort(-everything(masked, words), kind="stable")[:3].tolist()
    expected = p_z(masked, words, rows)
    assert [w.p_z for w in filled.candidates] == pytest.approx(expected.tolist(), rel=1e-3)


def test_more_chunks_than_there_are_gives_all_of_them(answerer: Answerer) -> None:
    assert len(answerer.search(["bresk"], k=500)[0]) == 48
    assert answerer.rank(["bresk"], k=500).shape == (1, 48)


@pytest.mark.parametrize("text", ["", "   ", "\n\t"])
def test_an_empty_question_is_refused(answerer: Answerer, text: str) -> None:
    with pytest.raises(InputError, match="empty"):
        answerer.search([text], k=3)
    with pytest.raises(InputError, match="empty"):
        answerer.ask([text], read=3)


@pytest.mark.parametrize("k", [0, -3])
def test_fewer_chunks_than_one_are_refused(answerer: Answerer, k: int) -> None:
    for call in (
        lambda: answerer.search(["bresk"], k=k),
        lambda: answerer.ask(["bresk"], read=k),
        lambda: answerer.fill(["[MASK]"], k=k),
    ):
        with pytest.raises(InputError, match=f"k = {k} chunks"):
            call()


# Answers ------------------------------------------------------------------------------------------


def spans_by_hand(
    world: World, model: Realm, question: str, rows: list[int]
) -> tuple[dict[tuple[int, int, int], float], float, list[float]]:
    """Probability of every span (row, first token, last token), of no answer, and p(z|x)."""
    ids, empty = world.ids(question), np.empty(0, dtype=np.int32)
    x = model.embedder.embed_queries(world.templates.query([ids]))[0].double()
    logits: dict[tuple[int, int, int], float] = {}
    relevance = []
    for row in [None, *rows]:
        title = world.store.title_ids(row) if row is not None else empty
        body = world.store.body_ids(row) if row is not None else empty
        z = model.embedder.embed_chunks(world.templates.chunk([title], [body]))[0].double()
        relevance.append((x @ z).item())
        states = model.reader.masked_lm.bert(world.templates.joint([ids], [body]).packed())
        shift = len(ids) + 2 if row is not None else 0
        for start, end in product(range(max(len(body), 1)), repeat=2):
            if 0 <= end - start < model.reader.span_head.max_width:
                scores = model.reader.span_head(states, widths=end - start + 1)[-1]
                score = scores[start + shift].item() + relevance[-1]
                logits[(-1 if row is None else row, start, end)] = score
    top = max(logits.values())
    total = sum(math.exp(v - top) for v in logits.values())
    p = {span: math.exp(v - top) / total for span, v in logits.items()}
    p_z = np.exp(np.array(relevance) - max(relevance))
    return p, p.pop((-1, 0, 0)), (p_z / p_z.sum()).tolist()


def test_an_answers_probability_is_the_sum_over_all_places_where_it_stands(
    world: World, model: Realm, answerer: Answerer
) -> None:
    for found in answerer.ask(QUESTIONS, read=3, top=4):
        rows = [weighed.chunk.row for weighed in found.read if weighed.chunk is not None]
        p, no_answer, p_z = spans_by_hand(world, model, found.question, rows)
        merged: dict[str, float] = {}
        for (row, first, last), probability in p.items():
            text = world.store.chunk(row).text
            offsets = world.tokenizer.encode(text).offsets
            words = text[offsets[first, 0] : offsets[last, 1]].casefold()
            merged[words] = merged.get(words, 0.0) + probability
        best = sorted(merged.items(), key=lambda item: -item[1])[:4]
        assert [answer.text.casefold() for answer in found.answers] == [w for w, _ in best]
        assert [a.probability for a in found.answers] == pytest.approx(
            [q for _, q in best], rel=1e-3
        )
        assert found.no_answer == pytest.approx(no_answer, rel=1e-3)
        assert [w.p_z for w in found.read] == pytest.approx(p_z, rel=1e-3, abs=1e-9)


def test_all_answers_and_no_answer_sum_to_one(answerer: Answerer) -> None:
    for found in answerer.ask(QUESTIONS, read=2, top=100_000):
        total = sum(a.probability for a in found.answers) + found.no_answer
        assert total == pytest.approx(1.0, abs=1e-4)
        for answer in found.answers:
            assert answer.probability == pytest.approx(
                sum(e.probability for e in answer.evidence), rel=1e-5
            )


def test_probabilities_of_a_few_answers_are_not_those_of_a_few_places(
    answerer: Answerer,
) -> None:
    few, many = (
        answerer.ask(QUESTIONS[:1], read=3, top=1),
        answerer.ask(QUESTIONS[:1], read=3, top=100_000),
    )
    assert few[0].answers[0].probability == pytest.approx(many[0].answers[0].probability)


def check_places(world_text: dict[str, str], found: Answers) -> None:
    for answer in found.answers:
        for place in answer.evidence:
            document = world_text[place.chunk.document_id]
            words = document[place.start : place.stop]
            assert " ".join(words.casefold().split()) == " ".join(answer.text.casefold().split())
            assert place.chunk.start <= place.start < place.stop <= place.chunk.stop


def test_offsets_point_at_the_answer_in_the_document(world: World, answerer: Answerer) -> None:
    texts = {d.id: d.text for d in world.store.documents()}
    found = answerer.ask(QUESTIONS, read=48, top=200)
    for answers in found:
        check_places(texts, answers)
    # Some evidence is in a chunk that does not begin its document.
    places = [e for f in found for a in f.answers for e in a.evidence]
    assert any(place.chunk.start > 0 for place in places)


def test_an_answer_is_spelt_as_in_the_document(world: World, answerer: Answerer) -> None:
    names = {n for city, rest in CITIES.items() for n in (city, *rest)}
    found = answerer.ask(QUESTIONS, read=8, top=3000)
    spelt = {a.text for f in found for a in f.answers} & names
    assert len(spelt) > 5


def test_foreign_letters_line_breaks_and_truncation_do_not_move_the_offsets(
    world: World,
) -> None:
    text = "Das alte  BRESK,\n  am Fluß Velle. In 1377 a KING built the Tówn of\nBresk. " * 3
    document = Document(id="d", title="Bresk", text=text, source="test")
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        store = make_store(Path(folder) / "c", [document], world.tokenizer, chunk_tokens=32)
        # Chunks are read to a shorter length than they were cut to.
        templates = Templates.of(world.tokenizer, query_tokens=10, chunk_tokens=20)
        model = world.model(seed=2, lively=True)
        encoder = TextEncoder(model.embedder, world.tokenizer, templates)
        vectors = embed_rows(store, range(len(store)), encoder)
        retriever = Retriever(store, ExactIndex(torch.from_numpy(vectors)), RetrievalConfig())
        answerer = Answerer(model, encoder, store, retriever)
        question = "when was the old town of bresk on the river velle built by a king?"
        [found] = answerer.ask([question], read=10, top=1000)
        check_places({"d": text}, found)
        assert {"BRESK", "KING"} & {a.text for a in found.answers}


def test_an_answer_is_made_of_whole_words(world: World, tmp_path: Path) -> None:
    text = "Aldora is a town on the river Velline. Norlandia is governed from Breskow."
    document = Document(id="d", title="Aldora", text=text, source="test")
    store = make_store(tmp_path / "c", [document], world.tokenizer)
    assert world.tokenizer.is_continuation[store.body_ids(0)].sum() > 3
    model = world.model(seed=2, lively=True)
    vectors = embed_rows(store, range(len(store)), world.encoder(model))
    retriever = Retriever(store, ExactIndex(torch.from_numpy(vectors)), RetrievalConfig())
    answerer = Answerer(model, world.encoder(model), store, retriever)
    [found] = answerer.ask(["a town?"], read=1, top=500)
    places = [place for answer in found.answers for place in answer.evidence]
    assert places
    for place in places:
        for border in (place.start, place.stop):
            assert not (text[border - 1 : border].isalnum() and text[border : border + 1].isalnum())


def test_questions_asked_together_get_the_answers_they_get_alone(answerer: Answerer) -> None:
    together = answerer.ask(QUESTIONS, read=3)
    for question, found in zip(QUESTIONS, together, strict=True):
        [alone] = answerer.ask([question], read=3)
        assert [a.text for a in found.answers] == [a.text for a in alone.answers]
        assert [a.probability for a in found.answers] == pytest.approx(
            [a.probability for a in alone.answers], rel=1e-3
        )


def test_a_question_too_long_is_cut_and_its_answers_stay_in_place(
    world: World, answerer: Answerer
) -> None:
    words = "what is the old town that lies on the river called Velle in the country of Ostmark"
    long = f"{words} {words}"
    cut = world.tokenizer.decode(world.ids(long)[: world.templates.query_tokens - 2])
    [found], [wanted] = answerer.ask([long], read=5), answerer.ask([cut], read=5)
    assert [(a.text, a.evidence) for a in found.answers] == [
        (a.text, a.evidence) for a in wanted.answers
    ]


def test_asking_does_not_leave_dropout_on(world: World) -> None:
    model = world.model(dropout=0.5)
    model.train()
    answerer = Answerer(model, world.encoder(model), world.store, world.live(model).retriever)
    assert not any(part.training for part in model.modules())
    assert answerer.ask(QUESTIONS, read=2) == answerer.ask(QUESTIONS, read=2)


def test_a_reader_that_never_learned_to_say_so_gives_no_answer_no_probability(
    world: World, model: Realm
) -> None:
    retriever = world.live(model).retriever
    answerer = Answerer(model, world.encoder(model), world.store, retriever, no_answer=False)
    [found] = answerer.ask(QUESTIONS[:1], read=3, top=5000)
    assert found.no_answer == 0.0
    assert sum(a.probability for a in found.answers) == pytest.approx(1.0, abs=1e-4)


# Fillings -----------------------------------------------------------------------------------------


def test_a_fillings_probability_is_the_sum_over_the_chunks_shown(answerer: Answerer) -> None:
    for text in ("[MASK] is the capital of norland.", "the [MASK] [MASK] lies on the [MASK]."):
        found = answerer.fill([text], k=5, top=6)[0]
        assert len(found.candidates) == 5 and found.candidates[0].chunk is None
        assert sum(c.p_z for c in found.candidates) == pytest.approx(1.0, abs=1e-5)
        for filling in found.fillings:
            total = sum(
                c.p_z * p for c, p in zip(found.candidates, filling.p_y_given_z, strict=True)
            )
            assert filling.p_y == pytest.approx(total, rel=1e-4)
        p_y = [f.p_y for f in found.fillings]
        assert p_y == sorted(p_y, reverse=True) and len(p_y) == 6


def test_one_mask_is_filled_with_the_most_probable_words_of_the_marginal(
    world: World, model: Realm, answerer: Answerer
) -> None:
    found = answerer.fill(["the river [MASK] is warm."], k=4, top=5)[0]
    tokenizer, templates = world.tokenizer, world.templates
    left, right = world.ids("the river"), world.ids("is warm.")
    ids = np.concatenate([left, [tokenizer.mask_id], right]).astype(np.int32)
    marginal = torch.zeros(tokenizer.vocab_size, dtype=torch.float64)
    for weighed in found.candidates:
        empty = np.empty(0, dtype=np.int32)
        body = world.store.body_ids(weighed.chunk.row) if weighed.chunk else empty
        joint = templates.joint([ids], [body])
        logits = model.reader.masked_lm(joint.packed())[1 + len(left)]
        marginal += weighed.p_z * logits.double().softmax(dim=0).detach()
    best = marginal.argsort(descending=True)[:5].tolist()
    assert [f.tokens for f in found.fillings] == [(tokenizer.token(t),) for t in best]
    assert [f.p_y for f in found.fillings] == pytest.approx(marginal[best].tolist(), rel=1e-3)


def test_several_masks_are_filled_by_the_marginal_of_the_whole_span(
    world: World, model: Realm, answerer: Answerer
) -> None:
    """The best pair found is the best of all pairs, each scored as one y."""
    found = answerer.fill(["[MASK] [MASK] is warm."], k=3, top=1)[0]
    tokenizer, templates = world.tokenizer, world.templates
    ids = np.concatenate([[tokenizer.mask_id] * 2, world.ids("is warm.")]).astype(np.int32)
    total = torch.zeros(tokenizer.vocab_size, tokenizer.vocab_size, dtype=torch.float64)
    for weighed in found.candidates:
        empty = np.empty(0, dtype=np.int32)
        body = world.store.body_ids(weighed.chunk.row) if weighed.chunk else empty
        joint = templates.joint([ids], [body])
        logits = model.reader.masked_lm(joint.packed())[1:3]
        first, second = logits.double().softmax(dim=1).detach()
        total += weighed.p_z * torch.outer(first, second)
    best = int(total.argmax())
    pair = divmod(best, tokenizer.vocab_size)
    assert found.fillings[0].tokens == tuple(tokenizer.token(t) for t in pair)
    assert found.fillings[0].p_y == pytest.approx(total.max().item(), rel=1e-3)


def test_texts_filled_together_are_filled_as_alone(answerer: Answerer) -> None:
    texts = [
        "[MASK] is the capital of norland.",
        "the [MASK] [MASK] lies on the [MASK].",
        "the river [MASK] is warm.",
    ]
    for text, found in zip(texts, answerer.fill(texts, k=5, top=3), strict=True):
        [alone] = answerer.fill([text], k=5, top=3)
        assert found.masked == text
        assert [f.tokens for f in found.fillings] == [f.tokens for f in alone.fillings]
        assert [f.p_y for f in found.fillings] == pytest.approx([f.p_y for f in alone.fillings])
        for one, other in zip(found.fillings, alone.fillings, strict=True):
            assert one.p_y_given_z == pytest.approx(other.p_y_given_z, rel=1e-4, abs=1e-7)
        assert [c.chunk for c in found.candidates] == [c.chunk for c in alone.candidates]
        assert [c.p_z for c in found.candidates] == pytest.approx(
            [c.p_z for c in alone.candidates], rel=1e-4
        )


def test_words_that_are_asked_for_are_told_however_improbable(answerer: Answerer) -> None:
    text = "the river [MASK] is warm."
    [everything] = answerer.fill([text], k=4, top=400)
    known = {filling.text: filling for filling in everything.fillings}
    best, [least] = everything.fillings[0], everything.fillings[-1:]
    asked = [least.text, best.text, least.text, "two words", ""]
    [found] = answerer.fill([text], k=4, top=2, also=[asked])
    assert [f.text for f in found.fillings] == [
        *(f.text for f in everything.fillings[:2]),
        least.text,
    ]
    for filling in found.fillings:
        assert filling.p_y == pytest.approx(known[filling.text].p_y, rel=1e-4)
        assert filling.p_y_given_z == pytest.approx(known[filling.text].p_y_given_z, rel=1e-4)
    several = "[MASK] [MASK] is warm."
    [found] = answerer.fill([several], k=3, top=1, also=[["tamsin river"]])
    assert [f.text for f in found.fillings[1:]] == ["tamsin river"]
    assert found.fillings[1].p_y == pytest.approx(
        sum(
            c.p_z * p for c, p in zip(found.candidates, found.fillings[1].p_y_given_z, strict=True)
        ),
        rel=1e-4,
    )


def test_the_null_chunk_alone_is_the_reader_without_retrieval(answerer: Answerer) -> None:
    found = answerer.fill(["the river [MASK] is warm."], k=1, top=3)[0]
    [null] = found.candidates
    assert null.chunk is None and null.p_z == 1.0
    assert all(f.p_y == pytest.approx(f.p_y_given_z[0]) for f in found.fillings)


def test_a_corpus_smaller_than_k_fills_with_what_there_is(answerer: Answerer) -> None:
    assert len(answerer.fill(["[MASK] is warm."], k=200, top=2)[0].candidates) == 49


@pytest.mark.parametrize("text", ["nothing is hidden here", "", "[mask] is warm"])
def test_a_text_without_a_mask_is_refused(answerer: Answerer, text: str) -> None:
    with pytest.raises(InputError, match=r"no \[MASK\]"):
        answerer.fill([text], k=3)


def test_a_mask_beyond_the_longest_query_is_refused(answerer: Answerer) -> None:
    with pytest.raises(InputError, match="within the longest query"):
        answerer.fill(["the river is warm " * 20 + "[MASK]"], k=3)
