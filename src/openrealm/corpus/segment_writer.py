"""Writes one segment of a chunk store, document by document, in little memory.

Knows the files of a segment, described in `store`; nothing of the store that it will belong to.
"""

from __future__ import annotations

import hashlib
import io
import os
from array import array
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from openrealm.corpus.chunking import NUM_SPECIAL
from openrealm.corpus.manifest import FileRecord, SegmentRecord
from openrealm.corpus.segments import (
    BODY_IDS,
    CHUNK_BATCH_ROWS,
    CHUNK_COLUMNS,
    CHUNK_SCHEMA,
    CHUNKS,
    DOCUMENT_SCHEMA,
    DOCUMENTS,
    ID_INDEX,
    TITLE_IDS,
    ChunkedDocument,
    id_hash,
)

_DOCUMENT_BATCH_CHARS = 1 << 22
_DOCUMENT_BATCH_ROWS = 1 << 14


class _HashingFile(io.RawIOBase):
    """A new file that takes its checksum while it is written."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = open(path, "wb")  # noqa: SIM115 - closed by close()
        self._hash = hashlib.sha256()
        self._size = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        self._hash.update(view)
        self._file.write(view)
        self._size += len(view)
        return len(view)

    def tell(self) -> int:
        return self._size

    def finish(self) -> tuple[int, str]:
        """Waits until the bytes are on the disk; gives their number and checksum."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self.close()
        return self._size, self._hash.hexdigest()

    def close(self) -> None:
        self._file.close()
        super().close()


class SegmentWriter:
    """Writes a segment, document by document, in little memory."""

    def __init__(self, directory: Path, *, name: str, id_type: str) -> None:
        """Begins the segment ``name`` in ``directory``, which must not exist."""
        directory.mkdir(parents=True)
        self._name, self._id_type = name, id_type
        self._stored = np.dtype(id_type).newbyteorder("<")
        self._files = {
            file: _HashingFile(directory / file)
            for file in (DOCUMENTS, CHUNKS, TITLE_IDS, BODY_IDS, ID_INDEX)
        }
        self._documents = pa.ipc.new_file(self._files[DOCUMENTS], DOCUMENT_SCHEMA)
        self._chunks = pa.ipc.new_file(self._files[CHUNKS], CHUNK_SCHEMA)
        self._document_rows: list[tuple[Any, ...]] = []
        self._document_chars = 0
        self._chunk_rows: list[npt.NDArray[np.int64]] = []
        self._num_waiting = 0
        self._id_hashes = array("q")
        self.num_documents = self.num_chunks = 0
        self._title_tokens = self._body_tokens = 0

    def add(self, chunked: ChunkedDocument, digest: bytes) -> None:
        """Appends a document, which has at least one chunk."""
        document = chunked.document
        self._document_rows.append(
            (
                document.id,
                document.title,
                document.text,
                document.source,
                digest,
                self.num_chunks,
                self._title_tokens,
                len(chunked.title_ids),
            )
        )
        self._document_chars += len(document.text)
        self._chunk_rows.append(self._rows(chunked))
        self._num_waiting += len(chunked.spans)
        self._files[TITLE_IDS].write(chunked.title_ids.astype(self._stored))
        self._files[BODY_IDS].write(chunked.body_ids.astype(self._stored))
        self._id_hashes.append(id_hash(document.id))
        self.num_documents += 1
        self.num_chunks += len(chunked.spans)
        self._title_tokens += len(chunked.title_ids)
        self._body_tokens += len(chunked.body_ids)
        if (
            self._document_chars >= _DOCUMENT_BATCH_CHARS
            or len(self._document_rows) >= _DOCUMENT_BATCH_ROWS
        ):
            self._write_documents()
        while self._num_waiting >= CHUNK_BATCH_ROWS:
            self._write_chunks()

    def _rows(self, chunked: ChunkedDocument) -> npt.NDArray[np.int64]:
        """``(chunks, columns)``: what `CHUNK_COLUMNS` names."""
        counts = np.diff(chunked.body_stops, prepend=0)
        rows = np.empty((len(chunked.spans), len(CHUNK_COLUMNS)), dtype=np.int64)
        rows[:, 0] = self.num_documents
        rows[:, 1:3] = chunked.spans
        rows[:, 3:5] = _byte_spans(chunked.document.text, chunked.spans)
        rows[:, 5] = self._body_tokens + chunked.body_stops - counts
        rows[:, 6] = counts
        rows[:, 7] = counts + len(chunked.title_ids) + NUM_SPECIAL
        return rows

    def _write_documents(self) -> None:
        columns = zip(*self._document_rows, strict=True)
        arrays = [
            pa.array(column, type=field.type)
            for column, field in zip(columns, DOCUMENT_SCHEMA, strict=True)
        ]
        self._documents.write_batch(pa.record_batch(arrays, schema=DOCUMENT_SCHEMA))
        self._document_rows, self._document_chars = [], 0

    def _write_chunks(self) -> None:
        rows = np.concatenate(self._chunk_rows)
        batch, rest = rows[:CHUNK_BATCH_ROWS], rows[CHUNK_BATCH_ROWS:]
        arrays = [
            pa.array(np.ascontiguousarray(batch[:, number], dtype=kind))
            for number, kind in enumerate(CHUNK_COLUMNS.values())
        ]
        self._chunks.write_batch(pa.record_batch(arrays, schema=CHUNK_SCHEMA))
        self._chunk_rows, self._num_waiting = [rest], len(rest)

    def finish(self) -> SegmentRecord:
        """Writes the rest, syncs the files and gives the record of the segment."""
        if self._document_rows:
            self._write_documents()
        if self._num_waiting:
            self._write_chunks()
        self._documents.close()
        self._chunks.close()
        hashes = np.array(self._id_hashes, dtype="<i8")
        order = np.argsort(hashes, kind="stable").astype("<i8")
        self._files[ID_INDEX].write(hashes[order])
        self._files[ID_INDEX].write(order)
        records = []
        for file, writer in self._files.items():
            size, digest = writer.finish()
            records.append(FileRecord(f"{self._name}/{file}", size, digest))
        return SegmentRecord(
            name=self._name,
            documents=self.num_documents,
            chunks=self.num_chunks,
            token_type=self._id_type,
            files=tuple(records),
        )

    def abandon(self) -> None:
        """Closes the files without finishing them."""
        for file in self._files.values():
            with suppress(OSError):  # what is still to be written finds the disk full, too
                file.close()


def _byte_spans(text: str, spans: npt.NDArray[np.int32]) -> npt.NDArray[np.int64]:
    """Character spans as byte spans of the text's UTF-8; they are in order and do not overlap."""
    if text.isascii():
        return spans.astype(np.int64)
    borders = spans.reshape(-1).tolist()
    lengths = [
        len(text[start:stop].encode("utf-8"))
        for start, stop in zip([0, *borders], borders, strict=False)
    ]
    return np.cumsum(lengths, dtype=np.int64).reshape(-1, 2)
