"""Questions made of the texts alone: a clause that lacks a span, beside another chunk that has it;
knows no model.

Spans that recur (Ram et al., 2021) are looked for with a question made of one clause in which they
stand (Lewis et al., 2019), in another chunk that tells much the same (Fabbri et al., 2020). All is
done on token ids: the texts were tokenised and their spans found before.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from openrealm.corpus.store import ChunkStore
from openrealm.data.matching import find_answer_spans, holds
from openrealm.data.pretraining import SpanTable, shuffled
from openrealm.errors import InputError
from openrealm.progress import Progress
from openrealm.tokenizer import WordPiece

Ids = npt.NDArray[np.int32]
Rows = npt.NDArray[np.int64]

_MAX_CHUNKS = 50_000  # that are read for spans: about a minute, and more than a run learns from
_MAX_PLACES, _MAX_QUESTIONS = 16, 8  # of one span
_LEAST_OVERLAP = 0.3  # of a clause with the chunk that is read, in the starter's experiments
_NOT_HERE = 0.2  # questions that are also read beside a chunk without the span
_MAX_HELD_OUT = 200
_MIN_CLAUSE, _LONG_CLAUSE, _MAX_CLAUSE = 5, 24, 36  # words
_NEAR, _RARE, _MAX_LIKELY = 4, 3, 24
_TOLD_EVERY = 1024


@dataclass(frozen=True)
class ClauseQuestion:
    """A clause without a span, as a question, and the chunk that it is read beside.

    Attributes:
        query_ids: The question.
        answer_ids: The span.
        source: The chunk that the clause is of.
        row: The chunk that is read.
        spans: ``(spans, 2)`` token spans (start, stop) of the answer, wherever that chunk has it;
            none where it does not stand there.
    """

    query_ids: Ids
    answer_ids: Ids
    source: int
    row: int
    spans: Ids


class RecurringSpans:
    """Questions for spans that stand in two chunks: some held out, a training stream of the rest.

    Those of a tenth of the spans are held out. In each pass the others are worded anew.
    """

    def __init__(
        self, store: ChunkStore, table: SpanTable, *, seed: int, progress: Progress
    ) -> None:
        """Looks for spans that recur.

        Args:
            store: The training texts; of more than 50,000 chunks a random part, whole documents.
            table: Their salient spans.
            seed: Seed of that part, the order and the wording; without the first, what is held out
                does not depend on it.
            progress: Where to tell how far it is.

        Raises:
            InputError: No span recurs beside words in common.
        """
        self._store, self._table, self._seed = store, table, seed
        self._wording = _Wording(store.tokenizer)
        pairs = _Pairing(store, table, _part(store, seed)).pairs(progress)
        self._pairs = np.array(pairs, dtype=np.int64).reshape(-1, 3)
        if not len(self._pairs):
            raise InputError(
                "no span of the training texts stands in two chunks that share words, so that "
                "there is nothing to learn reading from; leave the stage out: reading.steps=0"
            )
        keys = np.unique(self._pairs[:, 0])
        kept = np.random.default_rng(0).permutation(keys)[: len(keys) // 10]
        is_held_out = np.isin(self._pairs[:, 0], kept)
        self._training, held_out = np.flatnonzero(~is_held_out), np.flatnonzero(is_held_out)
        order = np.random.default_rng(0).permutation(len(held_out))
        self._held_out = np.sort(held_out[order[:_MAX_HELD_OUT]])

    def __len__(self) -> int:
        """Number of training questions in one pass."""
        return len(self._training)

    def batch(self, step: int, batch_size: int) -> list[ClauseQuestion]:
        """The training questions of one step."""
        questions = []
        for number in range(step * batch_size, (step + 1) * batch_size):
            epoch, place = divmod(number, len(self._training))
            pair = self._training[shuffled(len(self._training), self._seed, epoch)[place]]
            draw = np.random.default_rng((self._seed, 8, number))
            questions.append(self._question(int(pair), draw))
        return questions

    def held_out(self) -> list[ClauseQuestion]:
        """Questions that no step learns from; none where few spans recur."""
        return [self._question(n, np.random.default_rng((0, 9, n))) for n in self._held_out]

    def _question(self, pair: int, draw: np.random.Generator) -> ClauseQuestion:
        _, number, row = self._pairs[pair].tolist()
        source, span = int(self._table.rows[number]), self._table.spans[number]
        body = self._store.body_ids(source)
        clause = self._wording.clause(body, self._table.sentences[number], span)
        assert clause is not None
        answer = np.array(body[slice(*span)])
        return ClauseQuestion(
            query_ids=self._wording.question(body, clause, span, draw),
            answer_ids=answer,
            source=source,
            row=row,
            spans=_occurrences(self._store.body_ids(row), answer, self._store),
        )


# Which clause is read beside which chunk ----------------------------------------------------------


def _part(store: ChunkStore, seed: int) -> Rows:
    """Rows of whole documents, at most so many as are read in about a minute."""
    if len(store) <= _MAX_CHUNKS:
        return np.arange(len(store))
    order = np.random.default_rng((seed, 10)).permutation(store.num_documents)
    sizes = np.bincount(store.document_of, minlength=store.num_documents)[order]
    taken = np.zeros(store.num_documents, dtype=np.bool_)
    taken[order[sizes.cumsum() <= _MAX_CHUNKS]] = True
    return np.flatnonzero(taken[store.document_of])


class _Pairing:
    """Finds for each place of a span the other chunk with that span that is most like its clause.

    Chunks are compared by the words of the clause that they hold, the rare ones counting most.
    """

    def __init__(self, store: ChunkStore, table: SpanTable, rows: Rows) -> None:
        self._store, self._table, self._rows = store, table, rows
        self._words = _Words(store, rows)
        self._wording = _Wording(store.tokenizer)
        self._keys, self._holders = self._recurring()

    def _recurring(self) -> tuple[dict[int, int], list[Rows]]:
        """For places of spans that recur which span it is, and the chunks of each span."""
        table, inside = self._table, np.zeros(len(self._store), dtype=np.bool_)
        inside[self._rows] = True
        numbers: dict[bytes, int] = {}
        keys: dict[int, int] = {}
        holders: list[list[int]] = []
        places = np.flatnonzero(inside[table.rows]).tolist()
        for place in places:
            row = int(table.rows[place])
            ids = self._store.body_ids(row)[slice(*table.spans[place])]
            key = keys[place] = numbers.setdefault(ids.tobytes(), len(holders))
            if key == len(holders):
                holders.append([row])
            elif holders[key][-1] != row:
                holders[key].append(row)
        left = [_MAX_PLACES] * len(holders)
        recurring = {}
        # Not the first of them: those would all be of one document.
        for number in np.random.default_rng(0).permutation(len(keys)).tolist():
            place, key = places[number], keys[places[number]]
            if len(holders[key]) > 1 and left[key]:
                recurring[place] = key
                left[key] -= 1
        return dict(sorted(recurring.items())), [np.array(rows) for rows in holders]

    def pairs(self, progress: Progress) -> list[tuple[int, int, int]]:
        """Span, its place in the table, and the chunk to read; for some also one without it."""
        best: dict[int, list[tuple[float, int, int]]] = {}
        total = len(self._keys)
        with progress.task("looking for spans that recur", total=total, unit="spans") as task:
            for count, (place, key) in enumerate(self._keys.items()):
                if count % _TOLD_EVERY == 0:
                    task.advance(min(_TOLD_EVERY, total - count))
                found = self._best(place, self._holders[key])
                if found is not None:
                    best.setdefault(key, []).append((-found[0], place, found[1]))
        pairs = [
            (key, place, row)
            for key, found in best.items()
            for _, place, row in sorted(found)[:_MAX_QUESTIONS]
        ]
        return pairs + list(self._without(pairs))

    def _best(self, place: int, holders: Rows) -> tuple[float, int] | None:
        """Overlap and row of the chunk most like the clause of a place; None: none is like it."""
        row = int(self._table.rows[place])
        span, clause = self._clause(place)
        # The document's subject stands everywhere, and asking for it teaches nothing.
        if clause is None or {*span.tolist()} <= {*self._store.title_ids(row).tolist()}:
            return None
        for overlap, other in self._ranked(self._likely(holders, row, clause), clause):
            if overlap < _LEAST_OVERLAP:
                return None
            body = self._store.body_ids(other)
            # A chunk that says it in the same words needs no reading.
            if clause.ids.tobytes() not in body.tobytes() and holds(body, span, self._store):
                return overlap, other
        return None

    def _clause(self, place: int) -> tuple[Ids, _Clause | None]:
        """The tokens of a span, and its clause; None where that asks for nothing."""
        body, span = self._store.body_ids(int(self._table.rows[place])), self._table.spans[place]
        found = self._wording.clause(body, self._table.sentences[place], span)
        ids = body[slice(*span)]
        if found is None:
            return ids, None
        around = np.concatenate([body[found[0] : span[0]], body[span[1] : found[1]]])
        return ids, _Clause(body[slice(*found)], self._words.weighed(around))

    def _ranked(self, rows: Rows, clause: _Clause) -> Iterator[tuple[float, int]]:
        """Overlap and row of some chunks, those most like a clause first."""
        overlap = self._words.overlap(clause.words, rows)
        for at in np.argsort(-overlap, kind="stable"):
            yield float(overlap[at]), int(rows[at])

    def _likely(self, rows: Rows, row: int, clause: _Clause) -> Rows:
        """Of some chunks those to look at, the nearest first; of many, with rare words too."""
        if len(rows) > _MAX_LIKELY:
            at = int(np.searchsorted(rows, row))
            near = rows[max(0, at - _NEAR) : at + _NEAR + 1]
            rare = self._words.sharing(clause.words)
            rows = np.union1d(near, np.intersect1d(rare, rows, assume_unique=True))
        others = rows[rows != row]
        nearest: Rows = others[np.argsort(np.abs(others - row), kind="stable")]
        return nearest[:_MAX_LIKELY]

    def _without(self, pairs: Sequence[tuple[int, int, int]]) -> Iterator[tuple[int, int, int]]:
        """Some of the questions, each with the chunk most like its clause that lacks the span."""
        drawn = np.random.default_rng(0).random(len(pairs)) < _NOT_HERE
        for number in np.flatnonzero(drawn).tolist():
            key, place, _ = pairs[number]
            span, clause = self._clause(place)
            assert clause is not None
            likely = self._likely(self._rows, int(self._table.rows[place]), clause)
            for _, other in self._ranked(likely, clause):
                if not holds(self._store.body_ids(other), span, self._store):
                    yield key, place, other
                    break


@dataclass(frozen=True)
class _Clause:
    """The tokens of a clause, and its `weighed` words but for the span."""

    ids: Ids
    words: Ids


class _Words:
    """Which words stand in which chunks, and how rare each is."""

    def __init__(self, store: ChunkStore, rows: Rows) -> None:
        bodies = [np.unique(store.body_ids(int(row))) for row in rows]
        tokens = np.concatenate([*bodies, np.empty(0, dtype=np.int32)]).astype(np.int64)
        self._stride = max(len(store), 1)
        self._keys = np.sort(
            tokens * self._stride + np.repeat(rows, [len(body) for body in bodies])
        )
        tokenizer = store.tokenizer
        counts = np.bincount(tokens, minlength=tokenizer.vocab_size)
        self._weights = np.log((len(rows) + 1) / np.maximum(counts, 1))
        self._weights[~_has_letters(tokenizer)] = 0.0
        self._weights[tokenizer.unk_id] = 0.0

    def weighed(self, ids: Ids) -> Ids:
        """Those of some tokens that are words, each once, the rarest first."""
        ids = np.unique(ids)
        ids = ids[self._weights[ids] > 0]
        return ids[np.argsort(-self._weights[ids], kind="stable")]

    def sharing(self, tokens: Ids) -> Rows:
        """Chunks that hold one of the rarest of some `weighed` tokens."""
        parts = [np.empty(0, dtype=np.int64)]
        for token in tokens[:_RARE].astype(np.int64):
            begin = token * self._stride
            first, stop = np.searchsorted(self._keys, [begin, begin + self._stride])
            parts.append(self._keys[first:stop] - begin)
        return np.unique(np.concatenate(parts))

    def overlap(self, tokens: Ids, rows: Rows) -> npt.NDArray[np.float64]:
        """Share of the tokens, by weight, that each of some chunks holds ``(rows,)``."""
        wanted = tokens[:, None].astype(np.int64) * self._stride + rows
        at = np.searchsorted(self._keys, wanted).clip(max=len(self._keys) - 1)
        weights = self._weights[tokens]
        held: npt.NDArray[np.float64] = weights @ (self._keys[at] == wanted)
        return held / max(float(weights.sum()), 1.0)


# How a clause is worded ---------------------------------------------------------------------------

_MONTHS = "january february march april may june july august september october november december"
_DATE = re.compile(rf"\b(?:{_MONTHS.replace(' ', '|')})\b|\b(?:1\d|20)\d\d\b", re.IGNORECASE)
_YEAR = re.compile(r"[12]\d{3}")
_NUMBER_WORDS = (
    "two three four five six seven eight nine ten eleven twelve hundred thousand million"
)
_NUMBER = re.compile(rf"\d|\b(?:{_NUMBER_WORDS.replace(' ', '|')})\b", re.IGNORECASE)


class _Wording:
    """Clauses as questions, in tokens."""

    def __init__(self, tokenizer: WordPiece) -> None:
        self._tokenizer = tokenizer
        self._begins_word = _has_letters(tokenizer) & ~tokenizer.is_continuation
        self._is_cut, self._is_end = self._among(", ; :"), self._among(", ; .")
        self._is_bracket, self._is_article = self._among("( ["), self._among("the a an")
        self._is_place_word = self._among("in at near from to")
        self._digits = np.array(
            [tokenizer.token(n)[:1].isdigit() for n in range(tokenizer.vocab_size)]
        )

    def _among(self, words: str) -> npt.NDArray[np.bool_]:
        """``(vocab,)``: whether a token is one of some words."""
        is_one = np.zeros(self._tokenizer.vocab_size, dtype=np.bool_)
        for ids in self._tokenizer.encode_ids(words.split()):
            if len(ids) == 1:
                is_one[ids] = True
        return is_one

    def clause(self, body: Ids, sentence: Ids, span: Ids) -> tuple[int, int] | None:
        """The sentence around a span, cut at commas if it is long; None: it asks for nothing."""
        (start, stop), (first, last) = sentence.tolist(), span.tolist()
        # "female genital mutilation (FGM)"
        if first > start and self._is_bracket[body[first - 1]]:
            return None
        if self._num_words(body[start:stop]) >= _LONG_CLAUSE:
            cuts = [start, *self._after_commas(body, start, stop), stop]
            begin = next(a for a, b in pairwise(cuts) if a <= first < b)
            end = next(b for b in cuts if b >= last)
            if self._num_words(body[begin:end]) > _MIN_CLAUSE:
                start, stop = begin, end
        words = self._num_words(body[start:first]) + self._num_words(body[last:stop])
        return (start, stop) if _MIN_CLAUSE <= words < _MAX_CLAUSE else None

    def _after_commas(self, body: Ids, start: int, stop: int) -> list[int]:
        """Where pieces of a sentence begin; "1,204" is none."""
        at = start + np.flatnonzero(self._is_cut[body[start:stop]])
        at = at[(at > start) & (at + 1 < stop)]
        in_figure = self._digits[body[at - 1]] & self._digits[body[at + 1]]
        return [int(place) + 1 for place in at[~in_figure]]

    def _num_words(self, ids: Ids) -> int:
        return int(self._begins_word[ids].sum())

    def question(
        self, body: Ids, clause: tuple[int, int], span: Ids, draw: np.random.Generator
    ) -> Ids:
        """The words around a span as a question for it, in one of several forms."""
        before = self._stripped(body[clause[0] : span[0]])
        after = self._stripped(body[span[1] : clause[1]])
        asked = self._ids(self._asked(body[slice(*span)], before, draw))
        if len(before) and self._is_article[before[-1]]:  # belongs to the span
            before = before[:-1]
        form = draw.random()
        if form < 0.5:  # the order of Fabbri et al.
            parts = [asked, after, before, self._ids("?")]
        elif form < 0.75:
            parts = [before, asked, after, self._ids("?")]
        else:
            parts = [before, np.array([self._tokenizer.mask_id]), after]
        return np.concatenate(parts).astype(np.int32)

    def _stripped(self, ids: Ids) -> Ids:
        """Without marks at either end."""
        words = np.flatnonzero(~self._is_end[ids])
        return ids[words[0] : words[-1] + 1] if len(words) else ids[:0]

    def _asked(self, span: Ids, before: Ids, draw: np.random.Generator) -> str:
        """The question words for a span."""
        text = self._tokenizer.decode(span)
        words: tuple[str, ...]
        if _YEAR.fullmatch(text):
            words = ("when", "what year")
        elif _DATE.search(text):
            words = ("when",)
        elif _NUMBER.search(text):
            words = ("how many", "how much")
        elif len(before) and self._is_place_word[before[-1]]:
            words = ("where",)
        else:
            words = ("what", "who", "which")
        return words[int(draw.integers(len(words)))]

    def _ids(self, text: str) -> Ids:
        return self._tokenizer.encode(text).ids


def _has_letters(tokenizer: WordPiece) -> npt.NDArray[np.bool_]:
    """``(vocab,)``: whether a token has a letter or a figure, and is no mark."""
    tokens = (tokenizer.token(number) for number in range(tokenizer.vocab_size))
    return np.fromiter((any(map(str.isalnum, token)) for token in tokens), dtype=np.bool_)


def _occurrences(body: Ids, ids: Ids, store: ChunkStore) -> Ids:
    """Token spans (start, stop) of a span in a body, whole words only."""
    continues = store.tokenizer.is_continuation
    found = find_answer_spans(body, [ids.tolist()], is_continuation=continues)
    return found[~continues[body[found[:, 0]]]]
