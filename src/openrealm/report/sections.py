"""The parts of a report: what a run's figures say in sentences, and as HTML the figures, settings,
provenance, masked sentences and candidates.
"""

from __future__ import annotations

import base64
import datetime
import html
import math
from collections.abc import Iterable, Sequence

from openrealm.models.starts import LABELLED_STARTS
from openrealm.report.contents import CandidateView, Example, Picture, Quote, RunFacts, StageFigures
from openrealm.report.words import MEASURES, measure_in_words, start_in_words

# What the figures say -----------------------------------------------------------------------------

# In plain language, and never more than they bear. A change is called one only where the 95%
# intervals before and after do not overlap, and where there are queries enough for the intervals to
# be leant on.


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
    record = run.record
    return start_in_words(str(record.get("start", "unknown")), *record.get("ancestors", ()))


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


# As HTML ------------------------------------------------------------------------------------------

# Every text goes through `text`, so that none is taken for markup.


def text(value: object) -> str:
    """A text as HTML shows it, in elements and in quoted attributes."""
    return html.escape(str(value), quote=True)


def paragraphs(sentences: Iterable[str]) -> str:
    """Each sentence as a paragraph."""
    return "".join(f"<p>{text(sentence)}</p>\n" for sentence in sentences)


def quoted(quote: Quote) -> str:
    """A quote as HTML, with its marked part if there is one."""
    marked = f"<mark>{text(quote.marked)}</mark>" if quote.marked else ""
    return f"{text(quote.before)}{marked}{text(quote.after)}"


def table(
    head: Sequence[str], rows: Sequence[Sequence[str]], *, caption: str, kind: str = ""
) -> str:
    """A table of cells that are HTML already, the first of each row its heading.

    It scrolls by itself where it is wider than the page. Cells know their column's heading, for a
    style that puts them under each other; so headings hold no element.
    """
    columns = "".join(f'<th scope="col">{cell}</th>' for cell in head)
    lines = []
    for first, *others in rows:
        cells = "".join(
            f'<td data-label="{label}">{cell}</td>' if label else f"<td>{cell}</td>"
            for label, cell in zip(head[1:] or [""] * len(others), others, strict=True)
        )
        lines.append(f'<tr><th scope="row">{first}</th>{cells}</tr>')
    thead = f"<thead><tr>{columns}</tr></thead>\n" if head else ""
    body = "\n".join(lines)
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="{text(caption)}">\n'
        f'<table class="{kind}">\n<caption>{text(caption)}</caption>\n{thead}'
        f"<tbody>\n{body}\n</tbody>\n</table>\n</div>\n"
    )


def figure(picture: Picture) -> str:
    """A picture inside the page itself."""
    data = base64.b64encode(picture.png).decode()
    return (
        f'<figure>\n<div class="wide" tabindex="0" role="region" aria-label="picture">'
        f'<img src="data:image/png;base64,{data}" alt="{text(picture.alt)}"></div>\n'
        f"<figcaption>{text(picture.caption)}</figcaption>\n</figure>\n"
    )


def percent(fraction: float) -> str:
    """A share between 0 and 1 as CSS takes it."""
    return f"{100 * min(max(fraction, 0.0), 1.0):.2f}%"


def bar(fraction: float) -> str:
    """A bar filled to a share between 0 and 1; the figure stands beside it."""
    return f'<span class="bar"><span style="width:{percent(fraction)}"></span></span>'


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
    """Says how many sentences the probe asked, and which stages have no intervals."""
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
    """A table of what made the run: weights, seed, versions, corpus."""
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


def _time(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds).isoformat(" ", "seconds")


LEGEND = (
    "Under each sentence, a column for every candidate: its width is p(z|x), the filled part of "
    "its height p(y|z,x); grey is the null chunk. Where one token is masked, the filled area is "
    "p(y|x). Where several are, p(y|x) and p(y|z,x) are geometric means over them. The masked "
    "words are marked where a candidate holds them."
)


def examples(chosen: Sequence[Example]) -> str:
    """All examples in order; only the first shows its candidates unfolded."""
    return "".join(_example(each, unfolded=not n) for n, each in enumerate(chosen))


def _example(example: Example, *, unfolded: bool) -> str:
    kind = "good" if example.utility > 0 else "bad"
    masks = " ".join(["[MASK]"] * example.num_masks)
    masked = Quote(example.sentence.before, masks, example.sentence.after)
    return (
        f"<article>\n<blockquote>{quoted(masked)}</blockquote>\n"
        f"<p>Masked: <strong>{text(example.sentence.marked)}</strong>. "
        f"p(y|x) {_probability(example.p_y)}, with the null chunk alone "
        f"{_probability(example.p_y_without)}: "
        f'utility <strong class="{kind}">{example.utility:+.2f}</strong> nats per token.</p>\n'
        f"{_mosaic(example.candidates)}"
        f"<details{' open' if unfolded else ''}><summary>{len(example.candidates)} candidates"
        f"</summary>\n{_candidates(example.candidates)}</details>\n</article>\n"
    )


def _mosaic(candidates: Sequence[CandidateView]) -> str:
    """Columns as wide as p(z|x), filled as high as p(y|z,x)."""
    columns = []
    for candidate in candidates:
        kind = ' class="null"' if candidate.excerpt is None else ""
        columns.append(
            f'<div{kind} style="flex:{candidate.p_z:.5f} 1 0" title="{text(candidate.title)}">'
            f'<div style="height:{percent(candidate.p_y_given_z)}"></div></div>'
        )
    says = "; ".join(
        f"{c.title}: p(z|x) {_probability(c.p_z)}, p(y|z,x) {_probability(c.p_y_given_z)}"
        for c in candidates
    )
    return f'<div class="mosaic" role="img" aria-label="{text(says)}">{"".join(columns)}</div>\n'


def _candidates(candidates: Sequence[CandidateView]) -> str:
    rows = [
        [
            _chunk(candidate),
            f"{_probability(candidate.p_z)}{bar(candidate.p_z)}",
            f"{_probability(candidate.p_y_given_z)}{bar(candidate.p_y_given_z)}",
            f"{candidate.utility:+.2f}" if candidate.excerpt is not None else "0",
        ]
        for candidate in candidates
    ]
    return table(
        ["chunk", "p(z|x)", "p(y|z,x)", "utility"],
        rows,
        caption="Candidates in the order of retrieval; utility is log p(y|z,x) - log p(y|null,x).",
        kind="candidates",
    )


def _chunk(candidate: CandidateView) -> str:
    if candidate.excerpt is None:
        return "<em>null chunk</em>"
    return f"<strong>{text(candidate.title)}</strong><span>{quoted(candidate.excerpt)}</span>"


def _probability(value: float) -> str:
    return f"{value:.3f}" if value >= 0.001 else f"{value:.0e}"
