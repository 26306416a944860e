"""Tests of how a server begins and ends: what it refuses, and a process that is asked to stop."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import httpx
import pytest
from served import SOON, until

from openrealm import recipes
from openrealm.errors import (
    ConfigError,
    CorpusError,
    InputError,
    MissingDependencyError,
    OpenRealmError,
)
from openrealm.recipes import serving
from openrealm.recipes.serving import TOKEN_VARIABLE, read_token
from openrealm.runs.folders import RunFolder

TOKEN = "correct-horse-battery"


# What it refuses ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"run": "nowhere"}, InputError, "has no run 'nowhere'; it has: run-001"),
        ({"host": "999.1.1.1", "without_token": True}, ConfigError, "choose others with --host"),
        ({"port": 70_000}, ConfigError, "cannot listen at port 70000; choose one"),
        ({"token": "short"}, InputError, "the token has 5 characters; use 16 or more"),
        ({"token": "größer-als-sechzehn"}, InputError, "that a header cannot carry"),
        ({"token": "one two three four five"}, InputError, "that a header cannot carry"),
    ],
)
def test_what_cannot_be_served_is_one_sentence(
    trained: Path, arguments: dict[str, Any], error: type[OpenRealmError], message: str
) -> None:
    with pytest.raises(error, match=r"^[^\n]+$") as caught:
        recipes.serve(trained, **{"port": 0, **arguments})
    assert message in str(caught.value)


def test_a_folder_without_a_corpus_is_told_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="openrealm ingest YOUR_DOCUMENTS --to"):
        recipes.serve(tmp_path, port=0)


def test_a_port_that_is_taken_is_told(trained: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"cannot listen at 127.0.0.1, port {port}"):
            recipes.serve(trained, port=port)


@pytest.mark.parametrize("package", ["fastapi", "uvicorn", "prometheus_client"])
def test_a_missing_package_is_told_with_the_extra_that_brings_it(
    trained: Path, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    found = serving.find_spec
    monkeypatch.setattr(serving, "find_spec", lambda name: None if name == package else found(name))
    with pytest.raises(MissingDependencyError, match=rf"{package}.*openrealm\[serve\]"):
        recipes.serve(trained, port=0)


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "192.168.1.7", "example.org", "", "127.1", "::ffff:1.2.3.4"]
)
def test_an_address_that_others_reach_wants_a_token_or_a_word(trained: Path, host: str) -> None:
    with pytest.raises(ConfigError, match=r"--token-file FILE.*--without-token"):
        recipes.serve(trained, host=host, port=0)
    assert serving._hosts(host, TOKEN, without_token=False) is None
    assert serving._hosts(host, None, without_token=True) is None


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost", "LocalHost"])
def test_on_this_machine_alone_it_answers_only_to_names_of_this_machine(host: str) -> None:
    hosts = serving._hosts(host, None, without_token=False)
    assert hosts is not None
    assert set(hosts) == {"localhost", "127.0.0.1", "::1", host.lower()}


# Tokens -------------------------------------------------------------------------------------------


def test_a_token_is_the_first_line_of_a_file_or_else_the_environments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "token"
    file.write_text(f"\n  {TOKEN} \r\nmore\n")
    monkeypatch.setenv(TOKEN_VARIABLE, "another\n")
    assert read_token(file) == TOKEN
    assert read_token(None) == "another"
    monkeypatch.setenv(TOKEN_VARIABLE, " ")
    assert read_token(None) is None
    monkeypatch.delenv(TOKEN_VARIABLE)
    assert read_token(None) is None


def test_a_file_without_a_token_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TOKEN_VARIABLE, TOKEN)  # never taken in place of the file's
    file = tmp_path / "token"
    with pytest.raises(InputError, match="no token can be read from"):
        read_token(file)
    with pytest.raises(InputError, match="no token can be read from"):
        read_token(tmp_path)
    for content in (b"", b" \n\n"):
        file.write_bytes(content)
        with pytest.raises(InputError, match="is empty; write a token"):
            read_token(file)
    file.write_bytes(b"\xff\xfe\xff")
    with pytest.raises(InputError, match="no token can be read from"):
        read_token(file)


# Its end ------------------------------------------------------------------------------------------


class Ok:
    """An application that answers ``ok``."""

    def __init__(self) -> None:
        self.state = mock.Mock()  # where an application keeps its service

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        headers = [(b"content-length", b"2")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"ok"})


def test_what_lay_with_the_operating_system_when_it_began_to_stop_is_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    app, asked, held, release = Ok(), threading.Event(), threading.Event(), threading.Event()
    server = serving._server(app, app, stop_s=SOON)  # type: ignore[arg-type]
    on_tick = server.on_tick

    async def hold(counter: int) -> bool:
        if not asked.is_set():
            return await on_tick(counter)
        held.set()  # here nothing is accepted and nothing read, and the next step is to stop
        assert release.wait(SOON)
        return True

    monkeypatch.setattr(server, "on_tick", hold)
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        address = listener.getsockname()
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()

        def said(connection: socket.socket) -> bytes:
            response = http.client.HTTPResponse(connection)
            response.begin()
            return response.read()

        request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
        connections = [socket.create_connection(address, timeout=SOON) for _ in range(5)]
        for connection in connections:
            connection.sendall(request)
            assert said(connection) == b"ok"
        asked.set()
        assert held.wait(SOON)
        connections += [socket.create_connection(address, timeout=SOON) for _ in range(20)]
        for connection in connections:
            connection.sendall(request)
        release.set()
        for connection in connections:
            with connection:
                assert said(connection) == b"ok"
                assert connection.recv(1) == b""  # and it hangs up
        thread.join(SOON)
        assert not thread.is_alive()
    assert app.state.service.stopping.set.called


class Never(Ok):
    """An application that answers nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.given_up = threading.Event(), threading.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await super().__call__(scope, receive, send)
            return
        self.asked.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.given_up.set()


