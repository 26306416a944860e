"""An import: what its sources are, what they fix of the settings, and the checkpoints made of them.

A source is a path here, or a name on the Hugging Face hub, whose files are fetched.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from openrealm.errors import ConfigError, InputError
from openrealm.interchange.block_records import count_block_records
from openrealm.interchange.blocks import RECORDS, BlockFile
from openrealm.interchange.hub import failures_told
from openrealm.interchange.hugging_face import HfModel, is_model_directory, open_model
from openrealm.interchange.hugging_face_names import BERT, EMBEDDER, ENCODER, OPENQA, READER, SCORER
from openrealm.models.pretrained import build_model, copy_encoder
from openrealm.models.realm import Realm
from openrealm.models.weight_files import WEIGHTS
from openrealm.progress import Progress
from openrealm.runs.checkpoints import Position
from openrealm.runs.saved_state import save_checkpoint
from openrealm.settings import ChunkingConfig, Settings, checked
from openrealm.settings.config import merge
from openrealm.tokenizer import WordPiece, agree

MLM, REALM, QA = "mlm", "realm", "qa"
TOWERS, READER_BERT = "embedder.", "reader.masked_lm.bert."
MASKED_LM, SPAN_HEAD = "reader.masked_lm.cls.", "reader.span_head."
# Where two bring the same part the later one of these is right for it.
_ORDER = (BERT, OPENQA, READER, EMBEDDER, SCORER, ENCODER)


@dataclass(frozen=True)
class Assembly:
    """The imported models, grouped by the checkpoint that they go into.

    Attributes:
        before: Those from before fine-tuning, in the order in which they are loaded.
        after: Those that were fine-tuned.
    """

    before: tuple[HfModel, ...]
    after: tuple[HfModel, ...]

    @classmethod
    def of(cls, models: Sequence[tuple[HfModel, str]]) -> Assembly:
        """Models with their stages.

        Raises:
            InputError: Two are of the same kind and stage.
        """
        taken: dict[tuple[str, str], HfModel] = {}
        for model, stage in models:
            other = taken.setdefault((model.kind, stage), model)
            if other is not model:
                raise InputError(
                    f"{other.name} and {model.name} are both of kind {model.kind}; give one"
                )
        ordered = sorted(models, key=lambda pair: _ORDER.index(pair[0].kind))
        return cls(
            before=tuple(model for model, stage in ordered if stage != QA),
            after=tuple(model for model, stage in ordered if stage == QA),
        )

    @property
    def models(self) -> tuple[HfModel, ...]:
        """All of them."""
        return self.before + self.after

    def stage_of(self, model: HfModel) -> str:
        """The checkpoint that a model goes into first."""
        if model in self.after or self.first_stage is None:
            return QA
        return self.first_stage

    @property
    def first_stage(self) -> str | None:
        """The stage before fine-tuning that gets a checkpoint, if one does.

        An embedder alone, beside a fine-tuned reader, is no model of that stage: it lacks what
        predicts masks.
        """
        if not self.before or (self.after and not bring(self.before, READER_BERT)):
            return None
        return MLM if all(model.kind == BERT for model in self.before) else REALM

    @property
    def stages(self) -> tuple[str, ...]:
        """The checkpoints, in order."""
        first = () if self.first_stage is None else (self.first_stage,)
        return first + ((QA,) if self.after else ())

    @property
    def later_stages(self) -> tuple[str, ...]:
        """The run's stages of pre-training: those that are done, and what can follow a BERT."""
        first = self.first_stage
        return {None: (), MLM: (MLM, "ict", REALM), REALM: (REALM,)}[first]


def bring(models: Sequence[HfModel], part: str) -> bool:
    """Whether one of the models has tensors for a part of `Realm`."""
    return any(model.brings(part) for model in models)


def assemble(
    assembly: Assembly,
    settings: Settings,
    tokenizer: WordPiece,
    checkpoints: Path,
    progress: Progress,
) -> tuple[Realm, list[str]]:
    """Builds the model, writes its checkpoints, and says what no source held.

    The model given back has the chunk tower of the checkpoints, all of which have the same.

    Raises:
        CheckpointError: A tensor is of another shape than the config and vocabulary say.
    """
    before, after = assembly.before, assembly.after
    model = build_model(
        settings.model,
        vocab_size=tokenizer.vocab_size,
        pad_id=tokenizer.pad_id,
        seed=settings.seed,
    )
    notes: list[str] = []
    for part in before:
        progress.say(f"reading {part.name}")
        part.load_into(model)
    if not bring(before, TOWERS):
        notes += _towers_of_others(model, before, after)
    if assembly.first_stage is not None:
        notes += _complete(model, before)
        _save(checkpoints, model, assembly.first_stage)
    if after:
        # As fine-tuning does: queries get a tower of their own, and the chunks' stays.
        model.embedder.unshare()
        for part in after:
            progress.say(f"reading {part.name}")
            part.load_into(model)
        if bring(before, TOWERS) and not bring(after, TOWERS):
            notes.append("no source holds a fine-tuned embedder: queries have the pre-trained one")
        if not bring(before, MASKED_LM):
            notes.append("no source holds a masked-LM head: this run cannot fill masks")
        _save(checkpoints, model, QA)
    return model, notes


