"""Named entities as capitalised sequences, and the titles of a corpus; knows no dates and no terms.

A sequence of capitalised words is a name, unless it is only a word that a sentence begins with.
How a corpus spells each word comes in from outside (`lexicon`). Its titles make a `Gazetteer`: a
title such as "New York City" or "Polonium" is a *name* where it is written with capitals in
mid-sentence, and a *topic* where it is not ("polonium", "filet crochet"). Both are looked up, the
longest match first.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Set
from functools import lru_cache

from openrealm.data.lexicon import FUNCTION_WORDS, Lexicon, uppercase_class, word_set, words_of
from openrealm.data.spans import Span

_MAX_TITLE_WORDS = 12


class Gazetteer:
    """Titles that can be looked up at a character of a text."""

    def __init__(self, *, names: Iterable[str] = (), topics: Iterable[str] = ()) -> None:
        """Titles written with capitals, and titles in lower case.

        ``heads`` are the first words of all of them: no title begins with another.
        """
        self.names = frozenset(names)
        self.topics = frozenset(topics)
        self._by_head = _group_by_head(self.names | self.topics)
        self.heads = frozenset(first for first, _ in self._by_head)
        starts = {words_of(topic)[0] for topic in self.topics}
        self._topic_starts = frozenset(starts | {start[0].upper() + start[1:] for start in starts})

    @classmethod
    def from_titles(
        cls, titles: Iterable[str], *, lexicon: Lexicon, is_rare: Callable[[str], bool]
    ) -> Gazetteer:
        """Sorts titles into names and topics.

        A topic is kept if one of its words is rare in the corpus: a corpus with an article on
        "Water" does not make every mention of water a fact worth asking for.

        Args:
            titles: Titles as they stand; "Mercury (planet)" is looked up as "Mercury".
            lexicon: Tells whether a one-word title is a name.
            is_rare: Whether a word in lower case is rare.
        """
        names, topics = set(), set()
        for title in titles:
            plain = re.sub(r"\s*\([^()]*\)\s*$", "", " ".join(title.split()))
            words = plain.split(" ")
            if not plain[:1].isupper() or len(plain) < 2 or len(words) > _MAX_TITLE_WORDS:
                continue
            if _is_name(words, lexicon):
                names.add(plain)
            elif any(is_rare(word) for word in words_of(plain.lower())):
                topics.add(plain[0].lower() + plain[1:])
        return cls(names=names, topics=topics)

    def name_at(self, text: str, start: int) -> int | None:
        """Where the longest name that begins at ``start`` ends, None if none does."""
        return self._longest(text, start, "")

    def topics_in(self, text: str, words: Set[str]) -> list[tuple[int, int]]:
        """Characters of all topics, in lower case or with their first letter capitalised.

        Args:
            text: The text.
            words: Its words (`words_of`), which tell most texts without a topic at once.
        """
        topics = []
        # Most texts hold none of the words, and the few that occur are found fast by themselves.
        for word in self._topic_starts & words:
            start = text.find(word)
            while start >= 0:
                if not text[start - 1 : start].isalpha():
                    stop = self._longest(text, start, word[0].lower())
                    if stop is not None:
                        topics.append((start, stop))
                start = text.find(word, start + len(word))
        return sorted(topics)

    def _longest(self, text: str, start: int, first_letter: str) -> int | None:
        head = _head_pattern().match(text, start)
        if head is None:
            return None
        first, second = head.groups()
        if first_letter:
            first = first_letter + first[1:]
        if first not in self.heads:
            return None
        for key in ((first, second), (first, None)) if second else ((first, None),):
            for title in self._by_head.get(key, ()):
                stop = start + len(title)
                same = text.startswith(title[1:], start + 1) and title[0] == first[0]
                if same and not text[stop : stop + 1].isalnum():
                    return stop
        return None


def _is_name(words: list[str], lexicon: Lexicon) -> bool:
    if len(words) == 1:
        parts = words[0].split("-")
        return words[0] in lexicon.proper or (
            not words[0].islower() and not words[0].istitle() and len(parts) == 1
        )
    later = [word for word in words[1:] if word[:1].isalpha()]
    return any(word[0].isupper() and word.lower() not in FUNCTION_WORDS for word in later)


def _group_by_head(titles: Iterable[str]) -> dict[tuple[str, str | None], tuple[str, ...]]:
    groups: dict[tuple[str, str | None], list[str]] = {}
    for title in titles:
        head = _head_pattern().match(title)
        if head is not None:
            groups.setdefault((head.group(1), head.group(2)), []).append(title)
    return {key: tuple(sorted(group, key=lambda t: (-len(t), t))) for key, group in groups.items()}


@lru_cache(maxsize=1)
def _head_pattern() -> re.Pattern[str]:
    # The first word, and the second where nothing but a space stands between.
    return re.compile(r"(\w+)(?: (\w+))?")


_Piece = tuple[int, int, str]  # start, stop, word

# What may stand between the words of one name; "and" may not: "Rome and Carthage".
_JOINING_WORDS = (
    "&,of,of the,the,de,de la,de las,de los,del,da,do,dos,das,du,des,di,della,la,le,van,van der,"
    "van den,van de,von,von der,zu,der,den,y,ibn,bin"
)
_JOINS = frozenset([" ", " al-", " el-", *(f" {words} " for words in _JOINING_WORDS.split(","))])
_ABBREVIATIONS = word_set(
    """
    Mr Mrs Ms Dr St Mt Ft Jr Sr Prof Gen Col Capt Lt Sgt Rev Sen Rep Gov Hon Inc Ltd Co Corp Bros
    No Vol Op Jan Feb Mar Apr Jun Jul Aug Sep Sept Oct Nov Dec vs ca approx cf fig ed eds
    """
)
_AFTER_COMMA = frozenset(["Inc", "Ltd", "Jr", "Sr", "LLC"])
_HONORIFICS = word_set(
    """
    Mr Mrs Ms Miss Dr Prof Professor Gen Col Capt Lt Sgt Rev Sen Senator Rep Gov King Queen
    President Emperor Empress Pope
    """
)
_NO_NAMES = word_set(
    """
    January February March April May June July August September October November December Monday
    Tuesday Wednesday Thursday Friday Saturday Sunday BC BCE CE AD ISBN ISSN DOI
    """
)
_TITLE_CONNECTORS = word_set(
    """
    a an and are as at be by de et for from in into is la le of on or the to und vs with
    """
)

_QUOTES = '"\u201c\u2018\u00ab'
_OPENING = f" \t[('\u201d{_QUOTES}"


def find_names(text: str, *, lexicon: Lexicon, gazetteer: Gazetteer) -> list[Span]:
    """All names of a text; spans may overlap."""
    if text.isupper():
        return []  # SHOUTING carries no information in its capitals
    spans = [Span(start, stop, "entity") for start, stop in _quoted_titles(text)]
    for run in _runs(text):
        for start, end, word in run:
            if word in gazetteer.heads or not word.isalnum():
                stop = gazetteer.name_at(text, start)
                # A title of one word says no more than the lexicon: "King" is a surname, too.
                if stop is not None and stop > end:
                    spans.append(Span(start, stop, "entity"))
        trimmed = _trimmed(text, run, lexicon)
        if trimmed is not None:
            spans.append(Span(*trimmed, "entity"))
    return spans


def begins_sentence(text: str, start: int) -> bool:
    """Whether the word at ``start`` is capitalised because of where it stands."""
    if start > 1 and text[start - 1] == " " and text[start - 2].isalnum():
        return False
    before_it = start - 1
    while before_it >= 0 and text[before_it] in _OPENING:
        before_it -= 1
    if before_it < 0:
        return True
    before, between = text[before_it], text[before_it + 1 : start]
    if before == ".":
        word = _last_word_pattern().search(text, max(0, before_it - 12), before_it)
        return word is None or not (len(word.group()) == 1 or word.group() in _ABBREVIATIONS)
    if before in "!?\n…•*":
        return True
    # A quotation after a comma is a sentence, a word in quotation marks is not.
    return before == "," and any(mark in between for mark in _QUOTES)


def _runs(text: str) -> Iterator[list[_Piece]]:
    """Sequences of capitalised words, joined by spaces or by short words such as "of"."""
    run: list[_Piece] = []
    for match in _capitalised_pattern().finditer(text):
        start, stop = match.span()
        word = match.group()
        if text[stop : stop + 1] == "." and word in _ABBREVIATIONS:
            stop += 1
        if run:
            gap = text[run[-1][1] : start]
            joined = gap in _JOINS or (gap == ", " and word in _AFTER_COMMA)
            ends_here = word.lower() in FUNCTION_WORDS and word != "I"  # Otto I
            if not joined or ends_here or word in _NO_NAMES:
                yield run
                run = []
        run.append((start, stop, text[start:stop]))
    if run:
        yield run


def _trimmed(text: str, run: list[_Piece], lexicon: Lexicon) -> tuple[int, int] | None:
    words = [word for _, _, word in run]
    first, last = 0, len(run)
    while first < last and words[first].lower() in FUNCTION_WORDS:
        first += 1
    at_head = first == 0 and last > 0 and begins_sentence(text, run[0][0])
    if at_head and last > 1 and words[0] in lexicon.common:
        first, at_head = 1, False
    while first + 1 < last and words[first].rstrip(".") in _HONORIFICS:
        first, at_head = first + 1, False
    if first == last:
        return None
    if last - first == 1 and not _is_name_alone(words[first], lexicon, at_head=at_head):
        return None
    # A HEADING IN CAPITALS, likewise.
    if last - first > 3 and all(word.isupper() for word in words[first:last]):
        return None
    return run[first][0], run[last - 1][1]


def _is_name_alone(word: str, lexicon: Lexicon, *, at_head: bool) -> bool:
    if len(word.rstrip(".")) < 2 or word in _NO_NAMES or word.rstrip(".") in _HONORIFICS:
        return False
    if _roman_pattern().fullmatch(word):
        return False
    # U.S., NATO, McDonald, Spider-Man: the capital is not the sentence's alone.
    return not at_head or word in lexicon.proper or not word[1:].islower()


def _quoted_titles(text: str) -> Iterator[tuple[int, int]]:
    if '"' not in text and "“" not in text:
        return
    for match in _quoted_pattern().finditer(text):
        words = [w for w in match.group(1).split() if w[0].isalnum()]
        named = [w for w in words if w[0].isupper() or w[0].isdigit()]
        if len(match.group(1)) < 2 or not words:
            continue
        if len(words) == 1 and begins_sentence(text, match.start(1)):
            continue
        if words[0].lower() in FUNCTION_WORDS and len(named) < 2:
            continue
        if all(word in _TITLE_CONNECTORS for word in words if word not in named):
            yield match.span(1)


@lru_cache(maxsize=1)
def _capitalised_pattern() -> re.Pattern[str]:
    # The class comes first because the search skips to it fast; what stands before is asked then.
    capital = f"[{uppercase_class()}]"
    contraction = r"(?!(?:s|t|m|d|re|ve|ll)\b)"
    return re.compile(
        rf"{capital}(?<!\w.)(?:(?:\.{capital})+(?!\w)\.?"  # U.S.
        rf"|\.(?= ?{capital})"  # J. R. R. Tolkien
        rf"|\w*(?:&{capital}\w*)*(?:['\u2019]{contraction}\w+)*(?:-(?=[\d{uppercase_class()}])\w+)*)"
    )


@lru_cache(maxsize=1)
def _quoted_pattern() -> re.Pattern[str]:
    capital = f"[{uppercase_class()}]"
    return re.compile(rf'["“]({capital}[^"“”\n]{{0,80}}?)[,.;!?]?["”]')


@lru_cache(maxsize=1)
def _roman_pattern() -> re.Pattern[str]:
    return re.compile(r"M*(?:CM|CD|D?C{0,3})(?:XC|XL|L?X{0,3})(?:IX|IV|V?I{0,3})")


@lru_cache(maxsize=1)
def _last_word_pattern() -> re.Pattern[str]:
    return re.compile(r"\w+$")
