"""Is retrieval being learned? Held-out masked queries answered by recall, utility and accuracy;
knows nothing of training steps.

A falling loss proves nothing: a reader that ignores its chunks lowers it too. The probe asks of
sentences that no step has seen: does retrieval find, among chunks that are not trivial, one that
holds the masked words; and does reading help to predict them?
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from torch import Tensor

from openrealm.corpus.store import ChunkStore
from openrealm.data.matching import holds
from openrealm.data.pretraining import MaskedQuery
from openrealm.models import likelihood
from openrealm.models.realm import MaskedBatch, MaskedOutput, Realm, by_candidate, evaluating
from openrealm.retrieval.batches import masked_batch
from openrealm.retrieval.candidates import (
    QueryBatch,
    embed_masked_queries,
    origins_of,
    retrieved,
    with_bm25,
)
from openrealm.retrieval.embedding import TextEncoder
from openrealm.retrieval.live_index import LiveIndex
from openrealm.retrieval.retriever import NO_CHUNK, Retriever
from openrealm.runs.loaded import LoadedRun
from openrealm.runs.masked_queries import HeldOut

RECALL_AT = (1, 5, 20)
# Queries that tell how far an index has fallen behind.
_NUM_COMPARED = 64


@runtime_checkable
class Probe(Protocol):
    """Asked now and then whether retrieval is being learned."""

    def __call__(self, live: LiveIndex | None) -> Mapping[str, float]:
        """Numbers for the log; nothing where there is no index."""

    def recall_of(self, stale: LiveIndex, fresh: LiveIndex) -> Mapping[str, float]:
        """What part of a fresh index's candidates a stale one finds."""


class NoProbe:
    """Where nothing is held out."""

    def __call__(self, live: LiveIndex | None) -> Mapping[str, float]:
        """No numbers."""
        return {}

    def recall_of(self, stale: LiveIndex, fresh: LiveIndex) -> Mapping[str, float]:
        """No numbers."""
        return {}


@dataclass(frozen=True)
class ProbeReport:
    """Means over held-out masked queries; per-query values for intervals and pairs.

    Attributes:
        recall: Part of the queries with the masked words in the top 1, 5, 20 chunks.
        utility: log p(y|x) - log p(y|null,x), in nats per masked token.
        accuracy: Part of the masked tokens that the marginal predicts.
        accuracy_without: The same with the null chunk alone.
        p_null: Probability of the null chunk.
        entropy: Entropy of p(z|x) in nats.
        loss: -log p(y|x) in nats per masked token.
        values: Per-query ``recall@1`` ..., ``utility``, ``accuracy``, ``accuracy_without``.
    """

    recall: dict[int, float]
    utility: float
    accuracy: float
    accuracy_without: float
    p_null: float
    entropy: float
    loss: float
    values: dict[str, npt.NDArray[np.float64]]

    def metrics(self) -> dict[str, float]:
        """Flat numbers for the log, under ``probe/``."""
        numbers = {f"probe/recall@{k}": value for k, value in self.recall.items()}
        numbers["probe/queries"] = float(len(self.values["utility"]))
        for name in ("utility", "accuracy", "accuracy_without", "p_null", "entropy", "loss"):
            numbers[f"probe/{name}"] = getattr(self, name)
        return numbers


@dataclass(frozen=True)
class Reading:
    """What the model makes of one held-out query.

    Attributes:
        query: The query.
        rows: ``(k,)`` chunks of its candidates, best first; slot 0, `NO_CHUNK`, is the null chunk.
        log_p_z: ``(k,)`` log p(z|x).
        log_p_y_given_z: ``(k,)`` log p(y|z,x) in nats per masked token.
        log_p_y: log p(y|x), likewise: each masked token's marginal by itself.
    """

    query: MaskedQuery
    rows: npt.NDArray[np.int64]
    log_p_z: npt.NDArray[np.float64]
    log_p_y_given_z: npt.NDArray[np.float64]
    log_p_y: float

    @property
    def utility(self) -> float:
        """log p(y|x) - log p(y|null,x), in nats per masked token."""
        return self.log_p_y - float(self.log_p_y_given_z[0])


