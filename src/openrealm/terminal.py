"""Progress of long work on standard error; knows nothing of what the work is.

On a terminal there are bars, drawn by rich, which is imported only then. Elsewhere (a file, a pipe)
there is a plain line now and then, so that a log stays short and nothing looks stuck.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Self, TextIO

from openrealm.progress import Progress

if TYPE_CHECKING:
    import rich.progress
    import rich.table
    import rich.text

FIRST_LINE_S = 10.0
"""Seconds until the first plain line of a task."""
LINE_EVERY_S = 30.0
"""Seconds between two plain lines."""
_BYTES = "B"  # the unit that is shown as kB, MB, GB


def make_progress(stream: TextIO | None = None) -> Progress:
    """Bars where the stream (standard error by default) is a terminal, plain lines elsewhere."""
    stream = stream or sys.stderr
    if stream.isatty() and os.environ.get("TERM", "") != "dumb":
        return Bars(stream)
    return Lines(stream)


# Numbers in words ---------------------------------------------------------------------------------


def duration(seconds: float) -> str:
    """A time to read: ``42 s``, ``3 min 05 s``, ``2 h 10 min``, ``3 d 04 h``."""
    whole = max(round(seconds), 0)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 48 * 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86400} d {whole % 86400 // 3600:02d} h"


def quantity(amount: float, unit: str) -> str:
    """A count with its unit: ``1,200 steps``, ``3.4 MB``."""
    if unit != _BYTES:
        return f"{amount:,.0f} {unit}".rstrip()
    for name in ("B", "kB", "MB"):
        if amount < 1000:
            return f"{amount:.0f} B" if name == "B" else f"{amount:.1f} {name}"
        amount /= 1000
    return f"{amount:.2f} GB"


def rate(per_second: float, unit: str) -> str:
    """A speed: ``12.3 steps/s``, ``4.1 s/step`` where it is slow, ``8.0 MB/s``."""
    if unit == _BYTES:
        return f"{quantity(per_second, unit)}/s"
    if 0 < per_second < 0.5:
        return f"{1 / per_second:.1f} s/{unit.removesuffix('s') or 'unit'}"
    digits = 1 if per_second < 100 else 0
    return f"{per_second:,.{digits}f} {unit}/s".replace(" /s", "/s")


def amount_done(done: int, total: int | None, unit: str) -> str:
    """How far it is: ``120/300 steps``, ``1.2 MB of 3.4 MB``, ``120 documents``."""
    if total is None:
        return quantity(done, unit)
    if unit == _BYTES:
        return f"{quantity(done, unit)} of {quantity(total, unit)}"
    return f"{done:,}/{total:,} {unit}".rstrip()


# Plain lines --------------------------------------------------------------------------------------


class Lines:
    """Progress in plain lines: at first after some seconds, then now and then."""

    def __init__(
        self,
        stream: TextIO,
        *,
        first_s: float = FIRST_LINE_S,
        every_s: float = LINE_EVERY_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Takes where to write and when; ``clock`` is for tests."""
        self._stream, self._first_s, self._every_s = stream, first_s, every_s
        self._clock = clock
        self._last_line = clock()
        self._depth = 0

    def task(self, label: str, *, total: int | None, unit: str = "", done: int = 0) -> LinesTask:
        """A task that writes through this object."""
        return LinesTask(self, label, total=total, unit=unit, done=done)

    def say(self, text: str) -> None:
        """Writes a line; a stream that has gone is no reason to end the work."""
        try:
            self._stream.write(f"{text}\n")
            self._stream.flush()
        except (OSError, ValueError):
            pass
        self._last_line = self._clock()

    def enter(self) -> float:
        """Counts one more open task; the present time."""
        self._depth += 1
        return self._clock()

    def leave(self) -> bool:
        """Counts one less; whether no other is open."""
        self._depth -= 1
        return self._depth == 0

    def now(self) -> float:
        """The present time of the clock."""
        return self._clock()

    def is_due(self, began: float) -> bool:
        """Whether a task that began then may write a line: not too soon after any other."""
        now = self._clock()
        return now - began >= self._first_s and (
            now - self._last_line >= self._every_s or self._last_line <= began
        )


class LinesTask:
    """One task of `Lines`."""

    def __init__(
        self, lines: Lines, label: str, *, total: int | None, unit: str, done: int
    ) -> None:
        self._lines, self._label, self._total, self._unit = lines, label, total, unit
        self._done = self._first = done
        self._began = 0.0
        self._wrote = False
        self._note = ""

    def advance(self, amount: int = 1, *, note: str = "") -> None:
        """Counts, and writes a line if one is due."""
        self._done += amount
        self._note = note or self._note
        if self._lines.is_due(self._began):
            self._wrote = True
            self._lines.say(self._line())

    def __enter__(self) -> Self:
        self._began = self._lines.enter()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        is_outermost = self._lines.leave()
        elapsed = self._lines.now() - self._began
        if kind is None and (self._wrote or (is_outermost and elapsed >= 1.0)):
            amount = quantity(self._done - self._first, self._unit)
            speed = rate((self._done - self._first) / max(elapsed, 1e-9), self._unit)
            self._lines.say(f"{self._label}: {amount} in {duration(elapsed)} ({speed})")

    def _line(self) -> str:
        elapsed = max(self._lines.now() - self._began, 1e-9)
        per_second = (self._done - self._first) / elapsed
        parts = [amount_done(self._done, self._total, self._unit), rate(per_second, self._unit)]
        if self._total is not None and per_second > 0:
            parts.append(f"{duration((self._total - self._done) / per_second)} left")
        if self._note:
            parts.append(self._note)
        return f"{self._label}: {', '.join(parts)}"


