"""Requests that arrive together, computed together; knows neither HTTP nor models.

One worker thread takes what has gathered while it was busy: nothing waits for company, so that a
lone request is as fast as without batching, and a crowd shares each pass through the model.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any


class QueueFull(Exception):
    """No room for another request.

    Attributes:
        retry_after_s: When there is likely to be some.
    """

    def __init__(self, retry_after_s: float) -> None:
        super().__init__("the queue is full")
        self.retry_after_s = retry_after_s


class Closed(Exception):
    """The batcher has been closed and takes no more."""


@dataclass(frozen=True)
class Batch:
    """What was computed together, for whoever counts.

    Attributes:
        size: Requests in it.
        seconds: Time that it took.
    """

    size: int
    seconds: float


@dataclass
class _Job:
    key: Hashable
    item: Any
    cost: int
    deadline: float
    future: Future[Any] = field(default_factory=Future)


class Batcher:
    """A bounded queue and one thread that computes what is in it."""

    def __init__(
        self,
        run: Callable[[Any, Sequence[Any]], Sequence[Any]],
        *,
        max_batch: int,
        max_cost: int,
        max_queue: int,
        on_batch: Callable[[Batch], None] = lambda batch: None,
    ) -> None:
        """Starts the thread.

        Args:
            run: Computes the items of one key, in the thread; one result for each.
            max_batch: Items computed together at most.
            max_cost: Sum of their costs at most; a single item may cost more.
            max_queue: Items that may wait.
            on_batch: Told of every batch, in the thread.
        """
        self._run, self._on_batch = run, on_batch
        self._max_batch, self._max_cost, self._max_queue = max_batch, max_cost, max_queue
        self._jobs: deque[_Job] = deque()
        self._news = threading.Condition()
        self._closed = False
        self._seconds_per_item = 0.1
        self._thread = threading.Thread(target=self._work, name="batcher", daemon=True)
        self._thread.start()

    def __len__(self) -> int:
        return len(self._jobs)

    def submit(self, key: Hashable, item: Any, *, cost: int, deadline: float) -> Future[Any]:
        """The result of an item, later.

        Args:
            key: Only items of equal keys are computed together.
            item: What to compute.
            cost: Its share of ``max_cost``.
            deadline: Time by `time.monotonic` after which nobody keys it any more.

        Returns:
            A future, which gets the result, the error of ``run``, or `TimeoutError` after the
            deadline; cancelled, the item is left out unless it is being computed already.

        Raises:
            QueueFull: Too many are waiting.
            Closed: `close` was called.
        """
        job = _Job(key=key, item=item, cost=cost, deadline=deadline)
        with self._news:
            if self._closed:
                raise Closed
            if len(self._jobs) >= self._max_queue:
                self._jobs = deque(job for job in self._jobs if self._wanted(job))
            if len(self._jobs) >= self._max_queue:
                raise QueueFull(len(self._jobs) * self._seconds_per_item)
            self._jobs.append(job)
            self._news.notify()
        return job.future

    def close(self) -> None:
        """Computes what is waiting, takes no more, and ends the thread."""
        with self._news:
            self._closed = True
            self._news.notify()
        self._thread.join()

    def _work(self) -> None:
        while True:
            with self._news:
                while not self._jobs:
                    if self._closed:
                        return
                    self._news.wait()
                jobs = self._take()
            if jobs:
                self._compute(jobs)

    def _take(self) -> list[_Job]:
        """The oldest job that is still wanted, and those that can be computed with it."""
        taken: list[_Job] = []
        left: deque[_Job] = deque()
        cost = 0
        for job in self._jobs:
            if not self._wanted(job):
                continue
            fits = not taken or (
                job.key == taken[0].key
                and len(taken) < self._max_batch
                and cost + job.cost <= self._max_cost
            )
            if fits and job.future.set_running_or_notify_cancel():
                taken.append(job)
                cost += job.cost
            elif not fits:
                left.append(job)
        self._jobs = left
        return taken

    @staticmethod
    def _wanted(job: _Job) -> bool:
        if job.future.cancelled():
            return False
        if job.deadline >= time.monotonic():
            return True
        if job.future.set_running_or_notify_cancel():
            job.future.set_exception(TimeoutError())
        return False

    def _compute(self, jobs: Sequence[_Job]) -> None:
        began = time.perf_counter()
        try:
            outputs = self._run(jobs[0].key, [job.item for job in jobs])
            results = list(zip(jobs, outputs, strict=True))
        except Exception as error:
            if len(jobs) == 1:
                jobs[0].future.set_exception(error)
            else:
                # One of them is at fault: it alone shall hear of it.
                for job in jobs:
                    self._compute([job])
            return
        for job, result in results:
            job.future.set_result(result)
        seconds = time.perf_counter() - began
        self._seconds_per_item += 0.2 * (seconds / len(jobs) - self._seconds_per_item)
        self._on_batch(Batch(size=len(jobs), seconds=seconds))