@dataclass(frozen=True)
class HeldOutProbe:
    """Asks a model masked queries that no step has seen.

    Attributes:
        model: Embedder and reader.
        encoder: The model's towers.
        queries: Held-out masked queries, of which there are some.
        corpus: What is retrieved from.
        texts: What the queries are sentences of; may be the same object.
        k: Candidates read, the null chunk included.
        batch_size: Queries per forward pass.
    """

    model: Realm
    encoder: TextEncoder
    queries: Sequence[MaskedQuery]
    corpus: ChunkStore
    texts: ChunkStore
    k: int
    batch_size: int = 32

    def __call__(self, live: LiveIndex | None) -> Mapping[str, float]:
        """Numbers for the log; nothing where there is no index."""
        return {} if live is None else self.report(live.retriever).metrics()

    def report(self, retriever: Retriever) -> ProbeReport:
        """What the model makes of all held-out queries over an index."""
        with evaluating(self.model), torch.inference_mode():
            parts = [
                self._values(self._retrieved(queries, retriever)) for queries in self._batches()
            ]
        values: dict[str, npt.NDArray[np.float64]] = {
            name: np.concatenate([part[name] for part in parts]) for name in parts[0]
        }
        means = {name: float(value.mean()) for name, value in values.items()}
        return ProbeReport(
            recall={n: means.pop(f"recall@{n}") for n in RECALL_AT}, values=values, **means
        )

    def readings(self, retriever: Retriever) -> list[Reading]:
        """What the model makes of each held-out query, candidate by candidate."""
        with evaluating(self.model), torch.inference_mode():
            return [
                reading
                for queries in self._batches()
                for reading in _readings(self._read(self._retrieved(queries, retriever)))
            ]

    def recall_of(self, stale: LiveIndex, fresh: LiveIndex) -> Mapping[str, float]:
        """The part of a fresh index's best chunks that a stale one finds, for present queries."""
        with evaluating(self.model), torch.inference_mode():
            batch = self._embedded(self.queries[:_NUM_COMPARED])
            ours, theirs = (retrieved(batch, live.retriever, self.k - 1) for live in (stale, fresh))
        shared = [
            len(np.intersect1d(one[one != NO_CHUNK], other[other != NO_CHUNK]))
            for one, other in zip(ours, theirs, strict=True)
        ]
        return {"index/recall": sum(shared) / max(int((theirs != NO_CHUNK).sum()), 1)}

    def _batches(self) -> list[Sequence[MaskedQuery]]:
        starts = range(0, len(self.queries), self.batch_size)
        return [self.queries[start : start + self.batch_size] for start in starts]

    def _embedded(self, queries: Sequence[MaskedQuery]) -> QueryBatch:
        origins = origins_of(queries, self.texts, self.corpus)
        return embed_masked_queries(queries, self.encoder, origins=origins)

    def _retrieved(self, queries: Sequence[MaskedQuery], retriever: Retriever) -> _Retrieved:
        batch = self._embedded(queries)
        rows = retrieved(batch, retriever, max(*RECALL_AT, self.k - 1))
        candidates = with_bm25(batch, rows[:, : self.k - 1], retriever)
        masked = masked_batch(queries, candidates, self.corpus, self.encoder.templates)
        return _Retrieved(batch, rows, masked.to(self.encoder.device))

    def _read(self, retrieved: _Retrieved) -> _Read:
        """Reads every candidate once, in one forward pass."""
        batch, model = retrieved.masked, self.model
        query = batch.joint_slots[:, 0]
        positions, real = batch.mask_positions[query], batch.mask_mask[query]
        with self.encoder.precision():
            logits = model.reader.masked_logits(batch.joint, positions, real)
            chunk_emb = model.embedder.embed_chunks(batch.chunks)
        log_p = torch.log_softmax(logits.float(), dim=-1)
        log_p_targets = log_p.gather(-1, batch.targets[query][real][:, None])[:, 0]
        output = model.marginalise(
            batch,
            retrieved.batch.query_emb.float(),
            chunk_emb.float(),
            by_candidate(batch, log_p_targets),
        )
        return _Read(retrieved, log_p, output)

    def _values(self, retrieved: _Retrieved) -> dict[str, npt.NDArray[np.float64]]:
        values = _read_values(self._read(retrieved))
        hit = np.array(
            [
                [
                    row != NO_CHUNK
                    and holds(self.corpus.body_ids(int(row)), q.targets, self.corpus)
                    for row in rows
                ]
                for q, rows in zip(retrieved.batch.queries, retrieved.rows, strict=True)
            ]
        )
        values |= {f"recall@{n}": np.asarray(hit[:, :n].any(axis=1), np.float64) for n in RECALL_AT}
        return values


