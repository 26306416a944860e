r"""Whether a refactoring kept the numbers: the same seed gives the same losses, bit for bit.

    python benchmarks/same_losses.py main --beir cranfield

Trains with the package of a revision and with that of the working tree, on one thread: a third of
the almanac with the preset ``tiny``, and the first documents of a BEIR folder with the preset
``adapt``. A few steps of the first stages and 20 joint ones with two swaps; every number of every
step is compared, of the probe and of the swaps too. A line per stage says ``equal``, or where the
first difference is. The status is 1 where something differs.

It knows the command line and the metrics file alone, so that the two packages may differ in
everything else. Where a setting has another name in one of them: ``--set-old``, ``--set-new``.
What a revision gave is kept, so that a repetition trains the working tree alone.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import math
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
KEPT = Path(tempfile.gettempdir()) / "openrealm-same-losses"

COMMON = (
    "device=cpu",
    "precision=float32",
    "warmup.steps=5",
    "warmup.batch_size=8",
    "realm.steps=20",
    "realm.batch_size=8",
    "loop.log_every=1",
    "loop.probe_every=10",
    "loop.num_probe=10",
    "refresh.every=8",
)
EVERY_ARTICLE = 3  # the almanac's articles are sorted: of each kind a third
# A processor's arithmetic depends on them too, so that what was kept with others counts no more.
LIBRARIES = ("torch", "numpy", "tokenizers", "transformers")

# Of one stage: by total step, kind of record and name.
Numbers = Mapping[tuple[int, str, str], float]


@dataclass(frozen=True)
class Training:
    """What both sides train.

    Attributes:
        name: What to call it.
        documents: JSON lines to ingest.
        preset: Of both commands.
        assignments: Settings over the preset's.
    """

    name: str
    documents: bytes
    preset: str
    assignments: tuple[str, ...]

    @property
    def digest(self) -> str:
        """Changes with whatever the numbers depend on but the package."""
        parts = [self.preset, *self.assignments, *map(version, LIBRARIES)]
        return hashlib.sha256(self.documents + "\0".join(parts).encode()).hexdigest()[:12]


def trainings(
    root: Path, beir: Path | None, num_documents: int, changes: Sequence[str]
) -> list[Training]:
    """Both, or the almanac's alone where there is no BEIR folder."""
    (almanac,) = (root / "src").rglob("almanac/articles.jsonl")
    with open(almanac, "rb") as file:
        articles = b"".join(islice(file, 0, None, EVERY_ARTICLE))
    sizes = ("ict.steps=5", "ict.batch_size=16")
    found = [Training("almanac", articles, "tiny", (*COMMON, *sizes, *changes))]
    if beir is not None:
        with open(beir / "corpus.jsonl", "rb") as file:
            documents = b"".join(islice(file, num_documents))
        found.append(Training(beir.name, documents, "adapt", (*COMMON, *changes)))
    return found


def train(source: Path, training: Training) -> str:
    """The metrics file of a training by the package in a folder.

    Raises:
        SystemExit: A command failed; with what it said.
    """
    environment = {
        **os.environ,
        "PYTHONPATH": str(source),
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }

    def python(*arguments: str) -> str:
        command = [sys.executable, *arguments]
        done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{' '.join(command)}\n{(done.stdout + done.stderr)[-2000:]}")
        return done.stdout

    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "documents.jsonl").write_bytes(training.documents)
        # An installation that goes before PYTHONPATH would be compared with itself.
        imported = python("-c", "import openrealm; print(openrealm.__file__)").strip()
        if not Path(imported).is_relative_to(source):
            raise SystemExit(f"python imports {imported} instead of the package in {source}")
        given = ["--preset", training.preset]
        given += [part for change in training.assignments for part in ("--set", change)]
        python("-m", "openrealm", "ingest", "documents.jsonl", "--to", "workspace", *given)
        python("-m", "openrealm", "pretrain", "workspace", *given)
        (metrics,) = Path(folder, "workspace").rglob("metrics.jsonl")
        return metrics.read_text(encoding="utf-8")


def train_revision(root: Path, commit: str, training: Training, kept: Path) -> str:
    """The same by the package of a commit, or what was kept of it."""
    target = kept / f"{training.name}-{commit[:12]}-{training.digest}.jsonl"
    if target.is_file():
        return target.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        packed = _git(root, "archive", commit, "src")
        with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
            archive.extractall(folder, filter="data")
        text = train(Path(folder).resolve() / "src", training)
    kept.mkdir(parents=True, exist_ok=True)
    partial = target.with_suffix(f".{os.getpid()}")
    partial.write_text(text, encoding="utf-8")
    partial.replace(target)
    return text


