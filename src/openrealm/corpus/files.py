"""Which files there are to read, and their bytes and lines; knows nothing of formats.

Compressed files (.gz, .bz2, .zst) are read like plain ones. A stream that breaks off, is damaged or
is not UTF-8 raises one of `READ_ERRORS`, which `explain` puts into words.
"""

from __future__ import annotations

import bz2
import gzip
import io
import os
import stat
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple

from openrealm.corpus.records import Problem
from openrealm.errors import MissingDependencyError

COMPRESSIONS = (".gz", ".bz2", ".zst")
# One document has to fit in memory, several times over while it is cut up.
MAX_DOCUMENT_BYTES = 128 * 2**20
TOO_LONG = f"the {{what}} is longer than {MAX_DOCUMENT_BYTES >> 20} MiB; split it"
READ_ERRORS = (OSError, EOFError, zlib.error, UnicodeDecodeError)

_BUFFER_BYTES = 1 << 18
_LINES_PER_POSITION = 64
_ZSTD_STEP_BYTES = 1 << 14
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file to read.

    Attributes:
        path: Where it is.
        name: Its path relative to the source that was given; ids are made of it.
        origin: The same with the name of the source before it; a document's ``source``.
        size_bytes: Its size on disk.
    """

    path: Path
    name: str
    origin: str
    size_bytes: int

    @property
    def shown(self) -> str:
        """How the file is named in a problem."""
        return str(self.path)

    @property
    def compression(self) -> str:
        """The suffix of its compression, or an empty string."""
        suffix = self.path.suffix.lower()
        return suffix if suffix in COMPRESSIONS else ""

    @property
    def suffix(self) -> str:
        """The suffix of its format in lower case, compression apart; may be empty."""
        return Path(self.plain_name).suffix.lower()

    @property
    def plain_name(self) -> str:
        """The file's own name without the suffix of its compression."""
        return self.path.name[: -len(self.compression)] if self.compression else self.path.name

    @property
    def title(self) -> str:
        """A title for a document that has none: the file's name without its suffixes."""
        stem = self.plain_name.removesuffix(Path(self.plain_name).suffix)
        return stem.replace("_", " ").encode("utf-8", "replace").decode()


class Line(NamedTuple):
    """One line of a file.

    Attributes:
        number: From 1.
        text: Without its end, or None where `fault` says why it could not be read.
        position: The bytes read from the file on disk, about.
    """

    number: int
    text: str | None
    position: int
    fault: str = ""


def find_files(sources: Sequence[Path]) -> list[SourceFile | Problem]:
    """The files of the sources in reading order, and a problem for each that is not there.

    A folder that holds ``corpus.jsonl`` is a BEIR folder: only that file of it is taken.
    """
    files: list[SourceFile | Problem] = []
    for source in map(Path, sources):
        if source.is_dir():
            files.extend(_files_below(source))
        else:
            files.append(_source_file(source, name=source.name, origin=source.name))
    return files


def _files_below(folder: Path) -> Iterator[SourceFile | Problem]:
    problems: list[Problem] = []

    def note(error: OSError) -> None:
        problems.append(Problem(str(error.filename), None, _os_reason(error)))

    top = folder.resolve().name
    for where, folders, names in os.walk(folder, onerror=note):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        names = sorted(name for name in names if not name.startswith("."))
        corpora = [n for n in names if n in ("corpus.jsonl", *_packed("corpus.jsonl"))]
        if corpora:
            names, folders[:] = corpora[:1], []
        for name in names:
            path = Path(where, name)
            relative = path.relative_to(folder).as_posix()
            yield _source_file(path, name=relative, origin=f"{top}/{relative}")
    yield from problems


def _packed(name: str) -> list[str]:
    return [name + suffix for suffix in COMPRESSIONS]


def _source_file(path: Path, *, name: str, origin: str) -> SourceFile | Problem:
    try:
        status = path.stat()
    except OSError as error:
        return Problem(str(path), None, _os_reason(error))
    if not stat.S_ISREG(status.st_mode):
        return Problem(str(path), None, "not a regular file")
    if status.st_size == 0:
        return Problem(str(path), None, "the file is empty")
    # A name that is not UTF-8 on disk would make an id that cannot be written.
    name, origin = (part.encode("utf-8", "replace").decode() for part in (name, origin))
    return SourceFile(path, name, origin, status.st_size)


