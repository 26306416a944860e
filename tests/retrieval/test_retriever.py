"""Tests of candidates: a query never gets its own chunk, nor one that repeats it, and still k; and
of inner product and words in common together, against all sums written out.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import World, make_store
from together import run_together

from openrealm.corpus.records import Document
from openrealm.corpus.store import ChunkStore
from openrealm.index.mips import ExactIndex, Hits, ShardedIndex
from openrealm.processes import ALONE, Processes
from openrealm.retrieval import retriever
from openrealm.retrieval.retriever import (
    NO_CHUNK,
    Lexical,
    Origin,
    Retriever,
    TrivialTest,
    best_rows,
    search_both,
    shingles,
)
from openrealm.settings import RetrievalConfig

FACT = "The old town of Bresk lies on the river Velle, and many people visit it in summer."


def ranked(rows: Sequence[int], size: int) -> ExactIndex:
    """An index that finds the given rows in this order, and the others after them."""
    order = [*rows, *(row for row in range(size) if row not in rows)]
    scores = torch.zeros(size, 1)
    scores[torch.tensor(order), 0] = torch.arange(size, 0.0, -1.0)
    return ExactIndex(scores)


def ask(
    store: ChunkStore,
    order: Sequence[int],
    num_chunks: int,
    origins: Sequence[Origin] | None,
    **config: object,
) -> list[list[int]]:
    retriever = Retriever(store, ranked(order, len(store)), RetrievalConfig(**config))  # type: ignore[arg-type]
    num = len(origins) if origins is not None else 1
    asked = [""] * num
    found = retriever.candidates(torch.ones(num, 1), num_chunks, texts=asked, origins=origins)
    return found.tolist()


def origin_of(store: ChunkStore, row: int, sentence: str | None = None) -> Origin:
    body = store.body_ids(row)
    return Origin(
        row=row,
        document_id=store.chunk(row).document_id,
        sentence_ids=body if sentence is None else store.tokenizer.encode(sentence).ids,
        body_ids=body,
    )


@pytest.fixture(scope="module")
def repeated(world: World, tmp_path_factory: pytest.TempPathFactory) -> ChunkStore:
    """Row 0 is the query's own; 1 and 2 repeat it, 3 quotes one sentence of it; 4, 5 are others."""
    texts = [
        f"{FACT} It was founded by a king.",
        f"{FACT} It was founded by a king.",
        f"{FACT} It was built by a king.",
        f"Ships sail on the river in summer. {FACT} The country is governed from the town.",
        "The people still remember the year 1377. Ships sail as far as Bresk.",
        "The country of Ostmark is governed from Bresk.",
    ]
    documents = [
        Document(id=f"d{n}", title="Bresk", text=text, source="test")
        for n, text in enumerate(texts)
    ]
    directory = tmp_path_factory.mktemp("repeated") / "corpus"
    store = make_store(directory, documents, world.tokenizer, chunk_tokens=64)
    assert len(store) == 6
    return store


def test_a_query_never_gets_its_own_chunk(world: World) -> None:
    store = world.store
    for row in range(len(store)):
        found = ask(store, [row], 3, [origin_of(store, row)])[0]
        assert row not in found and len(set(found)) == 3 and NO_CHUNK not in found


def test_candidates_come_in_the_order_of_the_ranking(world: World) -> None:
    order = [20, 4, 33, 8]
    assert ask(world.store, order, 3, [origin_of(world.store, 4)]) == [[20, 33, 8]]


def test_without_an_origin_nothing_is_passed_over(world: World) -> None:
    assert ask(world.store, [7, 2, 5], 3, None) == [[7, 2, 5]]


def test_a_chunk_that_repeats_the_querys_own_is_passed_over(repeated: ChunkStore) -> None:
    own = origin_of(repeated, 0)
    assert ask(repeated, [0, 1, 2, 3, 4, 5], 2, [own]) == [[3, 4]]


def test_a_chunk_that_quotes_the_querys_sentence_is_passed_over(repeated: ChunkStore) -> None:
    own = origin_of(repeated, 0, FACT)
    trivial = TrivialTest(repeated, own, RetrievalConfig())
    assert [trivial(row) for row in range(6)] == [True, True, True, True, False, False]


