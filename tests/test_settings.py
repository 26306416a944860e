"""Tests of the presets, and of settings that contradict each other."""

from __future__ import annotations

import re

import pytest

from openrealm.errors import ConfigError
from openrealm.settings import Settings, resolve
from openrealm.settings.presets import PRESETS


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_every_preset_resolves_and_takes_a_value_over_it(preset: str) -> None:
    settings = resolve(preset=preset, assignments=["seed=7"])
    assert settings.seed == 7
    assert settings != Settings()


@pytest.mark.parametrize(
    ("preset", "assignments", "message"),
    [
        ("paper", ["stages=['ict','drill']"], "'drill'"),
        ("paper", ["realm.lexical=7"], "leaves none of the 7 chunks"),
        ("paper", ["realm.towers=query"], "realm.towers=both"),
        (
            "adapt",
            ["start=scratch"],
            "start = scratch with",
        ),
        (
            "adapt",
            ["realm.lr=0", "realm.lr_retriever=0", "realm.lr_lexical=0"],
            "nothing is trained",
        ),
        ("adapt", ["realm.batch_size=1"], "set realm.unread=false"),
        (
            "paper",
            [
                "start=minilm",
                "realm.towers=query",
                "model.embedder.shared=false",
                "stages=['realm']",
            ],
            "projection = linear makes random vectors",
        ),
        ("adapt", ["model.embedder.projection=none"], "model.embedder.projection=adapter"),
        ("adapt", ["model.embedder.dropout=0.1"], "realm.towers=both"),
        ("adapt", ["stages=['realm','warmup','realm']"], "lists realm more than once"),
        ("tiny", ["realm.rerank_from=4"], "raise it, or set it to 0"),
        ("adapt", ["realm.rerank_from=40"], "set realm.towers=both"),
        ("tiny", ["realm.rerank_from=9", "model.lexical_weight=0.3"], "set one of them to 0"),
        ("tiny", ["realm.lr_lexical=0.01"], "trains model.lexical_weight, which is 0"),
        ("adapt", ["realm.lexical_query=unmasked"], "set realm.lexical=1"),
        ("adapt", ["warmup.lexical_query=unmasked"], "set warmup.candidates=lexical"),
        (
            "adapt",
            ["corpus.chunking.chunk_tokens=500"],
            "raise model.reader.max_positions",
        ),
        ("tiny", ["qa.reader=tower", "model.bert.max_positions=80"], "with qa.reader = tower"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(
    preset: str, assignments: list[str], message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve(preset=preset, assignments=assignments)
    assert message in str(caught.value)


def test_steps_of_a_stage_that_is_not_listed_are_refused() -> None:
    message = (
        'ict.steps = 5 does nothing, since stages = warmup, realm; set stages=["ict", "warmup"'
    )
    with pytest.raises(ConfigError, match=re.escape(message)):
        resolve(assignments=["ict.steps = 5"])
    resolve(assignments=["ict.steps=0", "ict.batch_size=8"])  # as settings for several presets


@pytest.mark.parametrize("rate", ["realm.lr", "realm.lr_retriever", "qa.lr", "qa.lr_retriever"])
def test_a_negative_rate_is_refused(rate: str) -> None:
    with pytest.raises(ConfigError, match=rate):
        resolve(assignments=[f"{rate}=-1"])


def test_larger_chunks_fit_the_default_preset() -> None:
    settings = resolve(assignments=["corpus.chunking.chunk_tokens=288"])
    assert settings.corpus.chunking.chunk_tokens == 288


@pytest.mark.parametrize("without", [["realm.steps=0"], ["stages=['warmup']"]])
def test_where_there_is_no_joint_stage_its_rates_may_be_0(without: list[str]) -> None:
    rates = ["realm.lr=0", "realm.lr_retriever=0", "realm.lr_lexical=0"]
    assert resolve(assignments=[*rates, *without]).realm.lr == 0.0


def test_what_a_contradiction_is_resolved_by_resolves_it() -> None:
    resolve(assignments=["realm.lexical=1", "realm.lexical_query=unmasked"])
    resolve(assignments=["realm.towers=both"])
    resolve(assignments=["start=scratch", "stages=['ict','realm']", "ict.steps=5"])


def test_the_marginal_of_chunks_goes_without_no_answer() -> None:
    with pytest.raises(ConfigError, match=r"qa\.no_answer = false"):
        resolve(assignments=["qa.marginal=chunks"])
    assert not resolve(assignments=["qa.marginal=chunks", "qa.no_answer=false"]).qa.no_answer
