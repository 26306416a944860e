"""Tests of fine-tuning as a recipe: what is refused leaves the run as it was."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from trained import train

from openrealm import recipes
from openrealm.errors import ConfigError, InputError
from openrealm.workspace import Workspace


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
    settings = Workspace(tmp_path / "rivers").run().settings_file
    before = settings.read_bytes()
    (tmp_path / "qa.json").write_text(squad(answers))
    with pytest.raises(refused, match=said):
        recipes.finetune(tmp_path / "rivers", qa=[tmp_path / "qa.json"], assignments=[assignment])
    assert settings.read_bytes() == before
