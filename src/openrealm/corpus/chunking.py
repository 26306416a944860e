"""Documents to chunks with their token ids; knows nothing of files or stores.

As in the paper, sentences are packed greedily until ``[CLS] title [SEP] body [SEP]`` would exceed
`ChunkingConfig.chunk_tokens`. A chunk's body is a slice of the document's text, and its token ids
are those of that slice. The title gets at most a share of the tokens; a longer one loses its
last tokens. The ids made here are the ones used everywhere afterwards: nothing is cut later. With
`ChunkingConfig.whole` nothing is packed: a document, cut by someone else, is one chunk, and one
that is longer ends, as a chunk, where no more fits.

For speed, the sentences of a document are encoded together with a mark between them that becomes a
token of its own. BERT's tokenizer cuts at white space and punctuation before anything
else, so a sentence has the same tokens alone and inside its slice; the places where that would not
hold (a word of more tokens than a chunk has room for) always begin a chunk.
"""

from __future__ import annotations

import itertools
import json
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import tokenizers

from openrealm.corpus.records import Document
from openrealm.corpus.segments import ChunkedDocument
from openrealm.corpus.sentences import SPACES, Kind, Unit, pack, split_units
from openrealm.errors import InputError
from openrealm.settings import ChunkingConfig
from openrealm.tokenizer import WordPiece

NUM_SPECIAL = 3  # [CLS], [SEP], [SEP]
Ids = npt.NDArray[np.int32]

# Rare punctuation, one of which no vocabulary will have (ancient Greek editors' marks). A document
# that has the one used is encoded another way.
_MARKS = "\u2e0f\u2e10\u2e11\u2e12\u2e13\u2e14"
_BATCH_CHARS = 1 << 20
_GROUP_CHARS = 1 << 13
_BATCHES_AHEAD = 2
_CLAUSE_ENDS = frozenset(",;:)]}—–")


def chunk_documents(
    documents: Iterable[Document], tokenizer: WordPiece, config: ChunkingConfig
) -> Iterator[ChunkedDocument]:
    """Each document with its chunks, in order.

    A few batches of documents are read ahead: one thread encodes them, on as many cores as the
    tokenizer takes, while this one reads, splits and packs.
    """
    encoder = _MarkedEncoder(tokenizer)
    pending: deque[tuple[list[_Prepared], Future[list[Ids]]]] = deque()
    pool = ThreadPoolExecutor(1, thread_name_prefix="tokenizing")
    try:
        for batch in _batches(documents):
            prepared = [_prepare(document, encoder.mark, whole=config.whole) for document in batch]
            strings = [string for item in prepared for string in item.strings]
            pending.append((prepared, pool.submit(encoder.encode, strings)))
            if len(pending) > _BATCHES_AHEAD:
                yield from _finish(*pending.popleft(), encoder, config)
        while pending:
            yield from _finish(*pending.popleft(), encoder, config)
    finally:
        pool.shutdown(cancel_futures=True)


