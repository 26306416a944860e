"""Routes that only look: corpus, documents, runs, metrics, the server itself."""

from __future__ import annotations

import asyncio
import json
import os
from bisect import bisect_right
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.convertors import PathConvertor, register_url_convertor
from starlette.types import Receive, Scope, Send

import openrealm
from openrealm.answering.model_cache import ANSWER, CachedModel
from openrealm.corpus.store import ChunkStore
from openrealm.server.problems import Problem, documented
from openrealm.server.schemas import (
    ChunkSpan,
    ChunkView,
    CorpusView,
    DocumentEntry,
    DocumentList,
    DocumentView,
    Health,
    MetricsView,
    RunList,
    StateView,
    chunk_view,
    source_view,
)
from openrealm.server.service import Served, Service
from openrealm.tokenizer import MASK

MAX_CHARACTERS = 200_000
MAX_ENTRIES = 200
MAX_FOLLOWERS = 64
MAX_BYTES = 1 << 20
_POLL_S = 0.5
_HEARTBEAT_S = 15.0
_MAX_NUMBER = 2**53 - 1  # what every JSON reader keeps exactly

Fingerprint = Annotated[
    str | None,
    Query(
        max_length=64,
        description="The corpus that an answer named; 409 where it is no longer there.",
    ),
]
Place = Annotated[int, Query(ge=0, le=_MAX_NUMBER)]


class _Anything(PathConvertor):
    """A document's id, which may have slashes and line breaks."""

    regex = r"(?s:.*)"


register_url_convertor("anything", _Anything())
router = APIRouter(tags=["views"])


@router.get(
    "/api/chunks/{chunk_id}",
    response_model=ChunkView,
    responses=documented(404, 409, 422, 503),
)
def chunk(
    chunk_id: Annotated[int, Path(ge=0, le=_MAX_NUMBER)],
    service: Served,
    corpus: Fingerprint = None,
) -> ChunkView:
    """A chunk by its row in a corpus."""
    store = _store(service, corpus)
    if chunk_id >= len(store):
        message = f"there is no chunk {chunk_id}; the corpus has {len(store):,}, counted from 0"
        raise Problem(404, "not_found", message)
    return chunk_view(store.chunk(chunk_id))


@router.get("/api/documents", response_model=DocumentList, responses=documented(422, 503))
def documents(
    service: Served,
    offset: Place = 0,
    limit: Annotated[int, Query(ge=1, le=MAX_ENTRIES)] = 50,
) -> DocumentList:
    """Some of the documents, in the order in which they were ingested."""
    store = service.corpora.newest()
    numbers = range(offset, min(offset + limit, store.num_documents))
    return DocumentList(
        corpus=store.fingerprint,
        total=store.num_documents,
        offset=offset,
        documents=[_entry(store, number) for number in numbers],
    )


@router.get(
    "/api/documents/{document_id:anything}",
    response_model=DocumentView,
    responses=documented(404, 409, 422, 503),
)
def document(
    document_id: Annotated[str, Path(max_length=4096)],
    service: Served,
    corpus: Fingerprint = None,
    start: Place = 0,
    stop: Annotated[int | None, Query(ge=0, le=_MAX_NUMBER)] = None,
) -> DocumentView:
    """A document's text, 200,000 characters of it at most, and where its chunks begin and end."""
    store = _store(service, corpus)
    number = store.find_document(document_id)
    if number is None:
        raise Problem(404, "not_found", f"there is no document '{document_id}'")
    whole = store.document(number)
    start = min(start, len(whole.text))
    stop = min(len(whole.text) if stop is None else max(stop, start), start + MAX_CHARACTERS)
    text = whole.text[start:stop]
    return DocumentView(
        id=whole.id,
        title=whole.title,
        source=whole.source,
        corpus=store.fingerprint,
        length=len(whole.text),
        start=start,
        stop=start + len(text),
        text=text,
        chunks=_spans(store, store.rows_of(number), start, stop),
    )


@router.get("/api/corpus", response_model=CorpusView, responses=documented(503))
def corpus(service: Served) -> CorpusView:
    """The corpus as a whole: what was ingested, and what was skipped and why."""
    store = service.corpora.newest()
    return CorpusView(
        fingerprint=store.fingerprint,
        documents=store.num_documents,
        chunks=len(store),
        chunk_tokens=store.chunking.chunk_tokens,
        vocab_size=store.tokenizer.vocab_size,
        ingests=list(service.backend.ingests()),
    )


@router.get("/api/runs", response_model=RunList, responses=documented(503))
def runs(service: Served) -> RunList:
    """The runs, oldest first."""
    live = _live(service)
    return RunList(
        default=live.source.run if live else None,
        runs=list(service.backend.runs()),
    )


