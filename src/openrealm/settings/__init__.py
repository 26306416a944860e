"""Every setting of a run, and how settings are read, checked and written; imports nothing heavy."""

from openrealm.settings.checks import checked
from openrealm.settings.data import ChunkingConfig, CorpusConfig, SalientConfig
from openrealm.settings.model import (
    BertShape,
    EmbedderConfig,
    ModelConfig,
    ReaderShape,
    SpanHeadConfig,
)
from openrealm.settings.resolution import (
    learning_rates,
    lower_rates,
    preset_settings,
    read_settings,
    require_lower_rates,
    resolve,
    settings_text,
)
from openrealm.settings.run import Settings
from openrealm.settings.serving import ServeConfig
from openrealm.settings.stages import (
    STAGES,
    IctConfig,
    JointConfig,
    MlmConfig,
    QaConfig,
    RetrievalConfig,
    WarmupConfig,
)
from openrealm.settings.training import LoopConfig, OptimConfig, RefreshConfig

__all__ = [
    "STAGES",
    "BertShape",
    "ChunkingConfig",
    "CorpusConfig",
    "EmbedderConfig",
    "IctConfig",
    "JointConfig",
    "LoopConfig",
    "MlmConfig",
    "ModelConfig",
    "OptimConfig",
    "QaConfig",
    "ReaderShape",
    "RefreshConfig",
    "RetrievalConfig",
    "SalientConfig",
    "ServeConfig",
    "Settings",
    "SpanHeadConfig",
    "WarmupConfig",
    "checked",
    "learning_rates",
    "lower_rates",
    "preset_settings",
    "read_settings",
    "require_lower_rates",
    "resolve",
    "settings_text",
]
