"""Notices when training drives what answers out of what is retrieved; knows nothing but the numbers
that are logged.

A loss falls all the same then: the reader learns to do without its chunks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from openrealm.training.stage import Stage

_ENOUGH_QUESTIONS = 200
_FEW_QUESTIONS_LOST = 20


# Looks at every record that a stage writes to its metrics; gives a sentence where the user has to
# be told, once in a stage.
Alarm = Callable[[Mapping[str, Any]], str | None]


def alarm_for(stage: Stage) -> Alarm:
    """What is watched while a stage is trained."""
    if stage.uses_index and stage.moves_retriever:
        return CollapseAlarm()
    return AnswersAlarm(stage.batch_size)


@dataclass
class CollapseAlarm:
    """Notices when joint training drives the answer out of what is retrieved.

    The first report of a stage is the measure: recall at 5 below half of it, with at least ten
    queries lost, is taken for a collapse and told once.
    """

    first: float | None = None
    told: bool = False

    def __call__(self, numbers: Mapping[str, Any]) -> str | None:
        """A sentence where retrieval has collapsed."""
        recall = numbers.get("probe/recall@5")
        if recall is None:
            return None
        if self.first is None:
            self.first = recall
        lost = (self.first - recall) * numbers["probe/queries"]
        if self.told or recall >= self.first / 2 or lost < 10:
            return None
        self.told = True
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
    told: bool = False
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
        if self.told or first is None or last is None:
            return None
        before, after = first[1] / first[0], last[1] / last[0]
        if after >= before / 2 or (before - after) * last[0] < _FEW_QUESTIONS_LOST:
            return None
        self.told = True
        return (
            "fine-tuning drives the answers out of what is retrieved: at first the chunks to be "
            f"read held one for {before:.1%} of the questions, now for {after:.1%}; the loss falls "
            "because fewer questions have anything to learn from. Stop, remove the run's "
            "checkpoints/qa-*, and fine-tune again with a lower qa.lr_retriever"
        )


def _enough(windows: list[tuple[int, float]]) -> tuple[int, float] | None:
    """Questions, and those with an answer, of the first windows that have enough of them."""
    questions, held = 0, 0.0
    for number, of_them in windows:
        questions, held = questions + number, held + of_them
        if questions >= _ENOUGH_QUESTIONS:
            return questions, held
    return None
