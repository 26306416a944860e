"""Tests of the application as a whole, by HTTP: its description, what it answers to nonsense, the
numbers of the routes that need a model and what a crowd does to them, and the page's files byte by
byte.
"""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import hypothesis
import jsonschema
import pytest
from served import SCRIPT, SOON, Server, WaitingBackend, backend_of, serving, until
from tiny import CITIES, World

import openrealm
from openrealm.answering.answerer import answerer_of
from openrealm.corpus.store import Chunk
from openrealm.progress import Silent
from openrealm.runs.folders import WorkspaceFolder
from openrealm.runs.loaded import FILLING_STAGES, LoadedRun, load_run

METHODS = ("get", "post", "put", "delete", "patch")


@pytest.fixture(scope="module")
def described(served: Server) -> dict[str, Any]:
    found: dict[str, Any] = served.get("/api/openapi.json")
    return found


def operations(described: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, item in described["paths"].items():
        for method in METHODS:
            if method in item:
                yield f"{method} {path}", item[method]


# The description ----------------------------------------------------------------------------------


def test_all_routes_are_described(described: dict[str, Any]) -> None:
    assert sorted(name for name, _ in operations(described)) == [
        "get /api/chunks/{chunk_id}",
        "get /api/corpus",
        "get /api/documents",
        "get /api/documents/{document_id}",
        "get /api/runs",
        "get /api/runs/{run}/metrics",
        "get /api/state",
        "get /healthz",
        "get /metrics",
        "get /readyz",
        "post /api/ask",
        "post /api/fill",
        "post /api/search",
    ]


def test_every_route_of_the_api_describes_its_errors_in_the_one_shape(
    described: dict[str, Any],
) -> None:
    shape = {"$ref": "#/components/schemas/ErrorResponse"}
    for name, operation in operations(described):
        if "/api/" not in name:
            continue
        errors = {s: r for s, r in operation["responses"].items() if not s.startswith("2")}
        assert {"401", "403", "default"} <= set(errors), name
        if name.startswith("post"):
            assert {"404", "408", "413", "415", "422", "503", "504"} <= set(errors), name
        for status, response in errors.items():
            assert response["content"]["application/json"]["schema"] == shape, (name, status)
            assert response["description"]


def test_every_example_is_one_of_what_it_is_an_example_of(described: dict[str, Any]) -> None:
    num_examples = 0
    for name, schema in described["components"]["schemas"].items():
        for part in schema.get("properties", {}).values():
            for example in part.get("examples", ()):
                resolved = {**part, "components": described["components"]}
                jsonschema.validate(example, resolved)
                num_examples += 1
        assert schema.get("additionalProperties") is False or "enum" in schema, name
    assert num_examples >= 3
    for name in ("AskRequest", "FillRequest", "SearchRequest"):
        properties = described["components"]["schemas"][name]["properties"]
        assert any("examples" in part for part in properties.values())


def test_the_examples_of_the_description_can_be_sent(
    served: Server, described: dict[str, Any]
) -> None:
    for name, path in [("Ask", "ask"), ("Fill", "fill"), ("Search", "search")]:
        properties = described["components"]["schemas"][f"{name}Request"]["properties"]
        body = {key: part["examples"][0] for key, part in properties.items() if "examples" in part}
        answer = served.post(f"/api/{path}", **body)
        schema = {
            "$ref": f"#/components/schemas/{name}Response",
            "components": described["components"],
        }
        jsonschema.validate(answer, schema)


# Nonsense -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "not_found"),
        ("GET", "/healthz/", 404, "not_found"),
        ("GET", "/docs", 404, "not_found"),
        ("GET", "/api/ask", 405, "method_not_allowed"),
        ("OPTIONS", "/api/ask", 405, "method_not_allowed"),
        ("DELETE", "/api/documents/astral", 405, "method_not_allowed"),
        ("BREW", "/", 405, "method_not_allowed"),
        ("GET", "/{path}{0}%7Bmethod%7D", 404, "not_found"),
        ("GET", "/" + "a" * 30_000, 404, "not_found"),
    ],
)
def test_what_is_not_there_is_said_in_the_same_shape(
    served: Server, method: str, path: str, status: int, code: str
) -> None:
    response = served.client.request(method, path)
    assert response.status_code == status
    error = response.json()["error"]
    assert (error["code"], error["field"]) == (code, None)
    assert len(error["message"]) < 300
    assert not any(name.startswith("access-control") for name in response.headers)


def test_a_host_that_is_nonsense_is_no_fault_of_the_server(odd: Path) -> None:
    with serving(backend_of(odd), ready=False, token="a-token-for-this-test") as server:
        for host in (b"[", b"a:b:c", b"\xff", b""):
            head = b"GET /healthz/x HTTP/1.1\r\nHost: " + host + b"\r\nConnection: close\r\n"
            said = server.said(head + b"Authorization: Bearer a-token-for-this-test\r\n\r\n")
            assert said.startswith((b"HTTP/1.1 404 ", b"HTTP/1.1 400 ")), said


def test_a_head_of_any_size_is_not_kept_in_memory(served: Server) -> None:
    head = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"x" * 80_000
    assert served.said(head).startswith(b"HTTP/1.1 400 ")


