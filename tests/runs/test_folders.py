"""Tests of the notes that a workspace keeps, and of looking whether a run is in training."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from openrealm.runs.folders import RunFolder, WorkspaceFolder


@pytest.fixture
def place(tmp_path: Path) -> WorkspaceFolder:
    return WorkspaceFolder(tmp_path)


def test_ingests_are_kept_in_their_order(place: WorkspaceFolder) -> None:
    assert place.ingests() == []
    records = [{"n": n, "text": "größe\nzwei\u2028drei"} for n in range(3)]
    for record in records:
        place.add_ingest(record)
    assert place.ingests() == records


@pytest.mark.parametrize("cut", [1, 5, 9])
def test_a_line_cut_short_by_a_crash_costs_only_itself(place: WorkspaceFolder, cut: int) -> None:
    place.add_ingest({"n": 1})
    place.add_ingest({"n": 2})
    file = place.directory / "ingests.jsonl"
    file.write_bytes(file.read_bytes()[: 9 + cut])
    place.add_ingest({"n": 3})
    whole = [{"n": 2}] if cut >= 8 else []
    assert place.ingests() == [{"n": 1}, *whole, {"n": 3}]


def test_what_is_no_record_is_left_out(place: WorkspaceFolder) -> None:
    lines = [b'{"n": 1}', b"\xff\xfe", b"", b"3", b"[]", b"null", b'"x"', b"{", b'{"n": 2}']
    (place.directory / "ingests.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    assert place.ingests() == [{"n": 1}, {"n": 2}]


def test_an_ingest_is_one_line_of_json(place: WorkspaceFolder) -> None:
    place.add_ingest({"sources": [os.fsdecode(b"gr\xf6\xdfe.txt")]})
    [line] = (place.directory / "ingests.jsonl").read_bytes().splitlines()
    assert json.loads(line) == place.ingests()[0]


def test_a_run_is_in_training_while_somebody_holds_it(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run-001")
    run.directory.mkdir()
    assert not run.is_locked()
    assert list(run.directory.iterdir()) == []  # looking leaves nothing behind
    with run.locked():
        assert run.is_locked()
    assert not run.is_locked()
    assert not RunFolder(tmp_path / "nowhere").is_locked()


def test_a_run_whose_record_is_damaged_stands_in_no_others_way(place: WorkspaceFolder) -> None:
    for name, text in (("run-001", '{"created": 5}'), ("run-002", '{"crea'), ("run-003", "[]")):
        (place.directory / "runs" / name).mkdir(parents=True)
        (place.directory / "runs" / name / "run.json").write_text(text)
    assert place.run().name == "run-001"
    assert [run.name for run in place.runs()] == ["run-002", "run-003", "run-001"]
