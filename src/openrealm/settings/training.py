"""How a model is trained: what is masked, how candidates are chosen, what each stage learns from
them, when the corpus is embedded again, the optimiser, and what happens beside the steps.
"""

from __future__ import annotations

from dataclasses import dataclass

from openrealm.settings.config import option

STAGES = ("mlm", "ict", "warmup", "realm", "reading")
_PATIENCE = 10  # refreshes that may be missed beside the training


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
class ReadingConfig:
    """The reader of answers on questions made of the texts: spans that recur in them."""

    steps: int = option(0, "Steps; 0 leaves the stage out.", minimum=0)
    batch_size: int = option(16, "Questions per step.", minimum=1)
    lr: float = option(5e-5, "Peak learning rate.", minimum=0.0)


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
        "What reads for answers: `pretrained`, the reader of pre-training, under ORQA's span head; "
        "or one with start and end scores, which begins as the `starter`'s, as `tower`, a copy of "
        "the chunk tower, or as any BERT by folder or hub name; one that was fine-tuned on SQuAD "
        "answers at once.",
        source="pretrained: section 3.2",
    )
    beam: int = option(
        5000, "Chunks in the retriever's loss.", minimum=1, source="retriever_beam_size"
    )
    read: int = option(5, "Chunks read per question.", minimum=1, source="reader_beam_size")
    no_answer: bool = option(
        True, "Learn the probability that no chunk read holds an answer (not in the original)."
    )

    @property
    def has_span_reader(self) -> bool:
        """Whether answers are read by start and end scores, and not by ORQA's span head."""
        return self.reader != "pretrained"


@dataclass(frozen=True, kw_only=True)
class RefreshConfig:
    """When, where and how the corpus is embedded again."""

    mode: str = option(
        "inline",
        "Who embeds the corpus: the training processes between two steps (inline), workers beside "
        "them on this machine (background), a Ray cluster (fleet: that of RAY_ADDRESS in the "
        "environment, else one is started here); or swaps happen when those of an earlier run did "
        "(replay).",
        choices=("inline", "background", "fleet", "replay"),
    )
    every: int = option(500, "Joint steps between two refreshes.", minimum=1, source="section 4.5")
    dtype: str = option("float32", "Numbers of a snapshot on disk.", choices=("float32", "float16"))
    workers: int = option(
        1,
        "Background, and a fleet that is started here: worker processes, of one thread each.",
        minimum=1,
    )
    worker_device: str = option(
        "auto",
        "Background: where workers compute. auto: on the GPU with the next number after the "
        "trainers' if there is one, else on theirs, else on the processor, at low priority. "
        "Fleet: cuda, cpu, or auto for a GPU each where the cluster has any.",
    )
    write_back: bool = option(
        False,
        "The vectors that a joint step makes of its candidates anyway go into the live index too, "
        "in the place of older ones, until a refresh makes all anew: an index that ages more "
        "slowly and costs no embedding. They have the dropout of the step, where there is any.",
    )
    replay: str = option("", "Replay: the run whose swaps are repeated, as a folder or its name.")
    storage: str = option(
        "",
        "Fleet: URL of a storage that this machine and the nodes reach, such as s3://bucket/folder "
        "(any that fsspec knows), for nodes that do not have the workspace's folder. Empty: they "
        "have it, under the same name.",
    )

    @property
    def patience(self) -> int:
        """Steps that a live index may be old before training waits for a newer one."""
        return _PATIENCE * self.every


@dataclass(frozen=True, kw_only=True)
class OptimConfig:
    """What all stages share."""

    bias_correction: bool = option(
        False, "Adam's bias correction, which BERT's code leaves out.", source="bert"
    )
    warmup_min: int = option(
        0,
        "The learning rate rises over the first tenth of a stage's steps, but so many at least.",
        minimum=0,
        source="100 in realm/model.py",
    )


@dataclass(frozen=True, kw_only=True)
class LoopConfig:
    """When things happen beside the steps."""

    log_every: int = option(10, "Steps between two lines of metrics.", minimum=1)
    probe_every: int = option(100, "Steps between two questions to the probe.", minimum=1)
    checkpoint_every: int = option(200, "Steps between two checkpoints.", minimum=1)
    tensorboard: bool = option(False, "Write TensorBoard files as well (extra `track`).")
    num_probe: int = option(
        200, "Chunks held out for the probe, at most a tenth of those with spans.", minimum=1
    )
