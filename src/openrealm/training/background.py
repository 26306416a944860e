"""Refreshing beside the training; knows neither losses nor what kind of workers embed the corpus.

The trainer *orders* a snapshot by publishing its weights, and trains on. Whoever makes snapshots
publishes it; the trainer finds it between two steps, loads it into a second buffer in a thread, and
swaps when that is done. At most one order stands at a time, so that the weights are the newest when
the makers have time for them. Whatever happens to the makers, the live index stays until a newer
one is whole in memory; only where it would become too old, the training processes do the work.
"""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from openrealm.errors import CheckpointError, OpenRealmError, in_one_line
from openrealm.index.snapshot import Snapshot, generations, prune
from openrealm.retrieval.embedding import Order
from openrealm.retrieval.live_index import LiveIndex, SnapshotMaker
from openrealm.training.refresh import Swap, made_in_line, swap_numbers
from openrealm.training.weights import orders, prune_weights, publish_weights, take_back, tower_copy
from openrealm.training.worker_pool import Report

logger = logging.getLogger(__name__)

_NOTHING, _LOAD, _IN_LINE = 0, 1, 2
_PAUSE_S = 5.0


@runtime_checkable
class Makers(Protocol):
    """Who makes the snapshots that are ordered."""

    def poll(self, order: Order | None) -> None:
        """Called between two steps: looks after them, and does not wait."""


