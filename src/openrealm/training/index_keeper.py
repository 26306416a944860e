"""The index that a run searches while it trains: begun, swapped, written into, saved; knows nothing
of losses or optimisers.

A stage that moves chunks lets the index go stale. Between two steps a `Refresh` may have a newer
one, which is swapped in; with `refresh.write_back` the vectors that steps make of their candidates
go into the live one meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from openrealm.processes import Processes
from openrealm.progress import Progress
from openrealm.retrieval.embedding import Order
from openrealm.retrieval.live_index import EmbeddingStopped, LiveIndex
from openrealm.runs.checkpoints import Checkpoint, Position
from openrealm.runs.saved_state import written_vectors
from openrealm.training.metrics_log import MetricsLog, Window
from openrealm.training.probe import Probe
from openrealm.training.refresh import IndexMaker, Refresh, Swap
from openrealm.training.stage import IndexUse, Stage, StepResult
from openrealm.training.stopping import stop_requests
from openrealm.training.write_back import WriteBack


@dataclass
class IndexKeeper:
    """Keeps the live index of a training.

    Attributes:
        maker: Makes the index that a stage begins with.
        refresh: Where newer indexes come from.
        log: Told which index examples came from, and every swap.
        probe: Compares a stale index with the one that takes its place.
        progress: Where to tell what happened beside the training.
        processes: Who trains together.
        writes_back: Whether what a step has made of chunks goes into the live index.
        live: The index; None where no stage has needed one yet.
    """

    maker: IndexMaker
    refresh: Refresh
    log: MetricsLog
    probe: Probe
    progress: Progress
    processes: Processes
    writes_back: bool = False
    live: LiveIndex | None = None
    _write_back: WriteBack | None = field(default=None, init=False)
    _held_up_s: float = field(default=0.0, init=False)

    def begin(self, stage: Stage, total_step: int) -> None:
        """An index of the weights that a stage begins with.

        Raises:
            Stopped: Somebody wants training to end.
        """
        self._write_back = None
        if stage.index_use is IndexUse.NONE:
            return
        self.refresh.take_up(None)
        with stop_requests() as stop:
            try:
                with self.maker.embedding(stop.is_set):
                    live = self.maker.first(total_step)
            except EmbeddingStopped:
                raise stop.stopped(f"before stage '{stage.name}'") from None
            if self.processes.any(stop.is_set()):
                raise stop.stopped(f"before stage '{stage.name}'")
        self.live = replace(live, step=total_step)
        self._begin_write_back(stage)
        self.log.write(
            {
                "event": "index",
                "stage": stage.name,
                "total_step": total_step,
                "index/generation": live.generation,
            }
        )

    def resume(self, stage: Stage, checkpoint: Checkpoint) -> None:
        """The index that a stage had in the middle, with what was written into it since."""
        self._write_back = None
        position = checkpoint.position
        if position.generation:
            self.live = replace(self.maker.reopened(position.generation), step=position.index_step)
            order = Order(generation=position.ordered_generation, step=position.ordered_step)
            self.refresh.take_up(order if order.generation else None)
        self._begin_write_back(stage)
        if self.live is not None and self._write_back is not None:
            self._write_back.take_up(self.live.index, written_vectors(checkpoint))

    def _begin_write_back(self, stage: Stage) -> None:
        moves = stage.index_use is IndexUse.MOVING
        if self.writes_back and self.live is not None and moves:
            self._write_back = WriteBack(self.live.index, self.processes)

    def of(self, stage: Stage) -> LiveIndex | None:
        """The index where the stage uses it."""
        return None if stage.index_use is IndexUse.NONE else self.live

    def kept_fresh(self, stage: Stage, stop: Callable[[], bool]) -> AbstractContextManager[object]:
        """Whatever refreshes the index beside the stage, where that lets it go stale."""
        return (
            nullcontext() if stage.index_use is not IndexUse.MOVING else self.refresh.at_work(stop)
        )

    def before_step(self, stage: Stage, total_step: int, window: Window) -> None:
        """Swaps a newer index in where there is one.

        Raises:
            EmbeddingStopped: Training is to end.
        """
        if stage.index_use is not IndexUse.MOVING or self.live is None:
            return
        started = time.perf_counter()
        swap = self.refresh.before_step(total_step, self.live)
        held_up_s = time.perf_counter() - started
        window.refresh_s += held_up_s
        self._held_up_s += held_up_s
        for event in self.refresh.news():
            self.progress.say(f"refresh: {event['text']}")
            position = {"stage": stage.name, "total_step": total_step}
            self.log.write({"event": "refresh", **position, **event})
        if swap is None:
            return
        with window.paused():
            record = self._swap(swap, self.live, total_step)
        self.log.write(
            {
                "index/refresh_seconds": round(held_up_s, 3),
                "event": "swap",
                "stage": stage.name,
                "total_step": total_step,
                **record,
            }
        )

    def _swap(self, swap: Swap, stale: LiveIndex, total_step: int) -> dict[str, Any]:
        """Puts a newer index in the place of the stale one; what is to be logged about it."""
        self.live = swap.live
        written = {}
        if self._write_back is not None:
            written["index/written_before"] = self._write_back.written_part()
            self._write_back.carry(stale, swap.live)
        held_up_s, self._held_up_s = self._held_up_s, 0.0
        return {
            **swap.numbers,
            "index/staleness_before": total_step - stale.step,
            "index/held_up_seconds": round(held_up_s, 4),
            **written,
            **self.probe.recall_of(stale, swap.live),
        }

    def after_step(self, result: StepResult, total_step: int) -> None:
        """Writes what a step has made of chunks into the index, where that is done.

        Args:
            result: Of the step.
            total_step: Training step of the weights, before the step's update.
        """
        if self._write_back is not None and result.embedded is not None:
            assert self.live is not None
            self._write_back.write(self.live.index, result.embedded, step=total_step)

    def end(self, stage: Stage) -> None:
        """Nothing is waited for any more: what is being made now comes too late."""
        if stage.index_use is not IndexUse.NONE:
            self.refresh.take_up(None)

    def numbers(self, total_step: int) -> dict[str, int | float]:
        """How old the live index is, for a line of metrics."""
        if self.live is None:
            return {}
        numbers: dict[str, int | float] = {
            "index/generation": self.live.generation,
            "index/staleness": total_step - self.live.step,
            "index/staleness_seconds": round(time.time() - self.live.made_at, 3),
        }
        if self._write_back is not None:
            numbers["index/written"] = self._write_back.written_part()
        return numbers

    def positioned(self, position: Position, *, finished: bool) -> Position:
        """A checkpoint's position with the index and, in the middle of a stage, what is ordered."""
        order = None if finished else self.refresh.ordered
        return replace(
            position,
            generation=self.live.generation if self.live is not None else 0,
            index_step=self.live.step if self.live is not None else 0,
            ordered_generation=order.generation if order is not None else 0,
            ordered_step=order.step if order is not None else 0,
        )

    def written(self) -> Mapping[str, torch.Tensor] | None:
        """What a checkpoint has to hold of the index beyond its snapshot; together."""
        if self._write_back is None or self.live is None:
            return None
        return self._write_back.state(self.live.index)

    def prune(self, kept: Sequence[Position]) -> None:
        """Removes the snapshots that no checkpoint needs."""
        ordered = {position.ordered_generation for position in kept} - {0}
        self.refresh.prune({position.generation for position in kept}, ordered)
