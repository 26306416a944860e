"""What is learned from: masked sentences, inverse-cloze pairs and plain masked text, in an order
that is a function of (seed, step); knows nothing of retrieval or models.

The training texts are a chunk store of their own kind, the same as the knowledge corpus or
another. Salient spans are found once per store and tagger and kept as a table of token ranges.
"""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from openrealm.corpus.sentences import split_sentences
from openrealm.corpus.store import ChunkStore
from openrealm.errors import CorpusError, InputError
from openrealm.progress import Progress

if TYPE_CHECKING:
    from openrealm.data.spans import SpanTagger

Ids = npt.NDArray[np.int32]
_BLOCK = 512


@dataclass(frozen=True)
class MaskedQuery:
    """A sentence with one salient span masked out.

    Attributes:
        row: Chunk of the training texts that it came from.
        original_ids: The sentence's tokens.
        masked_ids: The same with ``[MASK]`` where the span was.
        positions: Places of the masks in ``masked_ids``.
        targets: The tokens masked out: y.
    """

    row: int
    original_ids: Ids
    masked_ids: Ids
    positions: Ids
    targets: Ids


@dataclass(frozen=True)
class SpanTable:
    """Salient spans of a store as token ranges in the bodies of its chunks.

    Attributes:
        rows: ``(spans,)`` chunk of each span, ascending.
        sentences: ``(spans, 2)`` token range of the sentence around it.
        spans: ``(spans, 2)`` token range of the span itself.
    """

    rows: npt.NDArray[np.int64]
    sentences: npt.NDArray[np.int32]
    spans: npt.NDArray[np.int32]

    @classmethod
    def build(
        cls, store: ChunkStore, tagger: SpanTagger, *, max_masks: int, progress: Progress
    ) -> SpanTable:
        """Tags every chunk of a store.

        Args:
            store: The training texts.
            tagger: What finds salient spans.
            max_masks: Spans of more tokens than this are left out.
            progress: Where to tell how far it is.
        """
        parts = [np.empty((0, 5), dtype=np.int64)]
        with progress.task("finding salient spans", total=len(store), unit="chunks") as task:
            for start in range(0, len(store), _BLOCK):
                rows = range(start, min(start + _BLOCK, len(store)))
                tagged = list(_tag_rows(store, rows, tagger, max_masks))
                parts.append(np.asarray(tagged, dtype=np.int64).reshape(-1, 5))
                task.advance(len(rows))
        table = np.concatenate(parts)
        return cls(
            rows=table[:, 0],
            sentences=table[:, 1:3].astype(np.int32),
            spans=table[:, 3:5].astype(np.int32),
        )

    @classmethod
    def cached(
        cls,
        directory: Path,
        store: ChunkStore,
        tagger: SpanTagger,
        *,
        max_masks: int,
        progress: Progress,
    ) -> SpanTable:
        """The table kept in a folder for this store and tagger, built where there is none."""
        return kept_table(
            directory,
            f"{store.fingerprint} {tagger.fingerprint} {max_masks}",
            lambda: cls.build(store, tagger, max_masks=max_masks, progress=progress),
        )

    def where(self, wanted: npt.NDArray[np.bool_]) -> SpanTable:
        """The spans for which ``wanted`` ``(spans,)`` is true."""
        return SpanTable(self.rows[wanted], self.sentences[wanted], self.spans[wanted])


def kept_table(directory: Path, key: str, build: Callable[[], SpanTable]) -> SpanTable:
    """The table kept in a folder under this key, built where there is none."""
    path = directory / f"spans-{hashlib.sha256(key.encode()).hexdigest()[:16]}.npz"
    if path.is_file():
        try:
            # Opened here: given a path, np.load leaves the file of a torn archive open.
            with open(path, "rb") as file, np.load(file, allow_pickle=False) as kept:
                return SpanTable(kept["rows"], kept["sentences"], kept["spans"])
        except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):
            path.unlink()  # a torn cache is rebuilt
    table = build()
    directory.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    with open(temporary, "wb") as target:
        np.savez(target, rows=table.rows, sentences=table.sentences, spans=table.spans)
    os.replace(temporary, path)
    return table


