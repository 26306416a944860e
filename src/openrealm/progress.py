"""What long work tells about its progress; knows nothing of terminals.

Functions that take long accept a `Progress`; the command line passes one that draws bars, a library
user may pass his own, and the default says nothing.
"""

from __future__ import annotations

from types import TracebackType
from typing import Protocol, Self, runtime_checkable


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
