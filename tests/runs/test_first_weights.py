"""Tests of first weights: an earlier run as the start of a new one, and what is made of how often
tokens stand in the texts.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import commands
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny import World, documents, model_config
from transformers.models.bert.configuration_bert import BertConfig
from transformers.models.bert.modeling_bert import BertModel

import openrealm
from openrealm.errors import CheckpointError, ConfigError
from openrealm.runs import checkpoints, first_weights
from openrealm.runs.first_weights import (
    Beginning,
    begin,
    first_model,
    known_tokens,
    saved_model,
    token_prior,
)
from openrealm.runs.folders import WorkspaceFolder, open_corpus
from openrealm.settings import Settings, resolve

SHAPE = [
    "model.query_tokens=24",
    "model.bert.hidden=32",
    "model.bert.intermediate=64",
    "model.reader.layers=2",
    "model.reader.hidden=64",
    "model.reader.intermediate=64",
    "model.span_head.hidden=16",
]
STEPS = [f"{stage}.steps=2" for stage in ("ict", "warmup", "realm")]
BATCHES = [f"{stage}.batch_size=4" for stage in ("ict", "warmup", "realm")]
CORPUS = ["corpus.vocab_size=400", "corpus.chunking.chunk_tokens=32"]
BESIDE = ["loop.num_probe=4", *BATCHES, *STEPS]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with one run, ``first``, of the stages ict and warmup."""
    folder = tmp_path_factory.mktemp("continuing")
    lines = [json.dumps({"id": d.id, "title": d.title, "text": d.text}) + "\n" for d in documents()]
    (folder / "docs.jsonl").write_text("".join(lines))
    ws = folder / "ws"
    commands.ingest(ws, sources=[folder / "docs.jsonl"], preset="tiny", assignments=CORPUS)
    commands.pretrain(
        ws,
        preset="tiny",
        assignments=[*CORPUS, *SHAPE, *BESIDE, 'stages=["ict", "warmup"]', "realm.steps=0"],
        run="first",
    )
    return ws


def weights(workspace: Path, run: str, checkpoint: str) -> dict[str, torch.Tensor]:
    path = workspace / "runs" / run / "checkpoints" / checkpoint / "weights.safetensors"
    return load_file(path)


def test_a_run_begins_with_the_newest_weights_and_the_shape_of_an_earlier_one(
    workspace: Path,
) -> None:
    commands.pretrain(
        workspace,
        start=str(workspace / "runs" / "first"),
        preset="tiny",  # whose own shape is much larger
        assignments=[
            *BESIDE,
            'stages=["realm"]',
            "ict.steps=0",
            "warmup.steps=0",
            "realm.lr=0",
            "realm.lr_retriever=1e-9",
        ],
        run="second",
    )
    before, after = (
        weights(workspace, "first", "warmup-000002"),
        weights(workspace, "second", "realm-000002"),
    )
    assert before.keys() == after.keys()
    for name, tensor in before.items():
        torch.testing.assert_close(after[name], tensor, rtol=0, atol=1e-6)
    record = json.loads((workspace / "runs" / "second" / "run.json").read_text())
    assert record["start"].endswith("runs/first/checkpoints/warmup-000002")


