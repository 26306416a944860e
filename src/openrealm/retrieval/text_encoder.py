"""What turns token ids into vectors, as one object; knows neither a corpus nor an index."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from torch import Tensor

from openrealm.models.embedder import Embedder
from openrealm.models.inputs import Inputs, Templates
from openrealm.models.realm import device_of, evaluating
from openrealm.tokenizer import WordPiece

Ids = npt.NDArray[np.int32]
_EMPTY = np.empty(0, dtype=np.int32)


@dataclass(frozen=True)
class TextEncoder:
    """Towers with all that it takes to use them.

    Training, refreshing, searching and answering share one, so that a text has the same vector
    wherever it is embedded.

    Attributes:
        embedder: Query and chunk towers.
        tokenizer: Of their vocabulary.
        templates: How inputs are joined and where they are cut.
        autocast: Lower precision for matrix products, or None.
        batch_tokens: Tokens of a forward pass over many chunks, padding included.
    """

    embedder: Embedder
    tokenizer: WordPiece
    templates: Templates
    autocast: torch.dtype | None = None
    batch_tokens: int = 16_384

    @property
    def device(self) -> torch.device:
        """Where the towers are."""
        return device_of(self.embedder)

    def precision(self) -> torch.autocast:
        """Context in which forward passes run."""
        dtype = self.autocast or torch.bfloat16
        return torch.autocast(self.device.type, dtype=dtype, enabled=self.autocast is not None)

    def embed_queries(self, queries: Sequence[Ids]) -> Float[Tensor, "queries dim"]:
        """Embed_input(x) of token ids, by the present query tower without its dropout."""
        inputs = self.templates.query(queries).to(self.device)
        with evaluating(self.embedder), self.precision():
            vectors: Tensor = self.embedder.embed_queries(inputs)
        return vectors

    def null_chunk(self) -> Inputs:
        """The chunk that says nothing: ``[CLS] [SEP] [SEP]``  (section 3.4)."""
        return self.templates.chunk([_EMPTY], [_EMPTY]).to(self.device)
