"""The one loop: when a step happens, what is logged, when it is saved; knows nothing of what a
step computes.

A stage says what a step is. Between two steps the loop may swap the index, save a checkpoint,
ask the probe, or stop because the user wants to. A resumed run is the run that was never stopped.
"""

from __future__ import annotations

import logging
import math
import time
import zlib
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch

from openrealm.errors import ConfigError, TrainingError
from openrealm.models.realm import freeze
from openrealm.processes import Processes
from openrealm.progress import Progress
from openrealm.retrieval.live_index import LiveIndex
from openrealm.retrieval.snapshot_maker import EmbeddingStopped, Order
from openrealm.runs.checkpoints import (
    Checkpoint,
    Position,
    checkpoint_name,
    checkpoints,
    prune,
    random_state,
    save_checkpoint,
)
from openrealm.settings import LoopConfig, OptimConfig
from openrealm.training.collapse_alarm import Alarm, alarm_for
from openrealm.training.metrics_log import MetricsLog, Window
from openrealm.training.optim import (
    CLIP_NORM,
    AdamWeightDecay,
    learning_rate_factor,
    parameter_groups,
    set_learning_rate,
)
from openrealm.training.refresh import IndexMaker, Refresh
from openrealm.training.stage import Ingredients, Mean, Stage, StepResult
from openrealm.training.stopping import StopRequest, stop_requests
from openrealm.training.write_back import WriteBack

logger = logging.getLogger(__name__)


@runtime_checkable
class Probe(Protocol):
    """Asked now and then whether retrieval is being learned."""

    def __call__(self, live: LiveIndex | None) -> Mapping[str, float]:
        """Numbers for the log; nothing where there is no index."""

    def recall_of(self, stale: LiveIndex, fresh: LiveIndex) -> Mapping[str, float]:
        """What part of a fresh index's candidates a stale one finds."""


class NoProbe:
    """Where nothing is held out."""

    def __call__(self, live: LiveIndex | None) -> Mapping[str, float]:
        """No numbers."""
        return {}

    def recall_of(self, stale: LiveIndex, fresh: LiveIndex) -> Mapping[str, float]:
        """No numbers."""
        return {}


