"""Tests of what stands between a socket and the routes, message by message."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from openrealm.server import middleware as guards
from openrealm.server.counters import Counters
from openrealm.server.middleware import HEADERS, Guard, Message, Receive, Scope, Send

TOKEN = "correct-horse-battery"
JSON = [(b"content-type", b"application/json")]


@dataclass
class Answer:
    """What came back."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def code(self) -> str:
        error = json.loads(self.body)["error"]
        assert set(error) == {"code", "message", "field"}
        return str(error["code"])


class Echo:
    """An application that answers with the body that it has read."""

    def __init__(self, *, status: int = 200, fails: bool = False) -> None:
        self.scopes: list[Scope] = []
        self.after: list[Message] = []
        self._status, self._fails = status, fails

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        if self._fails:
            raise ZeroDivisionError
        message = await receive()
        assert message["type"] == "http.request" and not message["more_body"]
        await send({"type": "http.response.start", "status": self._status, "headers": []})
        await send({"type": "http.response.body", "body": message["body"]})
        self.after.append(await receive())


def ask(
    app: Any,
    *,
    method: str = "POST",
    path: str = "/api/ask",
    headers: Sequence[tuple[bytes, bytes]] = (),
    parts: Sequence[bytes | None] = (b"{}",),
    counters: Counters | None = None,
    **limits: Any,
) -> Answer:
    """One request through a guard; a part that is None never comes."""
    given = {"max_body_bytes": 1024, "timeout_s": 60.0, **limits}
    guard = Guard(app, counters=counters or Counters(), **given)
    answer, waiting = Answer(), list(parts)

    async def receive() -> Message:
        if not waiting:
            return {"type": "http.disconnect"}
        part = waiting.pop(0)
        if part is None:
            await asyncio.Event().wait()
        return {"type": "http.request", "body": part, "more_body": bool(waiting)}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            assert answer.status == 0
            answer.status = message["status"]
            answer.headers = {k.decode(): v.decode() for k, v in message["headers"]}
            assert len(answer.headers) == len(message["headers"])  # none twice
        else:
            answer.body += message["body"]

    scope = {"type": "http", "method": method, "path": path, "headers": list(headers)}
    asyncio.run(guard(scope, receive, send))
    return answer


# Bodies -------------------------------------------------------------------------------------------


def test_a_body_in_parts_reaches_the_application_in_one() -> None:
    answer = ask(Echo(), headers=JSON, parts=[b'{"a"', b"", b": 1}"])
    assert (answer.status, answer.body) == (200, b'{"a": 1}')


def test_after_the_body_the_application_hears_that_the_client_has_gone() -> None:
    app = Echo()
    ask(app, headers=JSON)
    assert app.after == [{"type": "http.disconnect"}]


@pytest.mark.parametrize(
    "headers",
    [[(b"content-length", b"1024")], [(b"Content-Length", b"0")], [(b"content-length", b"nine")]],
)
def test_a_body_of_the_largest_size_is_taken_whatever_was_announced(
    headers: list[tuple[bytes, bytes]],
) -> None:
    assert ask(Echo(), headers=JSON + headers, parts=[b"x" * 1024]).status == 200


@pytest.mark.parametrize("length", [b"1025", b"9" * 5000])
def test_a_body_announced_as_too_large_is_refused_before_it_comes(length: bytes) -> None:
    app = Echo()
    answer = ask(app, headers=[*JSON, (b"content-length", length)], parts=[b""])
    assert (answer.status, answer.code) == (413, "too_large")
    assert answer.headers["connection"] == "close"
    assert not app.scopes


@pytest.mark.parametrize("method", ["POST", "GET"])
def test_a_body_that_grows_too_large_is_refused_when_it_does(method: str) -> None:
    app = Echo()
    answer = ask(app, method=method, headers=JSON, parts=[b"x" * 600] * 5)
    assert (answer.status, answer.code) == (413, "too_large")
    assert not app.scopes


