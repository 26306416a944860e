"""The page: a few files that are read when the server starts, so that no request names a path."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.resources import files

from fastapi import APIRouter, Request, Response

from openrealm.server.problems import Problem

_KINDS = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}


@dataclass(frozen=True)
class _File:
    content: bytes
    kind: str
    tag: str


def page_router() -> APIRouter:
    """``/`` and ``/page/NAME``."""
    router = APIRouter(include_in_schema=False)
    found = {name: file for name, file in _files()}

    @router.api_route("/", methods=["GET", "HEAD"])
    async def index(request: Request) -> Response:
        return _response(found["index.html"], request)

    @router.api_route("/page/{name}", methods=["GET", "HEAD"])
    async def part(name: str, request: Request) -> Response:
        if name not in found:
            raise Problem(404, "not_found", f"the page has no part '{name}'")
        return _response(found[name], request)

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
