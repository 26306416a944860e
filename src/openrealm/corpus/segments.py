"""One segment of a chunk store, memory-mapped: documents, chunks and token ids by number.

Knows the files of a segment; nothing of the other segments, of removal or of tokenizers. What the
files hold is described in `store`; `segment_writer` writes them.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from openrealm.corpus.manifest import SegmentRecord
from openrealm.corpus.records import Document, Heading

DOCUMENTS, CHUNKS = "documents.arrow", "chunks.arrow"
TITLE_IDS, BODY_IDS = "titles.ids", "bodies.ids"
ID_INDEX = "ids.index"
CHUNK_BATCH_ROWS = 1 << 16
DIGEST_BYTES = 16

DOCUMENT_SCHEMA = pa.schema(
    [
        pa.field("id", pa.utf8(), nullable=False),
        pa.field("title", pa.utf8(), nullable=False),
        pa.field("text", pa.utf8(), nullable=False),
        pa.field("source", pa.utf8(), nullable=False),
        pa.field("digest", pa.binary(DIGEST_BYTES), nullable=False),
        pa.field("first_chunk", pa.int64(), nullable=False),
        pa.field("title_start", pa.int64(), nullable=False),
        pa.field("title_tokens", pa.int32(), nullable=False),
    ]
)
CHUNK_COLUMNS = {
    "document": np.int32,
    "start": np.int32,
    "stop": np.int32,
    "byte_start": np.int32,
    "byte_stop": np.int32,
    "body_start": np.int64,
    "body_tokens": np.int32,
    "length": np.int32,
}
CHUNK_SCHEMA = pa.schema(
    [pa.field(name, pa.from_numpy_dtype(t), nullable=False) for name, t in CHUNK_COLUMNS.items()]
)

Ids = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class ChunkedDocument:
    """A document and its chunks; none, where the tokenizer finds nothing in the text.

    Attributes:
        document: The document.
        title_ids: ``(title_seq,)``, cut to the title's share.
        spans: ``(chunks, 2)``: the characters of each body in the document's text.
        body_ids: ``(tokens,)``: the bodies' ids one after another.
        body_stops: ``(chunks,)``: where each body ends in ``body_ids``.
    """

    document: Document
    title_ids: npt.NDArray[np.int32]
    spans: npt.NDArray[np.int32]
    body_ids: npt.NDArray[np.int32]
    body_stops: npt.NDArray[np.int64]


def content_digest(document: Document) -> bytes:
    """A hash of a document's id, title and text; it changes whenever the document does."""
    digest = hashlib.blake2b(digest_size=DIGEST_BYTES)
    for part in (document.id, document.title, document.text):
        data = part.encode("utf-8")
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.digest()


def id_hash(identity: str) -> int:
    """The number by which an id is looked up: 64 bits, signed."""
    digest = hashlib.blake2b(identity.encode("utf-8"), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)


def token_type(vocab_size: int) -> str:
    """The type in which a vocabulary's ids are stored."""
    return "uint16" if vocab_size <= 1 << 16 else "int32"


@dataclass(frozen=True, slots=True)
class ChunkEntry:
    """A row of the chunk table: document, spans in characters and bytes, span of its ids."""

    document: int
    start: int
    stop: int
    byte_start: int
    byte_stop: int
    body_start: int
    body_tokens: int
    length: int


