"""BM25 ranks as its formula says, and fusion as its own."""

from __future__ import annotations

import logging
import math
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openrealm.corpus.records import Document
from openrealm.corpus.store import ChunkStore
from openrealm.corpus.updating import update_store
from openrealm.errors import ConfigError
from openrealm.retrieval.lexical import BM25, fuse_reciprocal_ranks
from openrealm.tokenizer import WordPiece

TEXTS = [
    "red fish blue fish",
    "one fish two fish",
    "blue sky over a blue sea and a blue bay",
    "nothing of interest",
    "fish",
    "the and of",
]


def scores_by_hand(texts: list[str], query: str, k1: float, b: float) -> list[float]:
    """Robertson's sum with Lucene's idf, word by word; for texts without stop words or endings."""
    split = [re.findall(r"\w+", text.lower()) for text in texts]
    mean_length = sum(map(len, split)) / len(split)
    scores = []
    for words in split:
        score = 0.0
        for word in re.findall(r"\w+", query.lower()):
            holding = sum(word in other for other in split)
            idf = math.log(1 + (len(split) - holding + 0.5) / (holding + 0.5))
            times = words.count(word)
            score += idf * times / (times + k1 * (1 - b + b * len(words) / mean_length))
        scores.append(score)
    return scores


def test_scores_equal_the_formula_written_out() -> None:
    texts = ["red fish red", "blu fish", "red sky sky sky sea", "moon"]
    for k1, b in ((1.5, 0.75), (0.9, 0.4)):
        scores, rows = BM25(texts, k1=k1, b=b).search(["red fish", "sky moon sky"], 4)
        for number, query in enumerate(["red fish", "sky moon sky"]):
            expected = scores_by_hand(texts, query, k1, b)
            assert scores[number] == pytest.approx(sorted(expected, reverse=True), rel=1e-5)
            assert [expected[row] for row in rows[number]] == pytest.approx(scores[number].tolist())


def test_results_have_their_shapes_and_types_and_k_is_cut_to_the_corpus() -> None:
    index = BM25(TEXTS)
    scores, rows = index.search(["fish", "sky", "sea"], 99)
    assert len(index) == 6
    assert scores.shape == rows.shape == (3, 6)
    assert scores.dtype == np.float32
    assert rows.dtype == np.int64
    assert sorted(rows[0].tolist()) == list(range(6))
    assert index.search([], 2)[0].shape == (0, 2)


def test_equal_scores_are_ordered_by_row() -> None:
    texts = ["a cat", "dog", "a cat", "cat", "bird", "cat"]
    assert BM25(texts).search(["cat"], 3)[1].tolist() == [[0, 2, 3]]
    assert BM25(texts).search(["zebra", "", "the"], 3)[1].tolist() == [[0, 1, 2]] * 3


@pytest.mark.parametrize("texts", [TEXTS, ["the and of"], []])
def test_what_was_saved_is_loaded(texts: list[str], tmp_path: Path) -> None:
    index = BM25(texts)
    index.save(tmp_path)
    loaded = BM25.load(tmp_path)
    assert len(loaded) == len(texts)
    for query in ["red fishes", "blue sea", "zebra", ""]:
        np.testing.assert_array_equal(loaded.scores(query), index.scores(query))


def test_one_with_other_stems_is_not_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    BM25(TEXTS).save(tmp_path)
    monkeypatch.setattr("openrealm.retrieval.lexical.stemming", lambda: "latin")
    with pytest.raises(ValueError, match="stems"):
        BM25.load(tmp_path)


def test_words_are_compared_by_their_stems() -> None:
    pytest.importorskip("Stemmer", reason="PyStemmer is not installed")
    scores, rows = BM25(["nothing", "the River's fishing rules"]).search(["fished rivers"], 1)
    assert rows.tolist() == [[1]]
    assert scores[0, 0] > 0


def test_without_pystemmer_words_are_compared_as_they_are(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "Stemmer", None)
    with caplog.at_level(logging.INFO):
        scores, rows = BM25(["fish", "fishing"]).search(["fishing"], 2)
    assert rows.tolist() == [[1, 0]]
    assert scores[0, 1] == 0
    assert "without stemming" in caplog.text


def test_a_corpus_without_a_word_and_one_without_a_text_are_searched_in_vain() -> None:
    scores, rows = BM25(["the", "..."]).search(["fish"], 5)
    assert (scores.tolist(), rows.tolist()) == ([[0.0, 0.0]], [[0, 1]])
    scores, rows = BM25([]).search(["fish"], 5)
    assert scores.shape == rows.shape == (1, 0)


def test_asking_for_no_chunk_is_refused() -> None:
    with pytest.raises(ConfigError, match="k = 0"):
        BM25(TEXTS).search(["fish"], 0)


def test_chunks_of_a_store_are_found_by_title_and_body(tmp_path: Path) -> None:
    documents = [
        Document("1", "Polonium", "A metal that decays.", "x"),
        Document("2", "Warsaw", "The capital of Poland. Curie was born there.", "x"),
    ]
    texts = [f"{document.title} {document.text}" for document in documents]
    tokenizer = WordPiece.train(texts, vocab_size=200)
    update_store(tmp_path / "corpus", add=documents, tokenizer=tokenizer)
    store = ChunkStore.open(tmp_path / "corpus")
    _, rows = BM25.build(store).search(["polonium", "who was born in warsaw"], 1)
    assert [store.chunk(int(row)).document_id for row in rows[:, 0]] == ["1", "2"]


def test_fusion_sums_reciprocal_ranks() -> None:
    dense = np.array([[4, 2, 7], [1, -1, -1]])
    sparse = np.array([[2, 9], [-1, -1]])
    scores, rows = fuse_reciprocal_ranks([dense, sparse], 5)
    assert rows.tolist() == [[2, 4, 9, 7, -1], [1, -1, -1, -1, -1]]
    assert scores[0] == pytest.approx([1 / 62 + 1 / 61, 1 / 61, 1 / 62, 1 / 63, 0.0])
    assert scores[1] == pytest.approx([1 / 61, 0, 0, 0, 0])
    assert scores.dtype == np.float32
    assert rows.dtype == np.int64


def test_of_equal_fused_scores_the_lower_row_comes_first() -> None:
    first, second = np.array([[5, 3]]), np.array([[3, 5]])
    assert fuse_reciprocal_ranks([first, second], 2)[1].tolist() == [[3, 5]]


@given(st.permutations(range(6)), st.integers(1, 8))
def test_fusing_a_ranking_with_itself_leaves_its_order(ranking: list[int], k: int) -> None:
    rows = np.array([ranking])
    fused = fuse_reciprocal_ranks([rows, rows], k)[1][0].tolist()
    assert fused == [*ranking, -1, -1][:k]


def test_rankings_of_different_queries_are_not_fused() -> None:
    with pytest.raises(ConfigError, match=r"not of \[1, 2\]"):
        fuse_reciprocal_ranks([np.array([[1]]), np.array([[1], [2]])], 1)
    with pytest.raises(ConfigError, match="takes rankings"):
        fuse_reciprocal_ranks([], 1)