@dataclass(eq=False)
class BackgroundRefresh:
    """Has snapshots made beside the training.

    Attributes:
        maker: Makes them in the training processes, where it must be.
        weights: Folder of the orders.
        makers: Opens who makes the snapshots, given where to report what happens to them.
        threads: Processor threads that they embed with, for the record.
    """

    maker: SnapshotMaker
    weights: Path
    makers: Callable[[Report], AbstractContextManager[Makers]]
    threads: int
    _order: Order | None = field(default=None, init=False)
    _ordered_at: float = field(default=0.0, init=False)
    _not_before: float = field(default=0.0, init=False)
    _waited: bool = field(default=False, init=False)
    _makers: Makers | None = field(default=None, init=False)
    _thread: ThreadPoolExecutor | None = field(default=None, init=False)
    _publishing: Future[None] | None = field(default=None, init=False)
    _loading: Future[LiveIndex] | None = field(default=None, init=False)
    _news: list[Mapping[str, Any]] = field(default_factory=list, init=False)

    @contextmanager
    def at_work(self, stop: Callable[[], bool]) -> Iterator[None]:
        """The makers work inside."""
        first = self.maker.processes.is_first
        opened = self.makers(self._report) if first else nullcontext()
        thread = ThreadPoolExecutor(1, thread_name_prefix="refresh")
        with self.maker.embedding(stop), thread as self._thread, opened as makers:
            self._makers = makers
            try:
                yield
            finally:
                self._makers = None
                self._settle()

    @property
    def ordered(self) -> Order | None:
        """The order that stands; its weights are on the disk when this returns."""
        self._settle()
        return self._order

    def take_up(self, order: Order | None) -> None:
        """Lets one order stand, and takes all others back."""
        processes = self.maker.processes
        if processes.is_first:
            prune_weights(self.weights, keep={order.generation} if order is not None else set())
        if order is not None and order not in orders(self.weights):
            self._report({"text": f"the weights of generation {order.generation} are lost"})
            order = None
        processes.barrier()
        self._order, self._ordered_at = order, time.time()

    def news(self) -> Sequence[Mapping[str, Any]]:
        """What has happened to the makers and their snapshots."""
        news, self._news = self._news, []
        return news

    def prune(self, keep: set[int], ordered: set[int]) -> None:
        """Removes what neither the checkpoints nor the live index nor an order needs."""
        below = self._order.generation if self._order is not None else None
        prune(self.maker.directory, keep=keep | ordered, below=below)
        prune_weights(self.weights, keep=ordered | ({below} if below is not None else set()))

    def before_step(self, total_step: int, live: LiveIndex) -> Swap | None:
        """What has become ready, swapped in; and the next order where it is time for it."""
        processes = self.maker.processes
        decision = self._decide(total_step, live) if processes.is_first else [_NOTHING, 0, 0]
        what, generation, step = processes.broadcast(decision)
        if what == _IN_LINE:
            return self._in_line(total_step, live)
        if what == _LOAD:
            assert self._thread is not None
            order = Order(generation=generation, step=step)
            self._loading = self._thread.submit(self._load, order)
            self._order = order
        if self._loading is None or processes.any(not self._loading.done()):
            return None
        return self._swapped()

    def _decide(self, total_step: int, live: LiveIndex) -> list[int]:
        """What all processes do now; only the first asks."""
        assert self._makers is not None
        self._makers.poll(self._order)
        self._watch_publishing()
        if self._loading is not None:
            return [_NOTHING, 0, 0]
        order = self._order
        if order is not None and self._is_made(order):
            return [_LOAD, order.generation, order.step]
        if total_step - live.step >= self.maker.config.patience:
            return [_IN_LINE, 0, 0]
        due = total_step - live.step >= self.maker.config.every
        if order is None and due and time.monotonic() >= self._not_before:
            self._place_order(total_step, live)
        return [_NOTHING, 0, 0]

    def _place_order(self, total_step: int, live: LiveIndex) -> None:
        assert self._thread is not None
        taken = [live.generation, *generations(self.maker.directory)]
        order = Order(generation=max(taken) + 1, step=total_step)
        tower = tower_copy(self.maker.encoder.embedder)
        self._order, self._ordered_at = order, time.time()
        self._publishing = self._thread.submit(publish_weights, self.weights, order, tower)

    def _watch_publishing(self) -> None:
        """Notices weights that could not be written, say because the disk is full."""
        if self._publishing is None or not self._publishing.done():
            return
        error, self._publishing = self._publishing.exception(), None
        if error is not None:
            self._order, self._not_before = None, time.monotonic() + _PAUSE_S
            self._report({"text": f"weights could not be published: {in_one_line(error)}"})

    def _settle(self) -> None:
        """Waits until weights on their way to the disk are there."""
        if self._publishing is not None:
            self._publishing.exception()
            self._watch_publishing()

    def _is_made(self, order: Order) -> bool:
        return self.maker.folder(order.generation).is_dir()

    def _load(self, order: Order) -> LiveIndex:
        """The second buffer; runs in a thread beside the training."""
        snapshot = Snapshot.open(self.maker.folder(order.generation))
        if snapshot.manifest.step != order.step:
            raise CheckpointError(f"{snapshot.directory} is not the snapshot that was ordered")
        self.maker.check(snapshot)
        return self.maker.load(snapshot)

    def _swapped(self) -> Swap | None:
        """The second buffer goes live; or, where it is damaged, is made again."""
        assert self._loading is not None and self._order is not None
        loading, self._loading = self._loading, None
        error = loading.exception()
        directory = self.maker.folder(self._order.generation)
        processes = self.maker.processes
        if processes.any(error is not None):
            if isinstance(error, BaseException) and not isinstance(error, OpenRealmError | OSError):
                raise error
            if processes.is_first:
                shutil.rmtree(directory, ignore_errors=True)
                said = in_one_line(error) if error is not None else "another process cannot read it"
                self._report({"text": f"a snapshot is not used and made again: {said}"})
            return None
        order, self._order, self._waited = self._order, None, False
        snapshot = Snapshot.open(directory)
        numbers = swap_numbers(snapshot, step=order.step, threads=self.threads)
        seconds = {"index/refresh_seconds": round(time.time() - self._ordered_at, 3)}
        return Swap(replace(loading.result(), made_at=self._ordered_at), numbers | seconds)

    def _in_line(self, total_step: int, live: LiveIndex) -> Swap:
        """The training processes do it, with their present weights; an order is taken back."""
        if not self._waited:
            self._report(
                {
                    "text": f"the index is {total_step - live.step} steps old and no newer one is "
                    "ready; training waits and refreshes in line"
                }
            )
        self._waited = True
        self._settle()
        if self._order is not None:
            take_back(self.weights, self._order)
        self._order = None
        return made_in_line(self.maker, total_step)

    def _report(self, event: Mapping[str, Any]) -> None:
        logger.info("%s", event["text"])
        self._news.append(event)
