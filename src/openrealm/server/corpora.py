"""Chunk stores by fingerprint: the newest, and those that loaded weights still answer from; knows
nothing of weights.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterable

from openrealm.corpus.store import ChunkStore


class Corpora:
    """The corpus as it is now, opened again when it has changed."""

    def __init__(
        self,
        open_corpus: Callable[[], ChunkStore],
        state: Callable[[], Hashable],
        others: Callable[[], Iterable[ChunkStore]],
    ) -> None:
        """Opens nothing yet.

        Args:
            open_corpus: Opens the corpus.
            state: Differs where it has changed.
            others: Stores that are in use, older ones among them.
        """
        self._open, self._state, self._others = open_corpus, state, others
        self._lock = threading.Lock()
        self._newest: tuple[Hashable, ChunkStore] | None = None

    def newest(self) -> ChunkStore:
        """The corpus as it is now.

        Raises:
            CorpusError: It is missing or damaged.
        """
        with self._lock:
            state = self._state()
            if self._newest is None or self._newest[0] != state:
                self._newest = state, self._open()
            return self._newest[1]

    def find(self, fingerprint: str | None) -> ChunkStore | None:
        """The corpus of this fingerprint, the newest for None; None where it is gone.

        Raises:
            CorpusError: The newest is missing or damaged.
        """
        if fingerprint is None:
            return self.newest()
        for store in self._others():
            if store.fingerprint == fingerprint:
                return store
        newest = self.newest()
        return newest if newest.fingerprint == fingerprint else None
