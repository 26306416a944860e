"""What a stage of training is: a batch to a loss and numbers; knows no particular objective.

A stage says what it trains and at which rate, computes the loss of a step, and reports numbers.
Its examples are a function of the step, so that nothing has to be fast-forwarded on resume.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy.typing as npt
import torch
from torch import Tensor, nn

from openrealm.corpus.store import ChunkStore
from openrealm.models.realm import Realm
from openrealm.processes import ALONE, Processes
from openrealm.retrieval.embedding import TextEncoder
from openrealm.retrieval.live_index import LiveIndex
from openrealm.training.alarms import Alarm
from openrealm.training.write_back import ChunkVectors

_Example = TypeVar("_Example")


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


class IndexUse(Enum):
    """How a stage uses the live index."""

    NONE = "not at all"
    FIXED = "searched; no chunk moves"
    MOVING = "searched, and it goes stale, since the chunks' vectors move"


@dataclass(frozen=True)
class Ingredients:
    """What the stages share.

    Attributes:
        model: Embedder and reader.
        encoder: The model's towers with tokenizer, templates and precision.
        corpus: Knowledge corpus: what is retrieved from.
        texts: Training texts: what is masked; may be the same object.
        seed: Seed of the order of examples.
        processes: Who trains together; each takes its slice of every batch.
    """

    model: Realm
    encoder: TextEncoder
    corpus: ChunkStore
    texts: ChunkStore
    seed: int
    processes: Processes = ALONE

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.encoder.device

    def local(self, batch: Sequence[_Example]) -> list[_Example]:
        """This process's examples of a batch."""
        return [batch[n] for n in self.processes.local_slice(len(batch))]


@dataclass(frozen=True)
class StepResult:
    """Loss of one step and numbers about it.

    Attributes:
        loss: A mean over this process's slice of the batch.
        weight: Of how many things it is the mean.
        metrics: Means over what is in the slice.
        num_tokens: Tokens that went through an encoder.
        num_examples: Examples of the slice.
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
        index_use: How it uses the live index.
    """

    name: str
    steps: int
    batch_size: int
    index_use: IndexUse

    def trained(self) -> Sequence[tuple[nn.Module, float]]:
        """Modules that are trained, with their peak learning rates."""

    def alarm(self) -> Alarm:
        """What looks at the stage's metrics for signs that it goes wrong."""

    def step(self, step: int, live: LiveIndex | None) -> StepResult:
        """Loss of one step over the given index."""
