"""Tests of a metrics file as records and as a stream, on files of every shape."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openrealm.server import streams
from openrealm.server.streams import Part, follow, read_part


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "metrics.jsonl"


def test_whole_lines_are_read_and_the_next_begin_behind_them(path: Path) -> None:
    path.write_bytes(b'{"a": 1}\n{"b": "\xc3\xa9"}\n')
    assert read_part(path, 0) == Part([{"a": 1}, {"b": "é"}], next=21, reset=False)
    assert read_part(path, 9) == Part([{"b": "é"}], next=21, reset=False)
    assert read_part(path, 21) == Part([], next=21, reset=False)


def test_a_line_that_is_being_written_waits_for_its_end(path: Path) -> None:
    path.write_bytes(b'{"a": 1}\n{"b"')
    assert read_part(path, 0) == Part([{"a": 1}], next=9, reset=False)
    assert read_part(path, 9) == Part([], next=9, reset=False)
    path.write_bytes(b'{"a": 1}\n{"b": 2}\n')
    assert read_part(path, 9) == Part([{"b": 2}], next=18, reset=False)


def test_lines_that_are_no_records_are_left_out(path: Path) -> None:
    lines = [b"", b"[1]", b"3", b"{", b"\xff\xfe{}", b'{"a": 1}', b"\x00", b"[" * 100_000, b'"{}"']
    path.write_bytes(b"\n".join(lines) + b"\n")
    assert read_part(path, 0).records == [{"a": 1}]


def test_numbers_that_json_has_not_are_null(path: Path) -> None:
    path.write_text('{"a": NaN, "b": [Infinity, -Infinity, 1.5]}\n')
    assert read_part(path, 0).records == [{"a": None, "b": [None, None, 1.5]}]


def test_a_file_that_was_cut_is_read_from_its_beginning(path: Path) -> None:
    path.write_bytes(b'{"a": 1}\n')
    assert read_part(path, 10) == Part([{"a": 1}], next=9, reset=True)
    path.write_bytes(b"")
    assert read_part(path, 10) == Part([], next=0, reset=True)


def test_a_file_that_is_not_there_is_empty(path: Path) -> None:
    assert read_part(path, 0) == Part([], next=0, reset=False)
    assert read_part(path / "below", 7) == Part([], next=0, reset=True)


def test_a_long_file_is_read_in_parts(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "MAX_BYTES", 20)
    path.write_bytes(b'{"a": 1}\n' * 5)
    parts = [read_part(path, 0)]
    while parts[-1].records:
        parts.append(read_part(path, parts[-1].next))
    assert [part.next for part in parts] == [18, 36, 45, 45]


def test_a_line_longer_than_a_part_is_passed_over(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "MAX_BYTES", 20)
    path.write_bytes(b'{"a": "' + b"x" * 50 + b'"}\n{"b": 2}\n')
    records, after = [], 0
    while True:
        part = read_part(path, after)
        if part.next == after:
            break
        records += part.records
        after = part.next
    assert records == [{"b": 2}]
    assert after == path.stat().st_size


@settings(max_examples=30)
@given(
    records=st.lists(st.dictionaries(st.text(max_size=5), st.integers() | st.text(), max_size=3)),
    data=st.data(),
)
def test_whatever_the_parts_every_record_is_read_once(
    tmp_path_factory: pytest.TempPathFactory, records: list[dict[str, object]], data: st.DataObject
) -> None:
    path = tmp_path_factory.getbasetemp() / "parts.jsonl"
    whole = "".join(json.dumps(record) + "\n" for record in records).encode()
    written, after, found = 0, 0, []
    while written < len(whole):
        written += data.draw(st.integers(1, len(whole) - written))
        path.write_bytes(whole[:written])
        part = read_part(path, after)
        found += part.records
        after = part.next
    assert found == [record for record in records if record]


# Following ----------------------------------------------------------------------------------------


class Training:
    """A run that logs a line whenever somebody looks whether it goes on, and then ends."""

    def __init__(self, path: Path, *steps: Callable[[Path], object]) -> None:
        self.path, self.steps = path, list(steps)

    def __call__(self) -> bool:
        if not self.steps:
            return False
        self.steps.pop(0)(self.path)
        return True


def append(text: str) -> Callable[[Path], object]:
    def write(path: Path) -> None:
        with path.open("a") as file:
            file.write(text)

    return write


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "_POLL_S", 0.001)


def events(training: Training, *, after: int = 0, stop_at: str | None = None) -> list[str]:
    async def collected() -> list[str]:
        stopping = asyncio.Event()
        stream: AsyncIterator[str] = follow(
            training.path,
            after,
            goes_on=training,
            stopping=stopping,
            view=lambda part: json.dumps(part.records),
        )
        found = []
        async for event in stream:
            found.append(event)
            if event == stop_at:
                stopping.set()
        return found

    return asyncio.run(asyncio.wait_for(collected(), 60))


def told(*records: dict[str, int]) -> str:
    return f"event: records\ndata: {json.dumps(list(records))}\n\n"


END = "event: end\ndata: {}\n\n"


def test_a_stream_has_what_was_there_what_comes_and_the_end(path: Path) -> None:
    path.write_text('{"a": 1}\n')
    training = Training(path, append(""), append('{"b"'), append(": 2}\n"), append('{"c": 3}\n'))
    assert events(training) == [told({"a": 1}), told({"b": 2}), told({"c": 3}), END]


def test_a_stream_begins_where_it_is_asked_to(path: Path) -> None:
    path.write_text('{"a": 1}\n{"b": 2}\n')
    assert events(Training(path), after=9) == [told({"b": 2}), END]


def test_a_run_that_is_not_in_training_is_told_whole_and_ended(path: Path) -> None:
    assert events(Training(path)) == [END]


def test_what_is_written_last_is_told_before_the_end(path: Path) -> None:
    training = Training(path, append(""), append('{"z": 9}\n'))
    assert events(training) == [told({"z": 9}), END]


def test_a_file_that_is_cut_while_it_is_followed_is_told_anew(path: Path) -> None:
    path.write_text('{"a": 1}\n{"b": 2}\n')
    training = Training(path, append(""), lambda p: p.write_text('{"c": 3}\n'))
    reset = "event: reset\ndata: {}\n\n"
    assert events(training) == [told({"a": 1}, {"b": 2}), reset, told({"c": 3}), END]


def test_a_file_that_vanishes_while_it_is_followed_is_told_as_empty(path: Path) -> None:
    path.write_text('{"a": 1}\n')
    training = Training(path, append(""), lambda p: p.unlink())
    assert events(training) == [told({"a": 1}), "event: reset\ndata: {}\n\n", END]


def test_a_silent_training_gives_a_sign_of_life(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "_HEARTBEAT_S", 0.002)
    training = Training(path, *[append("")] * 5)
    assert events(training) == [": still here\n\n"] * 2 + [END]


def test_a_server_that_stops_ends_the_stream_at_once(path: Path) -> None:
    path.write_text('{"a": 1}\n')
    training = Training(path, *[append("")] * 10_000)
    assert events(training, stop_at=told({"a": 1})) == [told({"a": 1})]
