"""The explicit tables between Hugging Face's REALM and ours: tensors by name, settings by field.

**Tensors.** For each kind of model: which of its tensors live in which of ours (a plain BERT's in
several), which are dead there (a masked-LM head that nothing ties to the word embeddings or trains,
a pooler that nothing reads), which are one tensor under two names, and which are buffers.

**Settings.** Both directions read the same table of fields of a config.json. A field that is in
neither list, or one that a model of this kind needs and has not, is an error that names it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from openrealm.errors import ConfigError
from openrealm.models.config_files import ACTIVATION_NAMES
from openrealm.settings import BertShape

EMBEDDER, SCORER, ENCODER, READER, OPENQA, BERT = (
    "embedder",
    "scorer",
    "encoder",
    "reader",
    "openqa",
    "bert",
)
BLOCK_EMB = "block_emb"
# Ours; names inside of `Realm`.
CHUNK_TOWER, QUERY_TOWER = "embedder.chunk_tower.", "embedder.query_tower."
MASKED_LM, SPAN_HEAD = "reader.masked_lm.", "reader.span_head."

_EMBEDDINGS = (
    "embeddings.word_embeddings.weight",
    "embeddings.position_embeddings.weight",
    "embeddings.token_type_embeddings.weight",
    "embeddings.LayerNorm.weight",
    "embeddings.LayerNorm.bias",
)
_LAYER = (
    "attention.self.query",
    "attention.self.key",
    "attention.self.value",
    "attention.output.dense",
    "attention.output.LayerNorm",
    "intermediate.dense",
    "output.dense",
    "output.LayerNorm",
)
_POOLER = ("pooler.dense.weight", "pooler.dense.bias")
_HEAD = (
    "predictions.bias",
    "predictions.transform.dense.weight",
    "predictions.transform.dense.bias",
    "predictions.transform.LayerNorm.weight",
    "predictions.transform.LayerNorm.bias",
)
# Under two names in one file: the second is a copy of the first.
_DECODER, _DECODER_BIAS = "predictions.decoder.weight", "predictions.decoder.bias"
_WORDS = "embeddings.word_embeddings.weight"
_PROJECTION = {
    "cls.dense.weight": "dense.weight",
    "cls.dense.bias": "dense.bias",
    "cls.LayerNorm.weight": "layer_norm.weight",
    "cls.LayerNorm.bias": "layer_norm.bias",
}
_SPAN_HEAD = {
    "qa_outputs.dense_intermediate.weight": "dense_intermediate.weight",
    "qa_outputs.dense_intermediate.bias": "dense_intermediate.bias",
    "qa_outputs.dense_output.weight": "dense_output.weight",
    "qa_outputs.dense_output.bias": "dense_output.bias",
    "qa_outputs.layer_normalization.weight": "layer_norm.weight",
    "qa_outputs.layer_normalization.bias": "layer_norm.bias",
}
_BUFFERS = ("embeddings.position_ids", "embeddings.token_type_ids")
_NEXT_SENTENCE = ("cls.seq_relationship.weight", "cls.seq_relationship.bias")

Places = dict[str, tuple[str, ...]]


@dataclass
class Names:
    """The tensor names of one kind of model.

    Attributes:
        live: Theirs -> ours, one or several.
        dead: Theirs that nothing uses.
        same: Theirs -> theirs of which it is a copy, where both are in the file.
        buffers: Theirs that are numbered positions and the like.
        optional: Of ``live``, what a file may lack.
    """

    live: Places = field(default_factory=dict)
    dead: set[str] = field(default_factory=set)
    same: dict[str, str] = field(default_factory=dict)
    buffers: set[str] = field(default_factory=set)
    optional: set[str] = field(default_factory=set)

    @property
    def known(self) -> set[str]:
        """Every name that may be in a file."""
        return {*self.live, *self.dead, *self.same, *self.buffers}

    def merged(self, other: Names) -> Names:
        """The names of both."""
        return Names(
            self.live | other.live,
            self.dead | other.dead,
            self.same | other.same,
            self.buffers | other.buffers,
            self.optional | other.optional,
        )


def names_of(kind: str, *, layers: int, prefix: str = "bert.", towers: int = 1) -> Names:
    """The names of one kind.

    Args:
        kind: ``embedder``, ``scorer``, ``encoder``, ``reader``, ``openqa`` or ``bert``.
        layers: Transformer layers of its BERTs.
        prefix: Of a plain BERT's body; empty in files of the body alone.
        towers: Of a scorer: 2 where queries have an embedder of their own.
    """
    if kind == EMBEDDER:
        return _embedder("", CHUNK_TOWER, layers)
    if kind == SCORER:
        names = _embedder("embedder.", CHUNK_TOWER, layers)
        queries = _embedder("query_embedder.", QUERY_TOWER, layers)
        if towers == 2:
            return names.merged(queries)
        # One embedder, which that class lists twice.
        names.same |= {n: n.removeprefix("query_") for n in {*queries.live, *queries.dead}}
        names.same |= {n: names.same[n.removeprefix("query_")] for n in queries.same}
        names.buffers |= queries.buffers
        return names
    if kind == ENCODER:
        return _encoder(layers)
    if kind == READER:
        return _reader("", layers)
    if kind == OPENQA:
        return _embedder("embedder.", QUERY_TOWER, layers).merged(_reader("reader.", layers))
    return _plain(prefix, layers)


def _body(layers: int) -> Iterator[str]:
    yield from _EMBEDDINGS
    for layer in range(layers):
        for part in _LAYER:
            yield f"encoder.layer.{layer}.{part}.weight"
            yield f"encoder.layer.{layer}.{part}.bias"


def _prefixed(prefix: str, names: Iterable[str]) -> set[str]:
    return {f"{prefix}{name}" for name in names}


def _embedder(prefix: str, tower: str, layers: int) -> Names:
    body = [*_body(layers), *_POOLER]
    live: Places = {f"{prefix}realm.{name}": (f"{tower}bert.{name}",) for name in body}
    live |= {f"{prefix}{theirs}": (f"{tower}{ours}",) for theirs, ours in _PROJECTION.items()}
    return Names(
        live=live,
        dead=_prefixed(f"{prefix}cls.", [*_HEAD, _DECODER]),
        same={f"{prefix}cls.{_DECODER_BIAS}": f"{prefix}cls.{_HEAD[0]}"},
        buffers=_prefixed(f"{prefix}realm.", _BUFFERS),
    )


def _encoder(layers: int) -> Names:
    live: Places = {f"realm.{name}": (f"{MASKED_LM}bert.{name}",) for name in _body(layers)}
    live |= {f"cls.{name}": (f"{MASKED_LM}cls.{name}",) for name in _HEAD}
    return Names(
        live=live,
        dead=_prefixed("realm.", _POOLER),
        same={f"cls.{_DECODER}": f"realm.{_WORDS}", f"cls.{_DECODER_BIAS}": f"cls.{_HEAD[0]}"},
        buffers=_prefixed("realm.", _BUFFERS),
    )


def _reader(prefix: str, layers: int) -> Names:
    live: Places = {f"{prefix}realm.{name}": (f"{MASKED_LM}bert.{name}",) for name in _body(layers)}
    live |= {f"{prefix}{theirs}": (f"{SPAN_HEAD}{ours}",) for theirs, ours in _SPAN_HEAD.items()}
    return Names(
        live=live,
        dead=_prefixed(f"{prefix}cls.", [*_HEAD, _DECODER]) | _prefixed(f"{prefix}realm.", _POOLER),
        same={f"{prefix}cls.{_DECODER_BIAS}": f"{prefix}cls.{_HEAD[0]}"},
        buffers=_prefixed(f"{prefix}realm.", _BUFFERS),
    )


def _plain(prefix: str, layers: int) -> Names:
    towers = (CHUNK_TOWER, QUERY_TOWER)
    live: Places = {
        f"{prefix}{name}": (f"{MASKED_LM}bert.{name}", *(f"{t}bert.{name}" for t in towers))
        for name in _body(layers)
    }
    pooler = {f"{prefix}{name}": tuple(f"{t}bert.{name}" for t in towers) for name in _POOLER}
    head = {f"cls.{name}": (f"{MASKED_LM}cls.{name}",) for name in _HEAD}
    return Names(
        live=live | pooler | head,
        dead=set(_NEXT_SENTENCE),
        same={f"cls.{_DECODER}": f"{prefix}{_WORDS}", f"cls.{_DECODER_BIAS}": f"cls.{_HEAD[0]}"},
        buffers=_prefixed(prefix, _BUFFERS),
        optional={*pooler, *head},
    )


# Theirs -> the field of our BertShape.
BERT_FIELDS = {
    "num_hidden_layers": "layers",
    "hidden_size": "hidden",
    "num_attention_heads": "heads",
    "intermediate_size": "intermediate",
    "max_position_embeddings": "max_positions",
    "hidden_act": "activation",
    "hidden_dropout_prob": "dropout",
    "layer_norm_eps": "layer_norm_eps",
    "initializer_range": "initializer_range",
}
# Theirs -> section and field of our settings.
EMBEDDER_FIELDS = {"retriever_proj_size": ("model", "embedder", "dim")}
SPAN_FIELDS = {
    "span_hidden_size": ("model", "span_head", "hidden"),
    "max_span_width": ("model", "span_head", "max_width"),
    "reader_layer_norm_eps": ("model", "span_head", "layer_norm_eps"),
}
RETRIEVAL_FIELDS = {
    "num_candidates": ("retrieval", "k"),
    "reader_beam_size": ("qa", "read"),
    "searcher_beam_size": ("qa", "beam"),
}
NESTED_FIELDS = EMBEDDER_FIELDS | SPAN_FIELDS | RETRIEVAL_FIELDS

# What must be so for these weights to mean here what they mean there.
FIXED = {
    "type_vocab_size": (2,),
    "position_embedding_type": ("absolute",),
    "is_decoder": (False,),
    "is_encoder_decoder": (False,),
    "add_cross_attention": (False,),
    "model_type": ("realm", "bert"),
}
# Read elsewhere: of the vocabulary, of `block_emb`, and what dropout must agree with.
CHECKED = ("architectures", "vocab_size", "num_block_records", "attention_probs_dropout_prob")
# Known, and without meaning here: how that library loads, labels and generates; numbers of special
# tokens, which here come from the vocabulary (RealmConfig says 1 for [PAD], which is token 0); the
# length of the reader's inputs, which here is that of a query and a chunk.
_IGNORED = """
    _name_or_path _attn_implementation attn_implementation _commit_hash bad_words_ids
    begin_suppress_tokens bos_token_id chunk_size_feed_forward classifier_dropout
    cross_attention_hidden_size decoder_start_token_id directionality diversity_penalty
    do_sample dtype early_stopping encoder_no_repeat_ngram_size eos_token_id
    exponential_decay_length_penalty finetuning_task forced_bos_token_id forced_eos_token_id
    gradient_checkpointing id2label label2id length_penalty max_length min_length
    no_repeat_ngram_size num_beam_groups num_beams num_return_sequences output_attentions
    output_hidden_states output_past output_scores pad_token_id pooler_fc_size
    pooler_num_attention_heads pooler_num_fc_layers pooler_size_per_head pooler_type prefix
    problem_type pruned_heads reader_seq_len remove_invalid_values repetition_penalty
    return_dict return_dict_in_generate searcher_seq_len sep_token_id suppress_tokens
    task_specific_params temperature tf_legacy_loss tie_encoder_decoder tie_word_embeddings
    tokenizer_class top_k top_p torch_dtype torchscript transformers_version typical_p
    use_bfloat16 use_cache
