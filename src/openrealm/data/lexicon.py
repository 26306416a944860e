"""How a corpus writes its words, capitalised or not; knows nothing of spans.

A word at the head of a sentence is capitalised whatever it is. Whether it is a name is told by how
the corpus writes it elsewhere, which one pass over the texts counts in bounded memory.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache


def word_set(words: str) -> frozenset[str]:
    """The words of a string, separated by white space."""
    return frozenset(words.split())


FUNCTION_WORDS = word_set(
    """
    a about above according across after afterwards again against all almost along already also
    although always am amid among amongst an and another any anyone anything are around as at away
    back be because been before behind being below beneath beside besides between beyond both but
    by can could despite did do does doing done down due during each either else enough etc even
    ever every everyone everything except few finally first following for formerly from further
    furthermore had has have having he hence her here hers herself him himself his how however i
    if in including indeed inside instead into is it its itself just last later latter least less
    let like likewise many may me meanwhile might mine more moreover most mostly much must my
    myself namely near nearly neither never nevertheless next no nobody none nonetheless nor not
    nothing notwithstanding now of off often on once one only onto or other others otherwise our
    ours ourselves out outside over own per perhaps please quite rather really recently same
    second see several shall she should similarly since so some somebody someone something
    sometimes soon still such than that the their theirs them themselves then there thereafter
    therefore these they third this those though three through throughout thus till to today
    together too toward towards two under unless unlike until up upon us use used using usually
    various very via was we well were what whatever when whenever where whereas wherever whether
    which while who whoever whole whom whose why will with within without would yet you your yours
    yourself don doesn didn isn wasn weren aren hasn haven hadn won wouldn couldn shouldn
    """
)
"""English words that are no content by themselves."""

_COMMON_RATIO = 15  # "big" is seen 8 times as often as "Big" in mid-sentence, "although" 1000 times
_MAX_WORDS = 1_000_000


@dataclass(frozen=True)
class Lexicon:
    """What a corpus shows about capitals: which capitalised words are names and which are not.

    Attributes:
        proper: Capitalised words that the corpus writes as names, so that one of them is a name
            even at the head of a sentence.
        common: Capitalised words that the corpus writes in lower case nearly always: at the head
            of a sentence they are no part of the name that follows.
    """

    proper: frozenset[str] = frozenset()
    common: frozenset[str] = frozenset()


def words_of(text: str) -> list[str]:
    """The runs of letters of a text."""
    words: list[str] = words_pattern().findall(text)
    return words


class LexiconBuilder:
    """Counts words over a stream of texts."""

    def __init__(self, *, max_words: int = _MAX_WORDS) -> None:
        """An empty count that holds at most about ``max_words`` different words."""
        self._max_words = max_words
        self._words: Counter[str] = Counter()
        self._in_mid_sentence: Counter[str] = Counter()

    def add(self, text: str) -> None:
        """Counts the words of one text."""
        self._words.update(words_of(text))
        self._in_mid_sentence.update(_mid_sentence_pattern().findall(text))
        for counts in (self._words, self._in_mid_sentence):
            if len(counts) > self._max_words:
                _drop_rarest(counts, keep=self._max_words // 2)

    def count(self, word: str) -> int:
        """How often a word was seen, in this spelling."""
        return self._words[word]

    @property
    def num_words(self) -> int:
        """How many words were seen (those since forgotten are not counted)."""
        return self._words.total()

    def build(self) -> Lexicon:
        """The lexicon that follows from the counts."""
        proper, common = set(), set()
        for word, count in self._words.items():
            if not word[0].isupper() or len(word) < 2:
                continue
            lower, middle = self._words[word.lower()], self._in_mid_sentence[word]
            if word.lower() in FUNCTION_WORDS:
                continue
            # Never in lower case: three heads of sentences are evidence enough.
            if middle > lower or (lower == 0 and count >= 3):
                proper.add(word)
            elif lower >= 3 and lower > _COMMON_RATIO * middle:
                common.add(word)
        return Lexicon(proper=frozenset(proper), common=frozenset(common))


def _drop_rarest(counts: Counter[str], *, keep: int) -> None:
    least = 1
    while len(counts) > keep:
        for word in [word for word, count in counts.items() if count <= least]:
            del counts[word]
        least *= 2


@lru_cache(maxsize=1)
def uppercase_class() -> str:
    """All capital letters of the basic plane, for use between the brackets of a pattern."""
    capitals = [c for c in map(chr, range(0x10000)) if unicodedata.category(c) in ("Lu", "Lt")]
    return "".join(map(re.escape, capitals))


@lru_cache(maxsize=1)
def words_pattern() -> re.Pattern[str]:
    """Runs of letters."""
    return re.compile(r"[^\W\d_]+")


@lru_cache(maxsize=1)
def _mid_sentence_pattern() -> re.Pattern[str]:
    # The class comes first because the search skips to it fast; what stands before is asked then.
    return re.compile(rf"[{uppercase_class()}](?<=[\w,;)] .)[^\W\d_]*")
