"""What long work tells about its progress; knows nothing of terminals.

Functions that take long accept a `Progress`; the command line passes one that draws bars, a library
user may pass his own, and the default says nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Protocol, Self, runtime_checkable

from openrealm.errors import Stopped


@runtime_checkable
class Task(Protocol):
    """One piece of long work, used as a context manager."""

    def advance(self, amount: int = 1, *, note: str = "") -> None:
        """Counts ``amount`` units as done; ``note`` is a few words on the present state."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


@runtime_checkable
class Progress(Protocol):
    """Opens tasks; tasks may be open inside one another."""

    def task(self, label: str, *, total: int | None, unit: str = "", done: int = 0) -> Task:
        """A task of ``total`` units (None: not known), ``done`` of which lie behind already."""

    def say(self, text: str) -> None:
        """A line for the user that stays."""


class SilentTask:
    """A task that nobody watches."""

    def advance(self, amount: int = 1, *, note: str = "") -> None:
        """Does nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class Silent:
    """Progress that nobody watches."""

    def task(self, label: str, *, total: int | None, unit: str = "", done: int = 0) -> SilentTask:
        """A silent task."""
        return SilentTask()

    def say(self, text: str) -> None:
        """Does nothing."""


class StoppableTask:
    """A task that ends its work with `Stopped` once that was asked for."""

    def __init__(self, task: Task, is_stopped: Callable[[], bool]) -> None:
        self._task, self._is_stopped = task, is_stopped

    def advance(self, amount: int = 1, *, note: str = "") -> None:
        """Counts, unless the work is to end.

        Raises:
            Stopped: It is.
        """
        if self._is_stopped():
            raise Stopped("the work was given up, since nobody waits for it any more")
        self._task.advance(amount, note=note)

    def __enter__(self) -> Self:
        self._task.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._task.__exit__(kind, error, trace)


class Stoppable:
    """A progress through which work in another thread is ended, between two of its units."""

    def __init__(self, progress: Progress) -> None:
        """Takes the progress that is told of it."""
        self._progress, self._stop = progress, threading.Event()

    def task(
        self, label: str, *, total: int | None, unit: str = "", done: int = 0
    ) -> StoppableTask:
        """A task of that progress."""
        task = self._progress.task(label, total=total, unit=unit, done=done)
        return StoppableTask(task, self._stop.is_set)

    def say(self, text: str) -> None:
        """A line of that progress."""
        self._progress.say(text)

    def stop(self) -> None:
        """Asks all work to end."""
        self._stop.set()
