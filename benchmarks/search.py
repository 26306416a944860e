"""What searching a corpus of millions costs: time and memory of exact search, of a snapshot, of its
swap and of the chunk store, beside what the machine's memory allows.

    python benchmarks/search.py --rows 13353718 --dim 128 --k 8 100 --queries 1 32 512 \
        --processes 1 2 --to result.json

Needs no model and no text. Vectors are random or clustered, each of mean 0 and variance 1 as a
LayerNorm leaves them, in half precision; queries are such vectors with noise. All is measured in
one run, each part in processes of its own, whose peak memory is then theirs:

1. **Memory**: reading (a sum) and copying a buffer as large as the vectors. The *floor* of a search
   is the bytes of its vectors divided by the rate of reading: no exact search can be faster.
2. **Search** by `ExactIndex` over float32 and over float16 as they are, by `Cast` (kept in
   float16, blocks of rows cast to float32 on the way), and by `ShardedIndex` in several processes,
   each with as many threads. A search that would take longer than `--patience` seconds is made over
   the first million rows only, and its time multiplied; such figures are marked *scaled*.
3. **Snapshot**: written, published, verified, read; and swapped as `BackgroundRefresh` does, by a
   thread that loads a second buffer while the main thread multiplies matrices.
4. **Store**: what a chunk costs on disk and in memory, by a store of short synthetic chunks, and by
   any other that `--store` names.

Scores of float16 are rounded to 11 bits: `overlap` is the share of hits that are those of
float32, `ties` the share of neighbours in a list of hits whose scores are equal.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import resource
import shutil
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from openrealm.corpus.records import Document, ProblemLog
from openrealm.corpus.store import ChunkStore
from openrealm.corpus.updating import update_store
from openrealm.index.mips import ExactIndex, Hits, ShardedIndex, merge
from openrealm.index.snapshot import Snapshot, SnapshotKey
from openrealm.index.snapshot_writer import SnapshotWriter
from openrealm.processes import joined
from openrealm.settings import ChunkingConfig
from openrealm.tokenizer import WordPiece

Record = dict[str, Any]

KINDS = ("random", "clustered")
NUMBERS = ("float32", "float16", "cast")
_GB = 1e9
_SLICE = 1 << 20
_BLOCK = 1 << 18
_CLUSTERS = 1 << 14


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is measured.

    Attributes:
        rows: Vectors.
        dim: Numbers of each.
        ks: Hits per query.
        queries: Queries per batch.
        threads: Processor threads of each process.
        patience_s: A longer search is scaled from one over fewer rows.
        folder: Where vectors and snapshots are kept meanwhile.
    """

    rows: int
    dim: int
    ks: tuple[int, ...]
    queries: tuple[int, ...]
    threads: int
    patience_s: float
    folder: Path

    @property
    def half_bytes(self) -> int:
        """Bytes of the vectors in half precision."""
        return self.rows * self.dim * 2


# Processes and their memory -----------------------------------------------------------------------


def alone(measure: Callable[..., Record], *arguments: Any, size: int = 1) -> Record:
    """What a function returns in a new process, or in the first of several that are joined."""
    context = multiprocessing.get_context("spawn")
    port = _free_port()
    here, there = context.Pipe(duplex=False)
    workers = [
        context.Process(target=_answer, args=(there, rank, size, port, measure, arguments))
        for rank in range(size)
    ]
    for worker in workers:
        worker.start()
    there.close()
    try:
        found: Record = here.recv()
    except EOFError:
        found = {"failed": f"{measure.__name__} died, perhaps for want of memory"}
    for worker in workers:
        worker.join()
    return found


def _answer(
    answer: Connection,
    rank: int,
    size: int,
    port: int,
    measure: Callable[..., Record],
    arguments: Sequence[Any],
) -> None:
    names = {"RANK": rank, "WORLD_SIZE": size, "LOCAL_RANK": rank, "MASTER_PORT": port}
    os.environ |= {name: str(value) for name, value in names.items()}
    os.environ["MASTER_ADDR"] = "127.0.0.1"
    found = measure(*arguments)
    if rank == 0:
        answer.send(found)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def memory_gb(*, peak: bool = False) -> float:
    """Resident memory of this process, now or at most since `forget_peak`."""
    try:
        status = Path("/proc/self/status").read_text(encoding="utf-8")
        line = next(x for x in status.splitlines() if x.startswith("VmHWM" if peak else "VmRSS"))
        return int(line.split()[1]) * 1024 / _GB
    except OSError:  # not Linux: only the peak since the process began is known
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / _GB


