"""Spans drawn at random, to compare salient ones with; knows nothing of what the words mean.

The paper's ablations (its table 2) mask random tokens, as BERT does, and random spans, as SpanBERT
does. Here both are functions of the seed and the text alone.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Iterator, Sequence
from functools import cached_property, lru_cache
from itertools import pairwise

from openrealm.corpus.sentences import split_sentences
from openrealm.data.spans import MAX_WORDS, Span

_STOP_PROBABILITY = 0.2  # of a span at each further word: SpanBERT's lengths, 3.8 words on average
_WORDS_PER_SPAN = 10


class RandomTagger:
    """Marks single words (``tokens``) or runs of words (``spans``) at random."""

    def __init__(self, kind: str, *, seed: int) -> None:
        """A tagger of either kind.

        Args:
            kind: ``tokens`` or ``spans``.
            seed: The same seed and text give the same spans, whatever other texts there are.
        """
        self.name = kind
        self._seed, self._max_words = seed, MAX_WORDS if kind == "spans" else 1

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of kind, seed and longest span."""
        return hashlib.sha256(f"{self.name} {self._seed} {self._max_words}".encode()).hexdigest()

    def tag(self, texts: Sequence[str]) -> list[list[Span]]:
        """Spans of each text, one for every ten words of a sentence but at least one."""
        return [list(self._draw(text)) for text in texts]

    def _draw(self, text: str) -> Iterator[Span]:
        digest = hashlib.blake2b(f"{self.fingerprint} {text}".encode()).digest()
        generator = random.Random(int.from_bytes(digest[:8], "big"))
        for first, last in split_sentences(text):
            words = [match.span() for match in _word_pattern().finditer(text, first, last)]
            count = min(len(words), max(1, len(words) // _WORDS_PER_SPAN))
            starts = sorted(generator.sample(range(len(words)), count))
            for start, limit in pairwise([*starts, len(words)]):
                stop = min(start + self._length(generator), limit)
                yield Span(words[start][0], words[stop - 1][1], "term")

    def _length(self, generator: random.Random) -> int:
        length = 1
        while length < self._max_words and generator.random() >= _STOP_PROBABILITY:
            length += 1
        return length


@lru_cache(maxsize=1)
def _word_pattern() -> re.Pattern[str]:
    return re.compile(r"[^\W_]+(?:[-'\u2019.,][^\W_]+)*")
