"""How often each token stands in the texts, and what first weights make of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from openrealm.corpus.store import ChunkStore


def token_counts(stores: Sequence[ChunkStore]) -> npt.NDArray[np.int64]:
    """How often each token of the vocabulary ``(vocab,)`` stands in the titles and bodies."""
    counts = np.zeros(stores[0].tokenizer.vocab_size, dtype=np.int64)
    for store in stores:
        for row in range(len(store)):
            np.add.at(counts, store.title_ids(row), 1)
            np.add.at(counts, store.body_ids(row), 1)
    return counts


def known_tokens(stores: Sequence[ChunkStore]) -> torch.Tensor:
    """Which tokens of the vocabulary the texts have ``(vocab,)``; joints and masks count as had."""
    tokenizer = stores[0].tokenizer
    known = token_counts(stores) > 0
    known[[tokenizer.cls_id, tokenizer.sep_id, tokenizer.mask_id]] = True
    return torch.from_numpy(known)


def token_prior(stores: Sequence[ChunkStore]) -> torch.Tensor:
    """log p(token) ``(vocab,)`` in the texts; a token that they lack counts as had once."""
    counts = np.maximum(token_counts(stores), 1)
    return torch.from_numpy(np.log(counts / counts.sum())).float()
