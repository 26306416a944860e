"""What a start brings: the shape of the model, and how the corpus was cut and numbered."""

from __future__ import annotations

from dataclasses import dataclass

from openrealm.settings.config import option, section


@dataclass(frozen=True, kw_only=True)
class BertShape:
    """Size of the BERTs; taken from the start where there is one."""

    layers: int = option(12, "Transformer layers.", minimum=1, source="BERT-base")
    hidden: int = option(768, "Width of the hidden states.", minimum=1, source="BERT-base")
    heads: int = option(12, "Attention heads.", minimum=1, source="BERT-base")
    intermediate: int = option(3072, "Width of the feed-forward layer.", source="BERT-base")
    max_positions: int = option(512, "Longest input in tokens.", minimum=8, source="BERT-base")
    activation: str = option(
        "gelu_new",
        "Activation; gelu_new is the tanh form that BERT's original code computes.",
        choices=("gelu_new", "gelu", "relu"),
        source="google-research/bert modeling.py",
        is_fixed=True,
    )
    dropout: float = option(
        0.1,
        "Dropout in training, everywhere in towers and reader.",
        minimum=0.0,
        maximum=0.9,
        source="BERT-base",
    )
    layer_norm_eps: float = option(
        1e-12, "Epsilon of BERT's LayerNorms.", source="BERT-base", is_fixed=True
    )
    initializer_range: float = option(
        0.02, "Spread of random first weights.", source="BERT-base", is_fixed=True
    )
    initialization: str = option(
        "normal",
        "First weights of a model from scratch: BERT's own, or such that the reader begins by "
        "copying and the towers by comparing words (for small models with little text).",
        choices=("normal", "copying"),
    )


@dataclass(frozen=True, kw_only=True)
class ReaderShape:
    """Size of a reader of its own, which begins from scratch; the rest is as in the towers."""

    layers: int = option(12, "Transformer layers.", minimum=1, source="BERT-base")
    hidden: int = option(768, "Width of the hidden states.", minimum=1, source="BERT-base")
    heads: int = option(12, "Attention heads.", minimum=1, source="BERT-base")
    intermediate: int = option(3072, "Width of the feed-forward layer.", source="BERT-base")
    initialization: str = option(
        "normal",
        "First weights: BERT's own, or such that it begins by copying.",
        choices=("normal", "copying"),
    )


@dataclass(frozen=True, kw_only=True)
class EmbedderConfig:
    """Shape of the towers on top of their BERT."""

    pooling: str = option(
        "cls",
        "What stands for the whole input: [CLS], or the mean of all tokens.",
        choices=("cls", "mean"),
        source="cls: section 3.2",
    )
    projection: str = option(
        "linear",
        "Dense layer and LayerNorm to `dim` numbers, none (then dim is BERT's hidden size), or "
        "adapter: a square matrix that begins as the identity, to bend a trained encoder with. "
        "Vectors of the last two have length 1.",
        choices=("linear", "none", "adapter"),
        source="linear: orqa/models/ict_model.py",
    )
    dim: int = option(128, "Numbers per vector.", minimum=1, source="section 4.3")
    layer_norm_eps: float = option(
        1e-12,
        "Epsilon of the projection's LayerNorm.",
        source="released REALM checkpoints",
        is_fixed=True,
    )
    dropout: float = option(
        0.0,
        "Dropout on projected vectors in training.",
        minimum=0.0,
        maximum=0.9,
        source="0.1 in orqa/models/ict_model.py; none in the Hugging Face port",
    )
    known_tokens: bool = option(
        False,
        "Tokens that the texts do not have are passed over: of them a model from scratch has "
        "nothing but random numbers.",
    )
    score_scale: float = option(
        1.0, "Factor on query vectors, for cosine scores too flat for a softmax.", minimum=1e-6
    )
    shared: bool = option(
        True, "One tower for queries and chunks.", source="realm/model.py, share_embedders"
    )

    @property
    def has_unit_length(self) -> bool:
        """Whether vectors are scaled to length 1, so that their products are cosines."""
        return self.projection != "linear"


@dataclass(frozen=True, kw_only=True)
class SpanHeadConfig:
    """Shape of the span head."""

    hidden: int = option(256, "Width of the span representation.", source="orqa_model.py")
    max_width: int = option(
        10, "Longest answer in wordpieces.", minimum=1, source="orqa_model.py", is_fixed=True
    )
    layer_norm_eps: float = option(
        1e-3, "Epsilon of its LayerNorm.", source="orqa_model.py", is_fixed=True
    )


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Everything that fixes the shape of a model."""

    query_tokens: int = option(
        96, "Longest query input, [CLS] and [SEP] included.", minimum=8, source="local_launcher.sh"
    )
    query_masks: bool = option(
        True,
        "[MASK] stands in what the query tower reads of a masked sentence. If false it is left "
        "out there (the reader keeps it): a trained sentence encoder has never seen one.",
        source="true: realm/featurization.py",
    )
    own_reader: bool = option(
        False,
        "The reader has a shape of its own, `model.reader`, and begins from scratch; else it is "
        "of the same BERT and start as the towers.",
    )
    token_prior: bool = option(
        False,
        "A reader without a trained masked-LM head begins with the frequency of each token in the "
        "texts as the head's bias, so that it has not to learn them first.",
    )
    copy_head: bool = option(
        False,
        "The reader may also copy a token of the chunk: p(y|z,x) is a mixture of the masked LM's "
        "softmax and of attention over the chunk. Makes small readers useful from the first step.",
        source="See et al., 2017 (pointer-generator)",
    )
    lexical_weight: float = option(
        0.0,
        "Words in common count beside the inner product: f(x,z) has BM25(x,z) times this weight in "
        "it, to begin with (realm.lr_lexical lets it learn). 0: the inner product alone.",
        minimum=0.0,
    )
    bert: BertShape = section(BertShape, "Size of the BERTs (a start brings its own).")
    reader: ReaderShape = section(ReaderShape, "Size of the reader where `own_reader` is true.")
    embedder: EmbedderConfig = section(EmbedderConfig, "Query and chunk towers.")
    span_head: SpanHeadConfig = section(SpanHeadConfig, "Answer spans (fine-tuning).")

    @property
    def reader_bert(self) -> BertShape:
        """Shape of the reader's BERT."""
        if not self.own_reader:
            return self.bert
        own = self.reader
        return BertShape(
            layers=own.layers,
            hidden=own.hidden,
            heads=own.heads,
            intermediate=own.intermediate,
            max_positions=self.bert.max_positions,
            dropout=self.bert.dropout,
            initialization=own.initialization,
        )

    @property
    def reader_section(self) -> str:
        """Where that shape is set."""
        return "model.reader" if self.own_reader else "model.bert"


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
        "starter",
        "Where the vocabulary comes from: starter or minilm (BERT's uncased one), train (learned "
        "from the documents), or a path.",
    )
    vocab_size: int = option(8192, "Size of a vocabulary that is learned.", minimum=100)
    chunking: ChunkingConfig = section(ChunkingConfig, "How documents are cut.")
