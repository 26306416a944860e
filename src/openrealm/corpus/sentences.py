"""Where sentences begin and end in a text, and which runs of them become chunks; knows counts of
tokens, nothing of tokenizers or files.

One regular expression finds every place that could end a sentence, and a few rules on the words
before and after it decide. A wrong boundary costs little here (chunks are packed from several
sentences), so the rules are short and fast rather than complete: abbreviations, initials, numbers,
ellipses, quotes and brackets, lower-case text with full stops set apart by spaces, and the full
stops of scripts that write without spaces. A newline always ends a sentence.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import IntEnum
from typing import NamedTuple

# Only what BERT's tokenizer, too, takes for white space: at these places text may be cut without
# changing its tokens. Python's `\s` has more (form feeds, say), which that tokenizer deletes,
# so that the words on both sides become one.
SPACES = frozenset(
    " \t\n\r\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)
_SPACE = "".join(sorted(SPACES))

# Quotation marks and dashes that look alike are meant here.
_CLOSING = "\"'”’»)\\]}"
_OPENING = "\"'“‘«(\\[¿¡"
_DASHES = "–—"
_WIDE_STOPS = "。！？｡"
_WIDE_CLOSING = "」』）】〉》”’\"'"
_STOPS = ".!?…।॥؟۔"

_NOTE = rf"\[\w{{1,3}}\] | :\d{{1,4}}(?:[{_DASHES}-]\d{{1,4}})?"  # "[12]", ":5-7"

_CANDIDATE = re.compile(
    # The set in front is what makes the search fast: it skips to the next of these characters.
    # Repetitions are bounded, so that a long row of dots takes no quadratic time.
    rf"""
    [{_STOPS}\n{_WIDE_STOPS}]
    (?: (?<=[{_STOPS}])
        (?: [ ]? [.!?…] ){{0,40}}                                      # "?!", "...", ". . ."
        (?: [{_CLOSING}] | {_NOTE} ){{0,20}}
        (?= [{_SPACE}] )
      | (?<=\n) \n*
      | (?<=[{_WIDE_STOPS}]) [{_WIDE_STOPS}]* [{_WIDE_CLOSING}]*       # no space need follow
    )
    """,
    re.VERBOSE,
)
_WORD_BEFORE = re.compile(rf"[^{_SPACE}{_OPENING}{_DASHES}/]*\Z")
_NEXT_WORD = re.compile(rf"[{_SPACE}]*[{_OPENING}]*([^{_SPACE}{_CLOSING},;:.!?]*)")
_LIST_NUMBER = re.compile(r"(?:\d{1,3}|[ivxIVX]{1,4}|[A-Za-z])\Z")
_DOTTED = re.compile(r"(?:[^\W\d_]{1,2}\.)+[^\W\d_]{1,2}\Z")  # U.S, a.m, Ph.D, J.R.R
_REPEATED = frozenset(".!?…")
_SPACED_LETTERS = re.compile(r"(?<!\S)[a-z] \. [a-z] \.")  # i . e .
# The longest word before a full stop that is looked at.
_MAX_WORD = 24


def words(text: str) -> frozenset[str]:
    """The words of a text as a set."""
    return frozenset(text.split())


# A name or a figure must follow, so these never end a sentence.
_NEVER_LAST = words(
    """dr mr mrs ms prof st ste mt ft gen col capt cpt cmdr lt sgt maj adm rev fr hon pres gov sen
    rep messrs mme mlle mmes sra e.g i.e eg ie cf viz vs v ca approx ibid"""
)
# The same, but only before a number ("No. 5", "pp. 3-4", "Jan. 7"); else an ordinary word.
_BEFORE_NUMBER = words(
    """no nos nr vol vols p pp fig figs eq eqs sec secs ch chap art op par para ref refs tab ex c
    b d r m jan feb mar apr jun jul aug sep sept oct nov dec"""
)
# These may end one; the next word decides.
_MAY_BE_LAST = words(
    """inc ltd co corp bros dept univ assn ave blvd rd jr sr esq etc al ed eds est govt intl mss ser
    bzw usw ff pl sing"""
)
_ABBREVIATIONS = _NEVER_LAST | _BEFORE_NUMBER | _MAY_BE_LAST
# Words that, capitalised, nearly always open a sentence.
_OPENERS = words(
    """The A An In It He She They This That These Those We I You But And However As At On For From
    After Before When While Where Although Though Since Because His Her Their Its Our My There Here
    Some Many Most Several By With Without To One Two If Such Both During Other Others Under Over
    Until Between Among Once Also Another All No Not Only Then Thus Therefore Today Who What Why How
    Which So Yet Now Or Nor Each Every Despite Unlike According Later Early"""
)


def split_sentences(text: str) -> list[tuple[int, int]]:
    """Character ``(start, stop)`` of each sentence of the text, in order.

    Sentences are trimmed of white space, never empty, do not overlap, and together hold every
    character of the text that is not white space.
    """
    spans: list[tuple[int, int]] = []
    start = 0
    # The rule on lower-case words would join all the sentences of a text without capitals.
    cased = not text.islower()
    for match in _CANDIDATE.finditer(text):
        mark, stop = match.span()
        if text[mark] == "\n" or _ends_sentence(text, start, mark, stop, cased=cased):
            _append(spans, text, start, stop)
            start = stop
    _append(spans, text, start, len(text))
    return spans


def _append(spans: list[tuple[int, int]], text: str, start: int, stop: int) -> None:
    while start < stop and text[start] in SPACES:
        start += 1
    while start < stop and text[stop - 1] in SPACES:
        stop -= 1
    if start < stop:
        spans.append((start, stop))


def _ends_sentence(text: str, start: int, mark: int, stop: int, *, cased: bool) -> bool:
    """Whether the marks ``text[mark:stop]`` end the sentence that begins at ``start``."""
    if stop == mark + 1 and text[mark] == ".":
        # By far the commonest cases first: a plain word, a full stop, a space, and a letter.
        following = text[stop + 1 : stop + 2]
        if cased and following.islower() and text[mark - 1 : mark] != " ":
            return False
        space = text.rfind(" ", max(start, mark - _MAX_WORD), mark)
        word = text[space + 1 : mark]
        plain = space >= 0 and len(word) > 1 and word.isalnum() and following.isupper()
        if plain and word.lower() not in _ABBREVIATIONS:
            return True
    return _marks_end_sentence(text, start, mark, stop, cased=cased)


def _marks_end_sentence(text: str, start: int, mark: int, stop: int, *, cased: bool) -> bool:
    """As `_ends_sentence`, for the marks that need a closer look."""
    if text[mark] in _WIDE_STOPS:
        return True
    single = text[mark] == "." and text[mark + 1] not in _REPEATED
    if single and text[mark - 1 : mark] == " ":
        # A full stop that stands apart ("the flow . it is") ends a sentence, but not in "i . e .".
        return _SPACED_LETTERS.search(text, max(0, mark - 6), mark + 5) is None
    next_word = _next_word(text, stop)
    if single:
        return _word_may_end(text, start, mark, next_word, cased=cased)
    if "…" in text[mark:stop] or ".." in text[mark:stop]:
        return next_word[:1].isupper() or not cased or not next_word.isascii()
    return not (cased and next_word[:1].islower())


def _next_word(text: str, stop: int) -> str:
    match = _NEXT_WORD.match(text, stop)
    return match.group(1) if match else ""


def _word_may_end(text: str, start: int, mark: int, next_word: str, *, cased: bool) -> bool:
    """Whether a single full stop ends a sentence, by the words before and after it."""
    if cased and next_word[:1].islower():
        return False
    match = _WORD_BEFORE.search(text, max(start, mark - _MAX_WORD), mark)
    word = match.group() if match else ""
    word_start = mark - len(word)
    if _LIST_NUMBER.match(word) and (word_start == 0 or text[word_start - 1] == "\n"):
        return False
    lower = word.lower()
    if lower in _NEVER_LAST:
        return False
    if lower in _BEFORE_NUMBER and next_word[:1].isdigit():
        return False
    is_initial = len(word) == 1 and word.isalpha()
    if is_initial or lower in _MAY_BE_LAST or _DOTTED.match(word):
        return not next_word or next_word in _OPENERS
    return True


# What becomes a chunk -----------------------------------------------------------------------------

# A document is a sequence of *units*: sentences, section heads and boilerplate lines, each with its
# number of tokens. Units are packed greedily, as in the paper; a chunk is a run of neighbours. The
# rules on short lines: a chunk neither is nor ends with a section head (which goes with the text
# that follows it), and neither begins nor ends with boilerplate. Both are dropped at the end of a
# document.


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
