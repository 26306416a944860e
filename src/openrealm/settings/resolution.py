"""Settings out of a preset, a TOML file and assignments, and back to TOML."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from openrealm.errors import ConfigError
from openrealm.settings.checks import checked
from openrealm.settings.config import from_dict, merge, override, parse_toml, to_toml
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
    _require_stages_of(settings, assignments)
    return settings


def _require_stages_of(settings: Settings, assignments: Sequence[str]) -> None:
    """Checks that no stage is given steps that it will not be asked for."""
    for assignment in assignments:
        stage, _, key = assignment.partition("=")[0].strip().partition(".")
        idle = stage in STAGES and stage not in settings.stages
        if idle and key == "steps" and getattr(settings, stage).steps:
            listed = ", ".join(f'"{name}"' for name in STAGES if name in {*settings.stages, stage})
            raise ConfigError(
                f"{assignment} does nothing, since stages = {', '.join(settings.stages)}; "
                f"set stages=[{listed}] too"
            )


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
    before = learning_rates(settings)
    for assignment in assignments:
        if assignment.partition("=")[0].strip() not in before:
            raise ConfigError(
                f"--resume goes on with the settings that the run began with, and may only lower "
                f"learning rates: leave out {assignment}, or start a new run"
            )
    lowered = override(settings, assignments)
    for key, rate in learning_rates(lowered).items():
        if rate > before[key]:
            raise ConfigError(
                f"{key} = {rate} is above the run's {before[key]}; --resume may only lower it"
            )
        if rate == 0 < before[key]:
            raise ConfigError(
                f"{key} = 0 would leave out what the run has trained until now; give a small rate, "
                "or start a new run"
            )
    return lowered


def settings_text(settings: Settings) -> str:
    """The settings as commented TOML."""
    return to_toml(settings)