def forget_peak() -> None:
    """Lets the peak begin anew, where the system can."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")


@contextmanager
def measured(record: Record, name: str) -> Iterator[None]:
    """Notes the seconds of a block, and the peak memory of the process in it."""
    forget_peak()
    started = time.perf_counter()
    yield
    record[f"{name}_s"] = time.perf_counter() - started
    record[f"{name}_peak_gb"] = memory_gb(peak=True)


def best_of(
    action: Callable[[], object], *, times: int, within_s: float = 15.0
) -> tuple[float, float]:
    """Seconds, and processor seconds, of the fastest of several calls; of fewer of slow ones.

    Under load the second tells more: it leaves out the waiting for a core.
    """
    seconds: list[tuple[float, float]] = []
    while len(seconds) < times and sum(wall for wall, _ in seconds) < within_s:
        started, cpu_before = time.perf_counter(), time.process_time()
        action()
        seconds.append((time.perf_counter() - started, time.process_time() - cpu_before))
    return min(wall for wall, _ in seconds), min(cpu for _, cpu in seconds)


# Vectors ------------------------------------------------------------------------------------------


def _normed(vectors: Tensor) -> Tensor:
    return torch.nn.functional.layer_norm(vectors, vectors.shape[1:])


def write_vectors(plan: Plan, kind: str) -> Record:
    """Fills a file with vectors, float16."""
    torch.set_num_threads(plan.threads)
    centres = torch.randn(_CLUSTERS, plan.dim, generator=torch.Generator().manual_seed(1))
    with open(_vectors_file(plan, kind), "wb") as file:
        for start in range(0, plan.rows, _BLOCK):
            chance = torch.Generator().manual_seed(2 + start)
            rows = min(_BLOCK, plan.rows - start)
            block = torch.randn(rows, plan.dim, generator=chance)
            if kind == "clustered":
                mine = torch.randint(_CLUSTERS, (rows,), generator=chance)
                block = centres[mine] + 0.5 * block
            file.write(_normed(block).half().numpy().tobytes())
    return {}


def _vectors_file(plan: Plan, kind: str) -> Path:
    return plan.folder / f"{kind}.f16"


def mapped(plan: Plan, kind: str) -> npt.NDArray[np.float16]:
    """The file's vectors ``(rows, dim)``, read as they are asked for."""
    return np.memmap(_vectors_file(plan, kind), np.float16, "r", shape=(plan.rows, plan.dim))


def queries_of(plan: Plan, kind: str, count: int) -> Tensor:
    """Vectors of the corpus with noise, ``(count, dim)``."""
    chance = torch.Generator().manual_seed(3)
    rows = torch.randint(plan.rows, (count,), generator=chance).numpy()
    near = torch.from_numpy(mapped(plan, kind)[rows]).float()
    return _normed(near + 0.5 * torch.randn(near.shape, generator=chance))


# 1. Memory ----------------------------------------------------------------------------------------


