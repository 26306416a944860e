"""Tests of exact search against a full sort in numpy, and of an index in parts: it finds what one
process finds, ties included.
"""

from __future__ import annotations

from typing import Any

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from together import run_together

from openrealm.index.mips import ExactIndex, Hits, Index, ShardedIndex, merge
from openrealm.processes import Processes


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


pytestmark = pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")


def part_of(processes: Processes, vectors: torch.Tensor) -> ShardedIndex:
    rows = processes.local_slice(len(vectors))
    return ShardedIndex(
        ExactIndex(vectors[rows.start : rows.stop], block_rows=7),
        first_row=rows.start,
        num_rows=len(vectors),
        processes=processes,
    )


def search(
    processes: Processes, vectors: torch.Tensor, queries: list[torch.Tensor], k: int
) -> tuple[Any, Any]:
    index = part_of(processes, vectors)
    assert isinstance(index, Index) and len(index) == len(vectors)
    hits = index.search(queries[processes.rank], k)
    return hits.scores.numpy(), hits.rows.numpy()


# Whole numbers: their sums are exact, whatever the order, and there are ties in plenty.
def integral_vectors(rows: int, seed: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).integers(-2, 3, (rows, 4))).float()


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("k", [1, 5, 40, 1000])
def test_search_in_parts_equals_search_in_one_exactly_ties_included(size: int, k: int) -> None:
    vectors = integral_vectors(50, 0)
    queries = [integral_vectors(number, 1 + number) for number in (3, 0, 4)[:size]]
    found = run_together(search, vectors, queries, k, size=size)
    for asked, (scores, rows) in zip(queries, found, strict=True):
        alone = ExactIndex(vectors).search(asked, k)
        np.testing.assert_array_equal(scores, alone.scores.numpy())
        np.testing.assert_array_equal(rows, alone.rows.numpy())


def test_a_corpus_smaller_than_the_number_of_processes_is_searched_too() -> None:
    vectors, queries = integral_vectors(2, 0), [integral_vectors(2, n) for n in range(3)]
    for asked, (_, rows) in zip(
        queries, run_together(search, vectors, queries, 5, size=3), strict=True
    ):
        np.testing.assert_array_equal(rows, ExactIndex(vectors).search(asked, 5).rows.numpy())


def test_random_vectors_give_the_same_rows_in_half_precision_too() -> None:
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(300, 16, generator=generator).half()
    queries = [torch.randn(4, 16, generator=generator) for _ in range(2)]
    for asked, (scores, rows) in zip(
        queries, run_together(search, vectors, queries, 10), strict=True
    ):
        alone = ExactIndex(vectors).search(asked, 10)
        np.testing.assert_allclose(scores, alone.scores.numpy(), rtol=1e-2)
        np.testing.assert_array_equal(rows, alone.rows.numpy())


def fetch(processes: Processes, vectors: torch.Tensor, rows: list[torch.Tensor]) -> Any:
    return part_of(processes, vectors).vectors(rows[processes.rank]).numpy()


def test_vectors_come_from_whoever_holds_them() -> None:
    vectors = torch.randn(9, 4)
    rows = [torch.tensor([[0, 8, 3], [4, 4, 1]]), torch.tensor([7])]
    for wanted, got in zip(rows, run_together(fetch, vectors, rows), strict=True):
        np.testing.assert_array_equal(got, vectors[wanted].numpy())


def still_asking(processes: Processes) -> list[bool]:
    index = part_of(processes, torch.ones(4, 2))
    return [index.any_pending(processes.rank == 0), index.any_pending(False)]


def test_who_has_no_query_left_goes_on_as_long_as_another_has() -> None:
    assert run_together(still_asking) == [[True, False], [True, False]]


def write_own(processes: Processes, vectors: torch.Tensor) -> Any:
    index = part_of(processes, vectors.clone())
    assert len(index.local_rows) == len(index.local)
    index.local.write(torch.arange(len(index.local_rows)), vectors[list(index.local_rows)] + 1)
    return index.vectors(torch.arange(len(vectors))).numpy(), index.local_rows


def test_each_process_writes_into_its_own_part() -> None:
    vectors = torch.randn(9, 4)
    found = run_together(write_own, vectors, size=3)
    assert [held for _, held in found] == [range(3), range(3, 6), range(6, 9)]
    for table, _ in found:
        np.testing.assert_array_equal(table, (vectors + 1).numpy())
