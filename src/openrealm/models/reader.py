"""The knowledge-augmented encoder and its two heads; knows nothing of where chunks come from.

Pre-training: p(y_j|z,x) by a masked-LM head on ``[CLS] x [SEP] body [SEP]``, at will with a copy
head beside it; fine-tuning: a score for every span of the body. One BERT under both heads, not
shared with the embedder (section 3.2).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from openrealm.models import likelihood
from openrealm.models.bert import BertConfig, BertForMaskedLM
from openrealm.models.copying import CopyHead, mixture, mixture_of_targets, stands_in_query
from openrealm.models.inputs import Inputs
from openrealm.settings import SpanHeadConfig


@dataclass(frozen=True)
class CandidateSpans:
    """Every span of ``seq`` positions of 1 to ``widths`` tokens, ordered by width, then start."""

    seq: int
    widths: int
    starts: Int[Tensor, " spans"]
    ends: Int[Tensor, " spans"]

    @classmethod
    def of(cls, *, seq: int, max_width: int, device: torch.device | str = "cpu") -> CandidateSpans:
        """All (start, end), both inclusive, with at most ``max_width`` tokens."""
        widths = min(max_width, seq)
        starts = torch.cat([torch.arange(seq - n) for n in range(widths)])
        ends = torch.cat([torch.arange(n, seq) for n in range(widths)])
        return cls(seq=seq, widths=widths, starts=starts.to(device), ends=ends.to(device))

    def first(self, n: int) -> int:
        """Number of the first span of n + 1 tokens; the others of its width follow."""
        return n * self.seq - n * (n - 1) // 2


class SpanHead(nn.Module):
    """Scores of spans: relu(start half + end half), LayerNorm, one number (orqa_model.py)."""

    def __init__(self, hidden_size: int, config: SpanHeadConfig, *, std: float = 0.02) -> None:
        super().__init__()
        self.max_width = config.max_width
        self.dense_intermediate = nn.Linear(hidden_size, 2 * config.hidden)
        self.layer_norm = nn.LayerNorm(config.hidden, eps=config.layer_norm_eps)
        self.dense_output = nn.Linear(config.hidden, 1)
        for layer in (self.dense_intermediate, self.dense_output):
            nn.init.trunc_normal_(layer.weight, std=std)
            nn.init.zeros_(layer.bias)

    def forward(
        self, states: Float[Tensor, "tokens hidden"], *, widths: int
    ) -> list[Float[Tensor, " starts"]]:
        """Unnormalised scores: in place ``n`` of the spans from each token to the ``n``-th after.

        Args:
            states: Of tokens laid end to end; spans over the end of a row are scored too.
            widths: How many places.
        """
        start_half, end_half = self.dense_intermediate(states).chunk(2, dim=-1)
        size = len(states)
        return [
            self._scores(start_half[: size - n], end_half[n:]) for n in range(min(widths, size))
        ]

    def _scores(
        self, starts: Float[Tensor, "starts inner"], ends: Float[Tensor, "starts inner"]
    ) -> Float[Tensor, " starts"]:
        scores: Tensor = self.dense_output(self.layer_norm(torch.relu(starts + ends))).squeeze(-1)
        return scores


class Reader(nn.Module):
    """BERT with a masked-LM head and a span head."""

    def __init__(
        self, bert_config: BertConfig, span_config: SpanHeadConfig, *, copy_head: bool = False
    ) -> None:
        super().__init__()
        self.masked_lm = BertForMaskedLM(bert_config)
        self.span_head = SpanHead(
            bert_config.hidden_size, span_config, std=bert_config.initializer_range
        )
        self.copy_head = (
            CopyHead(bert_config.hidden_size, bert_config.vocab_size) if copy_head else None
        )

    @property
    def mlm_parts(self) -> tuple[nn.Module, ...]:
        """What predicts masked tokens beside chunks: BERT with its head, and the copy head."""
        return (self.masked_lm,) if self.copy_head is None else (self.masked_lm, self.copy_head)

    @torch.no_grad()
    def set_frequencies(self, log_p: Float[Tensor, " vocab"], *, prior: bool) -> None:
        """Tells the copy head how rare tokens are.

        Args:
            log_p: log p of each token in the texts.
            prior: Whether it becomes the masked-LM head's bias too: what is predicted before
                anything is read.
        """
        if prior:
            self.masked_lm.cls.predictions.bias.copy_(log_p)
        if self.copy_head is not None:
            self.copy_head.log_frequency.copy_(log_p)

    def masked_logits(
        self,
        inputs: Inputs,
        positions: Int[Tensor, "rows masks"],
        real: Bool[Tensor, "rows masks"],
    ) -> Float[Tensor, "reals vocab"]:
        """Masked-LM logits at those of the positions that are real, one after another.

        The head costs hidden x vocab per position: at all positions of a sequence it would
        outweigh the encoder, and most of a padded table of masks is padding. With a copy head they
        are the log-probabilities of the mixture, whose softmax is itself.
        """
        logits, copied = self._predict(inputs, positions, real)
        return logits if copied is None else mixture(logits, copied, _tokens_of(inputs, real))

    def masked_log_p(
        self,
        inputs: Inputs,
        positions: Int[Tensor, "rows masks"],
        real: Bool[Tensor, "rows masks"],
        targets: Int[Tensor, "rows masks"],
    ) -> Float[Tensor, " reals"]:
        """log p(y_j|z,x) of the targets at the real positions, one after another."""
        logits, copied = self._predict(inputs, positions, real)
        log_p = likelihood.log_p_y_given_zx(logits.float(), targets[real])
        if copied is None:
            return log_p
        return mixture_of_targets(log_p, copied, _tokens_of(inputs, real), targets[real])

    def _predict(
        self,
        inputs: Inputs,
        positions: Int[Tensor, "rows masks"],
        real: Bool[Tensor, "rows masks"],
    ) -> tuple[Float[Tensor, "reals vocab"], Float[Tensor, "reals seq"] | None]:
        """Masked-LM logits, and the probability of copying each token, where there is such a head.

        Both at the real positions.
        """
        tokens = inputs.packed()
        at = tokens.starts[:, None] + positions
        if self.copy_head is None:
            logits: Tensor = self.masked_lm(tokens, at[real])
            return logits, None
        states = self.masked_lm.bert(tokens)
        masks = states[at]
        copied: Tensor = self.copy_head.attention(
            masks,
            tokens.padded(states),
            body=body_mask(inputs),
            in_query=stands_in_query(inputs.token_ids, query_mask(inputs)),
            token_ids=inputs.token_ids,
        )
        return self.masked_lm.cls.predictions(masks[real]), copied[real]

    def span_table(
        self,
        joint: Inputs,
        relevance: Float[Tensor, "batch slots"],
        filled: Bool[Tensor, "batch slots"],
        spans: CandidateSpans,
    ) -> tuple[Float[Tensor, "batch items"], Bool[Tensor, "batch items"]]:
        """Scores of all spans of all chunks read, and which of them are spans of a body.

        A question's slots are together, its null chunk first; items are ordered by slot, then
        span. A span's score is the reader's plus the relevance of its chunk (orqa_model.py). The
        null chunk's only valid item is its first, the span of ``[CLS]`` alone: "no answer here".
        """
        tokens = joint.packed()
        in_null = tokens.rows % relevance.shape[1] == 0
        last = tokens.positions == tokens.lengths[tokens.rows] - 1
        in_body = (tokens.segment_ids == 1) & ~last
        at = torch.where(in_null, tokens.positions == 0, in_body).nonzero().squeeze(1)
        rows, positions = tokens.rows[at], tokens.positions[at]
        items, scores = [], []
        states = self.masked_lm.bert(tokens, at)
        for n, of_width in enumerate(self.span_head(states, widths=spans.widths)):
            within = (rows[: len(rows) - n] == rows[n:]).nonzero().squeeze(1)
            items.append(rows[within] * len(spans.starts) + spans.first(n) + positions[within])
            scores.append(of_width[within])
        place, found = torch.cat(items), torch.cat(scores)
        table = found.new_zeros(relevance.numel() * len(spans.starts))
        valid = torch.zeros_like(table, dtype=torch.bool).index_fill(0, place, True)
        shape = (*relevance.shape, len(spans.starts))
        scored = table.index_put((place,), found).view(shape) + relevance[:, :, None]
        return scored.flatten(1), (valid.view(shape) & filled[:, :, None]).flatten(1)


def body_mask(joint: Inputs) -> Bool[Tensor, "rows seq"]:
    """True at the tokens between the first and the last [SEP] of joint inputs."""
    place = torch.arange(joint.token_ids.shape[1], device=joint.token_ids.device)
    return (joint.segment_ids == 1) & (place[None, :] < joint.lengths[:, None] - 1)


def query_mask(joint: Inputs) -> Bool[Tensor, "rows seq"]:
    """True at the tokens up to the first [SEP] of joint inputs."""
    return (joint.segment_ids == 0) & joint.attention_mask


def _tokens_of(inputs: Inputs, real: Bool[Tensor, "rows masks"]) -> Int[Tensor, "reals seq"]:
    """The tokens of the row that each real mask stands in."""
    rows, _ = real.nonzero(as_tuple=True)
    return inputs.token_ids[rows]
