"""What answering returns, in the shapes of the API; knows no routes."""

from __future__ import annotations

import math
from collections.abc import Sequence

from openrealm.answering.answer_spans import Answer, Evidence
from openrealm.answering.answerer import Answers, ChunkHit, Fillings, WeighedChunk
from openrealm.corpus.store import Chunk
from openrealm.server.schemas import (
    MAX_PLACES,
    AnswerView,
    AskResponse,
    ChunkView,
    EvidenceView,
    FillingView,
    FillResponse,
    HitView,
    Source,
    WeighedView,
)


def chunk_view(chunk: Chunk) -> ChunkView:
    """A chunk as JSON."""
    return ChunkView(
        id=chunk.row,
        document_id=chunk.document_id,
        title=chunk.title,
        text=chunk.text,
        start=chunk.start,
        stop=chunk.stop,
    )


def weighed_views(candidates: Sequence[WeighedChunk]) -> list[WeighedView]:
    """Candidates as JSON."""
    return [
        WeighedView(chunk=chunk_view(c.chunk) if c.chunk else None, p_z=c.p_z) for c in candidates
    ]


def hit_views(hits: Sequence[ChunkHit]) -> list[HitView]:
    """Search results as JSON."""
    return [HitView(rank=h.rank, score=h.score, chunk=chunk_view(h.chunk)) for h in hits]


def ask_response(
    question: str, source: Source, found: Answers | None, hits: Sequence[ChunkHit]
) -> AskResponse:
    """Answers as JSON, or search results where there are none."""
    return AskResponse(
        question=question,
        source=source,
        has_reader=found is not None,
        answers=[_answer_view(answer) for answer in found.answers] if found else [],
        no_answer=found.no_answer if found else None,
        read=weighed_views(found.read) if found else [],
        hits=hit_views(hits),
    )


def fill_response(source: Source, found: Fillings) -> FillResponse:
    """Fillings as JSON, with the utility of every candidate for every filling."""
    return FillResponse(
        text=found.masked,
        source=source,
        fillings=[
            FillingView(
                text=filling.text,
                tokens=list(filling.tokens),
                p_y=filling.p_y,
                p_y_given_z=list(filling.p_y_given_z),
                utility=utilities(filling.p_y_given_z),
            )
            for filling in found.fillings
        ],
        candidates=weighed_views(found.candidates),
    )


def utilities(p_y_given_z: Sequence[float]) -> list[float | None]:
    """log p(y|z,x) - log p(y|null,x) of every candidate; the null chunk is the first."""
    null = p_y_given_z[0]
    return [math.log(p) - math.log(null) if p > 0 and null > 0 else None for p in p_y_given_z]


def _answer_view(answer: Answer) -> AnswerView:
    return AnswerView(
        text=answer.text,
        probability=answer.probability,
        num_places=len(answer.evidence),
        evidence=[_evidence_view(place) for place in answer.evidence[:MAX_PLACES]],
    )


def _evidence_view(place: Evidence) -> EvidenceView:
    return EvidenceView(
        chunk=chunk_view(place.chunk),
        start=place.start,
        stop=place.stop,
        probability=place.probability,
    )
