"""Writes a snapshot shard by shard, as `snapshot` describes it; knows only vectors.

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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from openrealm.errors import SnapshotError
from openrealm.files import checksum, held, sync_directory, sync_file, write_atomic
from openrealm.index.snapshot import (
    FORMAT,
    GROUPS,
    SHARD_ROWS,
    STAGING,
    Groups,
    Manifest,
    Snapshot,
    SnapshotKey,
    snapshot_folder,
)

_LOCK = ".lock"


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
                    write_atomic(self.staging / GROUPS, self._groups.data)
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
