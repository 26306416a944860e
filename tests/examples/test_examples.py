"""The examples, each run on a world of thirty-six documents."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from types import ModuleType

import pytest
from tiny import CITIES
from trained import SHAPE, STEPS
from transformers.models.bert.configuration_bert import BertConfig
from transformers.models.bert.modeling_bert import BertModel

import openrealm
from openrealm.settings import Settings, resolve
from openrealm.tokenizer import WordPiece

FOLDER = Path(__file__).resolve().parents[2] / "examples"
QUESTION = "Which river runs through Aldera?"


def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"examples.{name}", FOLDER / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def small() -> Settings:
    """A model that trains in a second."""
    return resolve(preset="tiny", assignments=[*SHAPE, *STEPS])


@pytest.fixture
def rivers(trained: Path, tmp_path: Path) -> Path:
    """A workspace with documents and no run."""
    shutil.copytree(trained / "corpus", tmp_path / "rivers" / "corpus")
    return tmp_path / "rivers"


def test_own_documents_are_searched_before_and_after_training_and_more_can_be_added(
    trained: Path, tmp_path: Path, small: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    documents, workspace = trained.parent / "docs.jsonl", tmp_path / "notes"
    main = example("own_documents").main
    main(documents, QUESTION, workspace=workspace, settings=small)
    out = capsys.readouterr().out
    assert "36 added, 0 replaced, 0 problems" in out
    assert out.index("untrained") < out.index("realm {") < out.index("(run 'run-001'")
    assert "city-Aldera" not in out and "Aldera: " in out
    main(documents, QUESTION, workspace=workspace, settings=small)
    assert "0 added" in capsys.readouterr().out


def test_questions_are_learned_measured_and_answered_with_their_places(
    trained: Path, rivers: Path, small: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    run = openrealm.open(rivers).pretrain(small)
    example("questions").main(rivers, trained.parent / "qa.jsonl")
    out = capsys.readouterr().out
    assert "on 1 questions kept back: {" in out and "qa/exact_match" in out
    for country, _, _ in list(CITIES.values())[:3]:
        assert f"What is the capital of {country}? (no answer: 0." in out
    assert out.count(", characters ") == 3
    assert "qa" in run.stages


def test_two_runs_are_measured_alike_and_reported_together(
    rivers: Path, small: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    with_words = small.changed(model={"lexical_weight": 0.3}, realm={"lr_lexical": 0.02})
    example("compare_two_runs").main(rivers, settings=with_words)
    *table, page = capsys.readouterr().out.splitlines()
    names = [line.split()[:2] for line in table]
    measures = [measure for name, measure in names if name == "both"]
    assert measures == [measure for name, measure in names if name == "vectors-alone"]
    assert "recall@1" in measures
    assert "vectors-alone" in Path(page).read_text(encoding="utf-8")
    assert openrealm.open(rivers).run("vectors-alone").settings.model.lexical_weight == 0.0


def test_an_encoder_of_ones_own_is_the_start_and_goes_elsewhere(
    trained: Path, tmp_path: Path, small: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    encoder = tmp_path / "bert"
    tokenizer = WordPiece.train([(trained.parent / "docs.jsonl").read_text()], vocab_size=400)
    shape = {"num_hidden_layers": 1, "hidden_size": 32, "num_attention_heads": 4}
    shape |= {"intermediate_size": 32, "max_position_embeddings": 64}
    BertModel(BertConfig(vocab_size=tokenizer.vocab_size, **shape)).save_pretrained(encoder)
    tokenizer.save(encoder)
    example("your_own_encoder").main(
        encoder, trained.parent / "docs.jsonl", workspace=tmp_path / "own", settings=small
    )
    out = capsys.readouterr().out
    assert openrealm.open(tmp_path / "own").run().record["start"] == str(encoder)
    folder = out.splitlines()[0]
    model = openrealm.from_pretrained(folder)
    assert model.encoder.tokenizer.fingerprint == WordPiece.load(encoder).fingerprint
    assert out.count("[") == 3  # two rows of two numbers


def test_every_example_is_run_here() -> None:
    tested = {"own_documents", "questions", "compare_two_runs", "your_own_encoder"}
    beside = {"realm_in_one_file"}  # has a test of its own
    assert tested <= {path.stem for path in FOLDER.glob("*.py")} <= tested | beside
