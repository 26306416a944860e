"""Tests of options that take several words."""

from __future__ import annotations

import pytest

from openrealm.cli.parsing import spread

CASES = [
    ("ws --qa a b c", "ws --qa a --qa b --qa c"),
    ("--qa a ws", "--qa a ws"),
    ("--qa a ws b", "--qa a ws b"),  # too much, and refused as such afterwards
    ("ws --qa a --json b", "ws --qa a --json b"),
    ("ws --qa a b --run r --dev d e", "ws --qa a --qa b --run r --dev d --dev e"),
    ("ws --qa=a b", "ws --qa=a --qa b"),
    ("ws --qa a -- b", "ws --qa a -- b"),
    ("ws --qa -", "ws --qa -"),
    ("ws --run --qa a", "ws --run --qa a"),
    ("ws --qa", "ws --qa"),
    ("", ""),
]


@pytest.mark.parametrize(("given", "wanted"), CASES)
def test_words_after_a_repeatable_option_belong_to_it_once_the_workspace_is_named(
    given: str, wanted: str
) -> None:
    words = spread(given.split(), num_arguments=1, repeatable={"--qa", "--dev"}, single={"--run"})
    assert words == wanted.split()
