"""Tests of the probe with models made by hand, whose answers are known."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from tiny import World
from torch import Tensor

from openrealm.data.matching import holds
from openrealm.data.pretraining import MaskedQuery
from openrealm.index.mips import ExactIndex
from openrealm.models.inputs import Inputs
from openrealm.models.likelihood import log_p_y_given_zx
from openrealm.models.realm import Realm
from openrealm.retrieval.batches import masked_batch, query_inputs
from openrealm.retrieval.candidates import Candidates, origins_of, query_texts
from openrealm.retrieval.retriever import NO_CHUNK, Retriever
from openrealm.settings import RetrievalConfig


class Copier(Realm):
    """Predicts, for a mask, the words of the chunk beside it, each with the same probability.

    Its embedder finds a query's chunks in an order given by hand.
    """

    def __init__(self, model: Realm, world: World, order: dict[bytes, Sequence[float]]) -> None:
        super().__init__(model.embedder, model.reader)
        self._vocab = world.tokenizer.vocab_size
        self._order = order
        self.embedder.embed_queries = self._queries  # type: ignore[method-assign]
        self.embedder.embed_chunks = self._chunks  # type: ignore[method-assign]
        self.reader.masked_logits = (  # type: ignore[method-assign]
            lambda inputs, positions, real: self._logits(inputs, positions)[real]
        )
        self.reader.masked_log_p = (  # type: ignore[method-assign]
            lambda inputs, positions, real, targets: log_p_y_given_zx(
                self._logits(inputs, positions)[real], targets[real]
            )
        )

    def _queries(self, inputs: Inputs) -> Tensor:
        rows = [self._order[bytes(r[m].tolist())] for r, m in _rows(inputs)]
        return torch.tensor(rows, dtype=torch.float32)

    def _chunks(self, inputs: Inputs) -> Tensor:
        return torch.zeros(len(inputs), len(next(iter(self._order.values()))))

    def _logits(self, inputs: Inputs, positions: Tensor) -> Tensor:
        logits = torch.full((*positions.shape, self._vocab), -30.0)
        for row in range(len(inputs)):
            body = (inputs.segment_ids[row] == 1) & inputs.attention_mask[row]
            words = inputs.token_ids[row][body][:-1]
            logits[row][:, words if len(words) else [0]] = 0.0
        return logits


def _rows(inputs: Inputs):  # type: ignore[no-untyped-def]
    return zip(inputs.token_ids % 256, inputs.attention_mask, strict=True)


@pytest.fixture()
def queries(world: World) -> list[MaskedQuery]:
    """Two sentences on Bresk: the name of its country, and its year, masked out."""
    found = []
    for words, hidden in (
        ("Bresk is the capital of", "Ostmark"),
        ("It was founded in 1377", "1377"),
    ):
        row = world.row_of(words)
        several = [
            q
            for q in world.queries(num_probe=0).batch(0, 4000)
            if q.row == row and world.tokenizer.decode(q.targets) == hidden.lower()
        ]
        wanted = world.ids(words.replace(hidden, "").strip()).tolist()
        found.append(next(q for q in several if set(wanted) <= set(q.original_ids.tolist())))
    return found


def asked(world: World, queries: list[MaskedQuery], rankings: list[list[int]]):  # type: ignore[no-untyped-def]
    """A copier that retrieves the given rows, in this order, for each query; and its retriever."""
    size = len(world.store)
    order = {}
    for query, ranking in zip(queries, rankings, strict=True):
        scores = [-1.0 - n for n in range(size)]
        for place, row in enumerate(ranking):
            scores[row] = float(size - place)
        inputs = query_inputs([query], world.templates)
        key = bytes((inputs.token_ids[0] % 256)[inputs.attention_mask[0]].tolist())
        order[key] = scores
    retriever = Retriever(world.store, ExactIndex(torch.eye(size)), RetrievalConfig())
    return Copier(world.model(), world, order), retriever


def probe(world: World, queries: list[MaskedQuery], rankings: list[list[int]], *, k: int = 3):  # type: ignore[no-untyped-def]
    """What the probe says of such a copier."""
    model, retriever = asked(world, queries, rankings)
    return world.probe(model, queries, k=k, batch_size=1).report(retriever)


def test_recall_asks_whether_a_chunk_that_is_not_trivial_holds_the_words(
    world: World, queries: list[MaskedQuery]
) -> None:
    other = world.row_of("The country of Ostmark")
    year = world.row_of("In 1377 a king")
    far = [r for r in range(len(world.store)) if "Lune" in world.store.chunk(r).text]
    own = queries[0].row
    assert queries[1].row == own
    report = probe(world, queries, [[own, far[0], other], [year, own]])
    # The own chunk is passed over: the first query finds its country in the second place.
    assert report.values["recall@1"].tolist() == [0.0, 1.0]
    assert report.values["recall@5"].tolist() == [1.0, 1.0]
    assert report.recall == {1: 0.5, 5: 1.0, 20: 1.0}


def test_utility_and_accuracy_are_those_of_a_sum_by_hand(
    world: World, queries: list[MaskedQuery]
) -> None:
    other = world.row_of("The country of Ostmark")
    far = world.row_of("The country of Tarvos")
    report = probe(world, queries, [[other, far], [far, other]])
    # All relevance scores are recomputed as 0: null and both chunks have a third each.
    vocab = world.tokenizer.vocab_size

    def p_of(row: int | None, target: int) -> float:
        words = set(world.store.body_ids(row).tolist()) if row is not None else {0}
        low = math.exp(-30.0)
        total = len(words) + (vocab - len(words)) * low
        return (1.0 if target in words else low) / total

    targets = [int(q.targets[0]) for q in queries]
    by_hand = []
    for target in targets:
        marginal = sum(p_of(row, target) for row in (None, other, far)) / 3
        by_hand.append(math.log(marginal) - math.log(p_of(None, target)))
    assert report.values["utility"].tolist() == pytest.approx(by_hand, rel=1e-4)
    assert report.utility == pytest.approx(np.mean(by_hand), rel=1e-4)
    assert report.values["loss"][0] == pytest.approx(
        -math.log(sum(p_of(row, targets[0]) for row in (None, other, far)) / 3), rel=1e-4
    )
    assert report.p_null == pytest.approx(1 / 3)
    assert report.entropy == pytest.approx(math.log(3), rel=1e-5)
    assert report.accuracy_without == 0.0  # alone it predicts [PAD]


def test_readings_hold_candidate_by_candidate_what_the_probe_sums_up(
    world: World, queries: list[MaskedQuery]
) -> None:
    other = world.row_of("The country of Ostmark")
    far = world.row_of("The country of Tarvos")
    rankings = [[other, far], [far, other]]
    model, retriever = asked(world, queries, rankings)
    readings = world.probe(model, queries, k=3).readings(retriever)
    report = probe(world, queries, rankings)
    assert [r.rows.tolist() for r in readings] == [[NO_CHUNK, *ranking] for ranking in rankings]
    assert [r.utility for r in readings] == pytest.approx(report.values["utility"], rel=1e-6)
    assert [-r.log_p_y for r in readings] == pytest.approx(report.values["loss"], rel=1e-6)
    for reading in readings:
        assert len(reading.query.targets) == 1
        by_hand = sum(np.exp(reading.log_p_z) * np.exp(reading.log_p_y_given_z))
        assert math.exp(reading.log_p_y) == pytest.approx(by_hand, rel=1e-4)


def test_a_candidate_that_a_small_corpus_lacks_is_in_no_reading(
    world: World, queries: list[MaskedQuery]
) -> None:
    model, retriever = asked(world, queries, [[], []])
    readings = world.probe(model, queries, k=len(world.store) + 9).readings(retriever)
    for reading in readings:
        assert (reading.rows[1:] != NO_CHUNK).all()
        assert len(reading.rows) == len(reading.log_p_z) == len(reading.log_p_y_given_z)
        assert np.exp(reading.log_p_z).sum() == pytest.approx(1.0)


def test_a_reader_is_right_where_its_chunk_tells(world: World, queries: list[MaskedQuery]) -> None:
    """With one chunk of one word the copier can say nothing else."""
    country = queries[0]

    class One(Copier):
        def _logits(self, inputs: Inputs, positions: Tensor) -> Tensor:
            logits = torch.full((*positions.shape, self._vocab), -30.0)
            for row in range(len(inputs)):
                real = (inputs.segment_ids[row] == 1) & inputs.attention_mask[row]
                holds_it = bool((inputs.token_ids[row][real] == int(country.targets[0])).any())
                logits[row][:, int(country.targets[0]) if holds_it else 5] = 0.0
            return logits

    other = world.row_of("The country of Ostmark")
    size = len(world.store)
    inputs = query_inputs([country], world.templates)
    key = bytes((inputs.token_ids[0] % 256)[inputs.attention_mask[0]].tolist())
    scores = [0.0] * size
    scores[other] = 9.0
    model = One(world.model(), world, {key: scores})
    # The chunk's relevance is made high: the marginal then follows it and not the null chunk.
    model.embedder.embed_chunks = lambda inputs: torch.nn.functional.pad(  # type: ignore[method-assign]
        torch.ones(len(inputs) - 1, 1), (other, size - other - 1, 1, 0)
    )
    retriever = Retriever(world.store, ExactIndex(torch.eye(size)), RetrievalConfig())
    report = world.probe(model, [country], k=2).report(retriever)
    assert (report.accuracy, report.accuracy_without) == (1.0, 0.0)
    assert report.utility > 5.0 and report.p_null < 0.01


def test_a_chunk_holds_words_only_as_whole_words(world: World) -> None:
    store, tokenizer = world.store, world.tokenizer
    continues = np.flatnonzero(tokenizer.is_continuation)
    river, town = (int(world.ids(word)[0]) for word in ("river", "town"))
    piece = int(continues[0])
    target = np.array([river], dtype=np.int32)
    assert holds(np.array([town, river], dtype=np.int32), target, store)
    assert not holds(np.array([river, piece], dtype=np.int32), target, store)
    assert not holds(np.array([town], dtype=np.int32), target, store)
    inside = np.array([piece], dtype=np.int32)
    assert not holds(np.array([river, piece], dtype=np.int32), inside, store)


def test_the_batch_size_does_not_change_the_report(world: World) -> None:
    model = world.model(lively=True)
    live = world.live(model)
    held_out = world.queries(num_probe=99).probe()
    reports = [
        world.probe(model, held_out, k=4, batch_size=size).report(live.retriever)
        for size in (1, 3, 50)
    ]
    for report in reports[1:]:
        assert report.metrics() == pytest.approx(reports[0].metrics(), rel=1e-4, abs=1e-6)


def test_the_report_agrees_with_the_forward_pass(world: World) -> None:
    model = world.model(lively=True)
    live = world.live(model)
    held_out = world.queries(num_probe=99).probe()
    report = world.probe(model, held_out, k=4).report(live.retriever)
    query_emb = model.embedder.embed_queries(query_inputs(held_out, world.templates))
    found = live.retriever.candidates(
        query_emb,
        3,
        texts=query_texts(held_out, world.tokenizer),
        origins=origins_of(held_out, world.store, world.store),
    )
    batch = masked_batch(held_out, Candidates(found), world.store, world.templates)
    output = model(batch)
    per_query = (-output.log_p_y.masked_fill(~batch.mask_mask, 0.0)).sum(1) / (
        batch.mask_mask.sum(1)
    )
    assert report.loss == pytest.approx(per_query.mean().item(), rel=1e-4)
    assert report.p_null == pytest.approx(output.log_p_z[:, 0].exp().mean().item(), rel=1e-4)
    assert set(report.metrics()) == {
        "probe/recall@1",
        "probe/recall@5",
        "probe/recall@20",
        "probe/utility",
        "probe/accuracy",
        "probe/accuracy_without",
        "probe/p_null",
        "probe/entropy",
        "probe/loss",
        "probe/queries",
    }
    assert report.metrics()["probe/queries"] == len(held_out)
