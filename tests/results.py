"""One small result of every recipe, as the recipes return them; for tests of what is printed."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any
from unittest import mock

import pytest

import openrealm
from openrealm import recipes
from openrealm.answering.answer_spans import Answer, Evidence
from openrealm.answering.answerer import Answers, ChunkHit, Filling, Fillings, WeighedChunk
from openrealm.corpus.records import IngestReport, Problem
from openrealm.corpus.store import Chunk
from openrealm.metrics import Interval
from openrealm.recipes.evaluation import EvaluationReport, EvaluationRow
from openrealm.recipes.exports import ExportReport
from openrealm.recipes.imports import ImportedPart, ImportReport
from openrealm.recipes.inspection import IndexReport, WorkspaceInfo
from openrealm.recipes.pretraining import RunSummary
from openrealm.recipes.reporting import ReportFiles
from openrealm.runs.record import RunInfo
from openrealm.workspace.session import AskResult, FillResult, SearchResult
from openrealm.workspace.workspace import Workspace

# Commands that are methods of the object; each of the others is a recipe.
METHODS = ("search", "fill", "ask", "index", "info")


def recipe(name: str) -> Callable[..., Any]:
    """The recipe or method itself, whatever a test has put in its place."""
    home = Workspace if name in METHODS else _module_of(name)
    function: Callable[..., Any] = getattr(home, name)
    return function


def stub(monkeypatch: pytest.MonkeyPatch, name: str, result: Any) -> mock.Mock:
    """Puts something in its place that returns at once and takes exactly the same arguments."""
    made = mock.create_autospec(recipe(name), return_value=result)
    monkeypatch.setattr(Workspace if name in METHODS else recipes, name, made, raising=False)
    monkeypatch.setattr(openrealm, name, made, raising=False)
    return made


def _module_of(name: str) -> Any:
    return import_module(f"{recipes.__name__}.{recipes._HOMES[name]}")


TEXT = "Lima is the capital of Perú. It lies on the coast."
LIMA = Chunk(row=7, document_id="lima", title="Lima", text=TEXT, start=100, stop=150)
CUSCO = Chunk(
    row=9, document_id="cusco", title="", text="Cusco was once the capital.", start=0, stop=27
)
HITS = (
    ChunkHit(rank=1, score=12.5, chunk=LIMA),
    ChunkHit(rank=2, score=11.25, chunk=CUSCO),
)
STAGES = (
    {"stage": "ict", "total_step": 40, "probe/recall@1": 0.25, "held_out/mrr": 0.5},
    {"stage": "realm", "total_step": 90, "probe/recall@1": 0.75, "probe/utility": 1.5},
)

INGESTED = IngestReport(
    added=3,
    unchanged=1,
    replaced=0,
    removed=0,
    chunks=12,
    problems=[Problem(source="bad file.jsonl", line=4, reason="is not JSON")],
    num_problems=3,
)
TRAINED = RunSummary(workspace="my ws", run="run-001", stages=STAGES, seconds=75.0)
IMPORTED = ImportReport(
    workspace="my ws",
    run="run-001",
    stages=("realm", "qa"),
    parts=(
        ImportedPart(
            source="google/realm-orqa-nq-openqa",
            kind="openqa",
            stage="qa",
            format="safetensors",
            tensors=410,
            parameters=219_000_000,
            dropped=48_717_668,
        ),
    ),
    blocks=12,
    chunks=12,
    vectors=12,
    notes=("no source holds a masked-LM head: this run cannot fill masks",),
    seconds=75.0,
)
INDEXED = IndexReport(
    run="run-001", generation=4, chunks=12, dim=128, dtype="float32", step=90, verified=True
)
SOURCE = "run 'run-001', stage 'qa'"
SEARCHED = SearchResult(query="capital", run="run-001", source=SOURCE, hits=HITS)
FILLED = FillResult(
    run="run-001",
    source=SOURCE,
    fillings=Fillings(
        masked="Lima is the capital of [MASK] .",
        fillings=(
            Filling(tokens=("peru",), text="peru", p_y=0.74, p_y_given_z=(0.1, 0.9)),
            Filling(tokens=("chile",), text="chile", p_y=0.07, p_y_given_z=(0.15, 0.05)),
        ),
        candidates=(WeighedChunk(chunk=None, p_z=0.2), WeighedChunk(chunk=LIMA, p_z=0.8)),
    ),
)
ANSWERS = Answers(
    question="What is Lima the capital of?",
    answers=(
        Answer(
            text="Perú",
            probability=0.75,
            evidence=(
                Evidence(chunk=LIMA, start=123, stop=127, probability=0.5),
                Evidence(chunk=LIMA, start=123, stop=127, probability=0.25),
            ),
        ),
    ),
    no_answer=0.125,
    read=(WeighedChunk(chunk=None, p_z=0.2), WeighedChunk(chunk=LIMA, p_z=0.8)),
)
ASKED = AskResult(
    question=ANSWERS.question,
    run="run-001",
    source=SOURCE,
    has_reader=True,
    answers=ANSWERS,
    hits=(),
)
ASKED_WITHOUT_READER = AskResult(
    question=ANSWERS.question,
    run="run-001",
    source=SOURCE,
    has_reader=False,
    answers=None,
    hits=HITS,
)
EVALUATED = EvaluationReport(
    run="run-001",
    stage="realm",
    start="minilm",
    rows=(
        EvaluationRow(
            data="dev.jsonl",
            system="openrealm",
            num=1500,
            measures={
                "recall@5": Interval(mean=0.5, low=0.4, high=0.6),
                "exact_match": Interval(mean=0.3, low=0.2, high=0.4),
            },
        ),
        EvaluationRow(
            data="dev.jsonl",
            system="bm25",
            num=1500,
            measures={"recall@5": Interval(mean=0.25, low=0.125, high=0.375)},
        ),
    ),
)
REPORTED = ReportFiles(
    run="run-002",
    compared=("run-001",),
    page="my ws/runs/run-002/report/report.html",
    pictures=("my ws/runs/run-002/report/curves.png",),
    summary=("The run began with random weights (scratch).",),
    not_probed="the run has no weights of warm-up or joint training yet",
)
WHOLE = WorkspaceInfo(
    workspace="my ws",
    documents=4,
    chunks=12,
    chunk_tokens=64,
    vocab_size=1500,
    corpus_fingerprint="ab" * 32,
    problems=(),
    runs=(
        RunInfo(
            name="run-001",
            record={
                "created": 0.0,
                "start": "scratch",
                "corpus": "cd" * 32,
                "stage_reports": list(STAGES),
            },
            checkpoints=(
                {"stage": "realm", "step": 20, "finished": False},
                {"stage": "ict", "step": 40, "finished": True},
            ),
            generations=(1, 4),
            fits_corpus=False,
            in_training=False,
            refreshes=({"total_step": 40, "text": "worker 0 was killed", "reason": "no memory"},),
        ),
    ),
)
DAMAGED = WorkspaceInfo(
    workspace="my ws",
    documents=4,
    chunks=12,
    chunk_tokens=64,
    vocab_size=1500,
    corpus_fingerprint="ab" * 32,
    problems=("segment-000001/text.arrow is damaged",),
    runs=(),
)
EXPORTED = ExportReport(
    run="run-001",
    stage="realm",
    format="openrealm",
    directory="my ws/exports/run-001-openrealm",
    files={"README.md": 2048, "weights.safetensors": 1234567},
    url="https://hub.example/me/rivers",
)
DEMONSTRATED = _module_of("demo").DemoReport(
    workspace="demo",
    run="run-001",
    stages=STAGES,
    compared={},
    answers=(ANSWERS,),
    plot="demo/runs/run-001/plots/run.png",
    seconds=500.0,
)
