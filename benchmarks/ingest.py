"""How fast documents become a chunk store, beside `tokenizers` alone on the same text.

    python benchmarks/ingest.py wiki/*.jsonl.zst --vocab path/to/tokenizer.json --chunk-tokens 288

Both run in a process of their own, one after the other, with the same number of threads
(RAYON_NUM_THREADS, by default all cores). `tokenizers` alone encodes the documents' texts in
batches of a million characters, and only that is timed, not the reading of the files; the ingest is
timed from the first file opened to the store committed. Prints MB of text a second, the ratio, CPU
seconds, the peak resident memory of each, and the machine's load, which tells what the figures are
worth.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from openrealm.corpus.documents import read_documents
from openrealm.corpus.records import Document, ProblemLog
from openrealm.corpus.store import ChunkStore
from openrealm.corpus.updating import update_store
from openrealm.settings import ChunkingConfig
from openrealm.tokenizer import WordPiece

_BATCH_CHARS = 1 << 20


@dataclass(frozen=True)
class Measurement:
    """What one of the two took."""

    megabytes: float
    wall_s: float
    cpu_s: float
    peak_rss_mb: float
    note: str = ""

    @property
    def rate(self) -> float:
        """Megabytes of text a second."""
        return self.megabytes / self.wall_s


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _peak_rss_mb() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def _batches(documents: Iterator[Document]) -> Iterator[list[str]]:
    batch: list[str] = []
    chars = 0
    for document in documents:
        batch.append(document.text)
        chars += len(document.text)
        if chars >= _BATCH_CHARS:
            yield batch
            batch, chars = [], 0
    if batch:
        yield batch


def measure_tokenizers(sources: list[Path], vocab: Path, chunk_tokens: int) -> Measurement:
    """`tokenizers` alone; ``chunk_tokens`` does not matter."""
    inner = WordPiece.load(vocab).inner
    size = wall = cpu = 0.0
    for batch in _batches(read_documents(sources, on_problem=ProblemLog())):
        size += sum(len(text.encode("utf-8")) for text in batch)
        started, cpu_before = time.perf_counter(), _cpu_s()
        inner.encode_batch_fast(batch, add_special_tokens=False)
        wall += time.perf_counter() - started
        cpu += _cpu_s() - cpu_before
    return Measurement(size / 1e6, wall, cpu, _peak_rss_mb())


def measure_ingest(sources: list[Path], vocab: Path, chunk_tokens: int) -> Measurement:
    """The whole ingest into a new store."""
    folder = Path(tempfile.mkdtemp(prefix="ingest-"))
    try:
        started, cpu_before = time.perf_counter(), _cpu_s()
        log = ProblemLog()
        report = update_store(
            folder / "corpus",
            add=read_documents(sources, on_problem=log),
            tokenizer=WordPiece.load(vocab),
            chunking=ChunkingConfig(chunk_tokens=chunk_tokens),
            on_problem=log,
        )
        wall, cpu, peak = time.perf_counter() - started, _cpu_s() - cpu_before, _peak_rss_mb()
        store = ChunkStore.open(folder / "corpus")
        size = sum(len(document.text.encode("utf-8")) for document in store.documents())
        note = f"{report.added} documents, {report.chunks} chunks, {report.num_problems} problems"
        return Measurement(size / 1e6, wall, cpu, peak, note)
    finally:
        shutil.rmtree(folder)


Measure = Callable[[list[Path], Path, int], Measurement]


def _answer(answer: Connection, measure: Measure, sources: list[Path], vocab: Path, n: int) -> None:
    answer.send(measure(sources, vocab, n))


def _alone(measure: Measure, arguments: argparse.Namespace) -> Measurement:
    """The measurement in a fresh process, whose peak memory is its own."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    rest = (arguments.sources, arguments.vocab, arguments.chunk_tokens)
    process = context.Process(target=_answer, args=(there, measure, *rest))
    process.start()
    there.close()
    try:
        result: Measurement = here.recv()
    finally:
        process.join()
    return result


def main() -> None:
    """Runs both as often as asked and prints a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("sources", type=Path, nargs="+")
    parser.add_argument("--vocab", type=Path, required=True, help="tokenizer.json or vocab.txt")
    parser.add_argument("--chunk-tokens", type=int, default=288)
    parser.add_argument("--repeat", type=int, default=1)
    arguments = parser.parse_args()
    print(f"{os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f} at the start")
    for _ in range(arguments.repeat):
        tokenizers = _alone(measure_tokenizers, arguments)
        ingest = _alone(measure_ingest, arguments)
        for name, result in (("tokenizers alone", tokenizers), ("whole ingest", ingest)):
            print(
                f"{name:17} {result.megabytes:7.1f} MB {result.wall_s:7.1f} s"
                f" {result.rate:6.2f} MB/s  cpu {result.cpu_s:6.1f} s"
                f"  peak RSS {result.peak_rss_mb:5.0f} MB  {result.note}"
            )
        print(
            f"ratio of rates {ingest.rate / tokenizers.rate:.3f}, of CPU seconds a MB"
            f" {tokenizers.cpu_s / ingest.cpu_s:.3f}; load average {os.getloadavg()[0]:.1f}"
        )


if __name__ == "__main__":
    main()
