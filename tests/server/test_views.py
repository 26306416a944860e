"""Tests of the routes that only look, by HTTP, against the store and the files themselves; and of a
metrics file as records and as a stream, on files of every shape.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from served import ASTRAL, ODD, SCRIPT, SOON, Server, WaitingBackend, serving, until
from tiny import World

import openrealm
from openrealm.corpus.store import ChunkStore
from openrealm.errors import CheckpointError, InputError
from openrealm.runs.folders import WorkspaceFolder
from openrealm.server import views
from openrealm.server.views import Part, follow, read_part


@pytest.fixture(scope="module")
def store(odd: Path) -> ChunkStore:
    return ChunkStore.open(odd / "corpus")


@pytest.fixture
def backend(world: World, tmp_path: Path) -> Iterator[WaitingBackend]:
    made = WaitingBackend(world.store, tmp_path)
    yield made
    made.answerer.release.set()


# Chunks and documents -----------------------------------------------------------------------------


def test_every_chunk_is_told_as_the_store_has_it(served: Server, store: ChunkStore) -> None:
    for row in (0, 7, len(store) - 1):
        chunk = store.chunk(row)
        assert served.get(f"/api/chunks/{row}") == {
            "id": row,
            "document_id": chunk.document_id,
            "title": chunk.title,
            "text": chunk.text,
            "start": chunk.start,
            "stop": chunk.stop,
        }


@pytest.mark.parametrize("row", ["58", "100000", str(2**53 - 1)])
def test_a_chunk_beyond_the_last_is_not_found(served: Server, row: str, store: ChunkStore) -> None:
    assert len(store) <= 58
    error = served.get(f"/api/chunks/{row}", status=404)["error"]
    assert f"the corpus has {len(store)}" in error["message"]


@pytest.mark.parametrize("row", ["-1", "x", "1.5", "9" * 5000, "%00", "1e3"])
def test_what_is_no_chunk_number_is_refused(served: Server, row: str) -> None:
    error = served.get(f"/api/chunks/{row}", status=422)["error"]
    assert error["field"] == "chunk_id"
    assert len(error["message"]) < 300


@pytest.mark.parametrize("document", ODD, ids=["path", "lines", "script", "astral"])
def test_a_document_is_found_under_any_id(
    served: Server, store: ChunkStore, document: dict[str, str]
) -> None:
    found = served.get(f"/api/documents/{quote(document['id'], safe='')}")
    for name in ("id", "title", "text"):
        assert found[name] == document[name]
    assert found["source"] == "odd.jsonl"
    assert found["corpus"] == store.fingerprint
    assert (found["start"], found["stop"]) == (0, len(document["text"]))
    assert found["length"] == len(document["text"])
    assert [span["id"] for span in found["chunks"]] == [
        row for row in range(len(store)) if store.chunk(row).document_id == document["id"]
    ]


def test_a_slash_in_an_id_may_stand_as_it_is(served: Server) -> None:
    path = "/api/documents/a/" + quote("b ü%2F?#&é", safe="")
    assert served.get(path)["id"] == ODD[0]["id"]


def test_offsets_count_code_points(served: Server, store: ChunkStore) -> None:
    found = served.get("/api/documents/astral")
    assert len(found["chunks"]) > 1
    for span in found["chunks"]:
        text = found["text"][span["start"] : span["stop"]]
        assert text == store.chunk(span["id"]).text
    part = served.get("/api/documents/astral", params={"start": 3, "stop": 9})
    assert part["text"] == ASTRAL[3:9]


def test_a_part_of_a_document_comes_with_the_chunks_that_touch_it(
    served: Server, store: ChunkStore
) -> None:
    whole = served.get("/api/documents/astral")
    length = whole["length"]
    places = [0, 20, length - 1, length + 50]
    for start in places:
        for stop in [None, *places]:
            window = {"start": start} if stop is None else {"start": start, "stop": stop}
            part = served.get("/api/documents/astral", params=window)
            first = min(start, length)
            last = length if stop is None else max(first, min(stop, length))
            assert (part["start"], part["stop"]) == (first, last)
            assert part["text"] == ASTRAL[first:last]
            assert part["length"] == length
            touched = [s for s in whole["chunks"] if s["start"] < last and s["stop"] > first]
            if first < last:
                assert part["chunks"] == touched


def test_of_a_long_document_only_so_much_is_sent(
    served: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views, "MAX_CHARACTERS", 100)
    part = served.get("/api/documents/astral", params={"start": 7})
    assert part["text"] == ASTRAL[7:107]
    assert (part["start"], part["stop"], part["length"]) == (7, 107, len(ASTRAL))


@pytest.mark.parametrize("name", ["nowhere", "", "%00", "..%2F..%2Fqa.jsonl", "%ff", "a" * 4000])
def test_a_document_that_is_not_there_is_not_found(served: Server, name: str) -> None:
    assert served.get(f"/api/documents/{name}", status=404)["error"]["code"] == "not_found"


def test_documents_are_listed_in_their_order_part_by_part(
    served: Server, store: ChunkStore
) -> None:
    found: list[dict[str, Any]] = []
    while True:
        window = {"offset": len(found), "limit": 7}
        part = served.get("/api/documents", params=window)
        assert (part["total"], part["offset"]) == (store.num_documents, len(found))
        found += part["documents"]
        if len(part["documents"]) < 7:
            break
    headings = [store.heading(n) for n in range(store.num_documents)]
    assert [(d["id"], d["title"], d["source"]) for d in found] == [
        (h.id, h.title, h.source) for h in headings
    ]
    assert [d["chunks"] for d in found] == [
        len(store.rows_of(n)) for n in range(store.num_documents)
    ]
    assert served.get("/api/documents", params={"offset": 2**53 - 1})["documents"] == []


@pytest.mark.parametrize("window", [{"offset": -1}, {"limit": 0}, {"limit": 201}, {"limit": "x"}])
def test_a_window_beyond_the_limits_is_refused(served: Server, window: dict[str, Any]) -> None:
    served.get("/api/documents", status=422, params=window)


def test_a_corpus_that_is_no_longer_there_is_a_conflict(served: Server, store: ChunkStore) -> None:
    for path in ("/api/chunks/0", "/api/documents/astral"):
        assert served.get(path, params={"corpus": store.fingerprint})
        error = served.get(path, status=409, params={"corpus": "f" * 64})["error"]
        assert error["code"] == "corpus_changed"
        served.get(path, status=422, params={"corpus": "f" * 65})


def test_the_corpus_is_told_with_what_was_ingested_and_what_was_skipped(
    served: Server, store: ChunkStore, odd: Path
) -> None:
    found = served.get("/api/corpus")
    assert found["fingerprint"] == store.fingerprint
    assert (found["documents"], found["chunks"]) == (store.num_documents, len(store))
    assert found["chunk_tokens"] == store.chunking.chunk_tokens
    assert found["vocab_size"] == store.tokenizer.vocab_size
    newest, oldest = found["ingests"]
    assert (newest["added"], oldest["added"]) == (len(ODD), 36)
    assert newest["time"] > oldest["time"]
    [problem] = newest["problems"]
    assert problem["line"] == len(ODD) + 1
    assert problem["source"].endswith("odd.jsonl")


# Runs ---------------------------------------------------------------------------------------------


def test_runs_are_told_with_what_made_them(served: Server, odd: Path) -> None:
    found = served.get("/api/runs")
    [run] = found["runs"]
    assert found["default"] == run["name"] == "run-001"
    record = WorkspaceFolder(odd).run().read_record()
    assert (run["created"], run["start"], run["seed"]) == (record["created"], "scratch", 0)
    assert run["stages"] == ["ict", "realm", "qa"]
    assert run["has_reader"] and not run["in_training"] and not run["fits_corpus"]
    assert [report["stage"] for report in run["reports"]] == [
        report["stage"] for report in record["stage_reports"]
    ]


def test_metrics_are_what_training_has_logged(served: Server, odd: Path) -> None:
    lines = (odd / "runs" / "run-001" / "metrics.jsonl").read_text().splitlines(keepends=True)
    found = served.get("/api/runs/run-001/metrics")
    assert found["records"] == [json.loads(line) for line in lines]
    assert found["next"] == sum(map(len, lines))
    assert (found["run"], found["in_training"], found["reset"]) == ("run-001", False, False)
    later = served.get("/api/runs/run-001/metrics", params={"after": len(lines[0])})
    assert later["records"] == found["records"][1:]
    assert served.get("/api/runs/run-001/metrics", params={"after": 10**9})["reset"]


@pytest.mark.parametrize("run", ["nowhere", "%2e%2e", "..%5Crun-001", "run-001%00"])
def test_metrics_of_a_run_that_is_not_there_are_not_found(served: Server, run: str) -> None:
    for follows in (False, True):
        path = f"/api/runs/{run}/metrics"
        assert served.client.get(path, params={"follow": follows}).status_code == 404


def lines_of(server: Server, path: str) -> Iterator[str]:
    with server.client.stream("GET", path) as response:
        assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert response.headers["cache-control"] == "no-store"
        yield from response.iter_lines()


def test_metrics_are_followed_until_the_training_ends(backend: WaitingBackend) -> None:
    file = backend.metrics_file("run-001")
    file.write_text('{"step": 1}\n')
    with serving(backend) as server:
        lines = lines_of(server, "/api/runs/run-001/metrics?follow=true")
        assert next(lines) == "event: records"
        data = json.loads(next(lines).removeprefix("data: "))
        assert data["records"] == [{"step": 1}] and data["in_training"]
        with file.open("a") as more:
            more.write('{"step": 2}\n')
        assert [next(lines), next(lines)] == ["", "event: records"]
        data = json.loads(next(lines).removeprefix("data: "))
        assert data["records"] == [{"step": 2}]
        assert data["next"] == file.stat().st_size
        backend.training = False
        assert list(lines) == ["", "event: end", "data: {}", ""]
        until(lambda: server.service.num_followers == 0)


def test_only_so_many_may_follow_and_who_hangs_up_makes_room(
    backend: WaitingBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views, "MAX_FOLLOWERS", 3)
    request = b"GET /api/runs/run-001/metrics?follow=true HTTP/1.1\r\nHost: a\r\n\r\n"
    with serving(backend) as server:
        address = ("127.0.0.1", server.port)
        followers = [socket.create_connection(address, timeout=SOON) for _ in range(3)]
        for each in followers:
            each.sendall(request)
        until(lambda: server.service.num_followers == 3)
        response = server.client.get("/api/runs/run-001/metrics?follow=true")
        assert response.status_code == 503
        assert response.json()["error"]["code"] == "queue_full"
        assert int(response.headers["retry-after"]) >= 1
        assert server.get("/api/runs/run-001/metrics")["records"] == []
        for each in followers:
            each.close()
        until(lambda: server.service.num_followers == 0)


def test_a_server_that_stops_ends_its_streams(backend: WaitingBackend) -> None:
    with serving(backend) as server:
        lines = lines_of(server, "/api/runs/run-001/metrics?follow=true")
        backend.metrics_file("run-001").write_text('{"step": 1}\n')
        assert next(lines) == "event: records"
        server.service.stopping.set()
        assert "event: end" not in list(lines)


# The server itself --------------------------------------------------------------------------------


def test_the_state_is_what_answers_by_default(served: Server, store: ChunkStore) -> None:
    found = served.get("/api/state")
    assert found["version"] == openrealm.__version__
    assert (found["workspace"], found["mask"]) == ("rivers", "[MASK]")
    assert (found["ready"], found["reason"], found["has_reader"]) == (True, None, True)
    assert (found["source"]["run"], found["source"]["stage"]) == ("run-001", "qa")
    assert found["source"]["corpus"] == store.fingerprint


def test_probes_say_that_it_lives_and_that_it_answers(served: Server) -> None:
    assert served.get("/healthz") == served.get("/readyz") == {"status": "ok"}
    for path in ("/healthz", "/readyz"):
        response = served.client.head(path)
        assert (response.status_code, response.content) == (200, b"")


def test_without_a_run_it_lives_and_says_what_to_do(backend: WaitingBackend) -> None:
    backend.known = InputError("'ws' has no run yet; train one: openrealm pretrain ws")
    with serving(backend, ready=False, watch_s=0.05) as server:
        until(lambda: "no run yet" in server.client.get("/readyz").text)
        assert server.get("/healthz") == {"status": "ok"}
        assert "openrealm pretrain ws" in server.get("/readyz", status=503)["status"]
        found = server.get("/api/state")
        assert (found["ready"], found["source"]) == (False, None)
        assert "openrealm pretrain ws" in found["reason"]
        assert server.get("/api/runs") == {"default": None, "runs": []}
        assert server.get("/api/chunks/0")["id"] == 0
        for path, body in [("/api/ask", {"question": "a"}), ("/api/fill", {"text": "[MASK]"})]:
            response = server.client.post(path, json=body)
            assert response.status_code == 503
            assert response.json()["error"]["code"] == "not_ready"
            assert "openrealm pretrain ws" in response.json()["error"]["message"]
            assert int(response.headers["retry-after"]) >= 1
        backend.known = None
        until(lambda: server.client.get("/readyz").status_code == 200)
        backend.answerer.release.set()
        assert server.post("/api/search", text="now", k=1)["hits"]


def test_a_run_in_training_from_the_beginning_is_told(backend: WaitingBackend) -> None:
    backend.known = CheckpointError("run 'run-001' is being trained; it answers later")
    with serving(backend, ready=False) as server:
        until(lambda: "being trained" in server.client.get("/readyz").text)


def test_counters_are_in_the_format_of_prometheus(served: Server) -> None:
    served.get("/api/chunks/0"), served.get("/nowhere", status=404)
    response = served.client.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    samples = [s for f in text_string_to_metric_families(response.text) for s in f.samples]
    routes = {s.labels["route"] for s in samples if s.name == "openrealm_requests_total"}
    assert {"/api/chunks/{chunk_id}", "other"} <= routes
    assert not any(char.isdigit() for route in routes for char in route)
    [generation] = [s for s in samples if s.name == "openrealm_index_generation"]
    assert generation.labels == {"run": "run-001", "stage": "qa"}
    names = {s.name for s in samples}
    assert {"process_resident_memory_bytes", "openrealm_batch_size_count"} <= names


def test_a_document_with_markup_is_json_that_no_browser_takes_for_a_page(served: Server) -> None:
    response = served.client.get(f"/api/documents/{quote(SCRIPT, safe='')}")
    assert response.json()["title"] == SCRIPT
    assert response.headers["content-type"] == "application/json"
    assert response.headers["x-content-type-options"] == "nosniff"
    missing = served.client.get(f"/api/documents/{quote(SCRIPT + SCRIPT, safe='')}")
    assert (missing.status_code, missing.headers["content-type"]) == (404, "application/json")


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
    monkeypatch.setattr(views, "MAX_BYTES", 20)
    path.write_bytes(b'{"a": 1}\n' * 5)
    parts = [read_part(path, 0)]
    while parts[-1].records:
        parts.append(read_part(path, parts[-1].next))
    assert [part.next for part in parts] == [18, 36, 45, 45]


def test_a_line_longer_than_a_part_is_passed_over(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views, "MAX_BYTES", 20)
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
    monkeypatch.setattr(views, "_POLL_S", 0.001)


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
    monkeypatch.setattr(views, "_HEARTBEAT_S", 0.002)
    training = Training(path, *[append("")] * 5)
    assert events(training) == [": still here\n\n"] * 2 + [END]


def test_a_server_that_stops_ends_the_stream_at_once(path: Path) -> None:
    path.write_text('{"a": 1}\n')
    training = Training(path, *[append("")] * 10_000)
    assert events(training, stop_at=told({"a": 1})) == [told({"a": 1})]
