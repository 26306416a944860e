"""The titles of a corpus as a list of names, longest match first; knows no sentence.

A title such as "New York City" or "Polonium" is a *name* where it is written with capitals in
mid-sentence, and a *topic* where it is not ("polonium", "filet crochet"). Both are looked up.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Set
from functools import lru_cache

from openrealm.data.lexicon import FUNCTION_WORDS, Lexicon, words_of

_MAX_TITLE_WORDS = 12


class Gazetteer:
    """Titles that can be looked up at a place in a text."""

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
        found = []
        # Most texts hold none of the words, and the few that occur are found fast by themselves.
        for word in self._topic_starts & words:
            start = text.find(word)
            while start >= 0:
                if not text[start - 1 : start].isalpha():
                    stop = self._longest(text, start, word[0].lower())
                    if stop is not None:
                        found.append((start, stop))
                start = text.find(word, start + len(word))
        return sorted(found)

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
