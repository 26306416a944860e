"""The objectives over retrieved chunks: reader warm-up and REALM's joint objective; knows nothing
of the loop around them.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from openrealm.data.pretraining import MaskedQueries, MaskedQuery
from openrealm.index.snapshot import MappedRows
from openrealm.models import likelihood
from openrealm.models.inputs import Inputs
from openrealm.models.realm import MaskedBatch, MaskedOutput, evaluating
from openrealm.retrieval.batches import (
    distinct_rows,
    masked_batch,
    query_inputs,
    query_texts,
    to_device,
)
from openrealm.retrieval.lexical import LexicalRetriever
from openrealm.retrieval.live_index import LiveIndex
from openrealm.retrieval.snapshot_maker import PooledVectors
from openrealm.settings import JointConfig, WarmupConfig
from openrealm.training.candidates import interleave, where_from
from openrealm.training.in_batch_negatives import unread_chunks
from openrealm.training.stage import Ingredients, Mean, StepResult
from openrealm.training.write_back import ChunkVectors


class WarmupStage:
    """The joint loss with the retriever frozen and the query's own chunk sometimes allowed.

    Without it, a reader that cannot use chunks yet sends the retriever noise, and learns to ignore
    what it is given before the retriever can find anything.
    """

    name = "warmup"
    uses_index = True
    moves_retriever = False
    moves_chunks = False

    def __init__(
        self,
        parts: Ingredients,
        config: WarmupConfig,
        queries: MaskedQueries,
        *,
        lexical: LexicalRetriever | None = None,
    ) -> None:
        """Takes what is shared, and what finds candidates where not the live index does."""
        self._parts, self._config, self._queries = parts, config, queries
        self._lexical = lexical
        self.steps, self.batch_size = config.steps, config.batch_size

    def trained(self) -> Sequence[tuple[nn.Module, float]]:
        """The reader alone."""
        return [(part, self._config.lr) for part in self._parts.model.reader.mlm_parts]

    def step(self, step: int, live: LiveIndex | None) -> StepResult:
        """Marginal likelihood over the null chunk, retrieved chunks and, at times, the own one."""
        assert live is not None
        parts = self._parts
        queries = _share(parts, self._queries, step, self._config.batch_size)
        started = time.perf_counter()
        with torch.no_grad(), parts.precision():
            query_emb = _query_vectors(parts, queries)
            spoken = query_texts(queries, parts.texts.tokenizer)
            found = self._candidates(queries, spoken, query_emb, live)
            retrieval_s = time.perf_counter() - started
            found = self._with_own(found, queries, step)
            words = live.retriever.words(spoken, distinct_rows(found))
            batch = masked_batch(queries, found, parts.corpus, parts.templates, words=words)
            chunk_emb = _known_vectors(parts, found, live)
        batch = to_device(batch, parts.device)
        with parts.precision():
            output = parts.model(
                batch, query_emb=query_emb, chunk_emb=chunk_emb, groups=parts.groups
            )
        result = _joint_result(batch, output, marginal="token", prefix="warmup", embedded=False)
        return replace(result, retrieval_s=retrieval_s)

    def _candidates(
        self,
        queries: Sequence[MaskedQuery],
        spoken: Sequence[str],
        query_emb: Tensor,
        live: LiveIndex,
    ) -> npt.NDArray[np.int64]:
        parts, wanted = self._parts, self._config.k - 1
        where = where_from(parts, queries)
        if self._lexical is None:
            return live.retriever.candidates(query_emb.float(), wanted, texts=spoken, origins=where)
        return self._lexical.candidates(spoken, wanted, origins=where)

    def _with_own(
        self, found: npt.NDArray[np.int64], queries: Sequence[MaskedQuery], step: int
    ) -> npt.NDArray[np.int64]:
        """The last candidate replaced by the query's own chunk, with the set probability.

        Where nothing is excluded, the own chunk may have been found: no chunk stands twice.
        """
        if self._parts.texts is not self._parts.corpus:
            return found
        size = self._config.batch_size
        draw = np.random.default_rng((self._parts.seed, 5, step)).random(size)
        own = draw[self._parts.processes.local_slice(size)] < self._config.own_chunk
        rows = np.array([query.row for query in queries])
        own &= ~(found == rows[:, None]).any(axis=1)
        found[own, -1] = rows[own]
        return found


class JointStage:
    """REALM: -log sum_z p(y|z,x) p(z|x) over the null chunk and the top of the index."""

    name = "realm"
    uses_index = True
    moves_retriever = True

    def __init__(
        self,
        parts: Ingredients,
        config: JointConfig,
        queries: MaskedQueries,
        *,
        k: int,
        lexical: LexicalRetriever | None = None,
        pooled: PooledVectors | None = None,
    ) -> None:
        """Takes what is shared and what the settings ask for.

        Args:
            parts: What is shared.
            config: Of this stage.
            queries: Masked queries.
            k: Candidates, the null chunk included.
            lexical: What proposes some of them by their words.
            pooled: What is under the projection, where that alone is trained.
        """
        self._parts, self._config, self._queries, self._k = parts, config, queries, k
        self._lexical, self._pooled = lexical, pooled
        self._kept: MappedRows | None = None
        self.steps, self.batch_size = config.steps, config.batch_size
        self.moves_chunks = config.towers != "query" and config.lr_retriever > 0

    def trained(self) -> Sequence[tuple[nn.Module, float]]:
        """Reader and towers, at rates of their own."""
        model, config = self._parts.model, self._config
        towers = model.embedder.towers
        moving: dict[str, Sequence[nn.Module]] = {
            "both": (model.embedder,),
            "query": (model.embedder.query_tower,),
            "projection": [part for tower in towers for part in tower.projections],
        }
        readers = model.reader.mlm_parts if config.lr else ()
        retrievers = moving[config.towers] if config.lr_retriever else ()
        weights = [model.lexical] if model.lexical is not None and config.lr_lexical else []
        return [
            *((part, config.lr) for part in readers),
            *((part, config.lr_retriever) for part in retrievers),
            *((part, config.lr_lexical) for part in weights),
        ]

    def step(self, step: int, live: LiveIndex | None) -> StepResult:
        """Retrieve, embed the candidates again where their tower moves, read, marginalise."""
        assert live is not None
        parts, config = self._parts, self._config
        queries = _share(parts, self._queries, step, config.batch_size)
        started = time.perf_counter()
        moved = config.towers != "projection"
        with torch.set_grad_enabled(not moved), parts.precision():
            query_emb = _query_vectors(parts, queries)
        num_chunks = self._k - 1
        searched, where = query_emb.detach().float(), where_from(parts, queries)
        spoken = query_texts(queries, parts.texts.tokenizer)
        found = live.retriever.candidates(searched, num_chunks, texts=spoken, origins=where)
        if self._lexical is not None:
            proposed = self._lexical.candidates(spoken, num_chunks, origins=where)
            found = interleave(found, proposed, num_last=config.lexical)
        unread = None
        if config.in_batch_negatives:
            unread = unread_chunks(queries, found, where, parts.corpus, live.retriever.config)
        retrieval_s = time.perf_counter() - started
        batch = masked_batch(
            queries,
            found,
            parts.corpus,
            parts.templates,
            null_chunk=config.null_chunk,
            unread=unread,
            words=live.retriever.words(spoken, distinct_rows(found)),
        )
        batch = to_device(batch, parts.device)
        with parts.precision():
            chunk_emb = self._vectors(found, live)
            # A BERT that moves has dropout and gradients, and is run anew.
            known = None if moved else query_emb
            output = parts.model(batch, query_emb=known, chunk_emb=chunk_emb, groups=parts.groups)
        result = _joint_result(
            batch,
            output,
            marginal=config.marginal,
            prefix="realm",
            embedded=config.towers == "both",
        )
        embedded = self._embedded(found, output)
        metrics = result.metrics
        if (weight := parts.model.lexical) is not None:
            metrics = {**metrics, "realm/lexical_weight": Mean(weight.value)}
        return replace(result, metrics=metrics, retrieval_s=retrieval_s, embedded=embedded)

    def _embedded(self, found: npt.NDArray[np.int64], output: MaskedOutput) -> ChunkVectors | None:
        """What the step has made of its candidates with the tower that it trains."""
        if self._config.towers == "query":
            return None
        # Without the null chunk.
        return ChunkVectors(distinct_rows(found), output.chunk_emb.detach()[1:])

    def _vectors(self, found: npt.NDArray[np.int64], live: LiveIndex) -> Tensor | None:
        """Vectors of the distinct candidates, where the tower need not make them."""
        if self._config.towers == "both":
            return None
        if self._config.towers == "query":
            with torch.no_grad():
                return _known_vectors(self._parts, found, live)
        if self._kept is None:  # no step of this stage moves what they are made by
            assert self._pooled is not None
            self._kept = self._pooled.now()
        parts, tower = self._parts, self._parts.model.embedder.chunk_tower
        with torch.no_grad():
            null = tower.pool(_null_chunk(parts)).float()
        kept = torch.from_numpy(self._kept[distinct_rows(found)]).to(null)
        return tower.project(torch.cat([null, kept]))


def _share(
    parts: Ingredients, queries: MaskedQueries, step: int, batch_size: int
) -> list[MaskedQuery]:
    """This process's queries of a step."""
    batch = queries.batch(step, batch_size)
    return [batch[n] for n in parts.processes.local_slice(len(batch))]