def _batches(documents: Iterable[Document]) -> Iterator[list[Document]]:
    batch: list[Document] = []
    chars = 0
    for document in documents:
        batch.append(document)
        chars += len(document.text) + len(document.title)
        if chars >= _BATCH_CHARS:
            yield batch
            batch, chars = [], 0
    if batch:
        yield batch


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A document, its units, and the strings to encode: the title, then marked groups of units."""

    document: Document
    units: list[Unit]
    strings: list[str]


def _prepare(document: Document, mark: str, *, whole: bool) -> _Prepared:
    text = document.text
    if whole:
        unit = Unit(0, len(text), Kind.SENTENCE)
        has_mark = mark in text or mark in document.title
        return _Prepared(document, [unit], [] if has_mark else [document.title, text])
    units = split_units(text)
    if any(stop - start > _GROUP_CHARS for start, stop, _, _ in units):
        units = [piece for unit in units for piece in _bounded(text, unit)]
    if mark in text or mark in document.title:
        return _Prepared(document, units, [])
    strings, group, chars = [document.title], [], 0
    for number, unit in enumerate(units, start=1):
        group.append(text[unit.start : unit.stop])
        chars += unit.stop - unit.start
        if chars >= _GROUP_CHARS or number == len(units):
            strings.append(mark.join(group))
            group, chars = [], 0
    return _Prepared(document, units, strings)


def _bounded(text: str, unit: Unit) -> Iterator[Unit]:
    """The unit in pieces that are short enough to encode in little memory."""
    start, detached = unit.start, unit.detached
    while unit.stop - start > _GROUP_CHARS:
        limit = start + _GROUP_CHARS
        stop = limit
        while stop > start + _GROUP_CHARS // 2 and text[stop] not in SPACES:
            stop -= 1
        has_space = text[stop] in SPACES
        stop = stop if has_space else limit
        yield Unit(start, stop, unit.kind, detached)
        start, detached = stop + has_space, not has_space
    yield Unit(start, unit.stop, unit.kind, detached)


class _MarkedEncoder:
    """The tokenizer, in a copy whose vocabulary has one more word, the mark.

    The mark is punctuation, which BERT's tokenizer sets apart from its surroundings. (To add it as
    a special token would do the same and cost twice as much time.)
    """

    def __init__(self, tokenizer: WordPiece) -> None:
        """Copies a tokenizer.

        Raises:
            InputError: It does not set punctuation apart.
        """
        self.tokenizer = tokenizer
        spec = json.loads(tokenizer.inner.to_str())
        vocabulary = spec["model"]["vocab"]
        self.mark = next(mark for mark in _MARKS if mark not in vocabulary)
        self.mark_id: int = max(tokenizer.vocab_size, 1 + max(vocabulary.values()))
        vocabulary[self.mark] = self.mark_id
        self._inner = tokenizers.Tokenizer.from_str(json.dumps(spec))
        self._inner.encode_special_tokens = True
        self._inner.no_padding()
        self._inner.no_truncation()
        probe = self._inner.encode(f"a{self.mark}a", add_special_tokens=False).ids
        if len(probe) != 3 or probe[1] != self.mark_id:
            raise InputError(
                "the tokenizer does not set punctuation apart from words; only vocabularies with"
                " BERT's pre-tokenisation can be used"
            )

    def encode(self, strings: Sequence[str]) -> list[Ids]:
        """Token ids ``(seq,)`` of each string, marks among them."""
        ids: list[Ids] = []
        first = chars = 0
        for number, string in enumerate(strings, start=1):
            chars += len(string)
            # A few hundred bytes a token are taken while encoding: not too much at once.
            if chars >= _BATCH_CHARS or number == len(strings):
                batch = self._inner.encode_batch_fast(
                    list(strings[first:number]), add_special_tokens=False
                )
                ids.extend(np.array(encoding.ids, dtype=np.int32) for encoding in batch)
                first, chars = number, 0
        return ids


def _finish(
    prepared: Sequence[_Prepared],
    encoded: Future[list[Ids]],
    encoder: _MarkedEncoder,
    config: ChunkingConfig,
) -> Iterator[ChunkedDocument]:
    ids = iter(encoded.result())
    for item in prepared:
        text = item.document.text
        if item.strings:
            title_ids = next(ids)
            units = _parts(list(itertools.islice(ids, len(item.strings) - 1)), encoder.mark_id)
        else:
            slices = [text[unit.start : unit.stop] for unit in item.units]
            alone = encoder.tokenizer.encode_ids([item.document.title, *slices])
            title_ids, *parts = [np.array(part, dtype=np.int32) for part in alone]
            units = _joined(parts)
        yield _chunked(item, title_ids, units, encoder.tokenizer, config)


@dataclass(frozen=True, slots=True)
class _UnitIds:
    """The ids of a document's units one after another, and where each begins and ends."""

    ids: Ids
    borders: npt.NDArray[np.int64]  # (units + 1,)


def _parts(groups: Sequence[Ids], mark_id: int) -> _UnitIds:
    mark = np.array([mark_id], dtype=np.int32)
    spaced = np.concatenate([part for group in groups for part in (group, mark)] or [mark[:0]])
    is_mark = spaced == mark_id
    # The n-th mark has n marks before it.
    stops = np.flatnonzero(is_mark) - np.arange(int(is_mark.sum()))
    return _UnitIds(spaced[~is_mark], np.concatenate([[0], stops]))


def _joined(parts: Sequence[Ids]) -> _UnitIds:
    borders = np.cumsum([0, *map(len, parts)], dtype=np.int64)
    return _UnitIds(np.concatenate(parts) if parts else np.empty(0, np.int32), borders)


