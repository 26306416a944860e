"""Settings that are gone: what is so instead, and which stored values say the same; knows no types.

Every run stores all of its settings, those at their defaults too. A stored value that says what is
always so now changes nothing and is passed over; any other is refused by name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Removed:
    """A setting that is gone.

    Attributes:
        now: The value that holds everywhere now.
        instead: A clause: what is so, or what to do instead.
    """

    now: Any
    instead: str


_BY_CHUNK = "the spans of all chunks read compete in one softmax, as in the released code"

_OPTIMISER = "the optimiser is that of BERT's code; only its bias correction can be set"

REMOVED: dict[str, Removed] = {
    "salient.max_terms": Removed(3, "a sentence has three terms at most"),
    "salient.lowercase_titles": Removed(
        True, "rare titles are found in lower case too; salient.kind names a tagger of your own"
    ),
    "salient.max_words": Removed(10, "spans of more than ten words are left out"),
    "mlm.whole_words": Removed(True, "whole words are masked"),
    "warmup.lexical_query": Removed(
        "masked", "candidates are looked up by the masked sentence, without its answer"
    ),
    "realm.lexical_query": Removed(
        "masked", "candidates are looked up by the masked sentence, without its answer"
    ),
    "realm.rerank_from": Removed(
        0, "the index has the last word; refresh.every and refresh.write_back keep it fresh"
    ),
    "qa.marginal": Removed("spans", _BY_CHUNK),
    "qa.per_chunk": Removed(False, _BY_CHUNK + ", and one chunk that gives the answer is enough"),
    "mlm.mask_rate": Removed(0.15, "15% of the words are masked"),
    "ict.removal": Removed(0.9, "nine of ten sentences are taken out of their chunk"),
    "retrieval.near_duplicate": Removed(0.8, "chunks that share 80% are near duplicates"),
    "refresh.hang_s": Removed(600.0, "a worker without progress is killed after 600 seconds"),
    "loop.keep_checkpoints": Removed(2, "the two newest checkpoints of a stage are kept"),
    "optim.weight_decay": Removed(0.01, _OPTIMISER),
    "optim.beta1": Removed(0.9, _OPTIMISER),
    "optim.beta2": Removed(0.999, _OPTIMISER),
    "optim.eps": Removed(1e-6, _OPTIMISER),
    "optim.clip_norm": Removed(1.0, _OPTIMISER),
    "optim.warmup_fraction": Removed(
        0.1, "the rate rises over a tenth of a stage, or optim.warmup_min steps where that is more"
    ),
    "optim.warmup_max": Removed(10_000, "the rate rises over 10,000 steps at most"),
    "optim.final_fraction": Removed(0.0, "the learning rate falls to 0 at a stage's end"),
}
