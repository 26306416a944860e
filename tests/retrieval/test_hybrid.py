"""Inner product and words in common: the best of their sum, against all sums written out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from together import run_together

from openrealm.index.mips import ExactIndex, Hits
from openrealm.index.sharded import ShardedIndex
from openrealm.processes import ALONE, Processes
from openrealm.retrieval.hybrid import Lexical, best_rows, search_both


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
