"""One picture of a run: is retrieval being learned? Drawn from its metrics and its record.

Knows the names of the figures, and nothing of the models, the corpus or the commands that they come
from.
"""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from openrealm.errors import InputError, MissingDependencyError
from openrealm.files import write_atomic
from openrealm.progress import Progress
from openrealm.runs.folders import RunFolder

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

logger = logging.getLogger(__name__)

Record = dict[str, Any]
Points = tuple[list[float], list[float]]

# Okabe and Ito's colours, which the colour-blind can tell apart.
COLOURS = _BLUE, _ORANGE, _GREEN, _RED, _PURPLE, _SKY = (
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
    "qa": _PURPLE,
}
GREY = "#666666"
_ZERO = "zero"  # marks a line that is no figure
_AT = (1, 5, 20)
_AT_COLOURS = (_BLUE, _GREEN, _ORANGE)


@dataclass(frozen=True)
class History:
    """What a run has logged, sorted by kind.

    Attributes:
        steps: Lines of training metrics.
        probes: Answers of the probe.
        swaps: Changes of the live index.
        reports: Measurements after each stage, those without a step left out.
        indexes: Stages that began with an index of their present weights.
    """

    steps: list[Record]
    probes: list[Record]
    swaps: list[Record]
    reports: list[Record]
    indexes: list[Record] = field(default_factory=list)

    def stages(self) -> list[tuple[str, float, float]]:
        """Name, first and last total step of each stage, in order."""
        spans: dict[str, tuple[float, float]] = {}
        for record in self.steps:
            name, step = str(record["stage"]), float(record["total_step"])
            first = spans[name][0] if name in spans else step - float(record["step"])
            spans[name] = (first, step)
        return [(name, first, last) for name, (first, last) in spans.items()]


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
    """An empty figure of so many hundred dots.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    require_matplotlib()
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=100, layout="constrained")


def read_history(run: RunFolder) -> History:
    """A run's metrics and stage reports; lines that are no JSON are left out with a warning.

    Raises:
        CheckpointError: The run's record is missing or damaged.
    """
    records = list(_records(run.metrics_file)) if run.metrics_file.is_file() else []
    reports = [r for r in run.read_record().get("stage_reports", ()) if "total_step" in r]
    return History(
        steps=[r for r in records if "event" not in r],
        probes=[r for r in records if r.get("event") == "probe"],
        swaps=[r for r in records if r.get("event") == "swap"],
        reports=reports,
        indexes=[r for r in records if r.get("event") == "index"],
    )


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
        colour = _STAGE_COLOURS.get(name, GREY)
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
    axes.axhline(0, color=GREY, linewidth=0.8, gid=_ZERO)
    _in_stages_and_probe(axes, history, "utility")


def _accuracy(axes: Axes, history: History) -> None:
    axes.set_title("masked tokens of the probe predicted", fontsize=10)
    axes.set_ylabel("share of tokens")
    _line(axes, probe_points(history, "probe/accuracy"), _BLUE, "with retrieval")
    _line(axes, probe_points(history, "probe/accuracy_without"), GREY, "null chunk alone")
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
    """A figure of the training batches of the reading stages, and of the probe."""
    for stage in ("warmup", "realm"):
        points = points_of(history.steps, f"{stage}/{name}")
        _line(axes, points, _STAGE_COLOURS[stage], f"{stage}, training batches", alpha=0.6)
    _line(axes, probe_points(history, f"probe/{name}"), _RED, "probe")


def _line(axes: Axes, points: Points, colour: str, label: str, *, alpha: float = 1.0) -> None:
    """A line with its place in the legend, if there is anything to draw."""
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
    """Bands for the stages, their names above the first row, a legend where there is anything."""
    axes.grid(alpha=0.25)
    stages = history.stages()
    axes.set_xlim(stages[0][1], stages[-1][2])
    for number, (name, first, last) in enumerate(stages):
        axes.axvspan(first, last, color=GREY, alpha=0.12 if number % 2 else 0.04, linewidth=0)
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
                color=GREY,
                in_layout=False,
            )
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=8, loc="best")
    elif not any(_is_drawn(line) for line in axes.get_lines()):
        axes.text(0.5, 0.5, "no figures yet", transform=axes.transAxes, ha="center", color=GREY)


# Figures ------------------------------------------------------------------------------------------


def staleness_points(history: History) -> Points:
    """Staleness over total steps as the saw that it is: up by one a step, down at each new index.

    It is logged every few steps only; between two lines that speak of different indexes, the
    change is where a swap was logged, or else where the newer index was made (a stage's beginning).
    """
    x: list[float] = []
    y: list[float] = []
    made_before = 0.0
    for record in history.steps:
        if "index/staleness" not in record:
            continue
        step = float(record["total_step"])
        made = step - float(record["index/staleness"])
        if x and made != made_before:
            between = [s for r in history.swaps if x[-1] <= (s := float(r["total_step"])) < step]
            changed = max(between, default=max(made, x[-1]))
            x += [changed, changed]
            y += [changed - made_before, changed - made]
        x.append(step)
        y.append(step - made)
        made_before = made
    return x, y


def probe_points(history: History, name: str) -> Points:
    """The probe's answers during training and after each stage, by step."""
    records = [*history.probes, *history.reports]
    return points_of(sorted(records, key=lambda r: float(r["total_step"])), name)


def points_of(records: Sequence[Record], name: str) -> Points:
    """A figure by step, of the records that have it."""
    chosen = [(float(r["total_step"]), float(r[name])) for r in records if name in r]
    return [x for x, _ in chosen], [y for _, y in chosen]


def running_mean(values: list[float], *, points: int = 60) -> list[float]:
    """Means over a window, where there are many more values than points to see."""
    window = len(values) // points
    if window < 2:
        return values
    return [
        sum(values[max(end - window, 0) : end]) / min(window, end)
        for end in range(1, len(values) + 1)
    ]


def _records(path: Path) -> Iterator[Record]:
    with open(path, encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, start=1):
            try:
                record = json.loads(line)
            except ValueError:
                logger.warning("%s, line %d is not whole; left out of the plot", path, number)
                continue
            if isinstance(record, dict) and "total_step" in record:
                yield record


def draw_run(run: RunFolder, progress: Progress) -> str | None:
    """The picture of a run; None without matplotlib, or where no step was logged."""
    try:
        return str(plot_run(run))
    except (MissingDependencyError, InputError) as error:
        progress.say(f"no picture was drawn: {error}")
        return None
