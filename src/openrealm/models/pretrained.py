"""Builds models from a config or a start, saves and loads their weights; knows no run or corpus.

A *start* is where the first weights come from: ``scratch`` (random), ``starter`` or ``minilm``
(sentence encoders inside installable packages), a Hugging Face BERT directory, or a hub name. Both
towers and the reader begin from the same BERT, unless the reader has a shape of its own: then it
begins from scratch.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from openrealm.errors import CheckpointError, ConfigError, in_one_line
from openrealm.models.bert import BertConfig
from openrealm.models.config_files import ACTIVATION_NAMES, read_bert_config
from openrealm.models.embedder import Embedder
from openrealm.models.initialization import initialize_copying, initialize_word_matching
from openrealm.models.reader import Reader
from openrealm.models.realm import LexicalWeight, Realm, device_of
from openrealm.models.span_reader import SpanReader
from openrealm.models.starter import (
    starter_calibration,
    starter_config,
    starter_reader_weights,
    tower_weights,
)
from openrealm.models.starts import SCRATCH, STARTER, packaged_start
from openrealm.models.tensor_files import save_tensors
from openrealm.models.weight_files import WeightFiles
from openrealm.settings import BertShape, ModelConfig

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Started:
    """A model with its resolved config and what was said of its start."""

    config: ModelConfig
    model: Realm
    has_masked_lm_head: bool


@dataclass(frozen=True)
class StartedSpanReader:
    """A reader of answers, and whether its scores were trained: if not, it cannot answer yet."""

    reader: SpanReader
    has_scores: bool


def start_model(
    start: str, config: ModelConfig, *, vocab_size: int, pad_id: int, mask_id: int, seed: int
) -> Started:
    """A model with its first weights.

    Args:
        start: ``scratch``, ``starter``, ``minilm``, a BERT directory or a hub name.
        config: Shape wanted; its BERT is replaced by the start's.
        vocab_size: Number of tokens of the corpus's tokenizer.
        pad_id: Id of ``[PAD]``.
        mask_id: Id of ``[MASK]``.
        seed: Seed of every random first weight.

    Raises:
        CheckpointError: The start cannot be loaded.
        ConfigError: Its vocabulary is of another size than the corpus's tokenizer.
        MissingDependencyError: The package of ``starter`` or ``minilm`` is not installed.
    """
    if start == SCRATCH:
        model = build_model(config, vocab_size=vocab_size, pad_id=pad_id, seed=seed)
        _initialize(model, config, mask_id=mask_id, seed=seed, towers=True, reader=True)
        return Started(config=config, model=model, has_masked_lm_head=False)
    bert = _PublishedBert.read(start)
    _require_vocab_size(start, bert.config.vocab_size, vocab_size)
    config = replace(config, bert=replace(bert.shape, dropout=config.bert.dropout))
    model = build_model(config, vocab_size=vocab_size, pad_id=pad_id, seed=seed)
    own = config.own_reader
    for tower in model.embedder.towers:
        bert.fill(tower.bert, optional="pooler.")
    if not own:
        bert.fill(model.reader.masked_lm.bert)
    if has_head := bert.has_head and not own:
        # Its output embeddings are the input embeddings, whatever the file says of them.
        bert.fill(model.reader.masked_lm.cls, optional="predictions.decoder.")
    _initialize(model, config, mask_id=mask_id, seed=seed, towers=False, reader=own)
    return Started(config=config, model=model, has_masked_lm_head=has_head)


def _require_vocab_size(start: str, own: int, wanted: int) -> None:
    if own != wanted:
        raise ConfigError(
            f"start '{start}' has {own} tokens, the corpus's tokenizer "
            f"{wanted}; ingest with that start's vocabulary (openrealm ingest --rechunk)"
        )


def build_model(config: ModelConfig, *, vocab_size: int, pad_id: int, seed: int) -> Realm:
    """A model with random weights that depend on the seed alone."""
    towers = _bert_config(config.bert, "model.bert", vocab_size=vocab_size, pad_id=pad_id)
    readers = _bert_config(
        config.reader_bert, config.reader_section, vocab_size=vocab_size, pad_id=pad_id
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        embedder = Embedder(towers, config.embedder)
        reader = Reader(readers, config.span_head, copy_head=config.copy_head)
    lexical = LexicalWeight(config.lexical_weight) if config.lexical_weight else None
    return Realm(embedder, reader, lexical)


def materialized(model: Realm) -> Realm:
    """A model that was built on the device ``meta``, with memory for numbers still to be read."""
    model.to_empty(device="cpu")
    model.reader.masked_lm.tie_weights()
    return model


def copy_encoder(source: Reader, target: Embedder) -> None:
    """Gives both towers the reader's BERT, as after plain masked-LM pre-training."""
    weights = source.masked_lm.bert.state_dict()
    for tower in target.towers:
        tower.bert.load_state_dict(weights, strict=False)


