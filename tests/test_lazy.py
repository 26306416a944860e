"""Tests of public names: each package's table, what type checkers are told, and what is loaded."""

from __future__ import annotations

import ast
import importlib
import pkgutil
from pathlib import Path

import pytest

import openrealm
from openrealm._lazy import exports

PACKAGES = [
    "openrealm",
    *(f"openrealm.{m.name}" for m in pkgutil.iter_modules(openrealm.__path__) if m.ispkg),
]
LAZY = [name for name in PACKAGES if hasattr(importlib.import_module(name), "_HOMES")]


def _for_type_checkers(package: str) -> dict[str, str]:
    """Names that a package imports where ``TYPE_CHECKING`` is true, and the modules they are of."""
    file = importlib.import_module(package).__file__
    assert file is not None
    [block] = [
        node
        for node in ast.parse(Path(file).read_text(encoding="utf-8")).body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    ]
    names = {}
    for node in block.body:
        assert isinstance(node, ast.ImportFrom) and node.module is not None
        for alias in node.names:
            assert alias.asname == alias.name  # only so is it exported
            names[alias.name] = node.module.removeprefix(f"{package}.")
    return names


def test_the_packages_that_people_import_from_have_tables() -> None:
    assert {"openrealm", "openrealm.recipes", "openrealm.corpus", "openrealm.models"} <= set(LAZY)


@pytest.mark.parametrize("package", LAZY)
def test_every_public_name_is_there_and_type_checkers_are_told_the_same(package: str) -> None:
    module = importlib.import_module(package)
    assert _for_type_checkers(package) == module._HOMES
    assert sorted(module.__all__) == sorted(module._HOMES) == dir(module)
    for name, home in module._HOMES.items():
        defined = getattr(importlib.import_module(f"{package}.{home}"), name)
        assert module.__getattr__(name) is defined
        assert getattr(defined, "__module__", f"{package}.{home}") == f"{package}.{home}"


def test_a_name_that_is_not_there_is_missed_as_always() -> None:
    get, names = exports("openrealm", {"Run": "workspace"})
    assert names() == ["Run"]
    with pytest.raises(AttributeError, match="module 'openrealm' has no attribute 'run'"):
        get("run")
