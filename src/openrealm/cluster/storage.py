"""Whole files behind a URL, in an object store or a folder; knows neither what they hold nor who
reads them.

Object stores lack locks, renames and appends, and nothing here needs any: a file is put with all
its bytes, and who gets it has been told their checksum.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from openrealm.errors import ConfigError, MissingDependencyError, StorageError, in_one_line
from openrealm.files import checksum

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

# They have no folders to make; their drivers would make a bucket of a mistyped name.
_BUCKETS = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oci", "ocilake", "oss", "cos"}


@dataclass(frozen=True)
class Storage:
    """A folder behind a URL; holds the URL only, so that it can be sent anywhere.

    Attributes:
        url: Such as ``s3://bucket/folder``, or ``file:///mnt/shared``. Credentials are found as
            the driver of fsspec for such URLs finds them, in the environment or its own files.
    """

    url: str

    def __reduce__(self) -> tuple[type[Storage], tuple[str]]:
        return Storage, (self.url,)

    @cached_property
    def _opened(self) -> tuple[AbstractFileSystem, str]:
        try:
            import fsspec
        except ImportError as error:
            raise MissingDependencyError(
                f"storage at '{self.url}' needs fsspec; install it with: "
                "pip install 'openrealm[ray]'"
            ) from error
        try:
            filesystem, folder = fsspec.core.url_to_fs(self.url)
        except ImportError as error:  # its text names the package
            raise MissingDependencyError(
                f"storage at '{self.url}' needs a driver ({error})"
            ) from error
        except Exception as error:  # each driver has its own
            raise ConfigError(
                f"'{self.url}' is no URL of a storage ({in_one_line(error)}); give one that fsspec "
                "knows, such as s3://bucket/folder, gs://bucket/folder or file:///folder"
            ) from error
        return filesystem, folder.rstrip("/")

    def require(self) -> None:
        """Raises if this URL can never work. The storage itself is not contacted.

        Raises:
            ConfigError: The URL is none, or of an unknown kind.
            MissingDependencyError: The driver for such URLs is not installed.
        """
        _ = self._opened

    def put(self, source: Path, name: str) -> None:
        """Writes a file; one of the same name is replaced.

        Raises:
            StorageError: It cannot be written.
        """
        filesystem, folder = self._opened
        with self._failing("written", name):
            path = f"{folder}/{name}"
            if not _BUCKETS.intersection(_protocols(filesystem)):
                filesystem.makedirs(path.rpartition("/")[0], exist_ok=True)
            filesystem.put_file(str(source), path)

    def get(self, name: str, target: Path, *, sha256: str) -> None:
        """Copies a file to a path here.

        Args:
            name: Of the file.
            target: Where to; its folder is made. What is there afterwards is right, or nothing.
            sha256: Checksum that its bytes must have.

        Raises:
            StorageError: It cannot be read, or is another one.
        """
        filesystem, folder = self._opened
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with self._failing("read", name):
                # A cached listing may know nothing of what has been put by others since.
                filesystem.invalidate_cache()
                filesystem.get_file(f"{folder}/{name}", str(target))
            actual = checksum(target)
            if actual != sha256:
                raise StorageError(
                    f"'{self.url}/{name}' is not what was written there (SHA-256 {actual[:12]}, "
                    f"not {sha256[:12]}); is a second process writing to this storage?"
                )
        except BaseException:
            target.unlink(missing_ok=True)
            raise

    def holds(self, name: str) -> bool:
        """Whether there is a file of that name.

        Raises:
            StorageError: That cannot be found out.
        """
        filesystem, folder = self._opened
        with self._failing("read", name):
            filesystem.invalidate_cache()
            return bool(filesystem.exists(f"{folder}/{name}"))

    def remove(self, name: str) -> None:
        """Removes a file, or a folder with all that is in it, if there is one.

        Raises:
            StorageError: They cannot be removed.
        """
        filesystem, folder = self._opened
        with self._failing("removed", name):
            filesystem.invalidate_cache()
            if filesystem.exists(f"{folder}/{name}"):
                filesystem.rm(f"{folder}/{name}", recursive=True)

    @contextmanager
    def _failing(self, done: str, name: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # each driver has its own
            raise StorageError(
                f"'{self.url}/{name}' cannot be {done} ({in_one_line(error)}); see whether the "
                "storage can be reached from here, and with which rights"
            ) from error


def _protocols(filesystem: AbstractFileSystem) -> tuple[str, ...]:
    named = filesystem.protocol
    return (named,) if isinstance(named, str) else tuple(named)
