"""Tests of rows found again in another corpus, against a dictionary of the groups."""

from __future__ import annotations

import hashlib
import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openrealm.index.groups import Groups

# A corpus: names of its groups in order, and how many rows each has.
CORPORA = st.dictionaries(st.integers(0, 12), st.integers(0, 4), max_size=9)


def groups(corpus: dict[int, int]) -> Groups:
    digests = [hashlib.blake2b(str(name).encode(), digest_size=16).digest() for name in corpus]
    data = np.frombuffer(b"".join(digests), dtype=np.uint8).reshape(-1, 16)
    return Groups(data, np.array(list(corpus.values()), dtype=np.int32))


def numbered(corpus: dict[int, int]) -> dict[tuple[int, int], int]:
    rows = [(name, place) for name, size in corpus.items() for place in range(size)]
    return {row: number for number, row in enumerate(rows)}


@given(corpus=CORPORA, other=CORPORA)
def test_rows_are_found_by_group_and_place_in_it(
    corpus: dict[int, int], other: dict[int, int]
) -> None:
    # The same name with another size is another group to us, and never found.
    there = {
        (name, place): number
        for (name, place), number in numbered(other).items()
        if corpus.get(name) == other[name]
    }
    wanted = [there.get(row, -1) for row in numbered(corpus)]
    found = groups(corpus).rows_in(groups(other))
    assert found.dtype == np.int64
    assert found.tolist() == wanted


@given(corpus=CORPORA)
def test_what_was_written_is_read_back(corpus: dict[int, int]) -> None:
    before = groups(corpus)
    after = Groups.read(before.data)
    np.testing.assert_array_equal(after.digests, before.digests)
    np.testing.assert_array_equal(after.sizes, before.sizes)
    assert after.checksum == before.checksum


def test_another_array_is_no_file_of_groups() -> None:
    file = io.BytesIO()
    np.save(file, np.zeros(3))
    with pytest.raises(ValueError, match="groups"):
        Groups.read(file.getvalue())
