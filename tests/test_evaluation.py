"""Tests of the tables of results, over rankings and answers that are known."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from tiny import World

from openrealm.answering.answer_spans import Answer
from openrealm.answering.answerer import Answers
from openrealm.data.qa import Question
from openrealm.errors import InputError
from openrealm.evaluation import (
    HeldOutQuery,
    beir_values,
    from_questions,
    qa_values,
    read_held_out,
    relevance,
    retrieval_values,
    summarise,
)
from openrealm.metrics import Judgments
from openrealm.progress import Silent


class FixedRanker:
    """Ranks given rows first, by query text; remembers what it was asked."""

    def __init__(self, world: World, first: dict[str, list[int]]) -> None:
        self._size, self._first = len(world.store), first
        self.asked: list[tuple[int, int]] = []

    def __call__(self, texts: Sequence[str], k: int) -> npt.NDArray[np.int64]:
        self.asked.append((len(texts), k))
        rows = []
        for text in texts:
            first = self._first[text]
            rest = [row for row in range(self._size) if row not in first]
            rows.append([*first, *rest][:k])
        return np.array(rows, dtype=np.int64)


# Held-out queries ---------------------------------------------------------------------------------


def test_held_out_queries_are_read_with_their_answers_and_gold(tmp_path: Path) -> None:
    path = tmp_path / "queries.jsonl"
    lines = [
        {"id": 7, "text": "which land has Bresk?", "answers": ["Ostmark"], "gold": ["city-Bresk"]},
        {"text": "when?", "answers": ["1204", "1377"]},
    ]
    path.write_text("\n\n".join(json.dumps(line) for line in lines) + "\n", encoding="utf-8")
    assert read_held_out(path) == [
        HeldOutQuery(
            id="7", text="which land has Bresk?", answers=("Ostmark",), gold=("city-Bresk",)
        ),
        HeldOutQuery(id="3", text="when?", answers=("1204", "1377")),
    ]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('{"text": "a", "answers": ["b"]}\n{"text": "a"', "line 2"),
        ('{"text": "a"}', "line 1: .*answers"),
        ("[1]", "line 1"),
        ('{"text": "a", "answers": 3}', "line 1"),
        ("\n \n", "holds no query"),
    ],
)
def test_a_broken_file_of_queries_is_refused_with_its_line(
    tmp_path: Path, text: str, complaint: str
) -> None:
    path = tmp_path / "queries.jsonl"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=complaint):
        read_held_out(path)


def test_a_file_that_is_missing_or_not_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read the queries"):
        read_held_out(tmp_path / "nowhere.jsonl")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="cannot read the queries"):
        read_held_out(tmp_path / "binary")


def test_answers_given_as_one_string_are_refused_rather_than_spelt_out(tmp_path: Path) -> None:
    path = tmp_path / "queries.jsonl"
    path.write_text('{"text": "a", "answers": "Paris"}', encoding="utf-8")
    with pytest.raises(InputError, match="line 1"):
        read_held_out(path)


def test_questions_become_queries_that_are_judged_by_their_answers() -> None:
    question = Question(id="1", text="when?", answers=(r"1\d+",), is_regex=True)
    assert from_questions([question]) == [
        HeldOutQuery(id="1", text="when?", answers=(r"1\d+",), is_regex=True)
    ]


# Retrieval ----------------------------------------------------------------------------------------


def test_a_chunk_is_relevant_when_it_holds_an_answer_as_whole_words(world: World) -> None:
    rows = np.array([[world.row_of("In 1377"), world.row_of("In 1204"), world.row_of("Velle")]])
    query = HeldOutQuery(id="1", text="", answers=("bresk",))
    assert relevance(world.store, [query], rows).tolist() == [[True, False, True]]
    part = HeldOutQuery(id="1", text="", answers=("res",))
    assert not relevance(world.store, [part], rows).any()


def test_the_originals_raw_substring_match_can_be_chosen(world: World) -> None:
    rows = np.array([[world.row_of("In 1377"), world.row_of("In 1204")]])
    part = HeldOutQuery(id="1", text="", answers=("res",))
    assert relevance(world.store, [part], rows, raw=True).tolist() == [[True, False]]
    lower = HeldOutQuery(id="1", text="", answers=("bresk",))
    assert not relevance(world.store, [lower], rows, raw=True).any()


def test_regular_expressions_are_searched_in_the_text(world: World) -> None:
    rows = np.array([[world.row_of("In 1377"), world.row_of("Ships sail")]])
    query = HeldOutQuery(id="1", text="", answers=(r"13\d\d",), is_regex=True)
    assert relevance(world.store, [query], rows).tolist() == [[True, False]]


def test_where_gold_documents_are_named_the_chunk_has_to_be_of_one_of_them(world: World) -> None:
    rows = np.array([[world.row_of("In 1377"), world.row_of("The country of Ostmark")]])
    query = HeldOutQuery(id="1", text="", answers=("Bresk",), gold=("country-Ostmark", "gone"))
    assert relevance(world.store, [query], rows).tolist() == [[False, True]]


def test_recall_and_reciprocal_rank_are_those_of_the_ranking(world: World) -> None:
    holding = [r for r in range(len(world.store)) if "Bresk" in world.store.chunk(r).text]
    others = [r for r in range(len(world.store)) if r not in holding]
    places = {"first": 0, "third": 2, "tenth": 9, "last": len(others)}
    queries = [HeldOutQuery(id=name, text=name, answers=("Bresk",)) for name in places]
    ranker = FixedRanker(
        world, {name: [*others[:n], holding[0], *others[n:]] for name, n in places.items()}
    )
    values = retrieval_values(world.store, queries, ranker)
    assert values["recall@1"].tolist() == [1, 0, 0, 0]
    assert values["recall@5"].tolist() == [1, 1, 0, 0]
    assert values["recall@20"].tolist() == [1, 1, 1, 0]
    assert values["recall@100"].tolist() == [1, 1, 1, 1]
    assert values["mrr"].tolist() == pytest.approx([1, 1 / 3, 1 / 10, 1 / (len(others) + 1)])
    table = summarise(values)
    assert table["recall@5"].mean == 0.5
    assert table["recall@5"].low <= 0.5 <= table["recall@5"].high


def test_many_queries_are_asked_in_batches(world: World) -> None:
    queries = [HeldOutQuery(id=str(n), text="x", answers=("Bresk",)) for n in range(600)]
    ranker = FixedRanker(world, {"x": [3]})
    values = retrieval_values(world.store, queries, ranker)
    assert [size for size, _ in ranker.asked] == [256, 256, 88]
    assert len(values["mrr"]) == 600


def test_no_queries_are_refused_rather_than_averaged(world: World) -> None:
    with pytest.raises((InputError, ValueError)):
        summarise(retrieval_values(world.store, [], FixedRanker(world, {})))


def test_documents_are_judged_at_the_rank_of_their_first_chunk(world: World) -> None:
    pytest.importorskip("ir_measures")
    store = world.store
    bresk = [r for r in range(len(store)) if store.chunk(r).document_id == "city-Bresk"]
    far = [r for r in range(len(store)) if "Lune" in store.chunk(r).text]
    assert len(bresk) == 2
    # Rank 1 and 2 are chunks of one document; the relevant document is the second document.
    order = {"q": [far[0], far[1], bresk[1], bresk[0]], "p": [bresk[0]]}
    names = {store.chunk(r).document_id for r in far[:2]}
    judgments = Judgments(
        queries={"b": "q", "a": "p"}, qrels={"b": {"city-Bresk": 1}, "a": {"city-Bresk": 1}}
    )
    values = beir_values(store, judgments, FixedRanker(world, order))
    rank = len(names) + 1
    # In the order of the sorted ids.
    assert values["RR"].tolist() == pytest.approx([1.0, 1 / rank])
    assert values["nDCG@10"].tolist() == pytest.approx([1.0, 1 / math.log2(rank + 1)])


def test_places_without_a_chunk_are_no_document_and_hold_no_answer(world: World) -> None:
    """A lexical ranking ends where no more chunks share a word with the query."""
    pytest.importorskip("ir_measures")
    assert world.store.chunk(0).document_id == "city-Aldera"
    assert world.store.chunk(47).document_id == "year-1866"
    rows = np.array([[0, -1, -1]])
    query = HeldOutQuery(id="1", text="", answers=("Lorient", "Aldera"))
    assert relevance(world.store, [query], rows).tolist() == [[True, False, False]]
    judgments = Judgments(
        queries={"a": "q", "b": "p"}, qrels={"a": {"city-Aldera": 1}, "b": {"year-1866": 1}}
    )

    def ranker(texts: Sequence[str], k: int) -> npt.NDArray[np.int64]:
        return np.repeat(rows, len(texts), axis=0)

    assert beir_values(world.store, judgments, ranker)["RR"].tolist() == [1.0, 0.0]


# Answers ------------------------------------------------------------------------------------------


class FixedAnswerer:
    """Answers by a table; nothing where the table has nothing."""

    def __init__(self, table: dict[str, str]) -> None:
        self.table = table
        self.asked: list[int] = []

    def __call__(self, questions: Sequence[str]) -> list[Answers]:
        self.asked.append(len(questions))
        return [
            Answers(
                question=text,
                answers=(Answer(text=self.table[text], probability=0.5, evidence=()),)
                if text in self.table
                else (),
                no_answer=0.5,
                read=(),
            )
            for text in questions
        ]


def test_exact_match_and_f1_are_those_of_the_original() -> None:
    questions = [
        Question(id="1", text="a", answers=("The Old Town!", "Bresk")),
        Question(id="2", text="b", answers=("the river Velle",)),
        Question(id="3", text="c", answers=(r"13\d\d",), is_regex=True),
        Question(id="4", text="d", answers=("1204",)),
    ]
    answerer = FixedAnswerer({"a": "old town", "b": "Velle", "c": "1377 or so"})
    found = qa_values(answerer, questions, progress=Silent())
    assert found.predictions == ("old town", "Velle", "1377 or so", "")
    assert found.values["exact_match"].tolist() == [1.0, 0.0, 1.0, 0.0]
    assert found.values["f1"].tolist() == pytest.approx([1.0, 2 / 3, 1.0, 0.0])
    assert answerer.asked == [4]


def test_questions_are_answered_in_small_batches() -> None:
    questions = [Question(id=str(n), text=str(n), answers=("x",)) for n in range(35)]
    answerer = FixedAnswerer({"3": "x"})
    found = qa_values(answerer, questions, progress=Silent())
    assert answerer.asked == [16, 16, 3]
    assert found.values["exact_match"].sum() == 1.0
