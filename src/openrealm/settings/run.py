"""Everything that a run is made from: out of a preset, a TOML file and assignments, and checked as
a whole; and the limits of a server. Knows no component's inner workings.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

from openrealm.errors import ConfigError
from openrealm.settings.config import (
    changed,
    from_dict,
    merge,
    option,
    override,
    parse_toml,
    section,
    to_dict,
    to_toml,
)
from openrealm.settings.model import CorpusConfig, ModelConfig
from openrealm.settings.presets import PRESETS
from openrealm.settings.removed import under_present_names
from openrealm.settings.training import (
    STAGES,
    IctConfig,
    JointConfig,
    LoopConfig,
    MlmConfig,
    OptimConfig,
    QaConfig,
    ReadingConfig,
    RefreshConfig,
    RetrievalConfig,
    SalientConfig,
    WarmupConfig,
)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything that a run is made from."""

    start: str = option(
        "starter",
        "First weights: starter, minilm, scratch, an earlier run (its folder or a checkpoint's) or "
        "an exported model, which bring their own `model`, a BERT directory, or a hub name.",
    )
    stages: tuple[str, ...] = option(STAGES, "Stages of pre-training, in order.")
    seed: int = option(0, "Seed of first weights, order of examples and dropout.", minimum=0)
    device: str = option("auto", "Where to compute.", choices=("auto", "cpu", "cuda"))
    precision: str = option(
        "auto",
        "Matrix products in bfloat16 where the hardware has it (auto), always, or never.",
        choices=("auto", "bfloat16", "float32"),
    )
    corpus: CorpusConfig = section(CorpusConfig, "The knowledge corpus.")
    salient: SalientConfig = section(SalientConfig, "What is masked.")
    model: ModelConfig = section(ModelConfig, "Shape of the model.")
    retrieval: RetrievalConfig = section(RetrievalConfig, "How candidates are chosen.")
    mlm: MlmConfig = section(MlmConfig, "Stage mlm: plain masked LM.")
    ict: IctConfig = section(IctConfig, "Stage ict: inverse cloze.")
    warmup: WarmupConfig = section(WarmupConfig, "Stage warmup: the reader learns to use chunks.")
    realm: JointConfig = section(JointConfig, "Stage realm: joint training.")
    reading: ReadingConfig = section(
        ReadingConfig, "Stage reading: spans that recur, for the reader of answers."
    )
    refresh: RefreshConfig = section(RefreshConfig, "Refreshing the index.")
    qa: QaConfig = section(QaConfig, "Fine-tuning on questions.")
    optim: OptimConfig = section(OptimConfig, "Optimiser, in all stages.")
    loop: LoopConfig = section(LoopConfig, "What happens beside the steps.")

    def changed(self, **changes: Any) -> Self:
        """The same but for some settings: ``settings.changed(seed=1, realm={"steps": 600})``.

        Raises:
            ConfigError: There is no such setting, or a value is out of range.
        """
        return changed(self, changes)


# What the sections must agree on ------------------------------------------------------------------


def checked(settings: Settings) -> Settings:
    """The settings, after checks that involve several sections.

    Raises:
        ConfigError: An unknown stage, settings that exclude each other or do nothing beside each
            other, or inputs longer than the model's positions.
    """
    _check_stages(settings)
    _check_reading(settings)
    _check_candidates(settings)
    _check_words(settings)
    _check_refresh(settings)
    _check_towers(settings)
    _check_fixed_chunks(settings)
    _check_lengths(settings)
    return settings


def _check_stages(settings: Settings) -> None:
    """Checks that there are such stages, each once, and that they train something."""
    for stage in settings.stages:
        if stage not in STAGES:
            raise ConfigError(f"stages holds '{stage}', which is not one of: {', '.join(STAGES)}")
    twice = sorted(stage for stage in set(settings.stages) if settings.stages.count(stage) > 1)
    if twice:
        raise ConfigError(f"stages lists {' and '.join(twice)} more than once; list each once")
    realm = settings.realm
    has_joint = "realm" in settings.stages and realm.steps
    if has_joint and not (realm.lr or realm.lr_retriever or realm.lr_lexical):
        raise ConfigError(
            "realm.lr, realm.lr_retriever and realm.lr_lexical are all 0, so that nothing is "
            "trained; raise one, or set realm.steps=0"
        )


def _check_reading(settings: Settings) -> None:
    """Checks that a stage that trains a reader of answers has one, and comes last."""
    if "reading" in settings.stages[:-1]:
        raise ConfigError(
            f"stages lists {settings.stages[-1]} after reading, whose reader of answers would not "
            "be its own any more; list reading last"
        )
    steps, qa = settings.reading.steps, settings.qa
    if "reading" in settings.stages and steps and not qa.has_span_reader:
        raise ConfigError(
            f"reading.steps = {steps} trains a reader with start and end scores, and qa.reader = "
            f"{qa.reader} has none; set qa.reader=tower, or reading.steps=0"
        )


