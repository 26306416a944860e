"""When a newer index goes live; knows nothing of losses or examples.

Training moves the embedder, so the embeddings that candidates are found with go stale. A `Refresh`
is asked between two steps whether a newer index is there, and what it returns is swapped in. Here
the work is done in line, by the processes that train; `openrealm.training.background` does it
beside them. Either way the trainer only ever sees published snapshots.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import torch

from openrealm.index.snapshot import Snapshot, prune
from openrealm.retrieval.embedding import Order
from openrealm.retrieval.live_index import LiveIndex, SnapshotMaker


@dataclass(frozen=True)
class Swap:
    """A newer index, and what is to be logged about how it came.

    Attributes:
        live: The index.
        numbers: Such as ``index/refresh_seconds``.
    """

    live: LiveIndex
    numbers: Mapping[str, Any]


def swap_numbers(snapshot: Snapshot, *, step: int, threads: int | None = None) -> dict[str, Any]:
    """What it takes to repeat a swap, and to see whether it was repeated.

    Args:
        snapshot: What was swapped in.
        step: Training step of its weights.
        threads: Processor threads that it was made with; by default those of this process.
    """
    plan = snapshot.manifest
    return {
        "index/generation": plan.generation,
        "index/weights_step": step,
        "index/threads": threads or torch.get_num_threads(),
        "index/shard_rows": plan.shard_rows,
        "index/digest": hashlib.sha256("".join(plan.checksums).encode()).hexdigest()[:16],
    }


@runtime_checkable
class IndexMaker(Protocol):
    """Makes the index that a stage begins with. All training processes call it together."""

    def embedding(self, stop: Callable[[], bool]) -> AbstractContextManager[object]:
        """Inside this context `first` is given up, with `EmbeddingStopped`, where stop says so."""

    def first(self, total_step: int) -> LiveIndex:
        """An index of the present weights, for a stage to begin with."""

    def reopened(self, generation: int) -> LiveIndex:
        """The index that a resumed run had; its weights may be older ones."""


@runtime_checkable
class Refresh(Protocol):
    """Where newer indexes come from. Each method is called by all training processes together."""

    def at_work(self, stop: Callable[[], bool]) -> AbstractContextManager[object]:
        """Whatever runs beside the training does so inside this context.

        Args:
            stop: Says whether training is to end; an embedding in line is then given up.
        """

    def before_step(self, total_step: int, live: LiveIndex) -> Swap | None:
        """What to swap in before this step, or None to go on with the live index."""

    @property
    def ordered(self) -> Order | None:
        """What is being made beside the training, to be saved with it."""

    def take_up(self, order: Order | None) -> None:
        """Goes on with what a resumed run had ordered."""

    def news(self) -> Sequence[Mapping[str, Any]]:
        """What has happened beside the training since this was last asked."""

    def prune(self, keep: set[int], ordered: set[int]) -> None:
        """Removes what is not needed any more.

        Args:
            keep: Generations of the checkpoints and the live index.
            ordered: Generations that were being made when a checkpoint was saved.
        """


def made_in_line(maker: SnapshotMaker, total_step: int) -> Swap:
    """A new index of the present weights, by the training processes."""
    snapshot = maker.now(total_step)
    live = replace(maker.load(snapshot), step=total_step)
    return Swap(live, swap_numbers(snapshot, step=total_step))


@dataclass(eq=False)
class InlineRefresh:
    """Embeds the corpus in the training processes every so many steps.

    Attributes:
        maker: Does it.
    """

    maker: SnapshotMaker

    @property
    def ordered(self) -> Order | None:
        """Nothing is made beside the training."""
        return None

    def at_work(self, stop: Callable[[], bool]) -> AbstractContextManager[object]:
        """Nothing runs beside the training."""
        return self.maker.embedding(stop)

    def take_up(self, order: Order | None) -> None:
        """An order that a run had in another mode is not waited for."""

    def news(self) -> Sequence[Mapping[str, Any]]:
        """Nothing happens beside the training."""
        return ()

    def before_step(self, total_step: int, live: LiveIndex) -> Swap | None:
        """A new index where the live one is ``every`` steps old."""
        if total_step - live.step < self.maker.config.every:
            return None
        return made_in_line(self.maker, total_step)

    def prune(self, keep: set[int], ordered: set[int]) -> None:
        """Removes snapshots that neither a checkpoint nor the live index needs."""
        prune(self.maker.directory, keep=keep)
