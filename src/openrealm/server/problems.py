"""What a client is told when something is wrong, in one shape; knows no route."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from openrealm.errors import InputError, OpenRealmError
from openrealm.server.middleware import error_body
from openrealm.server.schemas import ErrorResponse

_TOLD = {
    400: ("invalid", "the body is not JSON that can be read"),
    404: ("not_found", "there is nothing at {path}; /api/openapi.json describes what there is"),
    405: ("method_not_allowed", "{path} does not take {method}; see /api/openapi.json"),
}
_MAX_SHOWN = 80
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = _MAX_SHOWN


class Problem(Exception):
    """A request that cannot be answered.

    Attributes:
        status: HTTP status.
        code: For programs.
        message: For people.
        field: The part of the request that is wrong.
        retry_after_s: When to try again.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        field: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message
        self.field, self.retry_after_s = field, retry_after_s


def response_of(problem: Problem) -> JSONResponse:
    """A problem as a response."""
    headers = {}
    if problem.retry_after_s is not None:
        headers["Retry-After"] = str(max(math.ceil(problem.retry_after_s), 1))
    body = error_body(problem.code, problem.message, problem.field)
    return JSONResponse(body, status_code=problem.status, headers=headers)


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Error responses for the OpenAPI document; those of the guard come with every route."""
    descriptions: dict[int | str, str] = {
        400: "The body is not JSON that can be read.",
        401: "The token is missing or wrong.",
        403: "The server does not answer under this name.",
        404: "There is no such thing.",
        408: "The body came too slowly.",
        409: "The corpus has changed since.",
        413: "The body is too large.",
        415: "The body is not JSON.",
        422: "A part of the request cannot be used.",
        503: "Not now; Retry-After says when.",
        504: "It took too long.",
        "default": "Anything else.",
    }
    every: tuple[int | str, ...] = (401, 403, *statuses, "default")
    return {
        status: {"model": ErrorResponse, "description": descriptions[status]} for status in every
    }


def tell_problems(app: FastAPI) -> None:
    """Gives every error of an application the one shape."""

    @app.exception_handler(Problem)
    async def _problem(request: Request, problem: Problem) -> JSONResponse:
        return response_of(problem)

    @app.exception_handler(RequestValidationError)
    async def _invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        message, field = sentence_of(error.errors())
        return response_of(Problem(422, "invalid", message, field=field))

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> JSONResponse:
        code, message = "http_error", str(error.detail)
        if error.status_code in _TOLD:
            code, message = _TOLD[error.status_code]
            # Not the request's URL, which cannot be had where `Host` is nonsense.
            path = _shortened(request.scope["path"])
            message = message.format(method=request.method, path=path)
        response = response_of(Problem(error.status_code, code, message))
        response.headers.update(error.headers or {})
        return response

    @app.exception_handler(OpenRealmError)
    async def _ours(request: Request, error: OpenRealmError) -> JSONResponse:
        if isinstance(error, InputError):
            return response_of(Problem(404, "not_found", str(error)))
        return response_of(Problem(503, "not_ready", str(error), retry_after_s=5.0))

    @app.exception_handler(Exception)
    async def _unexpected(request: Request, error: Exception) -> JSONResponse:
        # The guard logs it.
        message = "the server has a fault; its log says more"
        return response_of(Problem(500, "internal", message))


def sentence_of(errors: Sequence[Any]) -> tuple[str, str | None]:
    """The first of pydantic's errors as a sentence, and the field that it is about."""
    first = errors[0]
    if first["type"] == "json_invalid":
        return f"the body is not JSON: {first['ctx']['error']}", None
    field = ".".join(str(part) for part in first["loc"] if part not in ("body", "query", "path"))
    field = _shortened(field)
    said = first["msg"][:1].lower() + first["msg"][1:]
    where = field or "the body"
    if first["type"] == "missing":
        return f"{where}: {said}", field or None
    # Not repr, which fails at values nested deeply.
    return f"{where}: {said}; it was {_shortened(_SHORT.repr(first.get('input')))}", field or None


def _shortened(text: str) -> str:
    return text if len(text) <= _MAX_SHOWN else text[:_MAX_SHOWN] + "..."