def _check_candidates(settings: Settings) -> None:
    """Checks who proposes candidates, and who takes part without being read."""
    realm, k = settings.realm, settings.retrieval.k
    if realm.lexical >= k - 1:
        raise ConfigError(
            f"realm.lexical = {realm.lexical} leaves none of the {k - 1} chunks to the index; "
            "lower it or raise retrieval.k"
        )
    if realm.in_batch_negatives and realm.batch_size == 1:
        raise ConfigError(
            "realm.in_batch_negatives takes chunks of the batch's other queries, but "
            "realm.batch_size = 1; raise it, or set realm.in_batch_negatives=false"
        )


def _check_words(settings: Settings) -> None:
    """Checks that a weight of words in common is there where one is to be learned."""
    realm, weight = settings.realm, settings.model.lexical_weight
    if realm.lr_lexical and not weight:
        raise ConfigError(
            f"realm.lr_lexical = {realm.lr_lexical} trains model.lexical_weight, which is 0; set "
            "it to what the weight is to begin with, 0.3 say"
        )


def _check_refresh(settings: Settings) -> None:
    """Checks that the mode of refreshing has what it needs, and something to do."""
    refresh, towers = settings.refresh, settings.realm.towers
    if refresh.mode in ("background", "fleet") and towers != "both":
        reason = "a refresh is one matrix product" if towers == "projection" else "no chunk moves"
        raise ConfigError(
            f"refresh.mode = {refresh.mode} does nothing with realm.towers = {towers}, where "
            f"{reason}; set refresh.mode=inline, or realm.towers=both"
        )
    if refresh.mode == "fleet" and refresh.worker_device not in ("auto", "cpu", "cuda"):
        raise ConfigError(
            f"refresh.worker_device = {refresh.worker_device}, but with refresh.mode = fleet Ray "
            "chooses the GPU; set auto, cpu or cuda"
        )
    if refresh.write_back and (towers == "query" or not settings.realm.lr_retriever):
        still = "realm.towers = query" if towers == "query" else "realm.lr_retriever = 0"
        raise ConfigError(
            f"refresh.write_back = true does nothing with {still}, where no chunk moves; set "
            "refresh.write_back=false"
        )
    if (refresh.mode == "replay") != bool(refresh.replay):
        raise ConfigError(
            "refresh.mode = replay and refresh.replay = RUN go together: the one repeats what "
            "the other names"
        )


def _check_towers(settings: Settings) -> None:
    """Checks that what is to move in the joint stage is there, and alone."""
    towers, embedder = settings.realm.towers, settings.model.embedder
    if towers == "query" and embedder.shared:
        raise ConfigError(
            "realm.towers = query trains a query tower alone, but model.embedder.shared is true; "
            "set model.embedder.shared=false, or realm.towers=both"
        )
    if towers == "projection" and embedder.projection == "none":
        raise ConfigError(
            "realm.towers = projection trains what stands above BERT, but "
            "model.embedder.projection is none; set model.embedder.projection=adapter, or "
            "realm.towers=both"
        )
    if towers == "projection" and embedder.dropout:
        raise ConfigError(
            f"model.embedder.dropout = {embedder.dropout} does nothing with realm.towers = "
            "projection, where vectors are made without; set it to 0, or realm.towers=both"
        )


def _check_fixed_chunks(settings: Settings) -> None:
    """Checks that chunk vectors which nothing moves in the joint stage are not random."""
    towers, projection = settings.realm.towers, settings.model.embedder.projection
    random_projection = towers == "query" and projection == "linear"
    has_cloze = "ict" in settings.stages and settings.ict.steps
    if towers == "both" or has_cloze or not (settings.start == "scratch" or random_projection):
        return
    raise ConfigError(
        f"realm.towers = {towers} keeps what the start makes of chunks, and "
        f"start = {settings.start} with model.embedder.projection = {projection} makes random "
        "vectors; add the stage ict, or set realm.towers=both"
    )


def _check_lengths(settings: Settings) -> None:
    """Checks that the longest inputs have positions in the BERTs that read them."""
    model, chunk_tokens = settings.model, settings.corpus.chunking.chunk_tokens
    longest, positions = model.query_tokens + chunk_tokens - 1, model.bert.max_positions
    if longest > positions:
        raise ConfigError(
            f"a query of {model.query_tokens} and a chunk of {chunk_tokens} tokens make {longest} "
            f"tokens, more than model.bert.max_positions = {positions}; raise it, or lower "
            "model.query_tokens or corpus.chunking.chunk_tokens"
        )


# Out of a preset, a file and assignments ----------------------------------------------------------


def resolve(
    *,
    preset: str | None = None,
    config: Path | None = None,
    assignments: Sequence[str] = (),
    base: Settings | None = None,
) -> Settings:
    """Settings out of a preset, a TOML file and dotted assignments, the later over the earlier.

    Args:
        preset: Name of a preset; ``adapt`` where nothing else is given.
        config: A TOML file.
        assignments: Such as ``realm.steps=200``.
        base: Settings to begin from instead of a preset.

    Raises:
        ConfigError: An unknown preset, key, or value.
    """
    if base is None or preset is not None:
        base = preset_settings(preset or "adapt")
    if config is not None:
        base = merge(base, _tables(config), name=str(config))
    settings = checked(override(base, assignments))
    require_stages(settings, _stages_given(assignments))
    return settings


