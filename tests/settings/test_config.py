"""Tests of reading, checking, overriding and writing configs."""

from __future__ import annotations

import json
import tomllib
from dataclasses import FrozenInstanceError, dataclass, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openrealm.errors import ConfigError
from openrealm.settings import config as configs
from openrealm.settings.config import option, section


@dataclass(frozen=True, kw_only=True)
class Optimiser:
    rate: float = option(1e-3, "Learning rate.", source="section 3.1", minimum=0.0, maximum=1.0)
    betas: tuple[float, ...] = option((0.9, 0.999), "Decay rates.")


@dataclass(frozen=True, kw_only=True)
class Stage:
    steps: int = option(100, "Number of steps.", minimum=1)
    marginal: str = option("token", "Form of the loss.", choices=("token", "span"))
    optimiser: Optimiser = section(Optimiser, "The optimiser.")


@dataclass(frozen=True, kw_only=True)
class Whole:
    name: str = option("", "Name of the run.")
    seed: int | None = option(None, "Seed; none: drawn.", minimum=0)
    mixed: bool = option(False, "Mixed precision.")
    layers: tuple[int, ...] = option((), "Layers.")
    realm: Stage = section(Stage, "Joint training.")
    qa: Stage = section(Stage, "Fine-tuning.")


def _read(text: str) -> Whole:
    return configs.from_dict(Whole, configs.parse_toml(text, name="run.toml"))


# Reading ------------------------------------------------------------------------------------------


def test_settings_that_are_not_given_keep_their_defaults() -> None:
    assert configs.from_dict(Whole, {}) == Whole()


def test_a_table_of_toml_sets_the_section_of_the_same_name() -> None:
    whole = _read("seed = 7\nlayers = [1, 2]\n[realm]\nsteps = 5\n[realm.optimiser]\nrate = 0.5\n")
    optimiser = Optimiser(rate=0.5)
    assert whole == Whole(seed=7, layers=(1, 2), realm=Stage(steps=5, optimiser=optimiser))


def test_merging_keeps_what_is_not_named() -> None:
    start = Whole(name="base", realm=Stage(steps=3, marginal="span"))
    merged = configs.merge(start, {"realm": {"steps": 4}})
    assert merged == replace(start, realm=Stage(steps=4, marginal="span"))
    assert start.realm.steps == 3


def test_a_whole_number_is_taken_for_a_float_and_stored_as_one() -> None:
    rate = configs.from_dict(Optimiser, {"rate": 1}).rate
    assert (rate, type(rate)) == (1.0, float)


def test_configs_cannot_be_changed_in_place() -> None:
    with pytest.raises(FrozenInstanceError):
        Whole().seed = 3  # type: ignore[misc]


def test_broken_toml_is_refused_with_the_file_and_the_place() -> None:
    with pytest.raises(ConfigError, match=r"run\.toml is not valid TOML.*line 2"):
        configs.parse_toml("seed = 1\nname = \n", name="run.toml")


# Refusing -----------------------------------------------------------------------------------------


def test_a_misspelt_key_is_refused_with_a_suggestion() -> None:
    with pytest.raises(ConfigError, match=r"'realm\.step'.*did you mean 'steps'\?"):
        configs.from_dict(Whole, {"realm": {"step": 3}})


def test_a_key_like_no_other_is_refused_with_the_keys_there_are() -> None:
    with pytest.raises(ConfigError, match=r"'qa\.zzz'.*known here: marginal, optimiser, steps"):
        configs.from_dict(Whole, {"qa": {"zzz": 3}})


def test_a_suggestion_comes_from_the_section_of_the_key() -> None:
    with pytest.raises(ConfigError) as caught:
        configs.from_dict(Whole, {"stepz": 1})
    assert "did you mean" not in str(caught.value)


@pytest.mark.parametrize(
    ("values", "where"),
    [
        ({"seed": "7"}, "seed = '7'"),
        ({"seed": 7.0}, "seed = 7.0"),
        ({"seed": True}, "seed = True"),
        ({"mixed": 1}, "mixed = 1"),
        ({"name": 3}, "name = 3"),
        ({"layers": 3}, "layers = 3"),
        ({"layers": [1, "2"]}, "layers = '2'"),
        ({"layers": "12"}, "layers = '12'"),
        ({"realm": {"optimiser": {"rate": False}}}, "realm.optimiser.rate = False"),
        ({"realm": {"steps": None}}, "realm.steps = None"),
        ({"name": {"first": 1}}, "name = {'first': 1}"),
    ],
)
def test_a_value_of_the_wrong_type_is_refused_by_name(values: dict[str, Any], where: str) -> None:
    with pytest.raises(ConfigError) as caught:
        configs.from_dict(Whole, values)
    assert str(caught.value).startswith(where)
    assert "wrong type" in str(caught.value)


