"""The one loop: step, log, probe, checkpoint, stop; knows nothing of what a step computes.

A stage says what a step is. Between two steps the loop may swap the index, save a checkpoint,
ask the probe, or stop because the user wants to. A resumed run is the run that was never stopped.
"""

from __future__ import annotations

import logging
import math
import time
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from openrealm.errors import ConfigError, TrainingError
from openrealm.models.realm import freeze
from openrealm.processes import Processes
from openrealm.progress import Progress
from openrealm.retrieval.live_index import EmbeddingStopped
from openrealm.runs.checkpoints import (
    Checkpoint,
    Position,
    checkpoint_name,
    checkpoints,
    prune,
)
from openrealm.runs.saved_state import load_training_state, random_state, save_checkpoint
from openrealm.settings import LoopConfig, OptimConfig
from openrealm.training.alarms import Alarm, NoAlarm
from openrealm.training.index_keeper import IndexKeeper
from openrealm.training.metrics_log import MetricsLog, Window
from openrealm.training.optim import (
    CLIP_NORM,
    AdamWeightDecay,
    learning_rate_factor,
    parameter_groups,
    set_learning_rate,
)
from openrealm.training.probe import Probe
from openrealm.training.stage import Ingredients, Mean, Stage, StepResult
from openrealm.training.stopping import StopRequest, stop_requests

logger = logging.getLogger(__name__)


