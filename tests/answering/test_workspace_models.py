"""Tests of what answers in a workspace: the newest run that can, else the start, else words."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import commands
import pytest
import torch
from tiny import documents
from trained import SHAPE, train
from transformers import BertConfig, BertForQuestionAnswering

from openrealm import recipes
from openrealm.answering.answerer import ChunkHit, WordSearcher
from openrealm.answering.model_cache import ANSWER, FILL, CachedModel, ModelKey
from openrealm.answering.workspace_models import WorkspaceModels
from openrealm.errors import CheckpointError, InputError, Stopped
from openrealm.index.snapshot import generations
from openrealm.models import starts
from openrealm.progress import Silent
from openrealm.runs.folders import RunFolder, WorkspaceFolder, open_corpus

SENTENCES = {
    "cats": "The cat sleeps on the warm roof.",
    "bridges": "The north bridge was repaired by Anna Berg in 1987.",
    "lakes": "The lakes near Tornau freeze each winter.",
}


def models_of(workspace: Path) -> WorkspaceModels:
    return WorkspaceModels(WorkspaceFolder(workspace), None, Silent())


def write(path: Path, texts: dict[str, str]) -> Path:
    lines = [json.dumps({"id": name, "title": "", "text": text}) for name, text in texts.items()]
    path.write_text("\n".join(lines) + "\n")
    return path


def found(model: CachedModel, text: str, k: int = 3) -> list[str]:
    hits: Sequence[ChunkHit] = model.answerer.search([text], k=k)[0]
    return [hit.chunk.document_id for hit in hits]


@pytest.fixture
def ingested(tmp_path: Path) -> Path:
    """A workspace of three sentences in the start's own vocabulary, without a run."""
    commands.ingest(tmp_path / "ws", sources=[write(tmp_path / "docs.jsonl", SENTENCES)])
    return tmp_path / "ws"


# The start as it is -------------------------------------------------------------------------------


def test_before_any_training_the_start_finds_by_meaning_and_fills(ingested: Path) -> None:
    models = models_of(ingested)
    model = models.load(ANSWER)
    assert (model.source.run, model.source.stage, model.source.step) == (None, "start", 0)
    assert str(model.source) == "start (starter), untrained"
    assert model.has_reader
    assert found(model, "a kitten dozing on top of the house")[0] == "cats"  # no word in common
    filled = model.answerer.fill(["The cat sleeps on the [MASK] ."], k=3)[0]  # type: ignore[union-attr]
    assert len(filled.fillings) == 5
    assert models.identity(FILL) == model.identity


def test_before_any_training_it_is_measured(ingested: Path) -> None:
    asked = {"question": "Who repaired the north bridge?", "answer": ["Anna Berg"]}
    (ingested.parent / "qa.jsonl").write_text(json.dumps(asked) + "\n")
    report = recipes.evaluate(ingested, qa=[ingested.parent / "qa.jsonl"], baseline="bm25")
    assert (report.run, report.stage) == (None, "start")
    assert [row.measures["recall@1"].mean for row in report.rows] == [1.0, 1.0, 1.0]
    with pytest.raises(InputError, match="no run yet whose held-out sentences"):
        recipes.evaluate(ingested, probe=True)


def test_its_embeddings_are_kept_and_none_of_its_weights(
    ingested: Path, tmp_path: Path, embedded: list[int]
) -> None:
    models_of(ingested).load(ANSWER)
    assert sorted(embedded) == [0, 1, 2]
    embedded.clear()
    models_of(ingested).load(ANSWER)
    assert embedded == []
    assert not WorkspaceFolder(ingested).runs()
    largest = max(path.stat().st_size for path in ingested.rglob("*") if path.is_file())
    assert largest < 2_000_000  # the weights are 90 MB
    commands.ingest(ingested, sources=[write(tmp_path / "more.jsonl", {"new": "Rain fell."})])
    model = models_of(ingested).load(ANSWER)
    assert embedded == [3]
    assert found(model, "wet weather")[0] == "new"
    commands.ingest(ingested, remove=["cats", "lakes"])
    models_of(ingested).load(ANSWER)
    # But for the newest of the superseded ones, which somebody may be reading.
    assert generations(ingested / "cache" / "start" / "snapshots") == [2, 3]


def test_an_embedding_that_nobody_waits_for_ends_and_leaves_no_snapshot(ingested: Path) -> None:
    models = models_of(ingested)
    models.close()
    with pytest.raises(Stopped, match="given up"):
        models.load(ANSWER)
    assert generations(ingested / "cache" / "start" / "snapshots") == []
    assert models_of(ingested).load(ANSWER).source.stage == "start"


def test_a_corpus_that_changes_is_another_model(ingested: Path) -> None:
    models = models_of(ingested)
    before = models.identity(ANSWER)
    commands.ingest(ingested, remove=["cats"])
    assert models.identity(ANSWER) != before
    assert "cats" not in found(models.load(ANSWER), "a kitten")


# Words alone --------------------------------------------------------------------------------------


def test_a_vocabulary_of_its_own_leaves_words_in_common(tmp_path: Path) -> None:
    texts = {document.id: document.text for document in documents()}
    source = write(tmp_path / "docs.jsonl", texts)
    commands.ingest(tmp_path / "ws", sources=[source], preset="tiny", assignments=SHAPE)
    models = models_of(tmp_path / "ws")
    model = models.load(ANSWER)
    assert isinstance(model.answerer, WordSearcher)
    assert (model.source.run, model.source.stage) == (None, "words")
    assert "openrealm pretrain" in str(model.source) and "--preset tiny" in str(model.source)
    assert set(found(model, "Tamsin", k=5)) == {"city-Aldera", "country-Norland"}
    with pytest.raises(InputError, match="nothing here can fill a mask yet: the corpus has a voc"):
        models.identity(FILL)