@pytest.mark.parametrize("kind", ["run", "exported"])
def test_a_new_run_opens_its_start_once_and_builds_it_once(
    workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    shutil.copytree(workspace, tmp_path / "ws")
    start = tmp_path / "ws" / "runs" / "first"
    if kind == "exported":
        openrealm.open(workspace).export("openrealm", run="first", output=tmp_path / "model")
        start = tmp_path / "model"
    counts: Counter[str] = Counter()

    def counted(module: ModuleType, name: str) -> None:
        function = getattr(module, name)

        def count(*arguments: Any, **options: Any) -> Any:
            file = arguments[0] if isinstance(arguments[0], Path) else name
            # What the new run writes is summed too.
            counts[str(file)] += not str(file).startswith(str(tmp_path / "ws" / "runs" / "new"))
            return function(*arguments, **options)

        monkeypatch.setattr(module, name, count)

    counted(checkpoints, "checksum")
    counted(first_weights, "build_model")
    few = [*BESIDE, "ict.steps=0", "warmup.steps=0", "realm.steps=0"]
    commands.pretrain(tmp_path / "ws", start=str(start), preset="tiny", assignments=few, run="new")
    assert counts["build_model"] == 1
    assert [Path(file).name for file in counts].count("weights.safetensors") >= 1
    assert max(counts.values()) == 1


def test_a_checkpoint_in_the_middle_can_be_named(workspace: Path) -> None:
    found = saved_model(str(workspace / "runs" / "first" / "checkpoints" / "ict-000002"))
    assert found is not None and found.stage == "ict"


def test_what_is_no_run_is_none(tmp_path: Path) -> None:
    assert saved_model("minilm") is None
    assert saved_model(str(tmp_path)) is None
    assert saved_model("google/some-bert") is None


def test_another_shape_is_refused_and_leaves_no_run(workspace: Path) -> None:
    with pytest.raises(CheckpointError, match="another shape"):
        commands.pretrain(
            workspace,
            start=str(workspace / "runs" / "first"),
            preset="tiny",
            assignments=[*BESIDE, "model.reader.hidden=128"],
            run="third",
        )
    assert not (workspace / "runs" / "third").exists()


def test_a_bert_with_another_vocabulary_of_the_same_size_is_refused(
    workspace: Path, tmp_path: Path
) -> None:
    tokenizer = open_corpus(WorkspaceFolder(workspace)).tokenizer
    shape = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = BertConfig(vocab_size=tokenizer.vocab_size, intermediate_size=64, **shape)
    BertModel(config).save_pretrained(tmp_path / "bert")
    (vocabulary,) = (workspace / "corpus").glob("tokenizer-*/vocab.txt")
    words = vocabulary.read_text(encoding="utf-8").splitlines()
    settings = resolve(preset="tiny", assignments=[f"start={tmp_path / 'bert'}"])
    begin(Beginning.of(settings), tokenizer)
    (tmp_path / "bert" / "vocab.txt").write_text("\n".join(words), encoding="utf-8")
    begin(Beginning.of(settings), tokenizer)
    words[-2:] = words[:-3:-1]
    (tmp_path / "bert" / "vocab.txt").write_text("\n".join(words), encoding="utf-8")
    with pytest.raises(ConfigError, match="has another vocabulary than the corpus"):
        commands.pretrain(workspace, start=str(tmp_path / "bert"), preset="tiny", run="other")
    assert not (workspace / "runs" / "other").exists()


def test_another_vocabulary_is_refused_with_the_way_out(workspace: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    docs = workspace.parent / "docs.jsonl"
    smaller = ["corpus.vocab_size=200", CORPUS[1]]
    commands.ingest(other, sources=[docs], preset="tiny", assignments=smaller)
    start = str(workspace / "runs" / "first")
    with pytest.raises(ConfigError, match="another vocabulary") as refused:
        commands.pretrain(other, start=start, preset="tiny", assignments=BESIDE)
    # The way out that the message names.
    chosen = str(refused.value).rpartition("--set ")[2]
    third = tmp_path / "third"
    commands.ingest(third, sources=[docs], preset="tiny", assignments=[chosen, CORPUS[1]])
    few = [*BESIDE, 'stages=["realm"]', "ict.steps=0", "warmup.steps=0"]
    assert commands.pretrain(third, start=start, preset="tiny", assignments=few).run == "run-001"


def test_a_run_without_weights_and_one_for_questions_are_refused(
    workspace: Path, tmp_path: Path
) -> None:
    shutil.copytree(workspace / "runs" / "first", tmp_path / "runs" / "first")
    tuned = tmp_path / "runs" / "first" / "checkpoints" / "warmup-000002"
    state = json.loads((tuned / "state.json").read_text())
    state["position"]["stage"] = "qa"
    (tuned / "state.json").write_text(json.dumps(state))
    with pytest.raises(CheckpointError, match="fine-tuned on questions"):
        saved_model(str(tuned))
    shutil.rmtree(tmp_path / "runs" / "first" / "checkpoints" / "ict-000002")
    with pytest.raises(CheckpointError, match="without a checkpoint"):
        saved_model(str(tmp_path / "runs" / "first"))


def test_the_known_tokens_are_those_of_titles_and_bodies_and_what_joins_them(world: World) -> None:
    store, tokenizer = world.store, world.tokenizer
    had = {tokenizer.cls_id, tokenizer.sep_id, tokenizer.mask_id}
    for row in range(len(store)):
        had |= {*store.title_ids(row).tolist(), *store.body_ids(row).tolist()}
    known = known_tokens([store]).numpy()
    assert set(np.flatnonzero(known).tolist()) == had
    assert not known[tokenizer.pad_id] and len(known) == tokenizer.vocab_size


def test_the_token_prior_is_the_frequency_in_titles_and_bodies(world: World) -> None:
    store = world.store
    counts = np.zeros(world.tokenizer.vocab_size)
    for row in range(len(store)):
        for token in [*store.title_ids(row).tolist(), *store.body_ids(row).tolist()]:
            counts[token] += 1
    # What the texts do not have is no rarer than what they have once.
    counts = np.maximum(counts, 1)
    prior = token_prior([store]).exp().double().numpy()
    np.testing.assert_allclose(prior, counts / counts.sum(), rtol=1e-5)


def test_a_reader_with_the_prior_predicts_it_before_it_reads(world: World) -> None:
    model, prior = world.model(), token_prior([world.store])
    for parameter in model.reader.masked_lm.parameters():
        parameter.data.zero_()
    model.reader.set_frequencies(prior, prior=True)
    inputs = world.templates.query([world.ids("the old town")])
    logits = model.reader.masked_logits(inputs, torch.tensor([[1]]), torch.tensor([[True]]))
    torch.testing.assert_close(logits[0].log_softmax(-1), prior)


@pytest.mark.parametrize("prior", [True, False])
def test_a_copy_head_knows_the_frequencies_with_and_without_the_prior(
    world: World, prior: bool
) -> None:
    shape = replace(model_config(), copy_head=True, token_prior=prior)
    settings = replace(Settings(), start="scratch", model=shape)
    reader = first_model(Beginning.of(settings), corpus=world.store, texts=world.store).reader
    wanted = token_prior([world.store])
    assert reader.copy_head is not None
    torch.testing.assert_close(reader.copy_head.log_frequency, wanted)
    bias = reader.masked_lm.cls.predictions.bias
    torch.testing.assert_close(bias, wanted if prior else torch.zeros_like(wanted))


def test_two_towers_from_scratch_begin_alike(world: World) -> None:
    settings = replace(Settings(), start="scratch", model=model_config(shared=False))
    embedder = first_model(Beginning.of(settings), corpus=world.store, texts=world.store).embedder
    assert not embedder.is_shared
    inputs = world.templates.query([world.ids("the old town")])
    torch.testing.assert_close(embedder.query_tower(inputs), embedder.chunk_tower(inputs))
