"""Tests of the exception tree."""

from __future__ import annotations

import inspect
import re

from openrealm import errors


def _exceptions() -> dict[str, type]:
    return dict(inspect.getmembers(errors, inspect.isclass))


def test_every_exception_can_be_caught_as_the_root() -> None:
    assert len(_exceptions()) > 1
    for cls in _exceptions().values():
        assert issubclass(cls, errors.OpenRealmError)


def test_the_root_is_no_builtin_error_that_a_bug_could_raise() -> None:
    assert errors.OpenRealmError.__bases__ == (Exception,)


def test_the_drawn_tree_names_every_exception_and_no_other() -> None:
    drawn = set(re.findall(r"^ +(?:[├└]── )?(\w+)(?: {2,}|$)", errors.__doc__ or "", re.MULTILINE))
    assert drawn == set(_exceptions())
