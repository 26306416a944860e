"""First weights of small models from scratch: a reader that can copy, towers that compare words;
knows no data.

A reader has to find the place in the chunk that looks like the surroundings of the mask, and say
the token that stands there. From BERT's random weights a small model needs millions of tokens to
form that circuit. It is known in detail, though (induction heads: Olsson et al., 2022), so here
it is written into the weights, in the manner of mimetic initialisation (Trockman and Kolter,
2023). A hidden state has parts of fixed place:

    words     which token this is
    context   codes of the tokens before and after
    waves     its position
    segment   query or chunk
    shared    whether the word stands in the other segment too

Layer 0 attends to the neighbours by position and writes codes of their words into the context.
Layer 1 attends to where, in the other segment, the context is alike, and adds the word found
there to the words; its other heads attend to the same word and write down in which segments it
stands. The head compares the words with the tied output embeddings. Every further layer begins by
attending to states like its own. Nothing stays fixed: all of it is a first value that training
moves.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from openrealm.errors import ConfigError
from openrealm.models.bert import BertForMaskedLM, BertModel

_NEIGHBOURS = (-1, 1, -2, 2)
# Length of a word vector. BERT's spread of 0.02 is meant for 768 numbers: with 128 the longest
# logit that tied output embeddings can give would be about 2.6, a probability of 0.002.
_WORD_LENGTH = 3.0
# Logits of attention: how much the place looked for stands out over the other places.
_POSITION_SHARPNESS, _CONTEXT_SHARPNESS, _LIKENESS = 12.0, 1.0, 1.4
_SEGMENT_LENGTH, _OTHER_SEGMENT = 1.0, 2.0
# A word that was found has to outweigh what stands at the mask itself.
_COPY_GAIN = 3.0
_PASS_GAIN = 0.5
# The head's GELU is nearly linear for small numbers, and its LayerNorm brings the length back.
_HEAD_GAIN = 0.3


@torch.no_grad()
def initialize_copying(
    masked_lm: BertForMaskedLM, *, mask_id: int, section: str = "model.bert"
) -> None:
    """Overwrites embeddings, attention and head transform of a masked LM; the rest stays.

    Args:
        masked_lm: The model.
        mask_id: The token whose word vector begins as zero, so that the word found by a mask
            stands alone.
        section: Where its shape is set, for what an error says.

    Raises:
        ConfigError: The model is too small to hold the circuit.
    """
    bert = masked_lm.bert
    parts = _Parts.of(bert, section)
    num_waves = parts.width // 2 - 1
    frequencies = math.pi * (torch.arange(num_waves) + torch.rand(num_waves)) / num_waves
    _write_embeddings(bert, parts, frequencies)
    bert.embeddings.word_embeddings.weight[mask_id] = 0.0
    layers: Any = bert.encoder.layer
    _write_neighbour_heads(layers[0].attention, parts, frequencies)
    _write_copy_heads(layers[1].attention, parts)
    for layer in layers[2:]:
        _write_likeness_heads(layer.attention, parts)
    transform: Any = masked_lm.cls.predictions.transform
    transform.dense.weight.copy_(_HEAD_GAIN * torch.eye(parts.hidden))


@torch.no_grad()
def initialize_word_matching(bert: BertModel) -> None:
    """Makes word vectors long beside position vectors: texts begin alike when they share words."""
    words = bert.embeddings.word_embeddings.weight
    words.mul_(_WORD_LENGTH / math.sqrt(words.shape[1]) / words.std())


class _Parts:
    """Which numbers of a hidden state hold words, context and position."""

    def __init__(self, hidden: int, heads: int) -> None:
        self.hidden, self.heads, self.width = hidden, heads, hidden // heads
        self.num_words = hidden - 2 * self.width
        self.words = slice(0, self.num_words)
        self.context = slice(self.num_words, self.num_words + self.width)
        self.waves = slice(self.num_words + self.width, hidden - 2)
        self.segment, self.shared = hidden - 2, hidden - 1
        # One number of the context heads is left for the segment.
        self.code = (self.width - 1) // len(_NEIGHBOURS)

    @classmethod
    def of(cls, bert: BertModel, section: str) -> _Parts:
        """The parts of a model.

        Raises:
            ConfigError: It is too small.
        """
        config = bert.config
        parts = cls(config.hidden_size, config.num_attention_heads)
        if config.num_hidden_layers < 2 or parts.heads < len(_NEIGHBOURS) or parts.code < 2:
            raise ConfigError(
                f"{section}.initialization = 'copying' needs at least 2 layers and 4 heads of 9 "
                f"numbers; here are {config.num_hidden_layers} layers and "
                f"{parts.heads} heads of {parts.width}"
            )
        return parts

    def head(self, number: int) -> slice:
        """Rows of one head in the projections to queries, keys and values."""
        return slice(number * self.width, (number + 1) * self.width)


def _write_embeddings(bert: BertModel, parts: _Parts, frequencies: Float[Tensor, " waves"]) -> None:
    """Words and positions of the same length, and the segment, each in its own part."""
    words = bert.embeddings.word_embeddings.weight
    words.zero_()
    words[:, parts.words].normal_(std=_WORD_LENGTH / math.sqrt(parts.num_words))
    positions = bert.embeddings.position_embeddings.weight
    positions.zero_()
    unit = waves(len(positions), frequencies) / math.sqrt(len(frequencies))
    positions[:, parts.waves] = _WORD_LENGTH * unit
    segments = bert.embeddings.token_type_embeddings.weight
    segments.zero_()
    segments[0, parts.segment], segments[1, parts.segment] = -_SEGMENT_LENGTH, _SEGMENT_LENGTH


def _write_neighbour_heads(
    attention: Any, parts: _Parts, frequencies: Float[Tensor, " waves"]
) -> None:
    """Four heads that look at a fixed distance and write a code of the word that stands there."""
    _clear(attention)
    # After the first LayerNorm words and positions have half of the squared length each.
    gain = math.sqrt(_POSITION_SHARPNESS * math.sqrt(parts.width) / (parts.hidden / 2))
    code, width = parts.code, len(frequencies) * 2
    for number, offset in enumerate(_NEIGHBOURS):
        head = parts.head(number)
        first = slice(head.start, head.start + width)
        attention.self.query.weight[first, parts.waves] = gain * shift(frequencies, offset)
        attention.self.key.weight[first, parts.waves] = gain * torch.eye(width)
        place = slice(head.start, head.start + code)
        projection = torch.linalg.qr(torch.randn(parts.num_words, code)).Q.T
        # The four codes together are as long as the word.
        lengthened = projection * math.sqrt(parts.num_words / code) / math.sqrt(len(_NEIGHBOURS))
        attention.self.value.weight[place, parts.words] = lengthened
        at = parts.context.start + number * code
        attention.output.dense.weight[at : at + code, place] = torch.eye(code)


def _write_copy_heads(attention: Any, parts: _Parts) -> None:
    """Heads that copy the word from where the context is alike, and heads that see it is shared."""
    _clear(attention)
    query, key, value = (getattr(attention.self, name) for name in ("query", "key", "value"))
    for number in range(parts.heads):
        head = parts.head(number)
        if head.stop <= parts.num_words:
            match = math.sqrt(_CONTEXT_SHARPNESS) * torch.eye(parts.width)
            match[-1] = 0.0
            query.weight[head, parts.context] = match
            key.weight[head, parts.context] = match
            # Opposite signs attract: a mask looks into the chunk and not at itself.
            query.weight[head.stop - 1, parts.segment] = -_OTHER_SEGMENT
            key.weight[head.stop - 1, parts.segment] = _OTHER_SEGMENT
            value.weight[head, head] = torch.eye(parts.width)
            attention.output.dense.weight[head, head] = _COPY_GAIN * torch.eye(parts.width)
        else:
            alike = torch.randn(parts.width, parts.num_words) / math.sqrt(parts.num_words)
            query.weight[head, parts.words] = _LIKENESS * alike
            key.weight[head, parts.words] = _LIKENESS * alike
            value.weight[head.start, parts.segment] = 1.0
            attention.output.dense.weight[parts.shared, head.start] = 1.0


def _write_likeness_heads(attention: Any, parts: _Parts) -> None:
    """Heads that look at states like their own and pass them on."""
    alike = torch.randn(parts.hidden, parts.hidden) / math.sqrt(parts.hidden)
    attention.self.query.weight.copy_(_LIKENESS * alike)
    attention.self.key.weight.copy_(_LIKENESS * alike)
    # Any rotation and its inverse: heads split the state evenly, and together pass it on.
    rotation = torch.linalg.qr(torch.randn(parts.hidden, parts.hidden)).Q
    attention.self.value.weight.copy_(_PASS_GAIN * rotation)
    attention.output.dense.weight.copy_(_PASS_GAIN * rotation.T)


def _clear(attention: Any) -> None:
    for layer in (attention.self.query, attention.self.key, attention.self.value):
        nn.init.zeros_(layer.weight)
    nn.init.zeros_(attention.output.dense.weight)


def waves(length: int, frequencies: Float[Tensor, " waves"]) -> Float[Tensor, "length width"]:
    """Cosines, then sines, of the given frequencies at positions 0, 1, 2 ..."""
    angles = torch.arange(length)[:, None] * frequencies[None, :]
    return torch.cat([torch.cos(angles), torch.sin(angles)], dim=1)


def shift(frequencies: Float[Tensor, " waves"], offset: int) -> Float[Tensor, "width width"]:
    """The rotation that turns the waves of position t into those of t + offset, for every t."""
    cos = torch.diag(torch.cos(offset * frequencies))
    sin = torch.diag(torch.sin(offset * frequencies))
    return torch.cat([torch.cat([cos, -sin], dim=1), torch.cat([sin, cos], dim=1)])
