"""The demo, on a world of thirty-six documents instead of the almanac."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import commands
import pytest
from tiny import CITIES, documents
from transformers import BertConfig, BertForQuestionAnswering

from openrealm import almanac, recipes
from openrealm.errors import InputError
from openrealm.models.starts import starter_directory
from openrealm.recipes import demonstration as demonstrating
from openrealm.recipes.demonstration import DemoReport
from openrealm.runs.folders import WorkspaceFolder
from openrealm.settings import resolve
from openrealm.tokenizer import WordPiece
from openrealm.training.trainer import Trainer

CHANGES = [
    "model.query_tokens=24",
    "model.bert.hidden=32",
    "model.bert.intermediate=32",
    "model.reader.layers=2",
    "model.reader.hidden=64",
    "model.reader.intermediate=32",
    "model.span_head.hidden=8",
    "ict.steps=2",
    "ict.batch_size=4",
    "warmup.steps=2",
    "warmup.batch_size=4",
    "realm.steps=2",
    "realm.batch_size=4",
    "qa.steps=2",
    "qa.batch_size=2",
    "qa.beam=20",
    "loop.num_probe=4",
]


@pytest.fixture()
def small_almanac(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "almanac"
    folder.mkdir()

    def write(name: str, records: list[dict[str, object]]) -> None:
        (folder / name).write_text("".join(json.dumps(record) + "\n" for record in records))

    asked = [(f"What is the capital of {c[0]}?", city) for city, c in CITIES.items()]
    write(almanac.ARTICLES, [{"id": d.id, "title": d.title, "text": d.text} for d in documents()])
    write(almanac.QUERIES, [{"text": q, "answers": [a]} for q, a in asked])
    for name in (almanac.QUESTIONS_TRAIN, almanac.QUESTIONS_DEV):
        write(name, [{"question": q, "answer": [a]} for q, a in asked])
    monkeypatch.setattr(almanac, "directory", lambda: folder)
    return folder


@pytest.fixture
def squad_bert(tmp_path: Path) -> Path:
    """A small BERT for question answering, with the vocabulary that `adapt` ingests with."""
    tokenizer = WordPiece.load(starter_directory())
    config = BertConfig(
        vocab_size=tokenizer.vocab_size,
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=8,
        max_position_embeddings=256,
    )
    BertForQuestionAnswering(config).save_pretrained(tmp_path / "squad")
    return tmp_path / "squad"


def stages(report: DemoReport) -> list[str]:
    return [stage["stage"] for stage in report.stages]


def test_the_demo_goes_from_documents_to_answers(small_almanac: Path, tmp_path: Path) -> None:
    report = commands.demo(tmp_path / "ws", assignments=CHANGES)
    assert stages(report) == ["start", "ict", "warmup", "realm", "qa"]
    assert {"held_out/recall@1", "probe/utility"} <= report.stages[3].keys()
    assert "qa/exact_match" in report.stages[4]
    assert [a.question for a in report.answers] == list(demonstrating.QUESTIONS)
    assert report.plot is None or Path(report.plot).is_file()


@pytest.mark.parametrize("stopped_in", ["realm", "qa"])
def test_a_demo_that_was_stopped_goes_on_to_the_same_end(
    small_almanac: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stopped_in: str
) -> None:
    whole = commands.demo(tmp_path / "whole", assignments=CHANGES)
    original: Callable[..., object] = Trainer.run

    def stopping(trainer: object, stage: object, *more: object) -> object:
        if stage.name == stopped_in:  # type: ignore[attr-defined]
            raise KeyboardInterrupt
        return original(trainer, stage, *more)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "run", stopping)
        with pytest.raises(KeyboardInterrupt):
            commands.demo(tmp_path / "ws", assignments=CHANGES)
    report = commands.demo(tmp_path / "ws", assignments=CHANGES)
    assert [run.name for run in WorkspaceFolder(tmp_path / "ws").runs()] == ["run-001"]
    assert report.stages == whole.stages


def test_other_settings_and_a_finished_demo_begin_a_new_run(
    small_almanac: Path, tmp_path: Path
) -> None:
    names = [
        commands.demo(tmp_path / "ws", seed=seed, assignments=CHANGES).run for seed in (0, 0, 1)
    ]
    assert names == ["run-001", "run-002", "run-003"]


def test_a_folder_of_something_else_is_left_alone(small_almanac: Path, tmp_path: Path) -> None:
    shutil.copytree(small_almanac, tmp_path / "mine")
    with pytest.raises(InputError, match="holds something else"):
        commands.demo(tmp_path / "mine", assignments=CHANGES)


# Answered at once, then learned from ------------------------------------------------------------


def test_the_demo_answers_at_once_learns_and_compares(
    small_almanac: Path, tmp_path: Path, squad_bert: Path
) -> None:
    changes = [
        f"qa.reader={squad_bert}",
        "realm.steps=2",
        "realm.batch_size=4",
        "loop.num_probe=4",
        "loop.checkpoint_every=1",
    ]
    settings = resolve(preset="adapt", assignments=changes)
    report = recipes.demo(tmp_path / "ws", settings=settings)
    assert stages(report) == ["start", "realm"]
    assert report.compared["utility of what is retrieved, nats a token"][0] is None
    assert {"held-out queries: recall@1", "answers right (exact match)"} <= report.compared.keys()
    assert [a.question for a in report.answers] == list(demonstrating.QUESTIONS)
    assert all(answers.answers for answers in report.answers)
    # A demo that has come to its end begins a new run, and asks no more at once.
    again = recipes.demo(tmp_path / "ws", settings=settings)
    assert again.run == "run-002"
