"""BERT (Devlin et al., 2019) in plain torch, over the real tokens of a batch; knows no task.

Weights have the names and shapes of Hugging Face's BertModel and BertForMaskedLM, so that their
files are ours and ours theirs. Nothing is padded (`Packed`): all but attention looks at one token
at a time, and gets ``(tokens, hidden)``. Attention goes over rows of one length together; as these
lie side by side, they are a view ``(rows, heads, length, width)`` of that, without a copy. A large
batch goes through all layers in pieces that a processor's caches hold.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from openrealm.errors import InputError
from openrealm.models.inputs import Packed

# The widest activations of a piece. Measured with benchmarks/encoder.py: half and double cost up to
# 5% more, ten times 15%. Beyond 32 MiB malloc takes every tensor from the system, zeroed, anew.
PIECE_BYTES = 12 * 2**20
# By the names that configurations give them; gelu_new is what BERT's original code computes.
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu_new": partial(nn.functional.gelu, approximate="tanh"),
    "gelu_pytorch_tanh": partial(nn.functional.gelu, approximate="tanh"),
    "gelu": nn.functional.gelu,
    "relu": nn.functional.relu,
}


@dataclass(frozen=True, kw_only=True)
class BertConfig:
    """Shape of a BERT, in the words of a config.json."""

    vocab_size: int
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    hidden_act: str = "gelu"
    hidden_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.1
    layer_norm_eps: float = 1e-12
    initializer_range: float = 0.02
    pad_token_id: int = 0


class BertEmbeddings(nn.Module):
    """Word + position + segment, then LayerNorm."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        size = config.hidden_size
        self.word_embeddings = nn.Embedding(
            config.vocab_size, size, padding_idx=config.pad_token_id
        )
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, size)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, size)
        self.LayerNorm = nn.LayerNorm(size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, tokens: Packed) -> Float[Tensor, "tokens hidden"]:
        """One vector per token."""
        summed = (
            self.word_embeddings(tokens.token_ids)
            + self.token_type_embeddings(tokens.segment_ids)
            + self.position_embeddings(tokens.positions)
        )
        embedded: Tensor = self.dropout(self.LayerNorm(summed))
        return embedded


class BertSelfAttention(nn.Module):
    """softmax(q k / sqrt(width)) v in each head, every token among those of its own row."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.num_heads = config.num_attention_heads
        self.query = nn.Linear(config.hidden_size, config.hidden_size)
        self.key = nn.Linear(config.hidden_size, config.hidden_size)
        self.value = nn.Linear(config.hidden_size, config.hidden_size)
        self.dropout = config.attention_probs_dropout_prob

    def forward(
        self, states: Float[Tensor, "tokens hidden"], tokens: Packed
    ) -> Float[Tensor, "tokens hidden"]:
        """What each token gathers from its row."""
        q, k, v = self.query(states), self.key(states), self.value(states)
        if states.is_cuda:
            return self.attend_padded(q, k, v, tokens)
        # Split and not sliced: the gradient of n slices would be n tensors of the whole size.
        sizes = [rows * length for rows, length in tokens.blocks]
        parts = zip(*(x.split(sizes) for x in (q, k, v)), tokens.blocks, strict=True)
        gathered = [
            self._attend(*(x.view(*block, -1) for x in qkv)).flatten(0, 1) for *qkv, block in parts
        ]
        return torch.cat(gathered) if len(gathered) != 1 else gathered[0]

    def attend_padded(
        self,
        q: Float[Tensor, "tokens hidden"],
        k: Float[Tensor, "tokens hidden"],
        v: Float[Tensor, "tokens hidden"],
        tokens: Packed,
    ) -> Float[Tensor, "tokens hidden"]:
        """The same in one piece, with padding: on a GPU a kernel for each length costs more."""
        at = (tokens.rows, tokens.positions)
        mask = q.new_zeros((len(tokens.lengths), tokens.width), dtype=torch.bool)
        mask[at] = True
        padded = (tokens.padded(x) for x in (q, k, v))
        return self._attend(*padded, mask=mask[:, None, None, :])[at]

    def _attend(
        self, q: Tensor, k: Tensor, v: Tensor, *, mask: Tensor | None = None
    ) -> Float[Tensor, "rows length hidden"]:
        shape = (*q.shape[:2], self.num_heads, q.shape[2] // self.num_heads)
        q_heads, k_heads, v_heads = (x.view(shape).transpose(1, 2) for x in (q, k, v))
        dropout = self.dropout if self.training else 0.0
        if q.dtype == torch.bfloat16 and not q.is_cuda:
            gathered = _written_out_attention(q_heads, k_heads, v_heads, dropout)
        else:
            gathered = nn.functional.scaled_dot_product_attention(
                q_heads, k_heads, v_heads, attn_mask=mask, dropout_p=dropout
            )
        return gathered.transpose(1, 2).reshape(q.shape)


def _written_out_attention(
    q: Float[Tensor, "rows heads length width"],
    k: Float[Tensor, "rows heads length width"],
    v: Float[Tensor, "rows heads length width"],
    dropout: float,
) -> Float[Tensor, "rows heads length width"]:
    """Attention by two products: torch's fused kernel for processors is slow in bfloat16."""
    weights = (q @ k.transpose(2, 3)).mul(q.shape[3] ** -0.5).softmax(dim=3, dtype=q.dtype)
    if dropout:
        weights = nn.functional.dropout(weights, dropout)
    return weights @ v