@dataclass
class Trainer:
    """Runs stages one after another, from a checkpoint or from the start.

    Attributes:
        parts: Model, corpus and templates.
        optim: Optimiser settings of all stages.
        loop: When things happen.
        maker: Makes the index that a stage begins with.
        refresh: Where newer indexes come from.
        checkpoints: Folder of the run's checkpoints.
        log: The run's metrics.
        probe: Asked every ``loop.probe_every`` steps.
        progress: Where to tell how far it is.
        write_back: Whether what a step has made of chunks goes into the live index.
        keep_checkpoints: So many of the newest within a stage; the end of every stage is kept.
    """

    parts: Ingredients
    optim: OptimConfig
    loop: LoopConfig
    maker: IndexMaker
    refresh: Refresh
    checkpoints: Path
    log: MetricsLog
    probe: Probe
    progress: Progress
    write_back: bool = False
    keep_checkpoints: int = 2
    live: LiveIndex | None = None
    total_step: int = 0
    _alarm: Alarm = field(init=False)
    _held_up_s: float = field(default=0.0, init=False)
    _written: WriteBack | None = field(default=None, init=False)

    def run(
        self,
        stage: Stage,
        resume: Checkpoint | None = None,
        notes: Sequence[Mapping[str, Any]] = (),
    ) -> Checkpoint:
        """Trains one stage to its end.

        Args:
            stage: What a step computes.
            resume: A checkpoint in the middle of this stage.
            notes: What the log has to say before the first step.

        Raises:
            Stopped: Ctrl-C or SIGTERM; the state is saved.
            ConfigError: There are more processes than examples in a batch.
            TrainingError: The loss is not finite.
        """
        if stage.batch_size < self.parts.processes.size:
            raise ConfigError(
                f"{stage.name}.batch_size = {stage.batch_size} is less than one example for each "
                f"of the {self.parts.processes.size} processes; raise it, or start fewer"
            )
        optimizer = self._prepare(stage)
        self._alarm = alarm_for(stage)
        first = 0
        if resume is not None:
            first = self._take_up(stage, optimizer, resume, notes)
        else:
            self._note(notes)
            self._seed(stage, 0)
            if stage.uses_index:
                self._begin_index(stage)
        self._written = self._begin_writing(stage, resume)
        work = self.progress.task(
            f"stage {stage.name}", total=stage.steps, unit="steps", done=first
        )
        with work as task, stop_requests() as stop, self._beside(stage, stop):
            window = Window(resume.position.window if resume is not None else None)
            if first == 0 and stage.uses_index and stage.moves_retriever:
                # What joint training begins with is the measure of all that it does.
                self._ask_probe(stage, 0)
                window.restart()
            for step in range(first, stage.steps):
                if self.live is not None and stage.uses_index and stage.moves_chunks:
                    try:
                        self._swap(stage, window, self.live)
                    except EmbeddingStopped:
                        self._save(stage, step, optimizer, window)
                        raise stop.stopped(
                            f"before step {step + 1} of stage '{stage.name}'"
                        ) from None
                window.add(self._one_step(stage, step, optimizer))
                self.total_step += 1
                task.advance(1, note=window.note())
                self._between_steps(stage, step + 1, optimizer, window, stop)
            if stage.uses_index:
                self.refresh.take_up(None)  # what is being made now comes too late
            saved = self._save(stage, stage.steps, None, None)
            if self.parts.processes.any(stop.is_set()):
                raise stop.stopped(f"at the end of stage '{stage.name}'")
        return saved

    def _beside(self, stage: Stage, stop: StopRequest) -> AbstractContextManager[object]:
        """Whatever refreshes the index, if the stage lets it go stale."""
        if not (stage.uses_index and stage.moves_chunks):
            return nullcontext()
        return self.refresh.at_work(stop.is_set)

    def _begin_index(self, stage: Stage) -> None:
        """An index of the weights that the stage begins with."""
        self.refresh.take_up(None)
        with stop_requests() as stop:
            try:
                with self.maker.embedding(stop.is_set):
                    live = self.maker.first(self.total_step)
            except EmbeddingStopped:
                raise stop.stopped(f"before stage '{stage.name}'") from None
            if self.parts.processes.any(stop.is_set()):
                raise stop.stopped(f"before stage '{stage.name}'")
        self.live = replace(live, step=self.total_step)
        self._log_start(stage)

    def _begin_writing(self, stage: Stage, resume: Checkpoint | None) -> WriteBack | None:
        """What a checkpoint has of the live index beyond its snapshot, written into it again."""
        if self.live is None or not (self.write_back and stage.uses_index and stage.moves_chunks):
            return None
        written = WriteBack(self.live.index, self.parts.processes)
        if resume is not None:
            written.take_up(self.live.index, resume.written())
        return written

    def _between_steps(
        self,
        stage: Stage,
        done: int,
        optimizer: AdamWeightDecay,
        window: Window,
        stop: StopRequest,
    ) -> None:
        last = done == stage.steps
        stopped = self.parts.processes.any(stop.is_set())
        if last or done % self.loop.log_every == 0:
            self._log(stage, done, window, optimizer)
            window.restart()
        if last or done % self.loop.probe_every == 0:
            with window.paused():
                self._ask_probe(stage, done)
        if last:
            return
        if stopped or done % self.loop.checkpoint_every == 0:
            with window.paused():
                self._save(stage, done, optimizer, window)
        if stopped:
            raise stop.stopped(f"after step {done} of stage '{stage.name}'")

    def _prepare(self, stage: Stage) -> AdamWeightDecay:
        model = self.parts.model
        # What is not trained has no dropout either: a frozen tower's vectors are the index's.
        freeze(model, frozen=True)
        model.eval()
        for module, _ in stage.trained():
            freeze(module, frozen=False)
            module.train()
        groups = parameter_groups(stage.trained())
        return AdamWeightDecay(groups, bias_correction=self.optim.bias_correction)

    def _seed(self, stage: Stage, step: int) -> None:
        """Dropout is a function of seed and stage, whatever this process did before."""
        rank, size = self.parts.processes.rank, self.parts.processes.size
        text = f"{self.parts.seed} {stage.name}"
        if rank or step:  # of its own for every process, and where one goes on that was not there
            text += f" {rank}/{size} {step}"
        torch.manual_seed(zlib.crc32(text.encode()))

    def _take_up(
        self,
        stage: Stage,
        optimizer: AdamWeightDecay,
        checkpoint: Checkpoint,
        notes: Sequence[Mapping[str, Any]],
    ) -> int:
        checkpoint.load_weights(self.parts.model)
        position = checkpoint.position
        if not checkpoint.load_training_state(optimizer, rank=self.parts.processes.rank):
            self._seed(stage, position.step)
        self.total_step = position.total_step
        if position.generation:
            live = self.maker.reopened(position.generation)
            self.live = replace(live, step=position.index_step)
            order = Order(generation=position.ordered_generation, step=position.ordered_step)
            self.refresh.take_up(order if order.generation else None)
        self.log.cut(position.metrics_bytes)
        self._note(notes)
        self.parts.processes.barrier()
        for record in self.log.records():
            if record.get("stage") == position.stage:
                self._alarm(record)
        return position.step

    def _note(self, notes: Sequence[Mapping[str, Any]]) -> None:
        """Writes into the log what the checkpoint did not find there."""
        if notes and self.parts.processes.is_first:
            known = list(self.log.records())
            for note in notes:
                if note not in known:
                    self.log.write(note)

    def _log_start(self, stage: Stage) -> None:
        """Which index a stage begins with, so that every example's is known."""
        assert self.live is not None
        self.log.write(
            {
                "event": "index",
                "stage": stage.name,
                "total_step": self.total_step,
                "index/generation": self.live.generation,
            }
        )

    def _swap(self, stage: Stage, window: Window, live: LiveIndex) -> None:
        started = time.perf_counter()
        swap = self.refresh.before_step(self.total_step, live)
        held_up_s = time.perf_counter() - started
        window.refresh_s += held_up_s
        self._held_up_s += held_up_s
        for event in self.refresh.news():
            self.progress.say(f"refresh: {event['text']}")
            position = {"stage": stage.name, "total_step": self.total_step}
            self.log.write({"event": "refresh", **position, **event})
        if swap is None:
            return
        self.live = swap.live
        written = {}
        if self._written is not None:
            written["index/written_before"] = self._written.share()
            self._written.carry(live, swap.live)
        with window.paused():
            recall = self.probe.recall_of(live, swap.live)
        record = {
            "event": "swap",
            "stage": stage.name,
            "total_step": self.total_step,
            **swap.numbers,
            "index/staleness_before": self.total_step - live.step,
            "index/held_up_seconds": round(self._held_up_s, 4),
            **written,
            **recall,
        }
        self.log.write({"index/refresh_seconds": round(held_up_s, 3), **record})
        self._held_up_s = 0.0

    def _one_step(self, stage: Stage, step: int, optimizer: AdamWeightDecay) -> StepResult:
        processes = self.parts.processes
        mine = stage.step(step, self.live)
        result, weight = _of_all(mine, processes)
        if not math.isfinite(result.loss.item()):
            raise TrainingError(
                f"the loss of stage '{stage.name}' is {result.loss.item()} at step {step}; lower "
                "its learning rate and resume from the last checkpoint"
            )
        optimizer.zero_grad(set_to_none=True)
        (mine.loss * weight).backward()  # type: ignore[no-untyped-call]
        params = [p for group in optimizer.param_groups for p in group["params"]]
        processes.all_reduce_gradients(params)
        norm = torch.nn.utils.clip_grad_norm_(params, CLIP_NORM)
        if not math.isfinite(norm):
            raise TrainingError(
                f"the gradient of stage '{stage.name}' is not finite at step {step}; lower its "
                "learning rate and resume from the last checkpoint"
            )
        factor = learning_rate_factor(step, stage.steps, warmup_min=self.optim.warmup_min)
        set_learning_rate(optimizer, factor)
        optimizer.step()
        if self._written is not None and mine.embedded is not None:
            assert self.live is not None
            # Of the weights before this step's update.
            self._written.write(self.live.index, mine.embedded, step=self.total_step)
        metrics = {**result.metrics, "train/gradient_norm": Mean(float(norm))}
        return replace(result, metrics=metrics, embedded=None)

    def _log(self, stage: Stage, step: int, window: Window, optimizer: AdamWeightDecay) -> None:
        record: dict[str, Any] = {
            "stage": stage.name,
            "step": step,
            "total_step": self.total_step,
            "time": round(time.time(), 3),
            "train/lr": max(group["lr"] for group in optimizer.param_groups),
            **window.means(),
        }
        if self.live is not None:
            record["index/generation"] = self.live.generation
            record["index/staleness"] = self.total_step - self.live.step
            record["index/staleness_seconds"] = round(time.time() - self.live.made_at, 3)
        if self._written is not None:
            record["index/written"] = self._written.share()
        self._tell(record)

    def _ask_probe(self, stage: Stage, step: int) -> None:
        live = self.live if stage.uses_index else None
        numbers = self.probe(live)
        if not numbers:
            return
        position = {"stage": stage.name, "step": step, "total_step": self.total_step}
        self._tell({"event": "probe", **position, **numbers})

    def _tell(self, record: Mapping[str, Any]) -> None:
        """Writes a record of the metrics down, and warns where it has to be."""
        self.log.write(record)
        if warning := self._alarm(record):
            self.progress.say(f"WARNING: {warning}")
            position = {name: record[name] for name in ("stage", "step", "total_step")}
            self.log.write({"event": "warning", **position, "text": warning})

    def _save(
        self,
        stage: Stage,
        step: int,
        optimizer: AdamWeightDecay | None,
        window: Window | None,
    ) -> Checkpoint:
        """Saves the middle of a stage, or its end: without moments and sums."""
        processes = self.parts.processes
        order = self.refresh.ordered if optimizer is not None else None
        self.log.sync()  # a checkpoint counts on the lines before it
        position = Position(
            stage=stage.name,
            step=step,
            total_step=self.total_step,
            finished=optimizer is None,
            generation=self.live.generation if self.live is not None else 0,
            index_step=self.live.step if self.live is not None else 0,
            metrics_bytes=self.log.size_bytes,
            window=window.sums if window is not None else {},
            ordered_generation=order.generation if order is not None else 0,
            ordered_step=order.step if order is not None else 0,
        )
        states = processes.all_gather(random_state()[None])
        written = None
        if self._written is not None and self.live is not None and optimizer is not None:
            written = self._written.state(self.live.index)
        if processes.is_first:
            save_checkpoint(
                self.checkpoints,
                self.parts.model,
                optimizer,
                position,
                random=[state[0] for state in states],
                written=written,
            )
            prune(self.checkpoints, keep_last=self.keep_checkpoints)
            kept = [c.position for c in checkpoints(self.checkpoints)]
            needed = {c.generation for c in [*kept, position]}
            self.refresh.prune(needed, {c.ordered_generation for c in kept} - {0})
        processes.barrier()
        return Checkpoint(self.checkpoints / checkpoint_name(position), position)


def _of_all(mine: StepResult, processes: Processes) -> tuple[StepResult, float]:
    """Loss and numbers of the whole batch, and the part of the loss that is this process's."""
    if processes.size == 1:
        return replace(mine, loss=mine.loss.detach()), 1.0
    means = {"loss": Mean(float(mine.loss.detach()), mine.weight), **mine.metrics}
    rows = [[mean.value * mean.count, mean.count] for mean in means.values()]
    rows.append([mine.num_examples, mine.num_tokens])
    *sums, sizes = processes.all_reduce(torch.tensor(rows, dtype=torch.float64)).tolist()
    of_all = {
        name: Mean(total / count, int(count))
        for name, (total, count) in zip(means, sums, strict=True)
    }
    loss = of_all.pop("loss")
    num_examples, num_tokens = sizes
    result = StepResult(
        loss=torch.tensor(loss.value),
        weight=loss.count,
        metrics=of_all,
        num_tokens=int(num_tokens),
        num_examples=int(num_examples),
        retrieval_s=mine.retrieval_s,
    )
    return result, mine.weight / loss.count
