"""Tests of the presets, and of settings that contradict each other."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from openrealm.errors import ConfigError
from openrealm.settings import Settings, read_settings, resolve, settings_text
from openrealm.settings.presets import PRESETS
from openrealm.settings.removed import REMOVED


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
        ("tiny", ["realm.lr_lexical=0.01"], "trains model.lexical_weight, which is 0"),
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
    resolve(assignments=["realm.lexical=1"])
    resolve(assignments=["realm.towers=both"])
    resolve(assignments=["start=scratch", "stages=['ict','realm']", "ict.steps=5"])


@pytest.mark.parametrize("key", REMOVED)
def test_a_run_that_stored_what_is_always_so_now_loads(key: str, tmp_path: Path) -> None:
    section, _, field = key.rpartition(".")
    line = f"{field} = {json.dumps(REMOVED[key].now)}"
    stored = tmp_path / "settings.toml"
    stored.write_text(settings_text(resolve()).replace(f"[{section}]\n", f"[{section}]\n{line}\n"))
    assert line in stored.read_text()
    assert read_settings(stored) == resolve()


@pytest.mark.parametrize("key", REMOVED)
def test_another_value_of_a_setting_that_is_gone_is_refused_with_what_to_do(
    key: str, tmp_path: Path
) -> None:
    config = tmp_path / "own.toml"
    config.write_text(f'{key} = "another"')
    with pytest.raises(ConfigError) as caught:
        resolve(config=config)
    said = f"{config} sets {key} = 'another', which is gone: {REMOVED[key].instead}; remove it"
    assert str(caught.value) == said
    with pytest.raises(ConfigError, match=f"the configuration sets {re.escape(key)} ="):
        resolve(assignments=[f"{key}=another"])


@pytest.mark.parametrize("key", REMOVED)
def test_no_setting_that_is_gone_is_there(key: str) -> None:
    config: Any = Settings()
    *sections, field = key.split(".")
    for section in sections:
        config = getattr(config, section)
    assert not hasattr(config, field)
