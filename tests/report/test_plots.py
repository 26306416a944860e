"""Tests of the pictures of a run: what is drawn, from which figures, and what is said of it."""

from __future__ import annotations

import json
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from openrealm.errors import CheckpointError, InputError, MissingDependencyError
from openrealm.report import plots
from openrealm.report.contents import (
    History,
    Probed,
    RunFacts,
    read_history,
    running_mean,
    staleness_of_probes,
    staleness_points,
)
from openrealm.report.plots import draw, plot_run
from openrealm.runs.folders import RunFolder

pytest.importorskip("matplotlib")


def _records() -> list[dict[str, Any]]:
    """An mlm stage of 20 steps and a joint one of 40, with two swaps, as the trainer logs them."""
    found: list[dict[str, Any]] = []
    for step in range(10, 21, 10):
        found.append({"stage": "mlm", "step": step, "total_step": step, "train/loss": 5.0})
    for step in range(10, 41, 10):
        found.append(
            {
                "stage": "realm",
                "step": step,
                "total_step": 20 + step,
                "train/loss": 4.0 - step / 40,
                "realm/utility": step / 40,
                "realm/p_null": 0.2,
                "index/staleness": {10: 10, 20: 5, 30: 15, 40: 5}[step],
            }
        )
        if step in (10, 30):
            found.append({"event": "swap", "stage": "realm", "total_step": 25 + step})
    found.append(
        {
            "event": "probe",
            "stage": "realm",
            "step": 20,
            "total_step": 40,
            "probe/recall@1": 0.25,
            "probe/recall@5": 0.5,
            "probe/recall@20": 0.75,
            "probe/utility": 0.5,
            "probe/accuracy": 0.5,
            "probe/accuracy_without": 0.25,
            "probe/p_null": 0.25,
        }
    )
    return found


REPORTS = [
    {"stage": "start", "total_step": 0, "held_out/recall@1": 0.125, "probe/recall@1": 0.125},
    {"stage": "realm", "total_step": 60, "held_out/recall@1": 0.875, "probe/recall@1": 0.5},
    {"stage": "qa", "qa/exact_match": 0.375},
]


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    run = RunFolder(tmp_path / "my ws" / "runs" / "run-001")
    run.directory.mkdir(parents=True)
    run.metrics_file.write_text("".join(json.dumps(record) + "\n" for record in _records()))
    run.write_record({"start": "minilm", "stage_reports": REPORTS})
    return run


def test_the_picture_is_a_png_of_1200_by_900_in_the_runs_folder_of_plots(run: RunFolder) -> None:
    path = plot_run(run)
    assert path == run.plots / "run.png"
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", data[16:24]) == (1200, 900)
    assert [p.name for p in run.plots.iterdir()] == ["run.png"]


def test_a_picture_can_be_written_elsewhere_and_again(run: RunFolder, tmp_path: Path) -> None:
    target = tmp_path / "new folder" / "ü.png"
    assert plot_run(run, target) == target
    assert plot_run(run, target).stat().st_size > 10_000


def test_the_figures_drawn_are_those_that_were_logged(run: RunFolder) -> None:
    figure = draw(read_history(run), title="t")
    panels = {axes.get_title(): axes for axes in figure.axes}

    def line(title: str, label: str) -> list[tuple[float, float]]:
        axes = next(a for name, a in panels.items() if name.startswith(title))
        chosen = next(each for each in axes.get_lines() if each.get_label() == label)
        return [(float(x), float(y)) for x, y in chosen.get_xydata()]

    assert line("recall", "at 1") == [(0, 0.125), (40, 0.25), (60, 0.5)]
    assert line("recall", "at 20") == [(40, 0.75)]
    assert line("retrieval utility", "realm, training batches") == [
        (30, 0.25),
        (40, 0.5),
        (50, 0.75),
        (60, 1.0),
    ]
    assert line("retrieval utility", "probe") == [(40, 0.5)]
    assert line("masked tokens", "null chunk alone") == [(40, 0.25)]
    assert line("p(null", "probe") == [(40, 0.25)]
    assert line("staleness", "index swapped") == [(35, 0), (55, 0)]
    dots = next(a for a in panels if a.startswith("recall"))
    held_out = [each for each in panels[dots].get_lines() if each.get_marker() == "o"]
    assert [tuple(map(float, p)) for p in held_out[0].get_xydata()] == [(0, 0.125), (60, 0.875)]


