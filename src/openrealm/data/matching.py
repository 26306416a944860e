"""Where an answer stands in a text, in words, characters or tokens; knows nothing of files.

This is distant supervision: a chunk that holds an answer is taken for evidence, and every place
where it stands is taken for right.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from openrealm.corpus.store import ChunkStore
from openrealm.metrics import compiled_pattern

Ids = npt.NDArray[np.int32]

_LAST_ASSIGNED = 0x32000  # beyond lie tags, variation selectors and private use


def answer_words(text: str) -> list[str]:
    """The words of a text, normalised for comparison with answers.

    NFD (an accent is split off but stays), lower case; a word is a run of letters, digits and
    marks, and every other visible character is a word of its own.
    Source: SimpleTokenizer of facebookresearch/DPR, which reports recall in this way.
    """
    words: list[str] = _word_pattern().findall(unicodedata.normalize("NFD", text).lower())
    return words


def has_answer(
    text: str | Sequence[str],
    answers: Sequence[str],
    *,
    is_regex: bool = False,
    raw: bool = False,
) -> bool:
    """Whether a text holds any of the answers.

    Args:
        text: The text, or its `answer_words` where it is asked about many times.
        answers: Answers, or regular expressions. Empty ones are held by no text, and a regular
            expression that does not compile matches nothing.
        is_regex: Search the text for the answers as regular expressions, ignoring case.
        raw: Look for the answer as a substring, letter by letter, case included, as the original
            computes recall (orqa/models/orqa_model.py). It finds "art" in "party".

    Raises:
        TypeError: Words were given where the text itself is needed (``raw``, ``is_regex``).
    """
    if is_regex or raw:
        if not isinstance(text, str):
            raise TypeError("a raw or regular-expression match takes the text, not its words")
        if is_regex:
            return next(_regex_spans(text, answers), None) is not None
        return any(answer in text for answer in answers if answer)
    words = answer_words(text) if isinstance(text, str) else text
    haystack = f" {' '.join(words)} "
    needles = (_joined_words(answer) for answer in answers)
    return any(needle in haystack for needle in needles if needle != "  ")


def find_regex_spans(text: str, patterns: Sequence[str]) -> list[tuple[int, int]]:
    """Characters ``(start, stop)`` of all matches of any pattern, ignoring case, in order."""
    return sorted(set(_regex_spans(text, patterns)))


def find_answer_spans(
    body_ids: npt.ArrayLike,
    answer_ids_list: Sequence[Sequence[int]],
    *,
    is_continuation: npt.NDArray[np.bool_] | None = None,
) -> Ids:
    """Tokens ``(spans, 2)``, start and stop, of all occurrences of any answer, in order.

    Args:
        body_ids: ``(seq,)`` token ids of the text searched.
        answer_ids_list: Token ids of each answer; an empty one occurs nowhere.
        is_continuation: ``(vocab,)``, True for tokens that go on a word. With it an occurrence
            that ends inside a word is left out ("art" in "art ##istic").
    """
    body = np.asarray(body_ids, dtype=np.int32)
    spans: set[tuple[int, int]] = set()
    for answer in {tuple(map(int, answer)) for answer in answer_ids_list}:
        starts = _occurrences(body, answer)
        if is_continuation is not None and len(starts):
            after = np.append(is_continuation[body], False)[starts + len(answer)]
            starts = starts[~after]
        spans.update((start, start + len(answer)) for start in starts.tolist())
    return np.array(sorted(spans), dtype=np.int32).reshape(-1, 2)


def covering_tokens(offsets: npt.NDArray[np.int32], start: int, stop: int) -> tuple[int, int]:
    """Tokens ``(first, last + 1)`` that share a character with ``text[start:stop]``.

    Empty (``first == last + 1``) where no token does.

    Args:
        offsets: ``(seq, 2)`` characters of each token, in the order of the text.
        start: First character.
        stop: Character after the last.
    """
    first = int(np.searchsorted(offsets[:, 1], start, side="right"))
    last = int(np.searchsorted(offsets[:, 0], stop, side="left"))
    return first, max(first, last)


def _occurrences(body: Ids, answer: tuple[int, ...]) -> npt.NDArray[np.intp]:
    if not answer or len(answer) > len(body):
        return np.empty(0, dtype=np.intp)
    starts = np.flatnonzero(body[: len(body) - len(answer) + 1] == answer[0])
    for offset, token in enumerate(answer[1:], start=1):
        starts = starts[body[starts + offset] == token]
    return starts


def _regex_spans(text: str, patterns: Sequence[str]) -> Iterator[tuple[int, int]]:
    for pattern in patterns:
        compiled = compiled_pattern(pattern)
        if compiled is not None:
            yield from (m.span() for m in compiled.finditer(text) if m.end() > m.start())


@lru_cache(maxsize=65536)
def _joined_words(answer: str) -> str:
    return f" {' '.join(answer_words(answer))} "


@lru_cache(maxsize=1)
def _word_pattern() -> re.Pattern[str]:
    # The standard library's classes know letters and digits, but neither marks (M) nor the
    # invisible categories (Z, C); they are gathered from the Unicode table once, on first use.
    marks = _character_class("M") + "\U000e0100-\U000e01ef"
    invisible = _character_class("ZC") + "\U00032000-\U0010ffff"
    # These classes are searched range by range: ASCII, the usual case, is asked first.
    beyond = "(?=[^\\x00-\\x7f])"
    return re.compile(f"(?:[^\\W_]+|{beyond}[{marks}]+)+|[!-~]|{beyond}[^{invisible}]")


def _character_class(categories: str) -> str:
    ranges: list[list[int]] = []
    for point in range(_LAST_ASSIGNED):
        if unicodedata.category(chr(point))[0] in categories:
            if ranges and ranges[-1][1] == point - 1:
                ranges[-1][1] = point
            else:
                ranges.append([point, point])
    return "".join(f"\\U{first:08x}-\\U{last:08x}" for first, last in ranges)


def holds(
    body_ids: npt.NDArray[np.int32], targets: npt.NDArray[np.int32], store: ChunkStore
) -> bool:
    """Whether a chunk holds a token sequence as whole words."""
    continues = store.tokenizer.is_continuation
    spans = find_answer_spans(body_ids, [targets.tolist()], is_continuation=continues)
    return any(not continues[body_ids[start]] for start, _ in spans)
