"""Snapshots: the embeddings of a whole corpus by one state of the embedder, on disk; knows neither
text nor models, only vectors and the fingerprints that it is told.

A snapshot is a folder::

    000003/
      manifest.json         format, generation, step, shape, dtype, fingerprints, checksums
      shard-00000.npy ...   (rows, dim) arrays of float32 or float16, in row order
      groups.npy            which rows belong together, and a digest of what each group is made of

`snapshot_writer` writes it; a folder with the final name is always whole.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from openrealm.errors import SnapshotError
from openrealm.files import checksum

FORMAT = 1
SHARD_ROWS = 65_536  # of a file at most; what a crash can cost
PARTS = ("tokenizer", "corpus", "embedder")
STAGING = ".staging-"
GROUPS = "groups.npy"
DIGEST_BYTES = 16
_RECORD = np.dtype([("digest", np.uint8, (DIGEST_BYTES,)), ("size", "<i4")])

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class SnapshotKey:
    """What a snapshot belongs to; any difference means that it must not be searched.

    Attributes:
        embedder: Fingerprint of the chunk tower's weights.
        corpus: Fingerprint of the chunk store.
        tokenizer: Fingerprint of the tokenizer.
    """

    embedder: str
    corpus: str
    tokenizer: str


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The contents of ``manifest.json``."""

    format: int
    generation: int
    step: int
    chunks: int
    dim: int
    dtype: str
    shard_rows: int
    key: SnapshotKey
    checksums: tuple[str, ...]
    groups: str = ""  # checksum; empty in snapshots from before there were any


def snapshot_folder(directory: Path, generation: int) -> Path:
    """Where a snapshot is, once it is published, in the folder of them."""
    return directory / f"{generation:06d}"


