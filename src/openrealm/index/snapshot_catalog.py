"""The snapshots that one folder holds: which there are, which is wanted, and which are no more."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from openrealm.errors import SnapshotError
from openrealm.index.snapshot import PARTS, STAGING, Snapshot, SnapshotKey, snapshot_folder

logger = logging.getLogger(__name__)


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
