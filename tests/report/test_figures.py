"""Tests of the pictures of a report."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from openrealm.report import figures
from openrealm.report.contents import Probed, RunFacts
from openrealm.report.plots import History

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
    found = figures.staleness_of_probes(history())
    assert found == [(0, 0.0, 100), (20, 0.2, 120), (15, 0.3, 130)]


def test_the_warm_up_where_the_retriever_stands_still_says_nothing_of_staleness() -> None:
    probes = [{**record, "stage": "warmup"} for record in history().probes]
    assert figures.staleness_of_probes(history(probes=probes)) == []


def test_recall_against_staleness_tells_both_measures_and_what_one_staleness_cannot() -> None:
    picture = figures.staleness(history())
    assert picture is not None
    assert picture.png.startswith(PNG)
    assert "1 swaps and 3 answers" in picture.alt and "0.750 to 0.750" in picture.alt
    assert "All swaps" not in picture.caption
    swaps = history().swaps
    picture = figures.staleness(history(swaps=[*swaps, {**swaps[0], "total_step": 140}]))
    assert picture is not None and "All swaps replaced an index that was 20" in picture.caption


@pytest.mark.parametrize("kept", ["swaps", "probes"])
def test_one_of_the_two_measures_is_enough_and_none_is_no_picture(kept: str) -> None:
    other = {"swaps": "probes", "probes": "swaps"}[kept]
    assert figures.staleness(history(**{other: []})) is not None
    assert figures.staleness(history(swaps=[], probes=[])) is None


def test_swaps_of_versions_that_did_not_ask_for_recall_are_left_out() -> None:
    old = [{"event": "swap", "total_step": 120, "index/generation": 2}]
    assert figures.staleness(history(swaps=old, probes=[])) is None


def test_curves_and_overlay_are_there_where_something_was_logged() -> None:
    empty = history(steps=[], probes=[], swaps=[], indexes=[])
    assert figures.curves(facts("a", empty), "t") is None
    assert figures.overlay([facts("a", empty)]) is None
    picture = figures.overlay([facts("a", history()), facts("b", empty), facts("c", history())])
    assert picture is not None
    assert picture.png.startswith(PNG)
    assert "runs a, c" in picture.alt


def test_the_distribution_is_described_by_its_means() -> None:
    picture = figures.distribution(
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
