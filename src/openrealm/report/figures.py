"""The pictures of a report beside the one of `plots`: runs over each other, recall against
staleness, the distribution of p(z|x); knows the names of the figures, and no models.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from openrealm.report.contents import Floats, Picture, Probed, RunFacts
from openrealm.report.plots import (
    COLOURS,
    GREY,
    History,
    Points,
    as_png,
    draw,
    new_figure,
    points_of,
    probe_points,
    running_mean,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_RECALL = "probe/recall@5"


def curves(run: RunFacts, title: str) -> Picture | None:
    """The run's own picture; None where no step was logged."""
    if not run.history.steps:
        return None
    stages = ", ".join(name for name, _, _ in run.history.stages())
    return Picture(
        name="curves",
        png=as_png(draw(run.history, title=title)),
        alt="Six panels over the training steps: loss, recall, retrieval utility, accuracy on "
        f"masked tokens, p(null chunk|x), staleness of the index. Stages: {stages}.",
        caption="A falling loss alone proves nothing: look at whether recall rises in the joint "
        "stage, utility ends above zero, and accuracy with retrieval leaves the null chunk's "
        "behind.",
    )


# Runs over each other -----------------------------------------------------------------------------


def overlay(runs: Sequence[RunFacts]) -> Picture | None:
    """Loss, recall, utility and p(null|x) of several runs; None where none has logged a step."""
    runs = [run for run in runs if run.history.steps]
    if not runs:
        return None
    figure = new_figure(12, 7)
    axes = figure.subplots(2, 2, sharex=True)
    _over(axes[0][0], runs, "training loss", "nats", _loss)
    _over(axes[0][1], runs, "probe: recall at 5", "share of sentences", _probe(_RECALL))
    utility = "probe: retrieval utility"
    _over(axes[1][0], runs, utility, "nats per masked token", _probe("probe/utility"))
    _over(axes[1][1], runs, "probe: p(null chunk | x)", "probability", _probe("probe/p_null"))
    axes[1][0].axhline(0, color=GREY, linewidth=0.8)
    for panel in (axes[0][0], axes[0][1]):
        panel.set_ylim(bottom=0)
    axes[1][1].set_ylim(0, 1.02)
    for panel in axes[1]:
        panel.set_xlabel("training step, all stages")
    figure.legend(*axes[0][0].get_legend_handles_labels(), loc="outside upper center", ncols=4)
    names = ", ".join(run.name for run in runs)
    return Picture(
        name="compared",
        png=as_png(figure),
        alt=f"Loss, recall, retrieval utility and p(null chunk|x) of the runs {names}.",
        caption="Stages may begin at other steps from run to run; loss is in other units from "
        "stage to stage.",
    )


def _over(
    axes: Axes,
    runs: Sequence[RunFacts],
    title: str,
    unit: str,
    points: Callable[[History], Points],
) -> None:
    axes.set_title(title, fontsize=10)
    axes.set_ylabel(unit)
    axes.grid(alpha=0.25)
    drawn = False
    for number, run in enumerate(runs):
        x, y = points(run.history)
        drawn = drawn or bool(x)
        marker = "o" if len(x) == 1 else None
        axes.plot(x, y, color=COLOURS[number % len(COLOURS)], label=run.name, marker=marker)
    if not drawn:
        axes.text(0.5, 0.5, "no figures", transform=axes.transAxes, ha="center", color=GREY)


def _loss(history: History) -> Points:
    x, y = points_of(history.steps, "train/loss")
    return x, running_mean(y)


def _probe(name: str) -> Callable[[History], Points]:
    return lambda history: probe_points(history, name)


# Recall against staleness -------------------------------------------------------------------------


def staleness_of_probes(history: History) -> list[tuple[float, float, float]]:
    """Staleness, recall at 5 and total step of every question to the probe in joint training.

    In the warm-up the retriever stands still, and its index is as good as a new one. The index
    that a probe after step s is asked of is the last one that went live before s, or that a stage
    began with: then it is of the present weights.
    """
    made = [(float(r["total_step"]), float(r["total_step"])) for r in history.indexes]
    swaps = [r for r in history.swaps if "index/weights_step" in r]
    # A swap at s is in the place of the index that a probe after step s was asked of.
    made += [(float(r["total_step"]) + 0.5, float(r["index/weights_step"])) for r in swaps]
    found = []
    for record in history.probes:
        step = float(record["total_step"])
        before = [pair for pair in made if pair[0] <= step]
        if before and _RECALL in record and record["stage"] == "realm":
            found.append((step - max(before)[1], float(record[_RECALL]), step))
    return found


