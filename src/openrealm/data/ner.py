"""Salient spans from somebody's trained model: a spaCy pipeline or a token classifier, by name.

As in the paper (section 3.4) the model finds the names and a regular expression the dates; models
trained on CoNLL-2003 know no dates. Where both mark the same words the model has its way.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from importlib.metadata import version
from typing import Any

from openrealm.data.lexicon import words_of
from openrealm.data.patterns import find_dates_and_numbers
from openrealm.data.spans import MAX_WORDS, Span, without_overlaps
from openrealm.errors import ConfigError, MissingDependencyError

_BATCH = 32
_KINDS = {
    "DATE": "date",
    "TIME": "date",
    "CARDINAL": "number",
    "ORDINAL": "number",
    "QUANTITY": "number",
    "MONEY": "number",
    "PERCENT": "number",
}

_logger = logging.getLogger(__name__)


class ModelTagger:
    """Names by a trained model, dates and numbers by rules where the model found none."""

    def __init__(
        self,
        name: str,
        find: Callable[[Sequence[str]], Iterator[list[Span]]],
        *,
        library: str,
    ) -> None:
        """Wraps a model.

        Args:
            name: ``spacy:...`` or ``hf:...``, as in the config.
            find: The model: texts to the spans of each.
            library: Distribution whose version belongs to the fingerprint.
        """
        self.name = name
        self._find, self._library = find, library

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the model's name, the library's version and the longest span."""
        parts = f"{self.name} {self._library}=={version(self._library)} {MAX_WORDS}"
        return hashlib.sha256(parts.encode()).hexdigest()

    def tag(self, texts: Sequence[str]) -> list[list[Span]]:
        """The spans of each text, in order, none overlapping another."""
        return [
            self._with_rules(text, spans)
            for text, spans in zip(texts, self._find(texts), strict=True)
        ]

    def _with_rules(self, text: str, spans: Sequence[Span]) -> list[Span]:
        kept = without_overlaps(spans)
        rules = without_overlaps(find_dates_and_numbers(text, frozenset(words_of(text))))
        kept += [r for r in rules if all(r.stop <= s.start or s.stop <= r.start for s in kept)]
        short = [s for s in kept if text.count(" ", s.start, s.stop) < MAX_WORDS]
        return sorted(short, key=lambda span: span.start)


def spacy_tagger(pipeline: str) -> ModelTagger:
    """A tagger from the entities of a spaCy pipeline.

    Args:
        pipeline: Name of an installed pipeline ("en_core_web_sm") or its folder.

    Raises:
        MissingDependencyError: spaCy or the pipeline is not installed.
    """
    try:
        import spacy
    except ImportError as error:
        raise MissingDependencyError(
            f"salient.kind = 'spacy:{pipeline}' needs spaCy; pip install 'openrealm[ner]'"
        ) from error
    try:
        language = spacy.load(pipeline)
    except OSError as error:
        raise MissingDependencyError(
            f"there is no spaCy pipeline '{pipeline}' here; python -m spacy download {pipeline}"
        ) from error

    def find(texts: Sequence[str]) -> Iterator[list[Span]]:
        for document in language.pipe(texts):
            yield [Span(e.start_char, e.end_char, _kind(e.label_)) for e in document.ents]

    return ModelTagger(f"spacy:{pipeline}", find, library="spacy")


def transformers_tagger(model: str) -> ModelTagger:
    """A tagger from a Hugging Face token classifier.

    Args:
        model: Hub name ("dslim/bert-base-NER") or folder.

    Raises:
        ConfigError: There is no such model, or it is no token classifier.
        MissingDependencyError: transformers is not installed.
    """
    classify = _token_classifier(model)

    def find(texts: Sequence[str]) -> Iterator[list[Span]]:
        # An empty text is no input for a pipeline.
        filled = [text for text in texts if text.strip()]
        results = iter(classify(filled, batch_size=_BATCH) if filled else [])
        for text in texts:
            yield list(_aggregated(text, next(results))) if text.strip() else []

    return ModelTagger(f"hf:{model}", find, library="transformers")


def _token_classifier(model: str) -> Any:
    try:
        from transformers import AutoModelForTokenClassification, AutoTokenizer, pipeline
    except ImportError as error:
        raise MissingDependencyError(
            f"salient.kind = 'hf:{model}' needs transformers; pip install 'openrealm[ner]'"
        ) from error
    import torch

    try:
        tokenizer = AutoTokenizer.from_pretrained(model)
        network, loading = AutoModelForTokenClassification.from_pretrained(
            model, output_loading_info=True
        )
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(
            f"salient.kind = 'hf:{model}' cannot be loaded as a token classifier; give the hub "
            f"name or folder of one ({str(error).splitlines()[0]})"
        ) from error
    if any(key.startswith("classifier.") for key in loading["missing_keys"]):
        raise ConfigError(
            f"'{model}' has no trained token classifier, its labels would be random; "
            "give a model for named entity recognition"
        )
    longest = getattr(network.config, "max_position_embeddings", 512)
    tokenizer.model_max_length = min(tokenizer.model_max_length, longest)
    return pipeline(
        "token-classification",
        model=network,
        tokenizer=tokenizer,
        aggregation_strategy="first",  # labels whole words, never a piece of one
        stride=tokenizer.model_max_length // 8,  # longer texts are read in overlapping windows
        device=0 if torch.cuda.is_available() else -1,
    )


def _aggregated(text: str, groups: Sequence[dict[str, Any]]) -> Iterator[Span]:
    for group in groups:
        start, stop = int(group["start"]), int(group["end"])
        # Some tokenizers count the space before a word to the word.
        while start < stop and text[start].isspace():
            start += 1
        if start < stop:
            yield Span(start, stop, _kind(group["entity_group"]))


def _kind(label: str) -> str:
    return _KINDS.get(label.upper(), "entity")
