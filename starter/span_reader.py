"""Readings as batches of the package's `SpanReader`, and its weights in folders; knows no text.

The folders are those of Hugging Face's `BertForQuestionAnswering`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Int
from readings import Reading
from safetensors.torch import load_file
from torch import Tensor

from openrealm.models.bert import BertConfig
from openrealm.models.inputs import Inputs, Templates
from openrealm.models.span_reader import SpanReader
from openrealm.models.tensor_files import save_tensors
from openrealm.tokenizer import WordPiece

MAX_QUESTION = 48
_NO_WEIGHT = "calibration"  # fitted afterwards, and kept beside the weights


@dataclass(frozen=True)
class SpanBatch:
    """Joint inputs ``[CLS] x [SEP] body [SEP]`` and what answers them.

    Attributes:
        joint: The inputs.
        spans: ``(rows, spans, 2)``, first and last position of right answers, ``[CLS]`` where
            there is none.
        span_mask: ``(rows, spans)``, True at real spans.
    """

    joint: Inputs
    spans: Int[Tensor, "rows spans 2"]
    span_mask: Bool[Tensor, "rows spans"]


def load_reader(folder: Path, *, dropout: float = 0.0, seed: int = 0) -> SpanReader:
    """A reader with the weights of a folder; where these have no head, its head is new."""
    known = {field.name for field in fields(BertConfig)}
    raw = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config = BertConfig(
        **{name: value for name, value in raw.items() if name in known}
        | {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": 0.0}
    )
    torch.manual_seed(seed)
    reader = SpanReader(config)
    tensors = load_file(folder / "model.safetensors")
    if not any(name.startswith("bert.") for name in tensors):
        tensors = {f"bert.{name}": value for name, value in tensors.items()}
    wanted = reader.state_dict().keys()
    given = {name: value.float() for name, value in tensors.items() if name in wanted}
    missing = {name for name in wanted - given.keys() if name.startswith("bert.")}
    if missing:
        raise SystemExit(f"{folder} lacks the weights {', '.join(sorted(missing))}")
    reader.load_state_dict(given, strict=False)
    return reader


def save_reader(reader: SpanReader, folder: Path) -> None:
    """Writes a folder for `load_reader` and Hugging Face, in half precision, and renames it in."""
    folder.mkdir(parents=True, exist_ok=True)
    staged = folder / ".model.tmp"
    weights = reader.state_dict().items()
    tensors = {name: tensor.half() for name, tensor in weights if name != _NO_WEIGHT}
    save_tensors(tensors, staged, metadata={"format": "pt"})
    staged.replace(folder / "model.safetensors")
    config = asdict(reader.bert.config) | {
        "model_type": "bert",
        "architectures": ["BertForQuestionAnswering"],
    }
    (folder / "config.json").write_text(json.dumps(config, indent=1), encoding="utf-8")


def batch_of(readings: Sequence[Reading], tokenizer: WordPiece, *, max_tokens: int) -> SpanBatch:
    """Readings as one batch; a body too long is cut, and spans that stood in the rest go."""
    templates = Templates.of(tokenizer, query_tokens=MAX_QUESTION + 2, chunk_tokens=max_tokens)
    firsts = [first_of_body(reading) for reading in readings]
    bodies = [
        reading.body[: max_tokens - first - 1]
        for reading, first in zip(readings, firsts, strict=True)
    ]
    right = [
        _positions(reading.spans, first, len(body))
        for reading, first, body in zip(readings, firsts, bodies, strict=True)
    ]
    spans = np.zeros((len(readings), max(map(len, right)), 2), dtype=np.int64)
    span_mask = np.zeros(spans.shape[:2], dtype=np.bool_)
    for number, positions in enumerate(right):
        spans[number, : len(positions)] = positions
        span_mask[number, : len(positions)] = True
    joint = templates.joint([reading.question for reading in readings], bodies)
    return SpanBatch(joint, torch.from_numpy(spans), torch.from_numpy(span_mask))


def first_of_body(reading: Reading) -> int:
    """Position of the body's first token in the joint input."""
    return min(len(reading.question), MAX_QUESTION) + 2


def _positions(spans: np.ndarray, first: int, body_tokens: int) -> np.ndarray:
    inside = spans[spans[:, 1] < body_tokens] + first
    return inside if len(inside) else np.zeros((1, 2), dtype=np.int64)
