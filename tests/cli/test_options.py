"""Tests of results as one JSON document."""

from __future__ import annotations

import io
import json
import math
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from openrealm.cli.options import show, to_json


@dataclass(frozen=True)
class _Inner:
    where: Path
    values: tuple[float, ...]


@dataclass(frozen=True)
class _Outer:
    name: str
    inner: _Inner
    count: np.int64
    row: np.ndarray
    missing: None = None


def test_nested_results_become_plain_json() -> None:
    result = _Outer("größe", _Inner(Path("a/b"), (0.5, 1.0)), np.int64(3), np.array([1.5, 2.0]))
    assert json.loads(to_json(result)) == {
        "name": "größe",
        "inner": {"where": "a/b", "values": [0.5, 1.0]},
        "count": 3,
        "row": [1.5, 2.0],
        "missing": None,
    }


def test_numbers_that_json_lacks_become_null() -> None:
    text = to_json(
        {
            "a": math.nan,
            "b": [math.inf, np.float32("nan")],
            "c": {
                1,
            },
        }
    )
    assert json.loads(text, parse_constant=pytest.fail) == {"a": None, "b": [None, None], "c": [1]}


def test_json_is_readable_in_unicode_and_escaped_elsewhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert "größe" in to_json(["größe"])
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="latin-1"))
    assert to_json(["größe"]).isascii()
    assert json.loads(to_json(["größe"])) == ["größe"]


def test_a_result_ends_with_one_newline(capsys: pytest.CaptureFixture[str]) -> None:
    show("text\n\n", str, as_json=False)
    show({"a": 1}, str, as_json=True)
    assert capsys.readouterr().out == 'text\n{\n  "a": 1\n}\n'
