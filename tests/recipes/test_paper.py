"""The preset `paper`: the published hyper-parameters, and steps with them at a small size."""

from __future__ import annotations

import json
import math
from pathlib import Path

import commands
import pytest
import torch
from safetensors.torch import load_file
from tiny import CITIES
from trained import write_documents

import openrealm
from openrealm import recipes
from openrealm.progress import Silent
from openrealm.runs.folders import WorkspaceFolder
from openrealm.runs.loaded import load_run
from openrealm.settings import resolve

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
    "model.embedder.score_scale": 1.0,
    "model.span_head.hidden": 256,
    "model.span_head.max_width": 10,
    "model.span_head.layer_norm_eps": 1e-3,
    "retrieval.k": 8,
    "ict.steps": 100_000,
    "ict.batch_size": 4096,
    "ict.lr": 1e-4,
    "warmup.steps": 0,
    "realm.steps": 200_000,
    "realm.batch_size": 512,
    "realm.lr": 3e-5,
    "realm.lr_retriever": 3e-5,
    "realm.marginal": "token",
    "realm.null_chunk": True,
    "realm.lexical": 0,
    "realm.in_batch_negatives": False,
    "refresh.every": 500,
    "qa.steps": 20 * 3417,
    "qa.batch_size": 1,
    "qa.lr": 1e-5,
    "qa.lr_retriever": 1e-5,
    "qa.beam": 5000,
    "qa.read": 5,
    "optim.bias_correction": False,
    "optim.warmup_min": 100,
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
    commands.ingest(ws, sources=[tmp_path / "docs.jsonl"], preset="paper", assignments=SMALL)
    commands.pretrain(ws, preset="paper", assignments=SMALL)
    asked = [(f"What is the capital of {c[0]}?", city) for city, c in CITIES.items()]
    lines = [json.dumps({"question": q, "answer": [a]}) + "\n" for q, a in asked]
    (tmp_path / "qa.jsonl").write_text("".join(lines))
    commands.finetune(ws, qa=[tmp_path / "qa.jsonl"], dev_split=True)
    run = WorkspaceFolder(ws).run()
    logged = [json.loads(line) for line in run.metrics_file.read_text().splitlines()]
    losses = {line["stage"]: line["train/loss"] for line in logged if "train/loss" in line}
    assert set(losses) == {"ict", "realm", "qa"}
    assert all(math.isfinite(loss) for loss in losses.values())


def test_a_run_of_it_goes_out_as_hugging_face_folders_and_comes_back(tmp_path: Path) -> None:
    write_documents(tmp_path / "docs.jsonl")
    first, second = tmp_path / "first", tmp_path / "second"
    for ws in (first, second):
        commands.ingest(ws, sources=[tmp_path / "docs.jsonl"], preset="paper", assignments=SMALL)
    commands.pretrain(first, preset="paper", assignments=SMALL)
    recipes.export(first, to="hf-realm", output=tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir() if path.is_dir()} == {
        "embedder",
        "scorer",
        "encoder",
    }
    sources = [str(tmp_path / "out" / kind) for kind in ("embedder", "encoder")]
    recipes.import_weights(second, sources=sources, stage="realm")
    text = "Aldera is the capital of [MASK] ."
    before, after = (openrealm.open(ws).fill(text).fillings.fillings for ws in (first, second))
    assert [f.text for f in before] == [f.text for f in after]
    assert [f.p_y for f in before] == pytest.approx([f.p_y for f in after], rel=1e-4)
    # Joint training goes on from what was imported, and so does the way back.
    start = str(WorkspaceFolder(second).run().directory)
    few = ['stages=["realm"]', "realm.steps=2", "realm.batch_size=4", "loop.num_probe=4"]
    went_on = commands.pretrain(second, start=start, preset="paper", assignments=few)
    assert went_on.stages[-1]["stage"] == "realm"
    recipes.export(second, to="hf-realm", output=tmp_path / "again", run="run-001")
    for kind in ("embedder", "encoder"):
        one, other = (
            load_file(tmp_path / place / kind / "model.safetensors") for place in ("out", "again")
        )
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_fine_tuned_run_goes_out_with_the_vectors_of_its_chunks(tmp_path: Path) -> None:
    write_documents(tmp_path / "docs.jsonl")
    ws = tmp_path / "ws"
    commands.ingest(ws, sources=[tmp_path / "docs.jsonl"], preset="paper", assignments=SMALL)
    commands.pretrain(ws, preset="paper", assignments=SMALL)
    (tmp_path / "qa.jsonl").write_text('{"question": "what is old?", "answer": ["town"]}\n')
    commands.finetune(ws, qa=[tmp_path / "qa.jsonl"])
    recipes.export(ws, to="hf-realm", output=tmp_path / "out")
    vectors = load_file(tmp_path / "out" / "openqa" / "model.safetensors")["block_emb"]
    loaded = load_run(WorkspaceFolder(ws), name=None, progress=Silent())
    torch.testing.assert_close(vectors, loaded.live.index.chunk_emb.float())
    assert (tmp_path / "out" / "reader" / "config.json").is_file()
