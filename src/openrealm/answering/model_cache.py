"""Which models are in memory, and how newer ones take the place of older ones; knows neither how a
model is loaded nor who asks.

Whoever has asked keeps the object that it was given, so that a swap never reaches into an answer
that is being computed.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Hashable
from dataclasses import dataclass
from typing import Protocol

from openrealm.answering.answerer import Answerer, WordSearcher
from openrealm.corpus.store import ChunkStore

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ModelKey:
    """Which model is asked for.

    Attributes:
        purpose: ``answer`` (search and ask) or ``fill``.
        run: Name of the run; None for the newest that can be used, or the start.
        stage: The stage after which its weights are wanted; None for the last that fits the
            purpose.
    """

    purpose: str
    run: str | None = None
    stage: str | None = None


ANSWER, FILL = ModelKey("answer"), ModelKey("fill")


@dataclass(frozen=True)
class Source:
    """Which weights answered, over which corpus.

    Attributes:
        run: Name of the run; None where no run has trained them.
        stage: Stage after which they were taken; ``start`` for first weights, ``words`` where words
            in common alone find chunks.
        step: Training steps behind them, all stages.
        generation: Number of the snapshot that was searched; 0 where none was.
        corpus: Fingerprint of the corpus.
        note: What somebody who expects a trained run should know, in a few words; or empty.
    """

    run: str | None
    stage: str
    step: int
    generation: int
    corpus: str
    note: str = ""

    def __str__(self) -> str:
        return self.note if self.run is None else f"run '{self.run}', stage '{self.stage}'"


@dataclass(frozen=True, eq=False)
class CachedModel:
    """A model with its index, ready to answer.

    Attributes:
        identity: Differs where weights or corpus differ.
        source: The same, for people.
        answerer: What answers; words in common alone search, and do no more.
        corpus: The chunks that it answers from.
        has_reader: Whether it can answer questions.
        k: Candidates of a filling, by default.
        read: Chunks read for a question, by default.
    """

    identity: Hashable
    source: Source
    answerer: Answerer | WordSearcher
    corpus: ChunkStore
    has_reader: bool
    k: int
    read: int


class ModelLoader(Protocol):
    """What finds and loads models."""

    def identity(self, key: ModelKey, known: Hashable = None) -> Hashable:
        """What `CachedModel.identity` would be, were it loaded now; found without loading it.

        Args:
            key: Which model.
            known: The identity of what is in memory, given back where that is to stay.

        Raises:
            OpenRealmError: There is nothing of the kind.
        """

    def load(self, key: ModelKey) -> CachedModel:
        """The model that is asked for.

        Raises:
            OpenRealmError: There is nothing of the kind, or it is damaged.
        """

    def close(self) -> None:
        """Ends a load that goes on, as soon as it can be; nothing is loaded afterwards."""


class ModelCache:
    """Models in memory by what was asked for; may be used from several threads."""

    def __init__(
        self,
        loader: ModelLoader,
        *,
        max_loaded: int,
        always: Collection[ModelKey] = (),
        on_swap: Callable[[CachedModel], None] = lambda cached: None,
    ) -> None:
        """Loads nothing yet.

        Args:
            loader: Finds and loads.
            max_loaded: Models kept; the one asked for longest ago is dropped.
            always: What is never dropped.
            on_swap: Told of a model that took the place of an older one, in the thread that asked.
        """
        self._loader, self._on_swap = loader, on_swap
        self._max_loaded, self._always = max_loaded, frozenset(always)
        self._models: dict[ModelKey, CachedModel] = {}
        self._used: dict[ModelKey, float] = {}
        self._lock = threading.Lock()
        self._one_loads = threading.Lock()

    def get(self, key: ModelKey) -> CachedModel | None:
        """What is asked for, if it is in memory, as it is there."""
        with self._lock:
            cached = self._models.get(key)
            if cached is not None:
                self._used[key] = time.monotonic()
            return cached

    def newest(self, key: ModelKey) -> CachedModel:
        """What is asked for as it is on the disk now, loaded where the memory has it not.

        Raises:
            OpenRealmError: There is nothing of the kind, or it is damaged; what is in memory stays.
        """
        with self._one_loads:
            cached = self.get(key)
            identity = self._loader.identity(key, cached and cached.identity)
            if cached is not None and cached.identity == identity:
                return cached
            same = next((each for each in self.all() if each.identity == identity), None)
            return self._put(key, same or self._loader.load(key))

    def keys(self) -> list[ModelKey]:
        """What is in memory, by what was asked for."""
        with self._lock:
            return list(self._models)

    def all(self) -> list[CachedModel]:
        """Everything in memory."""
        with self._lock:
            return list(self._models.values())

    def clear(self) -> None:
        """Lets go of everything."""
        with self._lock:
            self._models.clear()
            self._used.clear()

    def _put(self, key: ModelKey, cached: CachedModel) -> CachedModel:
        with self._lock:
            swapped = key in self._models
            self._models[key] = cached
            self._used[key] = time.monotonic()
            self._drop_unused()
        if swapped:
            logger.info("%s answers now", cached.source)
            self._on_swap(cached)
        return cached

    def _drop_unused(self) -> None:
        optional = sorted(
            (key for key in self._models if key not in self._always),
            key=lambda key: self._used[key],
        )
        while optional and len({id(each) for each in self._models.values()}) > self._max_loaded:
            dropped = optional.pop(0)
            del self._models[dropped], self._used[dropped]
