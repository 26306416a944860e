"""Tests of WordPiece: ids, offsets, training, files and fingerprints."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st

from openrealm.errors import InputError
from openrealm.tokenizer import SPECIAL_TOKENS, WordPiece

TEXTS = [
    "The river Elbe rises in the Giant Mountains and flows to the North Sea.",
    "Rivers that flow north: the Elbe, the Weser and the Rhine.",
    "Mountains rise; seas fall. In 1999 the sea fell by 3.5 metres!",
    "Łódź and Zürich are cities; [MASK] and [SEP] are words in brackets.",
]
# Ids are places in this list; "[", "]" and "##sk" let bracketed names be spelt.
VOCAB = [
    *SPECIAL_TOKENS,
    *("the", "river", "sea", "rise", "a", "b", "c", "zurich", "[", "]", "mask", "ma", ",", "."),
    *("##s", "##side", "##d", "##e", "##sk", "##b"),
]


@pytest.fixture(scope="module")
def trained() -> WordPiece:
    return WordPiece.train(TEXTS, vocab_size=150)


@pytest.fixture
def small(tmp_path: Path) -> WordPiece:
    return WordPiece.load(_vocab_file(tmp_path, VOCAB))


def _vocab_file(folder: Path, words: list[str]) -> Path:
    path = folder / "vocab.txt"
    path.write_text("\n".join(words) + "\n", encoding="utf-8")
    return path


def _longest_match_first(text: str, vocab: list[str]) -> list[int]:
    """WordPiece written out by hand, for lower-case ASCII without brackets."""
    ids: list[int] = []
    for word in re.findall(r"\w+|[^\w\s]", text):
        pieces, start = [], 0
        while start < len(word):
            mark = "##" if start else ""
            stops = range(len(word), start, -1)
            stop = next((s for s in stops if mark + word[start:s] in vocab), None)
            if stop is None:
                pieces = ["[UNK]"]
                break
            pieces.append(mark + word[start:stop])
            start = stop
        ids.extend(vocab.index(piece) for piece in pieces)
    return ids


# Text to ids --------------------------------------------------------------------------------------


@given(st.text(alphabet="abcdesrivtk ,.", max_size=40))
def test_ids_are_those_of_longest_match_first(text: str) -> None:
    assert SMALL.encode(text).ids.tolist() == _longest_match_first(text, VOCAB)


@given(st.text(max_size=60))
def test_ids_with_and_without_offsets_are_the_same_for_any_text(text: str) -> None:
    assert SMALL.encode_ids([text, "", text]) == [SMALL.encode(text).ids.tolist(), [], []] or (
        SMALL.encode_ids([text, "", text])
        == [SMALL.encode(text).ids.tolist(), [], SMALL.encode(text).ids.tolist()]
    )


@given(st.text(max_size=60))
def test_offsets_run_forward_inside_any_text(text: str) -> None:
    tokens = SMALL.encode(text)
    assert tokens.offsets.shape == (len(tokens.ids), 2)
    assert np.all(tokens.offsets[:, 0] < tokens.offsets[:, 1])
    assert np.all(np.diff(tokens.offsets, axis=0) >= 0)
    assert not len(tokens.ids) or tokens.offsets[-1, 1] <= len(text)
