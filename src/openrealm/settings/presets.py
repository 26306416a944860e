"""The presets: values over the settings' defaults, which are the paper's; knows no types."""

from __future__ import annotations

from typing import Any

# The defaults are the paper's and the released code's.
PRESETS: dict[str, dict[str, Any]] = {
    "paper": {
        "start": "scratch",
        "stages": ["ict", "realm"],
        "model": {"embedder": {"dropout": 0.1}},
        "refresh": {"dtype": "float16"},
        "optim": {"warmup_min": 100},
    },
    "adapt": {
        "start": "starter",
        "stages": ["warmup", "realm", "reading"],
        "corpus": {"chunking": {"chunk_tokens": 160}},
        "salient": {"supported_within": 4},
        "model": {
            "query_tokens": 64,
            # A sentence encoder has never seen a [MASK].
            "query_masks": False,
            "bert": {"dropout": 0.0},
            # Small enough to read thousands of chunks a minute; what it cannot know of the
            # language, the prior and the copy head make up for.
            "own_reader": True,
            "reader": {
                "layers": 1,
                "hidden": 128,
                "heads": 4,
                "intermediate": 512,
            },
            "token_prior": True,
            "copy_head": True,
            # An encoder of sentences and words in common find different chunks.
            "lexical_weight": 1.0,
            "embedder": {
                "pooling": "mean",
                "projection": "adapter",
                "score_scale": 20.0,
            },
        },
        "retrieval": {"k": 7, "exclude": "neighbours"},
        # The copy head tells chunks apart from its first weights.
        "warmup": {"steps": 0, "batch_size": 32, "lr": 3e-4, "k": 5, "own_chunk": 0.0},
        # A trained encoder is soon spoilt: it stays as it is, and a matrix above it learns.
        "realm": {
            "steps": 100,
            "batch_size": 64,
            "lr": 3e-4,
            "lr_retriever": 5e-4,
            "lr_lexical": 0.02,
            "in_batch_negatives": True,
            "towers": "projection",
        },
        "refresh": {"every": 20},
        "qa": {
            # It has read: few questions, a small step.
            "reader": "starter",
            "steps": 150,
            "batch_size": 32,
            "lr": 3e-5,
            "lr_retriever": 1e-5,
            "beam": 500,
            "read": 10,
        },
        "optim": {"bias_correction": True},
        "loop": {"probe_every": 50, "checkpoint_every": 50},
    },
    "tiny": {
        "start": "scratch",
        "stages": ["ict", "warmup", "realm"],
        "corpus": {"tokenizer": "train", "vocab_size": 8192, "chunking": {"chunk_tokens": 64}},
        "salient": {"terms": "never"},
        "model": {
            "query_tokens": 40,
            # Width tells names apart; one layer is enough to weigh words.
            "bert": {
                "layers": 1,
                "hidden": 256,
                "heads": 4,
                "intermediate": 512,
                "max_positions": 128,
                "dropout": 0.0,
                "initialization": "copying",
            },
            "own_reader": True,
            "reader": {
                "layers": 4,
                "hidden": 128,
                "heads": 4,
                "intermediate": 512,
                "initialization": "copying",
            },
            # The mean of all tokens finds names long before a trained [CLS] does.
            "embedder": {
                "pooling": "mean",
                "projection": "none",
                "score_scale": 60.0,
                "known_tokens": True,
            },
            "span_head": {"hidden": 64},
        },
        "retrieval": {"k": 5},
        # One pass over the almanac: a second one gained nothing on its held-out queries.
        "ict": {"steps": 40, "batch_size": 64, "lr": 5e-4},
        "warmup": {
            "steps": 150,
            "batch_size": 64,
            "lr": 2e-3,
            "k": 2,
            "own_chunk": 0.1,
            "candidates": "lexical",
        },
        "realm": {
            "steps": 240,
            "batch_size": 32,
            "lr": 1e-3,
            "lr_retriever": 1e-3,
            "lexical": 2,
        },
        "refresh": {"every": 25},
        "qa": {"steps": 150, "batch_size": 16, "lr": 5e-4, "lr_retriever": 1e-4, "beam": 1000},
        "optim": {"bias_correction": True},
        "loop": {"probe_every": 120, "checkpoint_every": 200},
    },
}
