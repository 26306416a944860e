"""One writer at a time in a folder; the operating system ends the lock of a process that dies."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from openrealm.errors import CorpusError

LOCK = ".lock"


@contextmanager
def sole_writer(directory: Path) -> Iterator[None]:
    """Holds the folder's lock.

    The file stays behind with nothing in it: to delete it would let two processes hold locks on
    two files of the same name.

    Raises:
        CorpusError: Another process holds the lock; the message names it.
    """
    try:
        descriptor = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise CorpusError(f"{directory} may not be written to ({error.strerror})") from error
    try:
        if not _try_lock(descriptor):
            owner = os.read(descriptor, 32).decode("ascii", "replace").strip() or "unknown"
            raise CorpusError(
                f"{directory} is being changed by another process (pid {owner}); wait until it ends"
            )
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        try:
            yield
        finally:
            os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


if sys.platform == "win32":  # pragma: no cover

    def _try_lock(descriptor: int) -> bool:
        import msvcrt

        # Far behind the process id, which others must be able to read.
        os.lseek(descriptor, 1 << 20, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        finally:
            os.lseek(descriptor, 0, os.SEEK_SET)
        return True

else:

    def _try_lock(descriptor: int) -> bool:
        import fcntl

        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES):
                return False
            raise
        return True