def test_a_chunk_of_other_texts_that_holds_the_sentence_is_passed_over(
    repeated: ChunkStore,
) -> None:
    # The query comes from texts that are not the corpus: it has no row there.
    ids = repeated.tokenizer.encode(FACT).ids
    elsewhere = Origin(row=NO_CHUNK, document_id="news-7", sentence_ids=ids, body_ids=ids)
    assert ask(repeated, [0, 1, 2, 3, 4, 5], 2, [elsewhere]) == [[4, 5]]


def test_how_near_a_duplicate_may_be_is_one_number(
    repeated: ChunkStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = origin_of(repeated, 0, "It was founded by a king.")
    monkeypatch.setattr(retriever, "NEAR_DUPLICATE", 0.1)
    strict = ask(repeated, [0, 1, 2, 3, 4, 5], 3, [own])
    monkeypatch.setattr(retriever, "NEAR_DUPLICATE", 1.01)
    loose = ask(repeated, [0, 1, 2, 3, 4, 5], 3, [own])
    assert strict[0][:2] != loose[0][:2]
    assert loose == [[1, 2, 3]]  # above 1: only the own row is kept from it


def test_at_a_threshold_of_one_only_whole_quotations_and_copies_are_passed_over(
    repeated: ChunkStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retriever, "NEAR_DUPLICATE", 1.0)
    quoted, whole = origin_of(repeated, 0, FACT), origin_of(repeated, 0)
    exact = RetrievalConfig()
    found = [[TrivialTest(repeated, o, exact)(row) for row in range(6)] for o in (quoted, whole)]
    assert found == [[True, True, True, True, False, False], [True, True] + [False] * 4]


def test_a_query_still_gets_all_its_candidates_when_many_are_trivial(
    world: World, tmp_path: Path
) -> None:
    copies = [Document(id=f"copy{n}", title="", text=FACT, source="test") for n in range(60)]
    others = [
        Document(id=f"other{n}", title="", text=f"In {year} a king built the town.", source="test")
        for n, year in enumerate((1204, 1377, 1490))
    ]
    store = make_store(tmp_path / "corpus", [*copies, *others], world.tokenizer)
    found = ask(store, range(60), 3, [origin_of(store, 5), origin_of(store, 61)])
    assert found[0] == [60, 61, 62]
    assert found[1] == [0, 1, 2]  # a query with nothing trivial before it is not delayed by others


def test_where_too_few_are_left_the_rest_is_empty(repeated: ChunkStore) -> None:
    own = origin_of(repeated, 0)
    assert ask(repeated, range(6), 5, [own]) == [[3, 4, 5, NO_CHUNK, NO_CHUNK]]
    assert ask(repeated, range(6), 8, None) == [[0, 1, 2, 3, 4, 5, NO_CHUNK, NO_CHUNK]]


def test_no_candidate_is_given_twice(world: World) -> None:
    found = ask(world.store, range(len(world.store)), 40, [origin_of(world.store, 3)])[0]
    kept = [row for row in found if row != NO_CHUNK]
    assert len(kept) == len(set(kept))


def test_the_whole_document_can_be_kept_from_its_queries(world: World) -> None:
    store = world.store
    row = world.row_of("Many people visit Bresk")
    own = store.rows_of(int(store.document_of[row]))
    assert len(own) == 2
    order = [*own, row + 1]
    by_chunk = ask(store, order, 2, [origin_of(store, row)], exclude="chunk")[0]
    by_document = ask(store, order, 2, [origin_of(store, row)], exclude="document")[0]
    assert by_chunk == [own.start, row + 1]
    assert not set(by_document) & set(own)


def test_a_document_is_kept_from_queries_of_its_namesake_in_other_texts(world: World) -> None:
    ids = world.ids("Somebody wrote of other things")
    origin = Origin(row=NO_CHUNK, document_id="city-Bresk", sentence_ids=ids, body_ids=ids)
    unknown = Origin(row=NO_CHUNK, document_id="nowhere", sentence_ids=ids, body_ids=ids)
    own = world.row_of("Many people visit Bresk")
    found = ask(world.store, [own, 0], 1, [origin, unknown], exclude="document")
    assert found == [[0], [own]]


def test_neighbouring_chunks_can_be_kept_from_a_query(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retriever, "NEAR_DUPLICATE", 1.01)
    text = " ".join(
        f"In {1200 + n} a king of Norland built the town number {n}." for n in range(20)
    )
    other = "The country of Rhodia is governed from Elvast."
    store = make_store(
        tmp_path / "corpus",
        [
            Document(id="before", title="", text=other, source="test"),
            Document(id="long", title="", text=text, source="test"),
        ],
        world.tokenizer,
    )
    rows = store.rows_of(1)
    assert len(rows) > 5
    for row in rows:
        origin = origin_of(store, row)
        found = ask(store, rows, len(store), [origin], exclude="neighbours")[0]
        near = {n for n in (row - 1, row, row + 1) if n in rows}
        assert {n for n in found if n != NO_CHUNK} == set(range(len(store))) - near


def test_for_an_ablation_nothing_is_kept_from_a_query(repeated: ChunkStore) -> None:
    own = origin_of(repeated, 0)
    assert ask(repeated, range(6), 3, [own], exclude="nothing") == [[0, 1, 2]]


def test_shingles_are_the_distinct_trigrams() -> None:
    ids = np.array([5, 6, 7, 5, 6, 7, 8], dtype=np.int32)
    assert len(shingles(ids)) == 4  # 567 675 756 678
    assert (len(shingles(ids[:2])), len(shingles(ids[:3]))) == (0, 1)
    large = np.array([2**21 - 1, 0, 2**21 - 1, 0], dtype=np.int32)
    assert len(shingles(large)) == 2 and bool((shingles(large) >= 0).all())


def test_sentences_of_fewer_than_three_tokens_are_told_by_their_chunk(
    repeated: ChunkStore,
) -> None:
    short = Origin(
        row=0,
        document_id="d0",
        sentence_ids=repeated.tokenizer.encode("Bresk.").ids,
        body_ids=repeated.body_ids(0),
    )
    assert ask(repeated, range(6), 3, [short]) == [[3, 4, 5]]


class Table:
    """Scores of words, a row a text; which are the texts' numbers."""

    def __init__(self, scores: np.ndarray) -> None:
        self.table = scores.astype(np.float32)

    def scores(self, text: str) -> np.ndarray:
        return self.table[int(text)]


class Counting(ExactIndex):
    """Notes how long the lists were that it was asked for."""

    def __init__(self, chunk_emb: torch.Tensor) -> None:
        super().__init__(chunk_emb)
        self.asked: list[tuple[int, int]] = []

    def search(self, query_emb: torch.Tensor, k: int) -> Hits:
        self.asked.append((len(query_emb), k))
        return super().search(query_emb, k)


@settings(deadline=None)
@given(
    seed=st.integers(0, 2**16),
    chunks=st.integers(1, 400),
    k=st.integers(1, 12),
    weight=st.sampled_from([0.01, 0.5, 1.0, 30.0]),
    steps=st.sampled_from([2, 5, 1000]),
)
def test_the_best_are_those_of_all_sums_equal_ones_by_row(
    seed: int, chunks: int, k: int, weight: float, steps: int
) -> None:
    draw = np.random.default_rng(seed)
    # Few different values make many equal sums.
    inner = draw.integers(-steps, steps, (chunks, 1)).astype(np.float32)
    words = draw.integers(0, steps, (3, chunks)).astype(np.float32)
    queries = torch.tensor([[1.0], [0.0], [-2.0]])
    found = search_both(
        ExactIndex(torch.from_numpy(inner)),
        queries,
        k,
        Lexical(Table(words), lambda: weight),
        ["0", "1", "2"],
    )
    for number in range(3):
        everything = torch.from_numpy(inner) @ queries[number]
        everything = everything + weight * torch.from_numpy(words[number])
        order = torch.argsort(everything, descending=True, stable=True)[:k]
        assert found.rows[number].tolist() == order.tolist()
        assert found.scores[number].tolist() == everything[order].tolist()


def test_lists_are_made_longer_only_for_queries_that_need_it() -> None:
    chunks = 2000
    # The first query's best stands first in both lists; the second's in the middle of both.
    inner = np.zeros((chunks, 2), dtype=np.float32)
    words = np.zeros((2, chunks), dtype=np.float32)
    inner[7, 0], words[0, 7] = 10.0, 10.0
    inner[:, 1] = np.linspace(1.0, 0.0, chunks)
    words[1] = np.linspace(0.0, 1.0, chunks)
    inner[1000, 1] += 0.2
    words[1, 1000] += 0.2
    index = Counting(torch.from_numpy(inner))
    lexical = Lexical(Table(words), lambda: 1.0)
    found = search_both(index, torch.eye(2), 1, lexical, ["0", "1"])
    assert found.rows.tolist() == [[7], [1000]]
    assert index.asked[0] == (2, 64)
    assert len(index.asked) > 1 and all(num == 1 for num, _ in index.asked[1:])


def test_the_weight_is_the_one_of_the_moment() -> None:
    weights = [0.1, 10.0]
    lexical = Lexical(Table(np.array([[0.0, 1.0]])), lambda: weights[0])
    index = ExactIndex(torch.tensor([[1.0], [0.0]]))
    assert search_both(index, torch.ones(1, 1), 1, lexical, ["0"]).rows.tolist() == [[0]]
    weights.pop(0)
    assert search_both(index, torch.ones(1, 1), 1, lexical, ["0"]).rows.tolist() == [[1]]


def test_nothing_asked_and_nothing_wanted_are_nothing() -> None:
    lexical = Lexical(Table(np.ones((1, 2))), lambda: 1.0)
    index = ExactIndex(torch.ones(2, 3))
    assert search_both(index, torch.zeros(0, 3), 5, lexical, []).rows.shape == (0, 2)
    assert search_both(index, torch.zeros(1, 3), 0, lexical, ["0"]).rows.shape == (1, 0)


def test_scores_of_some_chunks_are_those_of_all_at_their_rows() -> None:
    lexical = Lexical(Table(np.arange(8.0).reshape(2, 4)), lambda: 3.0)
    rows = np.array([[3, 0], [1, 1]])
    assert lexical.scores(["1", "0"], rows).tolist() == [[7.0, 4.0], [1.0, 1.0]]
    assert lexical.scores(["1", "0"], rows[0]).tolist() == [[7.0, 4.0], [3.0, 0.0]]
    with pytest.raises(ValueError, match="zip"):
        lexical.scores(["1"], rows)


def test_best_rows_are_the_first_of_equal_ones() -> None:
    scores = np.array([1.0, 3.0, 2.0, 3.0, 2.0, 2.0], dtype=np.float32)
    assert best_rows(scores, 4).tolist() == [1, 3, 2, 4]


def _search_together(
    processes: Processes, inner: np.ndarray, words: np.ndarray, asked: list[list[int]]
) -> tuple[list[list[int]], list[list[float]]]:
    rows = processes.local_slice(len(inner))
    index = ShardedIndex(
        ExactIndex(torch.from_numpy(inner[rows.start : rows.stop])),
        first_row=rows.start,
        num_rows=len(inner),
        processes=processes,
    )
    mine = asked[processes.rank]
    queries = torch.tensor([[1.0 - n] for n in mine]).view(-1, 1)
    found = search_both(
        index, queries, 5, Lexical(Table(words), lambda: 0.5), [str(n) for n in mine]
    )
    return found.rows.tolist(), found.scores.tolist()


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_processes_that_share_an_index_find_what_one_finds() -> None:
    draw = np.random.default_rng(0)
    inner = draw.integers(-9, 9, (300, 1)).astype(np.float32)
    words = draw.integers(0, 9, (4, 300)).astype(np.float32)
    # One of them asks nothing, and some queries need longer lists than others.
    asked: list[list[int]] = [[0, 1, 3], [], [2]]
    together = run_together(_search_together, inner, words, asked, size=3)
    alone = _search_together(ALONE, inner, words, [[0, 1, 2, 3]])
    for numbers, (rows, scores) in zip(asked, together, strict=True):
        assert rows == [alone[0][n] for n in numbers]
        assert scores == [alone[1][n] for n in numbers]
