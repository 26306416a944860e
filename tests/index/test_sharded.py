"""Tests of search over an index in parts: it finds what one process finds, ties included."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from together import run_together

from openrealm.index.mips import ExactIndex, Index
from openrealm.index.sharded import ShardedIndex
from openrealm.processes import Processes

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
def whole_numbers(rows: int, seed: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).integers(-2, 3, (rows, 4))).float()


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("k", [1, 5, 40, 1000])
def test_search_in_parts_equals_search_in_one_exactly_ties_included(size: int, k: int) -> None:
    vectors = whole_numbers(50, 0)
    queries = [whole_numbers(number, 1 + number) for number in (3, 0, 4)[:size]]
    found = run_together(search, vectors, queries, k, size=size)
    for asked, (scores, rows) in zip(queries, found, strict=True):
        alone = ExactIndex(vectors).search(asked, k)
        np.testing.assert_array_equal(scores, alone.scores.numpy())
        np.testing.assert_array_equal(rows, alone.rows.numpy())


def test_a_corpus_smaller_than_the_number_of_processes_is_searched_too() -> None:
    vectors, queries = whole_numbers(2, 0), [whole_numbers(2, n) for n in range(3)]
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