@router.get(
    "/api/runs/{run}/metrics",
    response_model=MetricsView,
    responses={
        **documented(404, 422, 503),
        200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}},
    },
)
async def metrics(
    run: Annotated[str, Path(max_length=200)],
    service: Served,
    after: Place = 0,
    follow: Annotated[
        bool,
        Query(description="Server-sent events `records`, `reset` and `end`, until training ends."),
    ] = False,
) -> MetricsView | Response:
    """What a run's training has logged behind a byte of its metrics file."""
    if not follow:
        return await run_in_threadpool(_metrics_view, service, run, after)
    path = await run_in_threadpool(service.backend.metrics_file, run)
    # Between this look and the count no other request has its turn.
    if service.num_followers >= MAX_FOLLOWERS:
        message = f"{MAX_FOLLOWERS} clients are following metrics already; come back later"
        raise Problem(503, "queue_full", message, retry_after_s=10.0)
    service.num_followers += 1
    return _Follower(service, _events(service, run, path, after))


@router.get("/api/state", response_model=StateView, responses=documented())
async def state(service: Served) -> StateView:
    """What this server is, and what answers by default."""
    live = _live(service)
    problem = service.handler.models.problem(ANSWER)
    reason = None if live else str(problem or "the model is being loaded")
    return StateView(
        version=openrealm.__version__,
        workspace=service.backend.name,
        ready=live is not None,
        reason=reason,
        source=source_view(live.source) if live else None,
        has_reader=live.has_reader if live else False,
        mask=MASK,
    )


@router.head("/healthz", response_model=Health, include_in_schema=False)
@router.get("/healthz", response_model=Health)
async def healthz() -> Health:
    """Whether the process answers."""
    return Health(status="ok")


@router.head("/readyz", response_model=Health, include_in_schema=False)
@router.get("/readyz", response_model=Health, responses={503: {"model": Health}})
async def readyz(service: Served) -> Health | Response:
    """Whether it can answer questions."""
    if service.stopping.is_set():
        return JSONResponse({"status": "stopping"}, status_code=503)
    if _live(service) is None:
        reason = str(service.handler.models.problem(ANSWER) or "loading")
        return JSONResponse({"status": reason}, status_code=503)
    return Health(status="ok")


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
async def counters(service: Served) -> Response:
    """What was counted, for Prometheus."""
    live = _live(service)
    text = service.counters.text(live.source if live else None)
    return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")


def _live(service: Service) -> CachedModel | None:
    return service.handler.models.get(ANSWER)


def _store(service: Service, fingerprint: str | None) -> ChunkStore:
    """The corpus of a fingerprint.

    Raises:
        Problem: It is no longer there.
    """
    store = service.corpora.find(fingerprint)
    if store is None:
        message = f"corpus '{fingerprint}' is no longer there; search or ask again"
        raise Problem(409, "corpus_changed", message)
    return store


def _spans(store: ChunkStore, rows: range, start: int, stop: int) -> list[ChunkSpan]:
    """The chunks of a document that touch a part of it; they are in order."""
    first = bisect_right(rows, start, key=lambda row: store.chunk(row).stop)
    spans = []
    for row in rows[first:]:
        chunk = store.chunk(row)
        if chunk.start >= stop:
            break
        spans.append(ChunkSpan(id=row, start=chunk.start, stop=chunk.stop))
    return spans


def _entry(store: ChunkStore, number: int) -> DocumentEntry:
    heading = store.heading(number)
    return DocumentEntry(
        id=heading.id,
        title=heading.title,
        source=heading.source,
        chunks=len(store.rows_of(number)),
    )


def _metrics_view(service: Service, run: str, after: int) -> MetricsView:
    return _part_view(service, run, read_part(service.backend.metrics_file(run), after))


def _part_view(service: Service, run: str, part: Part) -> MetricsView:
    return MetricsView(
        run=run,
        in_training=service.backend.in_training(run),
        reset=part.reset,
        next=part.next,
        records=part.records,
    )


def _events(service: Service, run: str, path: FilePath, after: int) -> AsyncIterator[str]:
    return follow(
        path,
        after,
        goes_on=lambda: service.backend.in_training(run),
        stopping=service.stopping,
        view=lambda part: _part_view(service, run, part).model_dump_json(),
    )


class _Follower(StreamingResponse):
    """A stream that counts as a follower until it has ended, also where it never began."""

    def __init__(self, service: Service, events: AsyncIterator[str]) -> None:
        headers = {"X-Accel-Buffering": "no"}
        super().__init__(events, media_type="text/event-stream", headers=headers)
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._service.num_followers -= 1


# A metrics file -----------------------------------------------------------------------------------

# As records, from any byte on, and as a stream while it grows; no record's meaning is known here.


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


def read_part(path: FilePath, after: int) -> Part:
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
        record = json.loads(line, parse_constant=lambda name: None)  # NaN is no JSON
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


async def follow(
    path: FilePath,
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
