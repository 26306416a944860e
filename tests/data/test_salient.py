"""The taggers: by rules (dates, numbers, names, titles and terms together), at random (a function
of the seed and the text alone), and the configured one against what a person marked in real text.
"""

from __future__ import annotations

import io
import itertools
import json
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from openrealm.data.salient import RandomTagger, RuleTagger, make_tagger
from openrealm.data.spans import Span, SpanTagger
from openrealm.errors import ConfigError, InputError
from openrealm.settings import SalientConfig
from openrealm.settings.config import override

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


SAMPLE = Path(__file__).parent / "salient_sample.jsonl"


def sample() -> list[dict[str, Any]]:
    return [json.loads(line) for line in SAMPLE.read_text(encoding="utf-8").splitlines()]


def exact_and_overlap(tagger: SpanTagger) -> tuple[float, float]:
    """F1 of spans that equal a marked one, and of spans that share a character with one."""
    exact = predicted = marked = touching = touched = 0
    for record in sample():
        gold = {(start, stop) for start, stop, _ in record["spans"]}
        found = {(span.start, span.stop) for span in tagger.tag([record["text"]])[0]}
        predicted, marked = predicted + len(found), marked + len(gold)
        exact += len(gold & found)
        touching += sum(any(a < d and c < b for c, d in gold) for a, b in found)
        touched += sum(any(a < d and c < b for c, d in found) for a, b in gold)
    precision, recall = touching / predicted, touched / marked
    return 2 * exact / (predicted + marked), 2 * precision * recall / (precision + recall)


def wiki(shared_data: Path, count: int) -> Iterator[dict[str, Any]]:
    import zstandard

    path = shared_data / "data" / "wiki" / "core-0.jsonl.zst"
    with path.open("rb") as file, zstandard.ZstdDecompressor().stream_reader(file) as stream:
        for line in itertools.islice(io.TextIOWrapper(stream, encoding="utf-8"), count):
            yield json.loads(line)


def test_the_marked_spans_are_whole_and_apart() -> None:
    records = sample()
    assert len(records) == 123
    assert sum(len(record["spans"]) for record in records) == 262
    for record in records:
        text, end = record["text"], 0
        for start, stop, kind in record["spans"]:
            assert end <= start < stop <= len(text)
            assert text[start:stop] == text[start:stop].strip()
            assert kind in ("entity", "date", "number")
            end = stop


def test_rules_without_a_corpus_find_what_a_person_marked() -> None:
    exact, overlap = exact_and_overlap(RuleTagger())
    assert exact > 0.90  # measured: .917
    assert overlap > 0.95  # measured: .962


def test_rules_that_know_a_corpus_find_more(shared_data: Path) -> None:
    articles = list(wiki(shared_data, 300))
    tagger = make_tagger(
        SalientConfig(terms="never"),
        texts=(article["text"] for article in articles),
        titles=(article["title"] for article in articles),
        seed=0,
    )
    exact, overlap = exact_and_overlap(tagger)
    assert exact > 0.91  # measured: .925
    assert overlap > 0.96  # measured: .970


@pytest.mark.parametrize("kind", ["tokens", "spans"])
def test_random_spans_find_little_of_it(kind: str) -> None:
    tagger = make_tagger(SalientConfig(kind=kind), texts=(), titles=(), seed=0)
    assert tagger.name == kind
    assert exact_and_overlap(tagger)[0] < 0.2


def test_options_of_the_config_reach_the_rules() -> None:
    config = override(
        SalientConfig(),
        ["terms=always"],
    )
    tagger = make_tagger(config, texts=["polonium", "polonium"], titles=["Polonium"], seed=0)
    assert isinstance(tagger, RuleTagger)
    assert tagger.terms == "always"


def test_the_seed_reaches_the_random_taggers() -> None:
    taggers = [
        make_tagger(SalientConfig(kind="spans"), texts=(), titles=(), seed=seed) for seed in (0, 1)
    ]
    assert taggers[0].fingerprint != taggers[1].fingerprint


@pytest.mark.parametrize("kind", ["", "rule", "spacy:", "hf", "bert:x"])
def test_an_unknown_kind_is_refused_by_name(kind: str) -> None:
    with pytest.raises(ConfigError, match=r"unknown; use rules, tokens, spans, spacy:NAME"):
        make_tagger(SalientConfig(kind=kind), texts=(), titles=(), seed=0)


def test_models_are_looked_up_by_their_name(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def look_up(name: str) -> RuleTagger:
        asked.append(name)
        return RuleTagger()

    monkeypatch.setattr("openrealm.data.salient.spacy_tagger", look_up)
    monkeypatch.setattr("openrealm.data.salient.transformers_tagger", look_up)
    for kind in ("spacy:en_core_web_sm", "hf:dslim/bert-base-NER"):
        make_tagger(SalientConfig(kind=kind), texts=(), titles=(), seed=0)
    assert asked == ["en_core_web_sm", "dslim/bert-base-NER"]
