"""The knowledge-augmented encoder and its two heads; knows nothing of where chunks come from.

Pre-training: p(y_j|z,x) by a masked-LM head on ``[CLS] x [SEP] body [SEP]``, at will with a copy
head beside it; fine-tuning: a score
for every span of the body. One BERT under both heads, not shared with the embedder (section 3.2).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from transformers.models.bert.configuration_bert import BertConfig
from transformers.models.bert.modeling_bert import BertForMaskedLM

from openrealm.models import likelihood
from openrealm.models.copying import CopyHead, mixture, mixture_of_targets, stands_in_query
from openrealm.models.inputs import Inputs, length_groups
from openrealm.settings import SpanHeadConfig


@dataclass(frozen=True)
class CandidateSpans:
    """Every span of ``seq`` positions up to a width, ordered by width, then start."""

    starts: Int[Tensor, " spans"]
    ends: Int[Tensor, " spans"]

    @classmethod
    def of(cls, *, seq: int, max_width: int, device: torch.device | str = "cpu") -> CandidateSpans:
        """All (start, end), both inclusive, with at most ``max_width`` tokens."""
        widths = range(min(max_width, seq))
        starts = torch.cat([torch.arange(seq - w) for w in widths])
        ends = torch.cat([torch.arange(w, seq) for w in widths])
        return cls(starts=starts.to(device), ends=ends.to(device))


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
        self, states: Float[Tensor, "rows seq hidden"], spans: CandidateSpans
    ) -> Float[Tensor, "rows spans"]:
        """Unnormalised span scores ``(rows, spans)``."""
        start_half, end_half = self.dense_intermediate(states).chunk(2, dim=-1)
        joined = torch.relu(start_half[:, spans.starts] + end_half[:, spans.ends])
        scores: Tensor = self.dense_output(self.layer_norm(joined)).squeeze(-1)
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

    def states(self, inputs: Inputs, *, groups: int = 1) -> Float[Tensor, "rows seq hidden"]:
        """Last hidden states of padded inputs, computed in groups of similar length.

        In several groups those of padding may be 0.
        """
        parts = length_groups(inputs.lengths, groups=groups) if groups > 1 else []
        if len(parts) > 1:
            found = [self.states(inputs.rows(part)) for part in parts]
            width = inputs.token_ids.shape[1]
            padded = [nn.functional.pad(one, (0, 0, 0, width - one.shape[1])) for one in found]
            return torch.cat(padded)[torch.argsort(torch.cat(parts))]
        output = self.masked_lm.bert(
            input_ids=inputs.token_ids,
            token_type_ids=inputs.segment_ids,
            attention_mask=inputs.attention_mask,
        )
        states: Tensor = output.last_hidden_state
        return states

    def logits_at(
        self, inputs: Inputs, positions: Int[Tensor, "rows masks"], *, groups: int = 1
    ) -> Float[Tensor, "rows masks vocab"]:
        """Masked-LM logits at chosen positions only, computed in groups of similar length.

        With a copy head they are the log-probabilities of the mixture, whose softmax is itself.
        """
        everywhere = torch.ones_like(positions, dtype=torch.bool)
        logits = self.masked_logits(inputs, positions, everywhere, groups=groups)
        return logits.view(*positions.shape, -1)

    def masked_logits(
        self,
        inputs: Inputs,
        positions: Int[Tensor, "rows masks"],
        real: Bool[Tensor, "rows masks"],
        *,
        groups: int = 1,
    ) -> Float[Tensor, "reals vocab"]:
        """The same at those positions alone that are real, one after another.

        The head costs hidden x vocab per position: at all positions of a sequence it would
        outweigh the encoder, and most of a padded table of masks is padding.
        """
        logits, copied, token_ids = self._real(inputs, positions, real, groups=groups)
        return logits if self.copy_head is None else mixture(logits, copied, token_ids)

    def real_log_p(
        self,
        inputs: Inputs,
        positions: Int[Tensor, "rows masks"],
        real: Bool[Tensor, "rows masks"],
        targets: Int[Tensor, "rows masks"],
        *,
        groups: int = 1,
    ) -> Float[Tensor, " reals"]:
        """log p(y_j|z,x) of the targets at the real positions, one after another."""
        if self.copy_head is None:
            logits = self.masked_logits(inputs, positions, real, groups=groups)
            return likelihood.log_p_y_given_zx(logits.float(), targets[real])
        logits, copied, token_ids = self._real(inputs, positions, real, groups=groups)
        log_p = likelihood.log_p_y_given_zx(logits.float(), targets[real])
        return mixture_of_targets(log_p, copied, token_ids, targets[real])

    def _real(
        self,
        inputs: Inputs,
        positions: Int[Tensor, "rows masks"],
        real: Bool[Tensor, "rows masks"],
        *,
        groups: int,
    ) -> tuple[Float[Tensor, "reals vocab"], Float[Tensor, "reals _"], Int[Tensor, "reals seq"]]:
        """Masked-LM logits, probabilities of copying each position, and the tokens there."""
        parts = length_groups(inputs.lengths, groups=groups)
        chosen = [self._group_states_at(inputs.rows(part), positions[part]) for part in parts]
        order = torch.argsort(torch.cat(parts))
        states = torch.cat([states for states, _ in chosen])[order]
        width = inputs.token_ids.shape[1] if self.copy_head is not None else 0
        copied = torch.cat([nn.functional.pad(c, (0, width - c.shape[-1])) for _, c in chosen])
        row, _ = real.nonzero(as_tuple=True)
        predictions = self.masked_lm.cls.predictions
        transformed = predictions.transform(states[real])
        # The bias in full precision: a token prior of -20 has steps of 0.06 in bfloat16.
        logits = nn.functional.linear(transformed, predictions.decoder.weight)
        logits = logits.to(predictions.bias.dtype) + predictions.bias
        return logits, copied[order][real], inputs.token_ids[row]

    def _group_states_at(
        self, inputs: Inputs, positions: Int[Tensor, "rows masks"]
    ) -> tuple[Float[Tensor, "rows masks hidden"], Float[Tensor, "rows masks seq"]]:
        """States at the positions, and the probability of copying each token from there."""
        states = self.states(inputs)
        index = positions[:, :, None].expand(-1, -1, states.shape[-1])
        chosen = states.gather(1, index)
        if self.copy_head is None:
            return chosen, chosen.new_zeros((*positions.shape, 0))
        query = (inputs.segment_ids == 0) & inputs.attention_mask
        copied: Tensor = self.copy_head.attention(
            chosen,
            states,
            body=body_mask(inputs),
            in_query=stands_in_query(inputs.token_ids, query),
            token_ids=inputs.token_ids,
        )
        return chosen, copied

    def span_table(
        self,
        joint: Inputs,
        relevance: Float[Tensor, "batch slots"],
        filled: Bool[Tensor, "batch slots"],
        spans: CandidateSpans,
        *,
        groups: int = 1,
    ) -> tuple[Float[Tensor, "batch items"], Bool[Tensor, "batch items"]]:
        """Scores of all spans of all chunks read, and which of them are spans of a body.

        A question's slots are together, its null chunk first; items are ordered by slot, then
        span. A span's score is the reader's plus the relevance of its chunk (orqa_model.py). The
        null chunk's only valid item is its first, the span of ``[CLS]`` alone: "no answer here".
        """
        scores = self.span_head(self.states(joint, groups=groups), spans)
        body = body_mask(joint)
        valid = body[:, spans.starts] & body[:, spans.ends]
        scores = scores.view(*relevance.shape, -1) + relevance[:, :, None]
        valid = valid.view(*relevance.shape, -1) & filled[:, :, None]
        valid[:, 0, :] = False
        valid[:, 0, 0] = filled[:, 0]
        return scores.flatten(1), valid.flatten(1)


def body_mask(joint: Inputs) -> Bool[Tensor, "rows seq"]:
    """True at the tokens between the first and the last [SEP] of joint inputs."""
    place = torch.arange(joint.token_ids.shape[1], device=joint.token_ids.device)
    return (joint.segment_ids == 1) & (place[None, :] < joint.lengths[:, None] - 1)
