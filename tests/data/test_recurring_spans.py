"""Tests of questions made of the texts alone: which chunk is read beside which clause, and how."""

from __future__ import annotations

import math
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from tiny import NameTagger, World, make_store, tokenizer_of

from openrealm.corpus.records import Document
from openrealm.corpus.store import ChunkStore
from openrealm.data import recurring_spans
from openrealm.data.pretraining import SpanTable
from openrealm.data.recurring_spans import ClauseQuestion, RecurringSpans
from openrealm.data.spans import Span
from openrealm.errors import InputError
from openrealm.progress import Silent

ARTICLES = {
    "Bridges": "The old stone bridge over the river Sable was built in 1204 by a king of Norland.",
    "Kings": "A king of Norland built the stone bridge over the Sable, which is old, in 1204.",
    "Years": "In 1204 the harvest failed, and many people went hungry in winter.",
    "Harvests": "A king of Norland and a stone bridge over a river are old, but no harvest is.",
}


class YearTagger:
    """Tags years alone."""

    name = fingerprint = "years"

    def tag(self, texts: list[str]) -> list[list[Span]]:
        return [[Span(*m.span(), "date") for m in re.finditer(r"\b\d{4}\b", t)] for t in texts]


def store_of(directory: Path, articles: dict[str, str]) -> ChunkStore:
    found = [Document(id=t, title=t, text=text, source="t") for t, text in articles.items()]
    tokenizer = tokenizer_of([f"{d.title} {d.text} when what year ?" for d in found])
    return make_store(directory / "corpus", found, tokenizer)


def recurring(store: ChunkStore, tagger: object, *, seed: int = 0) -> RecurringSpans:
    table = SpanTable.build(store, tagger, max_masks=4, progress=Silent())  # type: ignore[arg-type]
    return RecurringSpans(store, table, seed=seed, progress=Silent())


def one_pass(spans: RecurringSpans) -> list[ClauseQuestion]:
    return spans.batch(0, len(spans))


def words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.lower()))


def test_a_clause_is_read_beside_the_chunk_that_tells_the_same_in_other_words(
    tmp_path: Path,
) -> None:
    store = store_of(tmp_path, ARTICLES)
    titles = {store.chunk(row).title: row for row in range(len(store))}
    spans = recurring(store, YearTagger())
    read = {(q.source, q.row) for q in one_pass(spans) if len(q.spans)}
    assert read == {(titles["Bridges"], titles["Kings"]), (titles["Kings"], titles["Bridges"])}
    for question in one_pass(spans):
        assert store.tokenizer.decode(question.answer_ids) == "1204"
        assert "1204" not in store.tokenizer.decode(question.query_ids)


def test_a_question_is_worded_for_its_span_and_anew_in_each_pass(tmp_path: Path) -> None:
    store = store_of(tmp_path, ARTICLES)
    spans = recurring(store, YearTagger())
    wordings = {
        store.tokenizer.decode(q.query_ids)
        for q in spans.batch(0, 40 * len(spans))
        if store.chunk(q.source).title == "Bridges"
    }
    before, after = "the old stone bridge over the river sable was built in", "by a king of norland"
    asked = ("when", "what year")
    assert wordings == {
        *(f"{word} {after} {before}?" for word in asked),
        *(f"{before} {word} {after}?" for word in asked),
        f"{before} [MASK] {after}",
    }


def overlaps_by_hand(store: ChunkStore, clause: str, answer: str) -> list[float]:
    """Share of a clause's words, by log of their rarity, that each chunk holds."""
    texts = [words(store.chunk(row).text) for row in range(len(store))]
    counts = Counter(word for text in texts for word in text)
    weights = {w: math.log((len(texts) + 1) / counts[w]) for w in words(clause) - words(answer)}
    total = sum(weights.values())
    return [sum(weights[w] for w in weights if w in text) / total for text in texts]


