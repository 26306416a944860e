"""A workspace with a trained run, for the recipes that read one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import commands
import pytest
from tiny import CITIES, documents

from openrealm.index.snapshot import Snapshot
from openrealm.retrieval.embedding import Order, snapshot_writer, write_snapshot
from openrealm.runs.loaded import LoadedModel

SHAPE = [
    "corpus.vocab_size=400",
    "corpus.chunking.chunk_tokens=32",
    "model.query_tokens=24",
    "model.bert.hidden=32",
    "model.bert.intermediate=32",
    "model.bert.max_positions=64",
    "model.reader.layers=2",
    "model.reader.hidden=64",
    "model.reader.intermediate=32",
    "model.span_head.hidden=8",
    "model.embedder.known_tokens=false",
]
STEPS = [
    "ict.steps=2",
    "ict.batch_size=4",
    "warmup.steps=0",
    "realm.steps=2",
    "realm.batch_size=4",
    "qa.steps=1",
    "qa.batch_size=2",
    "qa.beam=20",
    "loop.num_probe=4",
    "device=cpu",
]


def write_documents(path: Path) -> None:
    found = [{"id": d.id, "title": d.title, "text": d.text} for d in documents()]
    path.write_text("".join(json.dumps(record) + "\n" for record in found))


def train(workspace: Path, *, start: str = "scratch", changes: Sequence[str] = ()) -> str:
    """A new run of four steps; its name."""
    stages = next(
        (change for change in changes if change.startswith("stages=")), "ict warmup realm"
    )
    left_out = tuple(f"{s}.steps" for s in ("ict", "warmup", "realm") if s not in stages)
    steps = [step for step in STEPS if not step.startswith(left_out)]
    assignments = [*SHAPE, *steps, *changes]
    return commands.pretrain(workspace, preset="tiny", start=start, assignments=assignments).run


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a run that went through the stages ict, realm and qa; not to be changed."""
    folder = tmp_path_factory.mktemp("trained")
    write_documents(folder / "docs.jsonl")
    workspace = folder / "rivers"
    commands.ingest(workspace, sources=[folder / "docs.jsonl"], preset="tiny", assignments=SHAPE)
    train(workspace)
    asked = [(f"What is the capital of {c[0]}?", city) for city, c in CITIES.items()]
    lines = [json.dumps({"question": q, "answer": [a]}) + "\n" for q, a in asked]
    (folder / "qa.jsonl").write_text("".join(lines))
    commands.finetune(workspace, qa=[folder / "qa.jsonl"])
    return workspace


def by_one_process(
    loaded: LoadedModel, directory: Path, order: Order, *, shard_rows: int
) -> Snapshot:
    """What any number of nodes has to make of an order."""
    writer = snapshot_writer(
        loaded.corpus, loaded.model.embedder, directory, order, shard_rows=shard_rows
    )
    return write_snapshot(writer, loaded.corpus, loaded.encoder)
