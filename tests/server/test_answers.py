"""Tests of the routes that need a model, by HTTP: their numbers, and what a crowd does to them."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from served import SCRIPT, SOON, Server, WaitingBackend, serving, until
from tiny import CITIES, World

import openrealm
from openrealm.answering.answerer import answerer_of
from openrealm.corpus.store import Chunk
from openrealm.progress import Silent
from openrealm.runs.folders import WorkspaceFolder
from openrealm.runs.loaded import FILLING_STAGES, LoadedRun, load_run

QUESTION = "Which town lies on the river Velle?"
MASKED = "the river [MASK] is warm."


def near(value: float) -> Any:
    return pytest.approx(value, rel=1e-3, abs=1e-6)


def chunk_of(found: Chunk | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {
        "id": found.row,
        "document_id": found.document_id,
        "title": found.title,
        "text": found.text,
        "start": found.start,
        "stop": found.stop,
    }


# Numbers ------------------------------------------------------------------------------------------


def test_a_question_gets_what_the_recipe_answers(served: Server, odd: Path) -> None:
    wanted = openrealm.open(odd).ask(QUESTION, k=4, top=3)
    found = served.post("/api/ask", question=QUESTION, read=4, top=3)
    assert wanted.answers is not None
    assert (found["question"], found["has_reader"], found["hits"]) == (QUESTION, True, [])
    assert found["source"]["run"] == wanted.run
    assert found["no_answer"] == near(wanted.answers.no_answer)
    assert [each["text"] for each in found["answers"]] == [a.text for a in wanted.answers.answers]
    for one, other in zip(found["answers"], wanted.answers.answers, strict=True):
        assert one["probability"] == near(other.probability)
        assert one["num_places"] == len(other.evidence)
        for place, evidence in zip(one["evidence"], other.evidence, strict=False):
            assert place["chunk"] == chunk_of(evidence.chunk)
            assert (place["start"], place["stop"]) == (evidence.start, evidence.stop)
            assert place["probability"] == near(evidence.probability)
    assert [each["chunk"] for each in found["read"]] == [
        chunk_of(each.chunk) for each in wanted.answers.read
    ]
    assert [each["p_z"] for each in found["read"]] == [near(w.p_z) for w in wanted.answers.read]


def test_a_masked_text_gets_what_the_recipe_fills_in(served: Server, odd: Path) -> None:
    wanted = openrealm.open(odd).fill(MASKED, k=5, top=4).fillings
    found = served.post("/api/fill", text=MASKED, k=5, top=4)
    assert [each["tokens"] for each in found["fillings"]] == [
        list(each.tokens) for each in wanted.fillings
    ]
    for one, other in zip(found["fillings"], wanted.fillings, strict=True):
        assert one["p_y"] == near(other.p_y)
        assert one["p_y_given_z"] == [near(p) for p in other.p_y_given_z]
    assert [each["chunk"] for each in found["candidates"]] == [
        chunk_of(each.chunk) for each in wanted.candidates
    ]
    assert found["candidates"][0]["chunk"] is None
    marginal = sum(
        c["p_z"] * p
        for c, p in zip(found["candidates"], found["fillings"][0]["p_y_given_z"], strict=True)
    )
    assert found["fillings"][0]["p_y"] == near(marginal)


def test_a_search_gets_what_the_recipe_finds(served: Server, odd: Path) -> None:
    wanted = openrealm.open(odd).search(QUESTION, k=7)
    found = served.post("/api/search", text=QUESTION, k=7)
    assert [each["chunk"] for each in found["hits"]] == [chunk_of(h.chunk) for h in wanted.hits]
    assert [each["score"] for each in found["hits"]] == [near(h.score) for h in wanted.hits]
    assert [each["rank"] for each in found["hits"]] == list(range(1, 8))


def test_what_is_not_given_is_what_the_run_has_by_default(served: Server, odd: Path) -> None:
    asked, filled = openrealm.open(odd).ask(QUESTION), openrealm.open(odd).fill(MASKED)
    assert asked.answers is not None
    assert len(served.post("/api/ask", question=QUESTION)["read"]) == len(asked.answers.read)
    candidates = served.post("/api/fill", text=MASKED)["candidates"]
    assert len(candidates) == len(filled.fillings.candidates)


def test_words_that_are_named_are_told_behind_the_best(served: Server) -> None:
    text = "Aldera lies on the river [MASK]."
    everything = served.post("/api/fill", text=text, top=20)["fillings"]
    last = [each for each in everything if each["text"].isalpha()][-1]
    found = served.post("/api/fill", text=text, top=2, also=[last["text"], "of several words"])
    assert [f["text"] for f in found["fillings"]] == [
        *(f["text"] for f in everything[:2]),
        last["text"],
    ]
    assert found["fillings"][2]["p_y"] == pytest.approx(last["p_y"], rel=1e-3)


def test_without_retrieval_the_null_chunk_alone_is_read(served: Server) -> None:
    found = served.post("/api/fill", text=MASKED, k=5, retrieval=False)
    assert found["candidates"] == [{"chunk": None, "p_z": 1.0}]


def test_weights_of_a_stage_answer_where_it_is_named(served: Server) -> None:
    stages = ["ict", "realm", "qa"]
    found = {stage: served.post("/api/search", text=QUESTION, stage=stage) for stage in stages}
    assert [found[stage]["source"]["stage"] for stage in stages] == stages
    steps = [found[stage]["source"]["step"] for stage in stages]
    assert steps == sorted(steps) and len(set(steps)) == 3
    assert found["ict"]["hits"][0]["score"] != found["realm"]["hits"][0]["score"]
    assert served.post("/api/fill", text=MASKED)["source"]["stage"] == "realm"
    assert served.post("/api/fill", text=MASKED, stage="ict")["source"]["stage"] == "ict"


def test_first_weights_that_cannot_be_made_again_are_told(served: Server) -> None:
    error = served.post("/api/search", status=409, text=QUESTION, stage="start")["error"]
    assert error["code"] == "corpus_changed"
    assert "the corpus has changed since run 'run-001' began" in error["message"]


def test_text_with_markup_comes_back_as_it_was_and_only_as_json(served: Server) -> None:
    response = served.client.post("/api/search", json={"text": SCRIPT, "k": 100})
    assert response.headers["content-type"] == "application/json"
    assert response.headers["x-content-type-options"] == "nosniff"
    found = response.json()
    assert found["text"] == SCRIPT
    chunks = [hit["chunk"] for hit in found["hits"] if hit["chunk"]["document_id"] == SCRIPT]
    assert {chunk["title"] for chunk in chunks} == {SCRIPT}
    assert any(chunk["text"].startswith("<script>alert(") for chunk in chunks)


# Crowds -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def loaded(served: Server, odd: Path) -> tuple[LoadedRun, LoadedRun]:
    """The run as it answers, and as it fills."""
    place = WorkspaceFolder(odd)
    return (
        load_run(place, name=None, progress=Silent()),
        load_run(place, name=None, stages=FILLING_STAGES, progress=Silent()),
    )


def test_each_of_a_crowd_gets_what_it_would_get_alone(
    served: Server, loaded: tuple[LoadedRun, LoadedRun]
) -> None:
    answers, fills = answerer_of(loaded[0]), answerer_of(loaded[1])

    def ask(n: int, city: str) -> None:
        question = f"What is the capital of {CITIES[city][0]}?"
        found = served.post("/api/ask", question=question, read=2 + n % 3, top=2)
        [wanted] = answers.ask([question], read=2 + n % 3, top=2)
        assert found["question"] == question
        assert [a["text"] for a in found["answers"]] == [a.text for a in wanted.answers]
        assert [a["probability"] for a in found["answers"]] == [
            near(a.probability) for a in wanted.answers
        ]

    def fill(n: int, city: str) -> None:
        text = f"{city} is the capital of [MASK]."
        found = served.post("/api/fill", text=text, k=1 + n % 4, top=3)
        [wanted] = fills.fill([text], k=1 + n % 4, top=3)
        assert found["text"] == text
        assert [f["tokens"] for f in found["fillings"]] == [list(f.tokens) for f in wanted.fillings]
        assert [f["p_y"] for f in found["fillings"]] == [near(f.p_y) for f in wanted.fillings]

    def search(n: int, city: str) -> None:
        found = served.post("/api/search", text=city, k=1 + n % 5)
        [wanted] = answers.search([city], k=1 + n % 5)
        assert [h["chunk"]["id"] for h in found["hits"]] == [h.chunk.row for h in wanted]

    def refused(n: int, city: str) -> None:
        error = served.post("/api/search", text=" " * (n % 3 + 1), status=422)["error"]
        assert "the question is empty" in error["message"]

    kinds: list[Callable[[int, str], None]] = [ask, fill, search, ask, fill, search, refused]
    cities = list(CITIES)
    with ThreadPoolExecutor(24) as crowd:
        calls = [
            crowd.submit(kinds[n % len(kinds)], n, cities[n % len(cities)]) for n in range(168)
        ]
        for call in calls:
            call.result(SOON)


def test_a_crowd_is_computed_in_fewer_passes_than_it_has_members(served: Server) -> None:
    def passes() -> tuple[float, float]:
        lines = dict(
            line.rsplit(" ", 1)
            for line in served.client.get("/metrics").text.splitlines()
            if line.startswith("openrealm_batch_size_")
        )
        return float(lines["openrealm_batch_size_count"]), float(lines["openrealm_batch_size_sum"])

    before = passes()
    with ThreadPoolExecutor(32) as crowd:
        list(crowd.map(lambda n: served.post("/api/ask", question=QUESTION, read=2), range(64)))
    after = passes()
    assert after[1] - before[1] == 64
    assert after[0] - before[0] < 64


# Limits -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/api/ask", {}, "question"),
        ("/api/ask", {"question": ""}, "question"),
        ("/api/ask", {"question": "x" * 4001}, "question"),
        ("/api/ask", {"question": 3}, "question"),
        ("/api/ask", {"question": "a", "read": 0}, "read"),
        ("/api/ask", {"question": "a", "read": 33}, "read"),
        ("/api/ask", {"question": "a", "top": 21}, "top"),
        ("/api/ask", {"question": "a", "run": "r" * 201}, "run"),
        ("/api/ask", {"question": "a", "more": 1}, "more"),
        ("/api/fill", {"text": "no mask"}, "text"),
        ("/api/fill", {"text": "[MASK] " * 9}, "text"),
        ("/api/fill", {"text": "[MASK]", "k": 33}, "k"),
        ("/api/fill", {"text": "[MASK]", "stage": "warmed"}, "stage"),
        ("/api/search", {"text": "a", "k": 101}, "k"),
        ("/api/search", {"text": "a", "k": "many"}, "k"),
    ],
)
def test_what_is_beyond_a_limit_is_told_with_its_field(
    served: Server, path: str, body: dict[str, Any], field: str
) -> None:
    error = served.post(path, status=422, **body)["error"]
    assert (error["code"], error["field"]) == ("invalid", field)
    assert len(error["message"]) < 300


def test_a_mask_beyond_the_longest_query_is_told(served: Server) -> None:
    error = served.post("/api/fill", text="warm " * 100 + "[MASK]", status=422)["error"]
    assert "within the longest query" in error["message"]


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[" * 60_000, b"\xff\xfe\x00", b'{"text": ' + b"9" * 5000 + b"}"]
)
def test_a_body_that_is_not_json_is_told(served: Server, body: bytes) -> None:
    headers = {"content-type": "application/json"}
    response = served.client.post("/api/search", content=body, headers=headers)
    assert response.status_code in (400, 422)
    assert response.json()["error"]["code"] == "invalid"
    assert "body" in response.json()["error"]["message"]


@pytest.mark.parametrize("depth", [200, 600, 800, 900, 940, 980])
def test_a_value_nested_however_deeply_is_told(served: Server, depth: int) -> None:
    body = b'{"text": ' + b"[" * depth + b"]" * depth + b"}"
    headers = {"content-type": "application/json"}
    response = served.client.post("/api/search", content=body, headers=headers)
    assert response.status_code in (400, 422)


def test_a_letter_that_is_none_is_told(served: Server) -> None:
    headers = {"content-type": "application/json"}
    for body in (b'{"text": "\\ud800"}', b'{"text": "a", "\\ud800": 1}'):
        response = served.client.post("/api/search", content=body, headers=headers)
        assert response.status_code == 422
        assert "unicode" in response.json()["error"]["message"]


def test_a_run_or_stage_that_is_not_there_is_told(served: Server) -> None:
    for body in ({"run": "nowhere"}, {"run": "../rivers"}, {"stage": "mlm"}):
        error = served.post("/api/search", status=404, text="a", **body)["error"]
        assert (error["code"], error["field"]) == ("not_found", "run")


# Waiting ------------------------------------------------------------------------------------------


@pytest.fixture
def backend(world: World, tmp_path: Path) -> Iterator[WaitingBackend]:
    made = WaitingBackend(world.store, tmp_path)
    yield made
    made.answerer.release.set()


def send(server: Server, text: str) -> socket.socket:
    """A request that has been sent and whose answer nobody has read."""
    body = json.dumps({"text": text, "k": 1}).encode()
    head = f"POST /api/search HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n"
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=SOON)
    connection.sendall(head.encode() + b"Content-Type: application/json\r\n\r\n" + body)
    return connection


def received(connection: socket.socket) -> Any:
    """The answer that comes."""
    with connection, http.client.HTTPResponse(connection) as response:
        response.begin()
        return json.loads(response.read())


def num_waiting(server: Server) -> int:
    lines = server.client.get("/metrics").text.splitlines()
    return int(float(dict(line.rsplit(" ", 1) for line in lines)["openrealm_queue_length"]))


def test_a_full_queue_is_told_with_a_whole_number_of_seconds(backend: WaitingBackend) -> None:
    with serving(backend, max_queue=2) as server, ThreadPoolExecutor(4) as crowd:
        calls = [crowd.submit(server.post, "/api/search", text="hold", k=1)]
        assert backend.answerer.held.wait(SOON)
        calls += [crowd.submit(server.post, "/api/search", text=f"{n}", k=1) for n in range(2)]
        until(lambda: num_waiting(server) == 2)
        response = server.client.post("/api/search", json={"text": "too many"})
        assert response.status_code == 503
        assert int(response.headers["retry-after"]) >= 1
        assert response.json()["error"]["code"] == "queue_full"
        assert server.get("/healthz") == {"status": "ok"}
        backend.answerer.release.set()
        assert [len(call.result(SOON)["hits"]) for call in calls] == [1, 1, 1]
    assert sorted(backend.answerer.computed) == ["0", "1", "hold"]


def test_an_answer_that_takes_too_long_is_given_up(backend: WaitingBackend) -> None:
    with serving(backend, timeout_s=0.3) as server:
        for text in ("hold", "waits"):
            error = server.post("/api/search", status=504, text=text)["error"]
            assert error["code"] == "timeout"
            assert "0.3 s" in error["message"]
        backend.answerer.release.set()
        assert server.post("/api/search", text="after", k=1)["text"] == "after"
    assert backend.answerer.computed == ["hold", "after"]


def test_what_a_client_that_has_gone_was_waiting_for_is_not_computed(
    backend: WaitingBackend,
) -> None:
    with serving(backend) as server, ThreadPoolExecutor(1) as crowd:
        call = crowd.submit(server.post, "/api/search", text="hold", k=1)
        assert backend.answerer.held.wait(SOON)
        gone, patient = send(server, "goes"), send(server, "stays")
        until(lambda: num_waiting(server) == 2)
        gone.close()
        route = '{method="POST",route="/api/search",status="499"}'
        until(lambda: f"openrealm_requests_total{route} 1.0" in server.client.get("/metrics").text)
        backend.answerer.release.set()
        assert call.result(SOON)["text"] == "hold"
        assert received(patient)["text"] == "stays"
    assert backend.answerer.computed == ["hold", "stays"]


def test_one_bad_request_of_a_batch_is_told_and_the_others_are_answered(
    backend: WaitingBackend,
) -> None:
    with serving(backend) as server, ThreadPoolExecutor(4) as crowd:
        first = crowd.submit(server.post, "/api/search", text="hold", k=1)
        assert backend.answerer.held.wait(SOON)
        good = crowd.submit(server.post, "/api/search", text="good", k=1)
        bad = crowd.submit(server.post, "/api/search", status=422, text="bad", k=1)
        until(lambda: num_waiting(server) == 2)
        backend.answerer.release.set()
        assert first.result(SOON)["text"] == "hold"
        assert good.result(SOON)["text"] == "good"
        assert bad.result(SOON)["error"]["message"] == "the question is bad; ask another"


def test_a_fault_of_the_server_is_told_in_the_same_shape_and_logged(
    backend: WaitingBackend, caplog: pytest.LogCaptureFixture
) -> None:
    with serving(backend) as server:
        response = server.client.post("/api/search", json={"text": "fault"})
        assert response.status_code == 500
        assert response.json()["error"]["code"] == "internal"
        assert "a fault of our own" not in response.text
        assert response.headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in response.headers["content-security-policy"]
        assert server.post("/api/search", text="after", k=1)["text"] == "after"
    assert "ZeroDivisionError: a fault of our own" in caplog.text


def test_a_flood_of_oversized_bodies_does_not_keep_good_requests_from_their_answers(
    served: Server,
) -> None:
    stop, refused = threading.Event(), []

    def flood() -> None:
        headers = {"content-type": "application/json"}
        with httpx.Client(base_url=served.client.base_url, timeout=SOON) as client:
            while not stop.is_set():
                answer = client.post("/api/ask", content=b"x" * 300_000, headers=headers)
                refused.append((answer.status_code, answer.json()["error"]["code"]))

    with ThreadPoolExecutor(6) as flooding:
        floods = [flooding.submit(flood) for _ in range(6)]
        try:
            found = [served.post("/api/search", text=city, k=3) for city in CITIES]
            until(lambda: len(refused) >= 12)
        finally:
            stop.set()
        for each in floods:
            each.result(SOON)
    assert [each["text"] for each in found] == list(CITIES)
    assert set(refused) == {(413, "too_large")}