def test_every_panel_has_a_title_and_named_axes_and_stages_are_named(run: RunFolder) -> None:
    figure = draw(read_history(run), title="t")
    assert len(figure.axes) == 6
    for axes in figure.axes:
        assert axes.get_title()
        assert axes.get_ylabel()
    assert all(axes.get_xlabel() for axes in figure.axes[-2:])
    assert [text.get_text() for text in figure.axes[0].texts] == ["mlm", "realm"]


def test_staleness_rises_by_one_a_step_and_falls_where_the_index_was_swapped(
    run: RunFolder,
) -> None:
    x, y = staleness_points(read_history(run))
    assert list(zip(x, y, strict=True)) == [
        (30, 10),
        (35, 15),
        (35, 0),
        (40, 5),
        (50, 15),
        (55, 20),
        (55, 0),
        (60, 5),
    ]


def test_a_new_index_at_the_beginning_of_a_stage_shows_without_a_logged_swap() -> None:
    steps = [
        {"stage": "warmup", "step": 40, "total_step": 40, "index/staleness": 40},
        {"stage": "realm", "step": 10, "total_step": 50, "index/staleness": 10},
    ]
    history = History(steps=steps, probes=[], swaps=[], reports=[])
    assert staleness_points(history) == ([40, 40, 40, 50], [40, 40, 0, 10])


def test_an_index_made_beside_the_training_falls_to_the_age_of_its_weights() -> None:
    steps = [
        {"stage": "realm", "step": 10, "total_step": 10, "index/staleness": 10},
        {"stage": "realm", "step": 20, "total_step": 20, "index/staleness": 12},
    ]
    swaps = [{"event": "swap", "stage": "realm", "total_step": 14}]
    history = History(steps=steps, probes=[], swaps=swaps, reports=[])
    assert staleness_points(history) == ([10, 14, 14, 20], [10, 14, 6, 12])


def test_the_title_names_the_start_and_the_exact_match(run: RunFolder) -> None:
    assert plots.title_of(run) == "run run-001, started from minilm, exact match 0.375"


def test_a_line_cut_short_by_a_crash_is_left_out_with_a_warning(
    run: RunFolder, caplog: pytest.LogCaptureFixture
) -> None:
    whole = len(read_history(run).steps)
    with open(run.metrics_file, "a") as file:
        file.write('{"stage": "realm", "total_')
    assert len(read_history(run).steps) == whole
    assert "line 10 is not whole" in caplog.text


def test_many_points_are_drawn_with_their_running_mean() -> None:
    noisy = [float(n % 2) for n in range(600)]
    smooth = running_mean(noisy)
    assert len(smooth) == 600
    assert smooth[0] == 0.0
    assert all(value == 0.5 for value in smooth[9:])
    assert running_mean(noisy[:100]) == noisy[:100]


def test_the_picture_of_a_long_run_can_be_drawn() -> None:
    steps = [
        {"stage": "mlm", "step": n, "total_step": n, "train/loss": float(n % 7)}
        for n in range(1, 500)
    ]
    figure = draw(History(steps=steps, probes=[], swaps=[], reports=[]), title="t")
    assert len(figure.axes[0].get_lines()) == 2


def test_a_panel_without_figures_says_so_and_one_with_a_single_point_does_not() -> None:
    steps = [{"stage": "mlm", "step": 10, "total_step": 10, "train/loss": 5.0}]
    figure = draw(History(steps=steps, probes=[], swaps=[], reports=[]), title="t")
    empty = ["no figures yet" in [t.get_text() for t in axes.texts] for axes in figure.axes]
    assert empty == [False, True, True, True, True, True]
    assert all(axes.get_legend() is None for axes in figure.axes)


