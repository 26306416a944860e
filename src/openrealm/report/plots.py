"""The pictures of a run in matplotlib: the one that every training leaves, and those of a report.

Is retrieval being learned? Runs over each other, recall against staleness, the distribution of
p(z|x). Knows the names of the figures, and nothing of the models, the corpus or the commands that
they come from.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from openrealm.errors import InputError, MissingDependencyError
from openrealm.files import write_atomic
from openrealm.progress import Progress
from openrealm.report.contents import (
    Floats,
    History,
    Picture,
    Points,
    Probed,
    RunFacts,
    points_of,
    probe_points,
    read_history,
    running_mean,
    staleness_of_probes,
    staleness_points,
)
from openrealm.runs.folders import RunFolder

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

# Okabe and Ito's colours, which the colour-blind can tell apart.
_COLOURS = _BLUE, _ORANGE, _GREEN, _RED, _PURPLE, _SKY = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#D55E00",
    "#CC79A7",
    "#56B4E9",
)
_STAGE_COLOURS = {
    "mlm": _SKY,
    "ict": _ORANGE,
    "warmup": _GREEN,
    "realm": _BLUE,
    "reading": _RED,
    "qa": _PURPLE,
}
_GREY = "#666666"
_ZERO = "zero"  # marks a line that is no figure
_AT = (1, 5, 20)
_AT_COLOURS = (_BLUE, _GREEN, _ORANGE)


def plot_run(run: RunFolder, target: Path | None = None) -> Path:
    """Draws a run as a PNG of 1200 x 900 dots.

    Args:
        run: The run.
        target: Where to write; ``run.png`` in the run's folder of plots by default.

    Returns:
        The file that was written.

    Raises:
        InputError: The run has logged nothing yet.
        MissingDependencyError: matplotlib is not installed.
    """
    history = read_history(run)
    if not history.steps:
        raise InputError(f"run '{run.name}' has logged no training step yet, so nothing to plot")
    picture = as_png(draw(history, title=title_of(run)))
    target = target or run.plots / "run.png"
    target.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(target, picture)
    return target


def draw_run(run: RunFolder, progress: Progress) -> str | None:
    """The picture of a run; None without matplotlib, or where no step was logged."""
    try:
        return str(plot_run(run))
    except (MissingDependencyError, InputError) as error:
        progress.say(f"no picture was drawn: {error}")
        return None


def as_png(figure: Figure) -> bytes:
    """A figure as the bytes of a PNG file."""
    picture = io.BytesIO()
    figure.savefig(picture, format="png")
    return picture.getvalue()


def require_matplotlib() -> None:
    """Checks that pictures can be drawn.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError(
            "plots need matplotlib, which is not installed: pip install 'openrealm[plots]'"
        ) from error


