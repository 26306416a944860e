"""What is retrieved from and what is masked: chunking, vocabulary, salient spans."""

from __future__ import annotations

from dataclasses import dataclass

from openrealm.settings.config import option, section


@dataclass(frozen=True, kw_only=True)
class ChunkingConfig:
    """How documents are cut into chunks."""

    chunk_tokens: int = option(
        288,
        "The most tokens of a chunk: [CLS] title [SEP] body [SEP].",
        source="ORQA's blocks of 288 word pieces, which REALM takes over",
        minimum=16,
    )
    min_chunk_tokens: int = option(
        32,
        "A document's last chunk with a shorter body takes sentences from the one before it.",
        minimum=0,
        is_fixed=True,
    )
    title_share: float = option(
        0.25,
        "The most of a chunk that its title may take; a longer title loses its last tokens.",
        minimum=0.0,
        maximum=0.75,
        is_fixed=True,
    )
    whole: bool = option(
        False,
        "Documents are not divided: each is one chunk, whose end is left out where it is longer "
        "(for passages that were cut before, as DPR's or ORQA's).",
    )


@dataclass(frozen=True, kw_only=True)
class CorpusConfig:
    """How documents become chunks; fixed when a workspace is made."""

    tokenizer: str = option(
        "minilm",
        "Where the vocabulary comes from: minilm (BERT's uncased one), train (learned from the "
        "documents), or a path.",
    )
    vocab_size: int = option(8192, "Size of a vocabulary that is learned.", minimum=100)
    chunking: ChunkingConfig = section(ChunkingConfig, "How documents are cut.")


@dataclass(frozen=True, kw_only=True)
class SalientConfig:
    """How salient spans are found."""

    kind: str = option(
        "rules",
        "What finds them: rules, tokens (random words), spans (random runs of words), spacy:NAME "
        "(an installed pipeline), or hf:NAME_OR_PATH (a token classifier).",
        source="paper section 3.4: names by a tagger, dates by a regular expression; table 2 has "
        "the random ones",
    )
    terms: str = option(
        "fallback",
        "Rules: specific phrases of the corpus as well, for text without capitals; never, in "
        "sentences where nothing else is found, or always.",
        choices=("never", "fallback", "always"),
    )
    supported_within: int = option(
        0,
        "Only spans are masked that stand in one of the so many other chunks that share most words "
        "with their sentence (BM25): what no other chunk supports teaches retrieval nothing. "
        "0: all.",
        minimum=0,
    )
