"""Tests of the presets, and of settings that contradict each other."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from openrealm.errors import ConfigError
from openrealm.settings import Settings, read_settings, resolve, settings_text
from openrealm.settings.presets import PRESETS
from openrealm.settings.removed import REMOVED, RENAMED, Always


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
        ("adapt", ["realm.batch_size=1"], "set realm.in_batch_negatives=false"),
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
            "model.bert.max_positions = 512; raise it",
        ),
        (
            "tiny",
            ["qa.reader=tower", "model.bert.max_positions=80"],
            "a chunk of 64 tokens make 103",
        ),
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
        "ict.steps = 5 does nothing, since stages = warmup, realm, reading; "
        'set stages=["ict", "warmup"'
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


def stored(tmp_path: Path, lines: dict[str, Any], *, preset: str = "adapt") -> Path:
    """The settings of a run, as an earlier release stored them."""
    text = settings_text(resolve(preset=preset))
    for key, value in lines.items():
        section, _, field = key.rpartition(".")
        assert f"[{section}]\n" in text
        text = text.replace(f"[{section}]\n", f"[{section}]\n{field} = {json.dumps(value)}\n")
    path = tmp_path / "settings.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    "key", [k for k, gone in REMOVED.items() if isinstance(gone.is_so, Always)]
)
def test_a_run_that_stored_what_is_always_so_now_loads(key: str, tmp_path: Path) -> None:
    is_so = REMOVED[key].is_so
    assert isinstance(is_so, Always)
    assert read_settings(stored(tmp_path, {key: is_so.now})) == resolve()


@pytest.mark.parametrize(
    ("preset", "lines"),
    [
        ("tiny", {"model.reader.max_positions": 128, "model.reader.dropout": 0.0}),
        ("adapt", {"model.reader.max_positions": 512, "mlm.share": True}),
        ("tiny", {"mlm.share": False}),
        # Without a reader of its own.
        ("paper", {"model.reader.max_positions": 64, "model.reader.dropout": 0.3}),
        ("paper", {"mlm.share": False}),
        ("paper", {"model.embedder.normalize": False}),
        ("tiny", {"model.embedder.normalize": True}),
        ("adapt", {"model.embedder.normalize": True}),
    ],
)
def test_a_run_that_stored_what_is_so_beside_its_other_settings_loads(
    preset: str, lines: dict[str, Any], tmp_path: Path
) -> None:
    assert read_settings(stored(tmp_path, lines, preset=preset)) == resolve(preset=preset)


@pytest.mark.parametrize(
    ("preset", "lines"),
    [
        ("tiny", {"model.reader.max_positions": 512}),
        ("adapt", {"model.reader.dropout": 0.1}),
        ("adapt", {"model.embedder.normalize": False}),
        ("paper", {"model.embedder.normalize": True}),
    ],
)
def test_a_model_that_was_otherwise_than_it_can_be_now_is_refused(
    preset: str, lines: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=re.escape(next(iter(lines)))):
        read_settings(stored(tmp_path, lines, preset=preset))


def test_towers_that_did_not_get_the_readers_bert_are_refused(tmp_path: Path) -> None:
    config = tmp_path / "own.toml"
    config.write_text('stages = ["mlm", "realm"]\n[mlm]\nsteps = 5\nshare = false\n')
    with pytest.raises(ConfigError, match=r"mlm\.share = False, which is gone"):
        resolve(preset="paper", config=config)


def test_what_a_start_brings_is_stored_but_cannot_be_assigned(tmp_path: Path) -> None:
    text = settings_text(resolve())
    assert "activation" not in text
    with pytest.raises(ConfigError, match=r"model\.bert\.activation is no setting: it is gelu_new"):
        resolve(assignments=["model.bert.activation=gelu"])
    settings = resolve()
    bert = replace(settings.model.bert, activation="gelu")
    brought = replace(settings, model=replace(settings.model, bert=bert))
    path = tmp_path / "settings.toml"
    path.write_text(settings_text(brought))
    assert read_settings(path) == brought


def test_what_only_saved_padding_is_passed_over_whatever_it_was(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_text("length_groups = 2\n" + settings_text(resolve()))
    assert read_settings(path) == resolve()


@pytest.mark.parametrize("key", [k for k, gone in REMOVED.items() if not gone.is_so("another", {})])
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


@pytest.mark.parametrize("key", [*REMOVED, *RENAMED])
def test_no_setting_that_is_gone_is_there(key: str) -> None:
    config: Any = Settings()
    *sections, field = key.split(".")
    for section in sections:
        config = getattr(config, section)
    assert not hasattr(config, field)


def test_a_run_that_stored_earlier_names_loads_under_the_present_ones(tmp_path: Path) -> None:
    settings = resolve(assignments=["salient.supported_within=7", "realm.in_batch_negatives=false"])
    text = settings_text(settings)
    for earlier, now in RENAMED.items():
        earlier, now = (name.rpartition(".")[2] for name in (earlier, now))
        assert text.count(f"\n{now} = ") == 1
        text = text.replace(f"\n{now} = ", f"\n{earlier} = ")
    stored = tmp_path / "settings.toml"
    stored.write_text(text)
    assert read_settings(stored) == settings != resolve()


@pytest.mark.parametrize("earlier", RENAMED)
def test_an_earlier_name_in_a_users_settings_is_refused_with_the_present_one(
    earlier: str, tmp_path: Path
) -> None:
    config = tmp_path / "own.toml"
    config.write_text(f"{earlier} = 1")
    said = f" sets {earlier}, which is now called {RENAMED[earlier]}"
    with pytest.raises(ConfigError, match=re.escape(f"{config}{said}")):
        resolve(config=config)
    with pytest.raises(ConfigError, match=re.escape(f"the configuration{said}")):
        resolve(assignments=[f"{earlier}=1"])
