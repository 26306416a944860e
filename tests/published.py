"""Directories laid out as the published REALM weights are, tiny, out of the parity references."""

from __future__ import annotations

import json
import string
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

PARITY = Path(__file__).parent / "parity" / "data"
CLASSES = {
    "embedder": "RealmEmbedder",
    "scorer": "RealmScorer",
    "scorer_unshared": "RealmScorer",
    "encoder": "RealmKnowledgeAugEncoder",
    "reader": "RealmReader",
    "openqa": "RealmForOpenQA",
}
_WORDS = """
[PAD] [UNK] [CLS] [SEP] [MASK] the of is and lima peru nile river capital town in on lake . ,
king year built 1204 old egypt country named
"""
WORDS = _WORDS.split()
BLOCKS = (
    "Lima is the capital of Peru.",
    "The Nile is a river in Egypt.",
    "Lima is a town on a river.",
    "The king built the old town in the year 1204.",
    "A lake in Peru is named the lake of the king. " * 12,
    "Egypt is a country on the Nile.",
    "The country of Peru.",
    "A river is named Lima.",
    "The capital of the old country.",
)


def vocabulary() -> list[str]:
    """Eighty words, as the references have tokens."""
    letters = string.ascii_lowercase
    return [*WORDS, *letters, *(f"##{letter}" for letter in letters)][:80]


def config(kind: str) -> dict[str, Any]:
    """What config.json says."""
    name = "embedder" if kind == "openqa" else kind
    values: dict[str, Any] = json.loads(
        (PARITY / f"{name}.config.json").read_text(encoding="utf-8")
    )
    return values | {"architectures": [CLASSES[kind]], "pad_token_id": 1}


def weights(kind: str) -> dict[str, torch.Tensor]:
    """The tensors of a kind, under Hugging Face's names."""
    if kind != "openqa":
        return load_file(PARITY / f"{kind}.weights.safetensors")
    parts = {f"embedder.{name}": value for name, value in weights("embedder").items()}
    parts |= {f"reader.{name}": value for name, value in weights("reader").items()}
    return parts | {"block_emb": block_emb()}


def block_emb() -> torch.Tensor:
    """A vector for every block."""
    return torch.randn(len(BLOCKS), 16, generator=torch.Generator().manual_seed(5))


def write(
    directory: Path,
    kind: str,
    *,
    form: str = "safetensors",
    tensors: dict[str, torch.Tensor] | None = None,
    fields: dict[str, Any] | None = None,
    has_vocabulary: bool = True,
) -> Path:
    """A directory of one kind of model."""
    directory.mkdir(parents=True, exist_ok=True)
    values = config(kind) if fields is None else fields
    (directory / "config.json").write_text(json.dumps(values), encoding="utf-8")
    if has_vocabulary:
        (directory / "vocab.txt").write_text("\n".join(vocabulary()) + "\n", encoding="utf-8")
    tensors = weights(kind) if tensors is None else tensors
    if form == "safetensors":
        kept = {name: value.clone() for name, value in tensors.items()}
        save_file(kept, directory / "model.safetensors", metadata={"format": "pt"})
    else:
        torch.save(tensors, directory / "pytorch_model.bin")
    return directory


def write_records(path: Path, blocks: Sequence[str] = BLOCKS) -> Path:
    """``block_records.npy`` as numpy writes it: a pickle."""
    array = np.empty(len(blocks), dtype=object)
    array[:] = [block.encode() for block in blocks]
    np.save(path, array, allow_pickle=True)
    return path


def full_size(kind: str) -> dict[str, torch.Tensor]:
    """Random tensors of the published size, twelve layers of BERT-base."""
    large = {80: 30_522, 32: 768, 64: 3072, 16: 128, 24: 512, 12: 256}
    found = {}
    for name, value in weights(kind).items():
        if name == "block_emb" or "position_ids" in name:
            continue
        shape = [large.get(size, size) for size in value.shape]
        if "position_embeddings" in name:
            shape[0] = 512
        copies = range(12) if ".layer.0." in name else (0,)
        if ".layer.1." not in name:
            for layer in copies:
                full = torch.empty(shape).normal_(std=0.02)
                found[name.replace(".layer.0.", f".layer.{layer}.")] = full
    return found


FULL_SIZE = {
    "num_hidden_layers": 12,
    "hidden_size": 768,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "max_position_embeddings": 512,
    "vocab_size": 30_522,
    "retriever_proj_size": 128,
    "span_hidden_size": 256,
    "max_span_width": 10,
}
