"""Queries and the chunks found for them to padded batches of the model; knows neither losses nor
searching.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from openrealm.corpus.store import ChunkStore
from openrealm.data.pretraining import ClozePair, MaskedQuery, MaskedText
from openrealm.models.inputs import Inputs, Templates
from openrealm.models.realm import MaskedBatch
from openrealm.retrieval.candidates import Candidates
from openrealm.retrieval.embedding import TextEncoder
from openrealm.retrieval.retriever import NO_CHUNK

Ids = npt.NDArray[np.int32]
_EMPTY = np.empty(0, dtype=np.int32)


def query_inputs(queries: Sequence[MaskedQuery], templates: Templates) -> Inputs:
    """``[CLS] x [SEP]`` of masked queries."""
    return templates.query([query.masked_ids for query in queries])


def masked_batch(
    queries: Sequence[MaskedQuery],
    candidates: Candidates,
    corpus: ChunkStore,
    templates: Templates,
    *,
    null_chunk: bool = True,
) -> MaskedBatch:
    """Masked queries with the null chunk and their candidates.

    Args:
        queries: The queries.
        candidates: The chunks that each is read with, ``(batch, k - 1)``.
        corpus: The chunks.
        templates: How inputs are joined.
        null_chunk: Whether slot 0 counts; False leaves it in its place but gives it no
            probability (for the ablation).
    """
    rows, distinct = candidates.rows, candidates.distinct
    slots = np.concatenate([np.full((len(queries), 1), NO_CHUNK), rows], axis=1)
    filled = slots != NO_CHUNK
    filled[:, 0] = null_chunk
    # A chunk that several queries retrieved is embedded once; row 0 is the null chunk.
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
        in_batch_negatives=_behind_null_chunk(candidates.in_batch_negatives),
        bm25=_behind_null_chunk(candidates.bm25),
    )


def _behind_null_chunk(of_distinct: npt.NDArray[Any] | None) -> torch.Tensor | None:
    """Values of the distinct chunks, after a 0 for the null chunk: it has no words."""
    if of_distinct is None:
        return None
    return torch.from_numpy(np.pad(of_distinct, ((0, 0), (1, 0))))


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
    text_templates = Templates(
        cls_id=templates.cls_id,
        sep_id=templates.sep_id,
        pad_id=templates.pad_id,
        query_tokens=templates.joint_tokens,
        chunk_tokens=templates.chunk_tokens,
    )
    positions, targets, real = _padded_masks(texts)
    return text_templates.query([text.masked_ids for text in texts]), positions + 1, targets, real


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
    encoder: TextEncoder,
    queries: Sequence[Ids],
    bodies: Sequence[Sequence[Ids]],
    relevance: Float[Tensor, "batch read"],
    query_emb: Float[Tensor, "batch dim"],
) -> ReadBatch:
    """Questions with the null chunk and the chunks read.

    Args:
        encoder: Joins them, and embeds the null chunk.
        queries: Tokens of the questions.
        bodies: Tokens of the chunks read for each; some may have fewer than others.
        relevance: Scores of those chunks.
        query_emb: Vectors of the questions.
    """
    read, device = relevance.shape[1], relevance.device
    flat_queries = [query for query in queries for _ in range(read + 1)]
    padded = [[_EMPTY, *line, *[_EMPTY] * (read - len(line))] for line in bodies]
    joint = encoder.templates.joint(flat_queries, [body for line in padded for body in line])
    filled = [[slot <= len(line) for slot in range(read + 1)] for line in bodies]
    with torch.no_grad():
        null_emb = encoder.embedder.embed_chunks(encoder.null_chunk()).float()
    null_relevance = query_emb @ null_emb.T
    return ReadBatch(
        joint=joint.to(device),
        relevance=torch.cat([null_relevance, relevance], dim=1),
        filled=torch.tensor(filled, device=device),
    )


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
