"""REALM as one module, in the order of the paper: embed, score, read, marginalise.

It is given its candidates and never retrieves: p(z|x) is always recomputed here from the current
parameters, so an index that proposed the candidates may be stale without a gradient being wrong.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from openrealm.models import likelihood
from openrealm.models.embedder import Embedder
from openrealm.models.inputs import Inputs
from openrealm.models.reader import Reader
from openrealm.models.span_reader import SpanReader


@dataclass(frozen=True)
class MaskedBatch:
    """Masked queries with their candidates; slot 0 of ``k`` is the null chunk.

    A chunk that several queries retrieved is embedded once: ``chunks`` holds the distinct ones,
    the null chunk at row 0, and ``chunk_slots`` says which of its rows fills which slot. Empty
    slots (a corpus smaller than k) are False in ``candidate_mask`` and have no joint input.

    Attributes:
        query: Masked sentences.
        chunks: Distinct candidates.
        chunk_slots: Row of ``chunks`` in each slot.
        candidate_mask: Which slots count.
        joint: Inputs of the reader, one for each slot that counts.
        joint_slots: Query and slot of each joint input.
        mask_positions: Places of the masks, the same in every joint input of a query.
        mask_mask: Which of the masks are real.
        targets: The tokens masked out: y.
        in_batch_negatives: Rows of ``chunks`` that take part in p(z|x) though they are not read;
            None: none.
        bm25: Words in common of each query with each row of ``chunks``, 0 for the null chunk;
            None where the model does not weigh them.
    """

    query: Inputs
    chunks: Inputs
    chunk_slots: Int[Tensor, "batch k"]
    candidate_mask: Bool[Tensor, "batch k"]
    joint: Inputs
    joint_slots: Int[Tensor, "joints 2"]
    mask_positions: Int[Tensor, "batch masks"]
    mask_mask: Bool[Tensor, "batch masks"]
    targets: Int[Tensor, "batch masks"]
    in_batch_negatives: Bool[Tensor, "batch rows"] | None = None
    bm25: Float[Tensor, "batch rows"] | None = None

    def to(self, device: torch.device) -> MaskedBatch:
        """The same batch on a device."""
        given = {name: value for name, value in vars(self).items() if value is not None}
        return MaskedBatch(**{name: value.to(device) for name, value in given.items()})


@dataclass(frozen=True)
class MaskedOutput:
    """What a forward pass found, in log-probabilities.

    Where in-batch negatives take part there is one slot more than candidates, for all of them.
    """

    log_p_z: Float[Tensor, "batch slots"]
    log_p_y_given_z: Float[Tensor, "batch slots masks"]
    log_p_y: Float[Tensor, "batch masks"]
    query_emb: Float[Tensor, "batch dim"]
    chunk_emb: Float[Tensor, "rows dim"]


class LexicalWeight(nn.Module):
    """How much words in common count beside the inner product: one number, which is learned."""

    def __init__(self, weight: float) -> None:
        """Takes the weight to begin with, which is positive."""
        super().__init__()
        self.log_weight = nn.Parameter(torch.tensor(weight).log())

    def forward(
        self, scores: Float[Tensor, "batch k"], words: Float[Tensor, "batch k"]
    ) -> Float[Tensor, "batch k"]:
        """Relevance scores with BM25 in them."""
        return likelihood.with_words(scores, words, self.log_weight)

    @property
    def value(self) -> float:
        """The weight as it is now."""
        return float(self.log_weight.detach().exp())


class Realm(nn.Module):
    """A retriever's embedder and a reader, trained together.

    Attributes:
        embedder: Query and chunk towers.
        reader: Knowledge-augmented encoder and span head.
        lexical: Weight of words in common; None where the inner product alone counts.
        span_reader: What reads for answers, where that is not `reader` with its span head.
    """

    def __init__(
        self, embedder: Embedder, reader: Reader, lexical: LexicalWeight | None = None
    ) -> None:
        super().__init__()
        self.embedder = embedder
        self.reader = reader
        self.lexical = lexical
        self.span_reader: SpanReader | None = None

    def forward(
        self,
        batch: MaskedBatch,
        *,
        query_emb: Float[Tensor, "batch dim"] | None = None,
        chunk_emb: Float[Tensor, "rows dim"] | None = None,
    ) -> MaskedOutput:
        """p(z|x), p(y|z,x) and their marginal for masked queries.

        Args:
            batch: Queries, candidates and targets.
            query_emb: Vectors of ``batch.query`` where they are known.
            chunk_emb: Vectors of ``batch.chunks`` where they are known (a frozen retriever).
        """
        # Embed, where the vectors are not known.
        if query_emb is None:
            query_emb = self.embedder.embed_queries(batch.query)
        if chunk_emb is None:
            chunk_emb = self.embedder.embed_chunks(batch.chunks)
        # Read the masked tokens beside each candidate.
        log_p_y_given_z = self.read(batch)
        return self.marginalise(batch, query_emb, chunk_emb, log_p_y_given_z)

    def marginalise(
        self,
        batch: MaskedBatch,
        query_emb: Float[Tensor, "batch dim"],
        chunk_emb: Float[Tensor, "rows dim"],
        log_p_y_given_z: Float[Tensor, "batch k masks"],
    ) -> MaskedOutput:
        """log p(y_j|x) = log sum_z p(z|x) p(y_j|z,x) over the candidates.

        That is equation 1 for one token at a time, as in the released code. In-batch negatives,
        where there are any, are one candidate more: p(z|x) is that of all of them together, and
        p(y_j|z,x) that of the worst chunk read.
        """
        scores, mask = self.relevance(batch, query_emb, chunk_emb), batch.candidate_mask
        if batch.in_batch_negatives is not None:
            rest, guess = self._negatives(batch, query_emb, chunk_emb, log_p_y_given_z)
            scores = torch.cat([scores, rest[:, None]], dim=1)
            log_p_y_given_z = torch.cat([log_p_y_given_z, guess[:, None]], dim=1)
            mask = torch.cat([mask, batch.in_batch_negatives.any(dim=1, keepdim=True)], dim=1)
        log_p_z = likelihood.log_p_z_given_x(scores, mask)
        return MaskedOutput(
            log_p_z=log_p_z,
            log_p_y_given_z=log_p_y_given_z,
            log_p_y=likelihood.marginal_per_token(log_p_z, log_p_y_given_z),
            query_emb=query_emb,
            chunk_emb=chunk_emb,
        )

    def relevance(
        self,
        batch: MaskedBatch,
        query_emb: Float[Tensor, "batch dim"],
        chunk_emb: Float[Tensor, "rows dim"],
    ) -> Float[Tensor, "batch k"]:
        """Relevance score of every candidate."""
        # In full precision: 8 bits of mantissa would round a score of 100 by up to 0.25 nats.
        with torch.autocast(query_emb.device.type, enabled=False):
            scores = likelihood.relevance_scores(
                query_emb.float(), chunk_emb.float()[batch.chunk_slots]
            )
            words = None if batch.bm25 is None else batch.bm25.gather(1, batch.chunk_slots)
            return self._weighed(scores, words)

    def _negatives(
        self,
        batch: MaskedBatch,
        query_emb: Float[Tensor, "batch dim"],
        chunk_emb: Float[Tensor, "rows dim"],
        log_p_y_given_z: Float[Tensor, "batch k masks"],
    ) -> tuple[Float[Tensor, " batch"], Float[Tensor, "batch masks"]]:
        """The one slot more of all in-batch negatives: its score, and what it says of the masks."""
        assert batch.in_batch_negatives is not None
        with torch.autocast(query_emb.device.type, enabled=False):
            scores = self._weighed(query_emb.float() @ chunk_emb.float().T, batch.bm25)
        return (
            likelihood.in_batch_negatives_score(scores, batch.in_batch_negatives),
            likelihood.log_p_y_given_negatives(log_p_y_given_z, batch.candidate_mask),
        )

    def _weighed(self, scores: Tensor, words: Tensor | None) -> Tensor:
        return scores if self.lexical is None or words is None else self.lexical(scores, words)

    def read(self, batch: MaskedBatch) -> Float[Tensor, "batch k masks"]:
        """log p(y_j|z,x) for every candidate; 0 at empty slots and padded masks."""
        query = batch.joint_slots[:, 0]
        found = self.reader.masked_log_p(
            batch.joint,
            batch.mask_positions[query],
            batch.mask_mask[query],
            batch.targets[query],
        )
        return by_candidate(batch, found)


def by_candidate(
    batch: MaskedBatch, values: Float[Tensor, " reals"]
) -> Float[Tensor, "batch k masks"]:
    """Values of the real masks of all joint inputs, by query, slot and mask; 0 elsewhere."""
    query, slot = batch.joint_slots.unbind(dim=1)
    real = batch.mask_mask[query]
    table = values.new_zeros((*batch.candidate_mask.shape, real.shape[1]))
    row, mask = real.nonzero(as_tuple=True)
    return table.index_put((query[row], slot[row], mask), values)


def freeze(module: nn.Module, *, frozen: bool) -> None:
    """Stops or restarts gradients of all parameters of a module."""
    for parameter in module.parameters():
        parameter.requires_grad_(not frozen)


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Dropout off for the duration, and on again in those submodules that had it on.

    A plain ``module.train(was_training)`` would set them all alike, where a stage trains some.
    """
    with_dropout = [part for part in module.modules() if part.training]
    module.eval()
    try:
        yield
    finally:
        for part in with_dropout:
            part.training = True


def device_of(module: nn.Module) -> torch.device:
    """The device that holds a module's parameters."""
    return next(module.parameters()).device
