"""Which stretches of a document become chunks; knows token counts, nothing of tokenizers or files.

A document is a sequence of *units*: sentences, section heads and boilerplate lines, each with its
number of tokens. Units are packed greedily, as in the paper; a chunk is a run of neighbours.
The rules on short lines: a chunk neither is nor ends with a section head (which goes with the text
that follows it), and neither begins nor ends with boilerplate. Both are dropped at the end of a
document.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import IntEnum
from typing import NamedTuple

from openrealm.corpus.sentences import split_sentences, words


class Kind(IntEnum):
    """What a unit is worth to a chunk."""

    SENTENCE = 0
    HEAD = 1
    BOILERPLATE = 2
    ITEM = 3  # a short line among others, as in a list: content, but too little for a chunk


# What no chunk may end with: it belongs to the text that follows.
_LEANING = (Kind.HEAD, Kind.BOILERPLATE)


class Unit(NamedTuple):
    """Characters ``start`` to ``stop`` of a document, which are never parted.

    ``detached`` units must open a chunk: they were cut off in the middle of a word, so that
    their tokens are right only with nothing before them.
    """

    start: int
    stop: int
    kind: Kind
    detached: bool = False


_MAX_LINE = 100
_LINE_END = ("\n", "")
_MAX_HEAD = 80
_MAX_HEAD_WORDS = 10

# A short line with one of these says something; it is a sentence, not a head.
_VERBS = words(
    """is was are were be been being has had have does did will would can could might must should
    died became began went came gave said says he she it they we i you there this these contains
    consists includes include won lost"""
)
_BOILERPLATE = re.compile(
    r"""
    [\W_]*                                                    # neither letter nor digit
    | \d{1,3}                                                  # the number of a page
    | (?:references|notes|footnotes|citations|see\ also|external\ links?|further\ reading
        |notes\ and\ references|(?:primary|secondary|other)\ sources|table\ of\ contents|contents
        |\[?edit\]?|back\ to\ top|advertisement|share\ this.*|print\ this.*|sign\ in|log\ in
        |privacy\ policy|terms\ of\ (?:use|service)|cookie\ (?:policy|settings)|home|menu
        |more\ spoken\ articles|media\ related\ to.*|at\ dmoz|coordinates)\s*[.:]?
    | (?:jump|skip)\ to\ .*
    | .*\ball\ rights\ reserved\b.*
    | (?:copyright\ )?(?:©|\(c\)\ )\s?\d{4}.*
    | page\ \d+(?:\ of\ \d+)?
    | retrieved\ from\ .*
    | this\ page\ was\ last\ .*
    | [|!{}].*                                                # what is left of wiki templates
    | \#\w+:.*
    | ">em;
    """,
    re.VERBOSE | re.IGNORECASE,
)


def split_units(text: str) -> list[Unit]:
    """The units of a document's text, in order, not overlapping.

    A text in which nothing but heads and boilerplate is found consists of sentences: no document
    is lost to these rules.
    """
    units = [Unit(start, stop, Kind.SENTENCE) for start, stop in split_sentences(text)]
    for number, (start, stop, _, _) in enumerate(units):
        if stop - start <= _MAX_LINE and text[stop : stop + 1] in _LINE_END:
            units[number] = Unit(start, stop, _kind(text, start, stop))
    if all(unit.kind is not Kind.SENTENCE for unit in units):
        return [unit._replace(kind=Kind.SENTENCE) for unit in units]
    for number, unit in enumerate(units):
        if unit.kind is Kind.HEAD and text[unit.stop - 1] not in ".:":
            # Short lines without a full stop one after another, or at the end, are a list's items.
            following = units[number + 1 : number + 2]
            if not following or following[0].kind is not Kind.SENTENCE:
                units[number] = unit._replace(kind=Kind.ITEM)
    return units


def _kind(text: str, start: int, stop: int) -> Kind:
    if start > 0 and text[start - 1] != "\n":
        return Kind.SENTENCE
    line = text[start:stop]
    if _BOILERPLATE.fullmatch(line):
        return Kind.BOILERPLATE
    return Kind.HEAD if _looks_like_head(line) else Kind.SENTENCE


def _looks_like_head(line: str) -> bool:
    if len(line) > _MAX_HEAD or line[-1] in "!?;,…" or line[0].islower():
        return False
    parts = line.lower().rstrip(".:").split()
    return len(parts) <= _MAX_HEAD_WORDS and _VERBS.isdisjoint(parts)


def pack(
    units: Sequence[Unit], counts: Sequence[int], *, budget: int, min_tokens: int
) -> list[tuple[int, int]]:
    """Runs ``(first, last + 1)`` of units, each of at most ``budget`` tokens.

    Args:
        units: A document's units; none has more than ``budget`` tokens.
        counts: The number of tokens of each unit.
        budget: The most tokens of a chunk's body.
        min_tokens: A last chunk with fewer takes units from the end of the one before it, as long
            as that keeps this many.
    """
    runs: list[tuple[int, int]] = []
    first = 0
    while first < len(units):
        if units[first].kind is Kind.BOILERPLATE:
            first += 1
            continue
        last = _fill(units, counts, first, budget)
        trimmed = _trim(units, first, last)
        if trimmed == first and last == len(units):
            break
        # A run of nothing but heads that fills a chunk is a list after all.
        last = last if trimmed == first else trimmed
        runs.append((first, last))
        first = last
    if len(runs) > 1:
        _balance(runs, units, counts, budget=budget, min_tokens=min_tokens)
        runs = [run for run in runs if not _is_lone_item(units, run)]
    return [run for run in runs if sum(counts[run[0] : run[1]]) > 0]


def _is_lone_item(units: Sequence[Unit], run: tuple[int, int]) -> bool:
    return run[1] - run[0] == 1 and units[run[0]].kind is Kind.ITEM


def _fill(units: Sequence[Unit], counts: Sequence[int], first: int, budget: int) -> int:
    tokens = counts[first]
    last = first + 1
    while last < len(units) and not units[last].detached:
        tokens += counts[last]
        if tokens > budget:
            break
        last += 1
    return last


def _trim(units: Sequence[Unit], first: int, last: int) -> int:
    while last > first and units[last - 1].kind in _LEANING:
        last -= 1
    return last


def _balance(
    runs: list[tuple[int, int]],
    units: Sequence[Unit],
    counts: Sequence[int],
    *,
    budget: int,
    min_tokens: int,
) -> None:
    """Moves the border of the last two runs to the left until the last is long enough."""
    (before, border), (begin, end) = runs[-2:]
    if border != begin or units[begin].detached:
        return
    tail, rest = sum(counts[begin:end]), sum(counts[before:border])
    if tail >= min_tokens:
        return
    for first in range(begin - 1, before, -1):
        tail += counts[first]
        rest -= counts[first]
        if tail > budget or rest < min_tokens:
            return
        clean = units[first - 1].kind not in _LEANING
        if tail >= min_tokens and clean and units[first].kind is not Kind.BOILERPLATE:
            runs[-2:] = [(before, first), (first, end)]
            return
        if units[first].detached:
            return
