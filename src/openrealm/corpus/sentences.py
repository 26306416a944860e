"""Where sentences begin and end in a text; knows nothing of tokens or chunks.

One regular expression finds every place that could end a sentence, and a few rules on the words
before and after it decide. A wrong boundary costs little here (chunks are packed from several
sentences), so the rules are short and fast rather than complete: abbreviations, initials, numbers,
ellipses, quotes and brackets, lower-case text with full stops set apart by spaces, and the full
stops of scripts that write without spaces. A newline always ends a sentence.
"""

from __future__ import annotations

import re

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
