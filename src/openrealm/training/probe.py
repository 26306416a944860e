"""Is retrieval being learned? Held-out masked queries answered by recall, utility and accuracy;
knows nothing of training steps.

A falling loss proves nothing: a reader that ignores its chunks lowers it too. The probe asks of
sentences that no step has seen: does retrieval find, among chunks that are not trivial, one that
holds the masked words; and does reading help to predict them?
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from openrealm.corpus.store import ChunkStore
from openrealm.data.matching import holds
from openrealm.data.pretraining import MaskedQuery
from openrealm.models import likelihood
from openrealm.models.inputs import Templates
from openrealm.models.realm import MaskedBatch, Realm, device_of, evaluating
from openrealm.retrieval.batches import (
    distinct_rows,
    masked_batch,
    origins,
    query_inputs,
    query_texts,
    to_device,
)
from openrealm.retrieval.retriever import NO_CHUNK, Retriever

RECALL_AT = (1, 5, 20)


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


def read_probe(
    model: Realm,
    queries: Sequence[MaskedQuery],
    retriever: Retriever,
    *,
    corpus: ChunkStore,
    texts: ChunkStore,
    templates: Templates,
    k: int,
) -> list[Reading]:
    """What the model makes of each held-out query, candidate by candidate, in one forward pass.

    Takes what `run_probe` takes, and reads the same candidates.
    """
    with evaluating(model), torch.inference_mode():
        found = _retrieved(model, queries, retriever, corpus, texts, templates, k)
        return _readings(model, queries, found[:, : k - 1], retriever, corpus, templates)


def run_probe(
    model: Realm,
    queries: Sequence[MaskedQuery],
    retriever: Retriever,
    *,
    corpus: ChunkStore,
    texts: ChunkStore,
    templates: Templates,
    k: int,
    batch_size: int = 32,
) -> ProbeReport:
    """Asks the model the held-out queries.

    Args:
        model: Embedder and reader.
        queries: Held-out masked queries.
        retriever: Over the index to be judged.
        corpus: The chunks of that index.
        texts: Where the queries come from.
        templates: How inputs are joined.
        k: Candidates read, the null chunk included.
        batch_size: Queries per forward pass.
    """
    parts: list[dict[str, npt.NDArray[np.float64]]] = []
    with evaluating(model), torch.inference_mode():
        for start in range(0, len(queries), batch_size):
            batch = queries[start : start + batch_size]
            parts.append(_probe_batch(model, batch, retriever, corpus, texts, templates, k))
    values: dict[str, npt.NDArray[np.float64]] = {
        name: np.concatenate([part[name] for part in parts]) for name in parts[0]
    }
    means = {name: float(value.mean()) for name, value in values.items()}
    return ProbeReport(
        recall={n: means.pop(f"recall@{n}") for n in RECALL_AT}, values=values, **means
    )


def index_recall(
    model: Realm,
    queries: Sequence[MaskedQuery],
    stale: Retriever,
    fresh: Retriever,
    *,
    texts_are_corpus: bool,
    texts: ChunkStore,
    templates: Templates,
    k: int,
) -> float:
    """The part of a fresh index's best chunks that a stale one finds, for present queries.

    Args:
        model: Whose query tower asks.
        queries: Held-out masked queries.
        stale: Over the older index.
        fresh: Over the newer one.
        texts_are_corpus: Whether the queries come from the corpus searched.
        texts: Where the queries come from.
        templates: How inputs are joined.
        k: Candidates, the null chunk included.
    """
    with evaluating(model), torch.inference_mode():
        inputs = query_inputs(queries, templates).to(device_of(model))
        query_emb = model.embedder.embed_queries(inputs).float()
    where = origins(queries, texts, texts_are_corpus=texts_are_corpus)
    spoken = query_texts(queries, texts.tokenizer)
    ours, theirs = (
        retriever.candidates(query_emb, k - 1, texts=spoken, origins=where)
        for retriever in (stale, fresh)
    )
    found = [
        len(np.intersect1d(one[one != NO_CHUNK], other[other != NO_CHUNK]))
        for one, other in zip(ours, theirs, strict=True)
    ]
    return sum(found) / max(int((theirs != NO_CHUNK).sum()), 1)


def _probe_batch(
    model: Realm,
    queries: Sequence[MaskedQuery],
    retriever: Retriever,
    corpus: ChunkStore,
    texts: ChunkStore,
    templates: Templates,
    k: int,
) -> dict[str, npt.NDArray[np.float64]]:
    found = _retrieved(model, queries, retriever, corpus, texts, templates, k)
    hit = np.array(
        [
            [
                row != NO_CHUNK and holds(corpus.body_ids(int(row)), q.targets, corpus)
                for row in rows
            ]
            for q, rows in zip(queries, found, strict=True)
        ]
    )
    batch = _batch(model, queries, found[:, : k - 1], retriever, corpus, templates)
    values = _read_values(model, batch)
    values |= {f"recall@{n}": np.asarray(hit[:, :n].any(axis=1), np.float64) for n in RECALL_AT}
    return values


def _retrieved(
    model: Realm,
    queries: Sequence[MaskedQuery],
    retriever: Retriever,
    corpus: ChunkStore,
    texts: ChunkStore,
    templates: Templates,
    k: int,
) -> npt.NDArray[np.int64]:
    """Rows ``(queries, ranks)`` of at least the k - 1 best chunks that are not trivial."""
    inputs = query_inputs(queries, templates).to(device_of(model))
    query_emb = model.embedder.embed_queries(inputs)
    where = origins(queries, texts, texts_are_corpus=texts is corpus)
    spoken = query_texts(queries, texts.tokenizer)
    num_chunks = max(max(RECALL_AT), k - 1)
    return retriever.candidates(query_emb, num_chunks, texts=spoken, origins=where)


def _batch(
    model: Realm,
    queries: Sequence[MaskedQuery],
    found: npt.NDArray[np.int64],
    retriever: Retriever,
    corpus: ChunkStore,
    templates: Templates,
) -> MaskedBatch:
    spoken = query_texts(queries, corpus.tokenizer)
    words = retriever.words(spoken, distinct_rows(found))
    batch = masked_batch(queries, found, corpus, templates, words=words)
    return to_device(batch, device_of(model))


def _readings(
    model: Realm,
    queries: Sequence[MaskedQuery],
    found: npt.NDArray[np.int64],
    retriever: Retriever,
    corpus: ChunkStore,
    templates: Templates,
) -> list[Reading]:
    batch = _batch(model, queries, found, retriever, corpus, templates)
    output = model(batch, groups=2)
    num = batch.mask_mask.sum(dim=1).double()
    log_p_y = (output.log_p_y.masked_fill(~batch.mask_mask, 0.0).double().sum(dim=1) / num).cpu()
    # 0 at padded masks already.
    log_p_y_given_z = (output.log_p_y_given_z.double().sum(dim=2) / num[:, None]).cpu().numpy()
    log_p_z, filled = output.log_p_z.double().cpu().numpy(), batch.candidate_mask.cpu().numpy()
    rows = np.pad(found, ((0, 0), (1, 0)), constant_values=NO_CHUNK)
    return [
        Reading(
            query=query,
            rows=rows[n][filled[n]],
            log_p_z=log_p_z[n][filled[n]],
            log_p_y_given_z=log_p_y_given_z[n][filled[n]],
            log_p_y=float(log_p_y[n]),
        )
        for n, query in enumerate(queries)
    ]


def _read_values(model: Realm, batch: MaskedBatch) -> dict[str, npt.NDArray[np.float64]]:
    output = model(batch, groups=2)
    logits, real = _logits(model, batch), batch.mask_mask
    num = real.sum(dim=1)
    per_query = {
        "utility": likelihood.retrieval_utility(output.log_p_y, output.log_p_y_given_z),
        "loss": -output.log_p_y,
        "accuracy": _correct(logits, batch, output.log_p_z),
        "accuracy_without": _correct(logits, batch, _null_only(output.log_p_z)),
    }
    means = {n: v.masked_fill(~real, 0.0).sum(dim=1) / num for n, v in per_query.items()}
    means["p_null"] = output.log_p_z[:, 0].exp()
    means["entropy"] = likelihood.entropy(output.log_p_z)
    return {name: np.asarray(value.double().cpu()) for name, value in means.items()}


def _null_only(log_p_z: torch.Tensor) -> torch.Tensor:
    alone = torch.full_like(log_p_z, torch.finfo(log_p_z.dtype).min)
    alone[:, 0] = 0.0
    return alone


def _logits(model: Realm, batch: MaskedBatch) -> torch.Tensor:
    """The reader's ``(real masks of all joint inputs, vocab)``."""
    query, _ = batch.joint_slots.unbind(dim=1)
    positions, real = batch.mask_positions[query], batch.mask_mask[query]
    return model.reader.masked_logits(batch.joint, positions, real, groups=2).float()


def _correct(logits: torch.Tensor, batch: MaskedBatch, log_p_z: torch.Tensor) -> torch.Tensor:
    """Whether the most probable token under the marginal is the one masked out."""
    query, slot = batch.joint_slots.unbind(dim=1)
    real = batch.mask_mask[query]
    row, mask = real.nonzero(as_tuple=True)
    # Real masks of the batch, numbered row by row, as its boolean table is.
    number = (batch.mask_mask.flatten().cumsum(0) - 1).view_as(batch.mask_mask)
    weighted = (torch.log_softmax(logits, dim=-1) + log_p_z[query, slot][row, None]).exp_()
    marginal = weighted.new_zeros((int(batch.mask_mask.sum()), weighted.shape[1]))
    marginal.index_add_(0, number[query[row], mask], weighted)
    right = torch.zeros_like(batch.targets, dtype=torch.float32)
    right[batch.mask_mask] = (marginal.argmax(dim=-1) == batch.targets[batch.mask_mask]).float()
    return right