class Segment:
    """A finished segment, memory-mapped; documents and chunks by their numbers in it."""

    def __init__(self, directory: Path, record: SegmentRecord) -> None:
        """Maps the files of ``record`` in the store at ``directory``."""
        self.record = record
        folder = directory / record.name
        self._documents = pa.ipc.open_file(pa.memory_map(str(folder / DOCUMENTS)))
        self._chunks = pa.ipc.open_file(pa.memory_map(str(folder / CHUNKS)))
        self._titles = _map_ids(folder / TITLE_IDS, record.token_type)
        self._bodies = _map_ids(folder / BODY_IDS, record.token_type)
        # The ids' hashes in ascending order, and the documents that they belong to.
        self._id_hashes, self._id_numbers = _map_ids(folder / ID_INDEX, "int64").reshape(2, -1)
        batches = [self._documents.get_batch(n) for n in range(self._documents.num_record_batches)]
        self._batches = [_DocumentBatch(batch) for batch in batches]
        self._starts = np.cumsum([0, *(len(b) for b in batches)])[:-1].tolist()
        self._tables: list[tuple[npt.NDArray[Any], ...] | None]
        self._tables = [None] * self._chunks.num_record_batches

    def _batch_of(self, number: int) -> tuple[_DocumentBatch, int]:
        batch = bisect_right(self._starts, number) - 1
        return self._batches[batch], number - self._starts[batch]

    def _table(self, batch: int) -> tuple[npt.NDArray[Any], ...]:
        table = self._tables[batch]
        if table is None:
            table = tuple(c.to_numpy() for c in self._chunks.get_batch(batch).columns)
            self._tables[batch] = table
        return table

    def entry(self, row: int) -> ChunkEntry:
        """What the chunk table says about a chunk."""
        table = self._table(row // CHUNK_BATCH_ROWS)
        return ChunkEntry(*(int(column[row % CHUNK_BATCH_ROWS]) for column in table))

    def column(self, name: str) -> npt.NDArray[Any]:
        """``(chunks,)``: a column of the chunk table; without a copy where it is in one piece."""
        number = list(CHUNK_COLUMNS).index(name)
        parts = [self._table(batch)[number] for batch in range(len(self._tables))]
        if len(parts) == 1:
            return parts[0]
        return np.concatenate(parts) if parts else np.empty(0, CHUNK_COLUMNS[name])

    def document(self, number: int) -> Document:
        """A document."""
        batch, row = self._batch_of(number)
        return Document(
            id=batch.ids[row],
            title=batch.titles[row],
            text=batch.texts[row],
            source=batch.sources[row],
        )

    def heading(self, number: int) -> Heading:
        """A document without its text."""
        batch, row = self._batch_of(number)
        return Heading(id=batch.ids[row], title=batch.titles[row], source=batch.sources[row])

    def title(self, number: int) -> str:
        """A document's title."""
        batch, row = self._batch_of(number)
        return batch.titles[row]

    def document_id(self, number: int) -> str:
        """A document's id."""
        batch, row = self._batch_of(number)
        return batch.ids[row]

    def text(self, entry: ChunkEntry) -> str:
        """The body of a chunk; only its own bytes are read."""
        batch, row = self._batch_of(entry.document)
        return batch.texts.part(row, entry.byte_start, entry.byte_stop)

    def title_ids(self, number: int) -> Ids:
        """``(title_seq,)``: a document's title tokens."""
        batch, row = self._batch_of(number)
        start = int(batch.title_start[row])
        return _as_int32(self._titles[start : start + int(batch.title_tokens[row])])

    def body_ids(self, row: int) -> Ids:
        """``(body_seq,)``: a chunk's body tokens."""
        table = self._table(row // CHUNK_BATCH_ROWS)
        start = int(table[5][row % CHUNK_BATCH_ROWS])
        return _as_int32(self._bodies[start : start + int(table[6][row % CHUNK_BATCH_ROWS])])

    def chunk_range(self, number: int) -> tuple[int, int]:
        """The first chunk of a document and the one after its last."""
        batch, row = self._batch_of(number)
        first = int(batch.first_chunk[row])
        if number + 1 == self.record.documents:
            return first, self.record.chunks
        batch, row = self._batch_of(number + 1)
        return first, int(batch.first_chunk[row])

    def digest(self, number: int) -> bytes:
        """A document's content digest."""
        batch, row = self._batch_of(number)
        return bytes(batch.digests[row])

    @cached_property
    def digests(self) -> npt.NDArray[np.uint8]:
        """``(documents, 16)``: the documents' content digests."""
        parts = [batch.digests for batch in self._batches]
        return np.concatenate(parts) if parts else np.empty((0, DIGEST_BYTES), np.uint8)

    def find(self, identity: str, wanted: int) -> int | None:
        """The number of the document with this id, whose `id_hash` is ``wanted``."""
        first = int(np.searchsorted(self._id_hashes, wanted))
        for position in range(first, len(self._id_hashes)):
            if int(self._id_hashes[position]) != wanted:
                break
            number = int(self._id_numbers[position])
            if self.document_id(number) == identity:
                return number
        return None

    def chunked(self, number: int) -> tuple[ChunkedDocument, bytes]:
        """A document as it was written, and its digest."""
        first, last = self.chunk_range(number)
        entries = [self.entry(row) for row in range(first, last)]
        bodies = [self.body_ids(row) for row in range(first, last)]
        chunked = ChunkedDocument(
            document=self.document(number),
            title_ids=self.title_ids(number),
            spans=np.array(
                [(entry.start, entry.stop) for entry in entries], dtype=np.int32
            ).reshape(-1, 2),
            body_ids=np.concatenate(bodies),
            body_stops=np.cumsum([entry.body_tokens for entry in entries], dtype=np.int64),
        )
        return chunked, self.digest(number)


class _Strings:
    """A column of strings, read by its buffers.

    (Arrow's own look-up takes several times as long, and damaged offsets make it read anywhere.)
    """

    def __init__(self, column: pa.StringArray) -> None:
        _, offsets, data = column.buffers()
        self._offsets = np.frombuffer(offsets, dtype=np.int32)
        self._data = memoryview(data) if data is not None else memoryview(b"")

    def __getitem__(self, row: int) -> str:
        start, stop = self._offsets[row], self._offsets[row + 1]
        return str(self._data[start:stop], "utf-8")

    def part(self, row: int, byte_start: int, byte_stop: int) -> str:
        begin = self._offsets[row]
        return str(self._data[begin + byte_start : begin + byte_stop], "utf-8")


class _DocumentBatch:
    """Columns of a record batch of documents."""

    def __init__(self, batch: pa.RecordBatch) -> None:
        self._batch = batch
        self.ids = _Strings(batch.column("id"))
        self.titles = _Strings(batch.column("title"))
        self.texts = _Strings(batch.column("text"))
        self.sources = _Strings(batch.column("source"))

    @cached_property
    def first_chunk(self) -> npt.NDArray[np.int64]:
        return np.asarray(self._batch.column("first_chunk"))

    @cached_property
    def title_start(self) -> npt.NDArray[np.int64]:
        return np.asarray(self._batch.column("title_start"))

    @cached_property
    def title_tokens(self) -> npt.NDArray[np.int32]:
        return np.asarray(self._batch.column("title_tokens"))

    @cached_property
    def digests(self) -> npt.NDArray[np.uint8]:
        column = self._batch.column("digest")
        return np.frombuffer(column.buffers()[1], dtype=np.uint8)[
            : len(column) * DIGEST_BYTES
        ].reshape(-1, DIGEST_BYTES)


def _map_ids(path: Path, kind: str) -> npt.NDArray[Any]:
    stored = np.dtype(kind).newbyteorder("<")
    if path.stat().st_size == 0:
        return np.empty(0, dtype=stored)
    return np.asarray(np.memmap(path, dtype=stored, mode="r"))


def _as_int32(ids: npt.NDArray[Any]) -> Ids:
    return ids.astype(np.int32, copy=False)
