r"""How fast a server answers, and whether it loses or spoils a request when it is disturbed.

    python benchmarks/serving.py WS --to serving.json
    python benchmarks/serving.py WS --to disturbed.json --disturb swap hang-up flood term

Starts `openrealm serve` over a workspace, with batching and without, and lets 1, 8 and 64 clients
ask, each one question after the other over a connection of its own. Texts are sentences of the
corpus, for filling with their last word masked. Clients run in this process, on the same machine:
what they cost is part of the result.

Every text is first asked alone; a later answer is *wrong* where it differs from that one by more
than rounding (the same words within ``--tolerance`` of their probability), *lost* where the
connection ended without a whole answer. Refusals (503) count as neither, and are listed.

Disturbances, each under ``--load`` clients: a document ingested, so that the corpus is embedded
anew and swapped (``swap``, on a copy of the workspace; answers are held against those of the corpus
that they name); clients that hang up before their answer (``hang-up``); bodies of a megabyte
(``flood``); SIGTERM (``term``; what had not been sent before is not counted).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import random
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from openrealm.corpus.sentences import split_sentences
from openrealm.corpus.store import ChunkStore

KINDS = ("ask", "fill", "search")
DISTURBANCES = ("swap", "hang-up", "flood", "term")
Query = tuple[str, dict[str, Any]]


# Server -------------------------------------------------------------------------------------------


@dataclass
class Server:
    """A server in a process of its own."""

    process: subprocess.Popen[bytes]
    port: int

    @property
    def peak_mb(self) -> float:
        """Largest resident memory so far."""
        return self._status("VmHWM")

    @property
    def memory_mb(self) -> float:
        """Resident memory now."""
        return self._status("VmRSS")

    def _status(self, name: str) -> float:
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(rf"{name}:\s+(\d+) kB", text)
        assert found is not None
        return int(found[1]) / 1024


@contextmanager
def serving(workspace: Path, *settings: str) -> Iterator[Server]:
    """`openrealm serve` until the block ends; the block begins when it is ready."""
    chosen = [part for setting in settings for part in ("--set", setting)]
    command = [sys.executable, "-m", "openrealm", "serve", str(workspace), "--port", "0", *chosen]
    with tempfile.NamedTemporaryFile("r+") as said:
        process = subprocess.Popen(command, stderr=said.fileno())
        try:
            while not (found := re.search(r"served at http://[^:]+:(\d+)", _text(said.name))):
                if process.poll() is not None:
                    raise SystemExit(f"the server did not start: {_text(said.name)}")
                time.sleep(0.1)
            server = Server(process=process, port=int(found[1]))
            asyncio.run(_ready(server))
            yield server
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=60)


def _text(path: str) -> str:
    return Path(path).read_text(encoding="utf-8")


async def _ready(server: Server) -> None:
    while True:
        async with Connection(server.port) as connection:
            status, _, body = await connection.request("GET", "/readyz", None)
        if status == 200:
            return
        print(f"  waiting: {body['status'][:100]}", file=sys.stderr)
        await asyncio.sleep(2.0)


# Clients ------------------------------------------------------------------------------------------


class Connection:
    """One client's connection: HTTP/1.1 with as little work as possible."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def __aenter__(self) -> Connection:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()
        with suppress(OSError):
            await self._writer.wait_closed()

    async def send(self, method: str, path: str, body: bytes | None) -> None:
        """A request, without waiting for its answer."""
        head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n"
        if body is not None:
            head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        self._writer.write(head.encode() + b"\r\n" + (body or b""))
        await self._writer.drain()

    async def answer(self) -> tuple[int, dict[str, str], Any]:
        """Status, headers and body of the answer."""
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.split("\r\n")
        headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines)}
        content = await self._reader.readexactly(int(headers["content-length"]))
        return int(first.split()[1]), headers, json.loads(content)

    async def request(
        self, method: str, path: str, body: dict[str, Any] | None
    ) -> tuple[int, dict[str, str], Any]:
        """A request and its answer."""
        await self.send(method, path, json.dumps(body).encode() if body is not None else None)
        return await self.answer()


