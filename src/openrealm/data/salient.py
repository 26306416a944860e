"""What is masked: which tagger finds the salient spans of the training texts, by configuration.

The original's tagger was never released (realm_facts 1.2), so taggers are part of this package:
rules that work offline on any text (`data.rules`), somebody's trained model by name (`data.ner`),
and the two random ones of the paper's ablation (`data.random_spans`).
"""

from __future__ import annotations

from collections.abc import Iterable

from openrealm.data.ner import spacy_tagger, transformers_tagger
from openrealm.data.random_spans import RandomTagger
from openrealm.data.rules import RuleTagger
from openrealm.data.spans import Span, SpanTagger
from openrealm.errors import ConfigError
from openrealm.settings import SalientConfig

__all__ = ["RuleTagger", "Span", "SpanTagger", "make_tagger"]


def make_tagger(
    config: SalientConfig, *, texts: Iterable[str], titles: Iterable[str], seed: int
) -> SpanTagger:
    """The tagger that the config asks for.

    Args:
        config: Its kind and options.
        texts: The training texts, read once, and only by ``rules``.
        titles: Their titles, likewise.
        seed: Seed of the random taggers.

    Raises:
        ConfigError: An unknown kind, or a model that cannot be loaded.
        MissingDependencyError: A library or pipeline that is not installed.
    """
    kind, _, model = config.kind.partition(":")
    if config.kind == "rules":
        return RuleTagger.from_texts(texts, titles, terms=config.terms)
    if config.kind in ("tokens", "spans"):
        return RandomTagger(config.kind, seed=seed)
    if kind == "spacy" and model:
        return spacy_tagger(model)
    if kind == "hf" and model:
        return transformers_tagger(model)
    raise ConfigError(
        f"salient.kind = {config.kind!r} is unknown; use rules, tokens, spans, spacy:NAME or "
        "hf:NAME_OR_PATH"
    )
