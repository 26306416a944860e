"""Tests of computing together what has arrived together."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError, wait
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openrealm.server.batcher import Batch, Batcher, Closed, QueueFull

SOON = 60.0  # no test waits so long, unless it fails


def later() -> float:
    return time.monotonic() + SOON


class Work:
    """Doubles numbers; the item ``hold`` keeps the thread busy until it is released."""

    def __init__(self) -> None:
        self.batches: list[tuple[Any, list[Any]]] = []
        self.counted: list[Batch] = []
        self.held, self.release = threading.Event(), threading.Event()

    def __call__(self, key: Any, items: Sequence[Any]) -> Sequence[Any]:
        self.batches.append((key, list(items)))
        if items[0] == "hold":
            self.held.set()
            assert self.release.wait(SOON)
        if "bad" in items:
            raise ValueError("bad")
        return [item * 2 for item in items]


class Held:
    """A batcher whose thread is busy, so that all that is submitted waits."""

    def __init__(self, **limits: int) -> None:
        self.work = Work()
        given = {"max_batch": 16, "max_cost": 100, "max_queue": 64, **limits}
        self.batcher = Batcher(self.work, on_batch=self.work.counted.append, **given)
        self.first = self.batcher.submit("first", "hold", cost=1, deadline=later())
        assert self.work.held.wait(SOON)

    def submit(self, key: Any, item: Any, *, cost: int = 1, deadline: float | None = None) -> Any:
        due = later() if deadline is None else deadline
        return self.batcher.submit(key, item, cost=cost, deadline=due)

    def computed(self) -> list[tuple[Any, list[Any]]]:
        """Lets the thread go on, and what it computes, to the end."""
        self.work.release.set()
        self.batcher.close()
        return self.work.batches[1:]


@pytest.fixture
def held() -> Iterator[Held]:
    made = Held()
    yield made
    made.computed()


def test_a_lone_item_is_computed_at_once() -> None:
    work = Work()
    batcher = Batcher(work, max_batch=16, max_cost=100, max_queue=4)
    assert batcher.submit("a", 21, cost=1, deadline=later()).result(SOON) == 42
    batcher.close()


def test_items_that_have_gathered_are_computed_together_in_their_order(held: Held) -> None:
    futures = [held.submit("a", n) for n in range(5)]
    assert held.computed() == [("a", [0, 1, 2, 3, 4])]
    assert [future.result() for future in futures] == [0, 2, 4, 6, 8]


def test_only_items_of_one_key_are_computed_together_and_the_oldest_goes_first(held: Held) -> None:
    for key, item in [("a", 1), ("b", 2), ("a", 3), ("c", 4), ("b", 5)]:
        held.submit(key, item)
    assert held.computed() == [("a", [1, 3]), ("b", [2, 5]), ("c", [4])]


def test_no_batch_has_more_items_than_allowed() -> None:
    held = Held(max_batch=2)
    for n in range(5):
        held.submit("a", n)
    assert held.computed() == [("a", [0, 1]), ("a", [2, 3]), ("a", [4])]


def test_no_batch_costs_more_than_allowed_unless_one_item_does() -> None:
    held = Held(max_cost=10)
    for item, cost in [(1, 6), (2, 5), (3, 4), (4, 11), (5, 5)]:
        held.submit("a", item, cost=cost)
    assert held.computed() == [("a", [1, 3]), ("a", [2, 5]), ("a", [4])]


def test_a_full_queue_refuses_and_says_when_to_come_back() -> None:
    held = Held(max_queue=2)
    held.submit("a", 1), held.submit("a", 2)
    with pytest.raises(QueueFull) as full:
        held.submit("a", 3)
    assert 0 < full.value.retry_after_s < SOON
    assert len(held.batcher) == 2
    assert held.computed() == [("a", [1, 2])]


def test_items_that_nobody_waits_for_make_room_in_a_full_queue() -> None:
    held = Held(max_queue=2)
    gone, late = held.submit("a", 1), held.submit("a", 2, deadline=0.0)
    gone.cancel()
    held.submit("a", 3), held.submit("a", 4)
    with pytest.raises(TimeoutError):
        late.result(SOON)
    assert held.computed() == [("a", [3, 4])]


def test_an_item_whose_time_is_over_is_told_so_and_not_computed(held: Held) -> None:
    late, other = held.submit("a", 1, deadline=time.monotonic()), held.submit("a", 2)
    assert held.computed() == [("a", [2])]
    with pytest.raises(TimeoutError):
        late.result(SOON)
    assert other.result(SOON) == 4


def test_a_cancelled_item_is_left_out(held: Held) -> None:
    first, second = held.submit("a", 1), held.submit("a", 2)
    assert first.cancel()
    assert held.computed() == [("a", [2])]
    with pytest.raises(CancelledError):
        first.result(SOON)
    assert second.result(SOON) == 4


def test_an_item_that_is_being_computed_cannot_be_cancelled(held: Held) -> None:
    assert not held.first.cancel()
    held.computed()
    assert held.first.result(SOON) == "holdhold"


def test_an_error_is_told_only_to_the_item_at_fault(held: Held) -> None:
    futures = [held.submit("a", item) for item in (1, "bad", 3)]
    assert held.computed() == [("a", [1, "bad", 3]), ("a", [1]), ("a", ["bad"]), ("a", [3])]
    assert (futures[0].result(SOON), futures[2].result(SOON)) == (2, 6)
    with pytest.raises(ValueError, match="bad"):
        futures[1].result(SOON)


def test_a_wrong_number_of_results_is_an_error_and_does_not_end_the_thread() -> None:
    batcher = Batcher(lambda key, items: [1, 2, 3], max_batch=4, max_cost=9, max_queue=9)
    for _ in range(2):
        with pytest.raises(ValueError, match="zip"):
            batcher.submit("a", 1, cost=1, deadline=later()).result(SOON)
    batcher.close()


def test_closing_computes_what_is_waiting(held: Held) -> None:
    futures = [held.submit(n % 3, n) for n in range(9)]
    held.computed()
    assert [future.result(0) for future in futures] == [2 * n for n in range(9)]


def test_a_closed_batcher_takes_nothing(held: Held) -> None:
    held.computed()
    with pytest.raises(Closed):
        held.submit("a", 1)


def test_every_batch_is_counted_with_its_size(held: Held) -> None:
    held.submit("a", 1), held.submit("a", 2), held.submit("b", 3)
    held.computed()
    assert [batch.size for batch in held.work.counted] == [1, 2, 1]
    assert all(batch.seconds > 0 for batch in held.work.counted)


ITEMS = st.lists(
    st.tuples(st.integers(0, 3), st.integers(1, 12), st.booleans()), min_size=1, max_size=40
)


@settings(max_examples=40)
@given(
    items=ITEMS,
    threads=st.integers(1, 4),
    max_batch=st.integers(1, 6),
    max_cost=st.integers(1, 20),
)
def test_every_item_gets_exactly_its_own_result_whoever_submits_when(
    items: list[tuple[int, int, bool]], threads: int, max_batch: int, max_cost: int
) -> None:
    computed: Counter[int] = Counter()
    costs = {n: cost for n, (_, cost, _) in enumerate(items)}

    def run(key: int, numbers: Sequence[int]) -> list[tuple[int, int]]:
        assert {items[n][0] for n in numbers} == {key}
        assert len(numbers) <= max_batch
        assert len(numbers) == 1 or sum(costs[n] for n in numbers) <= max_cost
        if any(items[n][2] for n in numbers):
            raise ValueError(numbers)
        computed.update(numbers)
        return [(key, n) for n in numbers]

    batcher = Batcher(run, max_batch=max_batch, max_cost=max_cost, max_queue=len(items))
    futures: dict[int, Any] = {}

    def submit(part: int) -> None:
        for n in range(part, len(items), threads):
            key, cost, _ = items[n]
            futures[n] = batcher.submit(key, n, cost=cost, deadline=later())

    workers = [threading.Thread(target=submit, args=(part,)) for part in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    wait(futures.values(), SOON)
    batcher.close()
    for n, (key, _, is_bad) in enumerate(items):
        if is_bad:
            with pytest.raises(ValueError) as caught:
                futures[n].result(0)
            assert caught.value.args == ([n],)
        else:
            assert futures[n].result(0) == (key, n)
            assert computed[n] == 1
