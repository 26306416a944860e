"""Imported models to the checkpoints of one run: what each brings, what begins otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from openrealm.errors import InputError
from openrealm.interchange.hugging_face import HfModel
from openrealm.interchange.tensor_names import BERT, EMBEDDER, ENCODER, OPENQA, READER, SCORER
from openrealm.models.pretrained import build_model, copy_encoder
from openrealm.models.realm import Realm
from openrealm.progress import Progress
from openrealm.runs.checkpoints import Position, save_checkpoint
from openrealm.settings import Settings
from openrealm.tokenizer import WordPiece

MLM, REALM, QA = "mlm", "realm", "qa"
TOWERS, READER_BERT = "embedder.", "reader.masked_lm.bert."
MASKED_LM, SPAN_HEAD = "reader.masked_lm.cls.", "reader.span_head."
# Where two bring the same part the later one of these is right for it.
_ORDER = (BERT, OPENQA, READER, EMBEDDER, SCORER, ENCODER)


@dataclass(frozen=True)
class Assembly:
    """Models by the checkpoint that they go into.

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
    """Towers where no pre-trained embedder was given."""
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
    """What a pre-trained checkpoint needs and no source holds."""
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
