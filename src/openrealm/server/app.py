"""The application: the routes that need a model, the page, those of `views`, errors and limits put
together.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.resources import files
from typing import TypeVar

from fastapi import APIRouter, FastAPI, Request, Response

import openrealm
from openrealm.server import views
from openrealm.server.counters import Counters
from openrealm.server.middleware import Guard
from openrealm.server.problems import Problem, documented, tell_problems
from openrealm.server.request_handler import ClientGone
from openrealm.server.schemas import (
    AskRequest,
    AskResponse,
    FillRequest,
    FillResponse,
    SearchRequest,
    SearchResponse,
)
from openrealm.server.service import Backend, Served, Service
from openrealm.settings import ServeConfig

T = TypeVar("T")
_NOBODY = 499  # nobody reads it; only the counters do

_KINDS = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}

router = APIRouter(prefix="/api", tags=["answers"])
_ERRORS = documented(400, 404, 408, 409, 413, 415, 422, 503, 504)


# Routes that need a model -------------------------------------------------------------------------


@router.post("/ask", response_model=AskResponse, responses=_ERRORS)
async def ask(asked: AskRequest, request: Request, service: Served) -> AskResponse | Response:
    """Answers a question, with evidence; search results where the run cannot answer yet."""
    return await _unless_gone(service.handler.ask, asked, request)


@router.post("/fill", response_model=FillResponse, responses=_ERRORS)
async def fill(asked: FillRequest, request: Request, service: Served) -> FillResponse | Response:
    """Fills the masks of a text: p(y|x), and p(z|x) and p(y|z,x) of every candidate."""
    return await _unless_gone(service.handler.fill, asked, request)


@router.post("/search", response_model=SearchResponse, responses=_ERRORS)
async def search(
    asked: SearchRequest, request: Request, service: Served
) -> SearchResponse | Response:
    """Finds the chunks of largest inner product with a text."""
    return await _unless_gone(service.handler.search, asked, request)


async def _unless_gone(
    answer: Callable[..., Awaitable[T]], asked: object, request: Request
) -> T | Response:
    async def gone() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            continue

    try:
        return await answer(asked, gone, request.state.deadline)
    except ClientGone:
        return Response(status_code=_NOBODY)


# The page -----------------------------------------------------------------------------------------

# A few files that are read when the server starts, so that no request names a path.


@dataclass(frozen=True)
class _File:
    content: bytes
    kind: str
    tag: str


def page_router() -> APIRouter:
    """``/`` and ``/page/NAME``."""
    router = APIRouter(include_in_schema=False)
    pages = {name: file for name, file in _files()}

    @router.api_route("/", methods=["GET", "HEAD"])
    async def index(request: Request) -> Response:
        return _response(pages["index.html"], request)

    @router.api_route("/page/{name}", methods=["GET", "HEAD"])
    async def part(name: str, request: Request) -> Response:
        if name not in pages:
            raise Problem(404, "not_found", f"the page has no part '{name}'")
        return _response(pages[name], request)

    return router


def _files() -> list[tuple[str, _File]]:
    read = []
    for path in files("openrealm.server").joinpath("page").iterdir():
        kind = _KINDS.get(path.name.rpartition(".")[2])
        if kind is not None:
            content = path.read_bytes()
            tag = f'"{hashlib.sha256(content).hexdigest()[:20]}"'
            read.append((path.name, _File(content=content, kind=kind, tag=tag)))
    return read


def _response(file: _File, request: Request) -> Response:
    # The browser asks each time, and gets the content again only where it has changed.
    headers = {"ETag": file.tag, "Cache-Control": "no-cache"}
    known = request.headers.get("if-none-match", "").split(",")
    if file.tag in (tag.strip().removeprefix("W/") for tag in known):
        return Response(status_code=304, headers=headers)
    return Response(file.content, media_type=file.kind, headers=headers)


# The application ----------------------------------------------------------------------------------


def create_app(backend: Backend, config: ServeConfig, counters: Counters) -> FastAPI:
    """The routes over a workspace; threads begin and end with the application's lifespan."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.service = service = Service(backend, config, counters)
        try:
            yield
        finally:
            service.stopping.set()
            await asyncio.to_thread(service.handler.close)

    app = FastAPI(
        title="openrealm",
        version=openrealm.__version__,
        description="A retriever and a reader that learned from this workspace's text.",
        lifespan=lifespan,
        openapi_url="/api/openapi.json",
        redirect_slashes=False,  # what is not there is said in the one shape of errors
        docs_url=None,  # its page would load scripts from elsewhere
        redoc_url=None,
    )
    tell_problems(app)
    app.include_router(router)
    app.include_router(views.router)
    app.include_router(page_router())
    return app


def guarded(
    app: FastAPI,
    config: ServeConfig,
    counters: Counters,
    *,
    token: str | None = None,
    hosts: Collection[str] | None = None,
) -> Guard:
    """The application behind its limits.

    Args:
        app: What `create_app` made.
        config: The limits.
        counters: Told of every request.
        token: What clients have to know; None for nothing.
        hosts: Names that are answered to; None for all.
    """
    return Guard(
        app,
        counters=counters,
        max_body_bytes=config.max_body_bytes,
        timeout_s=config.timeout_s,
        token=token,
        hosts=hosts,
    )
