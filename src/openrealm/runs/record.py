"""What a run's record says: what it is made of, what was measured after its stages, and which
learning rates a resumption has lowered; knows no torch.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openrealm.corpus.store import ChunkStore
from openrealm.errors import ConfigError, TrainingError
from openrealm.index.snapshot import generations
from openrealm.metrics import Interval
from openrealm.runs.checkpoints import checkpoints
from openrealm.runs.folders import RunFolder
from openrealm.settings import Settings, learning_rates

_REPORTS, _INTERVALS, _LOWERED = "stage_reports", "stage_intervals", "lowered_rates"
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
    states: Sequence[dict[str, Any]] = [
        {"stage": c.position.stage, "step": c.position.step, "finished": c.position.finished}
        for c in checkpoints(run.checkpoints)
        if c.directory not in damaged
    ]
    return RunInfo(
        name=run.name,
        record=record,
        checkpoints=tuple(states),
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


# Reports of stages --------------------------------------------------------------------------------

# The means stand in ``stage_reports``, as they always have; the 95% intervals, which runs of older
# versions lack, under a name of their own.


def add_report(
    record: dict[str, Any], report: Mapping[str, Any], intervals: Mapping[str, Interval]
) -> None:
    """Puts what was measured after a stage into a record, in the place of what was there of it.

    Args:
        record: The contents of ``run.json``; changed.
        report: ``stage``, ``total_step`` and means by name.
        intervals: Intervals of some or all of these means, by the same names.
    """
    stage = str(report["stage"])
    others = [other for other in record.get(_REPORTS, ()) if other["stage"] != stage]
    record[_REPORTS] = [*others, dict(report)]
    limits = {name: [interval.low, interval.high] for name, interval in intervals.items()}
    record[_INTERVALS] = {**record.get(_INTERVALS, {}), stage: limits}


def stage_intervals(record: Mapping[str, Any], stage: str) -> dict[str, Interval]:
    """The intervals that a record holds of a stage; empty where it was measured without."""
    means: dict[str, Any] = next((r for r in record[_REPORTS] if r["stage"] == stage), {})
    return {
        name: Interval(mean=means[name], low=low, high=high)
        for name, (low, high) in record.get(_INTERVALS, {}).get(stage, {}).items()
        if name in means
    }


# Lowered learning rates ---------------------------------------------------------------------------


def note_lowered(
    record: dict[str, Any],
    before: Settings | None,
    after: Settings,
    *,
    stage: str,
    step: int,
    total: int,
) -> list[dict[str, Any]]:
    """Writes into a run's record which rates hold from where training goes on.

    What was noted there or later is noted anew: the steps behind it are made again, with the
    present rates.

    Args:
        record: Of the run.
        before: The settings that it had; None where what is trained begins anew.
        after: Those that it goes on with.
        stage: Where it goes on.
        step: Steps of the stage that are done.
        total: Steps of all stages that are done.

    Returns:
        What its log has to say from there on.
    """
    known: Sequence[dict[str, Any]] = record.get(_LOWERED, ())
    behind = [note for note in known if note["total_step"] < total]
    were = learning_rates(after)
    if before is not None:
        were = learning_rates(before)
        were |= {note["setting"]: note["from"] for note in reversed(known[len(behind) :])}
    position = {"stage": stage, "step": step, "total_step": total}
    notes = [
        {"event": "rate", **position, "setting": key, "from": were[key], "to": rate}
        for key, rate in learning_rates(after).items()
        if rate != were[key]
    ]
    if known or notes:
        record[_LOWERED] = [*behind, *notes]
    return notes


def require_left(before: Settings, after: Settings, stages: Sequence[str]) -> None:
    """Checks that every rate that was lowered is of a stage that still has steps to make.

    Raises:
        ConfigError: One is not.
    """
    for key, rate in learning_rates(before).items():
        if learning_rates(after)[key] != rate and key.partition(".")[0] not in stages:
            left = ", ".join(stages) or "none"
            raise ConfigError(
                f"lowering {key} does nothing: of the run's stages are left: {left}; leave it out"
            )


@contextmanager
def lower_rates_advised(settings: Settings, stage: str) -> Iterator[None]:
    """Where training cannot go on, says with which lower rates a resumption may get past it."""
    try:
        yield
    except TrainingError as error:
        rates = {k: v for k, v in learning_rates(settings).items() if k.startswith(f"{stage}.")}
        error.lower = tuple(f"{key}={rate / 2:g}" for key, rate in rates.items() if rate)
        raise
