"""Repeating an earlier run's refreshes, at the steps at which they happened; knows no workers."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from openrealm.errors import InputError
from openrealm.index.snapshot import prune
from openrealm.retrieval.embedding import Order
from openrealm.retrieval.live_index import LiveIndex, SnapshotMaker
from openrealm.training.refresh import Swap, swap_numbers
from openrealm.training.weights import load_ordered, prune_weights, publish_weights, tower_copy


@dataclass(frozen=True)
class RecordedSwap:
    """A swap of an earlier run, as its metrics tell it.

    Attributes:
        at: Training step before which it happened.
        order: The snapshot.
        threads: Processor threads that it was made with.
        shard_rows: Its chunks per file.
        digest: Of its checksums.
    """

    at: int
    order: Order
    threads: int
    shard_rows: int
    digest: str


def recorded_swaps(metrics: Path) -> list[RecordedSwap]:
    """The swaps that a run's metrics file tells of, in order.

    Raises:
        InputError: There is no such file, or it is not of a run with such records.
    """
    try:
        with open(metrics, encoding="utf-8") as file:
            records = [json.loads(line) for line in file if '"swap"' in line]
        return [
            RecordedSwap(
                at=record["total_step"],
                order=Order(
                    generation=record["index/generation"], step=record["index/weights_step"]
                ),
                threads=record["index/threads"],
                shard_rows=record["index/shard_rows"],
                digest=record["index/digest"],
            )
            for record in records
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"'{metrics}' holds no swaps to repeat ({error}); refresh.replay names a run"
        ) from error


@dataclass(eq=False)
class ReplayRefresh:
    """Repeats the swaps of an earlier run at the steps at which they happened.

    What that run's workers made beside it is made in line here, of weights of the same steps.

    Attributes:
        maker: Makes snapshots in the training processes.
        weights: Folder of the orders.
        swaps: What is repeated.
    """

    maker: SnapshotMaker
    weights: Path
    swaps: Sequence[RecordedSwap]
    _order: Order | None = field(default=None, init=False)
    _news: list[Mapping[str, Any]] = field(default_factory=list, init=False)

    def at_work(self, stop: Callable[[], bool]) -> AbstractContextManager[object]:
        """Nothing runs beside the training."""
        return self.maker.embedding(stop)

    @property
    def ordered(self) -> Order | None:
        """The order whose swap lies ahead."""
        return self._order

    def take_up(self, order: Order | None) -> None:
        """Goes on with an order whose swap lies ahead."""
        if self.maker.processes.is_first:
            prune_weights(self.weights, keep={order.generation} if order is not None else set())
        self.maker.processes.barrier()
        self._order = order

    def news(self) -> Sequence[Mapping[str, Any]]:
        """Which snapshots are not those of the earlier run."""
        news, self._news = self._news, []
        return news

    def prune(self, keep: set[int], ordered: set[int]) -> None:
        """Removes what neither the checkpoints nor the live index nor an order needs."""
        ahead = {self._order.generation} if self._order is not None else set()
        prune(self.maker.directory, keep=keep | ordered)
        prune_weights(self.weights, keep=ordered | ahead)

    def before_step(self, total_step: int, live: LiveIndex) -> Swap | None:
        """The earlier run's order at its step, and its swap at its own."""
        for swap in self.swaps:
            if swap.order.step == total_step and swap.at >= total_step:
                self._place(swap.order)
            if swap.at == total_step:
                return self._repeated(swap)
        return None

    def _place(self, order: Order) -> None:
        if self.maker.processes.is_first:
            publish_weights(self.weights, order, tower_copy(self.maker.encoder.embedder))
        self.maker.processes.barrier()
        self._order = order

    def _repeated(self, swap: RecordedSwap) -> Swap:
        maker = self.maker
        encoder = replace(maker.encoder, embedder=copy.deepcopy(maker.encoder.embedder))
        load_ordered(self.weights, swap.order, encoder.embedder)
        with _threads(swap.threads):
            snapshot = maker.write(encoder, swap.order, shard_rows=swap.shard_rows)
        self._order = None
        numbers = swap_numbers(snapshot, step=swap.order.step, threads=swap.threads)
        if numbers["index/digest"] != swap.digest:
            self._news.append(
                {
                    "text": f"snapshot {swap.order.generation} is not bit for bit the one that is "
                    "repeated; the machine, its libraries or the run before it differ"
                }
            )
        live = maker.load(snapshot)
        return Swap(live, numbers)


@contextmanager
def _threads(number: int) -> Iterator[None]:
    """So many processor threads for the duration: sums may depend on how work is divided."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