def _chunked(
    item: _Prepared, title_ids: Ids, parts: _UnitIds, tokenizer: WordPiece, config: ChunkingConfig
) -> ChunkedDocument:
    title_ids = title_ids[: int(config.chunk_tokens * config.title_share)]
    budget = config.chunk_tokens - NUM_SPECIAL - len(title_ids)
    if config.whole:
        return _undivided(item.document, title_ids, parts.ids, budget, tokenizer)
    units = item.units
    counts = np.diff(parts.borders)
    if len(counts) and counts.max() > budget:
        units, parts = _cut_long_units(item.document.text, units, parts, budget, tokenizer)
        counts = np.diff(parts.borders)
    runs = pack(
        units, counts.tolist(), budget=budget, min_tokens=min(config.min_chunk_tokens, budget // 2)
    )
    spans = np.array([(units[a].start, units[b - 1].stop) for a, b in runs], dtype=np.int32)
    bodies = [parts.ids[parts.borders[a] : parts.borders[b]] for a, b in runs]
    return ChunkedDocument(
        document=item.document,
        title_ids=title_ids,
        spans=spans.reshape(-1, 2),
        body_ids=np.concatenate(bodies) if bodies else np.empty(0, np.int32),
        body_stops=np.cumsum([len(body) for body in bodies], dtype=np.int64),
    )


def _undivided(
    document: Document, title_ids: Ids, body_ids: Ids, budget: int, tokenizer: WordPiece
) -> ChunkedDocument:
    """A document as one chunk; as none, where the tokenizer finds nothing in it."""
    stop = len(document.text)
    if len(body_ids) > budget:
        cut = _cut_point(document.text, tokenizer.encode(document.text).offsets, 0, budget)
        stop, body_ids = cut.stop, body_ids[: cut.token]
    num_chunks = 1 if len(body_ids) else 0
    return ChunkedDocument(
        document=document,
        title_ids=title_ids,
        spans=np.array([(0, stop)] * num_chunks, dtype=np.int32).reshape(-1, 2),
        body_ids=body_ids,
        body_stops=np.array([len(body_ids)] * num_chunks, dtype=np.int64),
    )


def _cut_long_units(
    text: str, units: Sequence[Unit], parts: _UnitIds, budget: int, tokenizer: WordPiece
) -> tuple[list[Unit], _UnitIds]:
    """The units with those of more than ``budget`` tokens in pieces."""
    pieces: list[Unit] = []
    ids: list[Ids] = []
    for number, unit in enumerate(units):
        own = parts.ids[parts.borders[number] : parts.borders[number + 1]]
        if len(own) <= budget:
            pieces.append(unit)
            ids.append(own)
            continue
        for piece, piece_ids in _cut(text, unit, budget, tokenizer):
            pieces.append(piece)
            ids.append(piece_ids)
    return pieces, _joined(ids)


def _cut(text: str, unit: Unit, budget: int, tokenizer: WordPiece) -> Iterator[tuple[Unit, Ids]]:
    """A unit in pieces of at most ``budget`` tokens, with the ids that each has by itself."""
    start, detached = unit.start, unit.detached
    while start < unit.stop:
        rest = text[start : unit.stop]
        tokens = tokenizer.encode(rest)
        first = begin = 0  # the token and the character with which the next piece begins
        while begin < len(rest):
            cut = _cut_point(rest, tokens.offsets, first, budget)
            ids = tokens.ids[first : cut.token]
            # After a cut inside a word the rest may have other tokens than it had in the whole:
            # then it is encoded anew from here. (Its beginning has not: WordPiece takes the longest
            # match from the left.)
            if begin > 0 and detached:
                alone = tokenizer.encode(rest[begin : cut.stop]).ids
                if not np.array_equal(alone, ids):
                    break
            yield Unit(start + begin, start + cut.stop, unit.kind, detached), ids
            first, begin, detached = cut.token, cut.following, cut.stop == cut.following
        start += begin


class _CutPoint(NamedTuple):
    """Where a text is cut: before a token; after a character; and where the text goes on."""

    token: int
    stop: int
    following: int


def _cut_point(text: str, offsets: Ids, first: int, budget: int) -> _CutPoint:
    """Where to cut, at most ``budget`` tokens behind the token ``first``.

    Best is the last clause to end in the second half, then the last space; without either, the
    text is cut inside a word or beside a mark, and goes on right there.
    """
    if len(offsets) - first <= budget:
        return _CutPoint(len(offsets), len(text), len(text) + 1)
    at_space: _CutPoint | None = None
    inside: _CutPoint | None = None
    for number in range(first + budget, first, -1):
        stop, following = int(offsets[number - 1, 1]), int(offsets[number, 0])
        if following > stop and text[following - 1] in SPACES:
            if text[stop - 1] in _CLAUSE_ENDS and number >= first + budget // 2:
                return _CutPoint(number, stop, following)
            at_space = at_space or _CutPoint(number, stop, following)
        elif inside is None and following >= stop:  # or else they share a character
            inside = _CutPoint(number, following, following)
    cut = at_space or inside
    assert cut is not None, "one character has more tokens than a chunk"
    return cut