@dataclass
class Tally:
    """What came of the requests of one load.

    Attributes:
        seconds: Of each answered request.
        statuses: How many answers of each status.
        lost: Requests without a whole answer.
        wrong: Answers that differ from those given alone.
        refused_at_end: Requests that found the server gone.
        stopped_at: When the server was asked to stop; what is sent later it need not answer.
    """

    seconds: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    lost: int = 0
    wrong: int = 0
    refused_at_end: int = 0
    stopped_at: float = math.inf

    def summary(self, duration_s: float) -> dict[str, Any]:
        """The figures of a table's line."""
        cuts = statistics.quantiles(self.seconds, n=100) if len(self.seconds) > 1 else [0.0] * 99
        return {
            "requests": len(self.seconds),
            "per_second": len(self.seconds) / duration_s,
            "p50_ms": 1000 * cuts[49],
            "p95_ms": 1000 * cuts[94],
            "p99_ms": 1000 * cuts[98],
            "statuses": {str(status): n for status, n in sorted(self.statuses.items())},
            "lost": self.lost,
            "wrong": self.wrong,
        }


Judge = Callable[[Query, Any], bool]
# What is done beside a load; the time, where the server was asked to stop.
Beside = Callable[[], Awaitable[float | None]]


async def load(
    port: int,
    queries: Sequence[Query],
    right: Judge,
    *,
    clients: int,
    seconds: float,
    beside: Beside | None = None,
) -> tuple[Tally, float]:
    """Clients that ask one query after the other, for a time; and how long it took."""
    tally, stop = Tally(), asyncio.Event()

    async def client(number: int) -> None:
        chosen = random.Random(number)
        try:
            async with Connection(port) as connection:
                while not stop.is_set():
                    await _one(connection, chosen.choice(queries), right, tally)
        except ConnectionRefusedError:
            tally.refused_at_end += 1

    began = time.perf_counter()
    tasks = [asyncio.create_task(client(number)) for number in range(clients)]
    if beside is not None:
        await asyncio.sleep(seconds / 4)
        tally.stopped_at = await beside() or math.inf
    await asyncio.sleep(max(began + seconds - time.perf_counter(), 0.0))
    stop.set()
    await asyncio.gather(*tasks)
    return tally, time.perf_counter() - began


async def _one(connection: Connection, query: Query, right: Judge, tally: Tally) -> None:
    kind, body = query
    began = time.perf_counter()
    try:
        await connection.send("POST", f"/api/{kind}", json.dumps(body).encode())
    except OSError as error:
        raise ConnectionRefusedError from error  # it was not sent
    try:
        status, headers, content = await connection.answer()
    except (asyncio.IncompleteReadError, OSError) as error:
        begun = isinstance(error, asyncio.IncompleteReadError) and error.partial
        if began < tally.stopped_at or begun:
            tally.lost += 1
        raise ConnectionRefusedError from error
    tally.seconds.append(time.perf_counter() - began)
    tally.statuses[status] += 1
    if status == 200 and not right(query, content):
        tally.wrong += 1
    if headers.get("connection") == "close":
        raise ConnectionRefusedError  # the next one would not be answered
    if status == 503:
        await asyncio.sleep(float(headers.get("retry-after", 1)))


# What is asked, and what is right -----------------------------------------------------------------


