"""The parts of a report as HTML: figures, settings, provenance, masked sentences and candidates.

Every text goes through `text`, so that none is taken for markup.
"""

from __future__ import annotations

import base64
import datetime
import html
from collections.abc import Iterable, Sequence

from openrealm.report.contents import CandidateView, Example, Picture, Quote, RunFacts, StageFigures
from openrealm.report.sentences import number
from openrealm.report.words import MEASURES, measure_in_words, start_in_words


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


def percent(share: float) -> str:
    """A share between 0 and 1 as CSS takes it."""
    return f"{100 * min(max(share, 0.0), 1.0):.2f}%"


def bar(share: float) -> str:
    """A bar filled to a share between 0 and 1; the figure stands beside it."""
    return f'<span class="bar"><span style="width:{percent(share)}"></span></span>'


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


def _start(run: RunFacts) -> str:
    record = run.record
    return start_in_words(str(record.get("start", "unknown")), *record.get("ancestors", ()))


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
