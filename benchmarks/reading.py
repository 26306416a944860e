"""Does the reader tell chunks that hold the masked words from chunks that do not?

    openrealm ingest cisi/corpus.jsonl --to ws
    python benchmarks/reading.py ws                             # first weights of the preset
    python benchmarks/reading.py ws --set model.copy_head=false
    python benchmarks/reading.py ws --run run-001 --stage warmup

What the reader thinks of a chunk, p(y|z,x), is all that the retriever is taught by. The masked
sentences are held out, of those that the settings, or the run's, would mask. Candidates are looked
up by words in common, those masked out among them, so that many hold the answer. Printed is how
often a chunk that holds it gets the higher p(y|z,x) of two candidates of the same sentence (0.5:
blind, 1: always), and what each kind is worth against the null chunk, in nats per masked token.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from openrealm.corpus.store import ChunkStore
from openrealm.data.matching import holds
from openrealm.data.pretraining import MaskedQuery
from openrealm.models.realm import Realm, device_of, evaluating
from openrealm.progress import Silent
from openrealm.retrieval.batches import masked_batch
from openrealm.retrieval.candidates import Candidates, origins_of
from openrealm.retrieval.lexical import LexicalRetriever
from openrealm.retrieval.retriever import NO_CHUNK
from openrealm.runs.first_weights import Beginning, first_model
from openrealm.runs.folders import WorkspaceFolder, open_corpus
from openrealm.runs.loaded import load_model
from openrealm.runs.masked_queries import masked_queries
from openrealm.runs.parts import bm25_of, make_templates
from openrealm.settings import Settings, resolve

_BATCH = 32


@dataclass(frozen=True)
class Asked:
    """Who reads, and the text that its sentences are taken from."""

    settings: Settings
    model: Realm
    corpus: ChunkStore
    texts: ChunkStore


def asked(workspace: WorkspaceFolder, arguments: argparse.Namespace) -> Asked:
    """A run's reader, or the one that a preset begins with."""
    if arguments.run:
        loaded = load_model(workspace, name=arguments.run, stages=(arguments.stage,))
        own = loaded.run.texts
        texts = ChunkStore.open(own) if own.is_dir() else loaded.corpus
        return Asked(loaded.settings, loaded.model, loaded.corpus, texts)
    corpus = open_corpus(workspace)
    settings = resolve(preset=arguments.preset, assignments=arguments.assignments)
    model = first_model(Beginning.of(settings), corpus=corpus, texts=corpus)
    return Asked(settings, model, corpus, corpus)


def holding(
    corpus: ChunkStore, queries: Sequence[MaskedQuery], rows: npt.NDArray[np.int64]
) -> npt.NDArray[np.bool_]:
    """Which candidates ``(queries, chunks)`` hold the words masked out."""
    return np.array(
        [
            [row != NO_CHUNK and holds(corpus.body_ids(row), query.targets, corpus) for row in line]
            for query, line in zip(queries, rows.tolist(), strict=True)
        ]
    )


@torch.inference_mode()
def log_p_y_given_z(
    who: Asked, queries: Sequence[MaskedQuery], rows: npt.NDArray[np.int64]
) -> npt.NDArray[np.float32]:
    """``(queries, 1 + chunks)``, the null chunk first, in nats per masked token."""
    templates = make_templates(who.settings, who.corpus)

    def parts() -> Iterator[npt.NDArray[np.float32]]:
        for start in range(0, len(queries), _BATCH):
            part = slice(start, start + _BATCH)
            batch = masked_batch(queries[part], Candidates(rows[part]), who.corpus, templates)
            batch = batch.to(device_of(who.model))
            log_p = who.model.read(batch)
            yield (log_p.sum(dim=2) / batch.mask_mask.sum(dim=1)[:, None]).cpu().numpy()

    with evaluating(who.model):
        return np.concatenate(list(parts()))


def preferred(gain: npt.NDArray[np.float32], held: npt.NDArray[np.bool_]) -> float:
    """How often, of two candidates of a sentence, the one that holds the answer gains more.

    A candidate that is not there has a gain of minus infinity.
    """
    pairs = [
        (line[yes][:, None] > line[~yes & np.isfinite(line)][None, :]).mean()
        for line, yes in zip(gain, held, strict=True)
        if yes.any() and (~yes & np.isfinite(line)).any()
    ]
    return float(np.mean(pairs)) if pairs else float("nan")


def main() -> None:
    """Measures one reader."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--preset", default="adapt")
    parser.add_argument("--set", nargs="*", default=[], dest="assignments")
    parser.add_argument("--run")
    parser.add_argument("--stage", default="warmup")
    parser.add_argument("--candidates", type=int, default=6)
    arguments = parser.parse_args()
    workspace = WorkspaceFolder(arguments.workspace)
    who = asked(workspace, arguments)
    settings, corpus, texts = who.settings, who.corpus, who.texts
    queries = masked_queries(
        workspace, settings, texts=texts, corpus=corpus, progress=Silent()
    ).probe()
    rows = LexicalRetriever(corpus, bm25_of(workspace, corpus), settings.retrieval).candidates(
        [corpus.tokenizer.decode(query.original_ids) for query in queries],
        arguments.candidates,
        origins=origins_of(queries, texts, corpus),
    )
    held, there = holding(corpus, queries, rows), rows != NO_CHUNK
    log_p = log_p_y_given_z(who, queries, rows)
    gain = np.where(there, log_p[:, 1:] - log_p[:, :1], -np.inf)
    print(
        f"{len(queries)} held-out sentences, {held[there].mean():.3f} of their candidates hold "
        "the answer"
    )
    print(f"the one that holds it is preferred: {preferred(gain, held):.3f} of the pairs")
    print(f"log p(y|null,x) {log_p[:, 0].mean():.2f} nats per token")
    for name, kind in (("holds it", held), ("does not", there & ~held)):
        if not kind.any():
            print(f"a chunk that {name}: none")
            continue
        low, mid, high = np.percentile(gain[kind], [10, 50, 90])
        print(
            f"a chunk that {name}: {gain[kind].mean():+.2f} nats "
            f"(10%: {low:+.2f}, median {mid:+.2f}, 90%: {high:+.2f})"
        )


if __name__ == "__main__":
    main()
