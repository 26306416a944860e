"""Where everything is kept: one folder per workspace, one per run; knows paths and small JSON
files, not what is in the corpus or the checkpoints.

::

    WS/corpus/                  chunk store
    WS/ingests.jsonl            what was ingested and what was skipped, one record per line
    WS/cache/                   what can be computed again: tagger, spans, BM25, vectors
    WS/runs/run-001/
      settings.toml             resolved configuration
      run.json                  what made it: start, versions, fingerprints, stage reports
      metrics.jsonl             one record per line
      checkpoints/ snapshots/ weights/ workers/ texts/ plots/ report/
"""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openrealm.corpus.store import ChunkStore
from openrealm.errors import CheckpointError, CorpusError, InputError, shell_command
from openrealm.files import held, is_held, write_atomic

# Whoever only looks whether a lock is held has it for a moment.
_PATIENCE_S = 1.0


@dataclass(frozen=True)
class RunFolder:
    """One run's folder."""

    directory: Path

    @property
    def name(self) -> str:
        """Its name, which is the folder's."""
        return self.directory.name

    @property
    def settings_file(self) -> Path:
        """Resolved configuration."""
        return self.directory / "settings.toml"

    @property
    def metrics_file(self) -> Path:
        """Metrics as JSON lines."""
        return self.directory / "metrics.jsonl"

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints."""
        return self.directory / "checkpoints"

    @property
    def snapshots(self) -> Path:
        """Folder of the snapshots."""
        return self.directory / "snapshots"

    @property
    def weights(self) -> Path:
        """Folder of weights that snapshots are ordered with."""
        return self.directory / "weights"

    @property
    def workers(self) -> Path:
        """Folder of what the workers beside a training leave: heartbeats and logs."""
        return self.directory / "workers"

    @property
    def texts(self) -> Path:
        """Store of the training texts where they are not the corpus."""
        return self.directory / "texts"

    @property
    def plots(self) -> Path:
        """Folder of the pictures."""
        return self.directory / "plots"

    @property
    def report(self) -> Path:
        """Folder of the page that tells of it."""
        return self.directory / "report"

    def read_record(self) -> dict[str, Any]:
        """The contents of ``run.json``.

        Raises:
            CheckpointError: It is missing or damaged.
        """
        try:
            record: dict[str, Any] = json.loads(
                (self.directory / "run.json").read_text(encoding="utf-8")
            )
            if not isinstance(record, dict):
                raise ValueError("it holds no record")
            return record
        except (OSError, ValueError) as error:
            raise CheckpointError(
                f"{self.directory} is not a whole run ({error}); start a new one"
            ) from error

    def write_record(self, record: dict[str, Any]) -> None:
        """Replaces ``run.json``."""
        write_atomic(self.directory / "run.json", json.dumps(record, indent=1).encode())

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps a second process from training in this run.

        Raises:
            CheckpointError: Another process is at it.
        """
        with held(self._lock, patience_s=_PATIENCE_S) as alone:
            if not alone:
                raise CheckpointError(
                    f"another process is training in run '{self.name}'; wait or name another run"
                )
            yield

    def is_locked(self) -> bool:
        """Whether a process is training in this run."""
        return is_held(self._lock)

    def require_not_in_training(self, stage: str) -> None:
        """Checks that nobody trains in the run, whose snapshots are then the trainer's.

        Raises:
            CheckpointError: Somebody does.
        """
        if self.is_locked():
            raise CheckpointError(
                f"run '{self.name}' is being trained, and has no snapshot of its weights of stage "
                f"'{stage}'; wait for its end, or name another run with --run"
            )

    @contextlib.contextmanager
    def embedding_alone(self) -> Iterator[None]:
        """Waits until no other command makes a snapshot of the run, and keeps others from it."""
        with held(self.directory / ".embedding.lock", patience_s=math.inf):
            yield

    @property
    def _lock(self) -> Path:
        return self.directory / ".lock"


@dataclass(frozen=True)
class WorkspaceFolder:
    """One workspace's folder."""

    directory: Path

    @property
    def corpus(self) -> Path:
        """Folder of the chunk store."""
        return self.directory / "corpus"

    @property
    def cache(self) -> Path:
        """Folder of what can be computed again."""
        return self.directory / "cache"

    def add_ingest(self, record: dict[str, Any]) -> None:
        """Takes note of an ingest."""
        with open(self._ingests_file, "ab+") as file:
            # After a line that a crash cut short, one that begins anew.
            if file.tell():
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":
                    file.write(b"\n")
            file.write(json.dumps(record).encode() + b"\n")

    def ingests(self) -> list[dict[str, Any]]:
        """Records of the ingests, oldest first; lines cut short by a crash are left out."""
        if not self._ingests_file.is_file():
            return []
        records = []
        for line in self._ingests_file.read_bytes().splitlines():
            with contextlib.suppress(ValueError):
                record = json.loads(line)
                if isinstance(record, dict):
                    records.append(record)
        return records

    @property
    def _ingests_file(self) -> Path:
        return self.directory / "ingests.jsonl"

    def require_corpus(self) -> None:
        """Checks that something was ingested.

        Raises:
            CorpusError: Nothing was.
        """
        if not self.corpus.is_dir():
            raise CorpusError(
                f"'{self.directory}' holds no corpus; make one: "
                + shell_command("openrealm", "ingest", "YOUR_DOCUMENTS", "--to", self.directory)
            )

    def runs(self) -> list[RunFolder]:
        """The runs, oldest first; one whose record is damaged stands before all others."""
        folder = self.directory / "runs"
        if not folder.is_dir():
            return []
        runs = [RunFolder(path) for path in folder.iterdir() if (path / "run.json").is_file()]
        return sorted(runs, key=lambda run: (_created(run), run.name))

    def run(self, name: str | None = None) -> RunFolder:
        """A run by name, or the newest.

        Raises:
            InputError: There is no such run.
        """
        runs = self.runs()
        if not runs:
            train = shell_command("openrealm", "pretrain", self.directory)
            raise InputError(f"'{self.directory}' has no run yet; train one: {train}")
        if name is None:
            return runs[-1]
        for run in runs:
            if run.name == name:
                return run
        known = ", ".join(run.name for run in runs)
        raise InputError(f"'{self.directory}' has no run '{name}'; it has: {known}")

    def new_run(self, name: str | None = None) -> RunFolder:
        """A folder for a new run; the next free number where no name is given.

        Raises:
            InputError: The name is taken or no file name.
        """
        folder = self.directory / "runs"
        if name is not None:
            if not name or name != Path(name).name or name.startswith("."):
                raise InputError(f"'{name}' cannot name a run; use letters, digits, '-' and '_'")
            if (folder / name).exists():
                raise InputError(
                    f"run '{name}' exists already; go on with --resume or choose another name"
                )
        number = 1
        while name is None:
            if not (folder / f"run-{number:03d}").exists():
                name = f"run-{number:03d}"
            number += 1
        run = RunFolder(folder / name)
        run.directory.mkdir(parents=True)
        return run


def _created(run: RunFolder) -> float:
    try:
        return float(run.read_record().get("created", 0.0))
    except CheckpointError:
        return 0.0


def open_corpus(workspace: WorkspaceFolder) -> ChunkStore:
    """The workspace's knowledge corpus.

    Raises:
        CorpusError: Nothing was ingested, or the store is damaged or empty.
    """
    workspace.require_corpus()
    store = ChunkStore.open(workspace.corpus)
    if not len(store):
        raise CorpusError(
            f"the corpus of '{workspace.directory}' has no chunk; ingest some documents first"
        )
    return store
