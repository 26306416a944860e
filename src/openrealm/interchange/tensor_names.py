"""The explicit table between the tensor names of Hugging Face's REALM classes and ours.

For each kind of model: which of its tensors live in which of ours (a plain BERT's in several),
which are dead there (a masked-LM head that nothing ties to the word embeddings or trains, a pooler
that nothing reads), which are one tensor under two names, and which are buffers. Knows names only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

EMBEDDER, SCORER, ENCODER, READER, OPENQA, BERT = (
    "embedder",
    "scorer",
    "encoder",
    "reader",
    "openqa",
    "bert",
)
BLOCK_EMB = "block_emb"
# Ours; names inside of `Realm`.
CHUNK_TOWER, QUERY_TOWER = "embedder.chunk_tower.", "embedder.query_tower."
MASKED_LM, SPAN_HEAD = "reader.masked_lm.", "reader.span_head."

_EMBEDDINGS = (
    "embeddings.word_embeddings.weight",
    "embeddings.position_embeddings.weight",
    "embeddings.token_type_embeddings.weight",
    "embeddings.LayerNorm.weight",
    "embeddings.LayerNorm.bias",
)
_LAYER = (
    "attention.self.query",
    "attention.self.key",
    "attention.self.value",
    "attention.output.dense",
    "attention.output.LayerNorm",
    "intermediate.dense",
    "output.dense",
    "output.LayerNorm",
)
_POOLER = ("pooler.dense.weight", "pooler.dense.bias")
_HEAD = (
    "predictions.bias",
    "predictions.transform.dense.weight",
    "predictions.transform.dense.bias",
    "predictions.transform.LayerNorm.weight",
    "predictions.transform.LayerNorm.bias",
)
# Under two names in one file: the second is a copy of the first.
_DECODER, _DECODER_BIAS = "predictions.decoder.weight", "predictions.decoder.bias"
_WORDS = "embeddings.word_embeddings.weight"
_PROJECTION = {
    "cls.dense.weight": "dense.weight",
    "cls.dense.bias": "dense.bias",
    "cls.LayerNorm.weight": "layer_norm.weight",
    "cls.LayerNorm.bias": "layer_norm.bias",
}
_SPAN_HEAD = {
    "qa_outputs.dense_intermediate.weight": "dense_intermediate.weight",
    "qa_outputs.dense_intermediate.bias": "dense_intermediate.bias",
    "qa_outputs.dense_output.weight": "dense_output.weight",
    "qa_outputs.dense_output.bias": "dense_output.bias",
    "qa_outputs.layer_normalization.weight": "layer_norm.weight",
    "qa_outputs.layer_normalization.bias": "layer_norm.bias",
}
_BUFFERS = ("embeddings.position_ids", "embeddings.token_type_ids")
_NEXT_SENTENCE = ("cls.seq_relationship.weight", "cls.seq_relationship.bias")

Places = dict[str, tuple[str, ...]]


@dataclass
class Names:
    """What is known of one kind of model's tensors.

    Attributes:
        live: Theirs -> ours, one or several.
        dead: Theirs that nothing uses.
        same: Theirs -> theirs of which it is a copy, where both are in the file.
        buffers: Theirs that are numbered positions and the like.
        optional: Of ``live``, what a file may lack.
    """

    live: Places = field(default_factory=dict)
    dead: set[str] = field(default_factory=set)
    same: dict[str, str] = field(default_factory=dict)
    buffers: set[str] = field(default_factory=set)
    optional: set[str] = field(default_factory=set)

    @property
    def known(self) -> set[str]:
        """Every name that may be in a file."""
        return {*self.live, *self.dead, *self.same, *self.buffers}

    def merged(self, other: Names) -> Names:
        """Both."""
        return Names(
            self.live | other.live,
            self.dead | other.dead,
            self.same | other.same,
            self.buffers | other.buffers,
            self.optional | other.optional,
        )


def names_of(kind: str, *, layers: int, prefix: str = "bert.", towers: int = 1) -> Names:
    """The names of one kind.

    Args:
        kind: ``embedder``, ``scorer``, ``encoder``, ``reader``, ``openqa`` or ``bert``.
        layers: Transformer layers of its BERTs.
        prefix: Of a plain BERT's body; empty in files of the body alone.
        towers: Of a scorer: 2 where queries have an embedder of their own.
    """
    if kind == EMBEDDER:
        return _embedder("", CHUNK_TOWER, layers)
    if kind == SCORER:
        names = _embedder("embedder.", CHUNK_TOWER, layers)
        queries = _embedder("query_embedder.", QUERY_TOWER, layers)
        if towers == 2:
            return names.merged(queries)
        # One embedder, which that class lists twice.
        names.same |= {n: n.removeprefix("query_") for n in {*queries.live, *queries.dead}}
        names.same |= {n: names.same[n.removeprefix("query_")] for n in queries.same}
        names.buffers |= queries.buffers
        return names
    if kind == ENCODER:
        return _encoder(layers)
    if kind == READER:
        return _reader("", layers)
    if kind == OPENQA:
        return _embedder("embedder.", QUERY_TOWER, layers).merged(_reader("reader.", layers))
    return _plain(prefix, layers)


def _body(layers: int) -> Iterator[str]:
    yield from _EMBEDDINGS
    for layer in range(layers):
        for part in _LAYER:
            yield f"encoder.layer.{layer}.{part}.weight"
            yield f"encoder.layer.{layer}.{part}.bias"


def _prefixed(prefix: str, names: Iterable[str]) -> set[str]:
    return {f"{prefix}{name}" for name in names}


def _embedder(prefix: str, tower: str, layers: int) -> Names:
    body = [*_body(layers), *_POOLER]
    live: Places = {f"{prefix}realm.{name}": (f"{tower}bert.{name}",) for name in body}
    live |= {f"{prefix}{theirs}": (f"{tower}{ours}",) for theirs, ours in _PROJECTION.items()}
    return Names(
        live=live,
        dead=_prefixed(f"{prefix}cls.", [*_HEAD, _DECODER]),
        same={f"{prefix}cls.{_DECODER_BIAS}": f"{prefix}cls.{_HEAD[0]}"},
        buffers=_prefixed(f"{prefix}realm.", _BUFFERS),
    )


def _encoder(layers: int) -> Names:
    live: Places = {f"realm.{name}": (f"{MASKED_LM}bert.{name}",) for name in _body(layers)}
    live |= {f"cls.{name}": (f"{MASKED_LM}cls.{name}",) for name in _HEAD}
    return Names(
        live=live,
        dead=_prefixed("realm.", _POOLER),
        same={f"cls.{_DECODER}": f"realm.{_WORDS}", f"cls.{_DECODER_BIAS}": f"cls.{_HEAD[0]}"},
        buffers=_prefixed("realm.", _BUFFERS),
    )


def _reader(prefix: str, layers: int) -> Names:
    live: Places = {f"{prefix}realm.{name}": (f"{MASKED_LM}bert.{name}",) for name in _body(layers)}
    live |= {f"{prefix}{theirs}": (f"{SPAN_HEAD}{ours}",) for theirs, ours in _SPAN_HEAD.items()}
    return Names(
        live=live,
        dead=_prefixed(f"{prefix}cls.", [*_HEAD, _DECODER]) | _prefixed(f"{prefix}realm.", _POOLER),
        same={f"{prefix}cls.{_DECODER_BIAS}": f"{prefix}cls.{_HEAD[0]}"},
        buffers=_prefixed(f"{prefix}realm.", _BUFFERS),
    )


def _plain(prefix: str, layers: int) -> Names:
    towers = (CHUNK_TOWER, QUERY_TOWER)
    live: Places = {
        f"{prefix}{name}": (f"{MASKED_LM}bert.{name}", *(f"{t}bert.{name}" for t in towers))
        for name in _body(layers)
    }
    pooler = {f"{prefix}{name}": tuple(f"{t}bert.{name}" for t in towers) for name in _POOLER}
    head = {f"cls.{name}": (f"{MASKED_LM}cls.{name}",) for name in _HEAD}
    return Names(
        live=live | pooler | head,
        dead=set(_NEXT_SENTENCE),
        same={f"cls.{_DECODER}": f"{prefix}{_WORDS}", f"cls.{_DECODER_BIAS}": f"cls.{_HEAD[0]}"},
        buffers=_prefixed(prefix, _BUFFERS),
        optional={*pooler, *head},
    )
