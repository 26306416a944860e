"""What every command has around it: logging, errors told in a sentence, exit statuses.

============================================  ======
the user can mend it (`OpenRealmError`)            2
Ctrl-C, or training that stopped on request      130
the reader of our output has gone (``| head``)   141
anything else                                      1
============================================  ======
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import logging
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import typer

from openrealm.cli.options import Debug, Verbose
from openrealm.errors import OpenRealmError, Stopped

INTERRUPTED = 130
USER_ERROR = 2
PIPE_CLOSED = 141
UNEXPECTED = 1


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
    """Where training stops on request, says which command goes on with it."""
    try:
        yield
    except OpenRealmError as error:
        if isinstance(error, Stopped):
            error.add_note(f"to go on: {command}")
        raise


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
        raise typer.Exit(INTERRUPTED if isinstance(error, Stopped) else USER_ERROR) from error
    except Exception as error:
        what = f"{type(error).__name__}: {_sentence(error)}".rstrip(": ")
        hint = "" if debug else " (unexpected; run the same command with --debug to see where)"
        _tell(f"openrealm: {what}{hint}", debug=debug)
        raise typer.Exit(UNEXPECTED) from error


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
