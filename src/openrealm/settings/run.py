"""Everything that a run is made from, as one object; knows no component's inner workings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

from openrealm.settings.config import changed, option, section
from openrealm.settings.data import CorpusConfig, SalientConfig
from openrealm.settings.model import ModelConfig
from openrealm.settings.stages import (
    IctConfig,
    JointConfig,
    MlmConfig,
    QaConfig,
    RetrievalConfig,
    WarmupConfig,
)
from openrealm.settings.training import LoopConfig, OptimConfig, RefreshConfig


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything that a run is made from."""

    start: str = option(
        "minilm",
        "First weights: minilm, scratch, an earlier run (its folder or a checkpoint's) or an "
        "exported model, which bring their own `model`, a BERT directory, or a hub name.",
    )
    stages: tuple[str, ...] = option(
        ("mlm", "ict", "warmup", "realm"), "Stages of pre-training, in order."
    )
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
