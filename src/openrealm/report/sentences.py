"""What a run's figures say, in plain language; never more than they bear.

A change is called one only where the 95% intervals before and after do not overlap, and where
there are queries enough for the intervals to be leant on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from openrealm.models.starts import LABELLED_STARTS
from openrealm.report.contents import RunFacts, StageFigures
from openrealm.report.words import start_in_words


def summary(run: RunFacts) -> list[str]:
    """What the run is, then what was measured, a sentence or two for each measure."""
    said = [_origin(run), *_labels(run), *_recall(run), *_utility(run), *_accuracy(run)]
    said += _exact_match(run)
    if not any(figures.means for figures in run.stages):
        said.append("Nothing has been measured yet.")
    return said


def after(stage: str) -> str:
    """When a stage's figures were measured, in words."""
    return "before training" if stage == "start" else f"after {stage}"


def number(value: float) -> str:
    """A figure with three decimals, as everywhere in a report."""
    return f"{value:.3f}"


def _origin(run: RunFacts) -> str:
    record = run.record
    start = str(record.get("start", "unknown"))
    named = "random weights (scratch)" if start == "scratch" else _start(run)
    steps = [f"{name} ({last - first:,.0f} steps)" for name, first, last in run.history.stages()]
    gone = f"; it has gone through {_listed(steps)}" if steps else "; it has logged no step yet"
    training = " A process is training in it now." if run.in_training else ""
    return f"The run began with {named}{gone}.{training}"


def _start(run: RunFacts) -> str:
    return start_in_words(str(run.record.get("start")), *run.record.get("ancestors", ()))


def _labels(run: RunFacts) -> list[str]:
    starts = {run.record.get("start"), *run.record.get("ancestors", ())}
    if not starts & set(LABELLED_STARTS):
        return []
    return ["What follows from that start is not unsupervised: its makers used labels."]


def _recall(run: RunFacts) -> list[str]:
    for name, what in (
        ("held_out/recall@1", "held-out queries for which the first chunk found holds an answer"),
        ("probe/recall@1", "held-out sentences for which the first chunk holds the masked words"),
    ):
        measured = [figures for figures in run.stages if name in figures.means]
        if measured:
            shares = [f"{number(f.means[name])} {after(f.stage)}" for f in measured]
            sentence = f"The share of {what} (recall@1) is {_listed(shares)}."
            is_small = name.startswith("probe/") and run.is_probe_small
            return [sentence, *([] if is_small else _change(measured, name))]
    return []


def _change(measured: Sequence[StageFigures], name: str) -> list[str]:
    """How recall after joint training stands to recall before it."""
    last = next((f for f in reversed(measured) if f.stage == "realm"), None)
    if last is None or last is measured[0]:
        return []
    before = measured[measured.index(last) - 1]
    old, new = before.intervals.get(name), last.intervals.get(name)
    # Where all queries have the same value the bootstrap knows no uncertainty.
    if old is None or new is None or old.low == old.high or new.low == new.high:
        return []
    when = f"{after(last.stage)} than {after(before.stage)}"
    if new.low > old.high:
        return [f"It is higher {when}: the 95% intervals do not overlap."]
    if new.high < old.low:
        return [f"It is lower {when}: the 95% intervals do not overlap."]
    return [
        f"The 95% intervals {after(before.stage)} and {after(last.stage)} overlap: by these alone "
        "joint training has not been shown to change it."
    ]


def _utility(run: RunFacts) -> list[str]:
    name = "probe/utility"
    last = next((f for f in reversed(run.stages) if name in f.means), None)
    if last is None:
        return []
    value, interval = last.means[name], last.intervals.get(name)
    when, figure = after(last.stage).capitalize(), f"utility {value:.3f} nats per masked token"
    if interval is None:
        return [f"{when}, retrieval {figure.replace(' ', ' is ', 1)}; no interval was kept."]
    if run.is_probe_small:
        return [
            f"{when}, retrieval {figure.replace(' ', ' is ', 1)}, over {run.num_probe} held-out "
            "sentences: too few to tell whether retrieval helps."
        ]
    figure += f", 95% interval {interval.low:.3f} to {interval.high:.3f}"
    if interval.low <= 0 <= interval.high:
        return [
            f"{when}, it cannot be told whether retrieved chunks help to predict the masked words "
            f"of held-out sentences: the interval holds zero ({figure})."
        ]
    times = f"{math.exp(abs(value)):.3g} times as {'probable' if value > 0 else 'improbable'}"
    return [
        f"{when}, the masked words of held-out sentences are {times} with retrieved chunks as with "
        f"the null chunk alone, in the geometric mean ({figure})."
    ]


def _accuracy(run: RunFacts) -> list[str]:
    names = ("probe/accuracy", "probe/accuracy_without")
    last = next((f for f in reversed(run.stages) if all(n in f.means for n in names)), None)
    if last is None:
        return []
    right, without = (number(last.means[name]) for name in names)
    return [f"The share of masked tokens predicted is {right} with retrieval, {without} without."]


def _exact_match(run: RunFacts) -> list[str]:
    scores = [f.means["qa/exact_match"] for f in run.stages if "qa/exact_match" in f.means]
    return [f"Questions are answered with exact match {number(scores[-1])}."] if scores else []


def _listed(parts: Sequence[str]) -> str:
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)
