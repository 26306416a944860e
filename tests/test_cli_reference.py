"""Tests of docs/cli.md: it is what the commands say, and its Python runs."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from unittest import mock

import pytest
import results

import openrealm
from openrealm.cli.app import COMMANDS, name_of

SCRIPT = Path(__file__).resolve().parent.parent / "scripts" / "write_cli_reference.py"


def _load_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("write_cli_reference", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


script = _load_script()


def test_the_reference_is_up_to_date() -> None:
    assert script.main(["--check"]) == 0


def test_check_tells_a_reference_that_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(script, "TARGET", tmp_path / "cli.md")
    assert script.main(["--check"]) == 1
    assert "not up to date" in capsys.readouterr().err
    assert script.main([]) == 0
    assert script.main(["--check"]) == 0
    (tmp_path / "cli.md").write_text("old")
    assert script.main(["--check"]) == 1


@pytest.mark.parametrize("command", [name_of(function) for function in COMMANDS])
def test_the_python_beside_a_command_runs(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    returned = {
        "ingest": results.INGESTED,
        "pretrain": None,
        "finetune": None,
        "index": results.INDEXED,
        "evaluate": results.EVALUATED,
        "search": [results.SEARCHED],
        "fill": results.FILLED,
        "ask": results.ASKED,
        "report": results.REPORTED,
        "info": results.WHOLE,
        "serve": None,
        "export": results.EXPORTED,
        "demo": results.DEMONSTRATED,
    }
    functions = {
        "config": ("settings_text", "# all settings"),
        "import": ("import_weights", results.IMPORTED),
        "worker": ("refresh_worker", None),
    }
    name, result = functions.get(command) or (command, returned[command])
    home = openrealm if name in openrealm.__all__ else openrealm.Workspace
    if name in ("pretrain", "finetune"):
        stages = {"qa": {"qa/exact_match": 0.5}}
        result = mock.create_autospec(openrealm.Run, instance=True, stages=stages)
    stub = mock.create_autospec(getattr(home, name), return_value=result)
    monkeypatch.setattr(home, name, stub)
    monkeypatch.setattr(openrealm.Workspace, "runs", [])
    program = script.python(command)
    exec(compile(program, f"the Python of {command}", "exec"), {})
    stub.assert_called_once()
    assert capsys.readouterr().out or command in ("worker", "serve")
    assert len(program.splitlines()) <= 12