def test_a_value_in_place_of_a_section_is_refused() -> None:
    with pytest.raises(ConfigError, match="realm is a section of settings, not the value 5"):
        configs.from_dict(Whole, {"realm": 5})


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("realm.steps=0", "realm.steps = 0 is below the least allowed value, 1"),
        ("qa.optimiser.rate=1.5", "qa.optimiser.rate = 1.5 is above the largest allowed value"),
        ("seed=-1", "seed = -1 is below"),
        ("realm.marginal=word", "realm.marginal = 'word' is not one of: token, span"),
    ],
)
def test_a_value_out_of_range_is_refused_with_the_limit(assignment: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        configs.override(Whole(), [assignment])
    assert message in str(caught.value)


@pytest.mark.parametrize("assignment", ["realm.steps=1", "qa.optimiser.rate=1.0", "seed=0"])
def test_limits_themselves_are_allowed(assignment: str) -> None:
    configs.override(Whole(), [assignment])


def test_not_a_number_is_in_no_range() -> None:
    with pytest.raises(ConfigError, match=r"realm\.optimiser\.rate = nan"):
        configs.override(Whole(), ["realm.optimiser.rate=nan"])


# Overriding ---------------------------------------------------------------------------------------


def test_a_dotted_assignment_reaches_a_nested_setting() -> None:
    whole = configs.override(Whole(), ["realm.optimiser.rate=0.25"])
    assert whole == Whole(realm=Stage(optimiser=Optimiser(rate=0.25)))


@pytest.mark.parametrize(
    ("assignment", "value"),
    [
        ("name=minilm", "minilm"),
        ('name="two words"', "two words"),
        ("name=a/path with spaces.txt", "a/path with spaces.txt"),
        ("name=a=b", "a=b"),
        ("name=", ""),
        (" name = padded ", "padded"),
    ],
)
def test_a_string_needs_no_quotes(assignment: str, value: str) -> None:
    assert configs.override(Whole(), [assignment]).name == value


def test_lists_and_truth_values_are_written_as_in_toml() -> None:
    whole = configs.override(Whole(), ["layers=[3, 4]", "mixed=true"])
    assert (whole.layers, whole.mixed) == ((3, 4), True)


def test_assignments_as_nested_values_change_a_config_as_they_do_one_by_one() -> None:
    words = ["realm.steps=5", "seed=1", "realm.marginal=span", "realm.steps=7", "name=a=b"]
    values = configs.assigned(words)
    assert values == {"realm": {"steps": 7, "marginal": "span"}, "seed": 1, "name": "a=b"}
    assert configs.merge(Whole(), values) == configs.override(Whole(), words)
    with pytest.raises(ConfigError, match="is not an assignment"):
        configs.assigned(["seed"])


def test_of_two_assignments_to_one_setting_the_later_holds() -> None:
    assert configs.override(Whole(), ["seed=1", "seed=2"]).seed == 2


@pytest.mark.parametrize("assignment", ["realm.steps", "=3", " =3"])
def test_what_is_no_assignment_is_refused(assignment: str) -> None:
    with pytest.raises(ConfigError, match=r"is not an assignment; write section\.key=value"):
        configs.override(Whole(), [assignment])


def test_an_unknown_section_in_an_assignment_is_refused() -> None:
    with pytest.raises(ConfigError, match="'relm'; did you mean 'realm'"):
        configs.override(Whole(), ["relm.steps=3"])


def test_a_section_below_a_plain_setting_is_refused() -> None:
    with pytest.raises(ConfigError, match="seed"):
        configs.override(Whole(), ["seed.inner=3"])


# Writing ------------------------------------------------------------------------------------------

_finite = st.floats(allow_nan=False, allow_infinity=False)
_optimisers = st.builds(
    Optimiser, rate=st.floats(0.0, 1.0), betas=st.lists(_finite, max_size=3).map(tuple)
)
_stages = st.builds(
    Stage,
    steps=st.integers(1, 2**60),
    marginal=st.sampled_from(["token", "span"]),
    optimiser=_optimisers,
)
_wholes = st.builds(
    Whole,
    name=st.text(),
    seed=st.none() | st.integers(0, 2**62),
    mixed=st.booleans(),
    layers=st.lists(st.integers(-5, 5), max_size=4).map(tuple),
    realm=_stages,
    qa=_stages,
)


@given(_wholes)
def test_reading_back_what_was_written_as_toml_gives_an_equal_config(whole: Whole) -> None:
    assert _read(configs.to_toml(whole)) == whole


@given(_wholes)
def test_reading_back_what_was_written_as_json_gives_an_equal_config(whole: Whole) -> None:
    assert configs.from_dict(Whole, json.loads(json.dumps(configs.to_dict(whole)))) == whole


def test_an_infinite_float_survives_toml() -> None:
    written = configs.to_toml(Optimiser(betas=(float("inf"), float("-inf"))))
    assert tomllib.loads(written)["betas"] == [float("inf"), float("-inf")]


def test_the_written_toml_documents_every_setting() -> None:
    text = configs.to_toml(Whole())
    for note in (
        "# Number of steps.",
        "# One of: token, span.",
        "# Source: section 3.1.",
        "# Joint training.\n[realm]",
        "# The optimiser.\n[qa.optimiser]",
    ):
        assert note in text
    assert "# seed =" in text  # TOML has no null: a setting without a value is a comment
