"""Two towers, queries and chunks to vectors; knows nothing of what the vectors are searched for.

    Embed_input(x) = W_input BERT_CLS([CLS] x [SEP])
    Embed_doc(z)   = W_doc   BERT_CLS([CLS] title [SEP] body [SEP])        (paper, section 3.2)

With ``projection = "linear"`` a tower is the released one: tanh-pooled [CLS], a dense layer with
bias, LayerNorm. With ``projection = "none"`` it is a sentence encoder: mean of the token states,
unit length, and the query's vector multiplied by ``score_scale``, so that inner products are
scaled cosines; an ``adapter`` between mean and length begins as the identity. Either way relevance
is a plain inner product, and what is under the projection (*pooled*) can be kept where BERT does
not move.
"""

from __future__ import annotations

import copy

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from openrealm.models.bert import BertConfig, BertModel
from openrealm.models.inputs import Inputs, Packed
from openrealm.settings import EmbedderConfig


class Tower(nn.Module):
    """BERT, pooling and projection: padded token ids to vectors."""

    def __init__(self, bert_config: BertConfig, config: EmbedderConfig) -> None:
        super().__init__()
        self.config = config
        self.bert = BertModel(bert_config, add_pooling_layer=config.pooling == "cls")
        if config.known_tokens:
            self.known: Tensor
            self.register_buffer("known", torch.ones(bert_config.vocab_size, dtype=torch.bool))
        if config.projection == "linear":
            self.dense = nn.Linear(bert_config.hidden_size, config.dim)
            self.layer_norm = nn.LayerNorm(config.dim, eps=config.layer_norm_eps)
            nn.init.trunc_normal_(self.dense.weight, std=bert_config.initializer_range)
            nn.init.zeros_(self.dense.bias)
        if config.projection == "adapter":
            self.adapter = nn.Linear(bert_config.hidden_size, bert_config.hidden_size, bias=False)
            nn.init.eye_(self.adapter.weight)

    @property
    def projections(self) -> tuple[nn.Module, ...]:
        """What stands above the pooled states and can be trained."""
        names = {"linear": ("dense", "layer_norm"), "adapter": ("adapter",), "none": ()}
        return tuple(getattr(self, name) for name in names[self.config.projection])

    def forward(self, inputs: Inputs) -> Float[Tensor, "rows dim"]:
        """Vectors ``(rows, dim)`` of padded inputs."""
        vectors: Tensor = self.project(self.pool(inputs))
        return vectors

    def pool(self, inputs: Inputs) -> Float[Tensor, "rows hidden"]:
        """BERT's states of padded inputs, pooled."""
        only = self.known[inputs.token_ids] if self.config.known_tokens else None
        tokens = inputs.packed(only=only)
        if self.bert.pooler is None:
            return _mean(self.bert(tokens), tokens)
        pooled: Tensor = self.bert.pooler(self.bert(tokens, tokens.starts))
        return pooled

    def project(self, pooled: Float[Tensor, "rows hidden"]) -> Float[Tensor, "rows dim"]:
        """Vectors ``(rows, dim)`` out of pooled states."""
        # In full precision: an adapter's steps are smaller than what bfloat16 can tell from 1.
        with torch.autocast(pooled.device.type, enabled=False):
            vectors = pooled.float()
            for part in self.projections:
                vectors = part(vectors)
            vectors = nn.functional.dropout(vectors, self.config.dropout, training=self.training)
        return nn.functional.normalize(vectors, dim=-1) if self.config.has_unit_length else vectors


def _mean(states: Float[Tensor, "tokens hidden"], tokens: Packed) -> Float[Tensor, "rows hidden"]:
    """Mean of each row's states."""
    # In full precision, like every sum over tokens here.
    sums = states.new_zeros((len(tokens.lengths), states.shape[1]), dtype=torch.float32)
    return sums.index_add(0, tokens.rows, states.float()) / tokens.lengths[:, None]


class Embedder(nn.Module):
    """The query tower and the chunk tower, one module where they are shared."""

    def __init__(self, bert_config: BertConfig, config: EmbedderConfig) -> None:
        super().__init__()
        self.config = config
        self.chunk_tower = Tower(bert_config, config)
        self.query_tower = self.chunk_tower if config.shared else Tower(bert_config, config)

    @property
    def towers(self) -> tuple[Tower, ...]:
        """The distinct towers, the chunks' first."""
        return (self.chunk_tower,) if self.is_shared else (self.chunk_tower, self.query_tower)

    @property
    def is_shared(self) -> bool:
        """Whether one tower serves queries and chunks."""
        return self.query_tower is self.chunk_tower

    def set_known(self, known: Bool[Tensor, " vocab"]) -> None:
        """Says which tokens the texts have; the others are passed over from now on."""
        for tower in self.towers:
            tower.known.copy_(known)

    def unshare(self) -> None:
        """Gives queries a tower of their own, a copy, so that it may move and the chunks' not."""
        if self.is_shared:
            self.query_tower = copy.deepcopy(self.chunk_tower)

    @property
    def dim(self) -> int:
        """Numbers per vector."""
        if self.config.projection == "linear":
            return self.config.dim
        return self.hidden

    @property
    def hidden(self) -> int:
        """Numbers per vector under the projection."""
        return int(self.chunk_tower.bert.config.hidden_size)

    def embed_queries(self, inputs: Inputs) -> Float[Tensor, "rows dim"]:
        """Query vectors ``(rows, dim)``, with the score scale in them."""
        vectors: Tensor = self.query_tower(inputs)
        return vectors * self.config.score_scale

    def embed_chunks(self, inputs: Inputs) -> Float[Tensor, "rows dim"]:
        """Chunk vectors ``(rows, dim)``."""
        vectors: Tensor = self.chunk_tower(inputs)
        return vectors
