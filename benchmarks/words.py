"""What words in common add to a run's vectors, for one weight after the other.

    python benchmarks/words.py WS --beir cranfield --stage start --weights 0 0.2 0.4 0.6 0.8 1.2

Ranks all chunks by f(x,z) + w BM25(x,z) and prints nDCG@10 and recall@100 for each w. Queries and
judgments are only measured with; a weight that is chosen by this table is tuned on them.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from openrealm.evaluation import beir_values, summarise
from openrealm.metrics import read_beir_judgments
from openrealm.retrieval.retriever import best_rows
from openrealm.runs.folders import WorkspaceFolder
from openrealm.runs.loaded import LoadedRun, load_run
from openrealm.runs.parts import bm25_of
from openrealm.terminal import make_progress

WEIGHTS = [0.0, 0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 1.2, 2.0]


@torch.inference_mode()
def inner_products(loaded: LoadedRun, text: str) -> npt.NDArray[np.float32]:
    """f(x,z) ``(chunks,)`` of a query with all chunks."""
    ids, chunks = loaded.corpus.tokenizer.encode(text).ids, len(loaded.corpus)
    hits = loaded.live.index.search(loaded.encoder.embed_queries([ids]).float(), chunks)
    scores = np.empty(chunks, dtype=np.float32)
    scores[hits.rows[0].numpy(force=True)] = hits.scores[0].numpy(force=True)
    return scores


def main() -> None:
    """One table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--beir", type=Path, required=True)
    parser.add_argument("--run", help="name of the run; the newest by default")
    parser.add_argument("--stage", default="start")
    parser.add_argument("--weights", type=float, nargs="+", default=WEIGHTS)
    arguments = parser.parse_args()
    workspace = WorkspaceFolder(arguments.workspace)
    loaded = load_run(
        workspace, name=arguments.run, stages=[arguments.stage], progress=make_progress()
    )
    corpus, judgments = loaded.corpus, read_beir_judgments(arguments.beir)
    bm25, chunks = bm25_of(workspace, corpus), len(corpus)
    inner = {text: inner_products(loaded, text) for text in judgments.queries.values()}
    words = {text: bm25.scores(text) for text in inner}
    print("| w | nDCG@10 | recall@100 |")
    print("|--:|---|---|")
    for weight in arguments.weights:

        def ranked(texts: Sequence[str], k: int, weight: float = weight) -> npt.NDArray[np.int64]:
            k = min(k, chunks)
            return np.stack([best_rows(inner[t] + weight * words[t], k) for t in texts])

        found = summarise(beir_values(corpus, judgments, ranked))
        shown = [f"{m.mean:.3f} [{m.low:.3f}, {m.high:.3f}]" for m in found.values()]
        print(f"| {weight:g} | {shown[0]} | {shown[1]} |")


if __name__ == "__main__":
    main()