def _towers_of_others(
    model: Realm, before: Sequence[HfModel], after: Sequence[HfModel]
) -> list[str]:
    """Fills the towers where no pre-trained embedder was given; says how."""
    other = next((part for part in after if part.brings(TOWERS)), None)
    if other is not None:
        # The query embedder; its tower is still the chunks' too.
        other.load_into(model, part=TOWERS)
        if not model.embedder.is_shared:
            query, chunk = model.embedder.query_tower, model.embedder.chunk_tower
            chunk.load_state_dict(query.state_dict())
        return [
            f"{other.name} holds the embedder of queries alone: chunks get a copy of it, though "
            "its vectors of blocks were made by the pre-trained one; give that as a further "
            "source before you embed other texts"
        ]
    for part in after if not before else ():
        part.load_into(model)
    copy_encoder(model.reader, model.embedder)
    return [
        "no source holds an embedder: the towers begin as the reader's BERT under a random "
        "projection, and find nothing before they are trained"
    ]


def _complete(model: Realm, before: Sequence[HfModel]) -> list[str]:
    """Fills the parts of a pre-trained checkpoint that no source holds; says which."""
    notes = []
    if not bring(before, READER_BERT):
        wanted = model.reader.masked_lm.bert.state_dict().keys()
        tower = model.embedder.chunk_tower.bert.state_dict()
        model.reader.masked_lm.bert.load_state_dict(
            {name: value for name, value in tower.items() if name in wanted}
        )
        notes.append("no source holds a reader: it begins as a copy of the embedder's BERT")
    if not bring(before, MASKED_LM):
        notes.append("no source holds a masked-LM head: it begins at random, fillings mean nothing")
    if not bring(before, SPAN_HEAD):
        notes.append("no source holds a span head: it begins at random, to be fine-tuned")
    projections = [f"{TOWERS}{tower}.dense." for tower in ("chunk_tower", "query_tower")]
    if bring(before, TOWERS) and not any(bring(before, part) for part in projections):
        notes.append("no source holds a projection: the towers begin with a random one")
    return notes


def _save(checkpoints: Path, model: Realm, stage: str) -> None:
    checkpoints.mkdir(parents=True, exist_ok=True)
    save_checkpoint(checkpoints, model, None, Position.without_steps(stage))


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
    chosen = files[True] or files[False]
    if len(chosen) > 1:
        raise InputError(f"two files of blocks were given, {chosen[0].path} and {chosen[1].path}")
    return models, chosen[0] if chosen else None


def stage_of(model: HfModel, stage: str | None) -> str:
    """The stage whose checkpoint a model's weights are."""
    if model.kind == BERT:
        return MLM
    if model.kind not in (READER, OPENQA):
        return REALM
    return stage or (REALM if _PRETRAINED in Path(model.name).name else QA)


def imported_settings(
    models: Sequence[HfModel], assembly: Assembly, changes: Mapping[str, Any], *, names: list[str]
) -> Settings:
    """The settings that follow from the sources' configs, which must agree on the model's shape."""
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
    return checked(settings.changed(**changes))


def _leaves(values: dict[str, Any], path: str = "") -> dict[str, Any]:
    leaves: dict[str, Any] = {}
    for key, value in values.items():
        nested = isinstance(value, dict)
        leaves |= _leaves(value, f"{path}{key}.") if nested else {f"{path}{key}": value}
    return leaves


def tokenizer_of(models: Sequence[HfModel]) -> WordPiece | None:
    """The vocabulary of the sources, which must be one."""
    first: tuple[WordPiece, HfModel] | None = None
    for model in models:
        if model.tokenizer is None:
            continue
        if model.tokenizer.vocab_size != model.vocab_size:
            raise ConfigError(
                f"the vocabulary of {model.name} has {model.tokenizer.vocab_size} tokens, its "
                f"config.json says {model.vocab_size}"
            )
        if first is not None and not agree(first[0], model.tokenizer):
            raise ConfigError(f"{first[1].name} and {model.name} have different vocabularies")
        first = first or (model.tokenizer, model)
    return first[0] if first is not None else None


def require_rows(models: Sequence[HfModel], blocks: BlockFile | None) -> None:
    """Checks, before hours of work, that there is a record for every vector."""
    if blocks is None or blocks.path.suffix != ".npy":
        return
    count = count_block_records(blocks.path)
    for model in models:
        if model.num_blocks and model.num_blocks != count:
            raise InputError(
                f"{blocks.path} has {count} records, {model.name} {model.num_blocks} vectors of "
                "blocks; they belong together row by row"
            )


_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")


def located(source: str) -> Path:
    """The file or folder of a source; what is named on the hub is fetched into its cache.

    Raises:
        InputError: There is nothing of that name.
        HubError: The hub cannot be reached, or has no such repository.
    """
    path = Path(source)
    if path.exists():
        return path
    if not _HUB_NAME.fullmatch(source):
        raise InputError(f"there is no file or folder '{source}', and it is no hub name")
    return _fetched(source)


def wanted_files(listed: Sequence[str]) -> list[str]:
    """The files of a repository to fetch: config, vocabulary, blocks, one form of weights."""
    wanted = {"config.json", "vocab.txt", "tokenizer.json", RECORDS}
    first = next((name for name in WEIGHTS if name in listed), None)
    if first is not None:
        wanted.add(first)
        # An index names its shards: model-00001-of-00002.safetensors and so on.
        if first.endswith(".index.json"):
            stem, suffix = first.removesuffix(".index.json").rsplit(".", 1)
            shard = re.compile(rf"{re.escape(stem)}-\d+-of-\d+\.{suffix}")
            wanted |= {name for name in listed if shard.fullmatch(name)}
    return sorted(wanted & set(listed))


def _fetched(name: str) -> Path:
    # Not at the top: it takes a while, and only a hub name needs it.
    import huggingface_hub

    with failures_told(f"there is no file or folder '{name}', and the hub did not give it"):
        listed = huggingface_hub.HfApi().list_repo_files(name)
        folder = huggingface_hub.snapshot_download(name, allow_patterns=wanted_files(listed))
    return Path(folder)
