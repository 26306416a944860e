r"""What a refresh costs the training: in line, beside it, and not at all, in one run.

    python benchmarks/refresh.py WS --to OUT

Trains the joint stage of one and the same run three ways, from the same weights and with the same
examples: without any refresh (the ceiling), with refreshes in line, and with them in a worker
process beside it. Each trainer has ``--threads`` processor threads, the worker one of its own; so
it needs a processor core more than the trainer has threads, or a second GPU. The ways take turns,
``--rounds`` times. Then the chunks are embedded as a refresh does it, and the same batches are sent
through the bare encoder on inputs that are ready in memory.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from openrealm.models.realm import evaluating
from openrealm.retrieval.embedding import batches_by_length, embed_rows
from openrealm.runs.folders import RunFolder, WorkspaceFolder
from openrealm.runs.loaded import load_model
from openrealm.terminal import make_progress

NEVER = 10**9
WAYS = {
    "off": [f"refresh.every={NEVER}"],
    "inline": ["refresh.mode=inline"],
    "background": ["refresh.mode=background"],
}


def train(
    begun: RunFolder, name: str, changes: list[str], *, start: Path, threads: int
) -> list[dict[str, Any]]:
    """The records of a new run of the joint stage, with another's settings; it is removed."""
    workspace = WorkspaceFolder(begun.directory.parent.parent)
    assignments = [part for change in changes for part in ("--set", change)]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    subprocess.run(
        [
            *[sys.executable, "-m", "openrealm", "pretrain", str(workspace.directory)],
            *["--run", name, "--start", str(start)],
            # A settings file has every key, so that nothing of the preset is left.
            *["--preset", "paper", "--config", str(begun.settings_file), *assignments],
        ],
        check=True,
        env=environment,
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    run = workspace.run(name)
    records = [json.loads(line) for line in run.metrics_file.read_text().splitlines()]
    shutil.rmtree(run.directory)
    return records


def summary(records: list[dict[str, Any]], *, skip: int) -> dict[str, float]:
    """Examples per second without the time of probes, and what refreshes took.

    The first ``skip`` steps are left out: a worker needs some time until it has loaded its
    libraries.
    """
    lines = [r for r in records if "train/loss" in r and r["stage"] == "realm" and r["step"] > skip]
    swaps = [r for r in records if r.get("event") == "swap"]
    seconds = sum(
        r["seconds/reading"] + r["seconds/retrieval"] + r["seconds/refresh"] for r in lines
    )
    examples = sum(
        r["speed/examples_per_second"]
        * (r["seconds/reading"] + r["seconds/retrieval"] + r["seconds/refresh"])
        for r in lines
    )
    steps = lines[-1]["step"] - skip
    return {
        "examples_per_second": examples / seconds,
        "step_seconds": seconds / steps,
        "swaps": len(swaps),
        "refresh_seconds": _mean([r["index/refresh_seconds"] for r in swaps]),
        "held_up_seconds": _mean([r["index/held_up_seconds"] for r in swaps]),
        "staleness_steps": _mean([r["index/staleness"] for r in lines]),
        "recall_of_the_live_index": _mean([r["index/recall"] for r in swaps]),
    }


def _mean(values: list[float]) -> float:
    return statistics.fmean(values) if values else 0.0


def embedding(
    workspace: WorkspaceFolder, name: str, *, threads: int, rounds: int
) -> dict[str, float]:
    """Chunks per second of a refresh's embedding, and of the bare encoder on the same batches."""
    torch.set_num_threads(threads)
    loaded = load_model(workspace, name=name)
    encoder, corpus = loaded.encoder, loaded.corpus
    rows = np.arange(min(len(corpus), 2048))
    ready = [
        encoder.templates.chunk(
            [corpus.title_ids(int(row)) for row in rows[batch]],
            [corpus.body_ids(int(row)) for row in rows[batch]],
        )
        .to(encoder.device)
        .packed()
        for batch in batches_by_length(corpus.lengths[rows], batch_tokens=encoder.batch_tokens)
    ]
    bert = encoder.embedder.chunk_tower.bert

    def bare() -> None:
        with evaluating(encoder.embedder), torch.inference_mode(), encoder.precision():
            for tokens in ready:
                bert(tokens)
        if encoder.device.type == "cuda":
            torch.cuda.synchronize()

    def whole() -> None:
        embed_rows(corpus, rows, encoder)

    times: dict[str, list[float]] = {"bare": [], "whole": []}
    for number in range(rounds + 1):
        for label, call in (("bare", bare), ("whole", whole)):
            began = time.perf_counter()
            call()
            if number:  # the first warms caches
                times[label].append(time.perf_counter() - began)
    return {
        "chunks_per_second": len(rows) / min(times["whole"]),
        "bare_chunks_per_second": len(rows) / min(times["bare"]),
        "ratio": min(times["bare"]) / min(times["whole"]),
    }


def main() -> None:
    """Runs all of it and prints a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--run", help="run whose warm-up the joint stage begins with; the newest")
    parser.add_argument("--to", type=Path, required=True, help="JSON file of the result")
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--skip", type=int, default=40, help="first steps that do not count")
    parser.add_argument("--every", type=int, default=20, help="steps between two refreshes")
    parser.add_argument("--threads", type=int, default=1, help="of the trainer")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--set", dest="assignments", nargs="*", default=[])
    arguments = parser.parse_args()
    workspace, progress = WorkspaceFolder(arguments.workspace), make_progress()
    begun = workspace.run(arguments.run)
    start = load_model(workspace, name=begun.name, stages=("warmup", "ict")).checkpoint.directory
    common = [
        *["stages=['realm']", f"realm.steps={arguments.steps}", "loop.log_every=10"],
        *[f"loop.probe_every={NEVER}", f"loop.checkpoint_every={NEVER}"],
        *[f"refresh.every={arguments.every}", *arguments.assignments],
    ]
    found: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    for number in range(arguments.rounds):
        for way, changes in WAYS.items():
            progress.say(f"round {number + 1}, refresh {way}, load {os.getloadavg()[0]:.1f}")
            records = train(
                begun,
                f"refresh-{way}-{number}",
                [*common, *changes],
                start=start,
                threads=arguments.threads,
            )
            found[way].append(summary(records, skip=arguments.skip))
    report = {
        "training": found,
        "embedding": embedding(
            workspace, begun.name, threads=arguments.threads, rounds=arguments.rounds
        ),
        "steps": arguments.steps,
        "every": arguments.every,
        "threads": arguments.threads,
    }
    arguments.to.write_text(json.dumps(report, indent=1), encoding="utf-8")
    print(table(report))


def table(report: dict[str, Any]) -> str:
    """The result to read: best of the rounds of each way, and its share of the ceiling."""
    best = {
        way: max(rounds, key=lambda one: one["examples_per_second"])
        for way, rounds in report["training"].items()
    }
    ceiling = best["off"]["examples_per_second"]
    lines = [
        "| refresh | examples/s | of the ceiling | all rounds | held up per swap (s) | "
        "one step (s) | refresh (s) | staleness (steps) | live index finds |",
        "| --- | --: | --: | --: | --: | --: | --: | --: | --: |",
    ]
    for way, one in best.items():
        every = " ".join(f"{r['examples_per_second']:.2f}" for r in report["training"][way])
        fraction = one["examples_per_second"] / ceiling
        lines.append(
            f"| {way} | {one['examples_per_second']:.2f} | {fraction:.1%} | {every} | "
            f"{one['held_up_seconds']:.3f} | {one['step_seconds']:.3f} | "
            f"{one['refresh_seconds']:.1f} | {one['staleness_steps']:.0f} | "
            f"{one['recall_of_the_live_index']:.3f} |"
        )
    embed = report["embedding"]
    lines += [
        "",
        f"embedding: {embed['chunks_per_second']:.0f} chunks/s, "
        f"{embed['ratio']:.1%} of the bare encoder on the same batches; "
        f"{embed['padding']:.1%} of their tokens are padding",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