def new_figure(width: float, height: float) -> Figure:
    """An empty figure; width and height are in hundreds of dots.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    require_matplotlib()
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=100, layout="constrained")


def draw(history: History, *, title: str) -> Figure:
    """The picture: six panels over the same axis of training steps, stages as bands."""
    figure = new_figure(12, 9)
    figure.suptitle(title, fontsize=13)
    axes = figure.subplots(3, 2, sharex=True)
    _loss(axes[0][0], history)
    _recall(axes[0][1], history)
    _utility(axes[1][0], history)
    _accuracy(axes[1][1], history)
    _p_null(axes[2][0], history)
    _staleness(axes[2][1], history)
    for number, panel in enumerate(axes.flat):
        _finish(panel, history, names=number < 2)
    for panel in axes[2]:
        panel.set_xlabel("training step, all stages")
    return figure


def title_of(run: RunFolder) -> str:
    """The run, what it started from, and its exact match where it was fine-tuned and measured."""
    record = run.read_record()
    parts = [f"run {run.name}", f"started from {record.get('start', 'unknown weights')}"]
    scores = [r["qa/exact_match"] for r in record.get("stage_reports", ()) if "qa/exact_match" in r]
    parts += [f"exact match {scores[-1]:.3f}"] if scores else []
    return ", ".join(parts)


# Panels -------------------------------------------------------------------------------------------


def _loss(axes: Axes, history: History) -> None:
    axes.set_title("training loss", fontsize=10)
    axes.set_ylabel("nats")
    for name, _, _ in history.stages():
        x, y = points_of([r for r in history.steps if r["stage"] == name], "train/loss")
        colour = _STAGE_COLOURS.get(name, _GREY)
        smooth = running_mean(y)
        if smooth != y:
            axes.plot(x, y, color=colour, alpha=0.3, linewidth=0.8)
        axes.plot(x, smooth, color=colour)  # the bands name the stages
    axes.set_ylim(0, 1.1 * _highest(axes) or 1.0)


def _recall(axes: Axes, history: History) -> None:
    axes.set_title("recall: probe (lines), held-out queries after each stage (dots)", fontsize=10)
    axes.set_ylabel("share of queries")
    for k, colour in zip(_AT, _AT_COLOURS, strict=True):
        _line(axes, probe_points(history, f"probe/recall@{k}"), colour, f"at {k}")
        x, y = points_of(history.reports, f"held_out/recall@{k}")
        axes.plot(x, y, "o--", color=colour, linewidth=0.8, clip_on=False, in_layout=False)
    axes.set_ylim(0, _top_of_shares(axes))


def _utility(axes: Axes, history: History) -> None:
    axes.set_title("retrieval utility: log p(y|x) - log p(y|null chunk, x)", fontsize=10)
    axes.set_ylabel("nats per masked token")
    axes.axhline(0, color=_GREY, linewidth=0.8, gid=_ZERO)
    _in_stages_and_probe(axes, history, "utility")


def _accuracy(axes: Axes, history: History) -> None:
    axes.set_title("masked tokens of the probe predicted", fontsize=10)
    axes.set_ylabel("share of tokens")
    _line(axes, probe_points(history, "probe/accuracy"), _BLUE, "with retrieval")
    _line(axes, probe_points(history, "probe/accuracy_without"), _GREY, "null chunk alone")
    axes.set_ylim(0, _top_of_shares(axes))


def _p_null(axes: Axes, history: History) -> None:
    axes.set_title("p(null chunk | x)", fontsize=10)
    axes.set_ylabel("probability")
    _in_stages_and_probe(axes, history, "p_null")
    axes.set_ylim(0, 1.02)


def _staleness(axes: Axes, history: History) -> None:
    axes.set_title("staleness of the live index", fontsize=10)
    axes.set_ylabel("steps since its weights")
    _line(axes, staleness_points(history), _BLUE, "staleness")
    swaps = [float(r["total_step"]) for r in history.swaps]  # in the course of a stage
    if swaps:
        axes.plot(swaps, [0.0] * len(swaps), "^", color=_RED, markersize=7, label="index swapped")
    axes.set_ylim(0, 1.1 * _highest(axes) or 1.0)


def _in_stages_and_probe(axes: Axes, history: History, name: str) -> None:
    """Draws one figure, of the training batches of the stages with a reader and of the probe."""
    for stage in ("warmup", "realm"):
        points = points_of(history.steps, f"{stage}/{name}")
        _line(axes, points, _STAGE_COLOURS[stage], f"{stage}, training batches", alpha=0.6)
    _line(axes, probe_points(history, f"probe/{name}"), _RED, "probe")


def _line(axes: Axes, points: Points, colour: str, label: str, *, alpha: float = 1.0) -> None:
    """Draws a line with its entry in the legend, if there are points."""
    if points[0]:
        axes.plot(*points, color=colour, label=label, alpha=alpha)


def _is_drawn(line: Line2D) -> bool:
    return line.get_gid() != _ZERO and len(np.asarray(line.get_xdata())) > 0


def _highest(axes: Axes) -> float:
    return max(
        (float(y) for line in axes.get_lines() for y in np.asarray(line.get_ydata())), default=0.0
    )


def _top_of_shares(axes: Axes) -> float:
    """Upper end of an axis of shares: above what is drawn, at least 0.1, at most about 1."""
    return min(max(1.2 * _highest(axes), 0.1), 1.02)


def _finish(axes: Axes, history: History, *, names: bool) -> None:
    """Adds bands for the stages, their names if asked, and a legend if there are lines."""
    axes.grid(alpha=0.25)
    stages = history.stages()
    axes.set_xlim(stages[0][1], stages[-1][2])
    for number, (name, first, last) in enumerate(stages):
        axes.axvspan(first, last, color=_GREY, alpha=0.12 if number % 2 else 0.04, linewidth=0)
        if names:
            axes.annotate(
                name,
                ((first + last) / 2, 1.0),
                xycoords=("data", "axes fraction"),
                xytext=(0, -3),
                textcoords="offset points",
                ha="center",
                va="top",
                fontsize=8,
                color=_GREY,
                in_layout=False,
            )
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=8, loc="best")
    elif not any(_is_drawn(line) for line in axes.get_lines()):
        axes.text(0.5, 0.5, "no figures yet", transform=axes.transAxes, ha="center", color=_GREY)


# Pictures of a report -----------------------------------------------------------------------------


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


def overlay(runs: Sequence[RunFacts]) -> Picture | None:
    """Loss, recall, utility and p(null|x) of several runs; None where none has logged a step."""
    runs = [run for run in runs if run.history.steps]
    if not runs:
        return None
    figure = new_figure(12, 7)
    axes = figure.subplots(2, 2, sharex=True)
    _over(axes[0][0], runs, "training loss", "nats", _smooth_loss)
    _over(axes[0][1], runs, "probe: recall at 5", "share of sentences", _probe("probe/recall@5"))
    utility = "probe: retrieval utility"
    _over(axes[1][0], runs, utility, "nats per masked token", _probe("probe/utility"))
    _over(axes[1][1], runs, "probe: p(null chunk | x)", "probability", _probe("probe/p_null"))
    axes[1][0].axhline(0, color=_GREY, linewidth=0.8)
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
        axes.plot(x, y, color=_COLOURS[number % len(_COLOURS)], label=run.name, marker=marker)
    if not drawn:
        axes.text(0.5, 0.5, "no figures", transform=axes.transAxes, ha="center", color=_GREY)


def _smooth_loss(history: History) -> Points:
    x, y = points_of(history.steps, "train/loss")
    return x, running_mean(y)


def _probe(name: str) -> Callable[[History], Points]:
    return lambda history: probe_points(history, name)


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
        axes.text(0.5, 0.5, "not measured", transform=axes.transAxes, ha="center", color=_GREY)
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


def distribution(probed: Probed) -> Picture:
    """Histograms of p(null|x) and of the largest p(z|x), and the mean by rank."""
    figure = new_figure(12, 4)
    null, best, ranks = figure.subplots(1, 3)
    _histogram(null, probed.p_null, "p(null chunk | x)", _GREY)
    _histogram(best, probed.p_best, "largest p(z|x) among the chunks", _COLOURS[0])
    places = np.arange(1, len(probed.p_by_rank) + 1)
    ranks.bar(places, probed.p_by_rank, color=_COLOURS[0])
    ranks.axhline(probed.p_null.mean(), color=_GREY, linestyle="--", label="null chunk")
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
    axes.axvline(values.mean(), color=_COLOURS[3], label=f"mean {values.mean():.3f}")
    axes.set_title(title, fontsize=10)
    axes.set_xlabel("probability")
    axes.set_ylabel("held-out sentences")
    axes.set_xlim(0, 1)
    axes.legend(fontsize=8)
