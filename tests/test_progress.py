"""Tests of the silent progress."""

from __future__ import annotations

import pytest

from openrealm.progress import Progress, Silent


def test_silent_progress_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    progress: Progress = Silent()
    with progress.task("reading", total=None, unit="documents", done=2) as outer:
        outer.advance(3, note="half way")
        with progress.task("inside", total=1) as inner:
            inner.advance()
    progress.say("done")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_an_error_inside_a_silent_task_gets_out() -> None:
    with pytest.raises(KeyError), Silent().task("failing", total=1):
        raise KeyError("inside")