def staleness(history: History) -> Picture | None:
    """Two scatters of recall against staleness; None where neither was measured."""
    lost = [
        (float(r["index/staleness_before"]), float(r["index/recall"]), float(r["total_step"]))
        for r in history.swaps
        if "index/recall" in r and "index/staleness_before" in r
    ]
    asked = staleness_of_probes(history)
    if not lost and not asked:
        return None
    figure = new_figure(12, 4.5)
    left, right = figure.subplots(1, 2)
    last = max(step for _, _, step in [*lost, *asked])
    _scatter(left, lost, "of a fresh index's candidates, found by the one it replaced", last)
    _scatter(right, asked, "probe: recall at 5", last)
    shade = figure.colorbar((right if asked else left).collections[0], label="training step")
    shade.ax.set_ylim(0, last)
    return Picture(
        name="staleness",
        png=as_png(figure),
        alt=f"Recall against the staleness of the live index: {len(lost)} swaps and {len(asked)} "
        "answers of the probe. " + _range("Share of candidates found at swaps", lost),
        caption="Left, at every swap: which part of the new index's candidates the old one had "
        "found, for the same weights. Right: recall of held-out sentences at every question to the "
        "probe in joint training. The weights move on as well, and the colour says how far, so "
        "that a trend is not staleness alone." + _only_one(lost),
    )


def _scatter(
    axes: Axes, points: Sequence[tuple[float, float, float]], title: str, last: float
) -> None:
    axes.set_title(title, fontsize=10)
    axes.set_xlabel("staleness of the live index (steps)")
    axes.set_ylabel("share")
    axes.grid(alpha=0.25)
    if not points:
        axes.text(0.5, 0.5, "not measured", transform=axes.transAxes, ha="center", color=GREY)
        return
    x, y, step = zip(*points, strict=True)
    # From a third of the scale on: its pale end is hardly seen on white.
    axes.scatter(x, y, c=step, cmap="Blues", vmin=-last / 2, vmax=last, s=45, clip_on=False)
    axes.set_xlim(0, 1.08 * max(x) or 1.0)
    axes.set_ylim(0, min(1.2 * max(y), 1.02) or 1.0)


def _only_one(lost: Sequence[tuple[float, float, float]]) -> str:
    stale = {steps for steps, _, _ in lost}
    if len(stale) != 1 or len(lost) < 2:
        return ""
    return (
        f" All swaps replaced an index that was {stale.pop():.0f} steps old: the left panel shows "
        "how that changed in the course of the training, not how recall falls with staleness."
    )


def _range(what: str, points: Sequence[tuple[float, float, float]]) -> str:
    if not points:
        return f"{what}: not measured."
    values = [value for _, value, _ in points]
    return f"{what}: {min(values):.3f} to {max(values):.3f}."


# p(z|x) -------------------------------------------------------------------------------------------


def distribution(probed: Probed) -> Picture:
    """Histograms of p(null|x) and of the largest p(z|x), and the mean by rank."""
    figure = new_figure(12, 4)
    null, best, ranks = figure.subplots(1, 3)
    _histogram(null, probed.p_null, "p(null chunk | x)", GREY)
    _histogram(best, probed.p_best, "largest p(z|x) among the chunks", COLOURS[0])
    places = np.arange(1, len(probed.p_by_rank) + 1)
    ranks.bar(places, probed.p_by_rank, color=COLOURS[0])
    ranks.axhline(probed.p_null.mean(), color=GREY, linestyle="--", label="null chunk")
    ranks.set_title("mean p(z|x) by rank among the chunks", fontsize=10)
    ranks.set_xlabel("rank")
    ranks.set_ylabel("probability")
    ranks.xaxis.get_major_locator().set_params(integer=True)
    ranks.legend(fontsize=8)
    for panel in (null, best, ranks):
        panel.grid(alpha=0.25)
    return Picture(
        name="distribution",
        png=as_png(figure),
        alt=f"Over {probed.num} held-out sentences: p(null chunk|x) has mean "
        f"{probed.p_null.mean():.3f}, the largest p(z|x) among the chunks "
        f"{probed.p_best.mean():.3f}.",
        caption="Many sentences at the right of the first panel: the retriever leaves them to the "
        "null chunk. At the right of the second: one chunk is retrieved almost alone. Equal bars "
        "in the third: the retriever has no opinion.",
    )


def _histogram(axes: Axes, values: Floats, title: str, colour: str) -> None:
    axes.hist(values, bins=np.linspace(0, 1, 21).tolist(), color=colour)
    axes.axvline(values.mean(), color=COLOURS[3], label=f"mean {values.mean():.3f}")
    axes.set_title(title, fontsize=10)
    axes.set_xlabel("probability")
    axes.set_ylabel("held-out sentences")
    axes.set_xlim(0, 1)
    axes.legend(fontsize=8)
