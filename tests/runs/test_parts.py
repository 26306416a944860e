"""Tests of words in common as a part of a run's relevance score, from training to answers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import commands
import numpy as np
import pytest
import torch
from trained import train, write_documents

import openrealm
from openrealm import recipes
from openrealm.answering.answerer import answerer_of
from openrealm.corpus.store import ChunkStore
from openrealm.progress import Silent
from openrealm.retrieval.lexical import BM25
from openrealm.runs.folders import WorkspaceFolder
from openrealm.runs.loaded import load_run
from openrealm.runs.parts import bm25_of

WEIGHED = ["model.lexical_weight=0.4", "realm.lr_lexical=0.05", "realm.steps=4"]


@pytest.fixture(scope="module")
def weighed(tmp_path_factory: pytest.TempPathFactory, trained: Path) -> Path:
    """A workspace with one run in whose score words count, pre-trained and fine-tuned."""
    folder = tmp_path_factory.mktemp("weighed")
    shutil.copytree(trained / "corpus", folder / "rivers" / "corpus")
    train(folder / "rivers", changes=WEIGHED)
    commands.finetune(folder / "rivers", qa=[trained.parent / "qa.jsonl"])
    return folder / "rivers"


def weight_after(workspace: Path, stage: str) -> float:
    lexical = load_run(
        WorkspaceFolder(workspace), name=None, stages=[stage], progress=Silent()
    ).model.lexical
    assert lexical is not None
    return lexical.value


def test_the_weight_is_learned_in_joint_training_alone_and_logged(weighed: Path) -> None:
    assert weight_after(weighed, "ict") == pytest.approx(0.4)
    learned = weight_after(weighed, "realm")
    assert abs(learned - 0.4) > 1e-3
    assert weight_after(weighed, "qa") == learned
    lines = WorkspaceFolder(weighed).run().metrics_file.read_text().splitlines()
    logged = [json.loads(line).get("realm/lexical_weight") for line in lines]
    told = {
        r["stage"]: r["lexical_weight"]
        for r in WorkspaceFolder(weighed).run().read_record()["stage_reports"]
        if r["stage"] != "qa"
    }
    assert told == {"start": pytest.approx(0.4), "ict": pytest.approx(0.4), "realm": learned}
    assert any(number is not None and number == pytest.approx(0.4, rel=0.2) for number in logged)


def test_what_is_found_is_best_by_vectors_and_words(weighed: Path) -> None:
    loaded = load_run(WorkspaceFolder(weighed), name=None, stages=["realm"], progress=Silent())
    assert loaded.model.lexical is not None
    text = "the capital of norland"
    ids = loaded.corpus.tokenizer.encode(text).ids
    with torch.inference_mode():
        x = loaded.encoder.embed_queries([ids])[0].numpy()
    vectors = loaded.live.index.local.chunk_emb.numpy()
    words = BM25.build(loaded.corpus).scores(text)
    scores = vectors @ x + loaded.model.lexical.value * words
    [hits] = answerer_of(loaded).search([text], k=6)
    assert [hit.score for hit in hits] == pytest.approx(np.sort(scores)[::-1][:6], rel=1e-5)
    assert [hit.score for hit in hits] == pytest.approx(scores[[hit.chunk.row for hit in hits]])


def test_all_that_reads_a_run_reads_this_one(weighed: Path, tmp_path: Path) -> None:
    assert openrealm.open(weighed).ask("What is the capital of Norland?").answers is not None
    assert openrealm.open(weighed).fill("Bresk is the capital of [MASK] .").fillings
    rows = recipes.evaluate(weighed, stage="realm", probe=True, baseline="bm25").rows
    assert rows
    assert Path(recipes.report(weighed, to=tmp_path / "report").page).is_file()
    # What is exported as a model of our own weighs words too.
    recipes.export(weighed, to="openrealm", stage="realm", output=tmp_path / "model")
    model = recipes.from_pretrained(tmp_path / "model")
    corpus = ChunkStore.open(weighed / "corpus")
    ours = answerer_of(
        load_run(WorkspaceFolder(weighed), name=None, stages=["realm"], progress=Silent())
    )
    text = "the king of norland"
    assert model.answerer(corpus).rank([text], 5).tolist() == ours.rank([text], 5).tolist()


def test_bm25_is_made_once_and_again_where_it_is_damaged(
    weighed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, corpus = WorkspaceFolder(weighed), ChunkStore.open(weighed / "corpus")
    first = bm25_of(place, corpus).scores("norland")
    (kept,) = place.cache.glob("bm25-*")
    with monkeypatch.context() as patch:
        patch.setattr(BM25, "build", None)
        np.testing.assert_array_equal(bm25_of(place, corpus).scores("norland"), first)
    (kept / "stems.json").write_text("{")
    np.testing.assert_array_equal(bm25_of(place, corpus).scores("norland"), first)
    assert json.loads((kept / "stems.json").read_text())["rows"] == len(corpus)


def test_bm25_of_an_earlier_corpus_is_removed(trained: Path, tmp_path: Path) -> None:
    write_documents(tmp_path / "docs.jsonl")
    place = WorkspaceFolder(tmp_path / "rivers")
    shutil.copytree(trained / "corpus", place.corpus)
    bm25_of(place, ChunkStore.open(place.corpus))
    (before,) = place.cache.glob("bm25-*")
    lines = (tmp_path / "docs.jsonl").read_text().splitlines()
    number = json.loads(lines[0])["id"]
    commands.ingest(place.directory, sources=[], remove=[number])
    bm25_of(place, ChunkStore.open(place.corpus))
    (after,) = place.cache.glob("bm25-*")
    assert after != before


def test_a_disk_without_room_only_costs_time(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: BM25, directory: Path) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(BM25, "save", full)
    place = WorkspaceFolder(tmp_path / "rivers")
    assert len(bm25_of(place, ChunkStore.open(trained / "corpus"))) == 48
    assert not list(place.cache.iterdir())
