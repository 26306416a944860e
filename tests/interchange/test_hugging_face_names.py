"""Tests of the tables of names: of tensors against the references and our own model, of config
fields in both directions against each other.
"""

from __future__ import annotations

from typing import Any

import published
import pytest

from openrealm.errors import ConfigError
from openrealm.interchange.hugging_face_names import (
    BERT_FIELDS,
    CHECKED,
    FIXED,
    IGNORED,
    NESTED_FIELDS,
    Names,
    from_settings,
    names_of,
    to_settings,
)
from openrealm.models.pretrained import build_model
from openrealm.settings import Settings
from openrealm.settings.config import merge, to_dict

KINDS = ["embedder", "scorer", "scorer_unshared", "encoder", "reader", "openqa"]


def table(name: str) -> Names:
    kind, _, unshared = name.partition("_")
    return names_of(kind, layers=2, towers=2 if unshared else 1)


@pytest.mark.parametrize("name", KINDS)
def test_the_table_knows_exactly_the_names_of_the_library(name: str) -> None:
    found = set(published.weights(name)) - {"block_emb"}
    # Of buffers, later versions of the library have fewer.
    assert found <= table(name).known
    assert {n for n in table(name).known - found if "_ids" not in n} == set()


@pytest.mark.parametrize("name", KINDS)
def test_a_name_is_live_or_dead_or_a_copy_or_a_buffer(name: str) -> None:
    names = table(name)
    parts = [set(names.live), names.dead, set(names.same), names.buffers]
    assert sum(map(len, parts)) == len(names.known)
    assert set(names.same.values()) <= set(names.live) | names.dead


@pytest.mark.parametrize("name", [*KINDS, "bert"])
def test_what_is_live_has_its_place_in_our_model_and_no_place_is_taken_twice(name: str) -> None:
    settings = merge(Settings(), to_settings(published.config("embedder"), name=name))
    settings = merge(settings, {"model": {"embedder": {"shared": False}}})
    own = build_model(settings.model, vocab_size=80, pad_id=0, seed=0).state_dict()
    places = [ours for all_ours in table(name).live.values() for ours in all_ours]
    assert len(places) == len(set(places))
    assert set(places) <= set(own)


def test_each_field_has_one_place_in_the_table() -> None:
    groups: list[Any] = [BERT_FIELDS, NESTED_FIELDS, FIXED, CHECKED, IGNORED]
    fields = [field for group in groups for field in group]
    assert len(fields) == len(set(fields))


@pytest.mark.parametrize("kind", ["embedder", "reader", "encoder", "scorer"])
def test_every_field_that_the_library_writes_is_known(kind: str) -> None:
    to_settings(published.config(kind), name=kind)


def test_fields_come_back_as_they_were() -> None:
    config = published.config("reader")
    settings = merge(Settings(), to_settings(config, name="x"))
    back = from_settings(settings.model.bert, to_dict(settings), vocab_size=80, num_blocks=9)
    for field in (*BERT_FIELDS, *NESTED_FIELDS, "vocab_size", "num_block_records"):
        assert back[field] == config[field], field
    assert settings.model.bert.layers == 2
    assert settings.model.span_head.layer_norm_eps == 1e-3
    assert settings.model.embedder.layer_norm_eps == 1e-12
    assert (settings.retrieval.k, settings.qa.read, settings.qa.beam) == (3, 3, 6)


def test_a_published_config_of_the_defaults_is_the_papers_model() -> None:
    # RealmConfig's defaults in transformers 4.30.2.
    published_defaults = {
        "vocab_size": 30522,
        "hidden_size": 768,
        "retriever_proj_size": 128,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "num_candidates": 8,
        "intermediate_size": 3072,
        "hidden_act": "gelu_new",
        "hidden_dropout_prob": 0.1,
        "attention_probs_dropout_prob": 0.1,
        "max_position_embeddings": 512,
        "type_vocab_size": 2,
        "initializer_range": 0.02,
        "layer_norm_eps": 1e-12,
        "span_hidden_size": 256,
        "max_span_width": 10,
        "reader_layer_norm_eps": 1e-3,
        "reader_beam_size": 5,
        "reader_seq_len": 320,
        "num_block_records": 13353718,
        "searcher_beam_size": 5000,
    }
    assert merge(Settings(), to_settings(published_defaults, name="x")) == Settings()


def test_a_value_of_another_type_is_refused_by_its_setting() -> None:
    config = published.config("encoder") | {"num_hidden_layers": "two"}
    with pytest.raises(ConfigError, match=r"model\.bert\.layers"):
        merge(Settings(), to_settings(config, name="x"))