# Bars ---------------------------------------------------------------------------------------------


class Bars:
    """Progress as bars, one under the other while tasks are open inside one another."""

    def __init__(
        self,
        stream: TextIO,
        *,
        width: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Takes the terminal; ``width`` instead of its own, and ``clock``, are for tests."""
        from rich.console import Console

        self._console = Console(file=stream, width=width, highlight=False, soft_wrap=True)
        self._clock = clock
        self._live: rich.progress.Progress | None = None
        self._open = 0

    def task(self, label: str, *, total: int | None, unit: str = "", done: int = 0) -> BarTask:
        """A task that shows a bar while it is open."""
        return BarTask(self, label, total=total, unit=unit, done=done)

    def say(self, text: str) -> None:
        """Writes a line above the bars."""
        self._console.print(text, markup=False)

    def enter(self) -> rich.progress.Progress:
        """The live display, which begins with the first open task."""
        if self._live is None:
            self._live = _live_display(self._console)
            self._live.start()
        self._open += 1
        return self._live

    def now(self) -> float:
        """The present time of the clock."""
        return self._clock()

    def leave(self) -> bool:
        """Ends the display with the last open task; whether that was it."""
        self._open -= 1
        if self._open == 0 and self._live is not None:
            self._live.stop()
            self._live = None
        return self._open == 0


class BarTask:
    """One task of `Bars`."""

    def __init__(self, bars: Bars, label: str, *, total: int | None, unit: str, done: int) -> None:
        self._bars, self._label, self._total, self._unit = bars, label, total, unit
        self._done = self._first = done
        self._began = 0.0

    def advance(self, amount: int = 1, *, note: str = "") -> None:
        """Counts, and moves the bar."""
        self._done += amount
        if note:
            self._live.update(self._id, advance=amount, note=note)
        else:
            self._live.advance(self._id, amount)

    def __enter__(self) -> Self:
        self._live = self._bars.enter()
        self._began = self._bars.now()
        self._id = self._live.add_task(
            self._label, total=self._total, completed=self._done, unit=self._unit, note=""
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.remove_task(self._id)
        is_outermost = self._bars.leave()
        elapsed = self._bars.now() - self._began
        if kind is None and is_outermost and elapsed >= 1.0:
            amount = quantity(self._done - self._first, self._unit)
            speed = rate((self._done - self._first) / elapsed, self._unit)
            self._bars.say(f"{self._label}: {amount} in {duration(elapsed)} ({speed})")


def _live_display(console: rich.console.Console) -> rich.progress.Progress:
    """Label, bar, amount, rate, time left, note; the note is cut where the line is too short."""
    from rich.progress import BarColumn, Progress, ProgressColumn, Task
    from rich.table import Column
    from rich.text import Text

    class Described(ProgressColumn):
        """A column whose text is a function of the task."""

        def __init__(self, describe: Callable[[Task], str], column: Column) -> None:
            self._describe = describe
            super().__init__(table_column=column)

        def render(self, task: Task) -> Text:
            return Text(self._describe(task), overflow="ellipsis", no_wrap=True)

    fixed = Column(no_wrap=True)
    return Progress(
        Described(lambda task: task.description, Column(no_wrap=True, max_width=28)),
        BarColumn(bar_width=16 if console.width >= 100 else 10),
        Described(_bar_amount, fixed),
        Described(_bar_rate, fixed),
        Described(_bar_left, fixed),
        Described(lambda task: str(task.fields["note"]), Column(no_wrap=True, ratio=1)),
        console=console,
        transient=True,
        refresh_per_second=4,
        redirect_stdout=False,  # results go there, and not through the bars' console
        expand=True,
    )


def _bar_amount(task: rich.progress.Task) -> str:
    total = None if task.total is None else int(task.total)
    return amount_done(int(task.completed), total, task.fields["unit"])


def _bar_rate(task: rich.progress.Task) -> str:
    return "" if task.speed is None else rate(task.speed, task.fields["unit"])


def _bar_left(task: rich.progress.Task) -> str:
    if task.total is None or task.time_remaining is None:
        return f"{duration(task.elapsed or 0.0)} so far"
    return f"{duration(task.time_remaining)} left"