def tower_span_reader(embedder: Embedder, *, seed: int) -> SpanReader:
    """A reader of answers whose BERT begins as the chunk tower's; start and end scores are new."""
    bert = embedder.chunk_tower.bert
    reader = empty_span_reader(bert.config, seed=seed)
    wanted = reader.bert.state_dict().keys()
    reader.bert.load_state_dict({n: v for n, v in bert.state_dict().items() if n in wanted})
    return reader.to(device_of(bert))


def empty_span_reader(config: BertConfig, *, seed: int = 0) -> SpanReader:
    """A reader of answers of a shape, with random weights that depend on the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return SpanReader(config)


def published_span_reader(start: str, *, vocab_size: int, seed: int) -> StartedSpanReader:
    """A reader of answers with the weights of ``starter``, a BERT directory or a hub name.

    Args:
        start: Where it is; a BERT for question answering brings its scores.
        vocab_size: Number of tokens of the corpus's tokenizer.
        seed: Seed of the scores, where the start has none.

    Raises:
        CheckpointError: It cannot be loaded.
        ConfigError: Its vocabulary is of another size.
        MissingDependencyError: ``starter`` is not installed.
    """
    if start == STARTER:
        weights = {n.removeprefix("bert."): t for n, t in starter_reader_weights().items()}
        bert = _PublishedBert(start, starter_config(), weights)
    else:
        bert = _PublishedBert.read(start)
    _require_vocab_size(start, bert.config.vocab_size, vocab_size)
    config = replace(bert.config, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    reader = empty_span_reader(config, seed=seed)
    bert.fill(reader.bert)
    if start == STARTER and (fitted := starter_calibration()):
        reader.calibration = torch.tensor([fitted["slope"], fitted["intercept"]])
    has_scores = "qa_outputs.weight" in bert.tensors
    if has_scores:
        bert.fill(reader.qa_outputs, prefix="qa_outputs.")
    return StartedSpanReader(reader, has_scores)


def save_weights(module: nn.Module, path: Path) -> None:
    """Writes a module's weights as safetensors; tied weights are written once."""
    seen: dict[int, str] = {}
    weights: dict[str, Tensor] = {}
    for name, tensor in module.state_dict().items():
        if tensor.data_ptr() not in seen or not tensor.numel():
            seen[tensor.data_ptr()] = name
            weights[name] = tensor
    temporary = path.with_suffix(".tmp")
    try:
        save_tensors(weights, temporary)
        os.replace(temporary, path)
    finally:  # a full disk has no room for half a file
        temporary.unlink(missing_ok=True)


def load_weights(module: nn.Module, path: Path) -> None:
    """Reads what `save_weights` wrote.

    Raises:
        CheckpointError: The file is missing, damaged, or of another model.
    """
    try:
        weights = load_file(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} cannot be read ({error})") from error
    try:
        result = module.load_state_dict(weights, strict=False)
    except RuntimeError as error:
        raise CheckpointError(f"{path} is of a model of another shape: {error}") from error
    own = module.state_dict()
    given = {own[name].data_ptr(): name for name in weights if name in own}
    missing = [n for n in result.missing_keys if own[n].data_ptr() not in given]
    # Written twice, the model has one tensor where the file has two (a tower that is shared now).
    twice = [n for n in weights if n in own and given[own[n].data_ptr()] != n]
    if missing or result.unexpected_keys or twice:
        raise CheckpointError(
            f"{path} does not fit the model: missing {missing[:3]}, "
            f"unknown {[*result.unexpected_keys, *twice][:3]}"
        )


