"""The write side of a chunk store: adding, replacing and removing documents, cutting anew.

Every update prepares its files in a folder aside, syncs them, moves them into place, and ends with
the replacement of the manifest, which is one step. Until then the old store is whole; what an
update that died has left is deleted by the next. Finished segments are never written to: removal
adds a list of numbers, and segments that are small or mostly removed are merged into new ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from openrealm.corpus.chunking import chunk_documents
from openrealm.corpus.manifest import RULES_VERSION, FileRecord, Manifest, SegmentRecord
from openrealm.corpus.records import (
    Document,
    IdSet,
    IngestReport,
    Problem,
    ProblemLog,
    duplicate,
)
from openrealm.corpus.segment_writer import SegmentWriter
from openrealm.corpus.segments import ChunkedDocument, content_digest, token_type
from openrealm.corpus.store import ChunkStore, LiveSegment, fingerprint_of
from openrealm.corpus.transaction import (
    STAGING,
    delete_leftovers,
    disk_errors,
    opened_for_writing,
)
from openrealm.errors import CorpusError
from openrealm.files import checksum, sync_directory, sync_file
from openrealm.progress import Progress, Silent
from openrealm.settings import ChunkingConfig
from openrealm.tokenizer import WordPiece

MAX_SEGMENTS = 16


@dataclass(slots=True)
class _Tally:
    added: int = 0
    unchanged: int = 0
    replaced: int = 0
    removed: int = 0

    def report(self, chunks: int, log: ProblemLog) -> IngestReport:
        return IngestReport(
            added=self.added,
            unchanged=self.unchanged,
            replaced=self.replaced,
            removed=self.removed,
            chunks=chunks,
            problems=log.problems,
            num_problems=log.num_problems,
        )


def update_store(
    directory: Path,
    *,
    add: Iterable[Document] = (),
    remove: Sequence[str] = (),
    tokenizer: WordPiece | None = None,
    chunking: ChunkingConfig | None = None,
    on_problem: Callable[[Problem], None] | None = None,
    progress: Progress | None = None,
) -> IngestReport:
    """Adds and removes documents of a store, which is made if there is none.

    A document whose id is in the store already replaces the old one where it differs, and then
    comes after all others; where it does not differ nothing is done. Documents that cannot be used
    (a second one with the same id, no text) are reported and skipped.

    Args:
        directory: Where the store is or shall be.
        add: Documents to add, read once.
        remove: Ids of documents to remove, before others are added.
        tokenizer: For a new store. For one that exists, None or the same.
        chunking: For a new store. For one that exists, None or the same.
        on_problem: Called for every problem; what it raises ends the update and leaves the store
            as it was. A `ProblemLog` that also went to `read_documents` makes the report whole.
        progress: Told the documents.

    Raises:
        CorpusError: Another process is writing, the store is damaged, it was made with another
            tokenizer or chunking, there would be no document in a new store, or the disk is full.
            The store is as it was before.
    """
    log = on_problem if isinstance(on_problem, ProblemLog) else ProblemLog(on_problem)
    with opened_for_writing(Path(directory)) as base:
        settings = _settings(Path(directory), base, tokenizer, chunking)
        update = _Update(Path(directory), base, settings, log)
        update.remove(remove)
        update.add(add, progress or Silent())
        return update.finish()


def rechunk_store(
    directory: Path,
    *,
    tokenizer: WordPiece | None = None,
    chunking: ChunkingConfig | None = None,
    on_problem: Callable[[Problem], None] | None = None,
    progress: Progress | None = None,
) -> IngestReport:
    """Cuts all documents of a store anew, with another tokenizer or another chunk size.

    Args:
        directory: Where the store is.
        tokenizer: The new tokenizer; None keeps the store's.
        chunking: The new chunking; None keeps the store's.
        on_problem: Called for a document in which the new tokenizer finds no text; it is lost.
        progress: Told the documents.

    Raises:
        CorpusError: As for `update_store`.
    """
    directory = Path(directory)
    log = on_problem if isinstance(on_problem, ProblemLog) else ProblemLog(on_problem)
    with opened_for_writing(directory) as base:
        if base is None:
            raise CorpusError(f"there is no chunk store in {directory}; make one by ingesting")
        settings = _Settings(tokenizer or base.tokenizer, chunking or base.chunking)
        update = _Update(directory, base, settings, log, anew=True)
        update.add(base.documents(), progress or Silent())
        return update.finish()


@dataclass(frozen=True, slots=True)
class _Settings:
    tokenizer: WordPiece
    chunking: ChunkingConfig


def _settings(
    directory: Path,
    base: ChunkStore | None,
    tokenizer: WordPiece | None,
    chunking: ChunkingConfig | None,
) -> _Settings:
    if base is None:
        if tokenizer is None:
            raise CorpusError(f"a new chunk store in {directory} needs a tokenizer")
        return _Settings(tokenizer, chunking or ChunkingConfig())
    if tokenizer is not None and tokenizer.fingerprint != base.tokenizer.fingerprint:
        raise CorpusError(f"{directory} was made with another tokenizer; cut it anew to change it")
    if base.manifest.rules != RULES_VERSION:
        raise CorpusError(
            f"{directory} was cut by the rules of another release ({base.manifest.rules}, here"
            f" {RULES_VERSION}); cut it anew before changing it"
        )
    if chunking is not None and chunking != base.chunking:
        raise CorpusError(
            f"{directory} was made with {base.chunking}, not {chunking}; cut it anew to change it"
        )
    return _Settings(base.tokenizer, base.chunking)


@dataclass(slots=True)
class _Part:
    """A segment of the new store, and the numbers of the documents that it loses."""

    live: LiveSegment
    lost: set[int] = field(default_factory=set)

    @property
    def num_left(self) -> int:
        return self.live.num_documents - len(self.lost)


class _Update:
    """One update from the first staged file to the new manifest."""

    def __init__(
        self,
        directory: Path,
        base: ChunkStore | None,
        settings: _Settings,
        log: ProblemLog,
        *,
        anew: bool = False,
    ) -> None:
        self._directory, self._staging = directory, directory / STAGING
        self._base, self._settings, self._log = base, settings, log
        self._known = None if anew else base
        self._revision = base.manifest.revision + 1 if base is not None else 1
        self._parts = (
            [_Part(live) for live in self._known.segments] if self._known is not None else []
        )
        self._writer: SegmentWriter | None = None
        self._num_segments = 0
        self._tally = _Tally()
        self._digests: dict[str, bytes] = {}
        self._gone: set[str] = set()

    def remove(self, identities: Sequence[str]) -> None:
        """Marks documents as removed."""
        for identity in identities:
            if identity in self._gone or not self._lose(identity):
                self._log(Problem(identity, None, "no document with this id is in the store"))
                continue
            self._gone.add(identity)
            self._tally.removed += 1

    def _find(self, identity: str) -> int | None:
        """The number of a document in the store, or None."""
        return None if self._known is None else self._known.find_document(identity)

    def _lose(self, identity: str) -> bool:
        number = self._find(identity)
        if number is None or self._known is None:
            return False
        which, inner = self._known.segment_of(number)
        self._parts[which].lost.add(inner)
        return True

    def add(self, documents: Iterable[Document], progress: Progress) -> None:
        """Stages the documents that are new or changed."""
        tokenizer, chunking = self._settings.tokenizer, self._settings.chunking
        num_chunks = 0
        with progress.task("ingesting", total=None, unit="documents") as task:
            try:
                for chunked in chunk_documents(self._fresh(documents), tokenizer, chunking):
                    self._stage(chunked)
                    num_chunks += len(chunked.spans)
                    task.advance(note=f"{num_chunks} chunks")
            except BaseException:
                if self._writer is not None:
                    self._writer.abandon()
                raise

    def _fresh(self, documents: Iterable[Document]) -> Iterator[Document]:
        """The documents that are new, or differ from those in the store."""
        seen = IdSet()
        for document in documents:
            if not seen.add(document.id):
                self._log(Problem(document.source, None, duplicate(document.id)))
                continue
            try:
                digest = content_digest(document)
            except UnicodeEncodeError:
                reason = f"document {document.id!r} has half of a surrogate pair"
                self._log(Problem(document.source, None, reason))
                continue
            if document.id not in self._gone and self._is_known(document.id, digest):
                self._tally.unchanged += 1
                continue
            self._digests[document.id] = digest
            yield document

    def _is_known(self, identity: str, digest: bytes) -> bool:
        number = self._find(identity)
        return (
            number is not None and self._known is not None and self._known.digest(number) == digest
        )

    def _stage(self, chunked: ChunkedDocument) -> None:
        document = chunked.document
        digest = self._digests.pop(document.id)
        if len(chunked.spans) == 0:
            reason = f"document '{document.id}' has no text that the tokenizer can read"
            self._log(Problem(document.source, None, reason))
            return
        with disk_errors(self._directory):
            if self._writer is None:
                self._writer = self._new_writer()
            self._writer.add(chunked, digest)
        if document.id not in self._gone and self._lose(document.id):
            self._tally.replaced += 1
        else:
            self._tally.added += 1

    def _new_writer(self) -> SegmentWriter:
        name = f"segment-{self._revision:06d}-{self._num_segments}"
        self._num_segments += 1
        kind = token_type(self._settings.tokenizer.vocab_size)
        return SegmentWriter(self._staging / name, name=name, id_type=kind)

    def finish(self) -> IngestReport:
        """Moves the staged files into the store and replaces its manifest."""
        changed = self._writer is not None or any(part.lost for part in self._parts)
        if not changed and self._base is not None:
            return self._tally.report(len(self._base), self._log)
        if not changed:
            raise CorpusError(
                f"no document for a new chunk store in {self._directory}"
                f" ({self._log.num_problems} problems with the input)"
            )
        with disk_errors(self._directory):
            if self._writer is not None:
                self._parts.append(_Part(LiveSegment(self._staging, self._writer.finish())))
            self._compact()
            manifest, chunks = self._commit()
        with suppress(OSError):  # the next update tries again
            delete_leftovers(self._directory, manifest)
        return self._tally.report(chunks, self._log)

    def _compact(self) -> None:
        """Merges segments that are small or mostly removed; the order of documents stays."""
        sizes = [(part.live.record.documents, part.num_left) for part in self._parts]
        parts: list[_Part] = []
        for group in plan_merges(sizes):
            members = [self._parts[number] for number in group.members]
            if not group.rewrite:
                parts.extend(members)
            elif any(member.num_left for member in members):
                parts.append(self._merged(members))
        self._parts = parts

    def _merged(self, members: Sequence[_Part]) -> _Part:
        writer = self._new_writer()
        try:
            for member in members:
                for number in range(member.live.num_documents):
                    if number not in member.lost:
                        inner = member.live.inner_document(number)
                        writer.add(*member.live.segment.chunked(inner))
            return _Part(LiveSegment(self._staging, writer.finish()))
        except BaseException:
            writer.abandon()
            raise

    def _commit(self) -> tuple[Manifest, int]:
        self._staging.mkdir(exist_ok=True)
        records = [self._record(number, part) for number, part in enumerate(self._parts)]
        tokenizer, chunking = self._settings.tokenizer, self._settings.chunking
        tokenizer_files = self._tokenizer_files()
        for path in self._new_entries(records, tokenizer_files):
            if path.is_dir():
                sync_directory(path)
            path.rename(self._directory / path.name)
        sync_directory(self._directory)
        live = [LiveSegment(self._directory, record) for record in records]
        manifest = Manifest(
            fingerprint="",
            chunking=chunking,
            tokenizer=tokenizer.fingerprint,
            tokenizer_files=tokenizer_files,
            segments=tuple(records),
            revision=self._revision,
        )
        fingerprint = fingerprint_of(tokenizer.fingerprint, chunking, manifest.rules, live)
        manifest = replace(manifest, fingerprint=fingerprint)
        manifest.write(self._directory)
        return manifest, sum(segment.num_chunks for segment in live)

    def _new_entries(
        self, records: Sequence[SegmentRecord], tokenizer_files: Sequence[FileRecord]
    ) -> list[Path]:
        """The staged files and folders that the store needs; segments merged since are left out."""
        wanted = {record.name for record in records}
        wanted |= {record.removed.path for record in records if record.removed}
        wanted |= {Path(file.path).parts[0] for file in tokenizer_files}
        return sorted(path for path in self._staging.iterdir() if path.name in wanted)

    def _record(self, number: int, part: _Part) -> SegmentRecord:
        """The segment's record with its list of removed documents brought up to date."""
        if not part.lost:
            return part.live.record
        record = part.live.record
        lost = np.array([part.live.inner_document(n) for n in part.lost], dtype=np.int32)
        removed = np.union1d(part.live.removed, lost)
        name = f"removed-{self._revision:06d}-{number}.ids"
        path = self._staging / name
        path.write_bytes(removed.astype("<i4").tobytes())
        sync_file(path)
        file = FileRecord(name, path.stat().st_size, checksum(path))
        return replace(record, num_removed=len(removed), removed=file)

    def _tokenizer_files(self) -> tuple[FileRecord, ...]:
        tokenizer = self._settings.tokenizer
        if self._base is not None and self._base.manifest.tokenizer == tokenizer.fingerprint:
            return self._base.manifest.tokenizer_files
        name = f"tokenizer-{tokenizer.fingerprint[:16]}"
        folder = self._staging / name
        tokenizer.save(folder)
        records = []
        for path in sorted(folder.iterdir()):
            sync_file(path)
            records.append(FileRecord(f"{name}/{path.name}", path.stat().st_size, checksum(path)))
        return tuple(records)


@dataclass(frozen=True, slots=True)
class MergeGroup:
    """Neighbouring segments that are written as one, or a single one that stays as it is."""

    members: tuple[int, ...]
    rewrite: bool


def plan_merges(sizes: Sequence[tuple[int, int]]) -> list[MergeGroup]:
    """Which segments to merge, given the documents and the live documents of each.

    A segment that has lost more than half of its documents is written anew. Where there are more
    than `MAX_SEGMENTS`, the last ones are merged, and those before them as long as they are not
    more than twice as large as what comes after: each document is rewritten a logarithmic
    number of times, however small the additions.
    """
    groups = [MergeGroup((n,), rewrite=2 * live < total) for n, (total, live) in enumerate(sizes)]
    alive = [group for group in groups if sizes[group.members[0]][1] > 0]
    if len(alive) <= MAX_SEGMENTS:
        return alive
    first = len(alive) - 2
    tail = sum(sizes[group.members[0]][1] for group in alive[first:])
    while first > 0 and sizes[alive[first - 1].members[0]][1] <= 2 * tail:
        first -= 1
        tail += sizes[alive[first].members[0]][1]
    merged = tuple(group.members[0] for group in alive[first:])
    return [*alive[:first], MergeGroup(merged, rewrite=True)]
