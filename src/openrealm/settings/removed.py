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
    "optim.final_fraction": Removed(0.0, "the learning rate falls to 0 at a stage's end"),
}
