"""Random spans are functions of the seed and the text alone."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest

from openrealm.data.random_spans import RandomTagger

WORDS = " ".join(f"w{number}" for number in range(200))
TEXT = f"{WORDS} end. Short one. The {WORDS}."


@pytest.mark.parametrize("kind", ["tokens", "spans"])
def test_the_same_seed_and_text_give_the_same_spans_in_any_company(kind: str) -> None:
    first = RandomTagger(kind, seed=1).tag([TEXT])[0]
    assert RandomTagger(kind, seed=1).tag(["other text", TEXT])[1] == first
    assert RandomTagger(kind, seed=2).tag([TEXT])[0] != first
    assert RandomTagger(kind, seed=1).tag([TEXT + "."])[0] != first


@pytest.mark.parametrize("kind", ["tokens", "spans"])
def test_spans_are_whole_words_in_order_inside_one_sentence(kind: str) -> None:
    spans = RandomTagger(kind, seed=3).tag([TEXT])[0]
    assert all(a.stop <= b.start for a, b in pairwise(spans))
    for span in spans:
        words = TEXT[span.start : span.stop].split(" ")
        assert set(words) <= set(TEXT.replace(".", "").split())
        assert len(words) <= (1 if kind == "tokens" else 10)


def test_each_sentence_has_a_span_for_every_ten_words_but_at_least_one() -> None:
    for kind in ("tokens", "spans"):
        assert len(RandomTagger(kind, seed=0).tag([TEXT])[0]) == 20 + 1 + 20
    assert RandomTagger("spans", seed=0).tag(["", "  ", "...", "* . ! ?"]) == [[]] * 4


def test_lengths_of_spans_are_geometric() -> None:
    texts = [f"{WORDS} {number}" for number in range(200)]
    spans = zip(texts, RandomTagger("spans", seed=0).tag(texts), strict=True)
    lengths = Counter(text[s.start : s.stop].count(" ") + 1 for text, found in spans for s in found)
    # One in five ends after its first word; a few more are cut short by the next span.
    assert 0.18 < lengths[1] / lengths.total() < 0.35
    assert max(lengths) == 10


def test_fingerprints_tell_kind_and_seed_apart() -> None:
    taggers = [
        RandomTagger("tokens", seed=0),
        RandomTagger("spans", seed=0),
        RandomTagger("spans", seed=1),
    ]
    assert len({tagger.fingerprint for tagger in taggers}) == 3