def probe_of(loaded: LoadedRun, held_out: HeldOut) -> HeldOutProbe:
    """A run's own held-out sentences, to ask it."""
    return HeldOutProbe(
        model=loaded.model,
        encoder=loaded.encoder,
        queries=held_out.queries,
        corpus=loaded.corpus,
        texts=held_out.texts,
        k=loaded.settings.retrieval.k,
    )


@dataclass(frozen=True)
class _Retrieved:
    """Queries with the rows ``(queries, ranks)`` found, and the batch of those that are read."""

    batch: QueryBatch
    rows: npt.NDArray[np.int64]
    masked: MaskedBatch


@dataclass(frozen=True)
class _Read:
    """What reading gives: log p of every token at the real masks of all joint inputs."""

    retrieved: _Retrieved
    log_p: Float[Tensor, "reals vocab"]
    output: MaskedOutput


def _readings(read: _Read) -> list[Reading]:
    batch, output = read.retrieved.masked, read.output
    num = batch.mask_mask.sum(dim=1).double()
    log_p_y = (output.log_p_y.masked_fill(~batch.mask_mask, 0.0).double().sum(dim=1) / num).cpu()
    # 0 at padded masks already.
    log_p_y_given_z = (output.log_p_y_given_z.double().sum(dim=2) / num[:, None]).cpu().numpy()
    log_p_z, filled = output.log_p_z.double().cpu().numpy(), batch.candidate_mask.cpu().numpy()
    num_read = filled.shape[1] - 1
    rows = np.pad(read.retrieved.rows[:, :num_read], ((0, 0), (1, 0)), constant_values=NO_CHUNK)
    return [
        Reading(
            query=query,
            rows=rows[n][filled[n]],
            log_p_z=log_p_z[n][filled[n]],
            log_p_y_given_z=log_p_y_given_z[n][filled[n]],
            log_p_y=float(log_p_y[n]),
        )
        for n, query in enumerate(read.retrieved.batch.queries)
    ]


def _read_values(read: _Read) -> dict[str, npt.NDArray[np.float64]]:
    batch, output = read.retrieved.masked, read.output
    num = batch.mask_mask.sum(dim=1)
    per_mask = {
        "utility": likelihood.retrieval_utility(output.log_p_y, output.log_p_y_given_z),
        "loss": -output.log_p_y,
        "accuracy": _correct(read.log_p, batch, output.log_p_z),
        "accuracy_without": _correct(read.log_p, batch, _null_only(output.log_p_z)),
    }
    means = {
        name: value.masked_fill(~batch.mask_mask, 0.0).sum(dim=1) / num
        for name, value in per_mask.items()
    }
    means["p_null"] = output.log_p_z[:, 0].exp()
    means["entropy"] = likelihood.entropy(output.log_p_z)
    return {name: np.asarray(value.double().cpu()) for name, value in means.items()}


def _null_only(log_p_z: Float[Tensor, "batch k"]) -> Float[Tensor, "batch k"]:
    alone = torch.full_like(log_p_z, torch.finfo(log_p_z.dtype).min)
    alone[:, 0] = 0.0
    return alone


def _correct(
    log_p: Float[Tensor, "reals vocab"], batch: MaskedBatch, log_p_z: Float[Tensor, "batch k"]
) -> Float[Tensor, "batch masks"]:
    """Whether the most probable token under the marginal is the one masked out."""
    query, slot = batch.joint_slots.unbind(dim=1)
    real = batch.mask_mask[query]
    row, mask = real.nonzero(as_tuple=True)
    # Real masks of the batch, numbered row by row, as its boolean table is.
    number = (batch.mask_mask.flatten().cumsum(0) - 1).view_as(batch.mask_mask)
    weighted = (log_p + log_p_z[query, slot][row, None]).exp_()
    marginal = weighted.new_zeros((int(batch.mask_mask.sum()), weighted.shape[1]))
    marginal.index_add_(0, number[query[row], mask], weighted)
    right = torch.zeros_like(batch.targets, dtype=torch.float32)
    right[batch.mask_mask] = (marginal.argmax(dim=-1) == batch.targets[batch.mask_mask]).float()
    return right
