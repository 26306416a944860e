"""Queries and the chunks found for them to padded batches of the model; knows neither losses nor
searching.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from openrealm.corpus.store import ChunkStore
from openrealm.data.pretraining import ClozePair, MaskedQuery, MaskedText
from openrealm.models.embedder import Embedder
from openrealm.models.inputs import Inputs, Templates
from openrealm.models.realm import MaskedBatch, device_of
from openrealm.retrieval.retriever import NO_CHUNK, Origin
from openrealm.tokenizer import WordPiece

Ids = npt.NDArray[np.int32]
_EMPTY = np.empty(0, dtype=np.int32)


def query_inputs(queries: Sequence[MaskedQuery], templates: Templates) -> Inputs:
    """``[CLS] x [SEP]`` of masked queries."""
    return templates.query([query.masked_ids for query in queries])


def query_texts(queries: Sequence[MaskedQuery], tokenizer: WordPiece) -> list[str]:
    """Masked queries in words, as far as these are not masked out."""
    return [tokenizer.decode(q.masked_ids[q.masked_ids != tokenizer.mask_id]) for q in queries]


def masked_batch(
    queries: Sequence[MaskedQuery],
    candidates: npt.NDArray[np.int64],
    corpus: ChunkStore,
    templates: Templates,
    *,
    null_chunk: bool = True,
    unread: npt.NDArray[np.bool_] | None = None,
    words: npt.NDArray[np.float32] | None = None,
) -> MaskedBatch:
    """Masked queries with the null chunk and the chunks retrieved for them.

    Args:
        queries: The queries.
        candidates: Rows ``(batch, k - 1)`` of the corpus, `NO_CHUNK` at empty slots.
        corpus: The chunks.
        templates: How inputs are joined.
        null_chunk: Whether slot 0 counts; False leaves it in its place but gives it no
            probability (for the ablation).
        unread: Which of the batch's distinct chunks ``(batch, distinct)``, in the order of
            `distinct_rows`, take part in p(z|x) without being read.
        words: BM25 of each query with these chunks ``(batch, distinct)``; None where it does not
            count.
    """
    slots = np.concatenate([np.full((len(queries), 1), NO_CHUNK), candidates], axis=1)
    filled = slots != NO_CHUNK
    filled[:, 0] = null_chunk
    # A chunk that several queries retrieved is embedded once; row 0 is the null chunk.
    distinct = distinct_rows(candidates)
    chunk_slots = np.zeros(slots.shape, dtype=np.int64)
    chunk_slots[slots != NO_CHUNK] = np.searchsorted(distinct, slots[slots != NO_CHUNK]) + 1
    bodies = [_EMPTY, *(corpus.body_ids(int(row)) for row in distinct)]
    titles = [_EMPTY, *(corpus.title_ids(int(row)) for row in distinct)]
    joints = np.argwhere(filled)
    joint = templates.joint(
        [queries[b].masked_ids for b, _ in joints], [bodies[chunk_slots[b, c]] for b, c in joints]
    )
    positions, targets, real = _padded_masks(queries)
    return MaskedBatch(
        query=query_inputs(queries, templates),
        chunks=templates.chunk(titles, bodies),
        chunk_slots=torch.from_numpy(chunk_slots),
        candidate_mask=torch.from_numpy(filled),
        joint=joint,
        joint_slots=torch.from_numpy(joints),
        # One further on for [CLS].
        mask_positions=positions + 1,
        mask_mask=real,
        targets=targets,
        # The null chunk is never unread, and has no words.
        unread=None if unread is None else torch.from_numpy(np.pad(unread, ((0, 0), (1, 0)))),
        words=None if words is None else torch.from_numpy(np.pad(words, ((0, 0), (1, 0)))),
    )


def distinct_rows(candidates: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The chunks of a batch, each once, in order."""
    return np.unique(candidates[candidates != NO_CHUNK])


def origins(
    queries: Sequence[MaskedQuery], texts: ChunkStore, *, texts_are_corpus: bool
) -> list[Origin]:
    """Where queries were taken from, so that trivial candidates can be told."""
    return [
        origin_of(texts, query.row, query.original_ids, texts_are_corpus=texts_are_corpus)
        for query in queries
    ]


