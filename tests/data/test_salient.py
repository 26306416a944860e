"""The configured tagger finds what a person marked in real text."""

from __future__ import annotations

import io
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from openrealm.data.salient import RuleTagger, SpanTagger, make_tagger
from openrealm.errors import ConfigError
from openrealm.settings import SalientConfig
from openrealm.settings.config import override

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
