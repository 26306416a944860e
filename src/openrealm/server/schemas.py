"""Requests and responses of the HTTP API, with their limits and examples, and what answering
returns in these shapes; knows no routes and no model.

Every limit stands here or in `ServeConfig`, so that the OpenAPI document states it. Offsets are
Unicode code points, as everywhere in openrealm (JavaScript counts UTF-16 units).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from openrealm.answering.answer_spans import Answer, Evidence
from openrealm.answering.answerer import Answers, ChunkHit, Fillings, WeighedChunk
from openrealm.answering.model_cache import Source
from openrealm.corpus.store import Chunk

MAX_TEXT = 4000
MAX_READ = 32
MAX_TOP = 20
MAX_HITS = 100
MAX_MASKS = 8
MAX_PLACES = 10
MAX_ALSO = 8

Text = Annotated[str, Field(min_length=1, max_length=MAX_TEXT)]
RunName = Annotated[
    str | None, Field(max_length=200, description="Run to answer with; the server's by default.")
]
Stage = Annotated[
    Literal["start", "mlm", "ict", "warmup", "realm", "reading", "qa"] | None,
    Field(description="Weights after this stage of the run; the last that fits by default."),
]


class Message(BaseModel):
    """What all requests and responses have in common: no unknown fields."""

    model_config = ConfigDict(extra="forbid")


# Requests -----------------------------------------------------------------------------------------


class AskRequest(Message):
    """A question."""

    question: Annotated[Text, Field(examples=["What is the capital of Peru?"])]
    read: Annotated[
        int | None, Field(ge=1, le=MAX_READ, description="Chunks read; the run's by default.")
    ] = None
    top: Annotated[int, Field(ge=1, le=MAX_TOP, description="Answers at most.")] = 5
    run: RunName = None


class FillRequest(Message):
    """A text with masks."""

    text: Annotated[
        Text,
        Field(
            examples=["Thimphu is the capital of [MASK] ."],
            description=f"With one to {MAX_MASKS} [MASK]s.",
        ),
    ]
    k: Annotated[
        int | None,
        Field(
            ge=1,
            le=MAX_READ,
            description="Candidates, the null chunk included; the run's by default.",
        ),
    ] = None
    top: Annotated[int, Field(ge=1, le=MAX_TOP, description="Fillings at most.")] = 5
    also: Annotated[
        list[Annotated[str, Field(max_length=200)]],
        Field(
            max_length=MAX_ALSO,
            description="Words that are told behind the best fillings however improbable they "
            "are; left out where they are more or fewer wordpieces than the text has masks.",
        ),
    ] = []
    retrieval: Annotated[
        bool, Field(description="False: the null chunk alone, whatever k says.")
    ] = True
    run: RunName = None
    stage: Stage = None


class SearchRequest(Message):
    """A text to find chunks for."""

    text: Annotated[Text, Field(examples=["ships on the longest river"])]
    k: Annotated[int, Field(ge=1, le=MAX_HITS, description="Chunks at most.")] = 5
    run: RunName = None
    stage: Stage = None


# Responses ----------------------------------------------------------------------------------------


class ErrorBody(Message):
    """What went wrong."""

    code: Annotated[str, Field(examples=["queue_full"], description="For programs.")]
    message: Annotated[str, Field(description="For people: one sentence.")]
    field: Annotated[str | None, Field(description="The part of the request that is wrong.")] = None


class ErrorResponse(Message):
    """The one shape of every error."""

    error: ErrorBody


class SourceView(Message):
    """Which weights answered, over which corpus."""

    run: Annotated[str | None, Field(description="Null where no run has trained them.")]
    stage: Annotated[
        str,
        Field(description="`start` for first weights, `words` where words in common alone search."),
    ]
    step: Annotated[int, Field(description="Training steps behind the weights, all stages.")]
    generation: Annotated[int, Field(description="Number of the snapshot that was searched.")]
    corpus: Annotated[str, Field(description="Fingerprint of the corpus; chunk ids are its rows.")]
    note: Annotated[
        str, Field(description="Where no run answered: what did, in a few words; else empty.")
    ]


class ChunkView(Message):
    """A chunk: characters ``start`` to ``stop`` of its document."""

    id: int
    document_id: str
    title: str
    text: str
    start: int
    stop: int


class EvidenceView(Message):
    """Where an answer stands: characters ``start`` to ``stop`` of the document."""

    chunk: ChunkView
    start: int
    stop: int
    probability: float


class AnswerView(Message):
    """An answer, its probability over all places where it stands, and the best of them."""

    text: str
    probability: float
    num_places: int
    evidence: Annotated[list[EvidenceView], Field(description=f"{MAX_PLACES} places at most.")]


class WeighedView(Message):
    """A candidate with its p(z|x); the null chunk has no ``chunk``."""

    chunk: ChunkView | None
    p_z: float


class HitView(Message):
    """A chunk found, and its inner product with the query."""

    rank: int
    score: float
    chunk: ChunkView


class AskResponse(Message):
    """Answers; search results in their place where the run was not fine-tuned for questions."""

    question: str
    source: SourceView
    has_reader: bool
    answers: list[AnswerView]
    no_answer: Annotated[
        float | None, Field(description="Probability that nothing here answers the question.")
    ]
    is_answered: Annotated[
        bool | None, Field(description="Whether an answer is likelier than none; null without any.")
    ]
    read: Annotated[
        list[WeighedView],
        Field(description="The chunks read; before them the null chunk, where the reader has one."),
    ]
    hits: Annotated[list[HitView], Field(description="Search results where has_reader is false.")]


class FillingView(Message):
    """Words for the masks; the lists go with the candidates of the response."""

    text: str
    tokens: list[str]
    p_y: Annotated[float, Field(description="p(y|x), the sum of p_z * p_y_given_z.")]
    p_y_given_z: list[float]
    utility: Annotated[
        list[float | None],
        Field(description="log p(y|z,x) - log p(y|null,x) in nats; null where one of them is 0."),
    ]


class FillResponse(Message):
    """Fillings, and the candidates that spoke for them; candidate 0 is the null chunk."""

    text: str
    source: SourceView
    fillings: list[FillingView]
    candidates: list[WeighedView]


class SearchResponse(Message):
    """Chunks found, best first."""

    text: str
    source: SourceView
    hits: list[HitView]


class ChunkSpan(Message):
    """Where a chunk stands in its document."""

    id: int
    start: int
    stop: int


class DocumentView(Message):
    """A document's text, or the part of it that was asked for."""

    id: str
    title: str
    source: Annotated[str, Field(description="The file that it came from.")]
    corpus: str
    length: Annotated[int, Field(description="Characters of the whole text.")]
    start: Annotated[int, Field(description="Where the part begins.")]
    stop: int
    text: str
    chunks: Annotated[list[ChunkSpan], Field(description="Those that touch the part.")]


