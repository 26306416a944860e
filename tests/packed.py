"""A starter small enough for tests, and installed for the duration of one."""

from __future__ import annotations

import importlib.util
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from openrealm.models.bert import BertConfig, BertModel
from openrealm.tokenizer import WordPiece

FOLDER = Path(__file__).resolve().parents[1] / "starter"
WORDS = "embeddings.word_embeddings.weight"
TOKENIZER = WordPiece.train(["a small vocabulary of some words"], vocab_size=60)


def load_pack() -> ModuleType:
    """The script, which is in no package."""
    spec = importlib.util.spec_from_file_location("pack", FOLDER / "pack.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@dataclass(frozen=True)
class Sources:
    """Folders of an encoder and of a reader, as others make them."""

    tower: Path
    reader: Path

    def tensors(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Weights of both, as they were before."""
        tower, reader = (load_file(f / "model.safetensors") for f in (self.tower, self.reader))
        return tower, {name: value.float() for name, value in reader.items()}


@pytest.fixture()
def sources(tmp_path: Path) -> Sources:
    """A random encoder, and a random reader with its word embeddings, in half precision."""
    config = BertConfig(
        vocab_size=TOKENIZER.vocab_size,
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=128,
        max_position_embeddings=64,
    )
    torch.manual_seed(0)
    tower = BertModel(config).state_dict()
    reader = BertModel(config, add_pooling_layer=False).state_dict() | {WORDS: tower[WORDS]}
    head = {"qa_outputs.weight": torch.randn(2, 64), "qa_outputs.bias": torch.randn(2)}
    found = Sources(tmp_path / "tower", tmp_path / "reader")
    for folder in (found.tower, found.reader):
        folder.mkdir()
        stated = json.dumps(asdict(config) | {"model_type": "bert"})
        (folder / "config.json").write_text(stated, encoding="utf-8")
    TOKENIZER.save(found.tower)
    save_like(found.tower, tower)
    of_reader = {f"bert.{name}": value for name, value in reader.items()} | head
    save_like(found.reader, {name: value.half() for name, value in of_reader.items()})
    return found


@pytest.fixture()
def packed(sources: Sources, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a starter that is installed."""
    package = tmp_path / "site" / "openrealm_starter"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    load_pack().pack(
        sources.tower, sources.reader, package / "model", calibration={"temperature": 1.5}
    )
    monkeypatch.syspath_prepend(package.parent)
    return package / "model"


def change_record(folder: Path, **changes: object) -> None:
    """Makes a starter state something else of itself."""
    path = folder / "starter.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(record | changes), encoding="utf-8")


def save_like(folder: Path, tensors: dict[str, Tensor]) -> None:
    """Puts other weights into a source's folder."""
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