def measure_memory(plan: Plan, processes: int) -> Record:
    """GB a second of reading and copying a buffer as large as the vectors, with all threads."""
    torch.set_num_threads(plan.threads * processes)
    buffer = torch.ones(plan.half_bytes // 4)
    other = torch.zeros_like(buffer)
    read_s, _ = best_of(buffer.sum, times=7)
    copy_s, _ = best_of(lambda: other.copy_(buffer), times=5)
    size = buffer.numel() * 4 / _GB
    return {
        "buffer_gb": size,
        "read_gb_s": size / read_s,
        "copy_gb_s": 2 * size / copy_s,  # what is read and what is written
        "threads": plan.threads * processes,
    }


# 2. Search ----------------------------------------------------------------------------------------


class Cast:
    """Exact search over vectors kept in half precision, each block in float32 while it is used."""

    def __init__(self, chunk_emb: Tensor, *, block_rows: int = 1 << 15) -> None:
        """Takes the vectors, and how many of them are cast at a time."""
        self._chunk_emb, self._block_rows = chunk_emb, block_rows

    def search(self, query_emb: Tensor, k: int) -> Hits:
        """The ``min(k, len)`` rows of largest inner product for each query."""
        found: Hits | None = None
        for start in range(0, len(self._chunk_emb), self._block_rows):
            block = self._chunk_emb[start : start + self._block_rows].float()
            here = ExactIndex(block).search(query_emb, k)
            here = Hits(scores=here.scores, rows=here.rows + start)
            found = here if found is None else merge(found, here, k)
        assert found is not None
        return found


def measure_search(plan: Plan, kind: str, numbers: str, processes: int, read_gb_s: float) -> Record:
    """Every batch over vectors in one form, in this process or together with others."""
    torch.set_num_threads(plan.threads)
    with joined(gpu=False) as group:
        local = group.local_slice(plan.rows)
        vectors = torch.from_numpy(np.array(mapped(plan, kind)[local.start : local.stop]))
        vectors = vectors.float() if numbers == "float32" else vectors
        floor_s = plan.rows * plan.dim * vectors.element_size() / _GB / read_gb_s

        def index(rows: int) -> ExactIndex | ShardedIndex | Cast:
            if numbers == "cast":
                return Cast(vectors[:rows])
            part = ExactIndex(vectors[:rows])
            if group.size == 1:
                return part
            return ShardedIndex(part, first_row=local.start, num_rows=plan.rows, processes=group)

        def searched(count: int, k: int) -> Record:
            every = queries_of(plan, kind, count)
            mine = every[group.local_slice(count).start : group.local_slice(count).stop]
            few = min(len(vectors), _SLICE // group.size)
            scale = len(vectors) / few
            forget_peak()
            took = best_of(lambda: index(few).search(mine, k), times=2, within_s=3.0)
            scaled = group.any(took[0] * scale > plan.patience_s)
            record: Record = {"queries": count, "k": k, "scaled": scaled, "floor_s": floor_s}
            if not scaled:
                found: list[Hits] = []
                whole, scale = index(len(vectors)), 1.0
                took = best_of(lambda: found.append(whole.search(mine, k)), times=3)
                hits = Hits(
                    scores=torch.cat(group.all_gather(found[-1].scores)),
                    rows=torch.cat(group.all_gather(found[-1].rows)),
                )
                if group.is_first:
                    record |= compared(plan, hits, f"{kind}-{count}-{k}", numbers, processes)
            slowest = torch.stack(group.all_gather(torch.tensor(took))).amax(dim=0) * scale
            seconds, cpu_s = (float(value) for value in slowest)
            record |= {"seconds": seconds, "times_floor": seconds / floor_s, "cpu_s": cpu_s}
            record["gb_s"] = floor_s * read_gb_s / seconds
            return record | {"peak_gb": float(group.all_reduce(torch.tensor(memory_gb(peak=True))))}

        searches = [searched(count, k) for count in plan.queries for k in plan.ks]
        held_gb = float(group.all_reduce(torch.tensor(memory_gb())))
    named = {"kind": kind, "numbers": numbers, "processes": processes, "held_gb": held_gb}
    return named | {"searches": searches}


def compared(plan: Plan, hits: Hits, name: str, numbers: str, processes: int) -> Record:
    """How hits differ from those of one process, and of float32; and keeps those of one."""
    rows, scores = hits.rows.numpy(), hits.scores.numpy()
    record: Record = {"ties": float(np.mean(scores[:, 1:] == scores[:, :-1]))}
    if processes == 1:
        np.savez(plan.folder / f"{name}-{numbers}.npz", rows=rows, scores=scores)
    for key, other in (("as_one", numbers), ("overlap", "float32")):
        path = plan.folder / f"{name}-{other}.npz"
        if not path.is_file():
            continue
        with np.load(path) as before:
            same = [len(np.intersect1d(*pair)) for pair in zip(rows, before["rows"], strict=True)]
            record[key] = sum(same) / rows.size
    return record


# 3. Snapshot and swap -----------------------------------------------------------------------------

_KEY = SnapshotKey(embedder="none", corpus="none", tokenizer="none")


def measure_snapshot(plan: Plan, kind: str) -> Record:
    """Writes a snapshot in half precision, and checks and reads it."""
    torch.set_num_threads(plan.threads)
    record: Record = {}
    vectors = mapped(plan, kind)
    with measured(record, "write"):
        writer = SnapshotWriter(
            plan.folder / "snapshots",
            generation=1,
            step=0,
            chunks=plan.rows,
            dim=plan.dim,
            key=_KEY,
            dtype="float16",
        )
        for shard, rows in writer.missing_shards():
            writer.write(shard, vectors[rows.start : rows.stop])
    with measured(record, "publish"):
        snapshot = writer.publish()
    files = list(snapshot.directory.iterdir())
    record |= {"files": len(files), "bytes": sum(file.stat().st_size for file in files)}
    with measured(record, "verify"):
        snapshot.verify()
    with measured(record, "read_float16"):
        read = snapshot.read()
    record["equal"] = all(
        np.array_equal(read[start : start + _BLOCK], vectors[start : start + _BLOCK])
        for start in range(0, plan.rows, _BLOCK)
    )
    del read
    with measured(record, "read_float32"):
        _loaded(snapshot, "float32")
    return record


def _loaded(snapshot: Snapshot, numbers: str) -> ExactIndex:
    """As `Loader` does it: float32 on a processor, as it is on a GPU."""
    return ExactIndex(torch.from_numpy(snapshot.read(dtype=numbers)))


def measure_swap(plan: Plan, numbers: str, size: int = 1024) -> Record:
    """A second buffer loaded by a thread beside matrix products, and swapped in."""
    need_gb = plan.half_bytes * (4 if numbers == "float32" else 2) / _GB
    if (free := _free_gb()) < need_gb * 1.05:
        return {"numbers": numbers, "skipped": f"needs {need_gb:.1f} GB, {free:.1f} are free"}
    torch.set_num_threads(plan.threads)
    snapshot = Snapshot.open(plan.folder / "snapshots" / "000001")
    live = _loaded(snapshot, numbers)
    matrix = torch.ones(size, size)

    def step() -> float:
        started = time.perf_counter()
        torch.matmul(matrix, matrix)
        return time.perf_counter() - started

    def second() -> ExactIndex:
        again = Snapshot.open(snapshot.directory)
        again.verify()
        return _loaded(again, numbers)

    quiet = [step() for _ in range(50)]
    record: Record = {"numbers": numbers, "held_gb": memory_gb()}
    with ThreadPoolExecutor(1) as thread, measured(record, "load"):
        loading = thread.submit(second)
        busy = [step()]
        while not loading.done():
            busy.append(step())
    started = time.perf_counter()
    Snapshot.open(snapshot.directory)  # for the numbers that are logged
    newer = loading.result()
    old, live = live, newer
    swapped = time.perf_counter()
    del old, loading
    freed = time.perf_counter()
    assert len(live) == plan.rows
    return record | {
        "step_s": statistics.mean(quiet),
        "step_beside_s": statistics.mean(busy),
        "longest_step_beside_s": max(busy),
        "swap_s": swapped - started,
        "free_old_s": freed - swapped,
    }


def _free_gb() -> float:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
        return next(int(x.split()[1]) for x in lines if x.startswith("MemAvail")) * 1024 / _GB
    except OSError:
        return float("inf")


# 4. Store -----------------------------------------------------------------------------------------


def make_store(folder: Path, chunks: int) -> Record:
    """A store of documents of ten chunks, each a sentence of twelve words."""
    words = [f"w{number:03d}" for number in range(1000)]
    chance = random.Random(0)

    def documents() -> Iterator[Document]:
        for number in range(-(-chunks // 10)):
            lines = (" ".join(chance.choices(words, k=12)) for _ in range(10))
            text = "\n".join(f"{line[0].upper()}{line[1:]}." for line in lines)
            yield Document(id=str(number), title=f"w{number % 1000:03d}", text=text, source="")

    tokenizer = WordPiece.train([" ".join(words) + " ."] * 2, vocab_size=3000)
    # Two sentences of thirteen tokens do not fit beside a title and the special tokens.
    update_store(
        folder,
        add=documents(),
        tokenizer=tokenizer,
        chunking=ChunkingConfig(chunk_tokens=24),
        on_problem=ProblemLog(),
    )
    return {}


def measure_store(folder: Path) -> Record:
    """Bytes a chunk of every file, and memory and time of opening it."""
    record: Record = {}
    before = memory_gb()
    with measured(record, "open"):
        store = ChunkStore.open(folder)
    record["open_gb"] = memory_gb() - before
    with measured(record, "lengths"):
        tokens = int(store.lengths.sum())
    with measured(record, "document_of"):
        _ = store.document_of
    record["tables_gb"] = memory_gb() - before
    chance = random.Random(0)
    rows = [chance.randrange(len(store)) for _ in range(10_000)]
    with measured(record, "chunks_10000"):
        for row in rows:
            store.body_ids(row), store.chunk(row)
    sizes: dict[str, int] = {}
    for file in store.manifest.files():
        name = Path(file.path).name
        sizes[name] = sizes.get(name, 0) + (folder / file.path).stat().st_size
    each = {name: size / len(store) for name, size in sorted(sizes.items())}
    named = {"chunks": len(store), "documents": store.num_documents, "tokens": tokens}
    return named | {"bytes_a_chunk": each} | record


# All of it ----------------------------------------------------------------------------------------


def load_average() -> float:
    """Processes that want a core, in the mean of the last minute."""
    return os.getloadavg()[0]


def measure(plan: Plan, processes: Sequence[int], kinds: Sequence[str]) -> Iterator[Record]:
    """Everything that needs vectors, part by part."""
    rates: dict[int, float] = {}  # the best so far: other work on the machine only lowers them
    for kind in kinds:
        alone(write_vectors, plan, kind)
        for size in processes:
            for numbers in NUMBERS if size == 1 else NUMBERS[:1]:
                memory = alone(measure_memory, plan, size)
                rates[size] = max(rates.get(size, 0.0), memory["read_gb_s"])
                yield {"part": "memory"} | memory
                arguments = (plan, kind, numbers, size, rates[size])
                found = alone(measure_search, *arguments, size=size)
                yield {"part": "search"} | found
        if kind == kinds[-1]:
            yield {"part": "snapshot"} | alone(measure_snapshot, plan, kind)
            for numbers in ("float16", "float32"):
                yield {"part": "swap"} | alone(measure_swap, plan, numbers)
        _vectors_file(plan, kind).unlink()


def measure_stores(plan: Plan, chunks: int, stores: Sequence[Path]) -> Iterator[Record]:
    """The synthetic store, and others."""
    if chunks:
        alone(make_store, plan.folder / "store", chunks)
        yield {"part": "store", "name": "synthetic"} | alone(measure_store, plan.folder / "store")
    for store in stores:
        yield {"part": "store", "name": store.name} | alone(measure_store, store)


def lines_of(record: Record) -> Iterator[str]:
    """A part as text."""
    rest = {name: value for name, value in record.items() if name not in ("searches",)}
    yield "  ".join(f"{name} {_short(value)}" for name, value in rest.items())
    for search in record.get("searches", ()):
        yield "    " + "  ".join(f"{name} {_short(value)}" for name, value in search.items())


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def main() -> None:
    """Measures all of it, prints it and writes it down."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=13_353_718)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--k", type=int, nargs="+", default=[8, 100])
    parser.add_argument("--queries", type=int, nargs="+", default=[1, 32, 512])
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--threads", type=int, default=1, help="of each process")
    parser.add_argument("--patience", type=float, default=60.0, help="seconds of one search")
    parser.add_argument("--store-chunks", type=int, default=200_000, help="0: no such store")
    parser.add_argument("--store", type=Path, nargs="*", default=[], help="stores to measure")
    parser.add_argument("--folder", type=Path, help="where to put 3 GB a time; default: temporary")
    parser.add_argument("--to", type=Path, help="JSON file for the result")
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="search-", dir=given.folder))
    plan = Plan(
        rows=given.rows,
        dim=given.dim,
        ks=tuple(given.k),
        queries=tuple(given.queries),
        threads=given.threads,
        patience_s=given.patience,
        folder=folder,
    )
    result: Record = {"rows": plan.rows, "dim": plan.dim, "cores": os.cpu_count(), "parts": []}
    result["torch"] = torch.__version__
    try:
        for parts in (
            measure(plan, sorted(given.processes), given.kinds) if plan.rows else (),
            measure_stores(plan, given.store_chunks, given.store),
        ):
            for part in parts:
                part["load"] = load_average()
                print("\n".join(lines_of(part)), flush=True)
                result["parts"].append(part)
                if given.to is not None:
                    given.to.write_text(json.dumps(result, indent=1), encoding="utf-8")
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
