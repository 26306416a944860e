"""Tests of what is read with a query: two rankings mixed."""

from __future__ import annotations

import numpy as np

from openrealm.retrieval.retriever import NO_CHUNK
from openrealm.training.candidates import interleave


def test_two_rankings_are_mixed_without_a_row_twice() -> None:
    first = np.array([[1, 2, 3, 4], [5, 6, 7, 8], [1, 2, NO_CHUNK, NO_CHUNK]])
    second = np.array([[2, 9, 1, 8], [5, 6, NO_CHUNK, NO_CHUNK], [2, 1, 7, 9]])
    # Two of the first, then what the second has new; what it cannot fill is left to the first.
    assert interleave(first, second, num_last=2).tolist() == [
        [1, 2, 9, 8],
        [5, 6, 7, 8],
        [1, 2, 7, 9],
    ]
    assert interleave(first, second, num_last=0).tolist() == first.tolist()
    assert interleave(first, second, num_last=4)[0].tolist() == [2, 9, 1, 8]
    # In a small corpus neither has enough.
    few = np.array([[10, 11, NO_CHUNK, NO_CHUNK]])
    assert interleave(few, few, num_last=3).tolist() == few.tolist()
    other = np.array([[12, NO_CHUNK, NO_CHUNK, NO_CHUNK]])
    assert interleave(few, other, num_last=3).tolist() == [[10, 12, 11, NO_CHUNK]]
