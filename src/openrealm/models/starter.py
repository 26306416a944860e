"""The starter's weights: a tower that searches and a reader of answers, with the same word
embeddings; knows no model, and nothing of how they were made.

Its folder has ``config.json`` (of tower and reader), ``vocab.txt``, ``tower.safetensors`` (all of
the tower), ``reader.safetensors`` (all of the reader but its word embeddings, which are the
tower's), both rounded to int8, and ``starter.json``, with checksums of these.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from openrealm.errors import CheckpointError, in_one_line
from openrealm.models.bert import BertConfig
from openrealm.models.config_files import read_bert_config
from openrealm.models.int8_files import load_int8
from openrealm.models.starts import STARTER, read_starter_record, starter_directory

TOWER, READER, CONFIG, VOCABULARY = (
    "tower.safetensors",
    "reader.safetensors",
    "config.json",
    "vocab.txt",
)
WORD_EMBEDDINGS = "embeddings.word_embeddings.weight"


def starter_config() -> BertConfig:
    """The shape of the installed starter's tower and reader.

    Raises:
        MissingDependencyError: It is not installed.
        CheckpointError: It is damaged.
    """
    return read_config(starter_directory())


def starter_reader_weights() -> dict[str, Tensor]:
    """The installed starter's reader, named as in Hugging Face's `BertForQuestionAnswering`.

    Raises:
        MissingDependencyError: It is not installed.
        CheckpointError: It is damaged.
    """
    return reader_weights(starter_directory())


def starter_calibration() -> Mapping[str, Any]:
    """What turns the installed starter's reader scores into probabilities; empty where none is.

    Raises:
        MissingDependencyError: It is not installed.
        CheckpointError: It is damaged.
    """
    return dict(read_starter_record(starter_directory()).get("calibration", {}))


def read_config(directory: Path) -> BertConfig:
    """The shape of the tower and the reader in a starter's folder.

    Raises:
        CheckpointError: It cannot be read.
    """
    try:
        return read_bert_config(directory / CONFIG, STARTER)
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{directory / CONFIG} cannot be read ({in_one_line(error)})"
        ) from error


def tower_weights(directory: Path) -> dict[str, Tensor]:
    """The tower in a starter's folder, named as in Hugging Face's `BertModel`.

    Raises:
        CheckpointError: It cannot be read.
    """
    return load_int8(directory / TOWER)


def reader_weights(directory: Path) -> dict[str, Tensor]:
    """The reader in a starter's folder, with the tower's word embeddings.

    Raises:
        CheckpointError: It cannot be read.
    """
    words = tower_weights(directory).get(WORD_EMBEDDINGS)
    if words is None:
        raise CheckpointError(f"{directory / TOWER} lacks {WORD_EMBEDDINGS}")
    return load_int8(directory / READER) | {f"bert.{WORD_EMBEDDINGS}": words}
