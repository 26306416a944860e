"""Notices when training drives what answers out of what is retrieved; knows nothing but the numbers
that are logged.

A loss falls all the same then: the reader learns to do without its chunks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

_ENOUGH_QUESTIONS = 200
_FEW_QUESTIONS_LOST = 20


@runtime_checkable
class Alarm(Protocol):
    """Looks at every record that a stage writes to its metrics.

    Attributes:
        needs_first_probe: Whether the probe is to be asked before the first step, as the measure
            of all that follows.
    """

    needs_first_probe: bool

    def __call__(self, numbers: Mapping[str, Any]) -> str | None:
        """A sentence where the user has to be warned, once in a stage."""


class NoAlarm:
    """For stages in which nothing can be lost."""

    needs_first_probe = False

    def __call__(self, numbers: Mapping[str, Any]) -> str | None:
        """Never a sentence."""
        return None


@dataclass
class CollapseAlarm:
    """Notices when joint training drives the answer out of what is retrieved.

    The first report of a stage is the measure: recall at 5 below half of it, with at least ten
    queries lost, is taken for a collapse and told once.
    """

    first: float | None = None
    warned: bool = False
    needs_first_probe = True

    def __call__(self, numbers: Mapping[str, Any]) -> str | None:
        """A sentence where retrieval has collapsed."""
        recall = numbers.get("probe/recall@5")
        if recall is None:
            return None
        if self.first is None:
            self.first = recall
        lost = (self.first - recall) * numbers["probe/queries"]
        if self.warned or recall >= self.first / 2 or lost < 10:
            return None
        self.warned = True
        return (
            f"retrieval is collapsing: recall@5 of the probe fell from {self.first:.3f} to "
            f"{recall:.3f}; the falling loss is the reader's alone. Stop, and start again with "
            "a lower realm.lr_retriever, a smaller refresh.every, or more warmup.steps where the "
            "preset has any"
        )


@dataclass
class AnswersAlarm:
    """Notices when fine-tuning drives the answers out of the chunks that are retrieved to be read.

    The first two hundred questions are the measure: where of the last two hundred or more less than
    half as many have an answer in these chunks, with at least twenty lost, it is told once.

    Attributes:
        batch_size: Questions per step.
    """

    batch_size: int
    warned: bool = False
    needs_first_probe = False
    _windows: list[tuple[int, float]] = field(default_factory=list)
    _step: int = 0

    def __call__(self, numbers: Mapping[str, Any]) -> str | None:
        """A sentence where the answers are being lost."""
        share = numbers.get("qa/retrieved_holds_answer")
        if share is None:
            return None
        questions = (numbers["step"] - self._step) * self.batch_size
        self._step = numbers["step"]
        self._windows.append((questions, questions * share))
        first, last = _enough(self._windows), _enough(self._windows[::-1])
        if self.warned or first is None or last is None:
            return None
        before, after = first[1] / first[0], last[1] / last[0]
        if after >= before / 2 or (before - after) * last[0] < _FEW_QUESTIONS_LOST:
            return None
        self.warned = True
        return (
            "fine-tuning drives the answers out of what is retrieved: at first the chunks to be "
            f"read held one for {before:.1%} of the questions, now for {after:.1%}; the loss falls "
            "because fewer questions have anything to learn from. Stop, remove the run's "
            "checkpoints/qa-*, and fine-tune again with a lower qa.lr_retriever"
        )


@dataclass
class ReadingAlarm:
    """Notices when a reader of answers that could read unlearns it on the texts' own questions.

    The first report of a stage is the measure: half of its exact match, with at least ten questions
    lost, is told once.
    """

    first: float | None = None
    warned: bool = False
    needs_first_probe = True

    def __call__(self, numbers: Mapping[str, Any]) -> str | None:
        """A sentence where reading is being unlearned."""
        right = numbers.get("reading/exact_match")
        if right is None:
            return None
        if self.first is None:
            self.first = right
        lost = (self.first - right) * numbers["reading/questions"]
        if self.warned or right >= self.first / 2 or lost < 10:
            return None
        self.warned = True
        return (
            f"the reader unlearns to read: its exact match on held-out spans fell from "
            f"{self.first:.3f} to {right:.3f}. Stop, and start again with a lower reading.lr"
        )


def _enough(windows: list[tuple[int, float]]) -> tuple[int, float] | None:
    """Questions, and those with an answer, of the first windows that have enough of them."""
    questions, held = 0, 0.0
    for number, of_them in windows:
        questions, held = questions + number, held + of_them
        if questions >= _ENOUGH_QUESTIONS:
            return questions, held
    return None