def fingerprint(module: nn.Module, *, but: Sequence[nn.Module] = ()) -> str:
    """SHA-256 of a module's weights, names included, those of some of its parts left out."""
    digest = hashlib.sha256()
    left_out = {tensor.data_ptr() for part in but for tensor in part.state_dict().values()}
    for name, tensor in sorted(module.state_dict().items()):
        if tensor.data_ptr() in left_out:
            continue
        digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        flat = tensor.detach().cpu().contiguous().flatten()
        digest.update(flat.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _bert_config(shape: BertShape, section: str, *, vocab_size: int, pad_id: int) -> BertConfig:
    if shape.hidden % shape.heads:
        raise ConfigError(
            f"{section}.heads = {shape.heads} does not divide {section}.hidden = {shape.hidden}"
        )
    return BertConfig(
        vocab_size=vocab_size,
        hidden_size=shape.hidden,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        intermediate_size=shape.intermediate,
        max_position_embeddings=shape.max_positions,
        hidden_act=shape.activation,
        hidden_dropout_prob=shape.dropout,
        attention_probs_dropout_prob=shape.dropout,
        layer_norm_eps=shape.layer_norm_eps,
        initializer_range=shape.initializer_range,
        pad_token_id=pad_id,
    )


@dataclass(frozen=True)
class _PublishedBert:
    """A BERT of somebody's: its shape and its tensors, whose names begin with ``embeddings``,
    ``encoder``, ``pooler`` or ``predictions`` (the masked-LM head, which it may lack).
    """

    start: str
    config: BertConfig
    tensors: Mapping[str, Tensor]

    @classmethod
    def read(cls, start: str) -> _PublishedBert:
        """What is in a package, a folder, or on the hub.

        Raises:
            CheckpointError: There is no BERT in it.
            ConfigError: It computes something that is not computed here.
            MissingDependencyError: The package is not installed.
        """
        directory = packaged_start(start) or _folder(start)
        try:
            config = read_bert_config(directory / "config.json", start)
            tensors = tower_weights(directory) if start == STARTER else _tensors(directory)
        except (OSError, ValueError, CheckpointError) as error:
            raise _no_bert(start, error) from error
        if not any(name.startswith("encoder.layer.") for name in tensors):
            raise CheckpointError(f"start '{start}' holds no BERT encoder weights")
        found = cls(start, config, tensors)
        if not found.has_head:
            logger.info("start %s has no masked-LM head; it is learned from scratch", start)
        return found

    @property
    def has_head(self) -> bool:
        """Whether it has learned to predict masked words."""
        return "predictions.transform.dense.weight" in self.tensors

    @property
    def shape(self) -> BertShape:
        """The same size, in our words."""
        config = self.config
        return BertShape(
            layers=config.num_hidden_layers,
            hidden=config.hidden_size,
            heads=config.num_attention_heads,
            intermediate=config.intermediate_size,
            max_positions=config.max_position_embeddings,
            activation=ACTIVATION_NAMES[config.hidden_act],
            layer_norm_eps=config.layer_norm_eps,
            initializer_range=config.initializer_range,
        )

    def fill(self, part: nn.Module, *, optional: str = "-", prefix: str = "") -> None:
        """Puts the tensors into a BERT, or a head, of that shape.

        Args:
            part: What to fill.
            optional: How names begin that may be missing; these keep their numbers.
            prefix: What stands before the part's own names.

        Raises:
            CheckpointError: Others are missing, or of another shape than the config says.
        """
        own = part.state_dict()
        given = {n.removeprefix(prefix): t for n, t in self.tensors.items() if n.startswith(prefix)}
        missing = own.keys() - given.keys()
        if lacking := sorted(name for name in missing if not name.startswith(optional)):
            raise CheckpointError(f"start '{self.start}' lacks weights of a BERT: {lacking[:3]}")
        try:
            part.load_state_dict({n: given[n] for n in own.keys() - missing}, strict=False)
        except RuntimeError as error:
            raise CheckpointError(
                f"start '{self.start}' has weights of another shape than its config.json says "
                f"({in_one_line(error)})"
            ) from error


def _tensors(directory: Path) -> dict[str, Tensor]:
    """The tensors of a folder, without the prefixes that tell a BERT from what is around it."""
    files = WeightFiles(directory)
    return {
        name.removeprefix("bert.").removeprefix("cls."): files.tensor(name) for name in files.names
    }


def _folder(start: str) -> Path:
    """The folder of a BERT: here, or fetched from the hub into its cache."""
    if Path(start).is_dir():
        return Path(start)
    # Not at the top: it takes a while, and only a hub name needs it.
    from huggingface_hub import errors, snapshot_download

    # The root of what its HTTP library raises, whichever library that is.
    transport: type[Exception] = errors.HTTPError  # type: ignore[attr-defined]
    try:
        for weights in ("model*.safetensors*", "pytorch_model*.bin*"):
            folder = Path(snapshot_download(start, allow_patterns=["config.json", weights]))
            if any(folder.glob(weights)):
                break
    except (transport, OSError, ValueError) as error:
        raise _no_bert(start, error) from error
    return folder


def _no_bert(start: str, error: Exception) -> CheckpointError:
    return CheckpointError(
        f"start '{start}' cannot be loaded as a BERT ({in_one_line(error)[:200]}); give scratch, "
        "starter, minilm, a directory with config.json and model.safetensors, or a hub name"
    )


def _initialize(
    model: Realm, config: ModelConfig, *, mask_id: int, seed: int, towers: bool, reader: bool
) -> None:
    """Overwrites random weights where the shape asks for such that copy and compare words."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if towers and config.bert.initialization == "copying":
            for tower in model.embedder.towers:
                initialize_word_matching(tower.bert)
        if not model.embedder.is_shared:
            # Two towers that begin unlike each other would find nothing in common.
            query, chunk = model.embedder.query_tower, model.embedder.chunk_tower
            query.load_state_dict(chunk.state_dict())
        if reader and config.reader_bert.initialization == "copying":
            initialize_copying(
                model.reader.masked_lm, mask_id=mask_id, section=config.reader_section
            )
