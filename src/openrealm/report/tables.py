"""Figures after each stage, settings that differ, and provenance, as HTML tables."""

from __future__ import annotations

import datetime
from collections.abc import Sequence

from openrealm.report.contents import RunFacts, StageFigures
from openrealm.report.markup import paragraphs, table, text
from openrealm.report.sentences import number
from openrealm.report.words import MEASURES, measure_in_words, start_in_words

_COUNTS = ("probe/queries",)


def stages(run: RunFacts) -> str:
    """Measures line by line, stages side by side, each mean over its 95% interval."""
    measured = [figures for figures in run.stages if figures.means]
    if not measured:
        return paragraphs(["Nothing was measured after a stage."])
    names = dict.fromkeys(n for figures in measured for n in figures.means if n not in _COUNTS)
    order = [name for name in MEASURES if name in names]
    order += [name for name in names if name not in MEASURES]
    rows = [
        [text(measure_in_words(name)), *(_cell(figures, name) for figures in measured)]
        for name in order
    ]
    head = ["after stage", *(text(figures.stage) for figures in measured)]
    has_intervals = any(figures.intervals for figures in measured)
    under = ", and under them their 95% confidence intervals (bootstrap)" if has_intervals else ""
    caption = f"Run {run.name}: means{under}."
    return table(head, rows, caption=caption) + paragraphs(_about(run, measured))


def _cell(figures: StageFigures, name: str) -> str:
    if name not in figures.means:
        return ""
    interval = figures.intervals.get(name)
    limits = f"<small>[{number(interval.low)}, {number(interval.high)}]</small>" if interval else ""
    return number(figures.means[name]) + limits


def _about(run: RunFacts, measured: Sequence[StageFigures]) -> list[str]:
    """Over how many sentences, and of what no interval was kept."""
    said = []
    if run.num_probe is not None:
        few = "; so few that its intervals are too narrow" if run.is_probe_small else ""
        said.append(
            f"The probe asks {run.num_probe} sentences that were held out from training{few}."
        )
    without = [figures.stage for figures in measured if not figures.intervals]
    if without:
        said.append(
            f"No intervals were kept of {', '.join(without)}: these stages were measured by an "
            "earlier version. The means alone do not tell how certain they are; "
            "the command evaluate measures again, with intervals."
        )
    return said


def differences(rows: Sequence[tuple[str, Sequence[str]]], names: Sequence[str]) -> str:
    """Settings that are not the same in all runs."""
    if not rows:
        return paragraphs(["The runs have the same settings."])
    cells = [[f"<code>{text(name)}</code>", *map(text, values)] for name, values in rows]
    head = ["setting", *map(text, names)]
    return table(head, cells, caption="Settings that differ between the runs.", kind="words")


def provenance(run: RunFacts) -> str:
    """What made the run."""
    record = run.record
    rows: list[tuple[str, str]] = [("first weights", _start(run))]
    rows += [
        (name, str(record[name]))
        for name in ("seed", "openrealm", "torch", "python")
        if name in record
    ]
    if "created" in record:
        rows.append(("created", _time(float(record["created"]))))
    times = [float(r["time"]) for r in run.history.steps if "time" in r]
    if times:
        rows.append(("last step logged", _time(max(times))))
    changed = "" if run.fits_corpus else " (the corpus has changed since)"
    rows += [("corpus", str(record.get("corpus", "unknown")) + changed)]
    rows += [(name, str(record[name])) for name in ("tokenizer", "chunks") if name in record]
    rows.append(("training texts", ", ".join(map(str, record.get("texts", ()))) or "the corpus"))
    rows.append(("checkpoints", "; ".join(run.checkpoints) or "none"))
    rows.append(("snapshots", ", ".join(map(str, run.generations)) or "none"))
    if run.in_training:
        rows.append(("state", "a process is training in it"))
    cells = [[text(name), text(value)] for name, value in rows]
    return table([], cells, caption=f"What made run {run.name}.", kind="words")


def _start(run: RunFacts) -> str:
    record = run.record
    return start_in_words(str(record.get("start", "unknown")), *record.get("ancestors", ()))


def _time(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds).isoformat(" ", "seconds")
