"""Routes that need a model: ask, fill, search."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from fastapi import APIRouter, Request, Response

from openrealm.server.problems import documented
from openrealm.server.request_handler import ClientGone
from openrealm.server.schemas import (
    AskRequest,
    AskResponse,
    FillRequest,
    FillResponse,
    SearchRequest,
    SearchResponse,
)
from openrealm.server.service import Served

T = TypeVar("T")
_NOBODY = 499  # nobody reads it; only the counters do

router = APIRouter(prefix="/api", tags=["answers"])
_ERRORS = documented(400, 404, 408, 409, 413, 415, 422, 503, 504)


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
