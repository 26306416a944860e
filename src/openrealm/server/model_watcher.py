"""Models loaded beside the requests, and looked after while nobody asks; knows neither HTTP nor how
a model is loaded.

One thread loads, and looks now and then whether what is loaded is still the newest.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Hashable
from concurrent.futures import Future

from openrealm.answering.model_cache import (
    ANSWER,
    FILL,
    CachedModel,
    ModelCache,
    ModelKey,
    ModelLoader,
)
from openrealm.errors import CheckpointError, OpenRealmError

logger = logging.getLogger(__name__)
_AGAIN_S = 60.0
_ENDS_WITHIN_S = 30.0
# Each order is one load: requests could name weights without end while a long one goes on.
_MAX_ORDERS = 32


class Busy(Exception):
    """So much is waiting to be loaded that no more is taken."""


class ModelWatcher:
    """A model cache and the thread that fills it; `ANSWER` and `FILL` are always kept."""

    def __init__(
        self,
        loader: ModelLoader,
        *,
        max_loaded: int,
        watch_s: float,
        on_swap: Callable[[CachedModel], None] = lambda cached: None,
    ) -> None:
        """Starts the thread, which begins with `ANSWER` and `FILL`.

        Args:
            loader: Finds and loads.
            max_loaded: Models kept; the one asked for longest ago is dropped.
            watch_s: Seconds between two looks for newer ones.
            on_swap: Told of a model that took the place of an older one, in the thread.
        """
        self._loader, self._watch_s = loader, watch_s
        self._cache = ModelCache(
            loader, max_loaded=max_loaded, always=(ANSWER, FILL), on_swap=on_swap
        )
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
        return self._cache.get(key)

    def all(self) -> list[CachedModel]:
        """Everything in memory."""
        return self._cache.all()

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

    def problem(self, key: ModelKey) -> OpenRealmError | None:
        """Why the last look for it failed; None where it did not."""
        return self._problems.get(key)

    def close(self) -> None:
        """Ends the thread, and the load that it may be at."""
        self._closed.set()
        self._loader.close()
        self._orders.put(None)
        # A process that ends while a thread computes aborts: a load has its moment to end.
        self._thread.join(timeout=_ENDS_WITHIN_S)
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
            cached = self._cache.get(key) or self._take(key)
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
        for key in dict.fromkeys((ANSWER, FILL, *self._cache.keys())):
            if self._closed.is_set():
                return
            try:
                known = self._cache.get(key)
                identity = self._loader.identity(key, known and known.identity)
                if known is not None and known.identity == identity:
                    self._problems.pop(key, None)
                elif not self._failed_lately(key, identity):
                    self._take(key)
            except Exception as error:
                self._problems[key] = _in_a_sentence(error)

    def _failed_lately(self, key: ModelKey, identity: Hashable) -> bool:
        failed, when = self._failed.get(key, (None, 0.0))
        return failed == identity and time.monotonic() < when + _AGAIN_S

    def _take(self, key: ModelKey) -> CachedModel:
        """Loads, unless the same weights are in memory for another key."""
        identity = None
        try:
            identity = self._loader.identity(key)
            cached = self._cache.newest(key)
        except Exception as caught:
            error = _in_a_sentence(caught)
            # Only of what is looked for again: requests could name runs without end.
            if key in (ANSWER, FILL, *self._cache.keys()):
                self._failed[key] = (identity, time.monotonic())
                self._problems[key] = error
            if error is caught:
                raise
            raise error from caught
        self._failed.pop(key, None)
        self._problems.pop(key, None)
        self._forget_dropped()
        return cached

    def _forget_dropped(self) -> None:
        """Nobody looks for it any more: who asks again shall not hear of an old failure."""
        kept = {ANSWER, FILL, *self._cache.keys()}
        for key in {*self._failed, *self._problems} - kept:
            self._failed.pop(key, None)
            self._problems.pop(key, None)


def _in_a_sentence(error: Exception) -> OpenRealmError:
    """An error as a sentence; one that nobody foresaw is logged."""
    if isinstance(error, OpenRealmError):
        return error
    logger.error("weights cannot be loaded", exc_info=error)
    return CheckpointError("the weights cannot be loaded; the server's log says why")
