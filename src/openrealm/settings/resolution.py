"""Settings out of a preset, a TOML file and assignments, and back to TOML."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from openrealm.errors import ConfigError
from openrealm.settings.checks import checked
from openrealm.settings.config import from_dict, merge, override, parse_toml, to_dict, to_toml
from openrealm.settings.presets import PRESETS
from openrealm.settings.removed import under_present_names
from openrealm.settings.run import Settings
from openrealm.settings.stages import STAGES


def resolve(
    *,
    preset: str | None = None,
    config: Path | None = None,
    assignments: Sequence[str] = (),
    base: Settings | None = None,
) -> Settings:
    """Settings out of a preset, a TOML file and dotted assignments, the later over the earlier.

    Args:
        preset: Name of a preset; ``adapt`` where nothing else is given.
        config: A TOML file.
        assignments: Such as ``realm.steps=200``.
        base: Settings to begin from instead of a preset.

    Raises:
        ConfigError: An unknown preset, key, or value.
    """
    if base is None or preset is not None:
        base = preset_settings(preset or "adapt")
    if config is not None:
        base = merge(base, _tables(config), name=str(config))
    settings = checked(override(base, assignments))
    require_stages(settings, _stages_given(assignments))
    return settings


def require_stages(settings: Settings, given: Iterable[tuple[str, str]]) -> None:
    """Checks that no stage is given steps that it will not be asked for.

    Args:
        settings: All of them.
        given: Stages whose steps somebody has set, and how, as a message shows it.

    Raises:
        ConfigError: One is.
    """
    for stage, assignment in given:
        if stage not in settings.stages and getattr(settings, stage).steps:
            listed = ", ".join(f'"{name}"' for name in STAGES if name in {*settings.stages, stage})
            raise ConfigError(
                f"{assignment} does nothing, since stages = {', '.join(settings.stages)}; "
                f"set stages=[{listed}] too"
            )


def _stages_given(assignments: Iterable[str]) -> Iterator[tuple[str, str]]:
    for assignment in assignments:
        stage, _, key = assignment.partition("=")[0].strip().partition(".")
        if stage in STAGES and key == "steps":
            yield stage, assignment


def preset_settings(name: str) -> Settings:
    """A preset by name.

    Raises:
        ConfigError: There is none of that name.
    """
    if name not in PRESETS:
        raise ConfigError(f"there is no preset '{name}'; there are: {', '.join(PRESETS)}")
    return from_dict(Settings, PRESETS[name])


def read_settings(path: Path) -> Settings:
    """Settings as a run has stored them.

    Raises:
        ConfigError: The file is missing or damaged.
    """
    return checked(merge(Settings(), under_present_names(_tables(path)), name=str(path)))


def _tables(path: Path) -> dict[str, Any]:
    """The tables of a TOML file."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the configuration {path}: {error}") from error
    return parse_toml(text, name=str(path))


def learning_rates(settings: Settings) -> dict[str, float]:
    """Every peak learning rate by its name, such as ``realm.lr``."""
    return {
        f"{stage}.{field.name}": getattr(getattr(settings, stage), field.name)
        for stage in (*STAGES, "qa")
        for field in fields(getattr(settings, stage))
        if field.name.startswith("lr")
    }


def lower_rates(settings: Settings, assignments: Sequence[str]) -> Settings:
    """The settings with lower learning rates: all that a run may change when it is resumed.

    Raises:
        ConfigError: Something else is set, a rate is raised, or one is set to 0.
    """
    return require_lower_rates(settings, override(settings, assignments))


def require_lower_rates(before: Settings, after: Settings) -> Settings:
    """The settings that a run goes on with, checked to change nothing but to lower rates.

    Raises:
        ConfigError: Something else has changed, a rate is raised, or one is set to 0.
    """
    rates, were = learning_rates(after), learning_rates(before)
    has, had = _leaves(to_dict(after)), _leaves(to_dict(before))
    for key, value in has.items():
        if key not in rates and value != had[key]:
            raise ConfigError(
                "--resume goes on with the settings that the run began with, and may only lower "
                f"learning rates: leave out {key}={json.dumps(value)}, or start a new run"
            )
    for key, rate in rates.items():
        if rate > were[key]:
            raise ConfigError(
                f"{key} = {rate} is above the run's {were[key]}; --resume may only lower it"
            )
        if rate == 0 < were[key]:
            raise ConfigError(
                f"{key} = 0 would leave out what the run has trained until now; give a small rate, "
                "or start a new run"
            )
    return after


def _leaves(values: dict[str, Any], path: str = "") -> dict[str, Any]:
    """Nested values by their dotted names."""
    leaves: dict[str, Any] = {}
    for name, value in values.items():
        nested = isinstance(value, dict)
        leaves |= _leaves(value, f"{path}{name}.") if nested else {f"{path}{name}": value}
    return leaves


def settings_text(settings: Settings) -> str:
    """The settings as commented TOML."""
    return to_toml(settings)
