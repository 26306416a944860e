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
from pathlib import Path

import numpy as np
import torch

from openrealm.corpus.store import ChunkStore
from openrealm.data.matching import holds
from openrealm.models.realm import device_of
from openrealm.progress import Silent
from openrealm.retrieval.batches import masked_batch
from openrealm.retrieval.candidates import origins_of
from openrealm.retrieval.lexical import BM25, LexicalRetriever
from openrealm.retrieval.retriever import NO_CHUNK
from openrealm.runs.first_weights import Beginning, first_model
from openrealm.runs.folders import WorkspaceFolder
from openrealm.runs.loaded import load_run, open_corpus
from openrealm.runs.masked_queries import masked_queries
from openrealm.runs.parts import make_templates
from openrealm.settings import resolve


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
    place = WorkspaceFolder(arguments.workspace)
    corpus = open_corpus(place)
    texts = corpus
    if arguments.run:
        loaded = load_run(place, name=arguments.run, stages=(arguments.stage,), progress=Silent())
        settings, model = loaded.settings, loaded.model
        if loaded.run.texts.is_dir():
            texts = ChunkStore.open(loaded.run.texts)
    else:
        settings = resolve(preset=arguments.preset, assignments=arguments.assignments)
        model = first_model(Beginning.of(settings), corpus=corpus, texts=corpus)
    model.eval()
    templates = make_templates(settings, corpus)
    queries = masked_queries(place, settings, texts=texts, corpus=corpus, progress=Silent()).probe()
    lexical = LexicalRetriever(corpus, BM25.build(corpus), settings.retrieval)
    found = lexical.candidates(
        [corpus.tokenizer.decode(query.original_ids) for query in queries],
        arguments.candidates,
        origins=origins_of(queries, texts, corpus),
    )
    held = np.array(
        [
            [r != NO_CHUNK and holds(corpus.body_ids(r), query.targets, corpus) for r in rows]
            for query, rows in zip(queries, found.tolist(), strict=True)
        ]
    )
    worth, without = [], []
    with torch.inference_mode():
        for start in range(0, len(queries), 32):
            part = slice(start, start + 32)
            batch = masked_batch(queries[part], found[part], corpus, templates)
            batch = batch.to(device_of(model))
            log_p = model.read(batch, groups=settings.length_groups)
            means = log_p.sum(dim=2) / batch.mask_mask.sum(dim=1)[:, None]
            worth.append((means[:, 1:] - means[:, :1]).cpu().numpy())
            without.append(means[:, 0].cpu().numpy())
    gain, lacks = np.concatenate(worth), (found != NO_CHUNK) & ~held
    pairs = [
        (row[yes][:, None] > row[no][None, :]).mean()
        for row, yes, no in zip(gain, held, lacks, strict=True)
        if yes.any() and no.any()
    ]
    print(
        f"{len(queries)} held-out sentences, {held.mean():.3f} of their candidates hold the answer"
    )
    print(f"the one that holds it is preferred: {np.mean(pairs):.3f} of the pairs")
    print(f"log p(y|null,x) {np.concatenate(without).mean():.2f} nats per token")
    for name, kind in (("holds it", held), ("does not", lacks)):
        low, mid, high = np.percentile(gain[kind], [10, 50, 90])
        print(
            f"a chunk that {name}: {gain[kind].mean():+.2f} nats "
            f"(10%: {low:+.2f}, median {mid:+.2f}, 90%: {high:+.2f})"
        )


if __name__ == "__main__":
    main()
