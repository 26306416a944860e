"""A reader of answers: BERT with a start and an end score per token; knows nothing of retrieval.

p(y|z,x) of a span y is p(start) p(end), each a softmax over the tokens of the body and ``[CLS]``,
whose span says that the answer does not stand in this chunk (Devlin et al., 2019, section 4.3).
Names and shapes of the weights are those of Hugging Face's BertForQuestionAnswering.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from openrealm.models.bert import BertConfig, BertModel
from openrealm.models.inputs import Inputs
from openrealm.models.reader import body_mask

MAX_ANSWER = 30  # wordpieces; SQuAD's customary limit
_LEAST = 1e-12


@dataclass(frozen=True)
class BestSpans:
    """The most probable spans of each row, the best first.

    Attributes:
        spans: First and last position in the joint input; meaningless where ``log_p`` is -inf.
        log_p: log p(y|z,x) of each.
        log_p_null: log p of "not here".
    """

    spans: Int[Tensor, "rows top 2"]
    log_p: Float[Tensor, "rows top"]
    log_p_null: Float[Tensor, " rows"]


class SpanReader(nn.Module):
    """A BERT under a start and an end score per token.

    Attributes:
        calibration: Slope and intercept of the log odds of "nothing here answers this", fitted on
            questions that the corpus answers and others that it does not (Platt, 1999).
    """

    calibration: Tensor

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.register_buffer("calibration", torch.tensor([1.0, 0.0]))
        self.bert = BertModel(config, add_pooling_layer=False)
        self.qa_outputs = nn.Linear(config.hidden_size, 2)
        nn.init.normal_(self.qa_outputs.weight, std=config.initializer_range)
        nn.init.zeros_(self.qa_outputs.bias)

    def forward(self, joint: Inputs) -> Float[Tensor, "rows seq 2"]:
        """Start and end scores of all tokens; those of padding mean nothing."""
        packed = joint.packed()
        scores = self.qa_outputs(self.bert(packed)).float()
        place = torch.arange(joint.token_ids.shape[1], device=scores.device)
        at = packed.starts[:, None] + place.clamp(max=packed.lengths[:, None] - 1)
        padded: Tensor = scores[at]
        return padded

    def calibrated(self, p_no_answer: float) -> float:
        """The probability that nothing answers, as often true as it says."""
        slope, intercept = self.calibration.tolist()
        p = min(max(p_no_answer, _LEAST), 1 - _LEAST)
        return 1 / (1 + math.exp(-slope * math.log(p / (1 - p)) - intercept))

    def log_p(self, joint: Inputs) -> Float[Tensor, "rows seq 2"]:
        """log p(start) and log p(end) of each token, -inf where no answer can stand."""
        can_answer = body_mask(joint)
        can_answer[:, 0] = True
        scores: Tensor = self(joint)
        return scores.masked_fill(~can_answer[:, :, None], -torch.inf).log_softmax(dim=1)


def log_p_of_spans(
    log_p: Float[Tensor, "rows seq 2"],
    spans: Int[Tensor, "rows spans 2"],
    real: Bool[Tensor, "rows spans"],
) -> Float[Tensor, " rows"]:
    """log of the summed p(y|z,x) of some spans of each row.

    Args:
        log_p: What `SpanReader.log_p` gives.
        spans: First and last position of each.
        real: Which of them count; one of each row does.
    """
    each = log_p.gather(1, spans).sum(dim=2)
    return each.masked_fill(~real, -torch.inf).logsumexp(dim=1)


def best_spans(
    log_p: Float[Tensor, "rows seq 2"], *, top: int, max_width: int = MAX_ANSWER
) -> BestSpans:
    """The most probable spans of the bodies.

    Args:
        log_p: What `SpanReader.log_p` gives.
        top: How many of each row.
        max_width: Longest span in tokens.
    """
    seq = log_p.shape[1]
    widths = torch.arange(min(max_width, seq), device=log_p.device)
    starts = torch.arange(1, seq, device=log_p.device)  # 0 is [CLS]
    ends = starts[:, None] + widths
    inside = ends < seq
    ends = ends.clamp(max=seq - 1)
    table = log_p[:, 1:, :1] + log_p[:, :, 1][:, ends]
    flat = table.masked_fill(~inside, -torch.inf).flatten(1)
    best, at = flat.topk(min(top, flat.shape[1]), dim=1)
    start, width = at // len(widths), at % len(widths)
    return BestSpans(
        spans=torch.stack([start + 1, start + 1 + width], dim=2),
        log_p=best,
        log_p_null=log_p[:, 0].sum(dim=1),
    )