class DocumentEntry(Message):
    """A line of the list of documents."""

    id: str
    title: str
    source: str
    chunks: int


class DocumentList(Message):
    """Some of the documents, in the order in which they were ingested."""

    corpus: str
    total: int
    offset: int
    documents: list[DocumentEntry]


class ProblemView(Message):
    """Input that was skipped, and why."""

    source: str
    line: int | None
    reason: str


class IngestView(Message):
    """One ingest: what it was given, what it did, the first of what it skipped."""

    time: Annotated[float, Field(description="Seconds since 1970.")]
    sources: list[str]
    added: int
    replaced: int
    removed: int
    unchanged: int
    chunks: Annotated[int, Field(description="Chunks in the corpus afterwards.")]
    num_problems: int
    problems: list[ProblemView]


class CorpusView(Message):
    """The corpus as a whole."""

    fingerprint: str
    documents: int
    chunks: int
    chunk_tokens: int
    vocab_size: int
    ingests: Annotated[list[IngestView], Field(description="Newest first, at most 100.")]


class RunView(Message):
    """A run: what made it, how far it is, and what was measured after each stage."""

    name: str
    created: float
    start: str
    saw_labels: Annotated[
        str | None, Field(description="Which labelled start is behind it, in words.")
    ]
    seed: int
    stages: Annotated[list[str], Field(description="Stages with a checkpoint, in order.")]
    has_reader: Annotated[bool, Field(description="Whether it was fine-tuned for questions.")]
    in_training: bool
    fits_corpus: Annotated[bool, Field(description="Trained on the corpus as it is now.")]
    reports: Annotated[
        list[dict[str, Any]], Field(description="Figures after each stage, by name.")
    ]
    events: Annotated[list[str], Field(description="The last events of refreshes, in words.")]


