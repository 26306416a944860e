"""A set of ids in a few bytes each; knows nothing of documents."""

from __future__ import annotations

from array import array

_WORD = (1 << 64) - 1


class IdSet:
    """Tells whether an id came before, in about 16 bytes an id, where a set takes 150.

    Keeps 64-bit hashes: among ten million ids, two different ones are taken for the same with a
    probability of three in a million.
    """

    def __init__(self) -> None:
        """An empty set."""
        self._slots = array("Q", bytes(8 << 10))
        self._count = 0

    def add(self, identity: str) -> bool:
        """Adds an id; False if it was there already."""
        # Zero marks an empty slot.
        if not self._insert(hash(identity) & _WORD or 1):
            return False
        self._count += 1
        if 3 * self._count > 2 * len(self._slots):
            self._grow()
        return True

    def __len__(self) -> int:
        return self._count

    def _insert(self, key: int) -> bool:
        slots, last = self._slots, len(self._slots) - 1
        # The low bits of a hash of short strings are as good as any.
        place = key & last
        while slots[place]:
            if slots[place] == key:
                return False
            place = (place + 1) & last
        slots[place] = key
        return True

    def _grow(self) -> None:
        old = self._slots
        self._slots = array("Q", bytes(16 * len(old)))
        for key in old:
            if key:
                self._insert(key)
