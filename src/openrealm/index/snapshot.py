"""Snapshots: the embeddings of a whole corpus by one state of the embedder, on disk; knows neither
text nor models, only vectors and the fingerprints that it is told.

A snapshot is a folder::

    000003/
      manifest.json         format, generation, step, shape, dtype, fingerprints, checksums
      shard-00000.npy ...   (rows, dim) arrays of float32 or float16, in row order

It is written under ``.staging-000003``, shard by shard, verified and renamed; a folder with the
final name is always whole. A writer that died is taken up at its last whole shard.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from openrealm.errors import SnapshotError
from openrealm.files import checksum, sync_directory, sync_file, write_atomic

FORMAT = 1
_STAGING = ".staging-"


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
        shard_rows: int = 65_536,
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
        """
        self._final = directory / f"{generation:06d}"
        self._staging = directory / f"{_STAGING}{generation:06d}"
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
        )
        self._take_up()

    def _take_up(self) -> None:
        plan_file = self._staging / "plan.json"
        plan = json.dumps(asdict(self._plan), sort_keys=True)
        if not plan_file.is_file() or plan_file.read_text(encoding="utf-8") != plan:
            shutil.rmtree(self._staging, ignore_errors=True)
            self._staging.mkdir(parents=True)
            write_atomic(plan_file, plan.encode())

    @property
    def num_shards(self) -> int:
        """Number of shards of the whole snapshot."""
        return -(-self._plan.chunks // self._plan.shard_rows)

    def missing_shards(self) -> list[tuple[int, range]]:
        """Shards still to be written, with their rows."""
        size = self._plan.shard_rows
        return [
            (shard, range(shard * size, min(self._plan.chunks, (shard + 1) * size)))
            for shard in range(self.num_shards)
            if not self._shard(shard).is_file()
        ]

    def write(self, shard: int, vectors: npt.NDArray[np.floating]) -> None:
        """Writes one shard ``(rows, dim)``.

        Raises:
            SnapshotError: A shape other than planned, or a number that is not finite.
        """
        rows = dict(self.missing_shards()).get(shard)
        if rows is None or vectors.shape != (len(rows), self._plan.dim):
            raise SnapshotError(
                f"shard {shard} of snapshot {self._plan.generation} has shape {vectors.shape}, "
                f"not ({len(rows or ())}, {self._plan.dim})"
            )
        with np.errstate(over="ignore"):  # found and named below
            stored = vectors.astype(self._plan.dtype)
        if not np.isfinite(stored).all():
            raise SnapshotError(
                f"the embeddings of snapshot {self._plan.generation} are not finite in "
                f"{self._plan.dtype}; the embedder has diverged or needs float32 snapshots"
            )
        temporary = self._shard(shard).with_suffix(".tmp")
        with open(temporary, "wb") as file:
            np.save(file, stored, allow_pickle=False)
        sync_file(temporary)
        os.replace(temporary, self._shard(shard))

    def publish(self) -> Snapshot:
        """Checks that all is there, renames the folder to its final name and opens it.

        Raises:
            SnapshotError: A shard is missing.
        """
        missing = self.missing_shards()
        if missing:
            raise SnapshotError(
                f"snapshot {self._plan.generation} lacks {len(missing)} of {self.num_shards} shards"
            )
        checksums = [checksum(self._shard(shard)) for shard in range(self.num_shards)]
        manifest = asdict(self._plan) | {"checksums": checksums}
        text = json.dumps(manifest, indent=1, sort_keys=True)
        write_atomic(self._staging / "manifest.json", text.encode())
        (self._staging / "plan.json").unlink()
        if self._final.exists():
            shutil.rmtree(self._final)
        os.replace(self._staging, self._final)
        sync_directory(self._final.parent)
        return Snapshot.open(self._final)

    def _shard(self, shard: int) -> Path:
        return self._staging / f"shard-{shard:05d}.npy"


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

    def require(
        self, key: SnapshotKey, parts: tuple[str, ...] = ("tokenizer", "corpus", "embedder")
    ) -> None:
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

    def verify(self) -> None:
        """Reads every byte and compares checksums.

        Raises:
            SnapshotError: A shard is missing or damaged.
        """
        for shard, expected in enumerate(self.manifest.checksums):
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

    def read(self) -> npt.NDArray[np.floating]:
        """All vectors ``(chunks, dim)`` in memory, in the dtype of the files."""
        out = np.empty((self.manifest.chunks, self.manifest.dim), dtype=self.manifest.dtype)
        at = 0
        for vectors in self.shards():
            out[at : at + len(vectors)] = vectors
            at += len(vectors)
        return out


def generations(directory: Path) -> list[int]:
    """Numbers of the published snapshots in a folder, ascending."""
    if not directory.is_dir():
        return []
    return sorted(int(p.name) for p in directory.iterdir() if p.is_dir() and p.name.isdigit())


def prune(directory: Path, *, keep: set[int]) -> None:
    """Removes published snapshots other than those to keep, and what dead writers left."""
    for generation in generations(directory):
        if generation not in keep:
            shutil.rmtree(directory / f"{generation:06d}", ignore_errors=True)
    for leftover in directory.glob(f"{_STAGING}*"):
        if int(leftover.name.removeprefix(_STAGING)) <= max(keep, default=0):
            shutil.rmtree(leftover, ignore_errors=True)
