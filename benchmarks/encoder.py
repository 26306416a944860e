r"""What the encoder costs in processor time: beside sentence-transformers, and beside a revision.

    python benchmarks/encoder.py embedding cranfield
    python benchmarks/encoder.py steps 33b1864 cranfield
    python benchmarks/encoder.py commands 33b1864

All on one thread. Whatever is compared runs in turn, so that both meet the same machine, and the
median of the rounds is told; processor time, since other programs may run beside it.

1. **embedding**: chunks of a BEIR folder a second with ``minilm``, which needs its extra, by
   `embed_rows` and by sentence-transformers, whose time has tokenizing in it (ours is done by the
   ingest), and which gets the same texts, cut to the same length.
2. **steps**: seconds of a joint step of ``adapt``, and of a fine-tuning step of the reader that it
   makes, by the package of a revision and by that of the working tree: what a command of more
   steps takes longer. The questions are made of the corpus, and worth nothing else.
3. **commands**: processor seconds of whole commands, and the modules that they import.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import resource
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

os.environ |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
ROOT = Path(__file__).resolve().parents[1]
Sides = Mapping[str, Callable[[], float]]


def in_turn(sides: Sides, rounds: int) -> dict[str, float]:
    """The median of what each side gives, after one round that does not count."""
    found: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds + 1):
        for name, measure in sides.items():
            value = measure()
            if number:
                found[name].append(value)
    return {name: statistics.median(values) for name, values in found.items()}


# Embedding ----------------------------------------------------------------------------------------


def embedding(beir: Path, num_chunks: int, rounds: int) -> None:
    """Prints chunks per processor second."""
    import numpy as np
    import torch
    from sentence_transformers import SentenceTransformer

    from openrealm.corpus.store import ChunkStore
    from openrealm.models.pretrained import start_model
    from openrealm.models.starts import MINILM, minilm_directory
    from openrealm.retrieval.embedding import embed_rows
    from openrealm.runs.parts import make_encoder
    from openrealm.settings import resolve

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        openrealm(ROOT / "src", "ingest", str(beir), "--to", folder)
        store = ChunkStore.open(Path(folder, "corpus"))
        settings = resolve(preset="adapt")
        tokenizer = store.tokenizer
        model = start_model(
            MINILM,
            settings.model,
            vocab_size=tokenizer.vocab_size,
            pad_id=tokenizer.pad_id,
            mask_id=tokenizer.mask_id,
            seed=0,
        ).model
        encoder = make_encoder(settings, store, model.embedder)
        theirs = SentenceTransformer(str(minilm_directory()), device="cpu")
        theirs.max_seq_length = encoder.templates.chunk_tokens
        rows = np.random.default_rng(0).permutation(len(store))[:num_chunks]
        chunks = [store.chunk(int(row)) for row in rows]
        texts = [f"{chunk.title} {chunk.text}" for chunk in chunks]
        tokens = int(store.lengths[rows].sum())

        def ours(autocast: torch.dtype | None = None) -> Callable[[], float]:
            of_that_precision = replace(encoder, autocast=autocast)
            return timed(lambda: embed_rows(store, rows, of_that_precision))

        sides = {
            "openrealm": ours(),
            "openrealm, bfloat16": ours(torch.bfloat16),
            "sentence-transformers": timed(lambda: theirs.encode(texts)),
        }
        found = in_turn(sides, rounds)
    print(f"{len(rows)} chunks of {tokens / len(rows):.0f} tokens, median of {rounds} rounds")
    for name, seconds in found.items():
        ratio = found["sentence-transformers"] / seconds
        print(f"  {name:24} {len(rows) / seconds:6.1f} chunks/s   {ratio:.2f}")


def timed(work: Callable[[], object]) -> Callable[[], float]:
    """Processor seconds of a piece of work in this process."""

    def measure() -> float:
        start = time.process_time()
        work()
        return time.process_time() - start

    return measure


# Commands of two packages -------------------------------------------------------------------------


def openrealm(source: Path, *arguments: str) -> float:
    """Processor seconds of a command of the package in a folder.

    Raises:
        SystemExit: It failed; with what it said.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-m", "openrealm", *arguments],
        env={**os.environ, "PYTHONPATH": str(source)},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(f"openrealm {' '.join(arguments)}\n{(done.stdout + done.stderr)[-2000:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@contextmanager
def packages(revision: str) -> Iterator[dict[str, Path]]:
    """Folders of the package of a revision and of the working tree's."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["git", "archive", revision, "src"]
        packed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout
        with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
            archive.extractall(folder, filter="data")
        yield {revision: Path(folder, "src"), "working tree": ROOT / "src"}


def steps(revision: str, beir: Path, num_steps: int, rounds: int) -> None:
    """Prints processor seconds of a joint step and of a fine-tuning step."""
    with packages(revision) as sources, tempfile.TemporaryDirectory() as folder:
        questions = Path(folder, "questions.jsonl")
        questions.write_text("".join(questions_of(beir)), encoding="utf-8")
        joint, qa = {}, {}
        for name, source in sources.items():
            workspace = str(Path(folder, name.replace(" ", "-")))
            openrealm(source, "ingest", str(beir), "--to", workspace)
            joint[name] = per_step(num_steps, joint_command(source, workspace))
            qa[name] = per_step(num_steps, qa_command(source, workspace, questions))
            pretrain(source, workspace, 0)  # what is fine-tuned
        for stage, sides in (("joint", joint), ("fine-tuning", qa)):
            compare(f"{stage} step", in_turn(sides, rounds))


def pretrain(source: Path, workspace: str, num_steps: int) -> float:
    """A short pre-training with `adapt`."""
    quiet = [f"realm.steps={num_steps}", "loop.num_probe=5", "refresh.every=1000"]
    return openrealm(source, "pretrain", workspace, *(f"--set={each}" for each in quiet))


def joint_command(source: Path, workspace: str) -> Callable[[int], float]:
    """Pre-training of so many steps."""
    return lambda num_steps: pretrain(source, workspace, num_steps)


def qa_command(source: Path, workspace: str, questions: Path) -> Callable[[int], float]:
    """Fine-tuning of so many steps, of the run without joint steps."""

    def run(num_steps: int) -> float:
        several = ["finetune", workspace, "--qa", str(questions), "--run=run-001"]
        return openrealm(source, *several, f"--set=qa.steps={num_steps}")

    return run


def per_step(num_steps: int, command: Callable[[int], float]) -> Callable[[], float]:
    """What each of the steps adds to a command."""
    few = 2
    return lambda: (command(few + num_steps) - command(few)) / num_steps


def questions_of(beir: Path) -> Iterator[str]:
    """Titles with the words that stand in the middle of their texts."""
    with open(beir / "corpus.jsonl", encoding="utf-8") as file:
        for line in file:
            document = json.loads(line)
            words = document["text"].split()
            if document["title"] and len(words) > 20:
                middle = " ".join(words[len(words) // 2 :][:2])
                yield json.dumps({"question": document["title"], "answer": [middle]}) + "\n"


def commands(revision: str, rounds: int) -> None:
    """Prints processor seconds of commands."""
    with packages(revision) as sources, tempfile.TemporaryDirectory() as folder:
        text = Path(folder, "bridge.txt")
        text.write_text("The north bridge was repaired by Anna Weiss in 1911. " * 20)
        sides: dict[str, dict[str, Callable[[], float]]] = {}
        for name, source in sources.items():
            workspace = str(Path(folder, name.replace(" ", "-")))
            openrealm(source, "ingest", str(text), "--to", workspace)
            pretrain(source, workspace, 0)
            new = iter(range(1000))

            def ingest(source: Path = source, name: str = name, new: Iterator[int] = new) -> float:
                target = Path(folder, f"{name} {next(new)}".replace(" ", "-"))
                return openrealm(source, "ingest", str(text), "--to", str(target))

            def search(source: Path = source, workspace: str = workspace) -> float:
                return openrealm(source, "search", workspace, "north bridge repairs")

            def info(source: Path = source, workspace: str = workspace) -> float:
                return openrealm(source, "info", workspace)

            for command in (search, info, ingest):
                sides.setdefault(command.__name__, {})[name] = command
        for each, of_both in sides.items():
            compare(each, in_turn(of_both, rounds))


def compare(what: str, found: Mapping[str, float]) -> None:
    """Prints both sides, and how much faster the second is."""
    (old, before), (new, now) = found.items()
    print(
        f"{what:18} {old} {before:.2f} s, {new} {now:.2f} s: {before / now:.2f} times", flush=True
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures one of the three."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parts = parser.add_subparsers(dest="part", required=True)
    one = parts.add_parser("embedding")
    one.add_argument("beir", type=Path)
    one.add_argument("--chunks", type=int, default=512)
    two = parts.add_parser("steps")
    two.add_argument("revision")
    two.add_argument("beir", type=Path)
    two.add_argument("--steps", type=int, default=10)
    three = parts.add_parser("commands")
    three.add_argument("revision")
    for each in (one, two, three):
        each.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args(arguments)
    if given.part == "embedding":
        embedding(given.beir, given.chunks, given.rounds)
    elif given.part == "steps":
        steps(given.revision, given.beir, given.steps, given.rounds)
    else:
        commands(given.revision, given.rounds)


if __name__ == "__main__":
    main()
