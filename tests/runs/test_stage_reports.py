"""Tests of what a run's record says of its stages."""

from __future__ import annotations

import json
from pathlib import Path

from openrealm.metrics import Interval
from openrealm.runs.folders import RunFolder, WorkspaceFolder
from openrealm.runs.stage_reports import add_report, stage_intervals

MRR = Interval(mean=0.5, low=0.25, high=0.75)


def test_intervals_are_kept_beside_the_means_which_stay_as_they_were() -> None:
    record = {"stage_reports": []}
    add_report(
        record, {"stage": "ict", "total_step": 4, "held_out/mrr": 0.5}, {"held_out/mrr": MRR}
    )
    assert record["stage_reports"] == [{"stage": "ict", "total_step": 4, "held_out/mrr": 0.5}]
    kept = json.loads(json.dumps(record))
    assert stage_intervals(kept, "ict") == {"held_out/mrr": MRR}


def test_a_stage_measured_again_takes_the_place_of_what_was_there() -> None:
    record = {"stage_reports": [{"stage": "qa", "total_step": 4}]}
    add_report(record, {"stage": "qa", "total_step": 9}, {})
    assert record["stage_reports"] == [{"stage": "qa", "total_step": 9}]


def test_a_record_of_an_older_version_has_no_intervals() -> None:
    old = {"stage_reports": [{"stage": "ict", "total_step": 4, "held_out/mrr": 0.5}]}
    assert stage_intervals(old, "ict") == {}
    add_report(old, {"stage": "realm", "total_step": 9, "held_out/mrr": 0.5}, {"held_out/mrr": MRR})
    assert stage_intervals(old, "ict") == {}
    assert stage_intervals(old, "realm") == {"held_out/mrr": MRR}


def test_every_figure_after_a_training_has_an_interval_around_it(trained: Path) -> None:
    record = RunFolder(WorkspaceFolder(trained).run().directory).read_record()
    for report in record["stage_reports"]:
        intervals = stage_intervals(record, report["stage"])
        wanted = {name for name in report if "/" in name} - {"probe/queries"}
        assert set(intervals) == wanted
        for name, interval in intervals.items():
            # Rounding, where all values are the same.
            assert interval.low - 1e-9 <= report[name] <= interval.high + 1e-9