def test_a_path_that_only_looks_open_asks_for_the_token(odd: Path) -> None:
    with serving(backend_of(odd), ready=False, token="a-token-for-this-test") as server:
        until(lambda: server.client.get("/readyz").status_code == 200)
        rest = b" HTTP/1.1\r\nConnection: close\r\nHost: a\r\n\r\n"
        for path in (b"/api/state", b"/page/../api/state", b"/page/%2e%2e/api/state", b"//healthz"):
            said = server.said(b"GET " + path + rest)
            assert said.startswith((b"HTTP/1.1 401 ", b"HTTP/1.1 404 ")), said
            assert b"run-001" not in said
        token = {"Authorization": "Bearer a-token-for-this-test"}
        assert server.get("/api/state", headers=token)["ready"]
        assert server.client.get("/").status_code == 200


# The fuzzer draws from `random` in its own strategies, which hypothesis does not like.
@pytest.mark.filterwarnings("ignore:Do not use the `random` module")
@pytest.mark.skipif(find_spec("schemathesis") is None, reason="schemathesis is not installed")
def test_whatever_the_description_allows_or_forbids_is_answered_as_described(
    served: Server, described: dict[str, Any]
) -> None:
    import schemathesis
    from schemathesis import checks
    from schemathesis.specs.openapi import checks as of_openapi

    # The fuzzer knows one list of checks, and calls every answer of 500 and more a fault. 503 and
    # 504 are none here: described answers of a server that is busy. They cannot occur with one
    # client and loaded weights, but on a machine that is; what must never come is 500.
    wanted = [
        of_openapi.status_code_conformance,
        of_openapi.content_type_conformance,
        of_openapi.response_schema_conformance,
        of_openapi.response_headers_conformance,
        of_openapi.negative_data_rejection,
        of_openapi.unsupported_method,
    ]
    assert checks.not_a_server_error not in wanted
    schema = schemathesis.openapi.from_dict(described)
    schema.config.base_url = str(served.client.base_url)
    tried = 0
    for result in schema.get_all_operations():
        operation = result.ok()

        @hypothesis.settings(
            max_examples=25,
            derandomize=True,
            deadline=None,
            database=None,
            suppress_health_check=list(hypothesis.HealthCheck),
        )
        @hypothesis.given(
            case=operation.as_strategy(generation_mode=schemathesis.GenerationMode.POSITIVE)
            | operation.as_strategy(generation_mode=schemathesis.GenerationMode.NEGATIVE)
        )
        def fuzz(case: schemathesis.Case) -> None:
            nonlocal tried
            if case.query and case.query.get("follow") in (True, "true"):
                case.query["follow"] = "false"
            response = case.call(timeout=60)
            assert response.status_code not in (500, 501, 502), case.as_curl_command()
            case.validate_response(response, checks=wanted)
            if response.status_code >= 400 and "/api/" in case.path:
                assert set(json.loads(response.content)) == {"error"}
            tried += 1

        fuzz()
    assert tried >= 13 * 5


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


FOLDER = files("openrealm.server").joinpath("page")


def test_every_file_of_the_page_is_served_as_what_it_is(served: Server) -> None:
    kinds = {"html": "text/html", "css": "text/css", "js": "text/javascript"}
    for path in FOLDER.iterdir():
        kind = kinds.get(path.name.rpartition(".")[2])
        if kind is not None:
            response = served.client.get(f"/page/{path.name}")
            assert response.content == path.read_bytes()
            assert response.headers["content-type"] == f"{kind}; charset=utf-8"
            assert "default-src 'none'" in response.headers["content-security-policy"]
            assert "unsafe" not in response.headers["content-security-policy"]


def test_the_page_itself_is_at_the_root(served: Server) -> None:
    response = served.client.get("/")
    assert response.content == FOLDER.joinpath("index.html").read_bytes()
    head = served.client.head("/")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["etag"] == response.headers["etag"]


def test_a_file_that_a_browser_has_is_not_sent_again(served: Server) -> None:
    tag = served.client.get("/").headers["etag"]
    for known in (tag, f'"other", {tag}', f"W/{tag}"):
        response = served.client.get("/", headers={"if-none-match": known})
        assert (response.status_code, response.content) == (304, b"")
        assert response.headers["etag"] == tag
        assert response.headers["cache-control"] == "no-cache"
    assert served.client.get("/", headers={"if-none-match": '"other"'}).status_code == 200


@pytest.mark.parametrize(
    "target",
    [
        b"/page/../__init__.py",
        b"/page/..%2f__init__.py",
        b"/page/%2e%2e/__init__.py",
        b"/page/%2e%2e%2f__init__.py",
        b"/page/..\\__init__.py",
        b"/page/..%5c__init__.py",
        b"/page/index.html%00.js",
        b"/page//etc/passwd",
        b"/page/%2fetc%2fpasswd",
        b"/page/....//....//etc/passwd",
        b"/page/",
        b"/page",
        b"/../../etc/passwd",
        b"/%2e%2e/%2e%2e/etc/passwd",
        b"//etc/passwd",
        b"file:///etc/passwd",
        b"http://elsewhere.example/etc/passwd",
        b"http://elsewhere.example/page/index.html",
        b"*",
        b"/api/documents/../../../../etc/passwd",
        b"/api/documents/%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        b"/api/runs/%2e%2e/metrics",
        b"/api/runs/..%2f..%2f..%2fetc%2fpasswd/metrics",
        b"/api/runs/run-001/../../../qa.jsonl",
    ],
)
def test_no_path_leads_to_another_file(served: Server, target: bytes) -> None:
    host = f"127.0.0.1:{served.port}".encode()
    head = b"GET " + target + b" HTTP/1.1\r\nHost: " + host + b"\r\nConnection: close\r\n\r\n"
    answer = served.said(head)
    assert answer.startswith((b"HTTP/1.1 404 ", b"HTTP/1.1 400 ")), answer
    assert b"root:" not in answer and b"import" not in answer
