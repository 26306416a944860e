"""The chunk store: documents, their chunks and the chunks' token ids, on disk, memory-mapped.

`ChunkStore` reads. Writing is in `updating`: `update_store` adds and removes documents,
`rechunk_store` cuts them anew. Memory does not grow with the corpus.
Of all files only ``store.json`` ever changes, and that in one step, so that a reader and a writer,
or a crash, never meet in the middle.

**The folder** (format version 1; all numbers little-endian)::

    store.json               the manifest
    tokenizer-HASH/          tokenizer.json and vocab.txt
    segment-REVISION-N/      the documents of one or several updates, in five files
    removed-REVISION-N.ids   the documents of one segment that were removed since
    .lock                    held by the one process that is writing; its process id
    staging/                 what an update prepares; anything here is rubbish after a crash

**store.json** names every other file with its size in bytes and its SHA-256; a file that it does
not name is not part of the store.

    format, version          "openrealm chunk store", 1
    fingerprint              SHA-256 over the tokenizer's fingerprint, the chunking settings, the
                             version of the chunking rules, and the live documents' digests in order
    chunking                 the settings of `ChunkingConfig`
    tokenizer                the tokenizer's fingerprint
    tokenizer_files          path, bytes and sha256 of each
    segments                 in the order of their documents: name, documents, chunks, token_type
                             ("uint16", or "int32" for more than 65,536 tokens), files, num_removed,
                             and the file of removed documents, or null
    revision                 the number of updates so far; it is part of new files' names, so that
                             no name is used twice
    rules                    the version of the chunking rules

**A segment** never changes. Documents and chunks are numbered from 0 in it.

    documents.arrow          Arrow IPC file, uncompressed, a row a document: ``id``, ``title``,
                             ``text``, ``source`` (strings); ``digest`` (16 bytes: BLAKE2b over id,
                             title and text in UTF-8, each behind its length as 8 bytes);
                             ``first_chunk`` (its chunks go up to the next document's);
                             ``title_start`` and ``title_tokens`` (its part of titles.ids)
    chunks.arrow             Arrow IPC file, uncompressed, a row a chunk, exactly 65,536 rows a
                             batch but for the last: ``document``; ``start`` and ``stop``, the
                             body's characters (Unicode code points) in the document's text;
                             ``byte_start`` and ``byte_stop``, the same in its UTF-8; ``body_start``
                             and ``body_tokens``, its part of bodies.ids; ``length``, the tokens of
                             [CLS] title [SEP] body [SEP]
    titles.ids, bodies.ids   token ids one after another, without special tokens
    ids.index                for look-up: for each document BLAKE2b with 8 bytes over its id, as a
                             signed number, ascending; then, in the same order, the documents'
                             numbers; all 64-bit

**removed-*.ids**: 32-bit numbers of removed documents, ascending. The store's numbers of documents
and rows of chunks go through the segments in order and leave these out.
"""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from openrealm.corpus.manifest import MANIFEST, Manifest, SegmentRecord, read_manifest
from openrealm.corpus.records import Document, Heading
from openrealm.corpus.segments import DIGEST_BYTES, Ids, Segment, id_hash
from openrealm.errors import CorpusError, InputError
from openrealm.settings import ChunkingConfig
from openrealm.settings.config import to_dict
from openrealm.tokenizer import WordPiece


@dataclass(frozen=True, slots=True)
class Chunk:
    """The unit of retrieval: characters ``start`` to ``stop`` of a document's text."""

    row: int
    document_id: str
    title: str
    text: str
    start: int
    stop: int


