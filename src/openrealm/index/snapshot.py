"""Snapshots: the embeddings of a whole corpus by one state of the embedder, on disk; knows neither
text nor models, only vectors and the fingerprints that it is told.

A snapshot is a folder::

    000003/
      manifest.json         format, generation, step, shape, dtype, fingerprints, checksums
      shard-00000.npy ...   (rows, dim) arrays of float32 or float16, in row order
      groups.npy            which rows belong together, and a digest of what each group is made of

It is written under ``.staging-000003-HASH`` (of the plan), shard by shard, verified and renamed; a
folder with the final name is always whole. A writer that died is taken up at its last whole shard,
and several may write at once, in one process or in many that share the folder: each shard is
claimed with a lock that ends with its holder.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from openrealm.errors import SnapshotError
from openrealm.files import checksum, held, sync_directory, sync_file, write_atomic
from openrealm.index.groups import Groups

FORMAT = 1
SHARD_ROWS = 65_536  # of a file at most; what a crash can cost
PARTS = ("tokenizer", "corpus", "embedder")
STAGING = ".staging-"
_LOCK = ".lock"
_GROUPS = "groups.npy"


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


class SnapshotWriter:
    """Writes one snapshot shard by shard; nothing is visible before `publish`."""

    def __init__(
        self,
        directory: Path,
        *,
        generation: int,
        step: int,
        chunks: int,
        dim: int,
        key: SnapshotKey,
        dtype: str = "float32",
        shard_rows: int = SHARD_ROWS,
        groups: Groups | None = None,
    ) -> None:
        """Opens or takes up the staging folder of a generation.

        Args:
            directory: Folder that holds the snapshots.
            generation: Number of this snapshot.
            step: Training step of the weights.
            chunks: Rows that will be written.
            dim: Numbers per row.
            key: What the snapshot belongs to.
            dtype: ``float32`` or ``float16``.
            shard_rows: Rows per shard; what a crash can cost.
            groups: Of the rows, so that a later corpus can take over what it shares with this one.
        """
        self._groups = groups
        self._final = snapshot_folder(directory, generation)
        self._plan = Manifest(
            format=FORMAT,
            generation=generation,
            step=step,
            chunks=chunks,
            dim=dim,
            dtype=dtype,
            shard_rows=shard_rows,
            key=key,
            checksums=(),
            groups=groups.checksum if groups is not None else "",
        )
        # Others may plan another snapshot under the same number: each has a folder of its own.
        self._text = json.dumps(asdict(self._plan), sort_keys=True)
        plan_hash = hashlib.sha256(self._text.encode()).hexdigest()[:8]
        self.staging = directory / f"{STAGING}{generation:06d}-{plan_hash}"
        directory.mkdir(parents=True, exist_ok=True)
        self._lock = directory / _LOCK
        self._take_up()

    def _take_up(self) -> None:
        plan_file = self.staging / "plan.json"
        with held(self._lock, patience_s=math.inf):
            if self.is_published:
                return
            if not plan_file.is_file() or plan_file.read_text(encoding="utf-8") != self._text:
                shutil.rmtree(self.staging, ignore_errors=True)
                self.staging.mkdir(parents=True)
                if self._groups is not None:
                    write_atomic(self.staging / _GROUPS, self._groups.data)
                write_atomic(plan_file, self._text.encode())

    @property
    def is_published(self) -> bool:
        """Whether the snapshot that is planned is there, by whoever's hand."""
        try:
            manifest = Snapshot.open(self._final).manifest
        except SnapshotError:
            return False
        return replace(manifest, checksums=()) == self._plan

    @property
    def num_shards(self) -> int:
        """Number of shards of the whole snapshot."""
        return -(-self._plan.chunks // self._plan.shard_rows)

    def require_staging(self) -> None:
        """Checks that what was written is still there, for whoever waits for others.

        Raises:
            SnapshotError: It was removed: the snapshot is not wanted any more.
        """
        if not self.staging.is_dir() and not self.is_published:
            raise SnapshotError(
                f"snapshot {self._plan.generation} was taken away while it was made; try again"
            )

    def missing_shards(self) -> list[tuple[int, range]]:
        """Shards still to be written, with their rows."""
        if self.is_published:
            return []
        return [
            (shard, self._rows(shard))
            for shard in range(self.num_shards)
            if not self._shard(shard).is_file()
        ]

    @contextmanager
    def claimed(self, shard: int) -> Iterator[bool]:
        """Whether a shard is this writer's to write, and still has to be written."""
        with held(self._shard(shard).with_suffix(".lock")) as mine:
            yield mine and not self.is_published and not self._shard(shard).is_file()

    def write(self, shard: int, vectors: npt.NDArray[np.floating]) -> None:
        """Writes one shard ``(rows, dim)``.

        Raises:
            SnapshotError: A shape other than planned, or a number that is not finite.
        """
        # Only this shard is looked at: a billion rows have so many that looking at all of them for
        # each would take an hour.
        known = 0 <= shard < self.num_shards and not self.is_published
        rows = len(self._rows(shard)) if known and not self._shard(shard).is_file() else 0
        if not rows or vectors.shape != (rows, self._plan.dim):
            raise SnapshotError(
                f"shard {shard} of snapshot {self._plan.generation} has shape {vectors.shape}, "
                f"not ({rows}, {self._plan.dim})"
            )
        with np.errstate(over="ignore"):  # found and named below
            stored = vectors.astype(self._plan.dtype)
        if not np.isfinite(stored).all():
            raise SnapshotError(
                f"the embeddings of snapshot {self._plan.generation} are not finite in "
                f"{self._plan.dtype}; the embedder has diverged or needs float32 snapshots"
            )
        temporary = self._shard(shard).with_suffix(".tmp")
        try:
            with open(temporary, "wb") as file:
                np.save(file, stored, allow_pickle=False)
            sync_file(temporary)
            os.replace(temporary, self._shard(shard))
        finally:  # a full disk has no room for half a shard
            temporary.unlink(missing_ok=True)

    def publish(self, tick: Callable[[], None] | None = None) -> Snapshot:
        """Checks that all is there, renames the folder to its final name and opens it.

        Where several write, the first does it and the others open what it has published.

        Args:
            tick: Called when nobody else can publish any more; may raise to give up, so that one
                whose order was taken back does not replace what has been made instead.

        Raises:
            SnapshotError: A shard is missing.
        """
        with held(self._lock, patience_s=math.inf):
            if tick is not None:
                tick()
            return Snapshot.open(self._final) if self.is_published else self._publish()

    def _publish(self) -> Snapshot:
        missing = self.missing_shards()
        if missing:
            raise SnapshotError(
                f"snapshot {self._plan.generation} lacks {len(missing)} of {self.num_shards} shards"
            )
        checksums = [checksum(self._shard(shard)) for shard in range(self.num_shards)]
        manifest = asdict(self._plan) | {"checksums": checksums}
        text = json.dumps(manifest, indent=1, sort_keys=True)
        write_atomic(self.staging / "manifest.json", text.encode())
        (self.staging / "plan.json").unlink()
        for lock in self.staging.glob("*.lock"):
            lock.unlink()
        if self._final.exists():
            shutil.rmtree(self._final)
        os.replace(self.staging, self._final)
        sync_directory(self._final.parent)
        return Snapshot.open(self._final)

    def _rows(self, shard: int) -> range:
        size = self._plan.shard_rows
        return range(shard * size, min(self._plan.chunks, (shard + 1) * size))

    def _shard(self, shard: int) -> Path:
        return self.staging / f"shard-{shard:05d}.npy"


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
        path = self.directory / _GROUPS
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
