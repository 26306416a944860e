"""What is measured after a stage, in a run's record: means, and 95% intervals beside them.

The means stand in ``stage_reports``, as they always have; the intervals, which runs of older
versions lack, under a name of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from openrealm.metrics import Interval

_REPORTS = "stage_reports"
_INTERVALS = "stage_intervals"


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
