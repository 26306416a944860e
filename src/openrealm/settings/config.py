"""Frozen, documented configs: TOML in and out, dotted overrides; knows no particular setting but
those that are gone or renamed (`removed`).

A config is a ``@dataclass(frozen=True, kw_only=True)`` whose fields are made with `option`, which
keeps each field's documentation and limits beside it. Configs nest; a nested field's name is the
TOML table's name. Unknown keys and values out of range are refused by name.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
import tomllib
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from openrealm.errors import ConfigError
from openrealm.settings.removed import REMOVED, RENAMED

T = TypeVar("T")


def option(
    default: Any,
    doc: str,
    *,
    source: str | None = None,
    choices: Sequence[Any] | None = None,
    minimum: float | None = None,
    maximum: float | None = None,
    is_fixed: bool = False,
) -> Any:
    """A dataclass field with its documentation, limits and the source of its default.

    Args:
        default: The value where none is given.
        doc: One sentence that becomes the field's comment in TOML.
        source: Where the default comes from (paper section, reference file).
        choices: The allowed values, where they are few.
        minimum: The smallest allowed number.
        maximum: The largest allowed number.
        is_fixed: No setting, but what a start or a corpus may bring: it is written only where it
            differs from the default, and cannot be assigned.
    """
    metadata = {
        "doc": doc,
        "source": source,
        "choices": tuple(choices) if choices is not None else None,
        "minimum": minimum,
        "maximum": maximum,
        "is_fixed": is_fixed,
    }
    return dataclasses.field(default=default, metadata=metadata)


def section(config_class: type, doc: str) -> Any:
    """A nested config, built with its own defaults."""
    return dataclasses.field(default_factory=config_class, metadata={"doc": doc})


def from_dict(config_class: type[T], values: Mapping[str, Any], *, path: str = "") -> T:
    """A config out of nested dictionaries.

    Raises:
        ConfigError: An unknown key, a value of the wrong type or out of range.
    """
    return merge(config_class(), values, path=path)


def merge(config: T, values: Mapping[str, Any], *, path: str = "", name: str = "") -> T:
    """The config with the given nested values in place of its own.

    Args:
        config: Any config.
        values: Nested values.
        path: Where the config stands in the whole one, with a dot at its end.
        name: What the values were read from.

    Raises:
        ConfigError: An unknown key, one that is gone or renamed, a value of the wrong type or out
            of range.
    """
    return _merge(config, values, path=path, source=_Source(name, values))


@dataclasses.dataclass(frozen=True, slots=True)
class _Source:
    """Where values were read from, and all that was read there."""

    name: str
    values: Mapping[str, Any]


def _merge(config: T, values: Mapping[str, Any], *, path: str, source: _Source) -> T:
    fields = {f.name: f for f in dataclasses.fields(config)}  # type: ignore[arg-type]
    hints = typing.get_type_hints(type(config))
    changes: dict[str, Any] = {}
    for key, value in values.items():
        where = f"{path}{key}"
        if key not in fields and where in REMOVED:
            _require_what_is_so(where, value, source)
            continue
        if key not in fields and where in RENAMED:
            raise ConfigError(
                f"{source.name or 'the configuration'} sets {where}, which is now called "
                f"{RENAMED[where]}"
            )
        if key not in fields:
            raise ConfigError(_unknown_key(where, key, fields))
        current = getattr(config, key)
        if dataclasses.is_dataclass(current):
            if not isinstance(value, Mapping):
                raise ConfigError(f"{where} is a section of settings, not the value {value!r}")
            changes[key] = _merge(current, value, path=f"{where}.", source=source)
        else:
            changes[key] = _checked(where, value, hints[key], fields[key].metadata)
    return dataclasses.replace(config, **changes)  # type: ignore[type-var]


def override(config: T, assignments: Iterable[str]) -> T:
    """The config after dotted assignments such as ``realm.steps=200``.

    A value is read as TOML where that works and taken as a plain string otherwise.

    Raises:
        ConfigError: An assignment without ``=``, an unknown key, a value out of range.
    """
    for assignment in assignments:
        config = changed(config, _nested(assignment))
    return config


def changed(config: T, values: Mapping[str, Any]) -> T:
    """The config with nested values that somebody has chosen in place of its own.

    Raises:
        ConfigError: An unknown key, a field that is no setting, a value out of range.
    """
    _require_settings(config, values)
    return merge(config, values)


def _require_settings(config: Any, values: Mapping[str, Any], path: str = "") -> None:
    """Refuses fields that are no settings; of unknown ones `merge` says more."""
    for field in dataclasses.fields(config) if dataclasses.is_dataclass(config) else ():
        if field.name not in values:
            continue
        if field.metadata.get("is_fixed"):
            raise ConfigError(
                f"{path}{field.name} is no setting: it is {field.default}, or what a start or a "
                "corpus brings"
            )
        if isinstance(values[field.name], Mapping):
            nested = getattr(config, field.name)
            _require_settings(nested, values[field.name], f"{path}{field.name}.")


def assigned(assignments: Iterable[str]) -> dict[str, Any]:
    """Dotted assignments as nested values, the later over the earlier.

    Raises:
        ConfigError: One is without ``=``.
    """
    values: dict[str, Any] = {}
    for assignment in assignments:
        _put(values, _nested(assignment))
    return values


def _put(values: dict[str, Any], more: Mapping[str, Any]) -> None:
    for name, value in more.items():
        if isinstance(value, dict) and isinstance(values.get(name), dict):
            _put(values[name], value)
        else:
            values[name] = value


def _nested(assignment: str) -> dict[str, Any]:
    key, equals, text = assignment.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"'{assignment}' is not an assignment; write section.key=value")
    nested: Any = _parse_value(text.strip())
    for part in reversed(key.strip().split(".")):
        nested = {part: nested}
    return dict(nested)


def parse_toml(text: str, *, name: str) -> dict[str, Any]:
    """The tables of a TOML text.

    Raises:
        ConfigError: The text is not TOML; the message names the file and the place.
    """
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{name} is not valid TOML: {error}") from error


def to_dict(config: Any) -> dict[str, Any]:
    """The config as plain nested dictionaries, tuples as lists, ready for JSON."""
    plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(config)))
    return plain


def to_toml(config: Any, *, path: str = "") -> str:
    """The config as TOML, a comment above every field; reading it back gives an equal config.

    Fixed fields are left out where they have their default.
    """
    plain, nested = [], []
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if field.metadata.get("is_fixed") and value == field.default:
            continue
        if dataclasses.is_dataclass(value):
            where = f"{path}{field.name}"
            nested.append(f"\n# {field.metadata['doc']}\n[{where}]\n")
            nested.append(to_toml(value, path=f"{where}."))
        else:
            plain.append(_toml_field(field, value))
    return "".join(plain + nested)


def _toml_field(field: dataclasses.Field[Any], value: Any) -> str:
    meta = field.metadata
    notes = [meta["doc"]]
    if meta["choices"]:
        notes.append("One of: " + ", ".join(map(str, meta["choices"])) + ".")
    if meta["source"]:
        notes.append(f"Source: {meta['source']}.")
    comment = "".join(f"# {note}\n" for note in notes)
    if value is None:
        return f"{comment}# {field.name} =\n"
    return f"{comment}{field.name} = {_toml_value(value)}\n"


def _toml_value(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml_value(item) for item in value) + "]"
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    # JSON's strings, numbers and booleans are TOML's too, but for surrogate pairs and a raw DEL.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _parse_value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _require_what_is_so(where: str, value: Any, source: _Source) -> None:
    """Refuses a setting that is gone, unless it says what is so now."""
    gone = REMOVED[where]
    if not gone.is_so(value, source.values):
        raise ConfigError(
            f"{source.name or 'the configuration'} sets {where} = {value!r}, which is gone: "
            f"{gone.instead}; remove it"
        )


def _unknown_key(where: str, key: str, fields: Mapping[str, Any]) -> str:
    near = difflib.get_close_matches(key, fields, n=1)
    hint = f"did you mean '{near[0]}'?" if near else f"known here: {', '.join(sorted(fields))}"
    return f"unknown setting '{where}'; {hint}"


def _checked(where: str, value: Any, hint: Any, meta: Mapping[str, Any]) -> Any:
    value = _converted(where, value, hint)
    choices, minimum, maximum = meta["choices"], meta["minimum"], meta["maximum"]
    if choices is not None and value not in choices:
        allowed = ", ".join(map(str, choices))
        raise ConfigError(f"{where} = {value!r} is not one of: {allowed}")
    if isinstance(value, float) and math.isnan(value):
        raise ConfigError(f"{where} = nan is not a number; it takes one")
    if value is not None and minimum is not None and value < minimum:
        raise ConfigError(f"{where} = {value!r} is below the least allowed value, {minimum}")
    if value is not None and maximum is not None and value > maximum:
        raise ConfigError(f"{where} = {value!r} is above the largest allowed value, {maximum}")
    return value


def _converted(where: str, value: Any, hint: Any) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        if value is None:
            return None
        inner = [a for a in arguments if a is not type(None)]
        return _converted(where, value, inner[0])
    if origin is tuple and isinstance(value, list | tuple):
        return tuple(_converted(where, item, arguments[0]) for item in value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if (
        isinstance(hint, type)
        and isinstance(value, hint)
        and isinstance(value, bool) == (hint is bool)
    ):
        return value
    wanted = "a list" if origin is tuple else getattr(hint, "__name__", str(hint))
    raise ConfigError(f"{where} = {value!r} is of the wrong type; it takes {wanted}")
