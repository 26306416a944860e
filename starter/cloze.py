"""Readings out of articles alone: a sentence that lacks a span, beside a passage that has it.

Spans that recur in an article (Ram et al., 2021) are looked for with a question made of one
sentence in which they stand (Lewis et al., 2019), in another passage of the article that tells
much the same (Fabbri et al., 2020). No question that a person asked is needed.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from readings import MAX_OCCURRENCES, Reading, occurrences, token_spans
from wiki import Article, Passage

from openrealm.corpus.sentences import split_sentences
from openrealm.data.matching import answer_words
from openrealm.data.spans import Span, SpanTagger
from openrealm.tokenizer import WordPiece

_MAX_PASSAGES = 40  # of an article
_MAX_PLACES = 4  # of a span
_MAX_CLAUSE = 24  # words
_MIN_CLAUSE = 5
_MAX_QUESTION = 36
_YEAR = re.compile(r"[12]\d{3}")
_LEANING = re.compile(r"\s+(?:the|a|an)$", re.IGNORECASE)  # belongs to the span
_IN_BRACKETS = re.compile(r"\($")  # "female genital mutilation (FGM)" asks for nothing
_PLACE_WORDS = frozenset(("in", "at", "near", "from", "to"))
_ASKED = {"date": ("when",), "number": ("how many", "how much"), "term": ("what", "which")}
_ENTITY = ("what", "who", "which")


@dataclass(frozen=True)
class Cloze:
    """A sentence without one of its spans, and where that may be read.

    Attributes:
        question: The sentence as a question.
        answer: The span.
        passage: Another passage of its article that holds the span.
        overlap: Share of the other words of the sentence, weighted by rarity, that it holds too.
    """

    question: str
    answer: str
    passage: str
    overlap: float


def clozes(
    article: Article,
    tagger: SpanTagger,
    weights: Mapping[str, float],
    generator: np.random.Generator,
    *,
    least_overlap: float,
) -> Iterator[Cloze]:
    """For each span that recurs in the article the pair of sentence and passage most alike."""
    passages = [Passage(text) for text in article.passages()[:_MAX_PASSAGES]]
    tagged = tagger.tag([passage.text for passage in passages])
    places: dict[str, dict[int, Span]] = defaultdict(dict)
    for number, spans in enumerate(tagged):
        for span in spans:
            places[passages[number].text[span.start : span.stop]].setdefault(number, span)
    title = set(answer_words(article.title))
    for answer, found in sorted(places.items()):
        # The article's subject stands everywhere, and asking for it teaches nothing.
        if len(found) < 2 or title >= set(answer_words(answer)):
            continue
        few = list(found.items())[:_MAX_PLACES]
        best = max(
            (
                _cloze(answer, passages[source], span, passages[target], weights, generator)
                for source, span in few
                for target, _ in few
                if source != target
            ),
            key=lambda cloze: cloze.overlap,
        )
        if (
            best.overlap >= least_overlap
            and _MIN_CLAUSE < len(best.question.split()) <= _MAX_QUESTION
        ):
            yield best


def _cloze(
    answer: str,
    source: Passage,
    span: Span,
    read: Passage,
    weights: Mapping[str, float],
    generator: np.random.Generator,
) -> Cloze:
    start, stop = clause_around(source.text, span)
    before, after = source.text[start : span.start], source.text[span.stop : stop]
    if _IN_BRACKETS.search(before):
        return Cloze("", answer, read.text, 0.0)
    there = set(read.words)
    asked = {
        word: weights.get(word, 10.0)
        for word in answer_words(f"{before} {after}")
        if word.isalnum()
    }
    held = sum(weight for word, weight in asked.items() if word in there)
    question = pseudo_question(before, after, answer, span.kind, generator)
    return Cloze(question, answer, read.text, held / max(sum(asked.values()), 1.0))


def clause_around(text: str, span: Span) -> tuple[int, int]:
    """Characters of the clause in which a span stands: its sentence, cut at commas if long."""
    start, stop = next(
        (
            (first, last)
            for first, last in split_sentences(text)
            if first <= span.start and span.stop <= last
        ),
        (span.start, span.stop),
    )
    commas = [match.end() for match in re.finditer(r"[,;:]\s", text[start:stop])]
    cuts = [start, *(start + comma for comma in commas), stop]
    inside = [(a, b) for a, b in pairwise(cuts) if a <= span.start < b]
    if not inside or text.count(" ", start, stop) < _MAX_CLAUSE:
        return start, stop
    first, last = inside[0][0], max(inside[0][1], span.stop)
    return (first, last) if text.count(" ", first, last) >= _MIN_CLAUSE else (start, stop)


def pseudo_question(
    before: str, after: str, answer: str, kind: str, generator: np.random.Generator
) -> str:
    """The words around a span as a question for it, in one of several forms."""
    asked = _question_words(before, answer, kind, generator)
    before, after = _LEANING.sub("", before.strip(" ,;")), after.strip(" ,;.")
    form = generator.random()
    if form < 0.5:  # the order of Fabbri et al.: question word, what follows, what goes before
        return f"{asked} {after} {before}?" if after else f"{asked} {before}?"
    if form < 0.75:
        return f"{before} {asked} {after}?"
    return f"{before} [MASK] {after}"


def _question_words(before: str, answer: str, kind: str, generator: np.random.Generator) -> str:
    if kind == "entity" and before.split()[-1:] and before.split()[-1].lower() in _PLACE_WORDS:
        return "where"
    if _YEAR.fullmatch(answer):
        return str(generator.choice(["when", "what year"]))
    return str(generator.choice(_ASKED.get(kind, _ENTITY)))


def reading_of(cloze: Cloze, tokenizer: WordPiece) -> Reading:
    """The question beside the passage, every place of the span being right."""
    tokens = tokenizer.encode(cloze.passage)
    found = occurrences(cloze.answer, cloze.passage)[:MAX_OCCURRENCES]
    spans = token_spans([(start, len(cloze.answer)) for start in found], tokens.offsets)
    return Reading(_ids(cloze.question, tokenizer), tokens.ids, spans)


def _ids(question: str, tokenizer: WordPiece) -> np.ndarray:
    """Token ids in which ``[MASK]`` is the token and not its name."""
    before, mask, after = question.partition("[MASK]")
    parts = [tokenizer.encode(before).ids]
    if mask:
        parts += [np.array([tokenizer.mask_id], dtype=np.int32), tokenizer.encode(after).ids]
    return np.concatenate(parts)