@dataclass
class Trainer:
    """Runs stages one after another, from a checkpoint or from the start.

    Attributes:
        parts: Model, corpus and encoder.
        optim: Optimiser settings of all stages.
        loop: When things happen.
        index: Keeps the live index.
        checkpoints: Folder of the run's checkpoints.
        log: The run's metrics.
        probe: Asked every ``loop.probe_every`` steps.
        progress: Where to tell how far it is.
        keep_checkpoints: So many of the newest within a stage; the end of every stage is kept.
        total_step: Steps of all stages that are done.
    """

    parts: Ingredients
    optim: OptimConfig
    loop: LoopConfig
    index: IndexKeeper
    checkpoints: Path
    log: MetricsLog
    probe: Probe
    progress: Progress
    keep_checkpoints: int = 2
    total_step: int = 0
    _alarm: Alarm = field(default_factory=NoAlarm, init=False)

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
        optimizer = self._prepare(stage)
        first = self._begin(stage, optimizer, resume, notes)
        window = Window(resume.position.window if resume is not None else None)
        work = self.progress.task(
            f"stage {stage.name}", total=stage.steps, unit="steps", done=first
        )
        with work as task, stop_requests() as stop, self.index.kept_fresh(stage, stop.is_set):
            if first == 0 and self._alarm.needs_first_probe:
                self._ask_probe(stage, 0)
                window.restart()
            for step in range(first, stage.steps):
                self._before_step(stage, step, optimizer, window, stop)
                window.add(self._one_step(stage, step, optimizer))
                self.total_step += 1
                task.advance(1, note=window.note())
                self._after_step(stage, step + 1, optimizer, window, stop)
            self.index.end(stage)
            saved = self._save(stage, stage.steps, None, None)
            if self.parts.processes.any(stop.is_set()):
                raise stop.stopped(f"at the end of stage '{stage.name}'")
        return saved

    def _prepare(self, stage: Stage) -> AdamWeightDecay:
        """The optimiser of what the stage trains; everything else is frozen."""
        if stage.batch_size < self.parts.processes.size:
            raise ConfigError(
                f"{stage.name}.batch_size = {stage.batch_size} is less than one example for each "
                f"of the {self.parts.processes.size} processes; raise it, or start fewer"
            )
        model = self.parts.model
        # What is not trained has no dropout either: a frozen tower's vectors are the index's.
        freeze(model, frozen=True)
        model.eval()
        for module, _ in stage.trained():
            freeze(module, frozen=False)
            module.train()
        groups = parameter_groups(stage.trained())
        return AdamWeightDecay(groups, bias_correction=self.optim.bias_correction)

    def _begin(
        self,
        stage: Stage,
        optimizer: AdamWeightDecay,
        resume: Checkpoint | None,
        notes: Sequence[Mapping[str, Any]],
    ) -> int:
        """The first step to make: 0, or where a checkpoint stopped."""
        self._alarm = stage.alarm()
        if resume is None:
            self._note(notes)
            self._seed(stage, 0)
            self.index.begin(stage, self.total_step)
            return 0
        resume.load_weights(self.parts.model)
        position = resume.position
        if not load_training_state(resume, optimizer, rank=self.parts.processes.rank):
            self._seed(stage, position.step)
        self.total_step = position.total_step
        self.index.resume(stage, resume)
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

    def _seed(self, stage: Stage, step: int) -> None:
        """Dropout is a function of seed and stage, whatever this process did before."""
        rank, size = self.parts.processes.rank, self.parts.processes.size
        text = f"{self.parts.seed} {stage.name}"
        if rank or step:  # of its own for every process, and where one goes on that was not there
            text += f" {rank}/{size} {step}"
        torch.manual_seed(zlib.crc32(text.encode()))

    def _before_step(
        self,
        stage: Stage,
        step: int,
        optimizer: AdamWeightDecay,
        window: Window,
        stop: StopRequest,
    ) -> None:
        try:
            self.index.before_step(stage, self.total_step, window)
        except EmbeddingStopped:
            self._save(stage, step, optimizer, window)
            raise stop.stopped(f"before step {step + 1} of stage '{stage.name}'") from None

    def _one_step(self, stage: Stage, step: int, optimizer: AdamWeightDecay) -> StepResult:
        mine = stage.step(step, self.index.live)
        result, part = of_all(mine, self.parts.processes)
        self._require_finite(stage, step, "loss", result.loss.item())
        optimizer.zero_grad(set_to_none=True)
        (mine.loss * part).backward()  # type: ignore[no-untyped-call]
        params = [p for group in optimizer.param_groups for p in group["params"]]
        self.parts.processes.all_reduce_gradients(params)
        norm = torch.nn.utils.clip_grad_norm_(params, CLIP_NORM)
        self._require_finite(stage, step, "gradient", float(norm))
        factor = learning_rate_factor(step, stage.steps, warmup_min=self.optim.warmup_min)
        set_learning_rate(optimizer, factor)
        optimizer.step()
        self.index.after_step(mine, self.total_step)
        metrics = {**result.metrics, "train/gradient_norm": Mean(float(norm))}
        return replace(result, metrics=metrics, embedded=None)

    def _require_finite(self, stage: Stage, step: int, what: str, value: float) -> None:
        if not math.isfinite(value):
            raise TrainingError(
                f"the {what} of stage '{stage.name}' is {value} at step {step}; lower its "
                "learning rate and resume from the last checkpoint"
            )

    def _after_step(
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

    def _log(self, stage: Stage, step: int, window: Window, optimizer: AdamWeightDecay) -> None:
        self._tell(
            {
                "stage": stage.name,
                "step": step,
                "total_step": self.total_step,
                "time": round(time.time(), 3),
                "train/lr": max(group["lr"] for group in optimizer.param_groups),
                **window.means(),
                **self.index.numbers(self.total_step),
            }
        )

    def _ask_probe(self, stage: Stage, step: int) -> None:
        numbers = self.probe(self.index.of(stage))
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
        processes, finished = self.parts.processes, optimizer is None
        self.log.sync()  # a checkpoint counts on the lines before it
        position = self.index.positioned(
            Position(
                stage=stage.name,
                step=step,
                total_step=self.total_step,
                finished=finished,
                generation=0,
                index_step=0,
                metrics_bytes=self.log.size_bytes,
                window=window.sums if window is not None else {},
            ),
            finished=finished,
        )
        states = processes.all_gather(random_state()[None])
        written = None if finished else self.index.written()
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
            self.index.prune([*kept, position])
        processes.barrier()
        return Checkpoint(self.checkpoints / checkpoint_name(position), position)


def of_all(mine: StepResult, processes: Processes) -> tuple[StepResult, float]:
    """Loss and numbers of the whole batch, and the part of the loss that is this process's."""
    if processes.size == 1:
        return replace(mine, loss=mine.loss.detach()), 1.0
    means = {"loss": Mean(float(mine.loss.detach()), mine.weight), **mine.metrics}
    rows = [[mean.value * mean.count, mean.count] for mean in means.values()]
    rows.append([mine.num_examples, mine.num_tokens])
    *sums, sizes = processes.all_reduce(torch.tensor(rows, dtype=torch.float64)).tolist()
    of_everyone = {
        name: Mean(total / count, int(count))
        for name, (total, count) in zip(means, sums, strict=True)
    }
    loss = of_everyone.pop("loss")
    num_examples, num_tokens = sizes
    result = StepResult(
        loss=torch.tensor(loss.value),
        weight=loss.count,
        metrics=of_everyone,
        num_tokens=int(num_tokens),
        num_examples=int(num_examples),
        retrieval_s=mine.retrieval_s,
    )
    return result, mine.weight / loss.count
