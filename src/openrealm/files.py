"""Files that are whole or not there: checksums, synced writes, renames; knows no format."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from openrealm.errors import InputError


def checksum(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync_file(path: Path) -> None:
    """Waits until a file's bytes are on the disk."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())


def sync_directory(directory: Path) -> None:
    """Waits until a folder's entries, renames included, are on the disk."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomic(path: Path, data: bytes) -> None:
    """Writes a file under a temporary name, syncs and renames it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_directory(path.parent)


@contextmanager
def held(path: Path, *, patience_s: float = 0.0) -> Iterator[bool]:
    """Whether this process alone holds a lock file; the system frees what a dead one held.

    Args:
        path: The lock file, made if there is none; where its folder has gone, nothing is held.
        patience_s: How long to wait for another holder before saying no.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except FileNotFoundError:
        yield False
        return
    try:
        yield _locked(descriptor, until=time.monotonic() + patience_s)
    finally:
        os.close(descriptor)


def _locked(descriptor: int, *, until: float) -> bool:
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() >= until:
                return False
        time.sleep(0.02)


def is_held(path: Path) -> bool:
    """Whether a process holds a lock file; where there is none, nobody does.

    Those who look do not stand in each other's way, nor is anything written.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)


@contextmanager
def staged_directory(final: Path) -> Iterator[Path]:
    """An empty folder to write into, which gets its final name when all is written and synced.

    What is raised inside leaves nothing behind. The final folder must not exist, or be empty.
    """
    final.parent.mkdir(parents=True, exist_ok=True)
    staging = final.with_name(f".{final.name}.{os.getpid()}.tmp")
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir()
    try:
        yield staging
        for path in sorted(staging.rglob("*")):
            sync_directory(path) if path.is_dir() else sync_file(path)
        sync_directory(staging)
        os.replace(staging, final)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    sync_directory(final.parent)


def require_files(paths: Sequence[Path]) -> None:
    """Checks that every path is there.

    Raises:
        InputError: One is not.
    """
    for path in paths:
        if not path.exists():
            raise InputError(f"there is no file or folder '{path}'")
