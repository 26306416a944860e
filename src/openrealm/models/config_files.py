"""A BERT's shape as a config.json states it; knows no weights."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

from openrealm.errors import ConfigError
from openrealm.models.bert import BertConfig

# What a config.json calls a function, and what we do.
ACTIVATION_NAMES = {
    "gelu_new": "gelu_new",
    "gelu_pytorch_tanh": "gelu_new",
    "gelu": "gelu",
    "relu": "relu",
}


def read_bert_config(path: Path, start: str) -> BertConfig:
    """The shape that a config.json states; its other fields change nothing here.

    Args:
        path: The file.
        start: What errors call it.

    Raises:
        OSError: It cannot be read.
        ValueError: It is not JSON.
        ConfigError: It states something that is not computed here.
    """
    stated = json.loads(path.read_text(encoding="utf-8"))
    required = {
        "model_type": ("bert",),
        "position_embedding_type": ("absolute",),
        "type_vocab_size": (2,),
        "hidden_act": tuple(ACTIVATION_NAMES),
    }
    for name, known in required.items():
        if stated.get(name, known[0]) not in known:
            listed = ", ".join(map(str, known))
            raise ConfigError(f"start '{start}' has {name} = {stated[name]!r}; known are {listed}")
    names = {field.name for field in fields(BertConfig)}
    return BertConfig(**{name: value for name, value in stated.items() if name in names})
