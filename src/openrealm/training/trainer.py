"""The one loop: when a step happens, what is logged, when it is saved; knows nothing of what a
step computes.

A stage says what a step is. Between two steps the loop may swap the index, save a checkpoint,
ask the probe, or stop because the user wants to. A resumed run is the run that was never stopped.
"""

from __future__ import annotations

import json
import logging
import math
import os
import signal
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch

from openrealm.config import option
from openrealm.errors import MissingDependencyError, Stopped, TrainingError
from openrealm.index.snapshot import Snapshot
from openrealm.models.realm import freeze
from openrealm.progress import Progress
from openrealm.retrieval.retriever import RetrievalConfig
from openrealm.training.checkpoint import (
    Checkpoint,
    Position,
    checkpoints,
    prune,
    save_checkpoint,
)
from openrealm.training.optim import (
    AdamWeightDecay,
    OptimConfig,
    learning_rate_factor,
    parameter_groups,
    set_learning_rate,
)
from openrealm.training.probe import CollapseWatch
from openrealm.training.refresh import InlineRefresh, LiveIndex, go_live
from openrealm.training.stage import Ingredients, Stage, StepResult

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class LoopConfig:
    """When things happen beside the steps."""

    log_every: int = option(10, "Steps between two lines of metrics.", minimum=1)
    probe_every: int = option(100, "Steps between two questions to the probe.", minimum=1)
    checkpoint_every: int = option(200, "Steps between two checkpoints.", minimum=1)
    keep_checkpoints: int = option(
        2, "Newest checkpoints kept within a stage; the end of every stage is kept.", minimum=1
    )
    tensorboard: bool = option(False, "Write TensorBoard files as well (extra `track`).")
    num_probe: int = option(
        200, "Chunks held out for the probe, at most a tenth of those with spans.", minimum=1
    )