def _git(root: Path, *arguments: str) -> bytes:
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True)
    if done.returncode:
        raise SystemExit(f"git {' '.join(arguments)}: {done.stderr.decode().strip()}")
    return done.stdout


def numbers(metrics: str) -> Mapping[str, Numbers]:
    """What was computed, by stage: every number but times and speeds."""
    found: dict[str, dict[tuple[int, str, str], float]] = {}
    for line in metrics.splitlines():
        record: dict[str, Any] = json.loads(line)
        if "stage" not in record:
            continue
        of_stage = found.setdefault(record["stage"], {})
        for name, value in record.items():
            timed = name.startswith(("speed/", "seconds/")) or name.endswith("seconds")
            if "/" in name and isinstance(value, int | float) and not timed:
                of_stage[record["total_step"], record.get("event", "step"), name] = value
    return found


def difference(old: float, new: float) -> float:
    """Relative difference, below 1 the absolute one; infinite where one is no number."""
    if old == new or (math.isnan(old) and math.isnan(new)):
        return 0.0
    if not (math.isfinite(old) and math.isfinite(new)):
        return math.inf
    return abs(old - new) / max(abs(old), abs(new), 1.0)


def verdict(old: Numbers, new: Numbers, tolerance: float) -> tuple[bool, str]:
    """Whether a stage gave the same, and a few words on it."""
    steps = [{step for step, _, name in side if name == "train/loss"} for side in (old, new)]
    if steps[0] != steps[1] or not steps[0]:
        return False, f"{len(steps[0])} steps with a loss before, {len(steps[1])} now"
    said = f"{len(steps[0])} steps, "
    shared = sorted(old.keys() & new.keys())
    apart = {key: difference(old[key], new[key]) for key in shared}
    largest = max(apart, key=apart.__getitem__)
    first = next((key for key in shared if apart[key] > tolerance), None)
    if first is not None:
        since = min(steps[0]) - 1
        said += f"differ first at step {first[0] - since}, {_shown(first, old, new)}"
        said += f"; most at step {largest[0] - since}, {_shown(largest, old, new)}"
    elif apart[largest]:
        said += f"equal within {tolerance:g}; largest difference {apart[largest]:.1e}"
    else:
        said += "equal"
    for side, names in (("before", _only(old, new)), ("now", _only(new, old))):
        said += f"; only {side}: {', '.join(names)}" if names else ""
    return first is None, said


def _shown(key: tuple[int, str, str], old: Numbers, new: Numbers) -> str:
    by = difference(old[key], new[key])
    return f"{key[2]}: {old[key]!r} before, {new[key]!r} now ({by:.1e})"


def _only(here: Numbers, there: Numbers) -> Iterable[str]:
    return sorted({name for _, _, name in here.keys() - there.keys()})


def compare(name: str, old: str, new: str, tolerance: float) -> bool:
    """Whether two metrics files say the same; prints a line per stage."""
    before, now = numbers(old), numbers(new)
    same = True
    for stage in {**before, **now}:
        equal, said = verdict(before.get(stage, {}), now.get(stage, {}), tolerance)
        print(f"{name:12} {stage:8} {said}", flush=True)
        same &= equal
    return same


def main(arguments: Sequence[str] | None = None, *, root: Path = ROOT) -> int:
    """Compares a revision with the working tree; the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("revision", help="what to compare with, as git names it")
    parser.add_argument("--beir", type=Path, help="BEIR folder, Cranfield's say")
    parser.add_argument("--documents", type=int, default=100, help="how many of it")
    parser.add_argument("--tolerance", type=float, default=0.0, help="relative; 0: bit for bit")
    parser.add_argument("--keep", type=Path, default=KEPT, help="folder of revisions' numbers")
    for side in ("set", "set-old", "set-new"):
        parser.add_argument(f"--{side}", action="append", default=[], metavar="KEY=VALUE")
    given = parser.parse_args(arguments)
    commit = _git(root, "rev-parse", "--verify", f"{given.revision}^{{commit}}").decode().strip()
    old, new = (
        trainings(root, given.beir, given.documents, [*given.set, *changes])
        for changes in (given.set_old, given.set_new)
    )
    same = True
    for before, now in zip(old, new, strict=True):
        start = time.perf_counter()
        first = train_revision(root, commit, before, given.keep.resolve())
        middle = time.perf_counter()
        second = train((root / "src").resolve(), now)
        seconds = f"{middle - start:.0f} and {time.perf_counter() - middle:.0f} s"
        print(f"{before.name}: {given.revision} ({commit[:8]}) and the working tree, {seconds}")
        same &= compare(before.name, first, second, given.tolerance)
    if given.beir is None:
        print("the preset adapt was left out: give a BEIR folder with --beir")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