class Snapshot:
    """A published snapshot, read-only and memory-mapped."""

    def __init__(self, directory: Path, manifest: Manifest) -> None:
        self.directory = directory
        self.manifest = manifest

    @classmethod
    def open(cls, directory: Path) -> Snapshot:
        """A published snapshot.

        Raises:
            SnapshotError: No manifest, a damaged one, or one of another format.
        """
        try:
            raw = json.loads((directory / "manifest.json").read_text(encoding="utf-8"))
            if raw["format"] != FORMAT:
                raise SnapshotError(
                    f"{directory} is of snapshot format {raw['format']}; "
                    f"this version reads {FORMAT}"
                )
            raw["key"] = SnapshotKey(**raw["key"])
            raw["checksums"] = tuple(raw["checksums"])
            return cls(directory, Manifest(**raw))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise SnapshotError(
                f"{directory} holds no whole snapshot ({error}); embed the corpus again"
            ) from error

    def require(self, key: SnapshotKey, parts: Sequence[str] = PARTS) -> None:
        """Checks that the snapshot belongs to this embedder, corpus and tokenizer.

        Args:
            key: What is wanted.
            parts: What must agree; a stale index in training is of another embedder.

        Raises:
            SnapshotError: It does not; the message names the part that differs.
        """
        for part in parts:
            have, want = getattr(self.manifest.key, part), getattr(key, part)
            if have != want:
                raise SnapshotError(
                    f"snapshot {self.directory} was made with another {part} "
                    f"({have[:12]}, not {want[:12]}); embed the corpus again"
                )

    def verify(self, rows: range | None = None) -> None:
        """Reads every byte and compares checksums.

        Args:
            rows: Only the shards that hold these.

        Raises:
            SnapshotError: A shard is missing or damaged.
        """
        if rows is None:
            self.groups()
        for shard, expected in enumerate(self.manifest.checksums):
            if rows is not None and not self._overlap(shard, rows):
                continue
            path = self.directory / f"shard-{shard:05d}.npy"
            if not path.is_file() or checksum(path) != expected:
                raise SnapshotError(f"{path} is missing or damaged; embed the corpus again")

    def shards(self) -> Iterator[npt.NDArray[np.floating]]:
        """The shards in row order, memory-mapped.

        Raises:
            SnapshotError: A shard is missing or has another shape than the manifest says.
        """
        plan = self.manifest
        if len(plan.checksums) != -(-plan.chunks // plan.shard_rows):
            raise SnapshotError(f"{self.directory} lists too few shards; embed again")
        for shard in range(len(plan.checksums)):
            path = self.directory / f"shard-{shard:05d}.npy"
            try:
                vectors = np.load(path, mmap_mode="r", allow_pickle=False)
            except (OSError, EOFError, ValueError) as error:
                raise SnapshotError(f"{path} is damaged ({error}); embed again") from error
            rows = min(plan.shard_rows, plan.chunks - shard * plan.shard_rows)
            if vectors.shape != (rows, plan.dim) or vectors.dtype != plan.dtype:
                raise SnapshotError(
                    f"{path} holds {vectors.dtype} of shape {vectors.shape}, not {plan.dtype} of "
                    f"({rows}, {plan.dim}); embed again"
                )
            yield vectors

    def read(
        self, rows: range | None = None, *, dtype: str | None = None
    ) -> npt.NDArray[np.floating]:
        """Vectors ``(rows, dim)`` in memory.

        Args:
            rows: Which, one after another; all by default.
            dtype: What they are cast to while they are read; by default that of the files.
        """
        plan = self.manifest
        rows = range(plan.chunks) if rows is None else rows
        out = np.empty((len(rows), plan.dim), dtype=dtype or plan.dtype)
        for shard, vectors in enumerate(self.shards()):
            part = self._overlap(shard, rows)
            first = shard * plan.shard_rows
            out[part.start - rows.start : part.stop - rows.start] = vectors[
                part.start - first : part.stop - first
            ]
        return out

    def groups(self) -> Groups | None:
        """Which rows belong together; None where it was not told.

        Raises:
            SnapshotError: The file is missing or damaged.
        """
        if not self.manifest.groups:
            return None
        path = self.directory / GROUPS
        if not path.is_file() or checksum(path) != self.manifest.groups:
            raise SnapshotError(f"{path} is missing or damaged; embed the corpus again")
        return Groups.read(path.read_bytes())

    def rows(self) -> MappedRows:
        """The vectors by row number, out of the files: nothing is held in memory.

        Raises:
            SnapshotError: A shard is missing or damaged.
        """
        return MappedRows(list(self.shards()), self.manifest.shard_rows)

    def _overlap(self, shard: int, rows: range) -> range:
        """The rows of a shard that are among the given ones."""
        first = shard * self.manifest.shard_rows
        start = max(first, rows.start)
        return range(start, max(start, min(first + self.manifest.shard_rows, rows.stop)))


@dataclass(frozen=True)
class MappedRows:
    """The rows of a snapshot as float32, read from memory-mapped shards when they are asked for.

    Attributes:
        shards: ``(rows, dim)`` each.
        shard_rows: Rows of all but the last.
    """

    shards: Sequence[npt.NDArray[np.floating]]
    shard_rows: int

    def __getitem__(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        out = np.empty((len(rows), self.shards[0].shape[1]), dtype=np.float32)
        shards = rows // self.shard_rows
        for shard in np.unique(shards):
            here = shards == shard
            out[here] = self.shards[shard][rows[here] - shard * self.shard_rows]
        return out


# Which rows belong together -----------------------------------------------------------------------

# Successive rows in groups, and for each group a digest of what its rows are made of, which tells
# the rows of one corpus in another. The same digest means the same rows in the same order, whatever
# stands before and after them.


@dataclass(frozen=True, eq=False)
class Groups:
    """The rows of a corpus in groups.

    Attributes:
        digests: ``(groups, 16)`` bytes, no two alike.
        sizes: ``(groups,)`` rows of each, in the order of the rows.
    """

    digests: npt.NDArray[np.uint8]
    sizes: npt.NDArray[np.int32]

    @property
    def data(self) -> bytes:
        """All of it as the bytes of a file."""
        records = np.empty(len(self.sizes), dtype=_RECORD)
        records["digest"], records["size"] = self.digests, self.sizes
        file = io.BytesIO()
        np.save(file, records, allow_pickle=False)
        return file.getvalue()

    @cached_property
    def checksum(self) -> str:
        """SHA-256 of `data`, in hexadecimal."""
        return hashlib.sha256(self.data).hexdigest()

    @classmethod
    def read(cls, data: bytes) -> Groups:
        """Groups out of `data`.

        Raises:
            ValueError: It is something else.
        """
        records = np.load(io.BytesIO(data), allow_pickle=False)
        if records.dtype != _RECORD:
            raise ValueError("not a file of groups")
        return cls(records["digest"], records["size"])

    def rows_in(self, other: Groups) -> npt.NDArray[np.int64]:
        """``(rows,)``: the number that each row has in another corpus, -1 where it is not there."""
        indices = pc.index_in(_binary(self.digests), value_set=_binary(other.digests))
        group = np.asarray(indices.fill_null(-1)).astype(np.int64)
        known = np.append(other.sizes, -1)[group] == self.sizes
        # A row is as far from its group's first row here as there.
        shift = np.append(other._firsts, 0)[group] - self._firsts
        rows = np.arange(self.sizes.sum(dtype=np.int64)) + np.repeat(shift, self.sizes)
        return np.where(np.repeat(known, self.sizes), rows, -1)

    @property
    def _firsts(self) -> npt.NDArray[np.int64]:
        ends = np.cumsum(self.sizes, dtype=np.int64)
        return ends - self.sizes


def _binary(digests: npt.NDArray[np.uint8]) -> pa.Array:
    data = pa.py_buffer(np.ascontiguousarray(digests))
    return pa.Array.from_buffers(pa.binary(DIGEST_BYTES), len(digests), [None, data])


# The snapshots of one folder ----------------------------------------------------------------------

# Which there are, which is wanted, and which are no more.


def generations(directory: Path) -> list[int]:
    """Numbers of the published snapshots in a folder, ascending."""
    if not directory.is_dir():
        return []
    return sorted(int(p.name) for p in directory.iterdir() if p.is_dir() and p.name.isdigit())


def find_snapshot(
    directory: Path, key: SnapshotKey, *, parts: Sequence[str] = PARTS, verify: bool = False
) -> Snapshot | None:
    """The newest whole snapshot of an embedder, corpus and tokenizer; None where there is none.

    Args:
        directory: Folder of the snapshots.
        key: What it has to belong to.
        parts: What of that must agree.
        verify: Compare the checksums of all shards, beyond their presence and shapes.
    """
    for generation in reversed(generations(directory)):
        try:
            snapshot = Snapshot.open(snapshot_folder(directory, generation))
            have = snapshot.manifest.key
            if all(getattr(have, part) == getattr(key, part) for part in parts):
                if verify:
                    snapshot.verify()
                for _ in snapshot.shards():
                    pass
                return snapshot
        except (SnapshotError, OSError) as error:  # or removed since
            logger.warning("%s; doing so", error)
    return None


def remove_superseded(directory: Path, by: Snapshot, *, keep: set[int]) -> None:
    """Removes older snapshots by the same embedder, which are of other corpora, but for the newest
    of them: somebody may be reading it.

    Args:
        directory: Folder of the snapshots.
        by: The snapshot that has taken over what is still wanted of them.
        keep: Generations to keep nevertheless.
    """
    new, superseded = by.manifest, []
    for generation in generations(directory):
        with suppress(SnapshotError):
            old = Snapshot.open(snapshot_folder(directory, generation)).manifest
            if (
                generation < new.generation
                and old.key.embedder == new.key.embedder
                and old.key.corpus != new.key.corpus
            ):
                superseded.append(generation)
    for generation in superseded[:-1]:
        if generation not in keep:
            shutil.rmtree(snapshot_folder(directory, generation), ignore_errors=True)


def prune(directory: Path, *, keep: set[int], below: int | None = None) -> None:
    """Removes published snapshots other than those to keep, and what dead writers left.

    Args:
        directory: Folder of the snapshots.
        keep: Generations to keep.
        below: Generations from here on are left alone: somebody may be at them.
    """
    for generation in generations(directory):
        if generation not in keep and (below is None or generation < below):
            shutil.rmtree(snapshot_folder(directory, generation), ignore_errors=True)
    dead = max(keep, default=0) if below is None else min(max(keep, default=0), below - 1)
    for leftover in directory.glob(f"{STAGING}*"):
        if int(leftover.name.removeprefix(STAGING).partition("-")[0]) <= dead:
            shutil.rmtree(leftover, ignore_errors=True)
