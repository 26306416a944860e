"""Hugging Face's REALM directories, and plain BERTs, in and out of a `Realm`; knows no workspace.

A directory is a config.json, weights and a vocabulary; which kind of model it holds is said by the
config or else by the names of its tensors. Every field and every tensor has its place in a table
(`hugging_face_names`); what is in none is an error that lists it. The masked-LM heads
that those files carry in embedders and readers are dead there, untied and untrained: they are
dropped and counted on the way in, and not invented on the way out.
"""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

from openrealm.errors import CheckpointError, ConfigError, InputError
from openrealm.files import sync_directory, write_atomic
from openrealm.index.snapshot import Snapshot
from openrealm.interchange.hugging_face_names import (
    BERT,
    BLOCK_EMB,
    EMBEDDER,
    EMBEDDER_FIELDS,
    ENCODER,
    OPENQA,
    READER,
    SCORER,
    SPAN_FIELDS,
    Names,
    from_settings,
    names_of,
    to_settings,
)
from openrealm.models.realm import Realm
from openrealm.models.weight_files import WeightFiles, write_tensors
from openrealm.settings import ModelConfig, QaConfig, RetrievalConfig
from openrealm.settings.config import merge, to_dict
from openrealm.tokenizer import WordPiece

ARCHITECTURES = {
    EMBEDDER: "RealmEmbedder",
    SCORER: "RealmScorer",
    ENCODER: "RealmKnowledgeAugEncoder",
    READER: "RealmReader",
    OPENQA: "RealmForOpenQA",
}
_KINDS = {name: kind for kind, name in ARCHITECTURES.items()}
_NEEDED = {
    EMBEDDER: tuple(EMBEDDER_FIELDS),
    SCORER: tuple(EMBEDDER_FIELDS),
    ENCODER: (),
    READER: tuple(SPAN_FIELDS),
    OPENQA: (*EMBEDDER_FIELDS, *SPAN_FIELDS),
    BERT: (),
}


class Shape(Protocol):
    """What `write_hf_realm` reads of a run's settings."""

    @property
    def model(self) -> ModelConfig:
        """Shape of the model."""

    @property
    def retrieval(self) -> RetrievalConfig:
        """How many candidates."""

    @property
    def qa(self) -> QaConfig:
        """How many chunks are read."""


@dataclass(frozen=True)
class HfModel:
    """A model directory whose config and tensor names are checked; its tensors are read later.

    Attributes:
        name: What the user called it.
        directory: Where it is.
        kind: One of `hugging_face_names`.
        values: Our settings that its config.json fixes, as nested dictionaries.
        vocab_size: Number of tokens.
        tokenizer: Its vocabulary, where one lies there.
        files: Its tensors.
        names: What they are.
    """

    name: str
    directory: Path
    kind: str
    values: dict[str, Any]
    vocab_size: int
    tokenizer: WordPiece | None
    files: WeightFiles
    names: Names

    def brings(self, part: str) -> bool:
        """Whether it has tensors for a part of `Realm`, such as ``reader.masked_lm.cls.``."""
        return any(ours.startswith(part) for name in self._live for ours in self.names.live[name])

    @property
    def num_tensors(self) -> int:
        """How many tensors are imported, ``block_emb`` left out."""
        return len(self._live)

    @property
    def num_parameters(self) -> int:
        """How many numbers they have."""
        return self._count(self._live)

    @property
    def num_dropped(self) -> int:
        """How many numbers of the file nothing uses."""
        return self._count(name for name in self.names.dead if name in self.files.names)

    @property
    def num_blocks(self) -> int:
        """Rows of ``block_emb``; 0 where there is none."""
        has = self.kind == OPENQA and BLOCK_EMB in self.files.names
        return self.files.shape(BLOCK_EMB)[0] if has else 0

    @property
    def _live(self) -> list[str]:
        return [name for name in self.names.live if name in self.files.names]

    def _count(self, names: Any) -> int:
        return sum(math.prod(self.files.shape(name)) for name in names)

    @torch.no_grad()
    def load_into(self, model: Realm, *, part: str = "") -> None:
        """Puts the tensors into a model, one at a time; ``block_emb`` is left.

        Args:
            model: Of the shape that `values` says.
            part: Only what is in this part of it, such as ``embedder.``.

        Raises:
            CheckpointError: One is of another shape, or two are unlike that should be one.
        """
        self._check_copies()
        own = model.state_dict()
        copies = {first: second for second, first in self.names.same.items()}
        for theirs, targets in self.names.live.items():
            name = theirs if theirs in self.files.names else copies.get(theirs)
            if name is None or name not in self.files.names:
                continue
            value = self.files.tensor(name)
            for ours in targets:
                if not ours.startswith(part):
                    continue
                if own[ours].shape != value.shape:
                    raise CheckpointError(
                        f"{theirs} of {self.name} is of shape {tuple(value.shape)}, where its "
                        f"config and vocabulary make it {tuple(own[ours].shape)}"
                    )
                own[ours].copy_(value)

    def _check_copies(self) -> None:
        """A second name of one tensor must have the same numbers, or one would be lost."""
        for second, first in self.names.same.items():
            if first not in self.names.live or not {first, second} <= self.files.names:
                continue
            if not torch.equal(self.files.tensor(first), self.files.tensor(second)):
                raise CheckpointError(
                    f"{second} of {self.name} is not tied to {first}: such a model has no "
                    "equal here"
                )


