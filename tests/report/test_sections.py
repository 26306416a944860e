"""Tests of texts and values as HTML, and of what is said of a run: what its figures bear, and no
more.
"""

from __future__ import annotations

from typing import Any

import pytest

from openrealm.metrics import Interval
from openrealm.report.contents import History, Picture, Quote, RunFacts, StageFigures
from openrealm.report.sections import bar, figure, quoted, summary, table, text

HOSTILE = "<script>alert(\"x\" + 'y')</script>&"
ESCAPED = "&lt;script&gt;alert(&quot;x&quot; + &#x27;y&#x27;)&lt;/script&gt;&amp;"


def test_no_text_is_taken_for_markup() -> None:
    assert text(HOSTILE) == ESCAPED
    shown = quoted(Quote(HOSTILE, HOSTILE, HOSTILE))
    assert shown == f"{ESCAPED}<mark>{ESCAPED}</mark>{ESCAPED}"
    assert ESCAPED in table(["a"], [["b"]], caption=HOSTILE)
    drawn = figure(Picture(name="p", png=b"x", alt=HOSTILE, caption=HOSTILE))
    assert drawn.count(ESCAPED) == 2 and "<script" not in drawn


def test_a_quote_without_a_mark_has_none() -> None:
    assert quoted(Quote("a", "", "b")) == "ab"


def test_bars_keep_within_their_bounds() -> None:
    assert "width:25.00%" in bar(0.25)
    assert "width:100.00%" in bar(1.5)
    assert "width:0.00%" in bar(-1.0)


def stage(name: str, **measures: float | tuple[float, float, float]) -> StageFigures:
    """A stage with means, or means and limits, by name (``__`` for ``/``, ``_at_`` for ``@``)."""
    named = {k.replace("__", "/").replace("_at_", "@"): v for k, v in measures.items()}
    triples = {k: v for k, v in named.items() if isinstance(v, tuple)}
    return StageFigures(
        stage=name,
        means={k: v[0] if isinstance(v, tuple) else v for k, v in named.items()},
        intervals={k: Interval(mean=m, low=a, high=b) for k, (m, a, b) in triples.items()},
    )


def run(*stages: StageFigures, **changes: Any) -> RunFacts:
    steps = [{"stage": "ict", "step": 40, "total_step": 40}]
    steps.append({"stage": "realm", "step": 1000, "total_step": 1040})
    given: dict[str, Any] = {
        "name": "run-001",
        "record": {"start": "scratch"},
        "settings": "",
        "history": History(steps=steps, probes=[], swaps=[], reports=[]),
        "stages": stages,
        "checkpoints": [],
        "generations": [],
        "in_training": False,
        "fits_corpus": True,
    }
    return RunFacts(**{**given, **changes})


def said(*stages: StageFigures, **changes: Any) -> str:
    return " ".join(summary(run(*stages, **changes)))


def test_the_start_and_the_stages_are_named() -> None:
    assert said().startswith(
        "The run began with random weights (scratch); it has gone through ict (40 steps) and "
        "realm (1,000 steps)."
    )
    assert "Nothing has been measured yet." in said()
    assert "A process is training in it now." in said(in_training=True)


def test_a_start_that_saw_labels_is_called_so_also_among_the_ancestors() -> None:
    for record in ({"start": "minilm"}, {"start": "old/run", "ancestors": ["minilm"]}):
        text = said(record=record)
        assert "trained on labelled pairs" in text
        assert "is not unsupervised" in text
    assert "unsupervised" not in said()


@pytest.mark.parametrize(
    ("before", "afterwards", "verdict"),
    [
        ((0.4, 0.38, 0.42), (0.7, 0.68, 0.72), "It is higher after realm than after ict"),
        ((0.7, 0.68, 0.72), (0.4, 0.38, 0.42), "It is lower after realm than after ict"),
        ((0.4, 0.3, 0.5), (0.5, 0.45, 0.6), "has not been shown to change it"),
    ],
)
def test_a_change_of_recall_is_one_where_intervals_do_not_overlap(
    before: tuple[float, float, float], afterwards: tuple[float, float, float], verdict: str
) -> None:
    text = said(
        stage("ict", held_out__recall_at_1=before), stage("realm", held_out__recall_at_1=afterwards)
    )
    assert verdict in text
    assert f"{before[0]:.3f} after ict and {afterwards[0]:.3f} after realm" in text


def test_there_is_no_verdict_without_intervals_or_where_the_bootstrap_knows_none() -> None:
    bare = said(stage("ict", held_out__recall_at_1=0.4), stage("realm", held_out__recall_at_1=0.7))
    flat = said(
        stage("ict", held_out__recall_at_1=(0.0, 0.0, 0.0)),
        stage("realm", held_out__recall_at_1=(0.7, 0.6, 0.8)),
    )
    for verdict in (bare, flat):
        assert "0.700 after realm" in verdict
        assert "It is" not in verdict and "overlap" not in verdict


def test_few_sentences_bear_no_verdict() -> None:
    few = {"probe__queries": 4.0, "probe__utility": (2.0, 1.0, 3.0)}
    text = said(
        stage("ict", probe__recall_at_1=(0.0, 0.0, 0.1)),
        stage("realm", probe__recall_at_1=(0.7, 0.6, 0.8), **few),
    )
    assert "It is higher" not in text
    assert "over 4 held-out sentences: too few to tell" in text


@pytest.mark.parametrize(
    ("utility", "wanted"),
    [
        ((2.0, 1.5, 2.5), "7.39 times as probable with retrieved chunks"),
        ((-1.0, -1.5, -0.5), "2.72 times as improbable with retrieved chunks"),
        ((0.1, -0.5, 0.7), "it cannot be told whether retrieved chunks help"),
        (2.0, "After realm, retrieval utility is 2.000 nats per masked token; no interval"),
    ],
)
def test_utility_is_told_as_its_interval_allows(
    utility: float | tuple[float, float, float], wanted: str
) -> None:
    assert wanted in said(stage("realm", probe__utility=utility))


def test_accuracy_and_exact_match_are_told_where_they_were_measured() -> None:
    text = said(
        stage("realm", probe__accuracy=0.158, probe__accuracy_without=0.022),
        stage("qa", qa__exact_match=0.2),
    )
    assert "0.158 with retrieval, 0.022 without" in text
    assert "exact match 0.200" in text
    assert "exact match" not in said(stage("realm", probe__accuracy=0.1))
