"""What a training says about itself: records as JSON lines, and the sums between two of them; knows
no stage and no loss.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from openrealm.errors import MissingDependencyError
from openrealm.files import sync_file
from openrealm.processes import ALONE, Processes
from openrealm.runs.folders import RunFolder
from openrealm.settings import Settings
from openrealm.training.stage import StepResult


class MetricsLog:
    """Records as JSON lines; can be cut back to where a checkpoint was."""

    def __init__(
        self,
        path: Path,
        *,
        listener: Callable[[Mapping[str, Any]], None] | None,
        reads_only: bool = False,
    ) -> None:
        """Opens a file of records.

        Args:
            path: The file, made if there is none.
            listener: Told every record.
            reads_only: Write and cut nothing: another process does.
        """
        self._path, self._listener, self._reads_only = path, listener, reads_only
        path.touch()

    def write(self, record: Mapping[str, Any]) -> None:
        """Appends one record."""
        if self._reads_only:
            return
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
        """Forgets what was written after a checkpoint, which will be written again.

        After a power failure there may be less than that: a last line that is torn is forgotten.
        """
        if self._reads_only:
            return
        if self.size_bytes > size_bytes:
            os.truncate(self._path, size_bytes)
        with open(self._path, "rb+") as file:
            whole = file.read().rfind(b"\n") + 1
            file.truncate(whole)

    def sync(self) -> None:
        """Returns once the disk has what was written."""
        if not self._reads_only:
            sync_file(self._path)


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


class Window:
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
        metrics = {name: mean.value for name, mean in result.metrics.items()}
        numbers = {"train/loss": float(result.loss), **metrics, "steps": 1.0}
        for name, value in numbers.items():
            self.sums[name] = self.sums.get(name, 0.0) + value

    def note(self) -> str:
        """A few words for a progress bar."""
        last = self._last
        shown = [f"loss {float(last.loss):.2f}"]
        shown += [
            f"{name.split('/')[1]} {mean.value:.2f}"
            for name, mean in last.metrics.items()
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


def metrics_log_of(run: RunFolder, settings: Settings, processes: Processes = ALONE) -> MetricsLog:
    """The run's metrics file, and TensorBoard beside it where the settings ask for it."""
    wanted = settings.loop.tensorboard and processes.is_first
    listener = tensorboard_listener(run.directory / "tensorboard") if wanted else None
    return MetricsLog(run.metrics_file, listener=listener, reads_only=not processes.is_first)
