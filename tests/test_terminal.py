"""Tests of progress on a terminal and elsewhere."""

from __future__ import annotations

import io
import re

import pytest

from openrealm import terminal
from openrealm.progress import Progress
from openrealm.terminal import Bars, Lines, make_progress


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Screen(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.mark.parametrize(
    ("seconds", "wanted"),
    [
        (0.4, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (185, "3 min 05 s"),
        (7800, "2 h 10 min"),
        (172_800 + 4 * 3600, "2 d 04 h"),
        (-1, "0 s"),
    ],
)
def test_a_duration_is_told_in_two_units_at_most(seconds: float, wanted: str) -> None:
    assert terminal.duration(seconds) == wanted


@pytest.mark.parametrize(
    ("amount", "unit", "wanted"),
    [
        (1200, "steps", "1,200 steps"),
        (3, "", "3"),
        (999, "B", "999 B"),
        (1500, "B", "1.5 kB"),
        (3_400_000, "B", "3.4 MB"),
        (2_340_000_000, "B", "2.34 GB"),
        (2_340_000_000_000, "B", "2340.00 GB"),
    ],
)
def test_a_quantity_has_its_unit_and_bytes_are_scaled(amount: int, unit: str, wanted: str) -> None:
    assert terminal.quantity(amount, unit) == wanted


@pytest.mark.parametrize(
    ("per_second", "unit", "wanted"),
    [
        (12.34, "steps", "12.3 steps/s"),
        (1234.5, "chunks", "1,234 chunks/s"),
        (0.25, "steps", "4.0 s/step"),
        (0.25, "", "4.0 s/unit"),
        (0.0, "steps", "0.0 steps/s"),
        (8_000_000, "B", "8.0 MB/s"),
        (2.0, "", "2.0/s"),
    ],
)
def test_a_rate_is_turned_round_where_it_is_slow(per_second: float, unit: str, wanted: str) -> None:
    assert terminal.rate(per_second, unit) == wanted


def test_a_pipe_gets_lines_and_a_terminal_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    assert isinstance(make_progress(io.StringIO()), Lines)
    assert isinstance(make_progress(Screen()), Bars)
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(make_progress(Screen()), Lines)


def test_progress_goes_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    make_progress().say("hello")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "hello\n")


# Lines --------------------------------------------------------------------------------------------


def test_short_work_writes_nothing(clock: Clock) -> None:
    stream = io.StringIO()
    with Lines(stream, clock=clock).task("reading", total=5, unit="files") as task:
        task.advance(5)
        clock.now += 0.9
    assert stream.getvalue() == ""


def test_long_work_writes_a_line_now_and_then_with_rate_and_time_left(clock: Clock) -> None:
    stream = io.StringIO()
    with Lines(stream, first_s=10, every_s=30, clock=clock).task(
        "stage mlm", total=100, unit="steps"
    ) as task:
        for step in range(100):
            clock.now += 1.0
            task.advance(1, note=f"loss {step}")
    lines = stream.getvalue().splitlines()
    assert lines[0] == "stage mlm: 10/100 steps, 1.0 steps/s, 1 min 30 s left, loss 9"
    assert lines[1] == "stage mlm: 40/100 steps, 1.0 steps/s, 1 min 00 s left, loss 39"
    assert lines[-1] == "stage mlm: 100 steps in 1 min 40 s (1.0 steps/s)"
    assert len(lines) == 5


def test_a_resumed_task_counts_its_rate_from_where_it_took_up(clock: Clock) -> None:
    stream = io.StringIO()
    lines = Lines(stream, first_s=10, clock=clock)
    with lines.task("stage mlm", total=100, unit="steps", done=80) as task:
        clock.now += 10.0
        task.advance(10)
    assert stream.getvalue().splitlines() == [
        "stage mlm: 90/100 steps, 1.0 steps/s, 10 s left",
        "stage mlm: 10 steps in 10 s (1.0 steps/s)",
    ]


def test_work_of_unknown_length_has_no_time_left(clock: Clock) -> None:
    stream = io.StringIO()
    with Lines(stream, clock=clock).task("ingesting", total=None, unit="documents") as task:
        clock.now += 10.0
        task.advance(50)
    assert stream.getvalue().splitlines()[0] == "ingesting: 50 documents, 5.0 documents/s"


def test_short_work_inside_long_work_stays_quiet_at_its_end(clock: Clock) -> None:
    stream = io.StringIO()
    lines = Lines(stream, first_s=10, every_s=30, clock=clock)
    with lines.task("stage realm", total=2, unit="steps") as outer:
        with lines.task("embedding", total=10, unit="chunks") as inner:
            clock.now += 5.0
            inner.advance(10)
        outer.advance(2)
    assert stream.getvalue().splitlines() == [
        "stage realm: 2 steps in 5 s (0.4 steps/s)".replace("0.4 steps/s", "2.5 s/step")
    ]


def test_failed_work_does_not_say_that_it_is_done(clock: Clock) -> None:
    stream = io.StringIO()
    with pytest.raises(KeyError), Lines(stream, clock=clock).task("reading", total=2):
        clock.now += 100.0
        raise KeyError("inside")
    assert stream.getvalue() == ""


def test_a_stream_that_has_gone_does_not_end_the_work(clock: Clock) -> None:
    stream = io.StringIO()
    progress: Progress = Lines(stream, clock=clock)
    stream.close()
    progress.say("nobody hears this")


# Bars ---------------------------------------------------------------------------------------------


def seen(screen: Screen) -> str:
    """What was drawn, without the control sequences."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.getvalue())


def draw_now(bars: Bars) -> None:
    """What the display does by itself four times a second."""
    assert bars._live is not None
    bars._live.refresh()


def test_a_bar_shows_label_amount_and_note_and_is_gone_at_the_end() -> None:
    screen = Screen()
    bars = Bars(screen, width=100)
    with bars.task("stage mlm", total=300, unit="steps", done=40) as task:
        task.advance(2, note="loss [4.31]")
        task.advance(1)
        draw_now(bars)
        bars.say("after ict: [bold] is no markup")
    drawn = seen(screen)
    assert "stage mlm" in drawn
    assert "43/300 steps" in drawn
    assert "loss [4.31]" in drawn
    assert "after ict: [bold] is no markup" in drawn
    assert "\x1b[?25h" in screen.getvalue()  # the cursor is back


def test_bars_inside_one_another_are_drawn_together_and_end_with_the_outer_one() -> None:
    screen = Screen()
    bars = Bars(screen, width=100)
    with bars.task("outside", total=None, unit="B") as outer:
        outer.advance(1_500_000)
        with bars.task("inside", total=2) as inner:
            inner.advance()
            draw_now(bars)
        outer.advance(1_500_000)
        draw_now(bars)
        bars.say("still open")
    with bars.task("next", total=1) as again:
        again.advance()
    drawn = seen(screen)
    assert "inside" in drawn
    assert "3.0 MB" in drawn
    assert "next" in drawn


def test_an_error_inside_a_bar_gets_out_and_leaves_the_terminal_usable() -> None:
    screen = Screen()
    bars = Bars(screen, width=60)
    with pytest.raises(KeyboardInterrupt), bars.task("a task of a long name" * 3, total=1):
        raise KeyboardInterrupt
    assert "\x1b[?25h" in screen.getvalue()


def test_a_bar_that_took_long_leaves_a_line() -> None:
    times = iter([10.0, 15.0])
    screen = Screen()
    with Bars(screen, width=100, clock=lambda: next(times)).task(
        "reading", total=10, unit="files"
    ) as task:
        task.advance(10)
    assert "reading: 10 files in 5 s (2.0 files/s)" in seen(screen)
