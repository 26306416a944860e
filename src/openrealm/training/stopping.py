"""Ctrl-C and SIGTERM as requests to end a training in order; knows nothing of what is trained."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from openrealm.errors import Stopped


@dataclass
class StopRequest:
    """Whether somebody wants training to end.

    Attributes:
        signal: Which signal has asked; 0 while none has.
    """

    signal: int = 0

    def is_set(self) -> bool:
        """Whether a signal has asked this process."""
        return self.signal != 0

    def stopped(self, where: str) -> Stopped:
        """The end, where everything is saved."""
        return Stopped(
            f"stopped {where}; everything is saved, and resuming goes on from here",
            by_system=self.signal == signal.SIGTERM,
        )


@contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Turns Ctrl-C and SIGTERM into a request to stop after the step.

    Ctrl-C after that acts at once; SIGTERM does not, which launchers and schedulers send twice.
    """
    stop = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {kind: signal.getsignal(kind) for kind in (signal.SIGINT, signal.SIGTERM)}

    def request(kind: int, frame: object) -> None:
        if stop.is_set() and kind == signal.SIGINT:
            signal.signal(kind, before[signal.SIGINT])
            signal.raise_signal(kind)
        stop.signal = stop.signal or kind

    for kind in before:
        signal.signal(kind, request)
    try:
        yield stop
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)
