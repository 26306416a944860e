"""Settings that are gone or have another name: what is so instead, and which stored values say the
same; knows no types.

Every run stores all of its settings, those at their defaults too. A stored value that says what is
always so now changes nothing and is passed over; any other is refused by name. A stored setting
with an earlier name is read under its present one; in a user's own settings it is refused, with
the present name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Values = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Always:
    """Says whether a stored value is the one that always holds now."""

    now: Any

    def __call__(self, value: Any, values: Values) -> bool:
        """Whether it is, whatever else was stored beside it."""
        return bool(value == self.now)


@dataclass(frozen=True, slots=True)
class Removed:
    """A setting that is gone.

    Attributes:
        is_so: Whether a value, among all that were stored with it, says what is so now.
        instead: A clause: what is so, or what to do instead.
    """

    is_so: Callable[[Any, Values], bool]
    instead: str


def _of(values: Values, *path: str) -> Any:
    """A stored value; None where there is none."""
    value: Any = values
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _as_in_the_towers(key: str) -> Callable[[Any, Values], bool]:
    """Whether a reader's value is that of the towers, or a reader of its own is not there."""

    def is_so(value: Any, values: Values) -> bool:
        alike = value == _of(values, "model", "bert", key)
        return alike or _of(values, "model", "own_reader") is False

    return is_so


def _is_shared_where_it_can_be(value: Any, values: Values) -> bool:
    """Whether the towers get the BERT of the stage `mlm`, cannot, or there is no such stage."""
    has_stage = _of(values, "mlm", "steps") != 0 and "mlm" in (_of(values, "stages") or ["mlm"])
    return value is True or not has_stage or _of(values, "model", "own_reader") is True


def _has_unit_length(value: Any, values: Values) -> bool:
    """Whether vectors of a sentence encoder have length 1, and those of the paper's have not."""
    return value is (_of(values, "model", "embedder", "projection") in ("none", "adapter"))


def _changes_nothing(value: Any, values: Values) -> bool:
    """Whatever it was, the results are the same without."""
    return True


_BY_CHUNK = "the spans of all chunks read compete in one softmax, as in the released code"

_OPTIMISER = "the optimiser is that of BERT's code; only its bias correction can be set"

_READER = "a reader of its own begins from scratch, as BERT's code has it"

REMOVED: dict[str, Removed] = {
    "length_groups": Removed(
        _changes_nothing, "nothing is padded, so that there is nothing to group"
    ),
    "salient.max_terms": Removed(Always(3), "a sentence has three terms at most"),
    "salient.lowercase_titles": Removed(
        Always(True),
        "rare titles are found in lower case too; salient.kind names a tagger of your own",
    ),
    "salient.max_words": Removed(Always(10), "spans of more than ten words are left out"),
    "mlm.whole_words": Removed(Always(True), "whole words are masked"),
    "mlm.share": Removed(
        _is_shared_where_it_can_be,
        "after the stage mlm the towers have the reader's BERT, unless model.own_reader is true",
    ),
    "model.reader.max_positions": Removed(
        _as_in_the_towers("max_positions"),
        "a reader of its own has as many positions as the towers, model.bert.max_positions",
    ),
    "model.reader.dropout": Removed(
        _as_in_the_towers("dropout"),
        "a reader of its own has the dropout of the towers, model.bert.dropout",
    ),
    "model.reader.activation": Removed(Always("gelu_new"), _READER),
    "model.reader.layer_norm_eps": Removed(Always(1e-12), _READER),
    "model.reader.initializer_range": Removed(Always(0.02), _READER),
    "warmup.lexical_query": Removed(
        Always("masked"), "candidates are looked up by the masked sentence, without its answer"
    ),
    "realm.lexical_query": Removed(
        Always("masked"), "candidates are looked up by the masked sentence, without its answer"
    ),
    "realm.rerank_from": Removed(
        Always(0), "the index has the last word; refresh.every and refresh.write_back keep it fresh"
    ),
    "qa.marginal": Removed(Always("spans"), _BY_CHUNK),
    "qa.per_chunk": Removed(
        Always(False), _BY_CHUNK + ", and one chunk that gives the answer is enough"
    ),
    "mlm.mask_rate": Removed(Always(0.15), "15% of the words are masked"),
    "ict.removal": Removed(Always(0.9), "nine of ten sentences are taken out of their chunk"),
    "retrieval.near_duplicate": Removed(Always(0.8), "chunks that share 80% are near duplicates"),
    "model.embedder.normalize": Removed(
        _has_unit_length, "vectors have length 1 unless model.embedder.projection is linear"
    ),
    "qa.raw_match": Removed(
        Always(False), "an answer is whole words; evaluate --raw-match measures as the original"
    ),
    "refresh.batch_tokens": Removed(Always(16_384), "how much is embedded at once is not chosen"),
    "refresh.shard_rows": Removed(Always(65_536), "a file of a snapshot has 65,536 chunks at most"),
    "refresh.max_staleness_steps": Removed(
        Always(0), "training waits where ten refreshes were missed; raise refresh.every"
    ),
    "refresh.worker_threads": Removed(
        Always(1), "a worker has one thread; raise refresh.workers instead"
    ),
    "refresh.fleet": Removed(
        Always(""), "the cluster is that of the environment variable RAY_ADDRESS"
    ),
    "refresh.hang_s": Removed(
        Always(600.0), "a worker without progress is killed after 600 seconds"
    ),
    "loop.keep_checkpoints": Removed(Always(2), "the two newest checkpoints of a stage are kept"),
    "optim.weight_decay": Removed(Always(0.01), _OPTIMISER),
    "optim.beta1": Removed(Always(0.9), _OPTIMISER),
    "optim.beta2": Removed(Always(0.999), _OPTIMISER),
    "optim.eps": Removed(Always(1e-6), _OPTIMISER),
    "optim.clip_norm": Removed(Always(1.0), _OPTIMISER),
    "optim.warmup_fraction": Removed(
        Always(0.1),
        "the rate rises over a tenth of a stage, or optim.warmup_min steps where that is more",
    ),
    "optim.warmup_max": Removed(Always(10_000), "the rate rises over 10,000 steps at most"),
    "optim.final_fraction": Removed(Always(0.0), "the learning rate falls to 0 at a stage's end"),
}

RENAMED: dict[str, str] = {
    "salient.told_within": "salient.supported_within",
    "realm.unread": "realm.in_batch_negatives",
}


def under_present_names(stored: Mapping[str, Any]) -> dict[str, Any]:
    """A run's stored settings, nested, with the names that their settings have now."""
    present = {k: dict(v) if isinstance(v, Mapping) else v for k, v in stored.items()}
    for earlier, now in RENAMED.items():
        section, _, key = earlier.rpartition(".")
        values = present.get(section, {})
        if key in values:
            values[now.rpartition(".")[2]] = values.pop(key)
    return present
