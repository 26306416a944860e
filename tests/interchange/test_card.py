"""Tests of the model card: the hub's own library reads its front matter."""

from __future__ import annotations

from dataclasses import replace

import pytest
from huggingface_hub import DatasetCard, ModelCard

from openrealm.interchange.card import CardFacts, model_card, repo_type

FORMATS = ("openrealm", "hf-realm", "sentence-transformers", "parquet", "faiss")
FACTS = CardFacts(
    title="rivers, run-001",
    export="openrealm",
    location="me/rivers",
    version="9.8.7",
    starts=("minilm",),
    seed=3,
    stages={"warmup": 150, "realm": 2400},
    reports=[
        {"stage": "start", "total_step": 0, "probe/recall@5": 0.25},
        {"stage": "realm", "total_step": 90, "probe/recall@5": 0.5, "probe/utility": 1.25},
        {"stage": "qa", "total_step": 99, "qa/exact_match": 0.125},
    ],
    documents=1234,
    chunks=5678,
    corpus="ab" * 32,
    query_tokens=64,
    chunk_tokens=160,
    dim=384,
    score_scale=20.0,
    is_shared=True,
)


@pytest.mark.parametrize("export", FORMATS)
def test_the_front_matter_is_what_the_hub_reads(export: str) -> None:
    text = model_card(replace(FACTS, export=export))
    if repo_type(export) == "dataset":
        assert DatasetCard(text).data.tags == ["openrealm", "realm", "retrieval"]
        return
    data = ModelCard(text).data
    wanted = "sentence-transformers" if export == "sentence-transformers" else "openrealm"
    assert data.library_name == wanted
    assert data.base_model == "sentence-transformers/all-MiniLM-L6-v2"
    assert {"openrealm", "realm"} <= set(data.tags)
    assert data.license is None  # the publisher's to choose


@pytest.mark.parametrize("export", FORMATS)
def test_the_card_states_data_stages_figures_and_version(export: str) -> None:
    text = model_card(replace(FACTS, export=export))
    for part in (
        *("| documents | 1,234 |", "5,678, of at most 160 tokens", "ab" * 32, "openrealm 9.8.7"),
        *("| warmup | 150 |", "| realm | 2,400 |", "Seed 3"),
        "| after stage | start | realm | qa |",
        *("| `probe/recall@5` | 0.250 | 0.500 |  |", "| `qa/exact_match` |  |  | 0.125 |"),
        *("## Licence", "## Use"),
    ):
        assert part in text


@pytest.mark.parametrize(
    ("starts", "is_said"),
    [
        (("minilm",), True),
        (("my-model", "minilm"), True),
        (("starter",), True),
        (("scratch",), False),
        (("google-bert/bert-base-uncased",), False),
    ],
)
def test_a_start_from_labelled_pairs_is_said_also_at_one_remove(
    starts: tuple[str, ...], is_said: bool
) -> None:
    text = model_card(replace(FACTS, starts=starts))
    assert ("not unsupervised" in text) == is_said
    assert all(f"`{start}`" in text for start in starts)


@pytest.mark.parametrize(
    ("start", "base"),
    [
        ("scratch", None),
        ("my-folder", None),
        ("starter", "sentence-transformers/all-MiniLM-L6-v2"),
        ("google-bert/bert", "google-bert/bert"),
    ],
)
def test_the_base_model_is_named_where_the_hub_has_it(start: str, base: str | None) -> None:
    assert ModelCard(model_card(replace(FACTS, starts=(start,)))).data.base_model == base


def test_a_corpus_that_has_changed_has_no_number_of_documents() -> None:
    text = model_card(replace(FACTS, documents=None))
    assert "| documents | (changed since) |" in text and "5,678" in text


def test_nothing_measured_and_nothing_trained_are_said() -> None:
    text = model_card(replace(FACTS, reports=[], stages={}))
    assert "Nothing was measured." in text and "No training step" in text


def test_the_sentence_encoders_card_says_how_to_encode_both_and_the_factor() -> None:
    text = model_card(replace(FACTS, export="sentence-transformers"))
    assert 'encode([("title", "body of a chunk")])' in text
    assert "max_seq_length = 64" in text and "* 20" in text
    two = model_card(replace(FACTS, export="sentence-transformers", is_shared=False))
    assert "/query" in two and "/chunk" in two and "max_seq_length" not in two
    plain = model_card(replace(FACTS, export="sentence-transformers", score_scale=1.0))
    assert "factor" not in plain


@pytest.mark.parametrize("export", FORMATS)
def test_what_of_a_score_is_not_exported_is_said(export: str) -> None:
    assert "BM25" not in model_card(replace(FACTS, export=export))
    text = model_card(replace(FACTS, export=export, lexical_weight=0.567))
    assert "0.57 times BM25" in text
    assert ("the vectors alone" in text) is (export != "openrealm")
