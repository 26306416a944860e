"""Servers for tests: of a trained workspace, and of one whose answers wait to be let go."""

from __future__ import annotations

import json
import shutil
import socket
import threading
import time
from collections.abc import Callable, Collection, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import commands
import pytest

from openrealm.answering.answerer import ChunkHit
from openrealm.corpus.store import ChunkStore
from openrealm.errors import InputError
from openrealm.progress import Silent
from openrealm.runs.folders import WorkspaceFolder

if TYPE_CHECKING:
    import httpx

    from openrealm.server.service import Backend, Service

SOON = 60.0  # no test waits so long, unless it fails

# Documents that a page or a path may stumble over.
SCRIPT = "<script>alert('title')</script>"
ASTRAL = "𝒜𝓁𝒹𝑒𝓇𝒶 😀 lies on the river Tamsin. " * 8
ODD = [
    {"id": "a/b ü%2F?#&é", "title": "", "text": "A path with a slash leads to Aldera."},
    {"id": "two\nlines", "title": "Two", "text": "A name of two lines."},
    {"id": SCRIPT, "title": SCRIPT, "text": f"{SCRIPT} The town of Bresk. <img src=x onerror=a>"},
    {"id": "astral", "title": "Astral", "text": ASTRAL},
]


def until(condition: Callable[[], object]) -> None:
    """Waits for what another thread or process does."""
    end = time.monotonic() + SOON
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


@dataclass(frozen=True)
class Server:
    """A server that is running in a thread.

    Attributes:
        port: Where it listens.
        client: A client of it.
        service: Its parts.
    """

    port: int
    client: httpx.Client
    service: Service

    def get(self, path: str, status: int = 200, **more: Any) -> Any:
        """What a route answers, as JSON."""
        return self._json(self.client.get(path, **more), status)

    def post(self, path: str, status: int = 200, **body: Any) -> Any:
        """What a route answers, as JSON."""
        return self._json(self.client.post(path, json=body), status)

    def said(self, head: bytes) -> bytes:
        """What is answered to some bytes, after which the server hangs up."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=SOON) as connection:
            connection.sendall(head)
            parts = []
            while part := connection.recv(65536):
                parts.append(part)
        return b"".join(parts)

    @staticmethod
    def _json(response: httpx.Response, status: int) -> Any:
        assert response.status_code == status, response.text
        assert response.headers["content-type"] == "application/json"
        return response.json()


@contextmanager
def serving(
    backend: Backend,
    *,
    token: str | None = None,
    hosts: Collection[str] | None = None,
    ready: bool = True,
    **limits: float,
) -> Iterator[Server]:
    """A server of a workspace, in a thread, at any free port of this machine.

    Args:
        backend: The workspace.
        token: What it asks for.
        hosts: What it answers as.
        ready: Wait until it can answer.
        limits: Of `ServeConfig`.
    """
    import httpx
    import uvicorn

    from openrealm.answering.model_cache import ANSWER, FILL
    from openrealm.server.app import create_app, guarded
    from openrealm.server.counters import Counters
    from openrealm.settings import ServeConfig

    config, counters = ServeConfig(**limits), Counters()  # type: ignore[arg-type]
    app = create_app(backend, config, counters)
    guard = guarded(app, config, counters, token=token, hosts=hosts)
    server = uvicorn.Server(
        uvicorn.Config(
            guard,  # type: ignore[arg-type]
            log_config=None,
            http="h11",
            ws="none",
            lifespan="on",
            timeout_graceful_shutdown=int(SOON / 6),
        )
    )
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        until(lambda: server.started or not thread.is_alive())
        service = app.state.service
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=SOON) as client:
                if ready:
                    until(lambda: all(map(service.handler.models.get, (ANSWER, FILL))))
                yield Server(port=port, client=client, service=service)
        finally:
            service.stopping.set()
            server.should_exit = True
            thread.join(SOON)
            assert not thread.is_alive()


def backend_of(workspace: Path, run: str | None = None) -> Backend:
    """A workspace as `openrealm serve` hands it to its server."""
    from openrealm.server.workspace_backend import WorkspaceBackend

    return WorkspaceBackend(WorkspaceFolder(workspace), run, Silent())


@pytest.fixture(scope="session")
def odd(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the trained workspace, with a few odd documents."""
    folder = tmp_path_factory.mktemp("odd")
    workspace = folder / "rivers"
    shutil.copytree(trained, workspace)
    (folder / "odd.jsonl").write_text("".join(json.dumps(each) + "\n" for each in ODD) + "{\n")
    commands.ingest(workspace, sources=[folder / "odd.jsonl"])
    return workspace


# Not for the session: its threads would go on beside the tests of other modules.
@pytest.fixture(scope="module")
def served(odd: Path) -> Iterator[Server]:
    """A server of the workspace with odd documents, which is not to be changed."""
    # It need not look for anything newer, and shall not: shapes are checked at random places, and
    # hypothesis takes it amiss if another thread draws a number while it does.
    with serving(backend_of(odd), hosts=["127.0.0.1"], watch_s=3600) as server:
        yield server


class Waiting:
    """Stands in for an answerer: a text that begins with ``hold`` waits until it is let go."""

    def __init__(self, store: ChunkStore) -> None:
        self._store = store
        self.held, self.release = threading.Event(), threading.Event()
        self.computed: list[str] = []

    def search(self, texts: Sequence[str], *, k: int) -> list[list[ChunkHit]]:
        """The first chunks, whatever is asked."""
        self.computed += texts
        if texts[0].startswith("hold"):
            self.held.set()
            assert self.release.wait(SOON)
        if "bad" in texts:
            raise InputError("the question is bad; ask another")
        if "fault" in texts:
            raise ZeroDivisionError("a fault of our own")
        hits = [ChunkHit(rank=n + 1, score=1.0, chunk=self._store.chunk(n)) for n in range(k)]
        return [hits for _ in texts]


class WaitingBackend:
    """A workspace with one run, whose answers wait."""

    name = "waiting"

    def __init__(self, store: ChunkStore, folder: Path) -> None:
        self._store, self._folder = store, folder
        self.answerer = Waiting(store)
        self.known: Exception | None = None
        self.training = True

    def identity(self, key: Any, known: Hashable = None) -> Hashable:
        """Always the same, or an error where one is set."""
        if self.known is not None:
            raise self.known
        if key.run not in (None, "run-001"):
            raise InputError(f"no run '{key.run}'")
        return "run-001"

    def load(self, key: Any) -> Any:
        """The answerer that waits."""
        from openrealm.answering.model_cache import CachedModel, Source

        source = Source(
            run="run-001", stage="ict", step=1, generation=1, corpus=self._store.fingerprint
        )
        return CachedModel(
            identity="run-001",
            source=source,
            answerer=cast(Any, self.answerer),
            corpus=self._store,
            has_reader=False,
            k=2,
            read=2,
        )

    def close(self) -> None:
        """Nothing is being loaded."""

    def open_corpus(self) -> ChunkStore:
        """The store."""
        return self._store

    def corpus_state(self) -> Hashable:
        """Never changes."""
        return 0

    def ingests(self) -> list[Any]:
        """None."""
        return []

    def runs(self) -> list[Any]:
        """None."""
        return []

    def metrics_file(self, run: str) -> Path:
        """Of the one run."""
        if run != "run-001":
            raise InputError(f"no run '{run}'")
        return self._folder / "metrics.jsonl"

    def in_training(self, run: str) -> bool:
        """As it is set."""
        return self.training
