"""What the words of a corpus tell: how it writes them, capitalised or not, and which phrases of it
are specific, for text whose names show no capitals; knows nothing of spans, and no grammar.

A word at the head of a sentence is capitalised whatever it is. Whether it is a name is told by how
the corpus writes it elsewhere, which one pass over the texts counts in bounded memory.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Set
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


# Specific phrases ---------------------------------------------------------------------------------

# A term is one to three words that few texts hold, yet at least two: rare enough to tell something,
# and to be found again elsewhere once it is masked.


MAX_TERM_WORDS = 3

# A term that more texts hold than this share, or than twice their root, is not specific.
_MAX_SHARE = 0.05
_MIN_COHESION = 0.1  # of the texts with the rarer end word: less is chance company
_MIN_BURSTINESS = 1.2
_MAX_PHRASES = 1_000_000
_MAX_TERMS = 300_000
_SAMPLE_CHARACTERS = 20_000_000


class TermsBuilder:
    """Counts in how many texts each phrase occurs.

    Only the first 20 million characters are counted, and phrases seen once are forgotten when there
    are too many, so that memory stays bounded and a large corpus costs no more than its head.
    """

    def __init__(self) -> None:
        """An empty count."""
        self._texts_with: Counter[str] = Counter()
        self._times: Counter[str] = Counter()
        self._num_texts = 0
        self._left = _SAMPLE_CHARACTERS

    def add(self, text: str) -> None:
        """Counts the phrases of one text."""
        if self._left <= 0:
            return
        self._left -= len(text)
        self._num_texts += 1
        words = [(m.start(), m.end()) for m in _word_pattern().finditer(text)]
        phrases = [phrase for phrase, _, _ in _phrases(text, words)]
        self._times.update(phrases)
        self._texts_with.update(set(phrases))
        if len(self._texts_with) > _MAX_PHRASES:
            for phrase in [p for p, count in self._texts_with.items() if count == 1]:
                del self._texts_with[phrase], self._times[phrase]

    def build(self) -> dict[str, float]:
        """Terms with their weight, the more specific the higher."""
        most = max(5, int(min(_MAX_SHARE * self._num_texts, 2 * math.sqrt(self._num_texts))))
        kept = {
            phrase: count
            for phrase, count in self._texts_with.items()
            if 2 <= count <= most and self._says_something(phrase, count)
        }
        rarest_first = sorted(kept, key=lambda phrase: (-kept[phrase], phrase))[:_MAX_TERMS]
        return {p: round(self._weight(p, kept[p]), 4) for p in sorted(rarest_first)}

    def _says_something(self, phrase: str, count: int) -> bool:
        words = phrase.split(" ")
        if len(words) == 1:
            return not _inflected(phrase) and self._burstiness(phrase) >= _MIN_BURSTINESS
        ends = (self._texts_with[words[0]], self._texts_with[words[-1]])
        return count >= _MIN_COHESION * min(ends)

    def _burstiness(self, phrase: str) -> float:
        """How often a text that holds the phrase repeats it, smoothed by one text with it once.

        What a text is about comes again and again, "immediate" comes once (Church and Gale, 1995).
        """
        return (self._times[phrase] + 1) / (self._texts_with[phrase] + 1)

    def _weight(self, phrase: str, count: int) -> float:
        # A phrase of several words says more than the rarest of them alone.
        length = 1 + 0.5 * phrase.count(" ")
        return math.log(self._num_texts / count) * length * self._burstiness(phrase)


class TermFinder:
    """Finds known terms in sentences."""

    def __init__(self, weights: Mapping[str, float]) -> None:
        """Terms with their weights."""
        self._weights = weights
        self._heads = frozenset(term.split(" ", 1)[0] for term in weights)

    def find(self, text: str, *, limit: int) -> list[tuple[int, int]]:
        """Characters of the most specific terms of one sentence, in order, none overlapping.

        Each term is taken once, at its first place, if it is at least half as specific as the best.

        Args:
            text: The sentence.
            limit: At most so many terms.
        """
        words = [(match.start(), match.end()) for match in _word_pattern().finditer(text)]
        known: dict[str, tuple[float, int, int]] = {}
        for phrase, start, stop in _phrases(text, words, self._heads):
            if phrase in self._weights and phrase not in known:
                known[phrase] = (self._weights[phrase], start, stop)
        chosen: list[tuple[int, int]] = []
        ranked = sorted(known.values(), key=lambda term: (-term[0], term[1]))
        for weight, start, stop in ranked:
            if len(chosen) == limit or weight < 0.5 * ranked[0][0]:
                break
            if all(stop <= other[0] or other[1] <= start for other in chosen):
                chosen.append((start, stop))
        return sorted(chosen)


def _inflected(phrase: str) -> bool:
    """Whether a single word looks like an inflected verb or an adverb; such a word is no term."""
    return " " not in phrase and phrase.endswith(("ly", "ing", "ed", "est", "izes", "ises"))


def _phrases(
    text: str, words: list[tuple[int, int]], heads: Set[str] | None = None
) -> Iterator[tuple[str, int, int]]:
    """Phrases of one to three words, only spaces between them, no function word at either end.

    With ``heads`` only those that begin with one of these words.
    """
    lowered = [text[start:stop].lower() for start, stop in words]
    for first, phrase in enumerate(lowered):
        if (heads is not None and phrase not in heads) or not _is_solid(phrase):
            continue
        yield phrase, words[first][0], words[first][1]
        for last in range(first + 1, min(first + MAX_TERM_WORDS, len(words))):
            if text[words[last - 1][1] : words[last][0]] != " ":
                break
            phrase = f"{phrase} {lowered[last]}"
            if _is_solid(lowered[last]):
                yield phrase, words[first][0], words[last][1]


def _is_solid(word: str) -> bool:
    return len(word) > 2 and word not in FUNCTION_WORDS


@lru_cache(maxsize=1)
def _word_pattern() -> re.Pattern[str]:
    return re.compile(r"[^\W\d_](?:[^\W_]|(?<=\w)-(?=\w))*")
