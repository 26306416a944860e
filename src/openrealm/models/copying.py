"""The copy head: a mask may say a token of the chunk's body outright; knows no encoder.

p(y_j|z,x) = (1 - g) p_LM(y_j|z,x) + g sum_i a_i [z_i = y_j], a pointer-generator (See et al.). A
softmax over the vocabulary has to put a wrong guess of a word in place of everything else; here a
chunk that does not hold the answer costs at most log(1 - g), and one that does is worth nats before
any training. Source: See, Liu and Manning, ACL 2017.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

_FIRST_GATE = 0.3
_LIKENESS, _RARITY, _IN_QUERY = 0.5, 0.5, -2.0


class CopyHead(nn.Module):
    """Attention of masks over the tokens of the body, and how much is left to it."""

    log_frequency: Tensor

    def __init__(self, hidden_size: int, vocab_size: int) -> None:
        super().__init__()
        # All alike until `Reader.set_frequencies` says how often the texts have each token.
        self.register_buffer("log_frequency", torch.zeros(vocab_size))
        self.query = nn.Linear(hidden_size, hidden_size, bias=False)
        self.gate = nn.Linear(hidden_size, 1)
        # What is rare and not in the query itself is what a chunk has to tell.
        self.rarity = nn.Parameter(torch.tensor([_RARITY]))
        self.in_query = nn.Parameter(torch.tensor([_IN_QUERY]))
        nn.init.eye_(self.query.weight)
        self.query.weight.data.mul_(_LIKENESS)
        nn.init.zeros_(self.gate.weight)
        nn.init.constant_(self.gate.bias, math.log(_FIRST_GATE / (1 - _FIRST_GATE)))

    def attention(
        self,
        mask_states: Float[Tensor, "rows masks hidden"],
        states: Float[Tensor, "rows seq hidden"],
        *,
        body: Bool[Tensor, "rows seq"],
        in_query: Bool[Tensor, "rows seq"],
        token_ids: Int[Tensor, "rows seq"],
    ) -> Float[Tensor, "rows masks seq"]:
        """g a_i: the probability of copying each token of the body; 0 where there is no body.

        Args:
            mask_states: States of the masks.
            states: States of all positions.
            body: Which of them may be copied.
            in_query: Which of them stand in the query too.
            token_ids: Token at each position.
        """
        # In full precision, like every softmax here.
        with torch.autocast(states.device.type, enabled=False):
            states, mask_states = states.float(), mask_states.float()
            scores = self.query(mask_states) @ states.transpose(1, 2) / math.sqrt(states.shape[-1])
            gate = torch.sigmoid(self.gate(mask_states))
        token = self.in_query * in_query.float() - self.rarity * self.log_frequency[token_ids]
        scores = (scores + token[:, None, :]).masked_fill(~body[:, None, :], -torch.inf)
        empty = ~body.any(dim=1)
        weights = torch.softmax(scores.masked_fill(empty[:, None, None], 0.0), dim=-1)
        return (gate * weights).masked_fill(empty[:, None, None], 0.0)


def mixture(
    logits: Float[Tensor, "reals vocab"],
    copied: Float[Tensor, "reals seq"],
    token_ids: Int[Tensor, "reals seq"],
) -> Float[Tensor, "reals vocab"]:
    """log p of every token: what is not copied is the masked LM's.

    Args:
        logits: Masked-LM logits.
        copied: Probability of copying each position.
        token_ids: Token at each position.
    """
    left = 1.0 - copied.sum(dim=-1, keepdim=True)
    p = left * torch.softmax(logits.float(), dim=-1)
    p = p.scatter_add(1, token_ids, copied)
    return p.clamp_min(torch.finfo(p.dtype).tiny).log()


def mixture_of_targets(
    log_p: Float[Tensor, " reals"],
    copied: Float[Tensor, "reals seq"],
    token_ids: Int[Tensor, "reals seq"],
    targets: Int[Tensor, " reals"],
) -> Float[Tensor, " reals"]:
    """`mixture` for one token each, without a table of the vocabulary.

    Args:
        log_p: The masked LM's log p of the targets.
        copied: Probability of copying each position.
        token_ids: Token at each position.
        targets: The tokens asked for.
    """
    hits = (copied * (token_ids == targets[:, None])).sum(dim=-1)
    p = (1.0 - copied.sum(dim=-1)) * log_p.exp() + hits
    return p.clamp_min(torch.finfo(p.dtype).tiny).log()


def stands_in_query(
    token_ids: Int[Tensor, "rows seq"], query: Bool[Tensor, "rows seq"]
) -> Bool[Tensor, "rows seq"]:
    """Which positions hold a token that the query part of the same row has too."""
    width = int(query.any(dim=0).sum())  # queries come first
    same = token_ids[:, :, None] == token_ids[:, None, :width]
    return (same & query[:, None, :width]).any(dim=2)
