"""How fast does a reader from scratch learn to copy? Masked almanac sentences, own chunk given.

    python benchmarks/copying.py --initialization copying
    python benchmarks/copying.py --initialization normal

Every query is read beside its own chunk, which holds the masked words; printed now and then is the
part of the held-out masked tokens that the reader gives more than half of the probability.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from openrealm import almanac
from openrealm.data.pretraining import MaskedQueries, MaskedQuery, SpanTable
from openrealm.models import likelihood
from openrealm.models.pretrained import start_model
from openrealm.models.realm import evaluating, freeze
from openrealm.progress import Silent
from openrealm.recipes import ingest
from openrealm.retrieval.batches import masked_batch
from openrealm.retrieval.candidates import Candidates
from openrealm.runs.folders import WorkspaceFolder, open_corpus
from openrealm.runs.masked_queries import span_tagger
from openrealm.runs.parts import make_encoder
from openrealm.settings import preset_settings
from openrealm.training.optim import (
    AdamWeightDecay,
    learning_rate_factor,
    parameter_groups,
    set_learning_rate,
)
from openrealm.training.stage import Ingredients


def own_chunk_log_p(parts: Ingredients, queries: Sequence[MaskedQuery]) -> torch.Tensor:
    """log p(y_j|own chunk,x) of the real masks of the queries, end to end."""
    rows = np.array([[query.row] for query in queries])
    batch = masked_batch(
        queries, Candidates(rows), parts.corpus, parts.encoder.templates, null_chunk=False
    )
    return parts.model.read(batch)[:, 1][batch.mask_mask]


def probe(parts: Ingredients, queries: Sequence[MaskedQuery]) -> str:
    """Loss, and the part of the masked tokens that get more than half of the probability."""
    with evaluating(parts.model), torch.inference_mode():
        log_p = own_chunk_log_p(parts, queries)
    sure = float((log_p > np.log(0.5)).float().mean())
    return f"loss {-float(log_p.mean()):.2f}, more than half sure of {sure:.3f}"


def main() -> None:
    """Runs one configuration."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--initialization", choices=("normal", "copying"), default="copying")
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    settings = preset_settings("tiny")
    shape = replace(settings.model.reader, initialization=arguments.initialization)
    with tempfile.TemporaryDirectory() as folder:
        articles = almanac.directory() / almanac.ARTICLES
        ingest(Path(folder), sources=[articles], settings=settings)
        corpus = open_corpus(WorkspaceFolder(Path(folder)))
        tokenizer = corpus.tokenizer
        model = start_model(
            "scratch",
            replace(settings.model, reader=shape),
            vocab_size=tokenizer.vocab_size,
            pad_id=tokenizer.pad_id,
            mask_id=tokenizer.mask_id,
            seed=arguments.seed,
        ).model
        parts = Ingredients(
            model=model,
            encoder=make_encoder(settings, corpus, model.embedder),
            corpus=corpus,
            texts=corpus,
            seed=arguments.seed,
        )
        table = SpanTable.build(
            corpus, span_tagger(settings, corpus), max_masks=10, progress=Silent()
        )
        queries = MaskedQueries(corpus, table, seed=arguments.seed, query_tokens=40, num_probe=200)
        freeze(model.embedder, frozen=True)
        held_out = queries.probe()
        print(f"first weights: {probe(parts, held_out)}", flush=True)
        groups = parameter_groups([(model.reader.masked_lm, arguments.lr)])
        optimizer = AdamWeightDecay(groups, bias_correction=settings.optim.bias_correction)
        for step in range(arguments.steps):
            log_p = own_chunk_log_p(parts, queries.batch(step, arguments.batch_size))[None]
            loss = likelihood.per_token_loss(log_p, torch.ones_like(log_p, dtype=torch.bool))
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(model.reader.parameters(), 1.0)
            factor = learning_rate_factor(
                step, arguments.steps, warmup_min=settings.optim.warmup_min
            )
            set_learning_rate(optimizer, factor)
            optimizer.step()
            if (step + 1) % 25 == 0:
                print(f"after {step + 1} steps: {probe(parts, held_out)}", flush=True)


if __name__ == "__main__":
    main()
