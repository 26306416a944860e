"""A tower as a folder that sentence-transformers loads; knows neither runs nor that library's code.

The library composes an encoder of modules, each in a folder with its configuration::

    modules.json                         which modules, in order
    config_sentence_transformers.json    versions, and how to compare vectors
    config.json  model.safetensors       BERT, as transformers' BertModel names it
    sentence_bert_config.json            longest input
    tokenizer.json  tokenizer_config.json  special_tokens_map.json  vocab.txt
    1_Pooling/  2_Dense/  3_LayerNorm/  4_Normalize/  ...    what the tower has of these

A single text becomes ``[CLS] x [SEP]``, the query's template, and a pair (title, body) becomes
``[CLS] title [SEP] body [SEP]`` with segments 0 and 1, the chunk's. The factor on query vectors
(``score_scale``) has no place there, since one folder serves both.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import tokenizers
import torch
from tokenizers import processors
from torch import Tensor

from openrealm.errors import ConfigError
from openrealm.models.embedder import Embedder, Tower
from openrealm.models.tensor_files import save_tensors
from openrealm.settings import EmbedderConfig
from openrealm.tokenizer import CLS, MASK, PAD, SEP, UNK, WordPiece

# These names are understood by old versions of the library and by the present one.
_MODULES = "sentence_transformers.models."
# The library's LayerNorm has torch's epsilon, and no way to say another.
_THEIR_EPSILON, _LEAST_EPSILON = 1e-5, 1e-24
_INPUTS = ["input_ids", "token_type_ids", "attention_mask"]
_SPECIAL = {
    "unk_token": UNK,
    "sep_token": SEP,
    "pad_token": PAD,
    "cls_token": CLS,
    "mask_token": MASK,
}


@dataclass(frozen=True)
class _Module:
    """One module of that library: its class, its configuration and its weights."""

    kind: str
    config: dict[str, Any]
    weights: Mapping[str, Tensor] = field(default_factory=dict)


def write_sentence_encoder(
    embedder: Embedder,
    tokenizer: WordPiece,
    directory: Path,
    *,
    query_tokens: int,
    chunk_tokens: int,
) -> None:
    """Writes the towers: one that is shared into the folder, two into ``query/`` and ``chunk/``.

    Args:
        embedder: The towers.
        tokenizer: Of their inputs.
        directory: An empty folder, or none yet.
        query_tokens: Longest query input; where the tower is shared, the longer of both is written.
        chunk_tokens: Longest chunk input.

    Raises:
        ConfigError: The library has no module for a setting of the towers; the message names it.
    """
    require_expressible(embedder.config)
    if embedder.is_shared:
        longest = max(query_tokens, chunk_tokens)
        _write_tower(embedder.chunk_tower, tokenizer, directory, max_tokens=longest)
        return
    _write_tower(embedder.query_tower, tokenizer, directory / "query", max_tokens=query_tokens)
    _write_tower(embedder.chunk_tower, tokenizer, directory / "chunk", max_tokens=chunk_tokens)


def require_expressible(config: EmbedderConfig) -> None:
    """Checks that the library's modules can say what a tower computes.

    Raises:
        ConfigError: They cannot; the message names the setting.
    """
    if config.known_tokens:
        raise ConfigError(
            "model.embedder.known_tokens = true passes over tokens that the texts lack, which "
            "sentence-transformers has no module for; export --to openrealm, or train with it false"
        )


def _write_tower(tower: Tower, tokenizer: WordPiece, directory: Path, *, max_tokens: int) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    _write_bert(tower, directory, max_tokens=max_tokens)
    _write_tokenizer(tokenizer, directory, max_tokens=max_tokens)
    listed = [{"idx": 0, "name": "0", "path": "", "type": f"{_MODULES}Transformer"}]
    for number, module in enumerate(_modules(tower), start=1):
        folder = f"{number}_{module.kind}"
        kind = f"{_MODULES}{module.kind}"
        listed.append({"idx": number, "name": str(number), "path": folder, "type": kind})
        (directory / folder).mkdir()
        _write_json(directory / folder / "config.json", module.config)
        if module.weights:
            save_tensors(module.weights, directory / folder / "model.safetensors")
    _write_json(directory / "modules.json", listed)
    compared = {
        "__version__": {"pytorch": torch.__version__},
        "similarity_fn_name": "dot",
    }
    _write_json(directory / "config_sentence_transformers.json", compared)


def _modules(tower: Tower) -> list[_Module]:
    """The modules above BERT, in order."""
    config, hidden = tower.config, int(tower.bert.config.hidden_size)
    modules = [_pooling(config.pooling, hidden)]
    if config.pooling == "cls":
        assert tower.bert.pooler is not None
        pooler = tower.bert.pooler.dense
        modules.append(_dense(pooler.weight, pooler.bias, activation="Tanh"))
    if config.projection == "adapter":
        modules.append(_dense(tower.adapter.weight, None))
    if config.projection == "linear":
        # LayerNorm of c times x with epsilon e is that of x with epsilon e / c^2.
        scale = math.sqrt(_THEIR_EPSILON / max(config.layer_norm_eps, _LEAST_EPSILON))
        norm = {"norm.weight": tower.layer_norm.weight, "norm.bias": tower.layer_norm.bias}
        modules.append(_dense(tower.dense.weight * scale, tower.dense.bias * scale))
        modules.append(_Module("LayerNorm", {"dimension": config.dim}, norm))
    if config.has_unit_length:
        modules.append(_Module("Normalize", {}))
    return modules


def _pooling(mode: str, hidden: int) -> _Module:
    modes = ("cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens")
    config: dict[str, Any] = {"word_embedding_dimension": hidden}
    config |= {f"pooling_mode_{name}": name.startswith(f"{mode}_t") for name in modes}
    return _Module("Pooling", config)


def _dense(weight: Tensor, bias: Tensor | None, *, activation: str | None = None) -> _Module:
    kind = f"activation.{activation}" if activation else "linear.Identity"
    config = {
        "in_features": weight.shape[1],
        "out_features": weight.shape[0],
        "bias": bias is not None,
        "activation_function": f"torch.nn.modules.{kind}",
    }
    weights = {"linear.weight": weight} | ({"linear.bias": bias} if bias is not None else {})
    return _Module("Dense", config, weights)


def _write_bert(tower: Tower, directory: Path, *, max_tokens: int) -> None:
    weights = tower.bert.state_dict()
    save_tensors(weights, directory / "model.safetensors", metadata={"format": "pt"})
    kind = {"model_type": "bert", "architectures": ["BertModel"]}
    _write_json(directory / "config.json", kind | asdict(tower.bert.config))
    limits: dict[str, Any] = {"max_seq_length": max_tokens, "do_lower_case": False}
    if tower.config.pooling != "cls":
        # Without this the library makes a pooler of random numbers, and reports that it did.
        limits["model_args"] = {"add_pooling_layer": False}
    _write_json(directory / "sentence_bert_config.json", limits)


def _write_tokenizer(tokenizer: WordPiece, directory: Path, *, max_tokens: int) -> None:
    tokenizer.save(directory)
    inner = tokenizers.Tokenizer.from_str(tokenizer.inner.to_str())
    inner.post_processor = processors.TemplateProcessing(
        single=f"{CLS} $A {SEP}",
        pair=f"{CLS} $A {SEP} $B:1 {SEP}:1",
        special_tokens=[(CLS, tokenizer.cls_id), (SEP, tokenizer.sep_id)],
    )
    (directory / "tokenizer.json").write_text(inner.to_str(), encoding="utf-8")
    _write_json(directory / "special_tokens_map.json", _SPECIAL)
    described = {
        # BertTokenizer would make its own normaliser instead of taking the one in tokenizer.json.
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": max_tokens,
        "model_input_names": _INPUTS,
        # "[SEP]" in a text is text, as it is for us.
        "split_special_tokens": True,
    }
    _write_json(directory / "tokenizer_config.json", _SPECIAL | described)


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
