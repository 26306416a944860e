"""What the sources of an import are, and what they fix: kinds, settings, vocabulary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from openrealm.errors import ConfigError, InputError
from openrealm.interchange.block_records import count_block_records
from openrealm.interchange.blocks import BlockFile
from openrealm.interchange.downloads import located
from openrealm.interchange.hugging_face import HfModel, is_model_directory, open_model
from openrealm.interchange.imported_model import MLM, QA, REALM, Assembly
from openrealm.interchange.tensor_names import BERT, OPENQA, READER
from openrealm.settings import ChunkingConfig, Settings, resolve
from openrealm.settings.config import merge
from openrealm.tokenizer import WordPiece, agree

# What the names of the weights before fine-tuning have in common.
_PRETRAINED = "cc-news-pretrained"


def opened(sources: Sequence[str | Path]) -> tuple[list[HfModel], BlockFile | None]:
    """The models and the file of blocks among the sources."""
    if not sources:
        raise InputError("there is nothing to import; name a directory, a hub name or a block file")
    models: list[HfModel] = []
    files: dict[bool, list[BlockFile]] = {True: [], False: []}
    for source in sources:
        path = located(str(source))
        blocks = BlockFile.of(path)
        if path.is_dir() and is_model_directory(path):
            models.append(open_model(path, name=str(source)))
        elif blocks is None:
            raise InputError(
                f"'{source}' is no directory with a config.json and no block file "
                "(block_records.npy, blocks.tfr)"
            )
        if blocks is not None:
            files[path.is_file()].append(blocks)
    # One that was named goes before those that lie beside weights.
    found = files[True] or files[False]
    if len(found) > 1:
        raise InputError(f"two files of blocks were given, {found[0].path} and {found[1].path}")
    return models, found[0] if found else None


def stage_of(model: HfModel, stage: str | None) -> str:
    """The stage whose checkpoint a model's weights are."""
    if model.kind == BERT:
        return MLM
    if model.kind not in (READER, OPENQA):
        return REALM
    return stage or (REALM if _PRETRAINED in Path(model.name).name else QA)


def imported_settings(
    models: Sequence[HfModel], assembly: Assembly, assignments: Sequence[str], *, names: list[str]
) -> Settings:
    """Settings that the configs of the sources fix, which must agree on the model's shape."""
    settings = replace(Settings(), start=", ".join(names), stages=assembly.later_stages)
    # An imported reader never learned that no chunk holds an answer.
    settings = replace(settings, qa=replace(settings.qa, no_answer=False))
    first: dict[str, tuple[Any, str]] = {}
    for model in models:
        for key, value in _leaves(model.values["model"]).items():
            have, by = first.setdefault(key, (value, model.name))
            if have != value and key not in ("bert.dropout", "bert.initializer_range"):
                raise ConfigError(
                    f"{by} and {model.name} do not fit together: model.{key} is {have} there, "
                    f"{value} here"
                )
        settings = merge(settings, model.values)
    longest = settings.model.bert.max_positions
    query_tokens = min(settings.model.query_tokens, max(8, longest // 4))
    chunking = ChunkingConfig(
        whole=True, chunk_tokens=max(16, min(288, longest + 1 - query_tokens))
    )
    settings = replace(
        settings,
        model=replace(settings.model, query_tokens=query_tokens),
        corpus=replace(settings.corpus, chunking=chunking),
    )
    return resolve(base=settings, assignments=assignments)


def _leaves(values: dict[str, Any], path: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        nested = isinstance(value, dict)
        found |= _leaves(value, f"{path}{key}.") if nested else {f"{path}{key}": value}
    return found


def tokenizer_of(models: Sequence[HfModel]) -> WordPiece | None:
    """The vocabulary of the sources, which must be one."""
    found: tuple[WordPiece, HfModel] | None = None
    for model in models:
        if model.tokenizer is None:
            continue
        if model.tokenizer.vocab_size != model.vocab_size:
            raise ConfigError(
                f"the vocabulary of {model.name} has {model.tokenizer.vocab_size} tokens, its "
                f"config.json says {model.vocab_size}"
            )
        if found is not None and not agree(found[0], model.tokenizer):
            raise ConfigError(f"{found[1].name} and {model.name} have different vocabularies")
        found = found or (model.tokenizer, model)
    return found[0] if found is not None else None


def require_rows(models: Sequence[HfModel], blocks: BlockFile | None) -> None:
    """Refuses records that are not as many as the vectors, before hours of work."""
    if blocks is None or blocks.path.suffix != ".npy":
        return
    count = count_block_records(blocks.path)
    for model in models:
        if model.num_blocks and model.num_blocks != count:
            raise InputError(
                f"{blocks.path} has {count} records, {model.name} {model.num_blocks} vectors of "
                "blocks; they belong together row by row"
            )
