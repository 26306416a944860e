"""The manifest of a chunk store: which files make it up, with sizes and checksums.

Knows how ``store.json`` reads and is replaced in one step; nothing of what is in the other files.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from openrealm.errors import ConfigError, CorpusError
from openrealm.files import checksum, write_atomic
from openrealm.settings import ChunkingConfig
from openrealm.settings.config import from_dict, to_dict

MANIFEST = "store.json"
FORMAT = "openrealm chunk store"
VERSION = 1
# Part of a store's fingerprint: to be raised with every change of the rules of chunking.
RULES_VERSION = 1


@dataclass(frozen=True, slots=True)
class FileRecord:
    """A file of the store: its path relative to the store, its size and its SHA-256."""

    path: str
    bytes: int
    sha256: str

    def check_size(self, directory: Path) -> None:
        """Raises CorpusError if the file is missing or of another size."""
        path = directory / self.path
        try:
            size = path.stat().st_size
        except OSError as error:
            raise CorpusError(f"the chunk store lacks its file {path}; ingest again") from error
        if size != self.bytes:
            raise CorpusError(
                f"{path} has {size} bytes where the manifest says {self.bytes}; ingest again"
            )

    def check_content(self, directory: Path) -> None:
        """Raises CorpusError if the file's bytes are not those that were written."""
        self.check_size(directory)
        if checksum(directory / self.path) != self.sha256:
            raise CorpusError(f"{directory / self.path} is damaged (wrong checksum); ingest again")


@dataclass(frozen=True, slots=True)
class SegmentRecord:
    """A segment: its folder, its counts with removed documents included, and its files.

    ``token_type`` is the type of a token id in its files, ``uint16`` or ``int32``, little-endian.
    ``removed`` is the file that lists the numbers of removed documents, where there are any.
    """

    name: str
    documents: int
    chunks: int
    token_type: str
    files: tuple[FileRecord, ...]
    num_removed: int = 0
    removed: FileRecord | None = None

    @property
    def live_documents(self) -> int:
        """The number of documents that have not been removed."""
        return self.documents - self.num_removed


@dataclass(frozen=True, slots=True)
class Manifest:
    """What makes up a store.

    Attributes:
        fingerprint: SHA-256 over tokenizer, chunking and the live documents' content in order.
        chunking: How the documents were cut.
        tokenizer: The tokenizer's fingerprint.
        tokenizer_files: Its files.
        segments: In the order of their documents.
        revision: The number of updates so far; names new files, so that no name comes twice.
        rules: `RULES_VERSION` of the code that cut the documents.
    """

    fingerprint: str
    chunking: ChunkingConfig
    tokenizer: str
    tokenizer_files: tuple[FileRecord, ...]
    segments: tuple[SegmentRecord, ...] = ()
    revision: int = 0
    rules: int = field(default=RULES_VERSION)

    def files(self) -> Iterable[FileRecord]:
        """Every file of the store but the manifest."""
        yield from self.tokenizer_files
        for segment in self.segments:
            yield from segment.files
            if segment.removed is not None:
                yield segment.removed

    def write(self, directory: Path) -> None:
        """Replaces the old manifest with this one, in one step."""
        values = {"format": FORMAT, "version": VERSION, **asdict(self)}
        values["chunking"] = to_dict(self.chunking)
        write_atomic(directory / MANIFEST, (json.dumps(values, indent=1) + "\n").encode())


def read_manifest(directory: Path) -> Manifest:
    """The manifest of the store in a folder.

    Raises:
        CorpusError: There is none, it is damaged, or of a version that this code does not read.
    """
    path = directory / MANIFEST
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CorpusError(f"there is no chunk store in {directory}; ingest to make one") from error
    except (OSError, ValueError) as error:
        raise CorpusError(f"{path} cannot be read ({error}); ingest again") from error
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise CorpusError(f"{path} is not the manifest of a chunk store")
    if values.get("version") != VERSION:
        raise CorpusError(
            f"{path} has version {values.get('version')!r} of the format; this release of openrealm"
            f" reads version {VERSION}"
        )
    try:
        return _manifest(values)
    except (KeyError, TypeError, ConfigError) as error:
        raise CorpusError(f"{path} is damaged ({error!r}); ingest again") from error


def _manifest(values: Mapping[str, Any]) -> Manifest:
    return Manifest(
        fingerprint=values["fingerprint"],
        chunking=from_dict(ChunkingConfig, values["chunking"]),
        tokenizer=values["tokenizer"],
        tokenizer_files=_records(values["tokenizer_files"]),
        segments=tuple(_segment(segment) for segment in values["segments"]),
        revision=values["revision"],
        rules=values["rules"],
    )


def _segment(values: Mapping[str, Any]) -> SegmentRecord:
    removed = values["removed"]
    return SegmentRecord(
        name=values["name"],
        documents=values["documents"],
        chunks=values["chunks"],
        token_type=values["token_type"],
        files=_records(values["files"]),
        num_removed=values["num_removed"],
        removed=None if removed is None else FileRecord(**removed),
    )


def _records(values: Iterable[Mapping[str, Any]]) -> tuple[FileRecord, ...]:
    return tuple(FileRecord(**record) for record in values)
