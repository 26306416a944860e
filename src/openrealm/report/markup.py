"""Texts and values to HTML: every text goes through here, so that none is taken for markup.

Knows nothing of what a report tells.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Sequence

from openrealm.report.contents import Picture, Quote


def text(value: object) -> str:
    """A text as HTML shows it, in elements and in quoted attributes."""
    return html.escape(str(value), quote=True)


def paragraphs(sentences: Iterable[str]) -> str:
    """A paragraph of each."""
    return "".join(f"<p>{text(sentence)}</p>\n" for sentence in sentences)


def quoted(quote: Quote) -> str:
    """A piece of text with its place marked, if there is one."""
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
