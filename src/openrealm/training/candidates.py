"""Where a step's masked queries come from, and two rankings as one; knows no loss."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from openrealm.data.pretraining import MaskedQuery
from openrealm.retrieval.batches import origins
from openrealm.retrieval.retriever import NO_CHUNK, Origin
from openrealm.training.stage import Ingredients


def where_from(parts: Ingredients, queries: Sequence[MaskedQuery]) -> list[Origin]:
    """Where a step's queries were taken from, so that what gives them away is passed over."""
    return origins(queries, parts.texts, texts_are_corpus=parts.texts is parts.corpus)


def interleave(
    first: npt.NDArray[np.int64], second: npt.NDArray[np.int64], *, num_last: int
) -> npt.NDArray[np.int64]:
    """Rows ``(batch, k)`` of the first ranking, the last ``num_last`` of them by the second.

    A row stands once: what the second would repeat is passed over, and what it cannot fill stays.
    """
    mixed = first.copy()
    num_first = max(first.shape[1] - num_last, 0)
    for line, others in zip(mixed, second, strict=True):
        head = line[:num_first]
        new = others[(others != NO_CHUNK) & ~np.isin(others, head)]
        rest = np.concatenate([new[:num_last], line[num_first:]])
        rest = rest[rest != NO_CHUNK]
        _, at = np.unique(rest, return_index=True)
        tail = rest[np.sort(at)][: len(line) - num_first]
        line[num_first:] = NO_CHUNK
        line[num_first : num_first + len(tail)] = tail
    return mixed
