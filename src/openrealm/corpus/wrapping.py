"""Lines that a text was wrapped into, joined to paragraphs again; knows nothing of files."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence

# A line that was wrapped is about as long as the longest ones.
_FULL_SHARE = 0.7
_MIN_FULL_CHARS = 40
_MAX_FULL_CHARS = 120
_MIN_LINES = 3
# Of the breaks in the middle of a sentence, this share is followed by a lower-case letter in
# wrapped prose; in verse, lists and tables it is far less.
_LOWER_SHARE = 0.4
_SENTENCE_END = re.compile(r"[.!?:;…。！？][\"'”’»)\]]*\Z")
_HYPHEN_AT_END = re.compile(r"(?<=[^\W\d_])[-\u00ad\u2010]\n([a-zß-öø-ÿ]\S*) ?")


def join_wrapped_lines(text: str) -> str:
    r"""The text with a space for each newline inside a paragraph, if it looks wrapped.

    Text whose paragraphs are lines, verse, lists and tables stay as they are. Only single
    newlines are replaced, each by one character, so that offsets stay those of the file.
    """
    lines = text.split("\n")
    full = _full_width(lines)
    if full is None:
        return text
    joined = [lines[0]]
    for line, following in itertools.pairwise(lines):
        joined.append(" " if _goes_on(line, following, full) else "\n")
        joined.append(following)
    return "".join(joined)


def heal_hyphens(text: str) -> str:
    """The text with words that were divided at the end of a line in one piece.

    A hyphen before a lower-case letter is taken for a division, which is wrong for the few compound
    words that were divided at their own hyphen.
    """
    # The rest of the word moves up, so that the lines keep about the lengths that they had.
    return _HYPHEN_AT_END.sub(r"\1\n", text)


def _full_width(lines: Sequence[str]) -> float | None:
    """The least length of a line that was wrapped, or None where the text does not look so."""
    lengths = sorted(len(line) for line in lines if line.strip())
    if len(lengths) < _MIN_LINES:
        return None
    # The longest ones may be headers or addresses that were never wrapped.
    width = lengths[int(0.9 * (len(lengths) - 1))]
    if not _MIN_FULL_CHARS <= width <= _MAX_FULL_CHARS:
        return None
    full = _FULL_SHARE * width
    starts = [
        following.lstrip()[:1]
        for line, following in itertools.pairwise(lines)
        if _goes_on(line, following, full)
    ]
    lower = sum(start.islower() for start in starts)
    return full if starts and lower >= _LOWER_SHARE * len(starts) else None


def _goes_on(line: str, following: str, full: float) -> bool:
    """Whether a paragraph goes on over the end of a line; ends of sentences may stay."""
    if len(line) < full or not following.strip() or following[0] in " \t-*•|":
        return False
    return _SENTENCE_END.search(line.rstrip()) is None
