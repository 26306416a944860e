"""Tests of the ablations' table and rows; the runs themselves are recipes."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

from openrealm.settings import resolve

PATH = Path(__file__).parents[2] / "benchmarks" / "ablations.py"


@pytest.fixture(scope="module")
def ablations() -> ModuleType:
    spec = importlib.util.spec_from_file_location("ablations", PATH)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["ablations"] = module
    spec.loader.exec_module(module)
    return module


def test_every_row_changes_one_thing_and_resolves(ablations: ModuleType) -> None:
    settings = resolve(preset="tiny", config=ablations.SMALL)
    for row in ablations.ROWS.values():
        assert len(row.change) <= 1
        change = [text.replace("=30x", "=1200") for text in row.change]
        assert (resolve(base=settings, assignments=change) != settings) is bool(change)


def test_what_is_finished_is_not_done_again(ablations: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "realm-0.json").write_text("{}")
    # Without recipes, settings or questions: it must not ask for any.
    place = ablations.Workspace(tmp_path)
    ablations.Bench(place, None, [], [], None, None).run("realm", 0)


def test_the_table_has_means_and_spreads_of_what_there_is(
    ablations: ModuleType, tmp_path: Path
) -> None:
    for seed, recall in ((0, 0.10), (1, 0.14)):
        found = {
            "recall@5": {"nq.dev.jsonl": recall},
            "recall@20": {"nq.dev.jsonl": 0.3},
            "utility": 0.5,
            "exact_match": {"nq.dev.jsonl": 0.02},
            "tokens": 2e6,
            "seconds": 60.0,
        }
        (tmp_path / f"realm-{seed}.json").write_text(json.dumps(found))
    head, _, line = ablations.table(tmp_path, [0, 1, 2]).splitlines()
    cells = dict(zip(head.strip("| ").split(" | "), line.strip("| ").split(" | "), strict=True))
    assert cells["row"] == "REALM" and cells["seeds"] == "2"
    assert cells["nq recall@5"] == "12.0 ± 2.8"
    assert cells["Mtokens"] == "2.0"
    assert cells["paper: EM / recall@5"] == "38.2 / 38.5"
