"""Tests of which models are in memory when they are asked for, with a loader that loads nothing."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import pytest

from openrealm.answering.model_cache import ANSWER, FILL, CachedModel, ModelCache, ModelKey, Source
from openrealm.errors import CheckpointError, InputError, OpenRealmError


class Disk:
    """A name of weights for each key, and what was loaded of them."""

    def __init__(self) -> None:
        self.names = {ANSWER: "qa-1", FILL: "realm-1"}
        self.loads: list[str] = []
        self.known: list[object] = []

    def identity(self, key: ModelKey, known: object = None) -> str:
        self.known.append(known)
        if key not in self.names:
            raise InputError(f"no {key.run}")
        return self.names[key]

    def close(self) -> None:
        """Nothing is ever being loaded."""

    def load(self, key: ModelKey) -> CachedModel:
        name = self.names[key]
        self.loads.append(name)
        if name == "broken":
            raise CheckpointError("broken is damaged")
        return CachedModel(
            identity=name,
            source=Source(run=name, stage="qa", step=1, generation=1, corpus="c"),
            answerer=cast(Any, None),
            corpus=cast(Any, None),
            has_reader=True,
            k=1,
            read=1,
        )


def test_what_has_not_changed_is_loaded_once() -> None:
    disk = Disk()
    cache = ModelCache(disk, max_loaded=4)
    assert cache.get(ANSWER) is None
    assert cache.newest(ANSWER) is cache.newest(ANSWER) is cache.get(ANSWER)
    assert disk.loads == ["qa-1"]
    assert disk.known == [None, "qa-1"]


def test_what_has_changed_takes_the_place_of_what_was_there() -> None:
    disk, swapped = Disk(), list[CachedModel]()
    cache = ModelCache(disk, max_loaded=4, on_swap=swapped.append)
    before = cache.newest(ANSWER)
    disk.names[ANSWER] = "qa-2"
    after = cache.newest(ANSWER)
    assert (before.identity, after.identity) == ("qa-1", "qa-2")
    assert cache.all() == swapped == [after]


def test_the_same_weights_serve_two_purposes() -> None:
    disk = Disk()
    disk.names[FILL] = "qa-1"
    cache = ModelCache(disk, max_loaded=4)
    assert cache.newest(ANSWER) is cache.newest(FILL)
    assert disk.loads == ["qa-1"]


def test_what_cannot_be_loaded_is_told_and_what_was_there_stays() -> None:
    disk = Disk()
    cache = ModelCache(disk, max_loaded=4)
    before = cache.newest(ANSWER)
    disk.names[ANSWER] = "broken"
    with pytest.raises(OpenRealmError, match="damaged"):
        cache.newest(ANSWER)
    assert cache.get(ANSWER) is before


def test_what_was_asked_for_longest_ago_goes_first() -> None:
    disk = Disk()
    keys = [ModelKey("answer", f"run-{n}") for n in range(3)]
    disk.names |= {key: str(key.run) for key in keys}
    cache = ModelCache(disk, max_loaded=3, always=(ANSWER,))
    for key in (ANSWER, keys[0], keys[1], keys[0], keys[2]):
        cache.newest(key)
    assert cache.keys() == [ANSWER, keys[0], keys[2]]
    cache.clear()
    assert cache.all() == []


def test_many_threads_load_it_once() -> None:
    disk = Disk()
    cache = ModelCache(disk, max_loaded=4)
    with ThreadPoolExecutor(8) as crowd:
        given = list(crowd.map(lambda n: cache.newest(ANSWER), range(64)))
    assert len({id(each) for each in given}) == 1
    assert disk.loads == ["qa-1"]
