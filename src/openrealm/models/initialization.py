"""First weights from which attention that matches and copies is a short way; knows no data.

A reader has to learn a circuit: find the place in the chunk that looks like the surroundings of
the mask, and copy the token there. From BERT's own random weights a small model takes millions of
tokens to form it. The weights here begin near it, in the manner of mimetic initialisation
(Trockman and Kolter, 2023): in every head queries and keys are the same random projection, so
that tokens attend to tokens like themselves and to neighbours; values pass through unchanged;
positions are sinusoids, so that "the one before" is the same direction everywhere; and word
vectors are long enough that a copied vector, multiplied by the tied output embeddings, is a
confident prediction (BERT's spread of 0.02 is meant for 768 numbers, not for 128).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers.models.bert.modeling_bert import BertForMaskedLM, BertModel

_MATCH, _COPY = 1.4, 1.0
_WORD_SPREAD, _POSITION_SPREAD = 0.1, 0.15
_WAVELENGTH = 1000.0


@torch.no_grad()
def initialize_matching(bert: BertModel) -> None:
    """Overwrites attention, word and position weights of a BERT; the rest stays."""
    hidden, heads = bert.config.hidden_size, bert.config.num_attention_heads
    words = bert.embeddings.word_embeddings.weight
    words.mul_(_WORD_SPREAD / words.std())
    positions = bert.embeddings.position_embeddings.weight
    positions.copy_(_POSITION_SPREAD * sinusoids(len(positions), hidden))
    layers: Any = bert.encoder.layer
    for layer in layers:
        attention = layer.attention.self
        for head in range(heads):
            rows = slice(head * hidden // heads, (head + 1) * hidden // heads)
            shared = torch.randn_like(attention.query.weight[rows]) * _MATCH / math.sqrt(hidden)
            attention.query.weight[rows] = shared
            attention.key.weight[rows] = shared
        # Any rotation and its inverse: heads split the vector evenly, and together pass it on.
        rotation, _ = torch.linalg.qr(torch.randn(hidden, hidden))
        attention.value.weight.copy_(_COPY * rotation)
        layer.attention.output.dense.weight.copy_(_COPY * rotation.T)


@torch.no_grad()
def initialize_copying_head(masked_lm: BertForMaskedLM) -> None:
    """Lets the masked-LM head begin as the identity before its tied output embeddings."""
    nn.init.eye_(masked_lm.cls.predictions.transform.dense.weight)


def sinusoids(length: int, width: int) -> Float[Tensor, "length width"]:
    """Sines and cosines of geometrically growing wavelengths at positions 0, 1, 2 ..."""
    rates = torch.exp(-math.log(_WAVELENGTH) * torch.arange(0, width, 2) / width)
    angles = torch.arange(length)[:, None] * rates[None, :]
    waves = torch.stack([torch.sin(angles), torch.cos(angles)], dim=2).flatten(1)
    return waves[:, :width]
