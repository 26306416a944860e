"""What a report tells, as plain values: whoever gathers it and whoever writes it agree on these."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from openrealm.metrics import Interval
from openrealm.report.history import History

# Of fewer sentences a bootstrap interval of the mean is too narrow to be leant on.
MIN_SENTENCES = 30
Floats = npt.NDArray[np.float64]


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
