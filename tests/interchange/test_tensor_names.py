"""Tests of the table of tensor names, against those of the references and of our own model."""

from __future__ import annotations

import published
import pytest

from openrealm.interchange.config_fields import to_settings
from openrealm.interchange.tensor_names import Names, names_of
from openrealm.models.pretrained import build_model
from openrealm.settings import Settings
from openrealm.settings.config import merge

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
