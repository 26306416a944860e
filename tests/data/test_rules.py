"""The rule tagger puts dates, numbers, names, titles and terms together."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest

from openrealm.data.rules import RuleTagger
from openrealm.data.spans import Span
from openrealm.errors import InputError

TEXTS = [
    "In 1898 Marie Curie discovered polonium. The metal is radioactive. Polonium decays.",
    "Curie worked in Paris. Nobody met Curie. The entropy layer, the entropy layer.",
    "Nothing is known of it. An entropy layer and another entropy layer were seen near the wall.",
    *["The metal is known. Nothing of it is radioactive, and the wall is near."] * 60,
]
TITLES = ["Polonium", "Marie Curie", "Metal", "Paris"]


@pytest.fixture(scope="module")
def tagger() -> RuleTagger:
    return RuleTagger.from_texts(TEXTS, TITLES)


def marked(tagger: RuleTagger, text: str) -> list[tuple[str, str]]:
    return [(text[span.start : span.stop], span.kind) for span in tagger.tag([text])[0]]


def test_dates_names_and_rare_titles_are_found_in_one_sentence(tagger: RuleTagger) -> None:
    assert marked(tagger, "Curie found polonium and metal in Paris in 1898 with 3 kg of ore.") == [
        ("Curie", "entity"),
        ("polonium", "entity"),
        ("Paris", "entity"),
        ("1898", "date"),
        ("3 kg", "number"),
    ]


@pytest.mark.parametrize(
    ("terms", "expected"),
    [
        ("never", ["Paris"]),
        ("fallback", ["Paris", "entropy layer"]),
        ("always", ["Paris", "entropy layer", "entropy layer"]),
    ],
)
def test_terms_stand_in_sentence_by_sentence(terms: str, expected: list[str]) -> None:
    tagger = RuleTagger.from_texts(TEXTS, TITLES, terms=terms)
    text = "The entropy layer of Paris is thin. An entropy layer grows."
    found = [word for word, _ in marked(tagger, text)]
    assert sorted(found) == sorted(expected)


def test_spans_never_overlap_and_are_in_order() -> None:
    tagger = RuleTagger.from_texts(TEXTS, TITLES, terms="always")
    for spans in tagger.tag([" ".join(TEXTS), "", "   \n"]):
        assert all(a.stop <= b.start for a, b in pairwise(spans))


def test_long_spans_are_left_out() -> None:
    ten = "Order of the Knights of the Bath of Old England"
    assert marked(RuleTagger(), f"the {ten} ruled Rome") == [(ten, "entity"), ("Rome", "entity")]
    eleven = "Order of the Knights of the Bath of Old Merry England"
    assert marked(RuleTagger(), f"the {eleven} ruled Rome") == [("Rome", "entity")]


def test_a_tagger_without_a_corpus_still_finds_what_capitals_and_figures_tell() -> None:
    assert RuleTagger().tag(["It was Rome in 1950."]) == [
        [Span(7, 11, "entity"), Span(15, 19, "date")]
    ]


def test_a_saved_tagger_finds_the_same_and_has_the_same_fingerprint(tagger: RuleTagger) -> None:
    again = RuleTagger.from_dict(json.loads(json.dumps(tagger.to_dict())))
    assert again.tag(TEXTS) == tagger.tag(TEXTS)
    assert again.fingerprint == tagger.fingerprint


def test_the_fingerprint_depends_on_the_corpus_and_the_options(tagger: RuleTagger) -> None:
    others = [
        RuleTagger.from_texts(TEXTS[1:], TITLES),
        RuleTagger.from_texts(TEXTS, TITLES[1:]),
        RuleTagger.from_texts(TEXTS, TITLES, terms="always"),
    ]
    assert len({tagger.fingerprint, *(other.fingerprint for other in others)}) == 4
    assert RuleTagger.from_texts(iter(TEXTS), iter(TITLES)).fingerprint == tagger.fingerprint


def test_a_tagger_saved_by_another_version_is_refused(tagger: RuleTagger) -> None:
    with pytest.raises(InputError, match="format 99; this version reads 1"):
        RuleTagger.from_dict({**tagger.to_dict(), "format": 99})
    saved = tagger.to_dict()
    del saved["names"]
    with pytest.raises(InputError, match="lacks 'names'"):
        RuleTagger.from_dict(saved)
