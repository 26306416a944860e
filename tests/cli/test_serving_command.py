"""Tests of the command `serve`: what it passes to its recipe, and how it ends."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import results
from typer.testing import CliRunner, Result

from openrealm import recipes
from openrealm.cli import app
from openrealm.recipes.serving import TOKEN_VARIABLE
from openrealm.settings import ServeConfig


@pytest.fixture
def recipe(monkeypatch: pytest.MonkeyPatch) -> mock.Mock:
    """A recipe that returns at once, and takes exactly the arguments of the real one."""
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    made = mock.create_autospec(results.recipe("serve"), return_value=None)
    monkeypatch.setattr(recipes, "serve", made, raising=False)
    return made


def run(*words: str) -> Result:
    return CliRunner().invoke(app, ["serve", *words], prog_name="openrealm")


def given(recipe: mock.Mock) -> dict[str, Any]:
    passed = dict(recipe.call_args.kwargs)
    assert callable(passed.pop("progress").say)
    return {"workspace": recipe.call_args.args[0], **passed}


def test_all_options_are_passed_to_the_recipe(recipe: mock.Mock, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("correct-horse-battery\n")
    words = f"ws --host 0.0.0.0 --port 80 --token-file {file} --without-token --run mine"
    result = run(*words.split(), "--set", "max_batch=4", "--set", "timeout_s=2")
    assert (result.exit_code, result.output) == (0, "")
    assert given(recipe) == {
        "workspace": Path("ws"),
        "host": "0.0.0.0",
        "port": 80,
        "run": "mine",
        "token": "correct-horse-battery",
        "without_token": True,
        "limits": ServeConfig(max_batch=4, timeout_s=2),
    }


def test_by_default_it_listens_on_this_machine_alone(recipe: mock.Mock) -> None:
    assert run("ws").exit_code == 0
    assert given(recipe) == {
        "workspace": Path("ws"),
        "host": "127.0.0.1",
        "port": 8080,
        "run": None,
        "token": None,
        "without_token": False,
        "limits": ServeConfig(),
    }


def test_the_token_may_be_in_the_environment_and_never_on_the_command_line(
    recipe: mock.Mock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TOKEN_VARIABLE, "correct-horse-battery")
    assert run("ws").exit_code == 0
    assert given(recipe)["token"] == "correct-horse-battery"
    assert run("ws", "--token", "correct-horse-battery").exit_code == 2


@pytest.mark.parametrize("words", ["", "ws --port -1", "ws --port 65536", "ws --port x", "ws ws"])
def test_a_wrong_command_line_ends_with_status_2(recipe: mock.Mock, words: str) -> None:
    result = run(*words.split())
    assert result.exit_code == 2
    assert "Traceback" not in result.output
    assert not recipe.called


def test_what_cannot_be_served_is_one_sentence_and_status_2(tmp_path: Path) -> None:
    result = run(str(tmp_path / "nowhere"))
    assert result.exit_code == 2
    assert result.stderr.startswith("openrealm: ")
    assert result.stderr.count("\n") == 1
    missing = run("ws", "--token-file", str(tmp_path / "token"))
    assert missing.exit_code == 2
    assert "no token can be read" in missing.stderr


@pytest.mark.parametrize(
    ("limit", "what"),
    [
        ("max_batsch=2", "did you mean 'max_batch'"),
        ("watch_s=1e30", "above the largest allowed value"),
        ("timeout_s=inf", "above the largest allowed value"),
    ],
)
def test_a_limit_that_makes_no_sense_is_refused(recipe: mock.Mock, limit: str, what: str) -> None:
    result = run("ws", "--set", limit)
    assert result.exit_code == 2
    assert what in result.stderr
    assert not recipe.called
