"""Tests of which weights are in memory, with a loader that loads nothing."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any, cast

import pytest

from openrealm.answering.model_cache import ANSWER, FILL, CachedModel, ModelKey, Source
from openrealm.errors import CheckpointError, InputError, OpenRealmError
from openrealm.server import model_watcher as module
from openrealm.server.model_watcher import Busy, ModelWatcher

SOON = 60.0
ICT = ModelKey("answer", "run-001", "ict")


class Shelf:
    """Weights by what is asked for: a name for each, or the error that there is instead."""

    def __init__(self) -> None:
        self.names: dict[ModelKey, str | Exception] = {ANSWER: "qa-1", FILL: "realm-1"}
        self.broken: set[str] = set()
        self.loads: list[str] = []
        self.looks = threading.Condition()
        self.num_looks = 0
        self.gate = threading.Event()
        self.gate.set()

    def identity(self, key: ModelKey, known: object = None) -> str:
        with self.looks:
            self.num_looks += 1
            self.looks.notify_all()
        name = self.names.get(key, InputError(f"no {key.run}"))
        if isinstance(name, Exception):
            raise name
        return name

    def load(self, key: ModelKey) -> CachedModel:
        assert self.gate.wait(SOON)
        name = self.identity(key)
        self.loads.append(name)
        if name in self.broken:
            raise CheckpointError(f"{name} is damaged")
        if name == "odd":
            raise ZeroDivisionError("odd")
        source = Source(run=name, stage="qa", step=1, generation=1, corpus="c")
        return CachedModel(
            identity=name,
            source=source,
            answerer=cast(Any, None),
            corpus=cast(Any, None),
            has_reader=True,
            k=1,
            read=1,
        )

    def close(self) -> None:
        self.gate.set()

    def looked_again(self) -> None:
        """Returns when all that is kept has been looked for twice more."""
        with self.looks:
            wanted = self.num_looks + 8
            assert self.looks.wait_for(lambda: self.num_looks >= wanted, SOON)


Make = Callable[..., ModelWatcher]


@pytest.fixture
def make() -> Iterator[Make]:
    made: list[ModelWatcher] = []

    def watcher(shelf: Shelf, *, max_loaded: int = 4, watch_s: float = 0.01, **more: Any) -> Any:
        made.append(ModelWatcher(shelf, max_loaded=max_loaded, watch_s=watch_s, **more))
        return made[-1]

    yield watcher
    for each in made:
        each.close()


def until(condition: Callable[[], object]) -> None:
    """Waits for what another thread does."""
    end = time.monotonic() + SOON
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.002)


def name_of(found: CachedModel | None) -> str | None:
    return None if found is None else found.source.run


def test_what_answers_and_what_fills_is_loaded_without_being_asked_for(make: Make) -> None:
    watcher = make(Shelf())
    until(lambda: watcher.get(ANSWER) and watcher.get(FILL))
    assert (name_of(watcher.get(ANSWER)), name_of(watcher.get(FILL))) == ("qa-1", "realm-1")


def test_the_same_weights_are_loaded_once_for_both(make: Make) -> None:
    shelf = Shelf()
    shelf.names = {ANSWER: "realm-1", FILL: "realm-1"}
    watcher = make(shelf)
    until(lambda: watcher.get(ANSWER) and watcher.get(FILL))
    assert watcher.get(ANSWER) is watcher.get(FILL)
    assert shelf.loads == ["realm-1"]


def test_newer_weights_take_the_place_of_older_ones_which_their_holder_keeps(make: Make) -> None:
    shelf, swaps = Shelf(), []
    watcher = make(shelf, on_swap=swaps.append)
    until(lambda: watcher.get(ANSWER))
    kept = watcher.get(ANSWER)
    shelf.names[ANSWER] = "qa-2"
    until(lambda: name_of(watcher.get(ANSWER)) == "qa-2")
    assert name_of(kept) == "qa-1"
    until(lambda: swaps)
    assert [name_of(each) for each in swaps] == ["qa-2"]


def test_nothing_is_loaded_again_while_nothing_has_changed(make: Make) -> None:
    shelf = Shelf()
    watcher = make(shelf)
    until(lambda: watcher.get(FILL))
    shelf.looked_again()
    assert sorted(shelf.loads) == ["qa-1", "realm-1"]


def test_newer_weights_that_cannot_be_loaded_leave_the_old_ones_and_are_tried_once(
    make: Make,
) -> None:
    shelf = Shelf()
    watcher = make(shelf)
    until(lambda: watcher.get(ANSWER) and watcher.get(FILL))
    shelf.broken = {"qa-2"}
    shelf.names[ANSWER] = "qa-2"
    until(lambda: "qa-2" in shelf.loads)
    shelf.looked_again()
    assert name_of(watcher.get(ANSWER)) == "qa-1"
    assert shelf.loads.count("qa-2") == 1
    assert "damaged" in str(watcher.problem(ANSWER))


def test_after_a_failure_the_next_weights_are_tried_at_once(make: Make) -> None:
    shelf = Shelf()
    shelf.broken, shelf.names[ANSWER] = {"qa-2"}, "qa-2"
    watcher = make(shelf)
    until(lambda: watcher.problem(ANSWER))
    shelf.names[ANSWER] = "qa-3"
    until(lambda: name_of(watcher.get(ANSWER)) == "qa-3")
    assert watcher.problem(ANSWER) is None


def test_after_a_while_the_same_weights_are_tried_again(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_AGAIN_S", 0.0)
    shelf = Shelf()
    shelf.broken, shelf.names[ANSWER] = {"qa-2"}, "qa-2"
    watcher = make(shelf)
    until(lambda: watcher.problem(ANSWER))
    shelf.broken = set()
    until(lambda: name_of(watcher.get(ANSWER)) == "qa-2")


def test_weights_that_appear_later_are_found(make: Make) -> None:
    shelf = Shelf()
    shelf.names = {}
    watcher = make(shelf)
    until(lambda: watcher.problem(ANSWER) and watcher.problem(FILL))
    shelf.names = {ANSWER: "qa-1", FILL: "realm-1"}
    until(lambda: watcher.get(ANSWER) and watcher.get(FILL))
    assert watcher.problem(ANSWER) is None


def test_an_error_that_nobody_foresaw_is_logged_and_told_as_a_sentence(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    shelf = Shelf()
    shelf.names[ANSWER] = "odd"
    with caplog.at_level(logging.ERROR):
        watcher = make(shelf)
        until(lambda: watcher.problem(ANSWER))
    assert "the server's log says why" in str(watcher.problem(ANSWER))
    assert "ZeroDivisionError" in caplog.text
    shelf.looked_again()
    assert shelf.loads.count("odd") == 1


def test_other_weights_are_loaded_when_they_are_asked_for_and_stay(make: Make) -> None:
    shelf = Shelf()
    watcher = make(shelf)
    shelf.names[ICT] = "ict-1"
    assert watcher.get(ICT) is None
    assert name_of(watcher.order(ICT).result(SOON)) == "ict-1"
    assert name_of(watcher.get(ICT)) == "ict-1"
    assert watcher.order(ICT).result(SOON) is watcher.get(ICT)
    assert shelf.loads.count("ict-1") == 1


def test_all_who_ask_for_the_same_while_it_is_loaded_get_the_same(make: Make) -> None:
    shelf = Shelf()
    watcher = make(shelf)
    until(lambda: watcher.get(FILL))
    shelf.names[ICT] = "ict-1"
    shelf.gate.clear()
    futures = [watcher.order(ICT) for _ in range(20)]
    shelf.gate.set()
    assert len({id(future.result(SOON)) for future in futures}) == 1
    assert shelf.loads.count("ict-1") == 1


def test_of_more_weights_than_allowed_those_used_longest_ago_go_but_never_the_pinned(
    make: Make,
) -> None:
    shelf = Shelf()
    watcher = make(shelf, max_loaded=4)
    until(lambda: watcher.get(ANSWER) and watcher.get(FILL))
    keys = [ModelKey("answer", f"run-{n}") for n in range(4)]
    for key in keys:
        shelf.names[key] = f"{key.run}"
        watcher.order(key).result(SOON)
        watcher.get(keys[0])  # used all the time
    found = [name_of(watcher.get(key)) for key in keys]
    assert found == ["run-0", None, None, "run-3"]
    assert watcher.get(ANSWER) and watcher.get(FILL)
    assert len(watcher.all()) == 4


def test_the_pinned_stay_even_where_only_one_is_allowed(make: Make) -> None:
    shelf = Shelf()
    watcher = make(shelf, max_loaded=1)
    until(lambda: watcher.get(ANSWER) and watcher.get(FILL))
    shelf.names[ICT] = "ict-1"
    assert name_of(watcher.order(ICT).result(SOON)) == "ict-1"  # answers, and is not kept
    assert watcher.get(ICT) is None
    assert len(watcher.all()) == 2


def test_weights_that_were_dropped_with_a_problem_can_be_asked_for_again(make: Make) -> None:
    shelf = Shelf()
    watcher = make(shelf, max_loaded=3)
    until(lambda: watcher.get(ANSWER) and watcher.get(FILL))
    shelf.names[ICT] = "ict-1"
    watcher.order(ICT).result(SOON)
    shelf.names[ICT] = CheckpointError("is being trained")
    until(lambda: watcher.problem(ICT))
    other = ModelKey("answer", "run-002")
    shelf.names[other] = "other"
    watcher.order(other).result(SOON)
    assert watcher.get(ICT) is None
    assert watcher.problem(ICT) is None
    shelf.names[ICT] = "ict-2"
    assert name_of(watcher.order(ICT).result(SOON)) == "ict-2"


def test_names_that_do_not_exist_leave_nothing_behind(make: Make) -> None:
    watcher = make(Shelf())
    until(lambda: watcher.get(ANSWER) and watcher.get(FILL))
    for n in range(50):
        with pytest.raises(InputError, match=f"no nowhere-{n}$"):
            watcher.order(ModelKey("answer", f"nowhere-{n}")).result(SOON)
        assert watcher.problem(ModelKey("answer", f"nowhere-{n}")) is None
    assert len(watcher.all()) == 2
    kept = [getattr(watcher, name) for name in ("_problems", "_failed", "_waiting")]
    assert [len(each) for each in kept] == [0, 0, 0]


def test_while_a_load_goes_on_only_so_many_others_wait(make: Make) -> None:
    shelf = Shelf()
    shelf.gate.clear()
    watcher = make(shelf)

    def order_all() -> list[Future[CachedModel]]:
        return [watcher.order(ModelKey("answer", f"nowhere-{n}")) for n in range(1000)]

    with pytest.raises(Busy):
        order_all()
    shelf.gate.set()
    until(lambda: watcher.get(FILL))
    with pytest.raises(OpenRealmError):
        watcher.order(ModelKey("answer", "nowhere")).result(SOON)


def test_closing_ends_the_thread_and_the_waiting(make: Make) -> None:
    shelf = Shelf()
    watcher = make(shelf)
    until(lambda: watcher.get(ANSWER) and watcher.get(FILL))
    watcher.close()
    looks = shelf.num_looks
    waiting = watcher.order(ICT)
    watcher.close()
    assert waiting.cancelled()
    assert shelf.num_looks == looks