def queries_of(
    workspace: Path, *, number: int, seed: int, words: int = 25
) -> dict[str, list[Query]]:
    """Sentences of the corpus for each kind of request."""
    store, chosen = ChunkStore.open(workspace / "corpus"), random.Random(seed)
    sentences: list[str] = []
    while len(sentences) < number:
        text = store.chunk(chosen.randrange(len(store))).text
        spans = [(a, b) for a, b in split_sentences(text) if 4 <= len(text[a:b].split()) <= words]
        sentences += [text[a:b] for a, b in spans[:1]]
    return {
        "ask": [("ask", {"question": sentence}) for sentence in sentences],
        "fill": [("fill", {"text": _masked(sentence)}) for sentence in sentences],
        "search": [("search", {"text": sentence}) for sentence in sentences],
    }


def _masked(sentence: str) -> str:
    words = sentence.rstrip(".").split()
    return " ".join([*words[:-1], "[MASK]", "."])


def shown(content: Any) -> dict[str, float]:
    """What an answer says, and how strongly."""
    if "fillings" in content:
        return {f["text"]: f["p_y"] for f in content["fillings"]}
    if content.get("answers"):
        return {a["text"]: a["probability"] for a in content["answers"]}
    return {str(h["chunk"]["id"]): h["score"] for h in content["hits"]}


class Reference:
    """Answers given alone, by corpus."""

    def __init__(self, tolerance: float) -> None:
        self._tolerance = tolerance
        self._known: dict[tuple[str, str], dict[str, float]] = {}

    async def learn(self, port: int, queries: Sequence[Query]) -> None:
        """Asks every query alone."""
        async with Connection(port) as connection:
            for kind, body in queries:
                status, _, content = await connection.request("POST", f"/api/{kind}", body)
                assert status == 200, content
                self._known[self._key((kind, body), content)] = shown(content)

    def __call__(self, query: Query, content: Any) -> bool:
        """Whether an answer is the one given alone; the last of a list may change places."""
        known, said = self._known.get(self._key(query, content)), shown(content)
        if known is None:
            return False
        both = known.keys() & said.keys()
        close = all(abs(known[k] - said[k]) <= self._tolerance * (1 + abs(known[k])) for k in both)
        return close and len(both) >= len(known) - 1

    def _key(self, query: Query, content: Any) -> tuple[str, str]:
        return json.dumps(query), content["source"]["corpus"]


# Measurements -------------------------------------------------------------------------------------


