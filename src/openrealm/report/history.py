"""What a run has logged, sorted by kind, and its figures by training step.

Knows the names of the figures; nothing of drawing, and nothing of the models or the corpus.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from openrealm.runs.folders import RunFolder

logger = logging.getLogger(__name__)

Record = dict[str, Any]
Points = tuple[list[float], list[float]]


@dataclass(frozen=True)
class History:
    """What a run has logged, sorted by kind.

    Attributes:
        steps: Lines of training metrics.
        probes: Answers of the probe.
        swaps: Changes of the live index.
        reports: Measurements after each stage, those without a step left out.
        indexes: Stages that began with an index of their present weights.
    """

    steps: list[Record]
    probes: list[Record]
    swaps: list[Record]
    reports: list[Record]
    indexes: list[Record] = field(default_factory=list)

    def stages(self) -> list[tuple[str, float, float]]:
        """Name, first and last total step of each stage, in order."""
        spans: dict[str, tuple[float, float]] = {}
        for record in self.steps:
            name, step = str(record["stage"]), float(record["total_step"])
            first = spans[name][0] if name in spans else step - float(record["step"])
            spans[name] = (first, step)
        return [(name, first, last) for name, (first, last) in spans.items()]


def read_history(run: RunFolder) -> History:
    """A run's metrics and stage reports; lines that are no JSON are left out with a warning.

    Raises:
        CheckpointError: The run's record is missing or damaged.
    """
    records = list(_records(run.metrics_file)) if run.metrics_file.is_file() else []
    reports = [r for r in run.read_record().get("stage_reports", ()) if "total_step" in r]
    return History(
        steps=[r for r in records if "event" not in r],
        probes=[r for r in records if r.get("event") == "probe"],
        swaps=[r for r in records if r.get("event") == "swap"],
        reports=reports,
        indexes=[r for r in records if r.get("event") == "index"],
    )


def staleness_points(history: History) -> Points:
    """Staleness over total steps: it rises by one a step and falls at each new index.

    It is logged every few steps only; between two lines that speak of different indexes, the
    change is where a swap was logged, or else where the newer index was made (a stage's beginning).
    """
    x: list[float] = []
    y: list[float] = []
    made_before = 0.0
    for record in history.steps:
        if "index/staleness" not in record:
            continue
        step = float(record["total_step"])
        made = step - float(record["index/staleness"])
        if x and made != made_before:
            between = [s for r in history.swaps if x[-1] <= (s := float(r["total_step"])) < step]
            changed = max(between, default=max(made, x[-1]))
            x += [changed, changed]
            y += [changed - made_before, changed - made]
        x.append(step)
        y.append(step - made)
        made_before = made
    return x, y


def probe_points(history: History, name: str) -> Points:
    """The probe's answers during training and after each stage, by step."""
    records = [*history.probes, *history.reports]
    return points_of(sorted(records, key=lambda r: float(r["total_step"])), name)


def points_of(records: Sequence[Record], name: str) -> Points:
    """A figure by training step, from the records that have it."""
    chosen = [(float(r["total_step"]), float(r[name])) for r in records if name in r]
    return [x for x, _ in chosen], [y for _, y in chosen]


def running_mean(values: list[float], *, points: int = 60) -> list[float]:
    """Means over a window, if there are many more values than can be seen as points."""
    window = len(values) // points
    if window < 2:
        return values
    return [
        sum(values[max(end - window, 0) : end]) / min(window, end)
        for end in range(1, len(values) + 1)
    ]


def _records(path: Path) -> Iterator[Record]:
    with open(path, encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, start=1):
            try:
                record = json.loads(line)
            except ValueError:
                logger.warning("%s, line %d is not whole; left out of the plot", path, number)
                continue
            if isinstance(record, dict) and "total_step" in record:
                yield record


def staleness_of_probes(history: History) -> list[tuple[float, float, float]]:
    """Staleness, recall at 5 and total step of every question to the probe in joint training.

    In the warm-up the retriever stands still, and its index is as good as a new one. The index
    that a probe after step s is asked of is the last one that went live before s, or that a stage
    began with: then it is of the present weights.
    """
    made = [(float(r["total_step"]), float(r["total_step"])) for r in history.indexes]
    swaps = [r for r in history.swaps if "index/weights_step" in r]
    # A swap at s is in the place of the index that a probe after step s was asked of.
    made += [(float(r["total_step"]) + 0.5, float(r["index/weights_step"])) for r in swaps]
    points = []
    for record in history.probes:
        step = float(record["total_step"])
        before = [pair for pair in made if pair[0] <= step]
        if before and "probe/recall@5" in record and record["stage"] == "realm":
            points.append((step - max(before)[1], float(record["probe/recall@5"]), step))
    return points