class MetricsLog:
    """Records as JSON lines; can be cut back to where a checkpoint was."""

    def __init__(self, path: Path, *, listener: Callable[[Mapping[str, Any]], None] | None) -> None:
        self._path, self._listener = path, listener
        path.touch()

    def write(self, record: Mapping[str, Any]) -> None:
        """Appends one record."""
        with open(self._path, "a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
        if self._listener is not None:
            self._listener(record)

    def records(self) -> Iterator[dict[str, Any]]:
        """What was written so far."""
        with open(self._path, encoding="utf-8") as file:
            yield from map(json.loads, file)

    @property
    def size_bytes(self) -> int:
        """Present length of the file."""
        return self._path.stat().st_size

    def cut(self, size_bytes: int) -> None:
        """Forgets what was written after a checkpoint, which will be written again."""
        if self.size_bytes > size_bytes:
            os.truncate(self._path, size_bytes)


def tensorboard_listener(directory: Path) -> Callable[[Mapping[str, Any]], None]:
    """What writes every number of a record as a TensorBoard scalar.

    Raises:
        MissingDependencyError: TensorBoard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise MissingDependencyError(
            "loop.tensorboard needs TensorBoard; install it with: pip install 'openrealm[track]'"
        ) from error
    writer = SummaryWriter(str(directory))

    def listen(record: Mapping[str, Any]) -> None:
        for name, value in record.items():
            if "/" in name and isinstance(value, int | float):
                writer.add_scalar(name, value, record["total_step"])
        writer.flush()

    return listen


@runtime_checkable
class Probe(Protocol):
    """Asked now and then whether retrieval is being learned."""

    def __call__(self, live: LiveIndex | None) -> Mapping[str, float]:
        """Numbers for the log; nothing where there is no index."""


@dataclass
class Trainer:
    """Runs stages one after another, from a checkpoint or from the start.

    Attributes:
        parts: Model, corpus and templates.
        optim: Optimiser settings of all stages.
        loop: When things happen.
        retrieval: How candidates are chosen from a live index.
        refresh: Where newer snapshots come from.
        checkpoints: Folder of the run's checkpoints.
        log: The run's metrics.
        probe: Asked every ``loop.probe_every`` steps.
        progress: Where to tell how far it is.
    """

    parts: Ingredients
    optim: OptimConfig
    loop: LoopConfig
    retrieval: RetrievalConfig
    refresh: InlineRefresh
    checkpoints: Path
    log: MetricsLog
    probe: Probe
    progress: Progress
    live: LiveIndex | None = None
    total_step: int = 0
    collapse: CollapseWatch = field(default_factory=CollapseWatch)

    def run(self, stage: Stage, resume: Checkpoint | None = None) -> Checkpoint:
        """Trains one stage to its end.

        Args:
            stage: What a step computes.
            resume: A checkpoint in the middle of this stage.

        Raises:
            Stopped: Ctrl-C or SIGTERM; the state is saved.
            TrainingError: The loss is not finite.
        """
        optimizer = self._prepare(stage)
        first = 0
        if resume is not None:
            first = self._take_up(optimizer, resume)
        else:
            self.collapse = CollapseWatch()
            # Dropout is a function of seed and stage, whatever this process did before.
            torch.manual_seed(zlib.crc32(f"{self.parts.seed} {stage.name}".encode()))
            if stage.uses_index:
                self._go_live(self.refresh.now(self.total_step))
        work = self.progress.task(
            f"stage {stage.name}", total=stage.steps, unit="steps", done=first
        )
        with work as task, _stop_requests() as stop:
            window = _Window(resume.position.window if resume is not None else None)
            if first == 0 and stage.uses_index and stage.moves_retriever:
                # What joint training begins with is the measure of all that it does.
                self._ask_probe(stage, 0)
                window.restart()
            for step in range(first, stage.steps):
                if stage.uses_index and stage.moves_chunks:
                    self._swap(stage, window)
                window.add(self._one_step(stage, step, optimizer))
                self.total_step += 1
                task.advance(1, note=window.note())
                self._between_steps(stage, step + 1, optimizer, window, stop)
            saved = self._save(stage, stage.steps, None, None)
            if stop.is_set():
                raise Stopped(
                    f"stopped at the end of stage '{stage.name}'; everything is saved, "
                    "and resuming goes on from here"
                )
        return saved

    def _between_steps(
        self,
        stage: Stage,
        done: int,
        optimizer: AdamWeightDecay,
        window: _Window,
        stop: threading.Event,
    ) -> None:
        last = done == stage.steps
        if last or done % self.loop.log_every == 0:
            self._log(stage, done, window, optimizer)
            window.restart()
        if last or done % self.loop.probe_every == 0:
            with window.paused():
                self._ask_probe(stage, done)
        if last:
            return
        if stop.is_set() or done % self.loop.checkpoint_every == 0:
            with window.paused():
                self._save(stage, done, optimizer, window)
        if stop.is_set():
            raise Stopped(
                f"stopped after step {done} of stage '{stage.name}'; everything is saved, "
                "and resuming goes on from here"
            )

    def _prepare(self, stage: Stage) -> AdamWeightDecay:
        model = self.parts.model
        # What is not trained has no dropout either: a frozen tower's vectors are the index's.
        freeze(model, frozen=True)
        model.eval()
        for module, _ in stage.trained():
            freeze(module, frozen=False)
            module.train()
        groups = parameter_groups(stage.trained(), weight_decay=self.optim.weight_decay)
        return AdamWeightDecay(groups, self.optim)

    def _take_up(self, optimizer: AdamWeightDecay, checkpoint: Checkpoint) -> int:
        checkpoint.load_weights(self.parts.model)
        checkpoint.load_training_state(optimizer)
        position = checkpoint.position
        self.total_step = position.total_step
        if position.generation:
            self._go_live(self.refresh.open(position.generation), step=position.index_step)
        self.log.cut(position.metrics_bytes)
        for record in self.log.records():
            if record.get("event") == "probe" and record["stage"] == position.stage:
                self.collapse(record)
        return position.step

    def _go_live(self, snapshot: Snapshot, *, step: int | None = None) -> None:
        """Loads a snapshot; ``step`` is that of its weights, by default the present one."""
        live = go_live(snapshot, self.parts.corpus, self.retrieval, device=self.parts.device)
        self.live = replace(live, step=self.total_step if step is None else step)

    def _swap(self, stage: Stage, window: _Window) -> None:
        started = time.perf_counter()
        snapshot = self.refresh.before_step(self.total_step, self.live)
        if snapshot is None:
            return
        self._go_live(snapshot, step=snapshot.manifest.step)
        seconds = time.perf_counter() - started
        window.refresh_s += seconds
        self.log.write(
            {
                "event": "swap",
                "stage": stage.name,
                "total_step": self.total_step,
                "index/generation": snapshot.manifest.generation,
                "index/refresh_seconds": round(seconds, 3),
            }
        )

    def _one_step(self, stage: Stage, step: int, optimizer: AdamWeightDecay) -> StepResult:
        result = stage.step(step, self.live)
        if not math.isfinite(result.loss.item()):
            raise TrainingError(
                f"the loss of stage '{stage.name}' is {result.loss.item()} at step {step}; lower "
                "its learning rate and resume from the last checkpoint"
            )
        optimizer.zero_grad(set_to_none=True)
        result.loss.backward()  # type: ignore[no-untyped-call]
        params = [p for group in optimizer.param_groups for p in group["params"]]
        norm = torch.nn.utils.clip_grad_norm_(params, self.optim.clip_norm or math.inf)
        if not math.isfinite(norm):
            raise TrainingError(
                f"the gradient of stage '{stage.name}' is not finite at step {step}; lower its "
                "learning rate and resume from the last checkpoint"
            )
        set_learning_rate(optimizer, learning_rate_factor(step, stage.steps, self.optim))
        optimizer.step()
        metrics = {**result.metrics, "train/gradient_norm": float(norm)}
        return replace(result, loss=result.loss.detach(), metrics=metrics)

    def _log(self, stage: Stage, step: int, window: _Window, optimizer: AdamWeightDecay) -> None:
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
        self.log.write(record)

    def _ask_probe(self, stage: Stage, step: int) -> None:
        live = self.live if stage.uses_index else None
        numbers = self.probe(live)
        if not numbers:
            return
        position = {"stage": stage.name, "step": step, "total_step": self.total_step}
        self.log.write({"event": "probe", **position, **numbers})
        if stage.uses_index and stage.moves_retriever:
            warning = self.collapse(numbers)
            if warning:
                self.progress.say(f"WARNING: {warning}")
                self.log.write({"event": "warning", **position, "text": warning})

    def _save(
        self,
        stage: Stage,
        step: int,
        optimizer: AdamWeightDecay | None,
        window: _Window | None,
    ) -> Checkpoint:
        """Saves the middle of a stage, or its end: without moments and sums."""
        position = Position(
            stage=stage.name,
            step=step,
            total_step=self.total_step,
            finished=optimizer is None,
            generation=self.live.generation if self.live is not None else 0,
            index_step=self.live.step if self.live is not None else 0,
            metrics_bytes=self.log.size_bytes,
            window=window.sums if window is not None else {},
        )
        saved = save_checkpoint(self.checkpoints, self.parts.model, optimizer, position)
        prune(self.checkpoints, keep_last=self.loop.keep_checkpoints)
        needed = {c.position.generation for c in checkpoints(self.checkpoints, verify=False)}
        self.refresh.prune(needed | {position.generation})
        return saved


class _Window:
    """Sums between two lines of metrics."""

    def __init__(self, sums: Mapping[str, float] | None = None) -> None:
        """Begins with nothing, or with what a checkpoint has kept."""
        self.restart()
        self.sums.update(sums or {})

    def restart(self) -> None:
        """Forgets what was summed."""
        self._started = time.perf_counter()
        self.sums: dict[str, float] = {}
        self._num_tokens = self._num_examples = 0
        self._retrieval_s = self.refresh_s = 0.0

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leaves out the time of what is neither a step nor a refresh."""
        began = time.perf_counter()
        yield
        self._started += time.perf_counter() - began

    def add(self, result: StepResult) -> None:
        """Takes one step in."""
        self._last = result
        self._num_tokens += result.num_tokens
        self._num_examples += result.num_examples
        self._retrieval_s += result.retrieval_s
        numbers = {"train/loss": float(result.loss), **result.metrics, "steps": 1.0}
        for name, value in numbers.items():
            self.sums[name] = self.sums.get(name, 0.0) + value

    def note(self) -> str:
        """A few words for a progress bar."""
        last = self._last
        shown = [f"loss {float(last.loss):.2f}"]
        shown += [
            f"{name.split('/')[1]} {value:.2f}"
            for name, value in last.metrics.items()
            if name.endswith(("utility", "accuracy", "p_null"))
        ]
        return ", ".join(shown)

    def means(self) -> dict[str, float]:
        """Means per step, and rates per second."""
        seconds = max(time.perf_counter() - self._started, 1e-9)
        steps = self.sums["steps"]
        means = {name: total / steps for name, total in self.sums.items() if name != "steps"}
        reading_s = max(seconds - self._retrieval_s - self.refresh_s, 0.0)
        return means | {
            "speed/tokens_per_second": round(self._num_tokens / seconds, 1),
            "speed/examples_per_second": round(self._num_examples / seconds, 2),
            "seconds/retrieval": round(self._retrieval_s, 4),
            "seconds/refresh": round(self.refresh_s, 4),
            "seconds/reading": round(reading_s, 4),
        }


@contextmanager
def _stop_requests() -> Iterator[threading.Event]:
    """Turns Ctrl-C and SIGTERM into a request to stop after the step; a second one acts at once."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {kind: signal.getsignal(kind) for kind in (signal.SIGINT, signal.SIGTERM)}

    def request(kind: int, frame: object) -> None:
        stop.set()
        for number, handler in before.items():
            signal.signal(number, handler)

    for kind in before:
        signal.signal(kind, request)
    try:
        yield stop
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)
