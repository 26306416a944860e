"""Successive rows that belong together, and for each group a digest of what its rows are made of,
which tells the rows of one corpus in another; knows nothing of what is in them.

The same digest means the same rows in the same order, whatever stands before and after them.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

DIGEST_BYTES = 16
_RECORD = np.dtype([("digest", np.uint8, (DIGEST_BYTES,)), ("size", "<i4")])


@dataclass(frozen=True, eq=False)
class Groups:
    """The rows of a corpus in groups.

    Attributes:
        digests: ``(groups, 16)`` bytes, no two alike.
        sizes: ``(groups,)`` rows of each, in the order of the rows.
    """

    digests: npt.NDArray[np.uint8]
    sizes: npt.NDArray[np.int32]

    @property
    def data(self) -> bytes:
        """All of it as the bytes of a file."""
        records = np.empty(len(self.sizes), dtype=_RECORD)
        records["digest"], records["size"] = self.digests, self.sizes
        file = io.BytesIO()
        np.save(file, records, allow_pickle=False)
        return file.getvalue()

    @cached_property
    def checksum(self) -> str:
        """SHA-256 of `data`, in hexadecimal."""
        return hashlib.sha256(self.data).hexdigest()

    @classmethod
    def read(cls, data: bytes) -> Groups:
        """Groups out of `data`.

        Raises:
            ValueError: It is something else.
        """
        records = np.load(io.BytesIO(data), allow_pickle=False)
        if records.dtype != _RECORD:
            raise ValueError("not a file of groups")
        return cls(records["digest"], records["size"])

    def rows_in(self, other: Groups) -> npt.NDArray[np.int64]:
        """``(rows,)``: the number that each row has in another corpus, -1 where it is not there."""
        indices = pc.index_in(_binary(self.digests), value_set=_binary(other.digests))
        group = np.asarray(indices.fill_null(-1)).astype(np.int64)
        known = np.append(other.sizes, -1)[group] == self.sizes
        # A row is as far from its group's first row here as there.
        shift = np.append(other._firsts, 0)[group] - self._firsts
        rows = np.arange(self.sizes.sum(dtype=np.int64)) + np.repeat(shift, self.sizes)
        return np.where(np.repeat(known, self.sizes), rows, -1)

    @property
    def _firsts(self) -> npt.NDArray[np.int64]:
        ends = np.cumsum(self.sizes, dtype=np.int64)
        return ends - self.sizes


def _binary(digests: npt.NDArray[np.uint8]) -> pa.Array:
    data = pa.py_buffer(np.ascontiguousarray(digests))
    return pa.Array.from_buffers(pa.binary(DIGEST_BYTES), len(digests), [None, data])