def test_the_chunk_read_is_the_best_of_all_that_hold_the_span(world: World) -> None:
    store = world.store
    seen = 0
    for question in one_pass(recurring(store, NameTagger())):
        if not len(question.spans):
            continue
        answer = store.tokenizer.decode(question.answer_ids)
        sentences = re.split(r"(?<=\.) ", store.chunk(question.source).text)
        by_hand = [overlaps_by_hand(store, s, answer) for s in sentences if answer in s.lower()]
        others = [
            row
            for row in range(len(store))
            if row != question.source and f" {answer} " in spelled(store, row)
        ]
        assert question.row in others
        assert any(
            overlap[question.row] >= max(overlap[row] for row in others) - 1e-9
            and overlap[question.row] >= 0.3
            for overlap in by_hand
        )
        body = store.body_ids(question.row)
        assert [body[a:b].tolist() for a, b in question.spans] == [
            question.answer_ids.tolist()
        ] * spelled(store, question.row).count(f" {answer} ")
        seen += 1
    assert seen > 20


def spelled(store: ChunkStore, row: int) -> str:
    """The words of a chunk with a blank on either side."""
    return f" {' '.join(re.findall(r'[a-z0-9]+', store.chunk(row).text.lower()))} "


def test_some_are_read_beside_a_chunk_that_lacks_the_span(world: World) -> None:
    questions = one_pass(recurring(world.store, NameTagger()))
    without = [q for q in questions if not len(q.spans)]
    assert 0.05 < len(without) / len(questions) < 0.35
    for question in without:
        answer = world.tokenizer.decode(question.answer_ids)
        assert answer not in world.store.chunk(question.row).text.lower()
        assert question.row != question.source


def test_no_step_asks_for_a_span_that_is_held_out(world: World) -> None:
    spans = recurring(world.store, NameTagger())
    held_out = {q.answer_ids.tobytes() for q in spans.held_out()}
    assert held_out and not held_out & {q.answer_ids.tobytes() for q in one_pass(spans)}


def told(questions: list[ClauseQuestion]) -> list[tuple[bytes, int, bytes]]:
    return [(q.query_ids.tobytes(), q.row, q.spans.tobytes()) for q in questions]


def test_questions_are_a_function_of_seed_and_step(world: World) -> None:
    first, again, other = (recurring(world.store, NameTagger(), seed=seed) for seed in (0, 0, 1))
    batches = [told(first.batch(step, 3)) for step in range(40)]
    assert batches == [told(again.batch(step, 3)) for step in range(40)]
    assert batches != [told(other.batch(step, 3)) for step in range(40)]
    assert told(first.batch(0, 120)) == [one for batch in batches for one in batch]
    assert told(first.held_out()) == told(other.held_out())
    rows = [sorted((q.source, q.row) for q in one_pass(one)) for one in (first, other)]
    assert rows[0] == rows[1]


def test_of_many_chunks_a_part_of_whole_documents_is_read(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recurring_spans, "_MAX_CHUNKS", 30)
    spans = recurring(world.store, NameTagger())
    rows = {row for q in one_pass(spans) for row in (q.source, q.row)}
    documents = {int(world.store.document_of[row]) for row in rows}
    sizes = np.bincount(world.store.document_of)
    assert len(rows) > 5 and sum(sizes[list(documents)]) <= 30


def test_texts_that_say_nothing_twice_are_refused(tmp_path: Path) -> None:
    store = store_of(tmp_path, {"Years": ARTICLES["Years"]})
    with pytest.raises(InputError, match=r"no span .* reading\.steps=0"):
        recurring(store, YearTagger())


def test_what_stands_in_the_same_words_elsewhere_needs_no_reading(tmp_path: Path) -> None:
    twice = {"Bridges": ARTICLES["Bridges"], "More": f"Look: here it is. {ARTICLES['Bridges']}"}
    with pytest.raises(InputError, match="no span"):
        recurring(store_of(tmp_path, twice), YearTagger())
