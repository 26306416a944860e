"""BM25 over the chunks, candidates by it, and fusion of ranked lists; knows nothing of embeddings.

The baseline that every learned retriever has to be shown beside. Words are stemmed where PyStemmer
is installed; scores are Lucene's BM25 by `bm25s`, and equal ones are ordered by row, so that two
runs rank alike.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Int64

from openrealm.corpus.store import ChunkStore
from openrealm.errors import ConfigError
from openrealm.progress import Progress, Silent
from openrealm.retrieval.retriever import Origin, best_rows, take_not_trivial
from openrealm.settings import RetrievalConfig

Scores = Float32[np.ndarray, "queries k"]
Rows = Int64[np.ndarray, "queries k"]

NO_ROW = -1
_STEMS = "stems.json"
_TOLD_EVERY = 1024

_logger = logging.getLogger(__name__)
_WORD = re.compile(r"\w+")
_LUCENE_STOP_WORDS = (
    "a an and are as at be but by for if in into is it no not of on or such that the their then "
    "there these they this to was will with"
)
_STOP_WORDS = frozenset(_LUCENE_STOP_WORDS.split())


class BM25:
    """A BM25 index of a corpus, in memory."""

    def __init__(self, texts: Iterable[str], *, k1: float = 1.5, b: float = 0.75) -> None:
        """Indexes texts; their number in the iteration is their row.

        Args:
            texts: Read once.
            k1: How fast further occurrences of a word stop counting; `bm25s` has 1.5.
            b: How much long texts are marked down, 0 to 1; `bm25s` has 0.75.
        """
        import bm25s  # here: it is slow to import, and most commands do without

        self._stem = _stemmer()
        self._stems: dict[str, str] = {}
        self._vocab: dict[str, int] = {}
        ids = [self._ids(text, learn=True) for text in texts]
        self._num_rows = len(ids)
        self._index: Any = None
        if self._vocab:
            self._index = bm25s.BM25(method="lucene", k1=k1, b=b)
            self._index.index((ids, self._vocab), show_progress=False)

    @classmethod
    def build(
        cls,
        store: ChunkStore,
        *,
        k1: float = 1.5,
        b: float = 0.75,
        progress: Progress | None = None,
    ) -> BM25:
        """An index of the chunks of a store, title and body together."""
        bar = (progress or Silent()).task("indexing words", total=len(store), unit="chunks")
        with bar as task:

            def texts() -> Iterator[str]:
                for row in range(len(store)):
                    chunk = store.chunk(row)
                    yield f"{chunk.title}\n{chunk.text}"
                    if row % _TOLD_EVERY == 0:
                        task.advance(min(_TOLD_EVERY, len(store) - row))

            return cls(texts(), k1=k1, b=b)

    def save(self, directory: Path) -> None:
        """Writes it into an empty folder; `load` reads it."""
        text = {"rows": self._num_rows, "stems": list(self._vocab), "stemming": stemming()}
        (directory / _STEMS).write_text(json.dumps(text, ensure_ascii=False), encoding="utf-8")
        if self._index is not None:
            self._index.save(directory, show_progress=False)

    @classmethod
    def load(cls, directory: Path) -> BM25:
        """What `save` wrote, the large arrays mapped and not read.

        Raises:
            OSError: A file is missing.
            ValueError: A file is damaged, or words were stemmed otherwise than here.
            KeyError: Something is missing in one.
        """
        import bm25s

        text = json.loads((directory / _STEMS).read_text(encoding="utf-8"))
        if text["stemming"] != stemming():
            raise ValueError(f"words were compared by {text['stemming']} stems")
        loaded = cls(())
        loaded._num_rows = text["rows"]
        loaded._vocab = {stem: number for number, stem in enumerate(text["stems"])}
        if loaded._vocab:
            loaded._index = bm25s.BM25.load(
                directory, mmap=True, load_vocab=False, show_progress=False
            )
        return loaded

    def __len__(self) -> int:
        return self._num_rows

    def search(self, texts: Sequence[str], k: int) -> tuple[Scores, Rows]:
        """The best rows for each text, the best first; of equal scores the lower row comes first.

        Args:
            texts: Queries. One without a word that the corpus has scores 0 everywhere.
            k: How many rows; more than there are gives all of them.

        Returns:
            Scores ``(queries, k)`` and rows ``(queries, k)``.

        Raises:
            ConfigError: ``k`` is below 1.
        """
        if k < 1:
            raise ConfigError(f"k = {k} is too small; ask for at least one chunk")
        k = min(k, self._num_rows)
        scores = np.zeros((len(texts), k), dtype=np.float32)
        rows = np.zeros((len(texts), k), dtype=np.int64)
        for number, text in enumerate(texts) if k else ():
            every = self.scores(text)
            rows[number] = best_rows(every, k)
            scores[number] = every[rows[number]]
        return scores, rows

    def scores(self, text: str) -> Float32[np.ndarray, " rows"]:
        """The score of each row for one text."""
        ids = self._ids(text, learn=False)
        if not ids:  # and always so where the corpus has no word
            return np.zeros(self._num_rows, dtype=np.float32)
        return np.asarray(self._index.get_scores_from_ids(ids), dtype=np.float32)

    def _ids(self, text: str, *, learn: bool) -> list[int]:
        ids = []
        for word in _WORD.findall(text.lower()):
            if word in _STOP_WORDS:
                continue
            stem = self._stems.get(word)
            if stem is None:
                stem = self._stem(word)
                if learn:
                    self._stems[word] = stem
            if learn:
                ids.append(self._vocab.setdefault(stem, len(self._vocab)))
            elif stem in self._vocab:
                ids.append(self._vocab[stem])
        return ids


class LexicalRetriever:
    """Finds candidates by words in common, trivial ones left out as by `Retriever`."""

    def __init__(self, store: ChunkStore, bm25: BM25, config: RetrievalConfig) -> None:
        self._store, self._bm25, self._config = store, bm25, config

    def candidates(
        self, texts: Sequence[str], num_chunks: int, *, origins: Sequence[Origin]
    ) -> Int64[np.ndarray, "queries num_chunks"]:
        """Rows ``(queries, num_chunks)`` of the best chunks that are not trivial, best first."""

        def ranked(queries: Int64[np.ndarray, " some"], num_wanted: int) -> Rows:
            return self._bm25.search([texts[query] for query in queries], num_wanted)[1]

        return take_not_trivial(
            ranked,
            self._store,
            self._config,
            num_queries=len(texts),
            num_chunks=num_chunks,
            origins=origins,
        )


def fuse_reciprocal_ranks(
    rankings: Sequence[Int64[np.ndarray, "queries _"]], k: int, *, constant: float = 60.0
) -> tuple[Scores, Rows]:
    """One ranking out of several: a row scores the sum of 1 / (constant + rank) over them.

    Source: Cormack, Clarke and Buettcher, SIGIR 2009, whose constant is 60.

    Args:
        rankings: Rows, the best first, one array for each system, the same queries in each;
            `NO_ROW` fills up short lists.
        k: How many rows to keep.
        constant: The larger, the less the first ranks stand out.

    Returns:
        Scores ``(queries, k)`` and rows ``(queries, k)``; where the lists hold fewer different
        rows, `NO_ROW` with score 0. Of equal scores the lower row comes first.

    Raises:
        ConfigError: No ranking, or rankings of different numbers of queries.
    """
    if len({len(ranking) for ranking in rankings}) != 1:
        raise ConfigError(
            f"fusion takes rankings of the same queries, not of {[len(r) for r in rankings]}"
        )
    num_queries = len(rankings[0])
    scores = np.zeros((num_queries, k), dtype=np.float32)
    rows = np.full((num_queries, k), NO_ROW, dtype=np.int64)
    gains = [1.0 / (constant + 1.0 + np.arange(ranking.shape[1])) for ranking in rankings]
    every_gain = np.concatenate(gains)
    for query in range(num_queries):
        every_row = np.concatenate([ranking[query] for ranking in rankings])
        real = every_row != NO_ROW
        distinct, which = np.unique(every_row[real], return_inverse=True)
        sums = np.bincount(which, weights=every_gain[real], minlength=len(distinct))
        best = np.lexsort((distinct, -sums))[:k]
        scores[query, : len(best)] = sums[best]
        rows[query, : len(best)] = distinct[best]
    return scores, rows


def stemming() -> str:
    """How words are compared: ``english`` stems, or ``none`` where PyStemmer is not installed."""
    return "none" if _stemmer() is str else "english"


def _stemmer() -> Callable[[str], str]:
    try:
        import Stemmer
    except ImportError:
        _logger.info("PyStemmer is not installed; BM25 compares words without stemming")
        return str
    stem: Callable[[str], str] = Stemmer.Stemmer("english").stemWord
    return stem