def origin_of(texts: ChunkStore, row: int, sentence_ids: Ids, *, texts_are_corpus: bool) -> Origin:
    """Where a sentence of a chunk of the texts stands."""
    return Origin(
        row=row if texts_are_corpus else NO_CHUNK,
        document_id=texts.document(int(texts.document_of[row])).id,
        sentence_ids=sentence_ids,
        body_ids=texts.body_ids(row),
    )


def cloze_inputs(
    pairs: Sequence[ClozePair], store: ChunkStore, templates: Templates
) -> tuple[Inputs, Inputs]:
    """Sentences as queries, and their chunks with the sentence gone."""
    titles = [store.title_ids(pair.row) for pair in pairs]
    return (
        templates.query([pair.sentence_ids for pair in pairs]),
        templates.chunk(titles, [pair.body_ids for pair in pairs]),
    )


def masked_text_inputs(
    texts: Sequence[MaskedText], templates: Templates
) -> tuple[Inputs, torch.Tensor, torch.Tensor, torch.Tensor]:
    """``[CLS] text [SEP]``, and positions, targets and which are real ``(batch, masks)``."""
    # The chunk template with an empty title would spend a token: a chunk is read here as a query.
    wide = Templates(
        cls_id=templates.cls_id,
        sep_id=templates.sep_id,
        pad_id=templates.pad_id,
        query_tokens=templates.joint_tokens,
        chunk_tokens=templates.chunk_tokens,
    )
    positions, targets, real = _padded_masks(texts)
    return wide.query([text.masked_ids for text in texts]), positions + 1, targets, real


@dataclass(frozen=True)
class ReadBatch:
    """Questions beside the chunks read, the null chunk in slot 0.

    Attributes:
        joint: ``(batch * slots)`` inputs, a question's together.
        relevance: ``(batch, slots)`` relevance scores.
        filled: ``(batch, slots)`` which slots hold a chunk.
    """

    joint: Inputs
    relevance: Float[Tensor, "batch slots"]
    filled: Bool[Tensor, "batch slots"]


def read_batch(
    embedder: Embedder,
    templates: Templates,
    queries: Sequence[Ids],
    bodies: Sequence[Sequence[Ids]],
    relevance: Float[Tensor, "batch read"],
    query_emb: Float[Tensor, "batch dim"],
) -> ReadBatch:
    """Questions with the null chunk and the chunks read.

    Args:
        embedder: For the null chunk's relevance.
        templates: How inputs are joined.
        queries: Tokens of the questions.
        bodies: Tokens of the chunks read for each; some may have fewer than others.
        relevance: Scores of those chunks.
        query_emb: Vectors of the questions.
    """
    read, device = relevance.shape[1], relevance.device
    flat_queries = [query for query in queries for _ in range(read + 1)]
    padded = [[_EMPTY, *line, *[_EMPTY] * (read - len(line))] for line in bodies]
    joint = templates.joint(flat_queries, [body for line in padded for body in line])
    filled = [[slot <= len(line) for slot in range(read + 1)] for line in bodies]
    with torch.no_grad():
        null = templates.chunk([_EMPTY], [_EMPTY]).to(device_of(embedder))
        null_emb = embedder.embed_chunks(null).float()
    null_relevance = query_emb @ null_emb.T
    return ReadBatch(
        joint=joint.to(device),
        relevance=torch.cat([null_relevance, relevance], dim=1),
        filled=torch.tensor(filled, device=device),
    )


def to_device(batch: MaskedBatch, device: torch.device) -> MaskedBatch:
    """The same batch on a device."""
    given = {name: value for name, value in vars(batch).items() if value is not None}
    return MaskedBatch(**{name: value.to(device) for name, value in given.items()})


def _padded_masks(
    queries: Sequence[MaskedQuery | MaskedText],
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    width = max(len(query.positions) for query in queries)
    positions = np.zeros((len(queries), width), dtype=np.int64)
    targets = np.zeros((len(queries), width), dtype=np.int64)
    real = np.zeros((len(queries), width), dtype=np.bool_)
    for number, query in enumerate(queries):
        size = len(query.positions)
        positions[number, :size] = query.positions
        targets[number, :size] = query.targets
        real[number, :size] = True
    return torch.from_numpy(positions), torch.from_numpy(targets), torch.from_numpy(real)
