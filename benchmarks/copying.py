"""How fast does a reader from scratch learn to copy? Drill, then masked sentences of the almanac.

    python benchmarks/copying.py --initialization matching --drill-steps 250 --steps 150
    python benchmarks/copying.py --initialization normal --drill-steps 250 --steps 150

Every query is read beside its own chunk, which holds the masked words; printed is the part of the
held-out masked tokens that the reader has right, after the drill and after real text.
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
from openrealm.batching import masked_batch
from openrealm.data.pretraining import MaskedQueries, MaskedQuery, SpanTable
from openrealm.models import likelihood
from openrealm.models.pretrained import build_model
from openrealm.models.realm import evaluating, freeze
from openrealm.progress import Silent
from openrealm.recipes import ingest
from openrealm.recipes.loading import make_templates, open_corpus, span_tagger
from openrealm.settings import preset_settings
from openrealm.training.objectives import DrillConfig, DrillStage, Ingredients
from openrealm.training.optim import (
    AdamWeightDecay,
    learning_rate_factor,
    parameter_groups,
    set_learning_rate,
)
from openrealm.workspace import Workspace


def own_chunk_log_p(parts: Ingredients, queries: Sequence[MaskedQuery]) -> torch.Tensor:
    """log p(y_j|own chunk,x) of the real masks of the queries, end to end."""
    rows = np.array([[query.row] for query in queries])
    batch = masked_batch(queries, rows, parts.corpus, parts.templates, null_chunk=False)
    return parts.model.read(batch, groups=parts.groups)[:, 1][batch.mask_mask]


def probe(parts: Ingredients, queries: Sequence[MaskedQuery]) -> str:
    """Loss, and the part of the masked tokens that get more than half of the probability."""
    with evaluating(parts.model), torch.inference_mode():
        log_p = own_chunk_log_p(parts, queries)
    sure = float((log_p > np.log(0.5)).float().mean())
    return f"probe: loss {-float(log_p.mean()):.2f}, more than half sure of {sure:.3f}"


def main() -> None:
    """Runs one configuration."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--initialization", choices=("normal", "matching"), default="matching")
    parser.add_argument("--drill-steps", type=int, default=250)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--drill-lr", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    settings = preset_settings("tiny")
    bert = replace(settings.model.bert, initialization=arguments.initialization)
    with tempfile.TemporaryDirectory() as folder:
        ingest(Path(folder), sources=[almanac.directory() / almanac.ARTICLES], preset="tiny")
        corpus = open_corpus(Workspace(Path(folder)))
        tokenizer = corpus.tokenizer
        model = build_model(
            replace(settings.model, bert=bert),
            vocab_size=tokenizer.vocab_size,
            pad_id=tokenizer.pad_id,
            seed=arguments.seed,
        )
        parts = Ingredients(
            model=model,
            corpus=corpus,
            texts=corpus,
            templates=make_templates(settings, corpus),
            seed=arguments.seed,
            groups=settings.length_groups,
            autocast=None,
        )
        table = SpanTable.build(
            corpus, span_tagger(settings, corpus), max_masks=10, progress=Silent()
        )
        queries = MaskedQueries(corpus, table, seed=arguments.seed, query_tokens=40, num_probe=200)
        drill = DrillStage(
            parts,
            DrillConfig(
                steps=arguments.drill_steps,
                batch_size=arguments.batch_size,
                lr=arguments.drill_lr,
            ),
        )
        freeze(model.embedder, frozen=True)
        held_out = queries.probe()
        print(f"first weights: {probe(parts, held_out)}", flush=True)
        for name, steps, lr in (
            ("drill", arguments.drill_steps, arguments.drill_lr),
            ("real text", arguments.steps, arguments.lr),
        ):
            groups = parameter_groups([(model.reader.masked_lm, lr)], weight_decay=0.01)
            optimizer = AdamWeightDecay(groups, settings.optim)
            for step in range(steps):
                if name == "drill":
                    loss = drill.step(step, None).loss
                else:
                    batch = queries.batch(step, arguments.batch_size)
                    loss = likelihood.per_token_loss(
                        (log_p := own_chunk_log_p(parts, batch)[None]),
                        torch.ones_like(log_p, dtype=torch.bool),
                    )
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                torch.nn.utils.clip_grad_norm_(model.reader.parameters(), 1.0)
                set_learning_rate(optimizer, learning_rate_factor(step, steps, settings.optim))
                optimizer.step()
            print(f"after {steps} steps of {name}: {probe(parts, held_out)}", flush=True)


if __name__ == "__main__":
    main()
