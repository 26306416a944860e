"""The reader: a BERT with a start and an end score per token; knows no text.

The span of ``[CLS]`` alone is "no answer here". Tensors are called as in Hugging Face's
`BertForQuestionAnswering`, whose folders this class therefore reads, and which reads ours.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from readings import Reading
from safetensors.torch import load_file
from torch import Tensor, nn

from openrealm.models.bert import BertConfig, BertModel
from openrealm.models.inputs import Inputs, Templates
from openrealm.models.reader import body_mask
from openrealm.models.tensor_files import save_tensors
from openrealm.tokenizer import WordPiece

MAX_QUESTION = 48
MAX_ANSWER = 30  # wordpieces
IMPOSSIBLE = -1e9


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


class SpanReader(nn.Module):
    """A BERT under a start and an end score per token."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.bert = BertModel(config, add_pooling_layer=False)
        self.qa_outputs = nn.Linear(config.hidden_size, 2)
        nn.init.normal_(self.qa_outputs.weight, std=config.initializer_range)
        nn.init.zeros_(self.qa_outputs.bias)

    def forward(self, joint: Inputs) -> Float[Tensor, "rows seq 2"]:
        """Start and end scores, impossible where no answer can stand."""
        packed = joint.packed()
        packed_scores = self.qa_outputs(self.bert(packed)).float()
        place = torch.arange(joint.token_ids.shape[1])
        can_answer = body_mask(joint)
        can_answer[:, 0] = True
        at = packed.starts[:, None] + place.clamp(max=packed.lengths[:, None] - 1)
        scores: Tensor = packed_scores[at]
        return scores.masked_fill(~can_answer[:, :, None], IMPOSSIBLE)


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
    tensors = {name: tensor.half() for name, tensor in reader.state_dict().items()}
    save_tensors(tensors, staged, metadata={"format": "pt"})
    staged.replace(folder / "model.safetensors")
    config = asdict(reader.bert.config) | {
        "model_type": "bert",
        "architectures": ["BertForQuestionAnswering"],
    }
    (folder / "config.json").write_text(json.dumps(config, indent=1), encoding="utf-8")


def log_p_spans(scores: Float[Tensor, "rows seq 2"], batch: SpanBatch) -> Float[Tensor, " rows"]:
    """log of the sum over the right spans of p(start) p(end), for each row."""
    log_p = scores.log_softmax(dim=1)
    chosen = log_p.gather(1, batch.spans).sum(dim=2)
    return chosen.masked_fill(~batch.span_mask, -torch.inf).logsumexp(dim=1)


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


@dataclass(frozen=True)
class Best:
    """The best span of each row, its score, and the score of "no answer here"."""

    spans: Int[Tensor, "rows 2"]
    scores: Float[Tensor, " rows"]
    null_scores: Float[Tensor, " rows"]


def best_spans(scores: Float[Tensor, "rows seq 2"], *, max_answer: int = MAX_ANSWER) -> Best:
    """The span of the body with the highest sum of start and end score, in each row."""
    seq = scores.shape[1]
    table = scores[:, :, None, 0] + scores[:, None, :, 1]
    place = torch.arange(seq)
    width = place[None, :] - place[:, None]
    allowed = (width >= 0) & (width < max_answer) & (place[:, None] > 0)
    best, at = table.masked_fill(~allowed, 3 * IMPOSSIBLE).flatten(1).max(dim=1)
    return Best(torch.stack([at // seq, at % seq], dim=1), best, table[:, 0, 0])
