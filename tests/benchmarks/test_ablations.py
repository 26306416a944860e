"""Tests of the ablations' table and rows; the runs themselves are recipes."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from benchmark_scripts import load_benchmark

from openrealm.progress import Silent
from openrealm.settings import read_settings, resolve


@pytest.fixture(scope="module")
def ablations() -> ModuleType:
    return load_benchmark("ablations")


def test_every_row_changes_one_thing_and_resolves(ablations: ModuleType) -> None:
    settings = resolve(preset="tiny", config=ablations.SMALL)
    for row in ablations.ROWS.values():
        assert len(row.change) <= 1
        change = [text.replace("=30x", "=1200") for text in row.change]
        assert (resolve(base=settings, assignments=change) != settings) is bool(change)


def test_what_is_finished_is_not_done_again(ablations: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    kept = tmp_path / "results" / "realm-0.json"
    place = ablations.WorkspaceFolder(tmp_path)
    # Without recipes and settings: it must not ask for any.
    kept.write_text('{"utility": 0.5}')
    ablations.Bench(place, None, [], [], None, None).run("realm", 0)
    kept.write_text('{"utility": 0.5, "exact_match": {}}')
    ablations.Bench(place, None, [Path("train.jsonl")], [], None, None).run("realm", 0)


def test_what_was_measured_before_fine_tuning_is_kept_for_it(
    ablations: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = tmp_path / "results" / "realm-0.json"
    kept.parent.mkdir()
    kept.write_text('{"utility": 0.5}')
    bench = ablations.Bench(
        ablations.WorkspaceFolder(tmp_path), None, [Path("train.jsonl")], [], None, Silent()
    )
    run = ablations.RunFolder(tmp_path / "runs" / "realm-0")
    monkeypatch.setattr(ablations.Bench, "_pretrained", lambda self, row, seed: run)
    monkeypatch.setattr(ablations.Bench, "_finetuned", lambda self, run: None)
    monkeypatch.setattr(ablations.Bench, "_answers", lambda self, run: {"nq": 0.02})
    bench.run("realm", 0)
    assert json.loads(kept.read_text()) == {"utility": 0.5, "exact_match": {"nq": 0.02}}


def test_where_nothing_is_trained_before_the_start_itself_is_the_base(
    ablations: ModuleType, tmp_path: Path, trained: Path
) -> None:
    place = ablations.WorkspaceFolder(tmp_path / "rivers")
    shutil.copytree(trained / "corpus", place.corpus)
    start = ablations.newest_checkpoint(ablations.WorkspaceFolder(trained).run(), ["ict"]).directory
    settings = replace(
        read_settings(ablations.WorkspaceFolder(trained).run().settings_file),
        start=str(start),
        stages=("realm",),
    )
    bench = ablations.Bench(place, settings, [], [trained.parent / "qa.jsonl"], None, Silent())
    for row in ("baseline", "realm", "realm-reader"):
        bench.run(row, 0)
    results = {path.stem: json.loads(path.read_text()) for path in (tmp_path).rglob("*-0.json")}
    assert results["baseline-0"]["seconds"] == results["baseline-0"]["tokens"] == 0
    assert not any(results["baseline-0"]["curves"].values())
    assert results["realm-0"]["tokens"] > 0

    def weights(name: str) -> dict[str, Any]:
        loaded = ablations.load_model(place, name=name, stages=("realm",))
        return dict(loaded.model.state_dict())

    base, realm, mixed = (weights(name) for name in ("baseline-0", "realm-0", "realm-reader-0"))
    wanted = ablations.load_model(place, name="realm-0", stages=(ablations.START,)).model
    for name, tensor in wanted.state_dict().items():
        assert torch.equal(base[name], tensor)
        assert torch.equal(mixed[name], (realm if name.startswith("reader") else base)[name])
    assert any(not torch.equal(base[name], realm[name]) for name in base)


def test_the_table_has_means_and_spreads_of_what_there_is(
    ablations: ModuleType, tmp_path: Path
) -> None:
    for row, seed, recall in (("realm", 0, 0.10), ("realm", 1, 0.14), ("stale", 0, 0.1)):
        found: dict[str, Any] = {
            "recall@5": {"nq.dev.jsonl": recall},
            "recall@20": {"nq.dev.jsonl": 0.3},
            "utility": 0.5,
            "probe_recall@5": 0.4,
            "accuracy": 0.1,
            "tokens": 2e6,
            "seconds": 60.0,
        }
        if row == "realm":
            found["exact_match"] = {"nq.dev.jsonl": 0.02}
        (tmp_path / f"{row}-{seed}.json").write_text(json.dumps(found))
    head, _, *lines = ablations.table(tmp_path, [0, 1, 2]).splitlines()
    columns = head[2:-2].split(" | ")
    cells, stale = (dict(zip(columns, line[2:-2].split(" | "), strict=True)) for line in lines)
    assert cells["row"] == "REALM" and cells["seeds"] == "2"
    assert cells["nq recall@5 / @20"] == "12.0 ± 2.8 / 30.0 ± 0.0"
    assert cells["tokens, M"] == "2.0" and cells["masked tokens right"] == "0.100 ± 0.000"
    assert cells["paper: EM / recall@5"] == "38.2 / 38.5"
    assert cells["nq exact match"] == "2.0 ± 0.0"
    assert stale["nq exact match"] == "" and stale["tokens, M"] == "2.0"
