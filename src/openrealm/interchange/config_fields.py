"""The explicit table between the fields of a Hugging Face config.json and our settings.

Both directions read the same table. A field that is in neither list, or one that a model of this
kind needs and has not, is an error that names it. Knows nothing of weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from openrealm.errors import ConfigError
from openrealm.models.pretrained import ACTIVATIONS
from openrealm.settings import BertShape

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
    for field, allowed in FIXED.items():
        if field in config and config[field] not in allowed:
            raise ConfigError(
                f"config.json of {name} has {field} = {config[field]!r}; only "
                f"{' or '.join(map(repr, allowed))} can be imported"
            )
    activation = ACTIVATIONS.get(str(config["hidden_act"]))
    if activation is None:
        raise ConfigError(
            f"config.json of {name} has hidden_act = {config['hidden_act']!r}; "
            f"known are {', '.join(ACTIVATIONS)}"
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
