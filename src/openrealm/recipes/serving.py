"""The `serve` recipe: a workspace behind the HTTP API, until the process is asked to stop."""

from __future__ import annotations

import ipaddress
import os
import signal
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from openrealm.config import override
from openrealm.errors import ConfigError, InputError, MissingDependencyError
from openrealm.progress import Progress, Silent
from openrealm.workspace import Workspace

if TYPE_CHECKING:
    from fastapi import FastAPI

TOKEN_VARIABLE = "OPENREALM_TOKEN"
_NEEDED = ("fastapi", "uvicorn", "prometheus_client")
_MIN_TOKEN = 16
_BACKLOG = 2048


def serve(
    workspace: Path,
    *,
    host: str = "127.0.0.1",
    port: int = 8080,
    run: str | None = None,
    token: str | None = None,
    without_token: bool = False,
    assignments: Sequence[str] = (),
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
        assignments: ``key=value`` over the defaults of `ServeConfig`.
        progress: Where to tell the address.

    Raises:
        ConfigError: The address cannot be listened at, or others reach it and there is no token;
            an unknown setting.
        CorpusError: There is no corpus.
        InputError: There is no such run, or the token is too short.
        MissingDependencyError: FastAPI, uvicorn or prometheus-client is not installed.
    """
    _require_packages()
    from openrealm.recipes.backing import WorkspaceBackend
    from openrealm.server.app import create_app, guarded
    from openrealm.server.config import ServeConfig
    from openrealm.server.counters import Counters

    progress = progress or Silent()
    config = override(ServeConfig(), assignments)
    place = Workspace(Path(workspace))
    place.require_corpus()
    if run is not None:
        place.run(run)
    hosts = _hosts(host, token, without_token=without_token)
    counters = Counters()
    app = create_app(WorkspaceBackend(place, run, progress), config, counters)
    with _listening(host, port) as listener:
        name = f"[{host}]" if ":" in host else host
        address = f"http://{name}:{listener.getsockname()[1]}"
        progress.say(f"'{workspace}' is served at {address} (Ctrl-C stops)")
        guard = guarded(app, config, counters, token=token, hosts=hosts)
        _run(guard, app, listener, stop_s=config.stop_s)
    progress.say("stopped; every request that had come was answered")


def read_token(file: Path | None) -> str | None:
    """The token: a file's first line, or the environment's; None where there is neither.

    Raises:
        InputError: The file cannot be read.
    """
    if file is None:
        return os.environ.get(TOKEN_VARIABLE) or None
    try:
        return file.read_text(encoding="utf-8").strip().splitlines()[0]
    except (OSError, UnicodeDecodeError, IndexError) as error:
        raise InputError(f"no token can be read from '{file}' ({error})") from error


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
        if len(token) < _MIN_TOKEN or not token.isascii() or not token.isprintable():
            raise InputError(
                f"the token has {len(token)} characters; use {_MIN_TOKEN} or more, letters and "
                "digits, from a generator of random ones"
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
        return host == "localhost"


@contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    """A socket that listens.

    Raises:
        ConfigError: It cannot.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except (OSError, OverflowError) as error:
        raise ConfigError(
            f"cannot listen at {host}, port {port} ({error}); choose others with --host and --port"
        ) from error
    # asyncio sets this on sockets that it made itself only; without it, answers wait for the
    # client's delayed acknowledgement, 40 ms.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with listener:
        yield listener


def _run(guard: object, app: FastAPI, listener: socket.socket, *, stop_s: float) -> None:
    import uvicorn

    class Server(uvicorn.Server):
        """A server that tells the routes when it has been asked to stop."""

        def handle_exit(self, sig: int, frame: object) -> None:
            app.state.service.stopping.set()
            super().handle_exit(sig, frame)  # type: ignore[arg-type]

    config = uvicorn.Config(
        guard,  # type: ignore[arg-type]
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="on",
        timeout_graceful_shutdown=round(stop_s),
        timeout_keep_alive=30,
    )
    with _signals_are_only_requests():
        Server(config).run(sockets=[listener])


@contextmanager
def _signals_are_only_requests() -> Iterator[None]:
    """uvicorn raises the signals that stopped it once more when it has ended: they end nothing."""
    kinds = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(kind, lambda *_: None) for kind in kinds]
    try:
        yield
    finally:
        for kind, handler in zip(kinds, before, strict=True):
            signal.signal(kind, handler)
