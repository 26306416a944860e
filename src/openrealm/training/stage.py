"""What a stage of training is: a batch to a loss and numbers; knows no particular objective.

A stage says what it trains and at which rate, computes the loss of a step, and reports numbers.
Its examples are a function of the step, so that nothing has to be fast-forwarded on resume.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy.typing as npt
import torch
from torch import Tensor, nn

from openrealm.corpus.store import ChunkStore
from openrealm.models.inputs import Templates
from openrealm.models.realm import Realm, device_of
from openrealm.processes import ALONE, Processes
from openrealm.retrieval.live_index import LiveIndex
from openrealm.training.write_back import ChunkVectors


@dataclass(frozen=True)
class Mean:
    """A number about a step, and of how many things it is the mean.

    Processes that train together weigh theirs by it: a mean over masked positions is not one over
    examples.
    """

    value: float
    count: int = 1

    @classmethod
    def of(cls, values: Tensor | npt.NDArray[Any]) -> Mean:
        """The mean of some values, of any shape."""
        return cls(float(values.mean()), math.prod(values.shape))


Metrics = Mapping[str, Mean]


@dataclass(frozen=True)
class Ingredients:
    """What the stages share.

    Attributes:
        model: Embedder and reader.
        corpus: Knowledge corpus: what is retrieved from.
        texts: Training texts: what is masked; may be the same object.
        templates: How inputs are joined.
        seed: Seed of the order of examples.
        groups: Forward passes run in so many groups of similar length.
        autocast: Lower precision for matrix products, or None.
        processes: Who trains together; each takes its share of every batch.
    """

    model: Realm
    corpus: ChunkStore
    texts: ChunkStore
    templates: Templates
    seed: int
    groups: int
    autocast: torch.dtype | None
    processes: Processes = ALONE

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return device_of(self.model)

    def precision(self) -> torch.autocast:
        """Context in which forward passes run."""
        dtype = self.autocast or torch.bfloat16
        return torch.autocast(self.device.type, dtype=dtype, enabled=self.autocast is not None)


@dataclass(frozen=True)
class StepResult:
    """Loss of one step and numbers about it.

    Attributes:
        loss: A mean over this process's share of the batch.
        weight: Of how many things it is the mean.
        metrics: Means over what is in the share.
        num_tokens: Tokens that went through an encoder.
        num_examples: Examples of the share.
        retrieval_s: Seconds of finding candidates.
        embedded: Vectors that the step has made of chunks, where their tower is trained.
    """

    loss: Tensor
    weight: int
    metrics: Metrics
    num_tokens: int
    num_examples: int
    retrieval_s: float = 0.0
    embedded: ChunkVectors | None = None


@runtime_checkable
class Stage(Protocol):
    """One objective with its data.

    Attributes:
        name: Of the stage.
        steps: How many it has.
        batch_size: Examples of a step, of which every process needs one.
        uses_index: Whether a step needs the live index.
        moves_retriever: Whether pre-training moves it, so that the probe watches retrieval.
        moves_chunks: Whether chunk embeddings do, so that the index goes stale.
    """

    name: str
    steps: int
    batch_size: int
    uses_index: bool
    moves_retriever: bool
    moves_chunks: bool

    def trained(self) -> Sequence[tuple[nn.Module, float]]:
        """Modules that are trained, with their peak learning rates."""

    def step(self, step: int, live: LiveIndex | None) -> StepResult:
        """Loss of one step over the given index."""