def test_what_takes_longer_than_a_stop_may_take_is_given_up() -> None:
    app = Never()
    server = serving._server(app, app, stop_s=0.1)  # type: ignore[arg-type]
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        with socket.create_connection(listener.getsockname(), timeout=SOON) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert app.asked.wait(SOON)
            server.should_exit = True
            assert app.given_up.wait(SOON)
            thread.join(SOON)
            assert not thread.is_alive()


# The process --------------------------------------------------------------------------------------


@dataclass
class Process:
    """A server in a process of its own."""

    process: subprocess.Popen[str]
    port: int

    def request(self, connection: socket.socket, city: str) -> None:
        """Sends a question whole."""
        body = json.dumps({"question": f"Where is {city}?", "read": 2}).encode()
        head = f"POST /api/ask HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
        connection.sendall(head.encode() + b"Content-Type: application/json\r\n\r\n" + body)

    def connect(self) -> socket.socket:
        """A new connection."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=SOON)

    def ended(self) -> tuple[int, str]:
        """Its status, and what it has written."""
        _, written = self.process.communicate(timeout=SOON)
        return self.process.returncode, written


def answer_of(connection: socket.socket) -> Any:
    """A whole answer."""
    response = http.client.HTTPResponse(connection)
    response.begin()
    assert response.status == 200
    return json.loads(response.read())


@contextmanager
def process(workspace: Path, *words: str) -> Iterator[Process]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    with subprocess.Popen(
        [sys.executable, "-m", "openrealm", "serve", str(workspace), "--port", "0", *words],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    ) as started:
        assert started.stderr is not None
        try:
            line = started.stderr.readline()
            assert "is served at http://127.0.0.1:" in line, line + started.stderr.read()
            port = int(line.partition("http://127.0.0.1:")[2].split()[0])
            yield Process(started, port)
        finally:
            started.kill()


@pytest.mark.parametrize("kind", [signal.SIGTERM, signal.SIGINT])
def test_a_server_asked_to_stop_answers_whatever_had_been_sent_to_it(
    trained: Path, tmp_path: Path, kind: signal.Signals
) -> None:
    workspace = Path(shutil.copytree(trained, tmp_path / "rivers"))
    newer = workspace / "runs" / "run-002"
    shutil.copytree(workspace / "runs" / "run-001", newer)
    with RunFolder(newer).locked(), process(workspace) as server:
        url = f"http://127.0.0.1:{server.port}"
        with httpx.Client(base_url=url, timeout=SOON) as client:
            until(lambda: client.get("/readyz").status_code == 200)
            kept = [server.connect() for _ in range(10)]  # used before and after
            for n, connection in enumerate(kept):
                server.request(connection, f"before-{n}")
                assert answer_of(connection)["question"] == f"Where is before-{n}?"
            idle = server.connect()
            streamed: list[str] = []

            def follow() -> None:
                path = "/api/runs/run-002/metrics?follow=true"
                with client.stream("GET", path) as stream:
                    streamed.extend(stream.iter_lines())

            follower = threading.Thread(target=follow)
            follower.start()
            until(lambda: "openrealm_requests_in_flight 2.0" in client.get("/metrics").text)
            fresh = [server.connect() for _ in range(40)]
            asked = [*kept, *fresh]
            for n, connection in enumerate(asked):
                server.request(connection, str(n))
            server.process.send_signal(kind)
            for n, connection in enumerate(asked):
                with connection:
                    assert answer_of(connection)["question"] == f"Where is {n}?"
            follower.join(SOON)
            assert not follower.is_alive()
            assert "event: records" in streamed and "event: end" not in streamed
            assert idle.recv(1) == b""
            idle.close()
        status, written = server.ended()
    assert (status, written) == (0, "stopped\n")


def test_a_server_asked_to_stop_before_it_has_begun_stops(trained: Path) -> None:
    with process(trained) as server:
        server.process.send_signal(signal.SIGTERM)
        assert server.ended() == (0, "stopped\n")