def test_a_client_that_goes_on_sending_is_read_for_a_moment_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(guards, "_LINGER_BYTES", 5000)
    parts: list[bytes | None] = [b"x" * 1000] * 100
    assert ask(Echo(), headers=JSON, parts=parts).status == 413
    monkeypatch.setattr(guards, "_LINGER_S", 0.01)
    assert ask(Echo(), headers=JSON, parts=[b"x" * 2000, None]).status == 413


def test_a_body_that_does_not_come_is_a_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guards, "_LINGER_S", 0.01)
    app = Echo()
    answer = ask(app, headers=JSON, parts=[b"{", None], timeout_s=0.01)
    assert (answer.status, answer.code) == (408, "timeout")
    assert not app.scopes


def test_a_client_that_goes_while_it_sends_gets_nothing() -> None:
    app, counters = Echo(), Counters()

    guard = Guard(app, counters=counters, max_body_bytes=10, timeout_s=60.0)

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        raise AssertionError(message)

    scope = {"type": "http", "method": "POST", "path": "/", "headers": JSON}
    asyncio.run(guard(scope, receive, send))
    assert not app.scopes
    assert counted(counters) == {("other", "POST", "0"): 1}


@pytest.mark.parametrize(
    "kind",
    [
        b"text/plain",
        b"",
        b"application/jsonx",
        b"multipart/form-data",
        b"application/x-www-form-urlencoded",
    ],
)
def test_what_a_form_of_another_site_can_send_is_refused(kind: bytes) -> None:
    answer = ask(Echo(), headers=[(b"content-type", kind)])
    assert (answer.status, answer.code) == (415, "unsupported_media_type")


def test_json_may_name_its_charset() -> None:
    kind = b"Application/JSON; charset=utf-8"
    assert ask(Echo(), headers=[(b"Content-Type", kind)]).status == 200


# Tokens -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given",
    [f"Bearer {TOKEN}", f"bearer {TOKEN}", f"BEARER   {TOKEN} "],
)
def test_the_right_token_is_let_in(given: str) -> None:
    headers = [*JSON, (b"Authorization", given.encode())]
    assert ask(Echo(), headers=headers, token=TOKEN).status == 200


@pytest.mark.parametrize(
    "given",
    [
        None,
        b"",
        b"Bearer",
        b"Bearer ",
        TOKEN.encode(),
        b"Bearer " + TOKEN.encode() + b"x",
        b"Bearer " + TOKEN.encode()[:-1],
        b"Bearer " + TOKEN.upper().encode(),
        b"Basic " + TOKEN.encode(),
        b"Bearer \xff\xfe\x00",
        "Bearer größe".encode(),
    ],
)
@pytest.mark.parametrize("path", ["/api/ask", "/metrics", "/page", "//", "/../page/"])
def test_without_the_right_token_nobody_is_let_in(given: bytes | None, path: str) -> None:
    app = Echo()
    headers = JSON if given is None else [*JSON, (b"authorization", given)]
    answer = ask(app, path=path, headers=headers, token=TOKEN)
    assert (answer.status, answer.code) == (401, "unauthorized")
    assert answer.headers["www-authenticate"] == "Bearer"
    assert TOKEN not in answer.body.decode()
    assert not app.scopes


@pytest.mark.parametrize("path", ["/", "/healthz", "/readyz", "/page/app.js"])
def test_the_page_and_the_probes_ask_for_no_token(path: str) -> None:
    assert ask(Echo(), method="GET", path=path, token=TOKEN).status == 200


# Hosts --------------------------------------------------------------------------------------------

LOCAL = ("localhost", "127.0.0.1", "::1")


@pytest.mark.parametrize(
    "host",
    ["localhost", "LocalHost:8080", "127.0.0.1:1", "[::1]:8080", "[::1]"],
)
def test_its_own_names_are_answered_to(host: str) -> None:
    headers = [*JSON, (b"host", host.encode())]
    assert ask(Echo(), headers=headers, hosts=LOCAL).status == 200


