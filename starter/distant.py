"""Readings out of questions that only have answers: passages that very likely answer them.

A question that names an article is read beside the passage of that article that holds an answer
and most of the question's words, rare words counting most. This finds fewer readings than a search
of all passages, and better ones.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from readings import MAX_OCCURRENCES, NO_SPANS, Reading, token_spans
from wiki import Article, Passage

from openrealm.data.matching import answer_words, find_regex_spans, has_answer
from openrealm.data.qa import Question
from openrealm.tokenizer import WordPiece

_LONGEST_TITLE = 8  # words
_MAX_ARTICLES = 4  # of one question
_BRACKETS = re.compile(r"\s*\([^)]*\)$")


@dataclass(frozen=True)
class Match:
    """A question beside a passage.

    Attributes:
        question: The question.
        passage: The text.
        overlap: Share of the question's words, weighted by rarity, that title and passage hold.
        answered: Whether the passage holds an answer.
    """

    question: Question
    passage: str
    overlap: float
    answered: bool


class TitleIndex:
    """Finds the articles that a text names."""

    def __init__(self, articles: Sequence[Article], weights: Mapping[str, float]) -> None:
        self._weights = weights
        self._numbers: dict[tuple[str, ...], list[int]] = defaultdict(list)
        for number, article in enumerate(articles):
            for title in {article.title, _BRACKETS.sub("", article.title)}:
                self._numbers[tuple(answer_words(title))].append(number)

    def named_in(self, words: Sequence[str]) -> list[int]:
        """Numbers of the articles whose titles stand in the words, the rarest titles first."""
        found: dict[tuple[str, ...], float] = {}
        taken = [False] * len(words)
        for size in range(min(_LONGEST_TITLE, len(words)), 0, -1):
            for start in range(len(words) - size + 1):
                title = tuple(words[start : start + size])
                if title in self._numbers and not any(taken[start : start + size]):
                    taken[start : start + size] = [True] * size
                    found[title] = sum(self._weights.get(word, 10.0) for word in title)
        best = sorted(found, key=lambda title: -found[title])
        return [n for title in best for n in self._numbers[title]][:_MAX_ARTICLES]


def word_weights(articles: Sequence[Article]) -> dict[str, float]:
    """How rare each word is: log of the share of the articles that hold it, negated."""
    counts: Counter[str] = Counter()
    for article in articles:
        counts.update(set(answer_words(article.text)))
    return {word: math.log((len(articles) + 1) / count) for word, count in counts.items()}


def matches(
    questions: Sequence[Question], articles: Sequence[Article], weights: Mapping[str, float]
) -> Iterator[Match]:
    """For each question the best passage that answers it and the best that does not."""
    titles = TitleIndex(articles, weights)
    passages: dict[int, list[Passage]] = {}
    for question in questions:
        words = [word for word in answer_words(question.text) if word.isalnum()]
        numbers = titles.named_in(words)
        for number in numbers:
            if number not in passages:
                passages[number] = [Passage(text) for text in articles[number].passages()]
        read = [
            (articles[number].title, passage) for number in numbers for passage in passages[number]
        ]
        yield from _best(question, set(words), read, weights)


def _best(
    question: Question,
    words: set[str],
    read: Sequence[tuple[str, Passage]],
    weights: Mapping[str, float],
) -> Iterator[Match]:
    asked = {word: weights.get(word, 10.0) for word in words}
    total = sum(asked.values()) or 1.0
    ranked: dict[bool, Match] = {}
    for title, passage in read:
        there = asked.keys() & {*passage.words, *answer_words(title)}
        overlap = sum(asked[word] for word in there) / total
        answered = _holds(passage, question)
        if answered not in ranked or overlap > ranked[answered].overlap:
            ranked[answered] = Match(question, passage.text, overlap, answered)
    yield from ranked.values()


def _holds(passage: Passage, question: Question) -> bool:
    if question.is_regex:
        return has_answer(passage.text, question.answers, is_regex=True)
    return has_answer(passage.words, question.answers)


def reading_of(match: Match, tokenizer: WordPiece) -> Reading:
    """The question beside the passage, with every place of an answer."""
    tokens = tokenizer.encode(match.passage)
    spans = NO_SPANS
    if match.answered:
        spans = token_spans(answer_places(match.question, match.passage), tokens.offsets)
    return Reading(tokenizer.encode(match.question.text).ids, tokens.ids, spans)


def answer_places(question: Question, text: str) -> list[tuple[int, int]]:
    """First character and length of the first few occurrences of any answer, whole words."""
    patterns = question.answers if question.is_regex else map(_pattern, question.answers)
    found = find_regex_spans(text, list(patterns))
    return [(start, stop - start) for start, stop in found][:MAX_OCCURRENCES]


def _pattern(answer: str) -> str:
    words = r"\s+".join(map(re.escape, answer.split()))
    return rf"(?<!\w){words}(?!\w)"


def chosen(
    found: Sequence[Match], *, least_overlap: float, unanswered: float, seed: int
) -> list[Match]:
    """Matches to learn from: answered ones above an overlap, and a share of those that are not.

    Args:
        found: What `matches` gave.
        least_overlap: Of an answered passage with its question.
        unanswered: Passages without an answer, as a share of those with one.
        seed: Which of them.
    """
    good = [match for match in found if match.answered and match.overlap >= least_overlap]
    asked = {match.question.id for match in good}
    rest = [match for match in found if not match.answered and match.question.id in asked]
    count = min(len(rest), round(unanswered * len(good)))
    rows = np.random.default_rng(seed).permutation(len(rest))[:count]
    return good + [rest[row] for row in sorted(rows)]
