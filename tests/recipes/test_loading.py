"""Tests of what turns folders and settings into live objects."""

from __future__ import annotations

import numpy as np
from tiny import World

from openrealm.recipes.loading import known_tokens


def test_the_known_tokens_are_those_of_titles_and_bodies_and_what_joins_them(world: World) -> None:
    store, tokenizer = world.store, world.tokenizer
    had = {tokenizer.cls_id, tokenizer.sep_id, tokenizer.mask_id}
    for row in range(len(store)):
        had |= {*store.title_ids(row).tolist(), *store.body_ids(row).tolist()}
    known = known_tokens([store]).numpy()
    assert set(np.flatnonzero(known).tolist()) == had
    assert not known[tokenizer.pad_id] and len(known) == tokenizer.vocab_size