class BertResidual(nn.Module):
    """What ends each half of a layer: LayerNorm(x + dropout(dense(y)))."""

    def __init__(self, config: BertConfig, size: int) -> None:
        super().__init__()
        self.dense = nn.Linear(size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(
        self, inner: Float[Tensor, "tokens inner"], states: Float[Tensor, "tokens hidden"]
    ) -> Float[Tensor, "tokens hidden"]:
        """States with what was computed from them added."""
        added: Tensor = self.LayerNorm(self.dropout(self.dense(inner)) + states)
        return added


class BertAttention(nn.Module):
    """The first half of a layer."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.self = BertSelfAttention(config)
        self.output = BertResidual(config, config.hidden_size)


class BertIntermediate(nn.Module):
    """The widening step of the second half, the feed-forward network."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.intermediate_size)
        self.activation = ACTIVATIONS[config.hidden_act]

    def forward(self, states: Float[Tensor, "tokens hidden"]) -> Float[Tensor, "tokens inner"]:
        """Activations of the wide layer."""
        return self.activation(self.dense(states))


class BertLayer(nn.Module):
    """Self-attention, then a feed-forward network."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.attention = BertAttention(config)
        self.intermediate = BertIntermediate(config)
        self.output = BertResidual(config, config.intermediate_size)

    def forward(
        self,
        states: Float[Tensor, "tokens hidden"],
        tokens: Packed,
        at: Int[Tensor, " chosen"] | None = None,
    ) -> Float[Tensor, "out hidden"]:
        """The next states, of all tokens or of the chosen ones alone."""
        gathered = self.attention.self(states, tokens)
        if at is not None:
            gathered, states = gathered[at], states[at]
        states = self.attention.output(gathered, states)
        following: Tensor = self.output(self.intermediate(states), states)
        return following


class BertEncoder(nn.Module):
    """The stack of layers."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.layer = nn.ModuleList(BertLayer(config) for _ in range(config.num_hidden_layers))

    def forward(
        self,
        states: Float[Tensor, "tokens hidden"],
        tokens: Packed,
        at: Int[Tensor, " chosen"] | None = None,
    ) -> Float[Tensor, "out hidden"]:
        """The states after the last layer, of all tokens or of the chosen ones alone."""
        *layers, last = self.layer
        for layer in layers:
            states = layer(states, tokens)
        states = last(states, tokens, at)
        return states


class BertPooler(nn.Module):
    """tanh(dense([CLS]))."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, first: Float[Tensor, "rows hidden"]) -> Float[Tensor, "rows hidden"]:
        """What stands for each row, from the state of its first token."""
        return torch.tanh(self.dense(first))


class BertModel(nn.Module):
    """Embeddings and layers; with a pooler, where somebody wants one."""

    def __init__(self, config: BertConfig, *, add_pooling_layer: bool = True) -> None:
        super().__init__()
        self.config = config
        self.embeddings = BertEmbeddings(config)
        self.encoder = BertEncoder(config)
        self.pooler = BertPooler(config) if add_pooling_layer else None
        self.apply(partial(_initialize, std=config.initializer_range))

    def forward(
        self, tokens: Packed, at: Int[Tensor, " chosen"] | None = None
    ) -> Float[Tensor, "out hidden"]:
        """Last states, of all tokens or of the chosen ones alone.

        Args:
            tokens: The batch.
            at: Numbers of tokens; what nobody asks for is not computed in the last layer.

        Raises:
            InputError: A row is longer than the positions that this BERT has learned.
        """
        if tokens.width > self.config.max_position_embeddings:
            raise InputError(
                f"an input of {tokens.width} tokens is longer than this BERT's "
                f"{self.config.max_position_embeddings} positions; cut it"
            )
        most = PIECE_BYTES // (4 * max(self.config.intermediate_size, self.config.hidden_size))
        pieces = [tokens] if tokens.token_ids.is_cuda else tokens.pieces(most)
        states = self.embeddings(tokens)
        if len(pieces) == 1:
            last: Tensor = self.encoder(states, tokens, at)
            return last
        sizes = [len(piece.token_ids) for piece in pieces]
        parts = zip(states.split(sizes), pieces, strict=True)
        if at is None:
            return torch.cat([self.encoder(*part) for part in parts])
        chosen, back = _by_piece(at, sizes)
        found = [self.encoder(*part, each) for part, each in zip(parts, chosen, strict=True)]
        return torch.cat(found)[back]


def _by_piece(
    at: Int[Tensor, " chosen"], sizes: Sequence[int]
) -> tuple[Sequence[Int[Tensor, " some"]], Int[Tensor, " chosen"]]:
    """Numbers of tokens within each piece, and the places that bring all back in order."""
    ordered, order = at.sort()
    stops = torch.tensor(sizes).cumsum(0)
    counts = torch.searchsorted(ordered, stops).diff(prepend=torch.zeros(1, dtype=torch.long))
    starts = (stops - torch.tensor(sizes)).repeat_interleave(counts)
    return torch.split(ordered - starts, counts.tolist()), order.argsort()


class BertTransform(nn.Module):
    """The masked-LM head's own layer."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.activation = ACTIVATIONS[config.hidden_act]
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, states: Float[Tensor, "chosen hidden"]) -> Float[Tensor, "chosen hidden"]:
        """States in the space of the word embeddings."""
        transformed: Tensor = self.LayerNorm(self.activation(self.dense(states)))
        return transformed