class LiveSegment:
    """A segment without its removed documents."""

    def __init__(self, directory: Path, record: SegmentRecord) -> None:
        """Maps the segment of ``record`` in the store at ``directory``."""
        self.segment = Segment(directory, record)
        self.record = record
        self.removed = np.empty(0, dtype=np.int32)
        self._documents: npt.NDArray[np.int64] | None = None
        self._rows: npt.NDArray[np.int64] | None = None
        if record.removed is not None:
            self.removed = np.fromfile(directory / record.removed.path, dtype="<i4")
            if (
                len(self.removed)
                and not 0 <= self.removed.min() <= self.removed.max() < record.documents
            ):
                raise CorpusError(f"{directory / record.removed.path} is damaged; ingest again")
            alive = np.ones(record.documents, dtype=np.bool_)
            alive[self.removed] = False
            self._documents = np.flatnonzero(alive)
            self._rows = np.flatnonzero(alive[self.segment.column("document")])
        self.num_documents = record.live_documents
        self.num_chunks = record.chunks if self._rows is None else len(self._rows)

    def inner_document(self, number: int) -> int:
        """The number in the segment of the n-th live document."""
        return number if self._documents is None else int(self._documents[number])

    def inner_row(self, row: int) -> int:
        """The row in the segment of the n-th live chunk."""
        return row if self._rows is None else int(self._rows[row])

    def live_document(self, inner: int) -> int | None:
        """The live number of a document of the segment, or None if it was removed."""
        if self._documents is None:
            return inner
        number = int(np.searchsorted(self._documents, inner))
        is_live = number < len(self._documents) and self._documents[number] == inner
        return number if is_live else None

    def rows_of(self, number: int) -> range:
        """The live rows of the n-th live document."""
        first, stop = self.segment.chunk_range(self.inner_document(number))
        if self._rows is not None:
            first, stop = (int(n) for n in np.searchsorted(self._rows, (first, stop)))
        return range(first, stop)

    def lengths(self) -> npt.NDArray[np.int32]:
        """``(chunks,)``: tokens of each live chunk."""
        column = self.segment.column("length")
        return column if self._rows is None else column[self._rows]

    def documents_of_chunks(self) -> npt.NDArray[np.int32]:
        """``(chunks,)``: the live document of each live chunk."""
        column = self.segment.column("document")
        if self._documents is None or self._rows is None:
            return column
        return np.searchsorted(self._documents, column[self._rows]).astype(np.int32)

    def digests(self) -> npt.NDArray[np.uint8]:
        """``(documents, 16)``: the live documents' content digests."""
        digests = self.segment.digests
        return digests if self._documents is None else digests[self._documents]


def fingerprint_of(
    tokenizer: str, chunking: ChunkingConfig, rules: int, segments: Iterable[LiveSegment]
) -> str:
    """SHA-256 of what determines a store's chunks and their order."""
    digest = hashlib.sha256()
    settings = to_dict(chunking)
    # Stores from before this setting have it not in their fingerprint.
    if not settings["whole"]:
        del settings["whole"]
    digest.update(json.dumps([tokenizer, settings, rules], sort_keys=True).encode())
    for segment in segments:
        digest.update(segment.digests().tobytes())
    return digest.hexdigest()