def test_a_run_without_metrics_is_refused(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    with pytest.raises(CheckpointError):
        plot_run(run)
    run.write_record({"stage_reports": []})
    with pytest.raises(InputError, match="no training step"):
        plot_run(run)


def test_a_missing_matplotlib_is_named_with_the_extra_that_brings_it(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingDependencyError, match=r"openrealm\[plots\]"):
        plot_run(run)


pytest.importorskip("matplotlib")
PNG = b"\x89PNG\r\n\x1a\n"


def history(**changes: Any) -> History:
    """A joint stage from step 100 on, with a swap at 120 and probes around it."""
    given: dict[str, Any] = {
        "steps": [
            {"stage": "realm", "step": n, "total_step": 100 + n, "train/loss": 5.0 - n / 50}
            for n in range(10, 51, 10)
        ],
        "probes": [
            {"event": "probe", "stage": "realm", "total_step": 100 + n, "probe/recall@5": n / 100}
            for n in (0, 20, 30)
        ],
        "swaps": [
            {
                "event": "swap",
                "total_step": 120,
                "index/weights_step": 115,
                "index/staleness_before": 20,
                "index/recall": 0.75,
            }
        ],
        "reports": [],
        "indexes": [{"event": "index", "total_step": 100}],
    }
    return History(**{**given, **changes})


def facts(name: str, logged: History) -> RunFacts:
    return RunFacts(
        name=name,
        record={},
        settings="",
        history=logged,
        stages=[],
        checkpoints=[],
        generations=[],
        in_training=False,
        fits_corpus=True,
    )


def test_staleness_of_a_probe_is_that_of_the_index_it_was_asked_of() -> None:
    # The swap comes after the probe of the same step.
    found = staleness_of_probes(history())
    assert found == [(0, 0.0, 100), (20, 0.2, 120), (15, 0.3, 130)]


def test_the_warm_up_where_the_retriever_stands_still_says_nothing_of_staleness() -> None:
    probes = [{**record, "stage": "warmup"} for record in history().probes]
    assert staleness_of_probes(history(probes=probes)) == []


def test_recall_against_staleness_tells_both_measures_and_what_one_staleness_cannot() -> None:
    picture = plots.staleness(history())
    assert picture is not None
    assert picture.png.startswith(PNG)
    assert "1 swaps and 3 answers" in picture.alt and "0.750 to 0.750" in picture.alt
    assert "All swaps" not in picture.caption
    swaps = history().swaps
    picture = plots.staleness(history(swaps=[*swaps, {**swaps[0], "total_step": 140}]))
    assert picture is not None and "All swaps replaced an index that was 20" in picture.caption


@pytest.mark.parametrize("kept", ["swaps", "probes"])
def test_one_of_the_two_measures_is_enough_and_none_is_no_picture(kept: str) -> None:
    other = {"swaps": "probes", "probes": "swaps"}[kept]
    assert plots.staleness(history(**{other: []})) is not None
    assert plots.staleness(history(swaps=[], probes=[])) is None


def test_swaps_of_versions_that_did_not_ask_for_recall_are_left_out() -> None:
    old = [{"event": "swap", "total_step": 120, "index/generation": 2}]
    assert plots.staleness(history(swaps=old, probes=[])) is None


def test_curves_and_overlay_are_there_where_something_was_logged() -> None:
    empty = history(steps=[], probes=[], swaps=[], indexes=[])
    assert plots.curves(facts("a", empty), "t") is None
    assert plots.overlay([facts("a", empty)]) is None
    picture = plots.overlay([facts("a", history()), facts("b", empty), facts("c", history())])
    assert picture is not None
    assert picture.png.startswith(PNG)
    assert "runs a, c" in picture.alt


def test_the_distribution_is_described_by_its_means() -> None:
    picture = plots.distribution(
        Probed(
            stage="realm",
            step=9,
            num=2,
            p_null=np.array([0.25, 0.75]),
            p_best=np.array([0.5, 0.25]),
            p_by_rank=np.array([0.375, 0.125]),
            utility=np.array([1.0, -1.0]),
            best=[],
            worst=[],
        )
    )
    assert picture.png.startswith(PNG)
    assert "has mean 0.500" in picture.alt and "among the chunks 0.375" in picture.alt
