"""Tests of exact search against a full sort in numpy."""

from __future__ import annotations

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
import torch

from openrealm.index.mips import ExactIndex, Hits, Index, merge


def by_hand(queries: np.ndarray, chunks: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k best rows of each query: a full sort, by score and then by row."""
    scores = queries @ chunks.T
    rows = np.array([sorted(range(len(chunks)), key=lambda r: (-line[r], r)) for line in scores])
    rows = rows.reshape(len(queries), len(chunks))[:, :k]
    return np.take_along_axis(scores, rows, axis=1), rows


def whole_numbers(draw: np.random.Generator, *shape: int) -> np.ndarray:
    """Few different values, so that many scores are equal, and sums are exact."""
    return draw.integers(-2, 3, size=shape).astype(np.float32)


@hypothesis.given(
    num_chunks=st.integers(1, 40),
    k=st.integers(1, 50),
    block=st.integers(1, 45),
    seed=st.integers(0, 2**16),
)
def test_the_best_rows_are_found_and_equal_scores_are_ordered_by_row(
    num_chunks: int, k: int, block: int, seed: int
) -> None:
    draw = np.random.default_rng(seed)
    queries, chunks = whole_numbers(draw, 3, 4), whole_numbers(draw, num_chunks, 4)
    hits = ExactIndex(torch.from_numpy(chunks), block_rows=block).search(
        torch.from_numpy(queries), k
    )
    scores, rows = by_hand(queries, chunks, k)
    np.testing.assert_array_equal(hits.rows.numpy(), rows)
    np.testing.assert_array_equal(hits.scores.numpy(), scores)


def test_ties_of_many_queries_go_to_the_lowest_rows() -> None:
    # More queries than are looked at together, most of them tied at the edge, some not.
    draw = np.random.default_rng(1)
    queries, chunks = whole_numbers(draw, 90, 3), whole_numbers(draw, 300, 3)
    queries[::9] += draw.normal(size=(10, 3)).astype(np.float32)
    hits = ExactIndex(torch.from_numpy(chunks)).search(torch.from_numpy(queries), 7)
    np.testing.assert_array_equal(hits.rows.numpy(), by_hand(queries, chunks, 7)[1])


def test_equal_scores_in_half_precision_are_ordered_by_row() -> None:
    draw = np.random.default_rng(2)
    chunks = torch.from_numpy(draw.normal(size=(400, 64)).astype(np.float16)) * 4
    queries = chunks[:40] + 1
    scores = (queries @ chunks.T).float()
    order = torch.argsort(scores, dim=1, descending=True, stable=True)[:, :20]
    assert bool((scores.gather(1, order).diff(dim=1) == 0).any())
    assert torch.equal(ExactIndex(chunks).search(queries, 20).rows, order)


@pytest.mark.parametrize("block", [1, 7, 64, 999])
def test_blocks_give_what_the_whole_gives(block: int) -> None:
    draw = np.random.default_rng(0)
    chunks = torch.from_numpy(draw.normal(size=(200, 16)).astype(np.float32))
    queries = torch.from_numpy(draw.normal(size=(5, 16)).astype(np.float32))
    whole = ExactIndex(chunks, block_rows=1000).search(queries, 20)
    parts = ExactIndex(chunks, block_rows=block).search(queries, 20)
    assert torch.equal(whole.rows, parts.rows)
    torch.testing.assert_close(whole.scores, parts.scores, rtol=1e-6, atol=1e-6)


def test_the_order_is_that_of_the_inner_product_and_not_of_the_distance() -> None:
    # By distance or cosine the first row would win; by inner product the long second does.
    chunks = torch.tensor([[1.0, 0.0], [3.0, 3.0]])
    hits = ExactIndex(chunks).search(torch.tensor([[1.0, 0.0]]), 2)
    assert hits.rows.tolist() == [[1, 0]] and hits.scores.tolist() == [[3.0, 1.0]]


def test_more_hits_than_chunks_gives_all_chunks() -> None:
    hits = ExactIndex(torch.eye(3)).search(torch.tensor([[1.0, 2.0, 3.0]]), 10)
    assert hits.rows.tolist() == [[2, 1, 0]]


def test_who_asks_for_nothing_gets_nothing() -> None:
    hits = ExactIndex(torch.eye(3)).search(torch.eye(3), 0)
    assert hits.rows.shape == (3, 0) and hits.scores.shape == (3, 0)


def test_an_empty_index_finds_nothing() -> None:
    index = ExactIndex(torch.zeros(0, 4))
    hits = index.search(torch.zeros(2, 4), 3)
    assert len(index) == 0 and hits.rows.shape == (2, 0) and hits.scores.shape == (2, 0)


def test_two_shares_of_a_corpus_merge_into_what_one_search_finds() -> None:
    draw = np.random.default_rng(3)
    queries, chunks = whole_numbers(draw, 4, 5), whole_numbers(draw, 30, 5)
    asked = torch.from_numpy(queries)
    left = ExactIndex(torch.from_numpy(chunks[:11])).search(asked, 8)
    right = ExactIndex(torch.from_numpy(chunks[11:])).search(asked, 8)
    right = Hits(scores=right.scores, rows=right.rows + 11)
    _, rows = by_hand(queries, chunks, 8)
    np.testing.assert_array_equal(merge(left, right, 8).rows.numpy(), rows)
    np.testing.assert_array_equal(merge(right, left, 8).rows.numpy(), rows)


def test_the_search_runs_in_the_numbers_of_the_index() -> None:
    chunks = torch.tensor([[1.0, 2.0], [2.0, 1.0]], dtype=torch.float16)
    index = ExactIndex(chunks)
    hits = index.search(torch.tensor([[1.0, 0.0]]), 2)
    assert hits.rows.tolist() == [[1, 0]] and hits.scores.dtype == torch.float32
    assert index.chunk_emb is chunks
    assert isinstance(index, Index)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_vectors_are_replaced_in_the_memory_that_was_given(dtype: torch.dtype) -> None:
    chunks = torch.zeros(4, 3, dtype=dtype)
    index = ExactIndex(chunks)
    assert index.local is index and index.local_rows == range(4)
    fresh = torch.randn(2, 3, generator=torch.Generator().manual_seed(0))
    index.write(torch.tensor([2, 0]), fresh)
    assert torch.equal(chunks[[2, 0]], fresh.to(dtype))
    assert torch.equal(chunks[[1, 3]], torch.zeros(2, 3, dtype=dtype))
    assert index.search(fresh[:1], 1).rows.tolist() == [[2]]
