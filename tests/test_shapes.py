"""Tests that annotated shapes are checked while the tests run, and in the glossary's words."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import jaxtyping
import pytest
import torch

import openrealm
from openrealm.models.likelihood import log_p_z_given_x


def test_two_tensors_that_would_broadcast_by_accident_are_refused() -> None:
    scores, one_row = torch.zeros(2, 3), torch.ones(1, 3, dtype=torch.bool)
    with pytest.raises(jaxtyping.TypeCheckError):
        log_p_z_given_x(scores, one_row)


def test_a_tensor_of_the_wrong_kind_of_number_is_refused() -> None:
    scores, numbers = torch.zeros(2, 3), torch.ones(2, 3)
    with pytest.raises(jaxtyping.TypeCheckError):
        log_p_z_given_x(scores, numbers)


def _axes(source: str) -> Iterator[str]:
    """Names of axes in the annotations of a module."""
    for node in ast.walk(ast.parse(source)):
        if not (isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Tuple)):
            continue
        kind, axes = node.value, node.slice.elts[-1]
        if isinstance(kind, ast.Name) and hasattr(jaxtyping, kind.id):
            assert isinstance(axes, ast.Constant) and isinstance(axes.value, str)
            names = (axis.lstrip("*") for axis in axes.value.split())
            yield from (name for name in names if name != "_" and not name.isdigit())


def test_every_axis_is_in_the_glossary() -> None:
    annotated = 'def f(x: Float[Tensor, "*batch 2 k"]) -> Int[Tensor, " masks"]: ...'
    assert sorted(_axes(annotated)) == ["batch", "k", "masks"]
    glossary = Path(__file__).parents[1] / "docs" / "glossary.md"
    _, section = glossary.read_text(encoding="utf-8").split("## Axes of tensors\n")
    listed = set(re.findall(r"`(\w+)`", section))
    package = Path(openrealm.__file__).parent
    used = {
        axis: path.name
        for path in sorted(package.rglob("*.py"))
        for axis in _axes(path.read_text(encoding="utf-8"))
    }
    assert {axis: file for axis, file in used.items() if axis not in listed} == {}