class BertPredictions(nn.Module):
    """The masked-LM head: a logit for each word, by the word embeddings themselves."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.transform = BertTransform(config)
        self.decoder = nn.Linear(config.hidden_size, config.vocab_size)
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))

    def forward(self, states: Float[Tensor, "chosen hidden"]) -> Float[Tensor, "chosen vocab"]:
        """Logits of the words at the chosen places."""
        logits = nn.functional.linear(self.transform(states), self.decoder.weight)
        # The bias in full precision: a token prior of -20 has steps of 0.06 in bfloat16. In place:
        # there is no larger tensor in a model than this one.
        return logits.to(self.bias.dtype).add_(self.bias)


class BertHeads(nn.Module):
    """The heads over BERT; here one."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.predictions = BertPredictions(config)


class BertForMaskedLM(nn.Module):
    """BERT and its masked-LM head, whose output embeddings are the input embeddings."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.config = config
        self.bert = BertModel(config, add_pooling_layer=False)
        self.cls = BertHeads(config)
        self.cls.apply(partial(_initialize, std=config.initializer_range))
        self.tie_weights()

    def tie_weights(self) -> None:
        """Makes the output embeddings the input embeddings."""
        predictions = self.cls.predictions
        predictions.decoder.weight = self.bert.embeddings.word_embeddings.weight
        predictions.decoder.bias = predictions.bias

    def forward(
        self, tokens: Packed, at: Int[Tensor, " chosen"] | None = None
    ) -> Float[Tensor, "out vocab"]:
        """Logits of the words, at all tokens or at the chosen ones alone."""
        logits: Tensor = self.cls.predictions(self.bert(tokens, at))
        return logits


def _initialize(module: nn.Module, *, std: float) -> None:
    """BERT's first weights, drawn in the order in which Hugging Face's classes draw them."""
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=std)
    if isinstance(module, nn.Linear):
        nn.init.zeros_(module.bias)
    if isinstance(module, nn.Embedding) and module.padding_idx is not None:
        with torch.no_grad():
            module.weight[module.padding_idx].zero_()
