"""Which segments of a chunk store to write anew; knows sizes, nothing of files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

MAX_SEGMENTS = 16


@dataclass(frozen=True, slots=True)
class MergeGroup:
    """Neighbouring segments; to be written as one, or (a single one) to be left as it is."""

    members: tuple[int, ...]
    rewrite: bool


def plan_merges(sizes: Sequence[tuple[int, int]]) -> list[MergeGroup]:
    """Which segments to merge, given the documents and the live documents of each.

    A segment that has lost more than half of its documents is written anew. Where there are more
    than `MAX_SEGMENTS`, the last ones are merged, and those before them as long as they are not
    more than twice as large as what comes after: each document is rewritten a logarithmic
    number of times, however small the additions.
    """
    groups = [MergeGroup((n,), rewrite=2 * live < total) for n, (total, live) in enumerate(sizes)]
    alive = [group for group in groups if sizes[group.members[0]][1] > 0]
    if len(alive) <= MAX_SEGMENTS:
        return alive
    first = len(alive) - 2
    tail = sum(sizes[group.members[0]][1] for group in alive[first:])
    while first > 0 and sizes[alive[first - 1].members[0]][1] <= 2 * tail:
        first -= 1
        tail += sizes[alive[first].members[0]][1]
    merged = tuple(group.members[0] for group in alive[first:])
    return [*alive[:first], MergeGroup(merged, rewrite=True)]