def measure(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Throughput and latency of each kind, number of clients, with batching and without."""
    queries = queries_of(
        arguments.workspace,
        number=arguments.queries,
        seed=arguments.seed,
        words=arguments.words,
    )
    for batching in arguments.batching:
        settings = ["max_batch=1"] if batching == "off" else []
        with serving(arguments.workspace, *settings) as server:
            memory = server.memory_mb
            for kind in arguments.kinds:
                reference = Reference(arguments.tolerance)
                asyncio.run(reference.learn(server.port, queries[kind]))
                for clients in arguments.clients:
                    tally, seconds = asyncio.run(
                        load(
                            server.port,
                            queries[kind],
                            reference,
                            clients=clients,
                            seconds=arguments.seconds,
                        )
                    )
                    yield {
                        "kind": kind,
                        "batching": batching,
                        "clients": clients,
                        **tally.summary(seconds),
                        "ready_mb": memory,
                        "peak_mb": server.peak_mb,
                        "load_average": os.getloadavg()[0],
                    }


def disturb(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """What became of requests of all kinds under each disturbance."""
    for disturbance in arguments.disturb:
        with tempfile.TemporaryDirectory() as folder:
            workspace = Path(folder) / "copy"
            shutil.copytree(arguments.workspace, workspace)
            yield _disturbed(disturbance, workspace, arguments)


def _disturbed(disturbance: str, workspace: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    found = queries_of(
        workspace, number=arguments.queries, seed=arguments.seed, words=arguments.words
    )
    queries = [query for kind in arguments.kinds for query in found[kind]]
    reference = Reference(arguments.tolerance)
    if disturbance == "swap":
        # The second corpus's answers first, so that all are known before the load.
        later = workspace.with_name("later")
        shutil.copytree(workspace, later)
        _ingest_one(later)
        with serving(later) as server:
            asyncio.run(reference.learn(server.port, queries))
    with serving(workspace, "watch_s=0.5") as server:
        asyncio.run(reference.learn(server.port, queries))
        corpora: Counter[str] = Counter()

        def right(query: Query, content: Any) -> bool:
            corpora[content["source"]["corpus"]] += 1
            return reference(query, content)

        done: Counter[str] = Counter()
        beside = _DOING[disturbance](workspace, server, queries, done)
        tally, seconds = asyncio.run(
            load(
                server.port,
                queries,
                right,
                clients=arguments.load,
                seconds=arguments.seconds,
                beside=beside,
            )
        )
        status = server.process.wait(timeout=60) if disturbance == "term" else None
    return {
        "disturbance": disturbance,
        "clients": arguments.load,
        **tally.summary(seconds),
        "answers_by_corpus": sorted(corpora.values(), reverse=True),
        "found_it_stopped": tally.refused_at_end,
        "exit_status": status,
        "done": dict(done),
    }


def _ingest_one(workspace: Path) -> None:
    document = workspace.with_name("one.jsonl")
    record = {"id": "a-new-one", "title": "A new one", "text": "Nobody had told this before."}
    document.write_text(json.dumps(record) + "\n")
    command = [sys.executable, "-m", "openrealm", "ingest", str(document), "--to", str(workspace)]
    subprocess.run(command, check=True, capture_output=True)


def _swapping(
    workspace: Path, server: Server, queries: Sequence[Query], done: Counter[str]
) -> Beside:
    async def beside() -> None:
        await asyncio.to_thread(_ingest_one, workspace)
        done["ingests"] += 1

    return beside


def _hanging_up(
    workspace: Path, server: Server, queries: Sequence[Query], done: Counter[str]
) -> Beside:
    async def one(number: int) -> None:
        kind, body = queries[number % len(queries)]
        async with Connection(server.port) as connection:
            await connection.send("POST", f"/api/{kind}", json.dumps(body).encode())
            await asyncio.sleep(0.001 * (number % 20))
        done["hung up"] += 1

    async def beside() -> None:
        for _ in range(10):
            await asyncio.gather(*(one(number) for number in range(50)))

    return beside


def _flooding(
    workspace: Path, server: Server, queries: Sequence[Query], done: Counter[str]
) -> Beside:
    body = b'{"question": "' + b"a" * 1_000_000 + b'"}'

    async def one() -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            async with Connection(server.port) as connection:
                await connection.send("POST", "/api/ask", body)
                status, _, _ = await connection.answer()
                done[str(status)] += 1
                return
        done["closed by the server"] += 1

    async def beside() -> None:
        for _ in range(20):
            await asyncio.gather(*(one() for _ in range(25)))

    return beside


def _terminating(
    workspace: Path, server: Server, queries: Sequence[Query], done: Counter[str]
) -> Beside:
    async def beside() -> float:
        server.process.send_signal(signal.SIGTERM)
        done["SIGTERM"] += 1
        return time.perf_counter()

    return beside


_DOING = {
    "swap": _swapping,
    "hang-up": _hanging_up,
    "flood": _flooding,
    "term": _terminating,
}


def main() -> None:
    """Writes a JSON document and prints a line for each measurement."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--to", type=Path, required=True)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--batching", nargs="+", choices=("on", "off"), default=["on", "off"])
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--queries", type=int, default=50)
    parser.add_argument("--words", type=int, default=25, help="of a sentence, at most")
    parser.add_argument("--tolerance", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--disturb", nargs="+", choices=DISTURBANCES, default=[])
    parser.add_argument("--load", type=int, default=8, help="clients under a disturbance")
    arguments = parser.parse_args()
    results = []
    for result in disturb(arguments) if arguments.disturb else measure(arguments):
        print(json.dumps(result), flush=True)
        results.append(result)
    arguments.to.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
