"""Which weights are in memory, and how newer ones take the place of older ones; knows neither HTTP
nor how weights are loaded.

One thread loads, and looks now and then whether what is loaded is still the newest. Whoever has
asked keeps the object that it was given, so that a swap never reaches into an answer that is being
computed.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol

from openrealm.answering.answerer import Answerer
from openrealm.corpus.store import ChunkStore
from openrealm.errors import CheckpointError, OpenRealmError
from openrealm.server.schemas import Source

logger = logging.getLogger(__name__)
_AGAIN_S = 60.0
# Each order is one load: requests could name weights without end while a long one goes on.
_MAX_ORDERS = 32


@dataclass(frozen=True)
class ModelKey:
    """Which weights are asked for.

    Attributes:
        purpose: ``answer`` (search and ask) or ``fill``.
        run: Name of the run; None for the one that the server chooses.
        stage: The stage after which they are wanted; None for the last that fits the purpose.
    """

    purpose: str
    run: str | None = None
    stage: str | None = None


ANSWER, FILL = ModelKey("answer"), ModelKey("fill")


@dataclass(frozen=True, eq=False)
class CachedModel:
    """A run's weights with their index, ready to answer.

    Attributes:
        identity: Differs where weights or corpus differ.
        source: The same, for people.
        answerer: What answers.
        corpus: The chunks that it answers from.
        has_reader: Whether it was fine-tuned for questions.
        k: Candidates of a filling, by default.
        read: Chunks read for a question, by default.
    """

    identity: Hashable
    source: Source
    answerer: Answerer
    corpus: ChunkStore
    has_reader: bool
    k: int
    read: int


class Loader(Protocol):
    """What finds and loads weights."""

    def identity(self, key: ModelKey) -> Hashable:
        """What `CachedModel.identity` would be, were it loaded now; found without loading it.

        Raises:
            OpenRealmError: There is nothing of the kind.
        """

    def load(self, key: ModelKey) -> CachedModel:
        """The weights that are asked for.

        Raises:
            OpenRealmError: There is nothing of the kind, or it is damaged.
        """


class Busy(Exception):
    """So much is waiting to be loaded that no more is taken."""


class ModelCache:
    """Weights in memory by what is asked for; `ANSWER` and `FILL` are always kept."""

    def __init__(
        self,
        loader: Loader,
        *,
        max_loaded: int,
        watch_s: float,
        on_swap: Callable[[CachedModel], None] = lambda cached: None,
    ) -> None:
        """Starts the thread, which begins with `ANSWER` and `FILL`.

        Args:
            loader: Finds and loads.
            max_loaded: Sets of weights kept; the one asked for longest ago is dropped.
            watch_s: Seconds between two looks for newer weights.
            on_swap: Told of weights that took the place of older ones, in the thread.
        """
        self._loader, self._on_swap = loader, on_swap
        self._max_loaded, self._watch_s = max_loaded, watch_s
        self._found: dict[ModelKey, CachedModel] = {}
        self._used: dict[ModelKey, float] = {}
        self._problems: dict[ModelKey, OpenRealmError] = {}
        self._failed: dict[ModelKey, tuple[Hashable, float]] = {}
        self._waiting: dict[ModelKey, Future[CachedModel]] = {}
        self._lock = threading.Lock()
        self._orders: queue.SimpleQueue[ModelKey | None] = queue.SimpleQueue()
        self._closed = threading.Event()
        for key in (ANSWER, FILL):
            self.order(key)
        self._thread = threading.Thread(target=self._work, name="loader", daemon=True)
        self._thread.start()

    def get(self, key: ModelKey) -> CachedModel | None:
        """What is asked for, if it is in memory."""
        with self._lock:
            found = self._found.get(key)
            if found is not None:
                self._used[key] = time.monotonic()
            return found

    def order(self, key: ModelKey) -> Future[CachedModel]:
        """What is asked for, as soon as it is in memory; its `OpenRealmError` where it fails.

        Raises:
            Busy: Too much is waiting already.
        """
        with self._lock:
            future = self._waiting.get(key)
            if future is None:
                if len(self._waiting) >= _MAX_ORDERS:
                    raise Busy
                future = self._waiting[key] = Future()
                self._orders.put(key)
            return future

    def all(self) -> list[CachedModel]:
        """Everything in memory."""
        with self._lock:
            return list(self._found.values())

    def problem(self, key: ModelKey) -> OpenRealmError | None:
        """Why the last look for it failed; None where it did not."""
        return self._problems.get(key)

    def close(self) -> None:
        """Ends the thread; a load that is going on is left to itself."""
        self._closed.set()
        self._orders.put(None)
        self._thread.join(timeout=1.0)
        for future in list(self._waiting.values()):
            future.cancel()

    def _work(self) -> None:
        looked = time.monotonic()
        while not self._closed.is_set():
            try:
                patience = max(looked + self._watch_s - time.monotonic(), 0.0)
                key = self._orders.get(timeout=patience)
            except queue.Empty:
                self._look()
                looked = time.monotonic()
                continue
            if key is not None:
                self._fetch(key)

    def _fetch(self, key: ModelKey) -> None:
        """Loads what was ordered, and tells those who wait."""
        error: BaseException | None = None
        try:
            cached = self._found.get(key) or self._take(key)
        except BaseException as caught:
            error = caught
        with self._lock:
            future = self._waiting.pop(key)
        if not future.set_running_or_notify_cancel():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(cached)

    def _look(self) -> None:
        """Replaces what is no longer the newest; what cannot be found stays as it is."""
        for key in dict.fromkeys((ANSWER, FILL, *self._found)):
            if self._closed.is_set():
                return
            try:
                identity = self._loader.identity(key)
                known = self._found.get(key)
                if known is not None and known.identity == identity:
                    self._problems.pop(key, None)
                elif not self._failed_lately(key, identity):
                    self._take(key)
            except Exception as error:
                self._problems[key] = _told(error)

    def _failed_lately(self, key: ModelKey, identity: Hashable) -> bool:
        failed, when = self._failed.get(key, (None, 0.0))
        return failed == identity and time.monotonic() < when + _AGAIN_S

    def _take(self, key: ModelKey) -> CachedModel:
        """Loads, unless the same weights are in memory for another key."""
        identity = None
        try:
            identity = self._loader.identity(key)
            same = (r for r in self._found.values() if r.identity == identity)
            cached = next(same, None) or self._loader.load(key)
        except Exception as caught:
            error = _told(caught)
            # Only of what is looked for again: requests could name runs without end.
            if key in (ANSWER, FILL) or key in self._found:
                self._failed[key] = (identity, time.monotonic())
                self._problems[key] = error
            if error is caught:
                raise
            raise error from caught
        with self._lock:
            self._failed.pop(key, None)
            self._problems.pop(key, None)
            swapped = key in self._found
            self._found[key] = cached
            self._used[key] = time.monotonic()
            self._drop_unused()
        if swapped:
            logger.info("%s answers now", cached.source)
            self._on_swap(cached)
        return cached

    def _drop_unused(self) -> None:
        optional = sorted(
            (w for w in self._found if w not in (ANSWER, FILL)), key=lambda w: self._used[w]
        )
        while optional and len({id(r) for r in self._found.values()}) > self._max_loaded:
            dropped = optional.pop(0)
            del self._found[dropped], self._used[dropped]
            # Nobody looks for it any more: who asks again shall not hear of an old failure.
            self._failed.pop(dropped, None)
            self._problems.pop(dropped, None)


def _told(error: Exception) -> OpenRealmError:
    """An error as a sentence; one that nobody foresaw is logged."""
    if isinstance(error, OpenRealmError):
        return error
    logger.error("weights cannot be loaded", exc_info=error)
    return CheckpointError("the weights cannot be loaded; the server's log says why")