"""
IGNORED = frozenset(_IGNORED.split())


def to_settings(
    config: Mapping[str, Any], *, needed: Sequence[str] = (), name: str
) -> dict[str, Any]:
    """The nested values of our settings that a config.json fixes.

    Args:
        config: The contents of the file.
        needed: Fields beside BERT's own that the model's kind cannot do without.
        name: What to call it in an error.

    Raises:
        ConfigError: Fields that are unknown, missing, or of a value that cannot be had here.
    """
    known = {*BERT_FIELDS, *NESTED_FIELDS, *FIXED, *CHECKED, *IGNORED}
    unknown = sorted(set(config) - known)
    missing = sorted({*BERT_FIELDS, "vocab_size", *needed} - set(config))
    if unknown or missing:
        faults = [f"unknown: {', '.join(unknown)}"] if unknown else []
        faults += [f"missing: {', '.join(missing)}"] if missing else []
        raise ConfigError(f"config.json of {name} has fields {'; '.join(faults)}")
    for theirs, allowed in FIXED.items():
        if theirs in config and config[theirs] not in allowed:
            raise ConfigError(
                f"config.json of {name} has {theirs} = {config[theirs]!r}; only "
                f"{' or '.join(map(repr, allowed))} can be imported"
            )
    activation = ACTIVATION_NAMES.get(str(config["hidden_act"]))
    if activation is None:
        raise ConfigError(
            f"config.json of {name} has hidden_act = {config['hidden_act']!r}; "
            f"known are {', '.join(ACTIVATION_NAMES)}"
        )
    if type(config["vocab_size"]) is not int:
        raise ConfigError(f"config.json of {name} has vocab_size = {config['vocab_size']!r}")
    bert = {ours: config[theirs] for theirs, ours in BERT_FIELDS.items()}
    values: dict[str, Any] = {"model": {"bert": bert | {"activation": activation}}}
    for theirs, path in NESTED_FIELDS.items():
        if theirs in config:
            _put(values, path, config[theirs])
    # The released embedder's LayerNorm has BERT's epsilon.
    _put(values, ("model", "embedder", "layer_norm_eps"), config["layer_norm_eps"])
    return values


def from_settings(
    shape: BertShape, values: Mapping[str, Any], *, vocab_size: int, num_blocks: int = 0
) -> dict[str, Any]:
    """The fields of a RealmConfig.

    Args:
        shape: The BERT's.
        values: Our settings as nested dictionaries, from which the fields in sections are taken.
        vocab_size: Number of tokens.
        num_blocks: Rows of ``block_emb``.
    """
    config: dict[str, Any] = {theirs: getattr(shape, ours) for theirs, ours in BERT_FIELDS.items()}
    for theirs, path in NESTED_FIELDS.items():
        value: Any = values
        for part in path:
            value = value[part]
        config[theirs] = value
    return config | {
        "model_type": "realm",
        "attention_probs_dropout_prob": shape.dropout,
        "type_vocab_size": 2,
        "vocab_size": vocab_size,
        "num_block_records": num_blocks,
        "reader_seq_len": min(320, shape.max_positions),
        "pad_token_id": 0,
        "torch_dtype": "float32",
    }


def _put(values: dict[str, Any], path: Sequence[str], value: Any) -> None:
    for part in path[:-1]:
        values = values.setdefault(part, {})
    values[path[-1]] = value
