"""What a run is made of: its record, checkpoints, snapshots and what happened to refreshes."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openrealm.corpus.store import ChunkStore
from openrealm.index.snapshot_catalog import generations
from openrealm.runs.checkpoints import checkpoints
from openrealm.runs.folders import RunFolder

_NUM_EVENTS = 10


@dataclass(frozen=True)
class RunInfo:
    """What a run is made of.

    Attributes:
        name: Its name.
        record: What made it: start, versions, fingerprints, reports.
        checkpoints: Stage, step and whether it is the stage's end, newest first.
        generations: Numbers of its snapshots.
        fits_corpus: Whether the corpus is the one that it was trained on.
        in_training: Whether a process is training in it now.
        refreshes: The last things that happened to refreshes beside the training, oldest first.
    """

    name: str
    record: dict[str, Any]
    checkpoints: tuple[dict[str, Any], ...]
    generations: tuple[int, ...]
    fits_corpus: bool
    in_training: bool
    refreshes: tuple[dict[str, Any], ...]


def run_info(run: RunFolder, corpus: ChunkStore, *, damaged: Collection[Path] = ()) -> RunInfo:
    """What a run is made of.

    Args:
        run: The run.
        corpus: The corpus as it is now.
        damaged: Folders of checkpoints to leave out.
    """
    record = run.read_record()
    found: Sequence[dict[str, Any]] = [
        {"stage": c.position.stage, "step": c.position.step, "finished": c.position.finished}
        for c in checkpoints(run.checkpoints)
        if c.directory not in damaged
    ]
    return RunInfo(
        name=run.name,
        record=record,
        checkpoints=tuple(found),
        generations=tuple(generations(run.snapshots)),
        fits_corpus=record["corpus"] == corpus.fingerprint,
        in_training=run.is_locked(),
        refreshes=tuple(_refresh_events(run)[-_NUM_EVENTS:]),
    )


def _refresh_events(run: RunFolder) -> list[dict[str, Any]]:
    """What metrics tell of workers that died, snapshots that were not used, and the like."""
    if not run.metrics_file.is_file():
        return []
    events = []
    with open(run.metrics_file, "rb") as file:
        for line in file:
            # The last line may be one that is being written.
            if line.startswith(b'{"event": "refresh"') and line.endswith(b"\n"):
                events.append(json.loads(line))
    return events
