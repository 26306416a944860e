"""The stages of training: how candidates are chosen, and what each stage learns from them."""

from __future__ import annotations

from dataclasses import dataclass

from openrealm.settings.config import option

STAGES = ("mlm", "ict", "warmup", "realm")


@dataclass(frozen=True, kw_only=True)
class RetrievalConfig:
    """How candidates are chosen."""

    k: int = option(
        8,
        "Candidates per query in joint training, the null chunk included.",
        minimum=2,
        source="realm/local_launcher.sh, num_candidates",
    )
    exclude: str = option(
        "chunk",
        "What of the query's own document is kept from it: its chunk, the neighbouring chunks "
        "too, the whole document, or nothing (for the ablation).",
        choices=("chunk", "neighbours", "document", "nothing"),
        source="section 3.4, trivial retrievals",
    )


@dataclass(frozen=True, kw_only=True)
class MlmConfig:
    """Plain masked-LM pre-training of the reader's BERT, which the towers share afterwards."""

    steps: int = option(0, "Steps; 0 leaves the stage out.", minimum=0)
    batch_size: int = option(64, "Chunks per step.", minimum=1)
    lr: float = option(1e-4, "Peak learning rate.", minimum=0.0)


@dataclass(frozen=True, kw_only=True)
class IctConfig:
    """Inverse cloze warm start of the embedder."""

    steps: int = option(100_000, "Steps; 0 leaves the stage out.", minimum=0, source="orqa")
    batch_size: int = option(4096, "Sentences per step.", minimum=2, source="orqa/README.md")
    lr: float = option(1e-4, "Peak learning rate.", minimum=0.0, source="orqa/README.md")


@dataclass(frozen=True, kw_only=True)
class WarmupConfig:
    """Reader warm-up: the joint loss with the retriever frozen, own chunk allowed."""

    steps: int = option(0, "Steps; 0 leaves the stage out.", minimum=0)
    batch_size: int = option(32, "Queries per step.", minimum=1)
    lr: float = option(1e-4, "Peak learning rate.", minimum=0.0)
    k: int = option(3, "Candidates, the null chunk included.", minimum=2)
    candidates: str = option(
        "retriever",
        "Where candidates come from: the frozen retriever, or words in common (BM25), where the "
        "retriever is still too weak to find what the reader could learn to read.",
        choices=("retriever", "lexical"),
    )
    own_chunk: float = option(
        0.5,
        "Probability that the query's own chunk is among the candidates: the one chunk that "
        "surely holds the answer, from which the reader learns to copy.",
        minimum=0.0,
        maximum=1.0,
    )


@dataclass(frozen=True, kw_only=True)
class JointConfig:
    """REALM: retriever and reader together."""

    steps: int = option(200_000, "Steps; 0 leaves the stage out.", minimum=0, source="section 4.3")
    batch_size: int = option(512, "Queries per step.", minimum=1, source="section 4.3")
    lr: float = option(
        3e-5,
        "Peak learning rate of the reader; 0 leaves it as it is.",
        minimum=0.0,
        source="section 4.3",
    )
    lr_retriever: float = option(
        3e-5,
        "Peak learning rate of the towers; 0 leaves them as they are.",
        minimum=0.0,
        source="section 4.3",
    )
    lr_lexical: float = option(
        0.0,
        "Peak learning rate of the logarithm of model.lexical_weight; 0 leaves it as it is.",
        minimum=0.0,
    )
    marginal: str = option(
        "token",
        "Marginal likelihood of each masked token, or of the span as a whole.",
        choices=("token", "span"),
        source="token: realm/model.py; span: equation 1",
    )
    lexical: int = option(
        0,
        "So many of the k candidates are proposed by words in common (BM25) instead of the index. "
        "Their p(z|x) is the embedder's like that of all others: it can learn to find them.",
        minimum=0,
    )
    null_chunk: bool = option(True, "Let the null chunk take part.", source="section 3.4")
    in_batch_negatives: bool = option(
        False,
        "Chunks that the other queries of the batch retrieved take part in p(z|x) too: they are "
        "not read, and count as saying no more than the worst chunk that is. The top k alone "
        "leave everything else unpunished.",
    )
    towers: str = option(
        "both",
        "What of the embedder is trained: both towers; the query tower alone (it has to be one of "
        "its own, model.embedder.shared=false), which leaves the chunk embeddings as they are; "
        "or the projection above a BERT that stays as it is, where embedding the corpus anew is "
        "one matrix product.",
        choices=("both", "query", "projection"),
        source="query: query-side fine-tuning of Izacard et al., 2022",
    )


@dataclass(frozen=True, kw_only=True)
class QaConfig:
    """Fine-tuning on questions and answers."""

    steps: int = option(68_340, "Steps.", minimum=1, source="20 epochs of WebQuestions")
    batch_size: int = option(1, "Questions per step.", minimum=1, source="orqa_model.py")
    lr: float = option(
        1e-5, "Peak learning rate of the reader.", minimum=0.0, source="orqa/README.md"
    )
    lr_retriever: float = option(
        1e-5, "Peak learning rate of the query tower.", minimum=0.0, source="orqa/README.md"
    )
    reader: str = option(
        "pretrained",
        "What reads for answers: the reader of pre-training, or one that begins as a copy of the "
        "chunk tower (where that is a trained encoder, and the reader a small one of its own).",
        choices=("pretrained", "tower"),
        source="pretrained: section 3.2",
    )
    beam: int = option(
        5000, "Chunks in the retriever's loss.", minimum=1, source="retriever_beam_size"
    )
    read: int = option(5, "Chunks read per question.", minimum=1, source="reader_beam_size")
    no_answer: bool = option(
        True, "Learn the probability that no chunk read holds an answer (not in the original)."
    )