@pytest.mark.parametrize(
    "host",
    [
        None,
        "",
        "evil.example",
        "localhost.evil.example",
        "evil.example:127.0.0.1",
        "[::2]",
        "[",
        "127.0.0.1.",
        "\xff",
    ],
)
def test_a_name_that_was_made_to_point_here_is_not(host: str | None) -> None:
    app = Echo()
    headers = JSON if host is None else [*JSON, (b"host", host.encode("latin-1"))]
    answer = ask(app, headers=headers, hosts=LOCAL)
    assert (answer.status, answer.code) == (403, "forbidden")
    assert not app.scopes


def test_all_names_are_answered_to_where_none_are_given() -> None:
    assert ask(Echo(), headers=[*JSON, (b"host", b"any.example")]).status == 200


# Answers ------------------------------------------------------------------------------------------


def assert_safe(answer: Answer) -> None:
    for name, value in HEADERS.items():
        assert answer.headers[name.decode()] == value.decode()
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"


def test_every_answer_has_the_headers_that_keep_a_browser_from_harm() -> None:
    assert_safe(ask(Echo(), headers=JSON))
    assert_safe(ask(Echo(status=404), headers=JSON))
    assert_safe(ask(Echo(), headers=JSON, token=TOKEN))
    assert_safe(ask(Echo(), headers=JSON, hosts=LOCAL))
    assert_safe(ask(Echo()))
    assert_safe(ask(Echo(), headers=JSON, parts=[b"x" * 2000]))


def test_an_answer_that_may_be_kept_says_so_itself() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"Cache-Control", b"no-cache")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    assert ask(app, headers=JSON).headers["Cache-Control"] == "no-cache"


def test_the_application_is_told_when_its_time_is_over() -> None:
    app = Echo()

    async def both() -> tuple[float, float]:
        loop = asyncio.get_running_loop()
        return loop.time(), loop.time()

    before, _ = asyncio.run(both())
    ask(app, headers=JSON, timeout_s=60.0)
    after, _ = asyncio.run(both())
    assert before + 60 <= app.scopes[0]["state"]["deadline"] <= after + 60


def test_what_is_not_http_goes_straight_through() -> None:
    seen = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["type"])

    guard = Guard(app, counters=Counters(), max_body_bytes=1, timeout_s=1.0, token=TOKEN)
    asyncio.run(guard({"type": "lifespan"}, None, None))  # type: ignore[arg-type]
    assert seen == ["lifespan"]


# Counting -----------------------------------------------------------------------------------------


def counted(counters: Counters) -> dict[tuple[str, str, str], float]:
    families = text_string_to_metric_families(counters.text(None).decode())
    samples = [s for f in families for s in f.samples if s.name == "openrealm_requests_total"]
    return {(s.labels["route"], s.labels["method"], s.labels["status"]): s.value for s in samples}


def test_every_request_is_counted_by_its_route_and_not_by_its_path() -> None:
    counters = Counters()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scope["route"] = type("Route", (), {"path": "/api/chunks/{chunk_id}"})
        await Echo()(scope, receive, send)

    for n in range(3):
        ask(app, method="GET", path=f"/api/chunks/{n}", counters=counters)
        ask(Echo(status=404), method="GET", path=f"/nowhere/{n}", counters=counters)
        ask(Echo(status=405), method=f"BREW{n}", path="/", counters=counters)
        ask(Echo(), method="POST", path=f"/{n}", counters=counters)
    assert counted(counters) == {
        ("/api/chunks/{chunk_id}", "GET", "200"): 3,
        ("other", "GET", "404"): 3,
        ("other", "other", "405"): 3,
        ("other", "POST", "415"): 3,
    }


def test_a_request_that_fails_is_counted_and_no_longer_in_flight() -> None:
    counters = Counters()
    with pytest.raises(ZeroDivisionError):
        ask(Echo(fails=True), headers=JSON, counters=counters)
    assert counted(counters) == {("other", "POST", "0"): 1}
    assert "openrealm_requests_in_flight 0.0" in counters.text(None).decode()