class RunList(Message):
    """The runs of the workspace, oldest first."""

    default: Annotated[str | None, Field(description="The run that answers by default.")]
    runs: list[RunView]


class MetricsView(Message):
    """Records of a run's metrics, as the training wrote them."""

    run: str
    in_training: bool
    reset: Annotated[
        bool, Field(description="The file is shorter than ``after`` said: read from its beginning.")
    ]
    next: Annotated[int, Field(description="Give this as ``after`` to get what comes later.")]
    records: list[dict[str, Any]]


class StateView(Message):
    """What this server is."""

    version: str
    workspace: Annotated[str, Field(description="The folder's name.")]
    ready: bool
    reason: Annotated[str | None, Field(description="Why it is not ready, in one sentence.")]
    source: Annotated[SourceView | None, Field(description="What answers by default.")]
    has_reader: bool
    mask: Annotated[str, Field(description="How a mask is written.")]


class Health(Message):
    """``ok``, or why not."""

    status: str


# What answering returns, in these shapes ----------------------------------------------------------


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


def source_view(source: Source) -> SourceView:
    """What answered as JSON."""
    return SourceView(**vars(source))


def weighed_views(candidates: Sequence[WeighedChunk]) -> list[WeighedView]:
    """Candidates as JSON."""
    return [
        WeighedView(chunk=chunk_view(c.chunk) if c.chunk else None, p_z=c.p_z) for c in candidates
    ]


def hit_views(hits: Sequence[ChunkHit]) -> list[HitView]:
    """Search results as JSON."""
    return [HitView(rank=h.rank, score=h.score, chunk=chunk_view(h.chunk)) for h in hits]


def ask_response(
    question: str, source: Source, answers: Answers | None, hits: Sequence[ChunkHit]
) -> AskResponse:
    """Answers as JSON, or search results where there are none."""
    return AskResponse(
        question=question,
        source=source_view(source),
        has_reader=answers is not None,
        answers=[_answer_view(answer) for answer in answers.answers] if answers else [],
        no_answer=answers.no_answer if answers else None,
        is_answered=answers.is_answered if answers else None,
        read=weighed_views(answers.read) if answers else [],
        hits=hit_views(hits),
    )


def fill_response(source: Source, fillings: Fillings) -> FillResponse:
    """Fillings as JSON, with the utility of every candidate for every filling."""
    return FillResponse(
        text=fillings.masked,
        source=source_view(source),
        fillings=[
            FillingView(
                text=filling.text,
                tokens=list(filling.tokens),
                p_y=filling.p_y,
                p_y_given_z=list(filling.p_y_given_z),
                utility=utilities(filling.p_y_given_z),
            )
            for filling in fillings.fillings
        ],
        candidates=weighed_views(fillings.candidates),
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
        evidence=[_evidence_view(evidence) for evidence in answer.evidence[:MAX_PLACES]],
    )


def _evidence_view(evidence: Evidence) -> EvidenceView:
    return EvidenceView(
        chunk=chunk_view(evidence.chunk),
        start=evidence.start,
        stop=evidence.stop,
        probability=evidence.probability,
    )
