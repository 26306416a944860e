"""The `serve` recipe: a workspace behind the HTTP API, until the process is asked to stop."""

from __future__ import annotations

import asyncio
import ipaddress
import math
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from openrealm.errors import ConfigError, InputError, MissingDependencyError
from openrealm.progress import Progress, Silent
from openrealm.runs.folders import WorkspaceFolder
from openrealm.settings import ServeConfig

if TYPE_CHECKING:
    import uvicorn
    from fastapi import FastAPI

TOKEN_VARIABLE = "OPENREALM_TOKEN"
_NEEDED = ("fastapi", "uvicorn", "prometheus_client")
_MIN_TOKEN = 16
_BACKLOG = 2048
_MAX_PORT = 65_535
# Rounds of the event loop in which it accepts and reads all that has arrived; four are needed.
_ROUNDS = 10


def serve(
    workspace: str | Path,
    *,
    host: str = "127.0.0.1",
    port: int = 8080,
    run: str | None = None,
    token: str | None = None,
    without_token: bool = False,
    limits: ServeConfig | None = None,
    progress: Progress | None = None,
) -> None:
    """Serves a workspace until Ctrl-C or SIGTERM; what is being answered then is answered.

    Args:
        workspace: Its folder.
        host: Address to listen at.
        port: Port to listen at; 0 for any that is free.
        run: The run that answers by default; the newest that is not in training, where None.
        token: What clients have to send as ``Authorization: Bearer``.
        without_token: Let everybody in who reaches an address that is not this machine's own.
        limits: What it takes on, and for how long; the defaults of `ServeConfig` otherwise.
        progress: Where to tell the address.

    Raises:
        ConfigError: The address cannot be listened at, or others reach it and there is no token;
            an unknown setting.
        CorpusError: There is no corpus.
        InputError: There is no such run, or the token is too short.
        MissingDependencyError: FastAPI, uvicorn or prometheus-client is not installed.
    """
    _require_packages()
    from openrealm.server.app import create_app, guarded
    from openrealm.server.counters import Counters
    from openrealm.server.workspace_backend import WorkspaceBackend

    progress = progress or Silent()
    config = limits or ServeConfig()
    home = WorkspaceFolder(Path(workspace))
    home.require_corpus()
    if run is not None:
        home.run(run)
    hosts = _hosts(host, token, without_token=without_token)
    counters = Counters()
    app = create_app(WorkspaceBackend(home, run, progress), config, counters)
    guard = guarded(app, config, counters, token=token, hosts=hosts)
    server = _server(guard, app, stop_s=config.stop_s)
    with _listening(host, port) as listener, _signals_are_only_requests(server.handle_exit):
        name = f"[{host}]" if ":" in host else host
        address = f"http://{name}:{listener.getsockname()[1]}"
        progress.say(f"'{workspace}' is served at {address} (Ctrl-C stops)")
        server.run(sockets=[listener])
    progress.say("stopped")


def read_token(file: Path | None) -> str | None:
    """The token: a file's first line, or the environment's; None where there is neither.

    Raises:
        InputError: The file cannot be read, or is empty.
    """
    if file is None:
        return os.environ.get(TOKEN_VARIABLE, "").strip() or None
    try:
        first, *_ = file.read_text(encoding="utf-8").strip().splitlines() or [""]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"no token can be read from '{file}' ({error})") from error
    if not first:
        raise InputError(f"'{file}' is empty; write a token into it, {_MIN_TOKEN} letters or more")
    return first.strip()


def _require_packages() -> None:
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise MissingDependencyError(
            f"serving needs {', '.join(missing)}, which is not installed: "
            "pip install 'openrealm[serve]'"
        )


def _hosts(host: str, token: str | None, *, without_token: bool) -> tuple[str, ...] | None:
    """Names to answer to; None for all, where a token or the user's word protects.

    Raises:
        ConfigError: Other machines reach the address, and nothing protects it.
        InputError: The token is too short, or cannot be sent in a header.
    """
    if token is not None:
        if len(token) < _MIN_TOKEN:
            raise InputError(
                f"the token has {len(token)} characters; use {_MIN_TOKEN} or more, letters and "
                "digits, from a generator of random ones"
            )
        if not (token.isascii() and token.isprintable() and " " not in token):
            raise InputError(
                "the token has characters that a header cannot carry; use letters and digits"
            )
        return None
    if without_token:
        return None
    if not _is_loopback(host):
        raise ConfigError(
            f"other machines can reach {host}; give a token (--token-file FILE, or "
            f"{TOKEN_VARIABLE}), or say --without-token"
        )
    # Another site's page may have its own name point here: it must not be answered.
    return ("localhost", "127.0.0.1", "::1", host.lower())


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


@contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    """A socket that listens.

    Raises:
        ConfigError: It cannot.
    """
    if not 0 <= port <= _MAX_PORT:
        raise ConfigError(f"cannot listen at port {port}; choose one from 0 to {_MAX_PORT}")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except (OSError, UnicodeError) as error:
        raise ConfigError(
            f"cannot listen at {host}, port {port} ({error}); choose others with --host and --port"
        ) from error
    # asyncio sets this on sockets that it made itself only; without it, answers wait for the
    # client's delayed acknowledgement, 40 ms.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with listener:
        yield listener


def _server(guard: object, app: FastAPI, *, stop_s: float) -> uvicorn.Server:
    import uvicorn

    class Server(uvicorn.Server):
        """A server that tells the routes when it has been asked to stop."""

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            app.state.service.stopping.set()
            # A request may lie with the operating system, sent before we were asked to stop: what
            # has arrived is read first, so that it is answered and not hung up on.
            for _ in range(_ROUNDS):
                await asyncio.sleep(0)
            await super().shutdown(sockets)

    config = uvicorn.Config(
        guard,  # type: ignore[arg-type]
        log_config=None,
        access_log=False,
        server_header=False,
        http="h11",  # the other one takes a head of any size
        ws="none",
        lifespan="on",
        timeout_graceful_shutdown=math.ceil(stop_s),
        timeout_keep_alive=30,
    )
    return Server(config)


@contextmanager
def _signals_are_only_requests(stop: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Signals are heard from here on, before uvicorn itself hears them.

    And when it has ended: it raises those that have stopped it once more, which then end nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    kinds = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(kind, stop) for kind in kinds]
    try:
        yield
    finally:
        for kind, handler in zip(kinds, before, strict=True):
            signal.signal(kind, handler)
