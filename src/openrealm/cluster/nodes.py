"""What a process of a cluster embeds with, and keeps from shard to shard; knows no cluster."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from openrealm.corpus.store import ChunkStore
from openrealm.models.embedder import Embedder
from openrealm.models.inputs import Templates
from openrealm.runs.devices import pick_precision
from openrealm.runs.loaded import empty_model
from openrealm.runs.parts import make_templates
from openrealm.settings import Settings


class TakenBack(Exception):
    """The order that somebody is at does not stand any more."""


def standing(stands: Callable[[], bool], *, every_s: float) -> Callable[[], None]:
    """What looks whether an order still stands, at most so often, and else raises."""
    looked = -every_s

    def look() -> None:
        nonlocal looked
        if time.monotonic() - looked < every_s:
            return
        looked = time.monotonic()
        if not stands():
            raise TakenBack

    return look


@dataclass(eq=False)
class Node:
    """A corpus and a model, whose weights change from order to order."""

    settings: Settings
    corpus: ChunkStore
    templates: Templates
    embedder: Embedder
    autocast: torch.dtype | None
    _loaded: str = field(default="", init=False)

    @classmethod
    def of(cls, settings: Settings, corpus: ChunkStore, *, on_gpu: bool) -> Node:
        """A model of the shape that the settings have, without weights."""
        device = torch.device("cuda" if on_gpu else "cpu")
        # Sums may depend on how work is divided: a node of many processors makes the same vectors.
        torch.set_num_threads(settings.refresh.worker_threads)
        model = empty_model(settings, corpus.tokenizer, stage="realm")
        return cls(
            settings=settings,
            corpus=corpus,
            templates=make_templates(settings, corpus),
            embedder=model.embedder.to(device).eval(),
            autocast=pick_precision(settings, device),
        )

    def loaded(self, wanted: str, load: Callable[[Embedder], object]) -> Embedder:
        """The embedder, with the weights of a fingerprint.

        Args:
            wanted: The fingerprint.
            load: Puts these weights into it, where it has others.
        """
        if wanted != self._loaded:
            self._loaded = ""  # in case that only half of them can be read
            load(self.embedder)
            self._loaded = wanted
        return self.embedder
