"""What a run has logged, and what a report tells of it, as plain values: whoever gathers it and
whoever writes it agree on these; knows nothing of models and corpus.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from openrealm.metrics import Interval
from openrealm.runs.folders import RunFolder

logger = logging.getLogger(__name__)

# Of fewer sentences a bootstrap interval of the mean is too narrow to be leant on.
MIN_SENTENCES = 30

Floats = npt.NDArray[np.float64]
Record = dict[str, Any]
Points = tuple[list[float], list[float]]


# What a run has logged ----------------------------------------------------------------------------

# Sorted by kind, and its figures by training step; nothing is known of drawing here.


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


# What a report tells ------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class StageFigures:
    """What was measured after one stage.

    Attributes:
        stage: Its name.
        means: By name, such as ``probe/utility``.
        intervals: Of those means for which they were kept.
    """

    stage: str
    means: Mapping[str, float]
    intervals: Mapping[str, Interval]


@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """One run, as its files tell of it.

    Attributes:
        name: Its name.
        record: The contents of ``run.json``.
        settings: Its settings as TOML.
        history: What it has logged.
        stages: What was measured after each stage, in order.
        checkpoints: In words, oldest first.
        generations: Numbers of its snapshots.
        in_training: Whether a process is training in it now.
        fits_corpus: Whether the corpus is the one that it was trained on.
    """

    name: str
    record: Mapping[str, Any]
    settings: str
    history: History
    stages: Sequence[StageFigures]
    checkpoints: Sequence[str]
    generations: Sequence[int]
    in_training: bool
    fits_corpus: bool

    @property
    def num_probe(self) -> int | None:
        """How many held-out sentences the probe asked after the stages; None if unknown."""
        counts = (f.means.get("probe/queries") for f in reversed(self.stages))
        return next((int(count) for count in counts if count is not None), None)

    @property
    def is_probe_small(self) -> bool:
        """Whether what was measured on these sentences is too uncertain for a verdict."""
        return self.num_probe is not None and self.num_probe < MIN_SENTENCES


@dataclass(frozen=True)
class Quote:
    """A piece of text in which a part is marked; the marked part may be empty."""

    before: str
    marked: str
    after: str


@dataclass(frozen=True, kw_only=True)
class CandidateView:
    """A candidate of an example; the null chunk has no excerpt.

    Attributes:
        title: Of its document, or the document's id.
        excerpt: Of its text, the masked words marked where it holds them.
        p_z: p(z|x).
        p_y_given_z: p(y|z,x), the geometric mean over the masked tokens.
        utility: log p(y|z,x) - log p(y|null,x) in nats per masked token.
    """

    title: str
    excerpt: Quote | None
    p_z: float
    p_y_given_z: float
    utility: float


@dataclass(frozen=True, kw_only=True)
class Example:
    """A held-out masked sentence, and what was made of it.

    Attributes:
        sentence: With the masked words marked.
        num_masks: How many tokens are masked.
        p_y: p(y|x), the geometric mean over the masked tokens.
        p_y_without: p(y|null,x), likewise.
        utility: log p(y|x) - log p(y|null,x) in nats per masked token.
        candidates: The null chunk first.
    """

    sentence: Quote
    num_masks: int
    p_y: float
    p_y_without: float
    utility: float
    candidates: Sequence[CandidateView]


@dataclass(frozen=True, kw_only=True)
class Probed:
    """What the held-out sentences show of a run's newest jointly trained weights.

    Attributes:
        stage: Stage of the weights.
        step: Its steps until then.
        num: Sentences asked.
        p_null: ``(num,)`` p(null|x).
        p_best: ``(num,)`` the largest p(z|x) among the chunks; 0 where there is none.
        p_by_rank: ``(k - 1,)`` mean of the largest, second largest, ... p(z|x) among the chunks.
        utility: ``(num,)`` retrieval utility.
        best: The sentences of highest utility, best first.
        worst: The others of lowest utility, worst first.
        note: What is to be known about how it was asked; empty where there is nothing.
    """

    stage: str
    step: int
    num: int
    p_null: Floats
    p_best: Floats
    p_by_rank: Floats
    utility: Floats
    best: Sequence[Example]
    worst: Sequence[Example]
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A picture, with its contents in words for those who do not see it.

    Attributes:
        name: Of its file, without the ending.
        png: Its bytes.
        alt: Its contents in a sentence.
        caption: What to look at in it.
    """

    name: str
    png: bytes
    alt: str
    caption: str


@dataclass(frozen=True, kw_only=True)
class Contents:
    """The whole contents of one report.

    Attributes:
        workspace: Name of the workspace.
        version: Of openrealm, which writes the report.
        written: When, as text.
        run: The run.
        compared: Other runs beside it.
        curves: What the run has logged; None where that is nothing.
        overlay: The runs' curves over each other; None without others.
        staleness: Recall against staleness; None where it was not measured.
        distribution: Of p(z|x); None where nothing was probed.
        probed: What the held-out sentences show; None where nothing was probed.
        not_probed: Why not; empty where something was.
        differences: Settings that differ between the runs: name, and a value for each run.
    """

    workspace: str
    version: str
    written: str
    run: RunFacts
    compared: Sequence[RunFacts]
    curves: Picture | None
    overlay: Picture | None
    staleness: Picture | None
    distribution: Picture | None
    probed: Probed | None
    not_probed: str
    differences: Sequence[tuple[str, Sequence[str]]]

    @property
    def runs(self) -> list[RunFacts]:
        """The run, and those beside it."""
        return [self.run, *self.compared]

    @property
    def pictures(self) -> list[Picture]:
        """All pictures that there are."""
        all_of_them = (self.curves, self.overlay, self.staleness, self.distribution)
        return [picture for picture in all_of_them if picture is not None]
