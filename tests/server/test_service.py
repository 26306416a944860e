"""Tests of finding a corpus by its fingerprint."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from openrealm.errors import CorpusError
from openrealm.server.service import Corpora


class Folder:
    """A corpus on disk, which may change."""

    def __init__(self) -> None:
        self.fingerprint: str | None = "one"
        self.num_opened = 0
        self.others: list[Any] = []
        self.corpora: Any = Corpora(self.open, lambda: self.fingerprint, lambda: self.others)

    def open(self) -> Any:
        self.num_opened += 1
        if self.fingerprint is None:
            raise CorpusError("there is no corpus")
        return SimpleNamespace(fingerprint=self.fingerprint)


def test_the_newest_is_opened_once_until_it_changes() -> None:
    folder = Folder()
    first = folder.corpora.newest()
    assert folder.corpora.newest() is folder.corpora.find(None) is first
    assert folder.num_opened == 1
    folder.fingerprint = "two"
    assert folder.corpora.newest().fingerprint == "two"
    assert folder.num_opened == 2


def test_an_older_one_is_found_while_weights_answer_from_it() -> None:
    folder = Folder()
    old = folder.corpora.newest()
    folder.fingerprint, folder.others = "two", [old]
    assert folder.corpora.find("one") is old
    assert folder.corpora.find("two").fingerprint == "two"
    folder.others = []
    assert folder.corpora.find("one") is None


def test_one_that_has_gone_is_told_each_time_and_found_when_it_is_back() -> None:
    folder = Folder()
    old = folder.corpora.newest()
    folder.fingerprint, folder.others = None, [old]
    for _ in range(2):
        with pytest.raises(CorpusError):
            folder.corpora.newest()
    assert folder.corpora.find("one") is old
    folder.fingerprint = "two"
    assert folder.corpora.newest().fingerprint == "two"
