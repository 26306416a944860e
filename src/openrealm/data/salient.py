"""What is masked: the taggers that find spans in training texts, one of which the settings choose.

The original's tagger was never released (realm_facts 1.2), so taggers are part of this package.
`RuleTagger` works offline on any text: dates, numbers, names, titles, terms, and no model. What it
knows of a corpus comes from one pass over its texts and can be kept as plain JSON. `RandomTagger`
draws spans as the paper's ablations do (its table 2). Somebody's trained model, by name, is in
`ner`.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property, lru_cache
from itertools import islice, pairwise
from typing import Any

from openrealm.corpus.sentences import split_sentences
from openrealm.data.lexicon import Lexicon, LexiconBuilder, TermFinder, TermsBuilder, words_of
from openrealm.data.names import Gazetteer, find_names
from openrealm.data.ner import spacy_tagger, transformers_tagger
from openrealm.data.patterns import find_dates_and_numbers
from openrealm.data.spans import MAX_WORDS, Span, SpanTagger, without_overlaps
from openrealm.errors import ConfigError, InputError
from openrealm.settings import SalientConfig

FORMAT = 1

_MAX_TERMS = 3  # in one sentence
_MAX_TITLES = 2_000_000
_RARE_COUNT = 50  # a title's word in lower case is rare when seen no more often than this,
_RARE_SHARE = 2e-6  # or no oftener than this share of all words


class RuleTagger:
    """Finds dates, numbers and names by rules, and terms where there are none of those."""

    name = "rules"

    def __init__(
        self,
        *,
        lexicon: Lexicon | None = None,
        gazetteer: Gazetteer | None = None,
        term_weights: Mapping[str, float] | None = None,
        terms: str = "fallback",
    ) -> None:
        """A tagger; without knowledge of a corpus it knows only what a capital tells.

        Args:
            lexicon: Which words the corpus writes as names.
            gazetteer: Titles of the corpus.
            term_weights: Terms of the corpus with their weights.
            terms: ``never``, ``fallback`` (in a sentence without other spans), ``always``.
        """
        self.lexicon = lexicon or Lexicon()
        self.gazetteer = gazetteer or Gazetteer()
        self.term_weights = dict(term_weights or {})
        self._term_finder = TermFinder(self.term_weights)
        self.terms = terms

    @classmethod
    def from_texts(
        cls,
        texts: Iterable[str],
        titles: Iterable[str] = (),
        *,
        terms: str = "fallback",
    ) -> RuleTagger:
        """A tagger that knows a corpus, after one pass over its texts in bounded memory.

        Args:
            texts: Whole documents or chunks; how many texts hold a phrase makes it a term or not.
            titles: The titles of the corpus, tagged in lower case too ("polonium") if rare enough.
            terms: As in `RuleTagger`.
        """
        words, phrases = LexiconBuilder(), TermsBuilder()
        counts_phrases = terms != "never"
        for text in texts:
            words.add(text)
            if counts_phrases:
                phrases.add(text)
        lexicon = words.build()
        most = max(_RARE_COUNT, int(_RARE_SHARE * words.num_words))
        gazetteer = Gazetteer.from_titles(
            islice(titles, _MAX_TITLES),
            lexicon=lexicon,
            is_rare=lambda word: words.count(word) <= most,
        )
        return cls(lexicon=lexicon, gazetteer=gazetteer, term_weights=phrases.build(), terms=terms)

    def tag(self, texts: Sequence[str]) -> list[list[Span]]:
        """The spans of each text, in order, none overlapping another."""
        return [self._tag_one(text) for text in texts]

    def _tag_one(self, text: str) -> list[Span]:
        words = frozenset(words_of(text))
        candidates = find_dates_and_numbers(text, words)
        candidates += find_names(text, lexicon=self.lexicon, gazetteer=self.gazetteer)
        candidates += [Span(*topic, "entity") for topic in self.gazetteer.topics_in(text, words)]
        spans = without_overlaps(candidates)
        spans = [s for s in spans if text.count(" ", s.start, s.stop) < MAX_WORDS]
        if self.terms == "never" or not self.term_weights:
            return spans
        return sorted([*spans, *self._terms(text, spans)], key=lambda span: span.start)

    def _terms(self, text: str, taken: Sequence[Span]) -> Iterator[Span]:
        """Terms that overlap no span, sentence by sentence."""
        next_span = 0
        for first, last in split_sentences(text):
            while next_span < len(taken) and taken[next_span].stop <= first:
                next_span += 1
            stop_span = next_span
            while stop_span < len(taken) and taken[stop_span].start < last:
                stop_span += 1
            inside = taken[next_span:stop_span]
            if inside and self.terms == "fallback":
                continue
            sentence = text[first:last]
            for start, stop in self._term_finder.find(sentence, limit=_MAX_TERMS):
                term = Span(first + start, first + stop, "term")
                if all(term.stop <= span.start or span.stop <= term.start for span in inside):
                    yield term

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of `to_dict`."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """All that the tagger knows, ready for JSON."""
        return {
            "format": FORMAT,
            "proper": sorted(self.lexicon.proper),
            "common": sorted(self.lexicon.common),
            "names": sorted(self.gazetteer.names),
            "topics": sorted(self.gazetteer.topics),
            "term_weights": self.term_weights,
            "terms": self.terms,
            "max_words": MAX_WORDS,
            "max_terms": _MAX_TERMS,
        }

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> RuleTagger:
        """The tagger that `to_dict` described.

        Raises:
            InputError: Another version's dictionary, or not one of a tagger.
        """
        version = saved.get("format") if isinstance(saved, Mapping) else None
        if version != FORMAT:
            raise InputError(
                f"the saved tagger has format {version!r}; this version reads {FORMAT}"
            )
        try:
            return cls(
                lexicon=Lexicon(frozenset(saved["proper"]), frozenset(saved["common"])),
                gazetteer=Gazetteer(names=saved["names"], topics=saved["topics"]),
                term_weights=saved["term_weights"],
                terms=saved["terms"],
            )
        except KeyError as error:
            raise InputError(f"the saved tagger lacks {error}; build it again") from error


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


def make_tagger(
    config: SalientConfig, *, texts: Iterable[str], titles: Iterable[str], seed: int
) -> SpanTagger:
    """The tagger that the config asks for.

    Args:
        config: Its kind and options.
        texts: The training texts, read once, and only by ``rules``.
        titles: Their titles, likewise.
        seed: Seed of the random taggers.

    Raises:
        ConfigError: An unknown kind, or a model that cannot be loaded.
        MissingDependencyError: A library or pipeline that is not installed.
    """
    kind, _, model = config.kind.partition(":")
    if config.kind == "rules":
        return RuleTagger.from_texts(texts, titles, terms=config.terms)
    if config.kind in ("tokens", "spans"):
        return RandomTagger(config.kind, seed=seed)
    if kind == "spacy" and model:
        return spacy_tagger(model)
    if kind == "hf" and model:
        return transformers_tagger(model)
    raise ConfigError(
        f"salient.kind = {config.kind!r} is unknown; use rules, tokens, spans, spacy:NAME or "
        "hf:NAME_OR_PATH"
    )