class ChunkStore:
    """Documents and chunks on disk, by number; the files are described at the head of this module.

    Chunks have the rows 0 to ``len(store) - 1``, those of a document in one run, the documents in
    the order in which they were added. What was read stays right while others update the store;
    open it again to see their changes.
    """

    def __init__(self, directory: Path, manifest: Manifest) -> None:
        """Maps a store; `open` checks it first."""
        self.directory = directory
        self.manifest = manifest
        self.segments = [LiveSegment(directory, record) for record in manifest.segments]
        self._document_starts = _starts(s.num_documents for s in self.segments)
        self._row_starts = _starts(s.num_chunks for s in self.segments)

    @staticmethod
    def exists(directory: Path) -> bool:
        """Whether there is a finished store in the folder."""
        return (Path(directory) / MANIFEST).exists()

    @classmethod
    def open(cls, directory: Path) -> Self:
        """The store in a folder.

        Raises:
            CorpusError: There is none, a file is missing or cut short, or its version is unknown.
        """
        directory = Path(directory)
        while True:
            manifest = read_manifest(directory)
            try:
                for record in manifest.files():
                    record.check_size(directory)
                return cls(directory, manifest)
            except (CorpusError, OSError, pa.ArrowInvalid) as error:
                # Between our two looks an update may have replaced the files: look again.
                if read_manifest(directory) != manifest:
                    continue
                if isinstance(error, CorpusError):
                    raise
                for record in manifest.files():
                    record.check_content(directory)
                raise CorpusError(f"{directory} is damaged ({error}); ingest again") from error

    def verify(self) -> None:
        """Reads every byte of the store and compares it with what was written.

        Raises:
            CorpusError: A file was changed or damaged; the message names it.
        """
        for record in self.manifest.files():
            record.check_content(self.directory)

    def __len__(self) -> int:
        return self._row_starts[-1]

    @property
    def num_documents(self) -> int:
        """The number of documents."""
        return self._document_starts[-1]

    @property
    def fingerprint(self) -> str:
        """SHA-256 over tokenizer, chunking and the documents' content in order."""
        return self.manifest.fingerprint

    @property
    def chunking(self) -> ChunkingConfig:
        """How the documents were cut."""
        return self.manifest.chunking

    @cached_property
    def tokenizer(self) -> WordPiece:
        """The tokenizer of the store's ids, saved with it.

        Raises:
            CorpusError: It is not the one that the manifest names.
        """
        folder = self.directory / Path(self.manifest.tokenizer_files[0].path).parent
        try:
            tokenizer = WordPiece.load(folder)
        except InputError as error:
            raise CorpusError(f"the store's tokenizer is damaged ({error})") from error
        if tokenizer.fingerprint != self.manifest.tokenizer:
            raise CorpusError(f"{folder} is not the tokenizer that the store was made with")
        return tokenizer

    def _find_row(self, row: int) -> tuple[LiveSegment, int]:
        if not 0 <= row < len(self):
            raise IndexError(f"row {row} of a store of {len(self)} chunks")
        number = bisect_right(self._row_starts, row) - 1
        segment = self.segments[number]
        return segment, segment.inner_row(row - self._row_starts[number])

    def _find_number(self, number: int) -> tuple[LiveSegment, int, int]:
        """The segment, the number among its live documents, and which segment it is."""
        if not 0 <= number < self.num_documents:
            raise IndexError(f"document {number} of a store of {self.num_documents}")
        which = bisect_right(self._document_starts, number) - 1
        return self.segments[which], number - self._document_starts[which], which

    def chunk(self, row: int) -> Chunk:
        """A chunk with its text; reads no more of the document than that."""
        live, inner = self._find_row(row)
        entry = live.segment.entry(inner)
        return Chunk(
            row=row,
            document_id=live.segment.document_id(entry.document),
            title=live.segment.title(entry.document),
            text=live.segment.text(entry),
            start=entry.start,
            stop=entry.stop,
        )

    def title_ids(self, row: int) -> Ids:
        """``(title_seq,)``: the tokens of the title of a chunk's document, as cut for the chunk."""
        live, inner = self._find_row(row)
        return live.segment.title_ids(live.segment.entry(inner).document)

    def body_ids(self, row: int) -> Ids:
        """``(body_seq,)``: the tokens of a chunk's body."""
        live, inner = self._find_row(row)
        return live.segment.body_ids(inner)

    @cached_property
    def lengths(self) -> npt.NDArray[np.int32]:
        """``(chunks,)``: the number of tokens of ``[CLS] title [SEP] body [SEP]``."""
        return _concatenated([segment.lengths() for segment in self.segments])

    @cached_property
    def document_of(self) -> npt.NDArray[np.int32]:
        """``(chunks,)``: the number of each chunk's document."""
        return _concatenated(
            [
                segment.documents_of_chunks() + np.int32(start)
                if start
                else segment.documents_of_chunks()
                for segment, start in zip(self.segments, self._document_starts, strict=False)
            ]
        )

    def document(self, number: int) -> Document:
        """A document."""
        live, inner, _ = self._find_number(number)
        return live.segment.document(live.inner_document(inner))

    def heading(self, number: int) -> Heading:
        """A document without its text, none of which is read."""
        live, inner, _ = self._find_number(number)
        return live.segment.heading(live.inner_document(inner))

    def documents(self) -> Iterator[Document]:
        """All documents in order."""
        return (self.document(number) for number in range(self.num_documents))

    def rows_of(self, number: int) -> range:
        """The rows of a document's chunks."""
        live, inner, which = self._find_number(number)
        rows = live.rows_of(inner)
        start = self._row_starts[which]
        return range(rows.start + start, rows.stop + start)

    def find_document(self, document_id: str) -> int | None:
        """The number of the document with this id, or None."""
        wanted = id_hash(document_id)
        for live, start in zip(self.segments, self._document_starts, strict=False):
            inner = live.segment.find(document_id, wanted)
            number = None if inner is None else live.live_document(inner)
            if number is not None:
                return start + number
        return None

    def segment_of(self, number: int) -> tuple[int, int]:
        """Which segment a document is in, and its number among the segment's live documents."""
        _, inner, which = self._find_number(number)
        return which, inner

    def digest(self, number: int) -> bytes:
        """The content digest of a document."""
        live, inner, _ = self._find_number(number)
        return live.segment.digest(live.inner_document(inner))

    def cut_digests(self) -> npt.NDArray[np.uint8]:
        """``(documents, 16)``: digests of what the documents' chunks are, tokens included.

        Documents of two stores with the same digest have the same chunks: it is the content's, and
        that of tokenizer and chunking.
        """
        cut = fingerprint_of(self.manifest.tokenizer, self.chunking, self.manifest.rules, ())
        mask = np.frombuffer(bytes.fromhex(cut)[:DIGEST_BYTES], dtype=np.uint8)
        parts = [segment.digests() for segment in self.segments]
        return np.concatenate([*parts, np.empty((0, DIGEST_BYTES), np.uint8)]) ^ mask


def _starts(counts: Iterable[int]) -> list[int]:
    starts = [0]
    for count in counts:
        starts.append(starts[-1] + count)
    return starts


def _concatenated(parts: Sequence[npt.NDArray[np.int32]]) -> npt.NDArray[np.int32]:
    if len(parts) == 1:
        return parts[0]
    joined = np.concatenate(parts) if parts else np.empty(0, dtype=np.int32)
    joined.flags.writeable = False
    return joined