class MaskedQueries:
    """Masked queries of a store: a held-out probe, and a training stream without it.

    One query per chunk and pass, its span drawn anew in each pass (realm/example_generator.py:
    one span per document).
    """

    def __init__(
        self, store: ChunkStore, table: SpanTable, *, seed: int, query_tokens: int, num_probe: int
    ) -> None:
        """Splits the chunks that have spans into probe and training.

        Args:
            store: The training texts.
            table: Their salient spans.
            seed: Seed of the order and of the spans drawn; the probe does not depend on it.
            query_tokens: Longest query input, special tokens included.
            num_probe: Chunks to hold out; at most a tenth.

        Raises:
            InputError: No chunk has a salient span.
        """
        self._store, self._seed, self._room = store, seed, query_tokens - 2
        fits = np.diff(table.spans, axis=1)[:, 0] <= self._room
        table = self._table = table.where(fits)
        rows, first = np.unique(table.rows, return_index=True)
        if not len(rows):
            raise InputError(
                "no salient span was found in the training texts; "
                "try salient.terms=always or salient.kind=spans"
            )
        self._first = np.append(first, len(table.rows))
        order = np.random.default_rng(0).permutation(len(rows))
        held_out = min(num_probe, len(rows) // 10)
        self._probe, self._training = order[:held_out], np.sort(order[held_out:])

    def __len__(self) -> int:
        """Number of training queries in one pass."""
        return len(self._training)

    def batch(self, step: int, batch_size: int) -> list[MaskedQuery]:
        """The training queries of one step."""
        queries = []
        for number in range(step * batch_size, (step + 1) * batch_size):
            epoch, position = divmod(number, len(self._training))
            unit = self._training[shuffled(len(self._training), self._seed, epoch)[position]]
            draw = np.random.default_rng((self._seed, 1, number))
            queries.append(self._query(int(unit), draw))
        return queries

    def probe(self) -> list[MaskedQuery]:
        """The held-out queries, the same in every run over the same texts and table of spans."""
        return [self._query(int(u), np.random.default_rng((0, 2, int(u)))) for u in self._probe]

    def _query(self, unit: int, draw: np.random.Generator) -> MaskedQuery:
        spans = self._first[unit], self._first[unit + 1]
        return self._masked(int(draw.integers(*spans)))

    def _masked(self, number: int) -> MaskedQuery:
        row = int(self._table.rows[number])
        begin, end = (int(n) for n in self._table.sentences[number])
        start, stop = (int(n) for n in self._table.spans[number])
        if end - begin > self._room:
            # A window of a sentence too long, the span in its middle.
            begin = max(begin, min(start - (self._room - (stop - start)) // 2, end - self._room))
            end = begin + self._room
        original = np.array(self._store.body_ids(row)[begin:end])
        positions = np.arange(start - begin, stop - begin, dtype=np.int32)
        masked = original.copy()
        masked[positions] = self._store.tokenizer.mask_id
        return MaskedQuery(
            row=row,
            original_ids=original,
            masked_ids=masked,
            positions=positions,
            targets=original[positions],
        )


@dataclass(frozen=True)
class ClozePair:
    """Inverse cloze: a sentence, and the chunk that it was taken from."""

    row: int
    sentence_ids: Ids
    body_ids: Ids


class ClozePairs:
    """Inverse-cloze pairs of a store (orqa/datasets/ict_dataset.py)."""

    def __init__(self, store: ChunkStore, *, seed: int, removal: float) -> None:
        """Takes the texts.

        Args:
            store: The texts.
            seed: Seed of order, sentences and removals.
            removal: Probability that the sentence is taken out of its chunk.
        """
        self._store, self._seed, self._removal = store, seed, removal

    def batch(self, step: int, batch_size: int) -> list[ClozePair]:
        """The pairs of one step; chunks of one sentence keep it."""
        pairs = []
        for number in range(step * batch_size, (step + 1) * batch_size):
            epoch, position = divmod(number, len(self._store))
            row = int(shuffled(len(self._store), self._seed, epoch)[position])
            pairs.append(self._pair(row, np.random.default_rng((self._seed, 3, number))))
        return pairs

    def _pair(self, row: int, draw: np.random.Generator) -> ClozePair:
        body = self._store.body_ids(row)
        ranges = sentence_ranges(self._store, row)
        start, stop = ranges[int(draw.integers(len(ranges)))]
        removed = draw.random() < self._removal and len(ranges) > 1
        rest = np.concatenate([body[:start], body[stop:]]) if removed else np.array(body)
        return ClozePair(row=row, sentence_ids=np.array(body[start:stop]), body_ids=rest)


@dataclass(frozen=True)
class MaskedText:
    """Plain masked-LM input without retrieval: ids with masks, and what was masked."""

    masked_ids: Ids
    positions: Ids
    targets: Ids


class MaskedTexts:
    """Chunks with random whole words masked, BERT's way: 80% [MASK], 10% random, 10% kept."""

    def __init__(self, store: ChunkStore, *, seed: int, mask_rate: float, max_tokens: int) -> None:
        """Takes the texts; inputs are cut at ``max_tokens``."""
        self._store, self._seed = store, seed
        self._mask_rate, self._max_tokens = mask_rate, max_tokens

    def batch(self, step: int, batch_size: int) -> list[MaskedText]:
        """The inputs of one step."""
        examples = []
        for number in range(step * batch_size, (step + 1) * batch_size):
            epoch, position = divmod(number, len(self._store))
            row = int(shuffled(len(self._store), self._seed, epoch)[position])
            examples.append(self._masked(row, np.random.default_rng((self._seed, 4, number))))
        return examples

    def _masked(self, row: int, draw: np.random.Generator) -> MaskedText:
        tokenizer = self._store.tokenizer
        ids = np.array(self._store.body_ids(row)[: self._max_tokens])
        word = np.cumsum(~tokenizer.is_continuation[ids])
        chosen = draw.random(int(word[-1]) + 1) < self._mask_rate
        if not chosen[word].any():
            chosen[draw.choice(word)] = True
        positions = np.flatnonzero(chosen[word]).astype(np.int32)
        targets = ids[positions]
        fate = draw.random(len(positions))
        noise = draw.integers(tokenizer.vocab_size, size=len(positions), dtype=np.int32)
        kept = np.where(fate < 0.9, noise, targets)
        ids[positions] = np.where(fate < 0.8, tokenizer.mask_id, kept)
        return MaskedText(masked_ids=ids, positions=positions, targets=targets)


def sentence_ranges(store: ChunkStore, row: int) -> list[tuple[int, int]]:
    """Token ranges of the sentences of a chunk's body."""
    text = store.chunk(row).text
    offsets = store.tokenizer.encode(text).offsets
    _require_aligned(store, row, len(offsets))
    return _token_ranges(split_sentences(text), offsets)


def _tag_rows(
    store: ChunkStore, rows: Sequence[int], tagger: SpanTagger, max_masks: int
) -> Iterator[tuple[int, int, int, int, int]]:
    texts = [store.chunk(row).text for row in rows]
    encodings = store.tokenizer.inner.encode_batch(texts, add_special_tokens=False)
    for row, text, encoding, tags in zip(rows, texts, encodings, tagger.tag(texts), strict=True):
        offsets = np.asarray(encoding.offsets, dtype=np.int32).reshape(-1, 2)
        _require_aligned(store, row, len(offsets))
        sentences = _token_ranges(split_sentences(text), offsets)
        spans = _token_ranges([(tag.start, tag.stop) for tag in tags], offsets)
        for start, stop in sorted(set(spans)):
            around = [s for s in sentences if s[0] <= start and stop <= s[1]]
            if around and stop - start <= max_masks:
                yield row, *around[0], start, stop


def _token_ranges(
    characters: Sequence[tuple[int, int]], offsets: npt.NDArray[np.int32]
) -> list[tuple[int, int]]:
    """Token ranges wholly inside character ranges; empty ones are left out."""
    if not len(offsets) or not characters:
        return []
    wanted = np.asarray(characters, dtype=np.int64)
    starts = np.searchsorted(offsets[:, 0], wanted[:, 0], side="left")
    stops = np.searchsorted(offsets[:, 1], wanted[:, 1], side="right")
    pairs = zip(starts.tolist(), stops.tolist(), strict=True)
    return [(start, stop) for start, stop in pairs if start < stop]


def _require_aligned(store: ChunkStore, row: int, num_tokens: int) -> None:
    if num_tokens != len(store.body_ids(row)):
        raise CorpusError(
            f"chunk {row} has {len(store.body_ids(row))} stored tokens but its text has "
            f"{num_tokens}; the store was made with another tokenizer: ingest again"
        )


@lru_cache(maxsize=4)
def shuffled(size: int, seed: int, epoch: int) -> npt.NDArray[np.int64]:
    """The order of a pass over so many examples."""
    return np.random.default_rng((seed, 0, epoch)).permutation(size)
