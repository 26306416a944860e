"""Tests of what packs the starter."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
from packed import WORDS, Sources, load_pack, save_like

from openrealm.errors import ConfigError
from openrealm.models.starts import read_starter_record

pack = load_pack()
NAMES = ["config.json", "reader.safetensors", "starter.json", "tower.safetensors", "vocab.txt"]


def test_a_folder_is_written_whole_and_states_what_it_was_told(
    sources: Sources, tmp_path: Path
) -> None:
    out = tmp_path / "new" / "model"
    pack.pack(sources.tower, sources.reader, out, figures={"f1": 0.5})
    assert sorted(path.name for path in out.iterdir()) == NAMES
    assert [path.name for path in out.parent.iterdir()] == ["model"]
    record = read_starter_record(out)
    assert record["figures"] == {"f1": 0.5} and record["calibration"] == {}
    assert sorted(record["files"]) == [name for name in NAMES if name != "starter.json"]


def test_a_new_reader_leaves_the_towers_file_as_it_was(sources: Sources, tmp_path: Path) -> None:
    out = tmp_path / "model"
    pack.pack(sources.tower, sources.reader, out)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    reader = sources.tensors()[1]
    save_like(sources.reader, reader | {"qa_outputs.bias": torch.ones(2)})
    pack.pack(sources.tower, sources.reader, out)
    changed = {path.name for path in out.iterdir() if path.read_bytes() != before[path.name]}
    assert changed == {"reader.safetensors", "starter.json"}


def test_a_reader_with_words_of_its_own_is_refused(sources: Sources, tmp_path: Path) -> None:
    reader = sources.tensors()[1]
    reader[f"bert.{WORDS}"][3, 0] += 0.1
    save_like(sources.reader, reader)
    with pytest.raises(ConfigError, match="word embeddings of its own"):
        pack.pack(sources.tower, sources.reader, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_a_reader_of_another_shape_is_refused(sources: Sources, tmp_path: Path) -> None:
    path = sources.reader / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(config | {"num_hidden_layers": 3}), encoding="utf-8")
    with pytest.raises(ConfigError, match="has num_hidden_layers = 2, the reader 3"):
        pack.pack(sources.tower, sources.reader, tmp_path / "model")


def test_a_reader_without_a_head_is_refused(sources: Sources, tmp_path: Path) -> None:
    reader = sources.tensors()[1]
    del reader["qa_outputs.bias"]
    save_like(sources.reader, reader)
    with pytest.raises(ConfigError, match=r"only one of .* the weights \['qa_outputs.bias'\]"):
        pack.pack(sources.tower, sources.reader, tmp_path / "model")


def test_what_is_too_large_to_ship_is_refused_and_the_earlier_one_stays(
    sources: Sources, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "model"
    pack.pack(sources.tower, sources.reader, out)
    monkeypatch.setattr(pack, "LARGEST_BYTES", 1000)
    with pytest.raises(ConfigError, match="at most 1,000 are shipped"):
        pack.pack(sources.tower, sources.reader, out)
    assert read_starter_record(out)


def test_the_command_line_packs(
    sources: Sources,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "c.json").write_text('{"bias": 1}', encoding="utf-8")
    line = f"pack --tower {sources.tower} --reader {sources.reader} --out {tmp_path / 'model'}"
    monkeypatch.setattr(sys, "argv", [*line.split(), "--calibration", str(tmp_path / "c.json")])
    pack.main()
    assert read_starter_record(tmp_path / "model")["calibration"] == {"bias": 1}
    assert "tower.safetensors" in capsys.readouterr().out
