"""What a salient span is, and who finds some; knows no rule for finding them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Protocol

# Longer spans are left out: the original asks for at most ten masked wordpieces (realm/model.py).
MAX_WORDS = 10


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of a text that is worth masking.

    Attributes:
        start: First character.
        stop: Character after the last.
        kind: ``entity``, ``date``, ``number`` or ``term``.
    """

    start: int
    stop: int
    kind: str


class SpanTagger(Protocol):
    """Finds the salient spans of texts.

    Attributes:
        name: How the tagger is called in configs and logs.
        fingerprint: Hash of everything that its output depends on besides the text.
    """

    name: str

    @property
    def fingerprint(self) -> str:
        """Two taggers with the same fingerprint find the same spans."""

    def tag(self, texts: Sequence[str]) -> list[list[Span]]:
        """The spans of each text, in order, none overlapping another."""


def without_overlaps(candidates: Iterable[Span]) -> list[Span]:
    """The candidates in the order of the text; where two overlap, the longer stays.

    Of two equally long the earlier stays, and of two on the same characters the one given first.
    """
    kept: list[Span] = []
    cluster: list[Span] = []
    end = 0
    for span in sorted(candidates, key=attrgetter("start")):
        if span.start >= end:
            kept += _disjoint(cluster)
            cluster = []
        cluster.append(span)
        end = max(end, span.stop)
    return kept + _disjoint(cluster)


def _disjoint(cluster: list[Span]) -> list[Span]:
    """The longest spans of a chain of overlapping ones."""
    if len(cluster) < 2:
        return cluster
    kept: list[Span] = []
    for span in sorted(cluster, key=lambda span: (span.start - span.stop, span.start)):
        if all(span.stop <= other.start or other.stop <= span.start for other in kept):
            kept.append(span)
    return sorted(kept, key=attrgetter("start"))