def _known_vectors(parts: Ingredients, found: npt.NDArray[np.int64], live: LiveIndex) -> Tensor:
    """The null chunk's vector, and those of the distinct candidates out of the index."""
    rows = torch.from_numpy(distinct_rows(found))
    null_emb = parts.model.embedder.embed_chunks(_null_chunk(parts)).float()
    return torch.cat([null_emb, live.index.vectors(rows).to(null_emb)])


def _null_chunk(parts: Ingredients) -> Inputs:
    empty = np.empty(0, dtype=np.int32)
    return parts.templates.chunk([empty], [empty]).to(parts.device)


def _query_vectors(parts: Ingredients, queries: Sequence[MaskedQuery]) -> Tensor:
    """Vectors of masked queries by the present query tower, without its dropout."""
    embedder = parts.model.embedder
    with evaluating(embedder):
        return embedder.embed_queries(query_inputs(queries, parts.templates).to(parts.device))


def _joint_result(
    batch: MaskedBatch, output: MaskedOutput, *, marginal: str, prefix: str, embedded: bool
) -> StepResult:
    """Loss and numbers of a step; ``embedded``: its chunks went through their tower."""
    if marginal == "span":
        log_p_span = likelihood.marginal_per_span(
            output.log_p_z, output.log_p_y_given_z, batch.mask_mask
        )
        loss = likelihood.per_span_loss(log_p_span, batch.mask_mask)
    else:
        loss = likelihood.per_token_loss(output.log_p_y, batch.mask_mask)
    with torch.no_grad():
        utility = likelihood.retrieval_utility(output.log_p_y, output.log_p_y_given_z)
        metrics = {
            f"{prefix}/p_null": Mean.of(output.log_p_z[:, 0].exp()),
            f"{prefix}/entropy": Mean.of(likelihood.entropy(output.log_p_z)),
        }
        if batch.unread is not None:
            metrics[f"{prefix}/p_in_batch_negatives"] = Mean.of(output.log_p_z[:, -1].exp())
        # Without the null chunk (an ablation) there is nothing that retrieval could be better than.
        if bool(batch.candidate_mask[:, 0].all()):
            metrics[f"{prefix}/utility"] = Mean.of(utility[batch.mask_mask])
    tokens = batch.query.lengths.sum() + batch.joint.lengths.sum()
    if embedded:
        tokens += batch.chunks.lengths.sum()
    return StepResult(
        loss=loss,
        weight=int(batch.mask_mask.sum()),
        metrics=metrics,
        num_tokens=int(tokens),
        num_examples=len(batch.query),
    )
