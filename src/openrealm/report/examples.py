"""Masked sentences with their candidates as HTML: what retrieval was worth, chunk by chunk."""

from __future__ import annotations

from collections.abc import Sequence

from openrealm.report.contents import CandidateView, Example, Quote
from openrealm.report.markup import bar, percent, quoted, table, text

LEGEND = (
    "Under each sentence, a column for every candidate: its width is p(z|x), the filled part of "
    "its height p(y|z,x); grey is the null chunk. Where one token is masked, the filled area is "
    "p(y|x). Where several are, p(y|x) and p(y|z,x) are geometric means over them. The masked "
    "words are marked where a candidate holds them."
)


def examples(chosen: Sequence[Example]) -> str:
    """One after the other, the candidates of the first unfolded."""
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
