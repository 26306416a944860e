"""What every command has around it: logging, errors told in a sentence, exit statuses.

============================================  ======
the user can mend it (`OpenRealmError`)            2
SIGTERM in training, after all was saved           0
Ctrl-C, also where training stopped for it       130
the reader of our output has gone (``| head``)   141
anything else                                      1
============================================  ======
"""

from __future__ import annotations

import contextlib
import errno
import functools
import inspect
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import typer

from openrealm.cli.options import Debug, Verbose
from openrealm.errors import OpenRealmError, Stopped, TrainingError, shell_command

INTERRUPTED = 130
USER_ERROR = 2
PIPE_CLOSED = 141
UNEXPECTED = 1
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


def guarded(function: Callable[..., None]) -> Callable[..., None]:
    """The command with ``--verbose`` and ``--debug``, its errors told and turned into statuses."""
    signature = inspect.signature(function, eval_str=True)

    @functools.wraps(function)
    def run(*, verbose: bool, debug: bool, **arguments: Any) -> None:
        with _errors_told(debug=debug), _log_lines(verbose=verbose, debug=debug):
            function(**arguments)
            sys.stdout.flush()  # a closed pipe shows here, not when Python ends

    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=kind)
        for name, kind in (("verbose", Verbose), ("debug", Debug))
    ]
    parameters = [*signature.parameters.values(), *added]
    # Both are what typer reads options from.
    run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in parameters}
    return run


@contextlib.contextmanager
def going_on(command: str) -> Iterator[None]:
    """Where training stops, says which command goes on with it.

    SIGTERM between two stages, where everything is saved, counts as such a request.
    """
    try:
        with _sigterm_stops():
            yield
    except OpenRealmError as error:
        if isinstance(error, Stopped):
            error.add_note(f"to go on: {command}")
        if isinstance(error, TrainingError) and error.lower:
            rates = shell_command(*(word for rate in error.lower for word in ("--set", rate)))
            error.add_note(f"to go on with lower rates: {command} {rates}")
        raise


@contextlib.contextmanager
def _sigterm_stops() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(kind: int, frame: object) -> None:
        raise Stopped(
            "stopped outside of a step; what was done is saved, and resuming goes on from there",
            by_system=True,
        )

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _errors_told(*, debug: bool) -> Iterator[None]:
    try:
        yield
    except (typer.Exit, typer.Abort):
        raise
    except BrokenPipeError as error:
        _drop_output()
        raise typer.Exit(PIPE_CLOSED) from error
    except KeyboardInterrupt as error:
        _tell("interrupted", debug=debug)
        raise typer.Exit(INTERRUPTED) from error
    except OpenRealmError as error:
        notes: list[str] = getattr(error, "__notes__", [])
        _tell("\n".join([f"openrealm: {_sentence(error)}", *notes]), debug=debug)
        raise typer.Exit(_status(error)) from error
    except OSError as error:
        if error.errno not in _NO_ROOM:
            _unexpected(error, debug=debug)
        where = f" ({error.filename})" if error.filename else ""
        _tell(f"openrealm: the disk is full{where}; free some space and go on", debug=debug)
        raise typer.Exit(USER_ERROR) from error
    except Exception as error:
        _unexpected(error, debug=debug)


def _unexpected(error: Exception, *, debug: bool) -> NoReturn:
    what = f"{type(error).__name__}: {_sentence(error)}".rstrip(": ")
    hint = "" if debug else " (unexpected; run the same command with --debug to see where)"
    _tell(f"openrealm: {what}{hint}", debug=debug)
    raise typer.Exit(UNEXPECTED) from error


def _status(error: OpenRealmError) -> int:
    if isinstance(error, Stopped):
        return 0 if error.by_system else INTERRUPTED
    return USER_ERROR


def _sentence(error: BaseException) -> str:
    return " ".join(str(error).split())


def _tell(text: str, *, debug: bool) -> None:
    if debug:
        traceback.print_exc()
    sys.stderr.write(f"{text}\n")


def _drop_output() -> None:
    """Sends what is still buffered nowhere; Python would complain about it at its end."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


class _StandardError(logging.Handler):
    """Writes to whatever ``sys.stderr`` is at the time, so that lines go above progress bars."""

    def emit(self, record: logging.LogRecord) -> None:
        sys.stderr.write(self.format(record) + "\n")


@contextlib.contextmanager
def _log_lines(*, verbose: bool, debug: bool) -> Iterator[None]:
    """Log lines of the package on standard error while a command runs, if they are wanted."""
    logger = logging.getLogger("openrealm")
    before = logger.level
    handler = _StandardError()
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    level = logging.DEBUG if debug else logging.INFO if verbose else logging.WARNING
    logger.setLevel(level)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)