def open_model(directory: Path, *, name: str) -> HfModel:
    """Checks a directory: its config field by field, its tensors name by name.

    Raises:
        CheckpointError: No config, no weights, or tensors that are unknown or missing.
        ConfigError: Fields that are unknown, missing or of another value than can be had here.
    """
    config = _read_config(directory, name)
    files = WeightFiles(directory)
    kind = _kind(config, files.names, name)
    values = to_settings(config, needed=_NEEDED[kind], name=name)
    if kind == SCORER:
        shared = _is_shared(files)
        values["model"]["embedder"]["shared"] = shared
    # The values are checked here, before a number is believed.
    layers = merge(ModelConfig(), values["model"], path=f"{name}: model.").bert.layers
    names = names_of(
        kind,
        layers=min(layers, len(files.names)),
        prefix="bert." if any(n.startswith("bert.") for n in files.names) else "",
        towers=1 if kind != SCORER or shared else 2,
    )
    _check_names(names, files.names, kind=kind, name=name)
    if BLOCK_EMB in files.names and len(files.shape(BLOCK_EMB)) != 2:
        raise CheckpointError(f"{BLOCK_EMB} of {name} is no table of vectors")
    return HfModel(
        name=name,
        directory=directory,
        kind=kind,
        values=values,
        vocab_size=config["vocab_size"],
        tokenizer=_tokenizer(directory),
        files=files,
        names=names,
    )


def is_model_directory(path: Path) -> bool:
    """Whether a folder has a config.json, as a model's has."""
    return (path / "config.json").is_file()


def _read_config(directory: Path, name: str) -> dict[str, Any]:
    try:
        config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"config.json of {name} cannot be read ({error})") from error
    if not isinstance(config, dict):
        raise CheckpointError(f"config.json of {name} is no table of fields")
    return config


def _kind(config: Mapping[str, Any], names: frozenset[str], name: str) -> str:
    listed = config.get("architectures")
    for architecture in listed if isinstance(listed, list) else ():
        if str(architecture) in _KINDS:
            return _KINDS[str(architecture)]
    starts = {n.partition(".")[0] for n in names} | {n for n in names if n == BLOCK_EMB}
    if "reader" in starts or BLOCK_EMB in starts:
        return OPENQA
    if starts & {"query_embedder"} or any(n.startswith("embedder.realm.") for n in names):
        return SCORER
    if "qa_outputs" in starts:
        return READER
    if "realm" in starts:
        return EMBEDDER if "cls.dense.weight" in names else ENCODER
    if starts & {"bert", "embeddings"}:
        return BERT
    raise CheckpointError(
        f"{name} holds no BERT and no REALM model; its tensors begin with "
        f"{', '.join(sorted(starts)[:5])}"
    )


def _is_shared(files: WeightFiles) -> bool:
    """Whether queries have no embedder of their own, or one with the same numbers."""
    pairs = [(n, n.removeprefix("query_")) for n in files.names if n.startswith("query_embedder.")]
    return all(
        one in files.names and torch.equal(files.tensor(query), files.tensor(one))
        for query, one in pairs
        if "cls.predictions" not in query
    )


def _check_names(names: Names, present: frozenset[str], *, kind: str, name: str) -> None:
    known = names.known | ({BLOCK_EMB} if kind == OPENQA else set())
    copies = {first: second for second, first in names.same.items()}
    unknown = sorted(present - known)
    missing = sorted(
        n for n in names.live if n not in present | names.optional and copies.get(n) not in present
    )
    if unknown or missing:
        both = (("unknown", unknown), ("missing", missing))
        faults = "; ".join(f"{what}: {', '.join(n)}" for what, n in both if n)
        raise CheckpointError(f"{name}, read as a model of kind {kind}, has tensors {faults}")


