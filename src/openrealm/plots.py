"""One picture of a run: is retrieval being learned? Drawn from its metrics and its record.

Knows the names of the figures, and nothing of the models, the corpus or the commands that they come
from.
"""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from openrealm.errors import InputError, MissingDependencyError
from openrealm.files import write_atomic
from openrealm.workspace import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

logger = logging.getLogger(__name__)

Record = dict[str, Any]
Points = tuple[list[float], list[float]]

# Okabe and Ito's colours, which the colour-blind can tell apart.
_BLUE, _ORANGE, _GREEN, _RED, _PURPLE, _SKY = (
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
_GREY = "#666666"
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
    """

    steps: list[Record]
    probes: list[Record]
    swaps: list[Record]
    reports: list[Record]

    def stages(self) -> list[tuple[str, float, float]]:
        """Name, first and last total step of each stage, in order."""
        spans: dict[str, tuple[float, float]] = {}
        for record in self.steps:
            name, step = str(record["stage"]), float(record["total_step"])
            first = spans[name][0] if name in spans else step - float(record["step"])
            spans[name] = (first, step)
        return [(name, first, last) for name, (first, last) in spans.items()]


def plot_run(run: Run, target: Path | None = None) -> Path:
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
    figure = draw(history, title=_title(run))
    picture = io.BytesIO()
    figure.savefig(picture, format="png")
    target = target or run.plots / "run.png"
    target.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(target, picture.getvalue())
    return target


def read_history(run: Run) -> History:
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
    )


def draw(history: History, *, title: str) -> Figure:
    """The picture: six panels over the same axis of training steps, stages as bands."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependencyError(
            "plots need matplotlib, which is not installed: pip install 'openrealm[plots]'"
        ) from error
    figure = Figure(figsize=(12, 9), dpi=100, layout="constrained")
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


def _title(run: Run) -> str:
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
        x, y = _points([r for r in history.steps if r["stage"] == name], "train/loss")
        colour = _STAGE_COLOURS.get(name, _GREY)
        smooth = _running_mean(y)
        if smooth != y:
            axes.plot(x, y, color=colour, alpha=0.3, linewidth=0.8)
        axes.plot(x, smooth, color=colour)  # the bands name the stages
    axes.set_ylim(bottom=0)


def _recall(axes: Axes, history: History) -> None:
    axes.set_title("recall: probe (lines), held-out queries after each stage (dots)", fontsize=10)
    axes.set_ylabel("share of queries")
    for k, colour in zip(_AT, _AT_COLOURS, strict=True):
        axes.plot(*_probe_points(history, f"probe/recall@{k}"), color=colour, label=f"at {k}")
        x, y = _points(history.reports, f"held_out/recall@{k}")
        axes.plot(x, y, "o--", color=colour, linewidth=0.8, markersize=7, clip_on=False)
    axes.set_ylim(0, _top(axes))


def _utility(axes: Axes, history: History) -> None:
    axes.set_title("retrieval utility: log p(y|x) - log p(y|null chunk, x)", fontsize=10)
    axes.set_ylabel("nats per masked token")
    axes.axhline(0, color=_GREY, linewidth=0.8)
    for name in ("warmup", "realm"):
        x, y = _points(history.steps, f"{name}/utility")
        axes.plot(x, y, color=_STAGE_COLOURS[name], alpha=0.6, label=f"{name}, training batches")
    axes.plot(*_probe_points(history, "probe/utility"), color=_RED, label="probe")


def _accuracy(axes: Axes, history: History) -> None:
    axes.set_title("masked tokens of the probe predicted", fontsize=10)
    axes.set_ylabel("share of tokens")
    axes.plot(*_probe_points(history, "probe/accuracy"), color=_BLUE, label="with retrieval")
    axes.plot(
        *_probe_points(history, "probe/accuracy_without"), color=_GREY, label="null chunk alone"
    )
    axes.set_ylim(0, _top(axes))


def _p_null(axes: Axes, history: History) -> None:
    axes.set_title("p(null chunk | x)", fontsize=10)
    axes.set_ylabel("probability")
    for name in ("warmup", "realm"):
        x, y = _points(history.steps, f"{name}/p_null")
        axes.plot(x, y, color=_STAGE_COLOURS[name], alpha=0.6, label=f"{name}, training batches")
    axes.plot(*_probe_points(history, "probe/p_null"), color=_RED, label="probe")
    axes.set_ylim(0, 1.02)


def _staleness(axes: Axes, history: History) -> None:
    axes.set_title("staleness of the live index", fontsize=10)
    axes.set_ylabel("steps since its weights")
    axes.plot(*staleness_points(history), color=_BLUE, label="staleness")
    swaps = [float(r["total_step"]) for r in history.swaps]  # in the course of a stage
    axes.plot(swaps, [0.0] * len(swaps), "^", color=_RED, markersize=7, label="index swapped")
    axes.set_ylim(bottom=0)


def _top(axes: Axes) -> float:
    """Upper end of an axis of shares: above what is drawn, at least 0.1, at most about 1."""
    drawn = [float(y) for line in axes.get_lines() for y in np.asarray(line.get_ydata())]
    return min(max(1.2 * max(drawn, default=0.0), 0.1), 1.02)


def _finish(axes: Axes, history: History, *, names: bool) -> None:
    """Bands for the stages, their names above the first row, a legend where there is anything."""
    axes.grid(alpha=0.25)
    axes.margins(x=0.01)
    for number, (name, first, last) in enumerate(history.stages()):
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
            )
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=8, loc="best")


# Figures ------------------------------------------------------------------------------------------


def staleness_points(history: History) -> Points:
    """Staleness over total steps as the saw that it is: up by one a step, to zero at a new index.

    It is logged every few steps only. From its value follows when the index was made; the tooth
    before is drawn up to there.
    """
    x: list[float] = []
    y: list[float] = []
    for record in history.steps:
        if "index/staleness" not in record:
            continue
        step, staleness = float(record["total_step"]), float(record["index/staleness"])
        made = step - staleness
        if x and made > x[-1] - y[-1]:
            x += [made, made]
            y += [y[-1] + made - x[-3], 0.0]
        x.append(step)
        y.append(staleness)
    return x, y


def _probe_points(history: History, name: str) -> Points:
    """The probe's answers during training and after each stage, by step."""
    records = [*history.probes, *history.reports]
    return _points(sorted(records, key=lambda r: float(r["total_step"])), name)


def _points(records: Sequence[Record], name: str) -> Points:
    chosen = [(float(r["total_step"]), float(r[name])) for r in records if name in r]
    return [x for x, _ in chosen], [y for _, y in chosen]


def _running_mean(values: list[float], *, points: int = 60) -> list[float]:
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
