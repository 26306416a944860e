"""Tests of fine-tuning as a recipe: what is refused leaves the run as it was."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import commands
import pytest
from trained import train

from openrealm.errors import ConfigError, InputError
from openrealm.progress import Silent
from openrealm.runs.folders import WorkspaceFolder
from openrealm.runs.loaded import load_model
from openrealm.training.trainer import Trainer


def squad(answers: list[str]) -> str:
    found = [{"text": text, "answer_start": 0} for text in answers]
    question = {"question": "Where?", "id": "1", "answers": found, "is_impossible": not answers}
    paragraph = {"context": "Aldera is in Norland.", "qas": [question]}
    return json.dumps({"version": "2.0", "data": [{"title": "", "paragraphs": [paragraph]}]})


@pytest.mark.parametrize(
    ("answers", "assignment", "refused", "said"),
    [
        ([], "qa.steps=3", InputError, "no question with an answer"),
        (["Aldera"], "model.query_tokens=8", ConfigError, "cannot change model settings"),
    ],
)
def test_a_fine_tuning_that_is_refused_changes_no_setting(
    trained: Path,
    tmp_path: Path,
    answers: list[str],
    assignment: str,
    refused: type[Exception],
    said: str,
) -> None:
    shutil.copytree(trained / "corpus", tmp_path / "rivers" / "corpus")
    train(tmp_path / "rivers")
    settings = WorkspaceFolder(tmp_path / "rivers").run().settings_file
    before = settings.read_bytes()
    (tmp_path / "qa.json").write_text(squad(answers))
    with pytest.raises(refused, match=said):
        commands.finetune(tmp_path / "rivers", qa=[tmp_path / "qa.json"], assignments=[assignment])
    assert settings.read_bytes() == before


class Heard(Silent):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)


def test_fine_tuning_goes_on_with_the_questions_that_it_began_with(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With others, those that were to be measured on might be learned from."""
    shutil.copytree(trained / "corpus", tmp_path / "rivers" / "corpus")
    train(tmp_path / "rivers")
    (tmp_path / "qa.json").write_text(squad(["Aldera"]))
    (tmp_path / "none.json").write_text(squad([]))
    options = {"qa": [tmp_path / "qa.json", tmp_path / "none.json"]}
    heard = Heard()
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_after_step", stop_after_saving(Trainer._after_step))
        with pytest.raises(KeyboardInterrupt):
            commands.finetune(
                tmp_path / "rivers",
                **options,
                assignments=["qa.steps=3", "loop.checkpoint_every=1"],
                progress=heard,
            )
    assert any("1 of 2 questions have no answer" in text for text in heard.said)
    (tmp_path / "qa.jsonl").write_text(json.dumps({"question": "Who?", "answer": ["Orin"]}) + "\n")
    with pytest.raises(InputError, match="began with other questions"):
        commands.finetune(tmp_path / "rivers", qa=[tmp_path / "qa.jsonl"], resume=True)
    commands.finetune(tmp_path / "rivers", **options, resume=True)
    assert load_model(WorkspaceFolder(tmp_path / "rivers"), name=None).checkpoint.position.finished


def stop_after_saving(original: Callable[..., None]) -> Callable[..., None]:
    def between(*arguments: Any) -> None:
        original(*arguments)
        raise KeyboardInterrupt

    return between