def _tokenizer(directory: Path) -> WordPiece | None:
    has = any((directory / file).is_file() for file in ("tokenizer.json", "vocab.txt"))
    return WordPiece.load(directory) if has else None


# The other direction ------------------------------------------------------------------------------


def write_hf_realm(
    model: Realm,
    settings: Shape,
    tokenizer: WordPiece,
    directory: Path,
    *,
    kind: str = OPENQA,
    block_emb: Snapshot | None = None,
) -> Path:
    """Writes a model under Hugging Face's names: config.json, vocab.txt, model.safetensors.

    Only what is trained is written. The dead masked-LM head and pooler of those classes are left
    out, and begin at random where that library loads the folder; it says so.

    Args:
        model: The model.
        settings: Of its run.
        tokenizer: Of its corpus.
        directory: The new folder.
        kind: ``embedder`` (what chunks are embedded with), ``scorer`` (both towers), ``encoder``
            (the reader with its masked-LM head), ``reader`` (the reader with its span head), or
            ``openqa`` (the query tower, the reader and ``block_emb``).
        block_emb: For ``openqa``: vectors of all chunks, copied shard by shard.

    Returns:
        The folder.

    Raises:
        ConfigError: The model has parts that those classes do not have.
        InputError: There is something at that path already, or no such kind.
    """
    if kind not in ARCHITECTURES:
        raise InputError(f"'{kind}' is no kind of model; there are: {', '.join(ARCHITECTURES)}")
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise InputError(f"{directory} exists already and is not empty; name another folder")
    shape = settings.model
    _require_expressible(shape, kind)
    bert = shape.reader_bert if kind in (READER, ENCODER) else shape.bert
    towers = 1 if model.embedder.is_shared else 2
    names = names_of(kind, layers=bert.layers, towers=towers)
    own = model.state_dict()
    tensors = {theirs: own[ours[0]] for theirs, ours in names.live.items()}
    table = None
    if kind == OPENQA and block_emb is not None:
        plan = block_emb.manifest
        table = (BLOCK_EMB, (plan.chunks, plan.dim), block_emb.shards())
    config = from_settings(
        bert,
        {name: to_dict(getattr(settings, name)) for name in ("model", "retrieval", "qa")},
        vocab_size=tokenizer.vocab_size,
        num_blocks=table[1][0] if table is not None else 0,
    )
    config = {"architectures": [ARCHITECTURES[kind]], **config, "pad_token_id": tokenizer.pad_id}
    staging = directory.with_name(f".{directory.name}.{os.getpid()}.tmp")
    shutil.rmtree(staging, ignore_errors=True)
    try:
        tokenizer.save(staging)
        write_tensors(staging / "model.safetensors", tensors, table=table)
        write_atomic(staging / "config.json", (json.dumps(config, indent=1) + "\n").encode())
        os.replace(staging, directory)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    sync_directory(directory.parent)
    return directory


def _require_expressible(shape: ModelConfig, kind: str) -> None:
    """Refuses a model that those classes would compute differently."""
    embedder = shape.embedder
    of_towers = {
        "model.embedder.pooling": (embedder.pooling, "cls"),
        "model.embedder.projection": (embedder.projection, "linear"),
        "model.embedder.known_tokens": (embedder.known_tokens, False),
        "model.embedder.score_scale": (embedder.score_scale, 1.0),
    }
    # The released towers' LayerNorm takes BERT's epsilon there.
    of_towers["model.embedder.layer_norm_eps"] = (
        embedder.layer_norm_eps,
        shape.bert.layer_norm_eps,
    )
    wanted = of_towers if kind in (EMBEDDER, SCORER, OPENQA) else {}
    if kind in (SCORER, OPENQA):
        wanted |= {"model.lexical_weight": (shape.lexical_weight, 0.0)}
    if kind in (ENCODER, READER, OPENQA):
        wanted |= {"model.copy_head": (shape.copy_head and kind == ENCODER, False)}
    if kind == OPENQA:
        wanted |= {"model.own_reader": (shape.own_reader, False)}
    wrong = [f"{key} = {have}" for key, (have, want) in wanted.items() if have != want]
    if wrong:
        raise ConfigError(
            f"Hugging Face's {ARCHITECTURES[kind]} has nothing like {', '.join(wrong)}; "
            "export this run in another layout"
        )
