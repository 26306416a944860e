"""Tests of what importing the package brings in: nothing heavy before it is needed."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

# Each takes from a tenth of a second to several seconds to import.
HEAVY = {
    "bm25s",
    "huggingface_hub",
    "ir_measures",
    "jaxtyping",
    "matplotlib",
    "numpy",
    "pandas",
    "pyarrow",
    "pypdf",
    "scipy",
    "sentence_transformers",
    "sklearn",
    "spacy",
    "tensorboard",
    "tokenizers",
    "torch",
    "trafilatura",
    "transformers",
}

needs_cli = pytest.mark.skipif(
    importlib.util.find_spec("openrealm.cli") is None, reason="there is no command line yet"
)


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join(path for path in sys.path if path)
    return subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=True,
    )


def _heavy_after(statement: str) -> set[str]:
    program = f"{statement}\nimport json, sys\nprint(json.dumps(list(sys.modules)))"
    loaded = json.loads(_run("-c", program).stdout.splitlines()[-1])
    return HEAVY & {name.partition(".")[0] for name in loaded}


def _own_after(statement: str) -> set[str]:
    """The package's modules that a program has loaded at its end."""
    program = f"{statement}\nimport json, sys\nprint(json.dumps(list(sys.modules)))"
    loaded = json.loads(_run("-c", program).stdout.splitlines()[-1])
    return {name for name in loaded if name.partition(".")[0] == "openrealm"}


def test_who_searches_loads_nothing_that_trains_and_few_modules_in_all(trained: Path) -> None:
    loaded = _own_after(f"import openrealm; openrealm.open({str(trained)!r}).search('a river')")
    elsewhere = ("training", "cluster", "recipes", "interchange", "server", "report", "cli")
    assert not [name for name in loaded if name.split(".")[1:2] and name.split(".")[1] in elsewhere]
    assert "openrealm.data.salient" not in loaded
    assert len(loaded) <= 68


def test_who_adds_documents_needs_no_model(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("A town on a river.")
    workspace = shutil.copytree(trained / "corpus", tmp_path / "ws" / "corpus").parent
    note = str(tmp_path / "note.txt")
    statement = f"import openrealm; openrealm.open({str(workspace)!r}).ingest({note!r})"
    assert not _heavy_after(statement) & {"torch", "transformers", "bm25s", "jaxtyping"}


def test_who_looks_at_a_workspace_needs_no_model(trained: Path) -> None:
    statement = f"from openrealm.recipes.inspection import info; info({str(trained)!r})"
    assert not _heavy_after(statement) & {"torch", "bm25s", "jaxtyping", "safetensors"}


def test_a_heavy_import_would_be_noticed() -> None:
    assert _heavy_after("import numpy") == {"numpy"}


@pytest.mark.parametrize("module", ["openrealm", "openrealm.errors", "openrealm.settings.config"])
def test_importing_the_ground_modules_loads_nothing_heavy(module: str) -> None:
    assert _heavy_after(f"import {module}") == set()


@needs_cli
def test_importing_the_command_line_loads_nothing_heavy() -> None:
    assert _heavy_after("import openrealm.cli") == set()


@needs_cli
def test_help_loads_nothing_heavy() -> None:
    statement = (
        "import contextlib, io, sys; sys.argv = ['openrealm', '--help']; import openrealm.cli\n"
        "with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):\n"
        "    openrealm.cli.main()"
    )
    assert _heavy_after(statement) == set()


@needs_cli
def test_the_package_runs_as_a_module() -> None:
    assert "ingest" in _run("-m", "openrealm", "--help").stdout


def test_no_module_of_the_package_brings_transformers() -> None:
    statement = (
        "import importlib, pkgutil, openrealm\n"
        "for found in pkgutil.walk_packages(openrealm.__path__, 'openrealm.'):\n"
        "    if not found.name.endswith('__main__'):\n"
        "        importlib.import_module(found.name)"
    )
    heavy = _heavy_after(statement)
    assert "torch" in heavy and "transformers" not in heavy
