"""A folder while a chunk store in it is changed: one writer at a time, leftovers, a full disk.

Knows which names in a store's folder are the store's; nothing of what the files hold.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from openrealm.corpus.manifest import MANIFEST, Manifest
from openrealm.corpus.store import ChunkStore
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


STAGING = "staging"
_OURS = re.compile(
    r"staging|segment-\d+-\d+|removed-\d+-\d+\.ids|tokenizer-[0-9a-f]+|\.store\.json\..*\.tmp"
)


@contextmanager
def opened_for_writing(directory: Path) -> Iterator[ChunkStore | None]:
    """Opens the store for one writer; gives None if there is no store yet.

    A folder made for a store that does not come to be is removed again.
    """
    is_new = not directory.exists()
    with disk_errors(directory):
        directory.mkdir(parents=True, exist_ok=True)
        _refuse_other_folders(directory)
    try:
        with sole_writer(directory):
            base = ChunkStore.open(directory) if ChunkStore.exists(directory) else None
            with disk_errors(directory):
                delete_leftovers(directory, base.manifest if base is not None else None)
            try:
                yield base
            finally:
                shutil.rmtree(directory / STAGING, ignore_errors=True)
    finally:
        if is_new and not (directory / MANIFEST).exists():
            (directory / LOCK).unlink(missing_ok=True)
            with suppress(OSError):
                directory.rmdir()


@contextmanager
def disk_errors(directory: Path) -> Iterator[None]:
    """Turns the system's errors while writing, such as a full disk, into a CorpusError."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise CorpusError(
            f"the chunk store {directory} could not be written ({reason}); it is as it was before"
        ) from error


def _refuse_other_folders(directory: Path) -> None:
    if (directory / MANIFEST).exists():
        return
    names = [path.name for path in directory.iterdir() if path.name != LOCK]
    strange = [name for name in names if not _OURS.fullmatch(name)]
    if strange:
        raise CorpusError(
            f"{directory} is not empty and no chunk store (it has '{min(strange)}'); name another"
        )


def delete_leftovers(directory: Path, manifest: Manifest | None) -> None:
    """Deletes the leftovers of updates that died, and files that the manifest no longer names."""
    files = manifest.files() if manifest is not None else ()
    named = {Path(record.path).parts[0] for record in files}
    for path in directory.iterdir():
        if path.name in named or not _OURS.fullmatch(path.name):
            continue
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
