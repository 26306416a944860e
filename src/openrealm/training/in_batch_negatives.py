"""Which chunks of a batch take part in p(z|x) though they are not read; knows no loss and no model.

Top-k candidates alone leave the retriever free to score everything else as high as it likes: it
learns to prefer chunks that suit any query. Chunks that the batch's other queries retrieved stand
for the rest of the corpus (`likelihood.unread_score`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from openrealm.corpus.store import ChunkStore
from openrealm.data.matching import holds
from openrealm.data.pretraining import MaskedQuery
from openrealm.retrieval.batches import distinct_rows
from openrealm.retrieval.retriever import Origin, TrivialTest, shingles
from openrealm.settings import RetrievalConfig


def unread_chunks(
    queries: Sequence[MaskedQuery],
    candidates: npt.NDArray[np.int64],
    origins: Sequence[Origin],
    corpus: ChunkStore,
    rule: RetrievalConfig,
) -> npt.NDArray[np.bool_]:
    """Which distinct chunks of a batch ``(batch, distinct)`` are others' and seem not to help.

    Left out are the query's own candidates, chunks that are trivial for it, and chunks that hold
    the words masked out, which might well help.

    Args:
        queries: The masked queries.
        candidates: Rows ``(batch, k - 1)`` that each of them reads.
        origins: Where they were taken from.
        corpus: The chunks.
        rule: What is trivial.
    """
    distinct = distinct_rows(candidates)
    bodies = [corpus.body_ids(int(row)) for row in distinct]
    tokens = [set(body.tolist()) for body in bodies]
    trigrams = [shingles(body) for body in bodies]
    unread = np.zeros((len(queries), len(distinct)), dtype=np.bool_)
    for line, query, own, origin in zip(unread, queries, candidates, origins, strict=True):
        trivial, wanted = TrivialTest(corpus, origin, rule), set(query.targets.tolist())
        for n in np.flatnonzero(~np.isin(distinct, own)).tolist():
            # The tokens in any order first: most chunks lack one.
            told = wanted <= tokens[n] and holds(bodies[n], query.targets, corpus)
            line[n] = not (told or trivial(int(distinct[n]), trigrams[n]))
    return unread