def require_stages(settings: Settings, given: Iterable[tuple[str, str]]) -> None:
    """Checks that no stage is given steps that it will not be asked for.

    Args:
        settings: All of them.
        given: Stages whose steps somebody has set, and how, as a message shows it.

    Raises:
        ConfigError: One is.
    """
    for stage, assignment in given:
        if stage not in settings.stages and getattr(settings, stage).steps:
            listed = ", ".join(f'"{name}"' for name in STAGES if name in {*settings.stages, stage})
            raise ConfigError(
                f"{assignment} does nothing, since stages = {', '.join(settings.stages)}; "
                f"set stages=[{listed}] too"
            )


def _stages_given(assignments: Iterable[str]) -> Iterator[tuple[str, str]]:
    for assignment in assignments:
        stage, _, key = assignment.partition("=")[0].strip().partition(".")
        if stage in STAGES and key == "steps":
            yield stage, assignment


def preset_settings(name: str) -> Settings:
    """A preset by name.

    Raises:
        ConfigError: There is none of that name.
    """
    if name not in PRESETS:
        raise ConfigError(f"there is no preset '{name}'; there are: {', '.join(PRESETS)}")
    return from_dict(Settings, PRESETS[name])


def read_settings(path: Path) -> Settings:
    """Settings as a run has stored them.

    Raises:
        ConfigError: The file is missing or damaged.
    """
    return checked(merge(Settings(), under_present_names(_tables(path)), name=str(path)))


def settings_text(settings: Settings) -> str:
    """The settings as commented TOML."""
    return to_toml(settings)


def _tables(path: Path) -> dict[str, Any]:
    """The tables of a TOML file."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the configuration {path}: {error}") from error
    return parse_toml(text, name=str(path))


# What a run may change when it is resumed ---------------------------------------------------------


def learning_rates(settings: Settings) -> dict[str, float]:
    """Every peak learning rate by its name, such as ``realm.lr``."""
    return {
        f"{stage}.{field.name}": getattr(getattr(settings, stage), field.name)
        for stage in (*STAGES, "qa")
        for field in fields(getattr(settings, stage))
        if field.name.startswith("lr")
    }


def lower_rates(settings: Settings, assignments: Sequence[str]) -> Settings:
    """The settings with lower learning rates: all that a run may change when it is resumed.

    Raises:
        ConfigError: Something else is set, a rate is raised, or one is set to 0.
    """
    return require_lower_rates(settings, override(settings, assignments))


def require_lower_rates(before: Settings, after: Settings) -> Settings:
    """The settings that a run goes on with, checked to change nothing but to lower rates.

    Raises:
        ConfigError: Something else has changed, a rate is raised, or one is set to 0.
    """
    rates, were = learning_rates(after), learning_rates(before)
    has, had = _leaves(to_dict(after)), _leaves(to_dict(before))
    for key, value in has.items():
        if key not in rates and value != had[key]:
            raise ConfigError(
                "--resume goes on with the settings that the run began with, and may only lower "
                f"learning rates: leave out {key}={json.dumps(value)}, or start a new run"
            )
    for key, rate in rates.items():
        if rate > were[key]:
            raise ConfigError(
                f"{key} = {rate} is above the run's {were[key]}; --resume may only lower it"
            )
        if rate == 0 < were[key]:
            raise ConfigError(
                f"{key} = 0 would leave out what the run has trained until now; give a small rate, "
                "or start a new run"
            )
    return after


def _leaves(values: dict[str, Any], path: str = "") -> dict[str, Any]:
    """Nested values by their dotted names."""
    leaves: dict[str, Any] = {}
    for name, value in values.items():
        nested = isinstance(value, dict)
        leaves |= _leaves(value, f"{path}{name}.") if nested else {f"{path}{name}": value}
    return leaves


# The limits of a server ---------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class ServeConfig:
    """How many, how large, how long."""

    max_batch: int = option(
        16, "Requests computed together at most; 1 switches batching off.", minimum=1, maximum=512
    )
    max_inputs: int = option(
        128, "Queries joined with a chunk that are read together at most.", minimum=1
    )
    max_queue: int = option(
        128, "Requests that may wait; further ones get 503 with Retry-After.", minimum=1
    )
    timeout_s: float = option(
        30.0,
        "Seconds that a request may take from its first byte to its answer.",
        minimum=0.1,
        maximum=86_400,
    )
    max_body_bytes: int = option(65_536, "Bytes of a request's body at most.", minimum=1024)
    max_loaded: int = option(
        4, "Sets of weights kept in memory; the one used longest ago gives way.", minimum=1
    )
    watch_s: float = option(
        5.0,
        "Seconds between two looks for a newer run, checkpoint or corpus.",
        minimum=0.05,
        maximum=86_400,
    )
    stop_s: float = option(
        30.0,
        "Seconds that a server asked to stop gives to the requests it has.",
        minimum=0.1,
        maximum=86_400,
    )