def open_stream(file: SourceFile) -> tuple[io.BufferedReader, IO[bytes]]:
    """The file's bytes without compression, and the file on disk, whose position shows progress.

    The caller closes both.

    Raises:
        MissingDependencyError: For .zst without the library that reads it.
        OSError: The file cannot be opened.
    """
    raw = open(file.path, "rb")  # noqa: SIM115 - closed by the caller
    unpacked: Any = raw
    try:
        if file.compression == ".gz":
            unpacked = gzip.GzipFile(fileobj=raw)
        elif file.compression == ".bz2":
            unpacked = bz2.BZ2File(raw)
        elif file.compression == ".zst":
            unpacked = _ZstdReader(raw)
    except BaseException:
        raw.close()
        raise
    return io.BufferedReader(unpacked, _BUFFER_BYTES), raw


def read_lines(stream: io.BufferedReader, raw: IO[bytes]) -> Iterator[Line]:
    r"""The lines of a stream as text, without their ends (``\n`` or ``\r\n``) and without a BOM.

    A line that is too long or not UTF-8 has a fault, and the lines after it follow; a stream that
    is damaged ends with a line that has a fault.
    """
    number = position = 0
    while True:
        # Asking the system for the position costs as much as reading a line.
        if number % _LINES_PER_POSITION == 0:
            position = raw.tell()
        number += 1
        try:
            data = stream.readline(MAX_DOCUMENT_BYTES + 1)
            if not data:
                return
            if len(data) > MAX_DOCUMENT_BYTES and not data.endswith(b"\n"):
                _skip_line(stream)
                yield Line(number, None, position, TOO_LONG.format(what="line"))
                continue
        except READ_ERRORS as error:
            yield Line(number, None, position, explain(error))
            return
        if number == 1 and data.startswith(_BOM):
            data = data[len(_BOM) :]
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError as error:
            yield Line(number, None, position, explain(error))
            continue
        yield Line(number, text.rstrip("\r\n"), position)


def read_whole(stream: io.BufferedReader) -> bytes | None:
    """All bytes of a stream without a BOM; None where they are more than one document may have."""
    data = stream.read(MAX_DOCUMENT_BYTES + 1)
    return None if len(data) > MAX_DOCUMENT_BYTES else data.removeprefix(_BOM)


def _skip_line(stream: io.BufferedReader) -> None:
    while (data := stream.readline(_BUFFER_BYTES)) and not data.endswith(b"\n"):
        pass


def explain(error: BaseException) -> str:
    """Says in words what one of `READ_ERRORS` means."""
    if isinstance(error, UnicodeDecodeError):
        return f"not UTF-8 (byte 0x{error.object[error.start]:02x})"
    if isinstance(error, EOFError):
        return "the compressed data breaks off in the middle"
    if isinstance(error, zlib.error | gzip.BadGzipFile) or type(error) is OSError:
        return f"the compressed data is damaged ({error})"
    return _os_reason(error)


def _os_reason(error: BaseException) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if isinstance(error, PermissionError):
        return "the file may not be read (permission denied)"
    text = getattr(error, "strerror", None) or str(error)
    return f"the file cannot be read ({text})"


class _ZstdReader(io.RawIOBase):
    """Zstandard data, one frame or several, that notices when it breaks off.

    (The library's own ``stream_reader`` takes a file cut short for a whole one.)
    """

    def __init__(self, raw: IO[bytes]) -> None:
        try:
            import zstandard
        except ImportError as error:
            raise MissingDependencyError(
                'reading .zst files needs the library zstandard: pip install "openrealm[ingest]"'
            ) from error
        self._raw = raw
        self._library = zstandard
        self._unpack = self._new_frame()
        self._inside = False  # a frame has begun and not ended
        self._ready = memoryview(b"")

    def _new_frame(self) -> Any:
        # 2 GiB is the largest window of the format; `zstd --long=31` uses it.
        return self._library.ZstdDecompressor(max_window_size=2**31).decompressobj()

    def readable(self) -> bool:
        return True

    def readinto(self, target: Any) -> int:
        while not self._ready and self._advance():
            pass
        count = min(len(target), len(self._ready))
        target[:count] = self._ready[:count]
        self._ready = self._ready[count:]
        return count

    def _advance(self) -> bool:
        """Unpacks some more; False at the end of the file."""
        data = self._raw.read(_ZSTD_STEP_BYTES)
        if not data:
            if self._inside:
                raise EOFError
            return False
        parts = []
        while data:
            try:
                parts.append(self._unpack.decompress(data))
            except self._library.ZstdError as error:
                raise zlib.error(str(error)) from error
            self._inside = not self._unpack.eof
            data = b"" if self._inside else self._unpack.unused_data
            if not self._inside:
                self._unpack = self._new_frame()
        self._ready = memoryview(b"".join(parts))
        return True
