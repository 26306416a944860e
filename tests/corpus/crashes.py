"""Kills updates of a store at every step; run by `test_updating` in a process of its own.

    python crashes.py FOLDER kill      at every call that changes a folder, the process ends there
    python crashes.py FOLDER full      no file may grow beyond a few thousand bytes
    python crashes.py FOLDER memory    prints the peak memory in MB of ingesting N documents

Every copy of the store must afterwards be whole and either as before or as after the update.
"""

from __future__ import annotations

import os
import resource
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ["TOKENIZERS_PARALLELISM"] = "false"

from openrealm.corpus import chunking, segment_writer, updating
from openrealm.corpus.records import Document
from openrealm.corpus.store import ChunkStore
from openrealm.corpus.updating import rechunk_store, update_store
from openrealm.errors import CorpusError
from openrealm.settings import ChunkingConfig
from openrealm.tokenizer import WordPiece

SENTENCE = "The lake lies in the hills and a river leaves it to the south. "
CONFIG = ChunkingConfig(chunk_tokens=24)


def documents(first: int, last: int, *, sentences: int = 3) -> Iterator[Document]:
    for number in range(first, last):
        yield Document(f"n{number}", f"Lake {number}", f"{number} " + SENTENCE * sentences, "f")


def state(directory: Path) -> tuple[str, list[str]] | None:
    """The fingerprint and the documents of a whole store, or None where there is none."""
    if not (directory / "store.json").exists():
        return None
    store = ChunkStore.open(directory)
    store.verify()
    return store.fingerprint, [document.id for document in store.documents()]


class Countdown:
    """Ends the process, as kill -9 would, at the n-th call of the functions that it guards."""

    def __init__(self, calls: int) -> None:
        self.left = calls

    def guard(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(*arguments: Any, **options: Any) -> Any:
            self.left -= 1
            if self.left == 0:
                os._exit(9)
            return function(*arguments, **options)

        return guarded


def killed_at(calls: int, update: Callable[[], object]) -> bool:
    """Runs an update in a fork that dies at the n-th call; False if it came to its end."""
    child = os.fork()
    if child == 0:
        countdown = Countdown(calls)
        for name in ("fsync", "replace", "rename", "unlink", "rmdir", "mkdir", "open", "ftruncate"):
            setattr(os, name, countdown.guard(getattr(os, name)))
        update()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


def kill_everywhere(folder: Path, tokenizer: WordPiece) -> None:
    os.fsync = lambda _: None  # death of a process, not of the machine
    updating.MAX_SEGMENTS = 2
    base = folder / "base"
    update_store(base, add=documents(0, 4), tokenizer=tokenizer, chunking=CONFIG)
    update_store(base, add=documents(4, 6))
    trial = folder / "trial"
    updates: dict[str, Callable[[], object]] = {
        "new": lambda: update_store(
            trial, add=documents(0, 3), tokenizer=tokenizer, chunking=CONFIG
        ),
        "merge": lambda: update_store(trial, add=documents(5, 8), remove=["n0"]),
        "anew": lambda: rechunk_store(trial, chunking=ChunkingConfig(chunk_tokens=32)),
    }
    for name, update in updates.items():
        outcomes, calls = [], 0
        while True:
            calls += 1
            shutil.rmtree(trial, ignore_errors=True)
            if name != "new":
                shutil.copytree(base, trial)
            before = state(trial)
            was_killed = killed_at(calls, update)
            outcomes.append(state(trial) == before)
            if calls % 4 == 0 or not was_killed:
                # The next update finds the way free and leaves nothing of the dead one.
                update()
                assert state(trial) != before
                assert not (trial / "staging").exists()
                assert len(list(trial.glob("segment-*"))) <= 2
            if not was_killed:
                break
        # Before the manifest is replaced the old state holds, and from then on the new one.
        assert outcomes == sorted(outcomes, reverse=True), outcomes
        assert True in outcomes and False in outcomes
        print(name, "killed at", calls - 1, "places;", sum(outcomes), "before the commit")


def fill_the_disk(folder: Path, tokenizer: WordPiece) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    base = folder / "base"
    update_store(base, add=documents(0, 4), tokenizer=tokenizer, chunking=CONFIG)
    before = sorted((str(p), p.read_bytes()) for p in base.rglob("*") if p.is_file())
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    for limit in (500, 5_000, 50_000):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        try:
            update_store(base, add=documents(4, 800))
        except CorpusError as error:
            assert "could not be written" in str(error), error
            assert "as it was before" in str(error), error
        else:
            raise AssertionError("the disk was not full enough")
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        after = sorted((str(p), p.read_bytes()) for p in base.rglob("*") if p.is_file())
        assert after == before
    update_store(base, add=documents(4, 800))
    state(base)


def measure_memory(folder: Path, tokenizer: WordPiece, count: int) -> None:
    chunking._BATCH_CHARS = 1 << 16
    segment_writer._DOCUMENT_BATCH_CHARS = 1 << 16
    segment_writer.CHUNK_BATCH_ROWS = 1 << 10

    def watched() -> Iterator[Document]:
        yield from documents(0, count, sentences=20)
        # Before the end: then parts of the finished files are mapped, which counts as memory.
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)

    update_store(folder / "base", add=watched(), tokenizer=tokenizer, chunking=CONFIG)


def main() -> None:
    folder = Path(sys.argv[1])
    tokenizer = WordPiece.train([SENTENCE], vocab_size=80)
    if sys.argv[2] == "kill":
        kill_everywhere(folder, tokenizer)
    elif sys.argv[2] == "full":
        fill_the_disk(folder, tokenizer)
    else:
        measure_memory(folder, tokenizer, int(sys.argv[3]))


if __name__ == "__main__":
    main()
