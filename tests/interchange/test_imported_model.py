"""Tests of where sources lie; the hub is a stand-in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import huggingface_hub
import pytest

from openrealm.errors import HubError, InputError
from openrealm.interchange.imported_model import located, wanted_files


def test_a_path_is_itself(tmp_path: Path) -> None:
    assert located(str(tmp_path)) == tmp_path


def test_only_what_is_needed_is_fetched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    listed = ["README.md", "config.json", "vocab.txt", "tf_model.h5", "pytorch_model.bin"]
    asked: dict[str, Any] = {}

    def fetch(name: str, **arguments: Any) -> str:
        asked.update(arguments, name=name)
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub.HfApi, "list_repo_files", lambda self, name: listed)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetch)
    assert located("google/realm-orqa-nq-reader") == tmp_path
    assert asked["name"] == "google/realm-orqa-nq-reader"
    assert asked["allow_patterns"] == ["config.json", "pytorch_model.bin", "vocab.txt"]


def test_safetensors_are_preferred_and_come_with_their_shards() -> None:
    index = "model.safetensors.index.json"
    shards = [f"model-0000{n}-of-00002.safetensors" for n in (1, 2)]
    listed = [index, *shards, "pytorch_model.bin", "model-old.safetensors", "block_records.npy"]
    assert wanted_files(listed) == sorted([index, *shards, "block_records.npy"])
    assert wanted_files(["model.safetensors", *listed]) == [
        "block_records.npy",
        "model.safetensors",
    ]


def test_a_hub_out_of_reach_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(self: object, name: str) -> list[str]:
        raise ConnectionError("no route to the host\nand more")

    monkeypatch.setattr(huggingface_hub.HfApi, "list_repo_files", unreachable)
    with pytest.raises(HubError, match="no route to the host") as refused:
        located("google/nothing")
    assert "\n" not in str(refused.value)


def test_what_is_neither_a_path_nor_a_hub_name_is_refused() -> None:
    with pytest.raises(InputError, match="no hub name"):
        located("no/such/folder")
