"""How measures and starts are called where people read them: in the terminal and in a report."""

from __future__ import annotations

# What shows whether retrieval is being learned, in the order in which it is read.
MEASURES = {
    "held_out/recall@1": "held-out queries: recall@1",
    "held_out/recall@5": "held-out queries: recall@5",
    "held_out/recall@20": "held-out queries: recall@20",
    "probe/utility": "retrieval utility (nats per token)",
    "probe/accuracy": "masked tokens right, with retrieval",
    "probe/accuracy_without": "masked tokens right, without",
    "qa/exact_match": "questions: exact match",
    "lexical_weight": "weight of words in common",
}

_GROUPS = {"held_out/": "held-out queries: ", "probe/": "probe: ", "qa/": "questions: "}


def measure_in_words(name: str) -> str:
    """A measure as it is called in a table."""
    for prefix, words in _GROUPS.items():
        if name.startswith(prefix) and name not in MEASURES:
            return words + name.removeprefix(prefix).replace("_", " ")
    return MEASURES.get(name, name)


def start_in_words(*starts: str) -> str:
    """Where first weights came from, the nearest first, and whether they had seen labels."""
    # The terminal has the names above without loading torch.
    from openrealm.models.starts import LABELLED_STARTS

    return ", which began as ".join(LABELLED_STARTS.get(start, start) for start in starts)
