"""Does the reader tell chunks that hold the masked words from chunks that do not?

    openrealm ingest cisi/corpus.jsonl --to ws
    python benchmarks/reading.py ws                             # first weights of the preset
    python benchmarks/reading.py ws --set model.copy_head=false
    python benchmarks/reading.py ws --run run-001 --stage warmup

What the reader thinks of a chunk, p(y|z,x), is all that the retriever is taught by. For masked
sentences that are held out, candidates are looked up by words in common (those masked out among
them, so that about a third hold the answer). Printed is how often a chunk that holds it gets the
higher p(y|z,x) of two candidates of the same sentence (0.5: blind, 1: always), and what each kind
is worth against the null chunk, in nats per masked token.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from openrealm.batching import masked_batch, origins
from openrealm.models.pretrained import start_model
from openrealm.models.realm import Realm
from openrealm.progress import Silent
from openrealm.recipes.loading import (
    known_tokens,
    load_run,
    make_templates,
    open_corpus,
    token_prior,
)
from openrealm.recipes.masking import masked_queries
from openrealm.retrieval.lexical import BM25, LexicalRetriever
from openrealm.retrieval.retriever import NO_CHUNK
from openrealm.settings import Settings, resolve
from openrealm.training.probe import holds
from openrealm.workspace import Workspace


def first_weights(place: Workspace, settings: Settings) -> Realm:
    """The model that a run with these settings would begin with."""
    corpus = open_corpus(place)
    tokenizer = corpus.tokenizer
    started = start_model(
        settings.start,
        settings.model,
        vocab_size=tokenizer.vocab_size,
        pad_id=tokenizer.pad_id,
        mask_id=tokenizer.mask_id,
        seed=settings.seed,
    )
    if settings.model.embedder.known_tokens:
        started.model.embedder.set_known(known_tokens([corpus]))
    if settings.model.token_prior and not started.has_masked_lm_head:
        started.model.reader.set_token_prior(token_prior(corpus))
    return started.model


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
    place = Workspace(arguments.workspace)
    corpus = open_corpus(place)
    if arguments.run:
        loaded = load_run(place, name=arguments.run, stages=(arguments.stage,), progress=Silent())
        settings, model = loaded.settings, loaded.model
    else:
        settings = resolve(preset=arguments.preset, assignments=arguments.assignments)
        model = first_weights(place, settings)
    model.eval()
    templates = make_templates(settings, corpus)
    asked = replace(settings, salient=replace(settings.salient, told_within=4))
    queries = masked_queries(place, asked, texts=corpus, corpus=corpus, progress=Silent()).probe()
    lexical = LexicalRetriever(corpus, BM25.build(corpus), settings.retrieval)
    found = lexical.candidates(
        [corpus.tokenizer.decode(query.original_ids) for query in queries],
        arguments.candidates,
        origins=origins(queries, corpus, texts_are_corpus=True),
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
            log_p = model.read(batch, groups=settings.length_groups)
            means = log_p.sum(dim=2) / batch.mask_mask.sum(dim=1)[:, None]
            worth.append((means[:, 1:] - means[:, :1]).numpy())
            without.append(means[:, 0].numpy())
    gain = np.concatenate(worth)
    pairs = [
        (row[yes][:, None] > row[~yes][None, :]).mean()
        for row, yes in zip(gain, held, strict=True)
        if yes.any() and not yes.all()
    ]
    print(
        f"{len(queries)} held-out sentences, {held.mean():.3f} of their candidates hold the answer"
    )
    print(f"the one that holds it is preferred: {np.mean(pairs):.3f} of the pairs")
    print(f"log p(y|null,x) {np.concatenate(without).mean():.2f} nats per token")
    for name, kind in (("holds it", held), ("does not", ~held)):
        low, mid, high = np.percentile(gain[kind], [10, 50, 90])
        print(
            f"a chunk that {name}: {gain[kind].mean():+.2f} nats "
            f"(10%: {low:+.2f}, median {mid:+.2f}, 90%: {high:+.2f})"
        )


if __name__ == "__main__":
    main()
