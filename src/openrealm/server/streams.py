"""A run's metrics file as records, from any byte on, and as a stream while it grows; knows no
record's meaning.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MAX_BYTES = 1 << 20
_POLL_S = 0.5
_HEARTBEAT_S = 15.0


@dataclass(frozen=True)
class Part:
    """Records of a file, and where the next begin.

    Attributes:
        records: Whole lines that are JSON objects, in order.
        next: The byte behind the last whole line.
        reset: The file was shorter than the place to read from: these are its first records.
    """

    records: list[dict[str, Any]]
    next: int
    reset: bool


def read_part(path: Path, after: int) -> Part:
    """The whole lines behind a byte, a megabyte at most; damaged ones are left out."""
    try:
        file = open(path, "rb")  # noqa: SIM115
    except (FileNotFoundError, NotADirectoryError):
        return Part(records=[], next=0, reset=after > 0)
    with file:
        reset = after > file.seek(0, os.SEEK_END)
        start = file.seek(0 if reset else after)
        data = file.read(MAX_BYTES)
    whole = data.rfind(b"\n") + 1
    if not whole and len(data) == MAX_BYTES:
        whole = len(data)  # no record is that long: pass over it
    records = [record for line in data[:whole].splitlines() if (record := _record(line))]
    return Part(records=records, next=start + whole, reset=reset)


def _record(line: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(line, parse_constant=lambda name: None)  # NaN is no JSON
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


async def follow(
    path: Path,
    after: int,
    *,
    goes_on: Callable[[], bool],
    stopping: asyncio.Event,
    view: Callable[[Part], str],
) -> AsyncIterator[str]:
    """Server-sent events: ``records``, ``reset`` where the file was cut, ``end`` of the training.

    Args:
        path: The file.
        after: Byte to begin at.
        goes_on: Whether somebody may still write to it.
        stopping: Set when the server stops.
        view: A part as one line of JSON; called in a thread.
    """
    silent_s = 0.0
    while not stopping.is_set():
        # Asked before reading: what was written until then is read now.
        going_on = await asyncio.to_thread(goes_on)
        part = await asyncio.to_thread(read_part, path, after)
        moved, after = part.next != after, part.next
        if part.reset:
            yield "event: reset\ndata: {}\n\n"
        if part.records:
            yield f"event: records\ndata: {await asyncio.to_thread(view, part)}\n\n"
            silent_s = 0.0
        if moved:
            continue
        if not going_on:
            yield "event: end\ndata: {}\n\n"
            return
        silent_s += _POLL_S
        if silent_s >= _HEARTBEAT_S:
            yield ": still here\n\n"
            silent_s = 0.0
        try:
            await asyncio.wait_for(stopping.wait(), timeout=_POLL_S)
        except TimeoutError:
            continue
