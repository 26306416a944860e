"""Learning rates that a resumption has lowered: what a run's record and log say of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from openrealm.errors import ConfigError, TrainingError
from openrealm.settings import Settings, learning_rates

_KEY = "lowered_rates"


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
    known: Sequence[dict[str, Any]] = record.get(_KEY, ())
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
        record[_KEY] = [*behind, *notes]
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
