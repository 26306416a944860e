"""The preset `paper`: the published hyper-parameters, and steps with them at a small size."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from tiny import CITIES
from trained import write_documents

from openrealm import recipes
from openrealm.settings import resolve
from openrealm.workspace import Workspace

# Guu et al. (2020), sections 4.3 and 4.5, and the released code: realm/local_launcher.sh,
# orqa/README.md, orqa_model.py, bert/optimization.py.
PUBLISHED = {
    "corpus.chunking.chunk_tokens": 288,
    "model.query_tokens": 96,
    "model.bert.layers": 12,
    "model.bert.hidden": 768,
    "model.bert.heads": 12,
    "model.bert.intermediate": 3072,
    "model.bert.dropout": 0.1,
    "model.bert.activation": "gelu_new",
    "model.bert.layer_norm_eps": 1e-12,
    "model.embedder.pooling": "cls",
    "model.embedder.projection": "linear",
    "model.embedder.dim": 128,
    "model.embedder.dropout": 0.1,
    "model.embedder.shared": True,
    "model.embedder.normalize": False,
    "model.embedder.score_scale": 1.0,
    "model.span_head.hidden": 256,
    "model.span_head.max_width": 10,
    "model.span_head.layer_norm_eps": 1e-3,
    "retrieval.k": 8,
    "ict.steps": 100_000,
    "ict.batch_size": 4096,
    "ict.lr": 1e-4,
    "ict.removal": 0.9,
    "warmup.steps": 0,
    "realm.steps": 200_000,
    "realm.batch_size": 512,
    "realm.lr": 3e-5,
    "realm.lr_retriever": 3e-5,
    "realm.marginal": "token",
    "realm.null_chunk": True,
    "realm.lexical": 0,
    "realm.unread": False,
    "refresh.every": 500,
    "qa.steps": 20 * 3417,
    "qa.batch_size": 1,
    "qa.lr": 1e-5,
    "qa.lr_retriever": 1e-5,
    "qa.beam": 5000,
    "qa.read": 5,
    "qa.marginal": "spans",
    "qa.per_chunk": False,
    "optim.bias_correction": False,
    "optim.weight_decay": 0.01,
    "optim.eps": 1e-6,
    "optim.clip_norm": 1.0,
    "optim.warmup_fraction": 0.1,
    "optim.warmup_min": 100,
    "optim.warmup_max": 10_000,
}
SMALL = [
    "corpus.chunking.chunk_tokens=48",
    "model.query_tokens=24",
    "model.bert.layers=1",
    "model.bert.hidden=32",
    "model.bert.heads=2",
    "model.bert.intermediate=32",
    "model.bert.max_positions=80",
    "model.embedder.dim=16",
    "model.span_head.hidden=8",
    "ict.steps=2",
    "ict.batch_size=4",
    "realm.steps=3",
    "realm.batch_size=4",
    "refresh.every=2",
    "qa.steps=2",
    "qa.batch_size=2",
    "qa.beam=20",
    "loop.num_probe=4",
    "loop.log_every=1",
    "optim.warmup_min=1",
    "device=cpu",
]


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_preset_has_what_was_published(name: str) -> None:
    value: object = resolve(preset="paper")
    for part in name.split("."):
        value = getattr(value, part)
    assert value == PUBLISHED[name]


def test_the_preset_takes_steps_at_a_small_size(tmp_path: Path) -> None:
    write_documents(tmp_path / "docs.jsonl")
    ws = tmp_path / "ws"
    recipes.ingest(ws, sources=[tmp_path / "docs.jsonl"], preset="paper", assignments=SMALL)
    recipes.pretrain(ws, preset="paper", assignments=SMALL)
    asked = [(f"What is the capital of {c[0]}?", city) for city, c in CITIES.items()]
    lines = [json.dumps({"question": q, "answer": [a]}) + "\n" for q, a in asked]
    (tmp_path / "qa.jsonl").write_text("".join(lines))
    recipes.finetune(ws, qa=[tmp_path / "qa.jsonl"], dev_split=True)
    run = Workspace(ws).run()
    logged = [json.loads(line) for line in run.metrics_file.read_text().splitlines()]
    losses = {line["stage"]: line["train/loss"] for line in logged if "train/loss" in line}
    assert set(losses) == {"ict", "realm", "qa"}
    assert all(math.isfinite(loss) for loss in losses.values())