def test_without_the_package_of_the_start_words_are_left_and_the_fix_is_told(
    ingested: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(starts.importlib.util, "find_spec", lambda name: None)
    models = models_of(ingested)
    model = models.load(ANSWER)
    assert model.source.stage == "words"
    assert "pip install ./starter" in str(model.source)
    assert found(model, "who repaired the bridge") == ["bridges"]
    with pytest.raises(InputError, match="pip install"):
        models.load(FILL)


@pytest.mark.parametrize(("text", "k"), [("", 1), (" ", 1), ("bridge", 0)])
def test_words_alone_refuse_what_every_search_refuses(
    ingested: Path, monkeypatch: pytest.MonkeyPatch, text: str, k: int
) -> None:
    monkeypatch.setattr(starts.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError):
        models_of(ingested).load(ANSWER).answerer.search([text], k=k)


# Runs ---------------------------------------------------------------------------------------------


@pytest.fixture
def rivers(trained: Path, tmp_path: Path) -> Path:
    """A copy of the trained workspace, to be changed, beside its questions."""
    shutil.copy(trained.parent / "qa.jsonl", tmp_path)
    return Path(shutil.copytree(trained, tmp_path / "rivers"))


def test_a_run_in_training_leaves_the_start_to_whoever_comes_new(rivers: Path) -> None:
    with RunFolder(rivers / "runs" / "run-001").locked():
        assert models_of(rivers).load(ANSWER).source.run is None
        with pytest.raises(CheckpointError, match="'run-001' is being trained"):
            models_of(rivers).load(ModelKey("answer", "run-001"))


def test_a_run_without_a_checkpoint_is_passed_over(rivers: Path) -> None:
    newer = RunFolder(rivers / "runs" / "run-002")
    shutil.copytree(rivers / "runs" / "run-001", newer.directory)
    newer.write_record({**newer.read_record(), "created": newer.read_record()["created"] + 1})
    shutil.rmtree(newer.checkpoints / "realm-000002")
    models = models_of(rivers)
    assert models.load(ANSWER).source.run == "run-002"
    assert models.load(FILL).source.run == "run-001"  # of run-002 nothing is left that fills
    shutil.rmtree(newer.checkpoints)
    assert models.load(ANSWER).source.run == "run-001"


def test_what_is_in_memory_goes_on_while_its_run_is_trained_further(rivers: Path) -> None:
    models = models_of(rivers)
    known = models.identity(ANSWER)
    with RunFolder(rivers / "runs" / "run-001").locked():
        assert models.identity(ANSWER, known) == known
        assert models.identity(ANSWER) != known
    shutil.rmtree(rivers / "runs" / "run-001")
    assert models.identity(ANSWER, known) != known


def test_a_stage_that_no_run_has_is_refused(ingested: Path) -> None:
    with pytest.raises(InputError, match="no run yet"):
        models_of(ingested).identity(ModelKey("answer", None, "realm"))
    assert models_of(ingested).load(ModelKey("answer", None, "start")).source.stage == "start"


# Readers of answers from elsewhere ----------------------------------------------------------------


@pytest.fixture
def squad_bert(tmp_path: Path, trained: Path) -> Path:
    """Hugging Face's folder of a small BERT for question answering, of the corpus's vocabulary."""
    tokenizer = open_corpus(WorkspaceFolder(trained)).tokenizer
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=tokenizer.vocab_size,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=64,
    )
    BertForQuestionAnswering(config).save_pretrained(tmp_path / "squad")
    return tmp_path / "squad"


def test_a_bert_for_question_answering_answers_before_and_after_fine_tuning(
    rivers: Path, squad_bert: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = train(rivers, changes=[f"qa.reader={squad_bert}"])
    model = models_of(rivers).load(ModelKey("answer", run))
    assert model.has_reader and model.source.stage == "realm"
    question = "What is the capital of Norland?"
    [before] = model.answerer.ask([question], read=5)
    assert before.answers and 0 < before.no_answer < 1

    told = recipes.evaluate(rivers, run=run, qa=[rivers.parent / "qa.jsonl"], baseline="bm25")
    asked = {row.system: {"exact_match", "f1"} <= row.measures.keys() for row in told.rows}
    assert asked == {"openrealm": True, "bm25": True, "openrealm + bm25": False}

    tuned = commands.finetune(rivers, run=run, qa=[rivers.parent / "qa.jsonl"])
    assert tuned.stages[-1]["stage"] == "qa"
    shutil.rmtree(squad_bert)  # its weights are the run's own now
    model = models_of(rivers).load(ModelKey("answer", run))
    assert model.has_reader and model.source.stage == "qa"
    [after] = model.answerer.ask([question], read=5)
    assert after.answers[0].probability != before.answers[0].probability

    # Without them the weights of pre-training search, and what is missing is told.
    shutil.rmtree(rivers / "runs" / run / "checkpoints" / "qa-000001")
    model = models_of(rivers).load(ModelKey("answer", run))
    assert not model.has_reader and "no answers, only search" in caplog.text


def test_weights_fine_tuned_by_an_earlier_version_are_refused_with_what_to_do(
    rivers: Path,
) -> None:
    settings = RunFolder(rivers / "runs" / "run-001").settings_file
    text = settings.read_text()
    assert 'reader = "pretrained"' in text
    settings.write_text(text.replace('reader = "pretrained"', 'reader = "tower"'))
    with pytest.raises(CheckpointError, match=r"of an earlier version.*fine-tune again"):
        models_of(rivers).load(ANSWER)
