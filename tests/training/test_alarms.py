"""Tests of what is told where training drives the answers out of what is retrieved."""

from __future__ import annotations

import pytest
from loops import make_stage
from tiny import World

from openrealm.training.alarms import AnswersAlarm, CollapseAlarm, NoAlarm, ReadingAlarm


def numbers(recall: float, queries: int = 100) -> dict[str, float]:
    return {"probe/recall@5": recall, "probe/queries": float(queries)}


def test_a_retriever_that_loses_the_answers_is_told_loudly_and_once() -> None:
    alarm = CollapseAlarm()
    reports = [alarm(numbers(recall)) for recall in (0.6, 0.65, 0.31, 0.29, 0.1)]
    assert [report is not None for report in reports] == [False, False, False, True, False]
    assert "fell from 0.600 to 0.290" in str(reports[3])
    assert "warmup.steps" in str(reports[3]) and "lr_retriever" in str(reports[3])


def test_a_few_queries_lost_are_no_collapse() -> None:
    alarm = CollapseAlarm()
    assert [alarm(numbers(recall, queries=12)) for recall in (0.5, 0.0)] == [None, None]
    ten = CollapseAlarm()
    assert [ten(numbers(recall, queries=20)) is None for recall in (0.75, 0.25)] == [True, False]


def test_without_a_recall_there_is_nothing_to_alarm() -> None:
    alarm = CollapseAlarm()
    assert alarm({}) is None and alarm.first is None


# Reading ------------------------------------------------------------------------------------------


def unlearned(values: list[float], *, questions: int = 100) -> list[str | None]:
    alarm = ReadingAlarm()
    assert alarm({"train/loss": 1.0}) is None
    each = {"reading/questions": float(questions)}
    return [alarm({"reading/exact_match": value, **each}) for value in values]


def test_a_reader_that_unlearns_to_read_is_told_once() -> None:
    told = unlearned([0.4, 0.6, 0.2, 0.19, 0.1])
    assert [one is not None for one in told] == [False, False, False, True, False]
    assert "from 0.400 to 0.190" in str(told[3]) and "reading.lr" in str(told[3])
    assert unlearned([0.4, 0.0], questions=20) == [None, None]  # eight questions


# Fine-tuning --------------------------------------------------------------------------------------


def warned(shares: list[float], *, batch_size: int = 16, every: int = 10) -> list[int]:
    """Steps at which it is told, where the questions read hold answers in these windows."""
    alarm = AnswersAlarm(batch_size)
    steps = [every * (number + 1) for number in range(len(shares))]
    pairs = zip(steps, shares, strict=True)
    return [s for s, share in pairs if alarm({"step": s, "qa/retrieved_holds_answer": share})]


def test_answers_that_are_lost_in_fine_tuning_are_told_once() -> None:
    """The figures of a run whose query tower learned ten times too fast."""
    lost = [0.15, 0.1125, 0.0813, 0.0688, 0.0563, 0.025, 0.0437, 0.0125, 0.0375, 0.0312, 0.05]
    assert warned(lost) == [50]
    kept = [0.15, 0.125, 0.125, 0.144, 0.108, 0.1, 0.13, 0.1375, 0.1625, 0.1875, 0.13, 0.19]
    assert warned(kept) == []


@pytest.mark.parametrize("batch_size", [1, 4])
def test_a_few_questions_say_nothing(batch_size: int) -> None:
    assert warned([0.9] + 10 * [0.0], batch_size=batch_size, every=1) == []


def test_windows_of_any_length_are_put_together() -> None:
    falling = 40 * [0.5] + 40 * [0.1]
    (step,) = warned(falling, batch_size=8, every=1)
    # Of the last 25 windows, with 200 questions, more than half are of the second kind.
    assert 53 <= step <= 62


def test_without_the_answers_of_what_is_retrieved_there_is_nothing_to_alarm() -> None:
    alarm = AnswersAlarm(16)
    assert alarm({"step": 10, "train/loss": 1.0}) is None
    assert alarm({"stage": "qa", "event": "index"}) is None


def test_each_stage_has_the_alarm_that_belongs_to_it(world: World) -> None:
    model = world.model()
    assert isinstance(make_stage("realm", world, model).alarm(), CollapseAlarm)
    assert isinstance(make_stage("warmup", world, model).alarm(), NoAlarm)
    assert isinstance(make_stage("qa", world, model).alarm(), AnswersAlarm)
