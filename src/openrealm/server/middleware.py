"""What stands between a socket and the routes: sizes, times, tokens, headers, counting; knows no
route.

Plain ASGI: a body is read whole, within its limits, before anything looks at it.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import time
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from contextlib import suppress
from typing import Any

from openrealm.server.counters import Counters

logger = logging.getLogger(__name__)
Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
    )
)
HEADERS = {
    b"content-security-policy": CONTENT_SECURITY_POLICY.encode(),
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
    b"cross-origin-opener-policy": b"same-origin",
    b"cross-origin-resource-policy": b"same-origin",
}
# Without a token: the page, which asks for it, and what tells whether the server is up.
_OPEN = ("/", "/healthz", "/readyz")
_OPEN_FOLDER = "/page/"
_LINGER_S, _LINGER_BYTES = 1.0, 1 << 20


class Refused(Exception):
    """A request that gets no further.

    Attributes:
        status: HTTP status.
        code: For programs.
        message: For people.
    """

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


def error_body(code: str, message: str, field: str | None = None) -> dict[str, Any]:
    """The one shape of every error (`schemas.ErrorResponse`)."""
    return {"error": {"code": code, "message": message, "field": field}}


class Guard:
    """The ASGI application behind its limits."""

    def __init__(
        self,
        app: App,
        *,
        counters: Counters,
        max_body_bytes: int,
        timeout_s: float,
        token: str | None = None,
        hosts: Collection[str] | None = None,
    ) -> None:
        """Stands before an application.

        Args:
            app: The application.
            counters: Told of every request.
            max_body_bytes: Bytes of a body at most.
            timeout_s: Seconds in which a body has to arrive, and all has to be answered: the
                routes find the end of that time in ``scope["state"]["deadline"]``.
            token: What ``Authorization: Bearer`` has to say; None where nothing is asked.
            hosts: Names in ``Host`` that are answered; None for all. A page elsewhere whose name
                was made to point here is one of the others.
        """
        self._app, self._counters = app, counters
        self._max_body_bytes, self._timeout_s = max_body_bytes, timeout_s
        self._token = token.encode() if token is not None else None
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection's request; anything but HTTP goes straight through."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        deadline = time.monotonic() + self._timeout_s
        scope.setdefault("state", {})["deadline"] = deadline
        status = 0

        async def sent(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), *_added(message)]
            await send(message)

        try:
            with self._counters.in_flight():
                await self._answer(scope, receive, sent, deadline)
        except Exception:
            if not status:
                raise
            # It has been told to the client; raised further, it would end the connection too.
            logger.exception("a request has met a fault of the server")
        finally:
            route = getattr(scope.get("route"), "path", "other")
            self._counters.request(route, scope["method"], status, time.perf_counter() - began)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, deadline: float) -> None:
        headers = {name.lower(): value for name, value in scope["headers"]}
        try:
            self._check(scope, headers)
            body = await self._body(headers, receive, deadline)
        except Refused as refused:
            await _refuse(send, refused)
            await _drain(receive)
            await send({"type": "http.response.body", "body": b""})
            return
        except ConnectionResetError:
            return

        async def replayed() -> Message:
            nonlocal body
            if body is None:
                return await receive()
            message = {"type": "http.request", "body": body, "more_body": False}
            body = None
            return message

        await self._app(scope, replayed, send)

    def _check(self, scope: Scope, headers: dict[bytes, bytes]) -> None:
        """Host, token and content type.

        Raises:
            Refused: One of them will not do.
        """
        if self._hosts is not None:
            host = _host_name(headers.get(b"host", b"").decode("latin-1"))
            if host not in self._hosts:
                raise Refused(403, "forbidden", f"this server does not answer as '{host}'")
        path = scope["path"]
        is_open = path in _OPEN or path.startswith(_OPEN_FOLDER)
        if self._token is not None and not is_open:
            kind, _, given = headers.get(b"authorization", b"").partition(b" ")
            right = hmac.compare_digest(given.strip(), self._token)
            if kind.lower() != b"bearer" or not right:
                raise Refused(
                    401, "unauthorized", "this server keys a token: Authorization: Bearer TOKEN"
                )
        if scope["method"] == "POST":
            kind = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
            if kind != b"application/json":
                raise Refused(
                    415, "unsupported_media_type", "send JSON, as Content-Type: application/json"
                )

    async def _body(
        self, headers: dict[bytes, bytes], receive: Receive, deadline: float
    ) -> bytes | None:
        """The whole body.

        Raises:
            Refused: It is too large, or too slow.
            ConnectionResetError: The client has gone.
        """
        too_large = Refused(
            413, "too_large", f"a request's body may have {self._max_body_bytes:,} bytes at most"
        )
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length[:20]) > self._max_body_bytes:
            raise too_large
        body = bytearray()
        try:
            async with asyncio.timeout(max(deadline - time.monotonic(), 0.0)):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise ConnectionResetError
                    body += message.get("body", b"")
                    if len(body) > self._max_body_bytes:
                        raise too_large
                    if not message.get("more_body", False):
                        return bytes(body)
        except TimeoutError:
            raise Refused(
                408, "timeout", f"the body did not arrive within {self._timeout_s:g} s"
            ) from None


def _host_name(host: str) -> str:
    """``Host`` without its port; an IPv6 address without its brackets."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower()


def _added(message: Message) -> list[tuple[bytes, bytes]]:
    added = list(HEADERS.items())
    given = {name.lower() for name, _ in message.get("headers", ())}
    if b"cache-control" not in given:
        added.append((b"cache-control", b"no-store"))
    return added


async def _refuse(send: Send, refused: Refused) -> None:
    body = json.dumps(error_body(refused.code, refused.message)).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        # What is left of the request is not looked at.
        (b"connection", b"close"),
    ]
    if refused.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": refused.status, "headers": headers})
    # Not the end yet: the server would hang up.
    await send({"type": "http.response.body", "body": body, "more_body": True})


async def _drain(receive: Receive) -> None:
    """Reads on for a moment: who is hung up on while sending may never see the answer."""
    left = _LINGER_BYTES
    with suppress(TimeoutError):
        async with asyncio.timeout(_LINGER_S):
            while left > 0:
                message = await receive()
                left -= len(message.get("body", b""))
                if not message.get("more_body", False):
                    return
