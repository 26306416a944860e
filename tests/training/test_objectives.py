"""Tests of the stages: each step's loss against one computed by hand from the same examples."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from loops import joint_stage, warmup_stage
from tiny import NameTagger, World, log_p_everywhere, make_store, model_config

from openrealm.corpus.records import Document
from openrealm.data.pretraining import MaskedQueries, SpanTable
from openrealm.models.pretrained import build_model
from openrealm.models.realm import Realm, freeze
from openrealm.progress import Silent
from openrealm.retrieval.batches import query_inputs
from openrealm.retrieval.candidates import origins_of, query_texts
from openrealm.retrieval.lexical import BM25, LexicalRetriever
from openrealm.retrieval.live_index import PooledVectors
from openrealm.retrieval.retriever import NO_CHUNK
from openrealm.settings import (
    IctConfig,
    JointConfig,
    MlmConfig,
    RefreshConfig,
    RetrievalConfig,
    WarmupConfig,
)
from openrealm.training import objectives
from openrealm.training.plain import IctStage, MlmStage
from openrealm.training.stage import IndexUse, Stage


@pytest.fixture()
def model(world: World) -> Realm:
    return world.model(lively=True)


def joint_by_hand(world: World, model: Realm, found: np.ndarray, queries, *, span: bool):  # type: ignore[no-untyped-def]
    """Loss, utility, p(null) and entropy of masked queries, candidate by candidate."""
    empty = np.empty(0, dtype=np.int32)
    total, masks = 0.0, 0
    utility, p_null, entropy = [], [], []
    bm25 = BM25.build(world.store)
    for query, rows in zip(queries, found, strict=True):
        x = model.embedder.embed_queries(world.templates.query([query.masked_ids]))[0].double()
        scores, tokens = [], []
        for row in [NO_CHUNK, *(int(r) for r in rows if r != NO_CHUNK)]:
            title = world.store.title_ids(row) if row != NO_CHUNK else empty
            body = world.store.body_ids(row) if row != NO_CHUNK else empty
            z = model.embedder.embed_chunks(world.templates.chunk([title], [body]))[0].double()
            scores.append((x @ z).item())
            if model.lexical is not None and row != NO_CHUNK:
                left = [t for t in query.masked_ids if t != world.tokenizer.mask_id]
                words = bm25.scores(world.tokenizer.decode(left))[row]
                scores[-1] += model.lexical.value * float(words)
            log_p = log_p_everywhere(model, world.templates.joint([query.masked_ids], [body]))
            tokens.append(
                [
                    log_p[p + 1, t].exp().item()
                    for p, t in zip(query.positions, query.targets, strict=True)
                ]
            )
        p_z = np.exp(np.array(scores) - max(scores))
        p_z /= p_z.sum()
        table = np.array(tokens)  # (candidates, masks)
        marginal = p_z @ table
        total -= math.log(p_z @ table.prod(axis=1)) if span else float(np.log(marginal).sum())
        masks += table.shape[1]
        utility += list(np.log(marginal / table[0]))
        p_null.append(p_z[0])
        entropy.append(-(p_z * np.log(p_z)).sum())
    return total / masks, float(np.mean(utility)), float(np.mean(p_null)), float(np.mean(entropy))


@pytest.mark.parametrize("marginal", ["token", "span"])
def test_the_joint_loss_is_the_marginal_over_null_and_retrieved_chunks(
    world: World, model: Realm, marginal: str
) -> None:
    live = world.live(model)
    queries = world.queries(seed=7)
    config = JointConfig(steps=5, batch_size=5, marginal=marginal)
    stage = joint_stage(world.parts(model, seed=7), config, queries, k=4)
    result = stage.step(3, live)

    batch = queries.batch(3, 5)
    found = []
    for query in batch:
        x = model.embedder.embed_queries(world.templates.query([query.masked_ids]))
        ranked = (x @ live.index.chunk_emb.T)[0].argsort(descending=True).tolist()
        found.append([row for row in ranked if row != query.row][:3])
    loss, utility, p_null, entropy = joint_by_hand(
        world, model, np.array(found), batch, span=marginal == "span"
    )
    assert result.loss.item() == pytest.approx(loss, rel=1e-3)
    assert result.metrics["realm/utility"].value == pytest.approx(utility, rel=1e-2, abs=1e-3)
    assert result.metrics["realm/p_null"].value == pytest.approx(p_null, rel=1e-3, abs=1e-6)
    assert result.metrics["realm/entropy"].value == pytest.approx(entropy, rel=1e-2, abs=1e-5)


@pytest.mark.parametrize("unread", [False, True])
def test_words_in_common_choose_candidates_and_weigh_them(world: World, unread: bool) -> None:
    model = world.model(lively=True, lexical_weight=0.5)
    assert model.lexical is not None
    live, queries = world.live(model), world.queries(seed=7)
    config = JointConfig(steps=5, batch_size=5, in_batch_negatives=unread, lr_lexical=0.1)
    stage = joint_stage(world.parts(model, seed=7), config, queries, k=4)
    result = stage.step(3, live)
    assert result.metrics["realm/lexical_weight"].value == pytest.approx(0.5)
    batch, bm25 = queries.batch(3, 5), BM25.build(world.store)
    found, by_vectors = [], []
    for query, text in zip(batch, query_texts(batch, world.tokenizer), strict=True):
        x = model.embedder.embed_queries(world.templates.query([query.masked_ids]))
        inner = (x @ live.index.local.chunk_emb.T)[0].detach().numpy()
        for scores, into in ((inner + 0.5 * bm25.scores(text), found), (inner, by_vectors)):
            ranked = np.argsort(-scores, kind="stable").tolist()
            into.append([row for row in ranked if row != query.row][:3])
    assert found != by_vectors
    if not unread:
        loss, utility, p_null, _ = joint_by_hand(world, model, np.array(found), batch, span=False)
        assert result.loss.item() == pytest.approx(loss, rel=1e-3)
        assert result.metrics["realm/utility"].value == pytest.approx(utility, rel=1e-2, abs=1e-3)
        assert result.metrics["realm/p_null"].value == pytest.approx(p_null, rel=1e-3, abs=1e-6)
    result.loss.backward()
    gradient = model.lexical.log_weight.grad
    assert gradient is not None and float(gradient) != 0.0
    assert (model.lexical, 0.1) in stage.trained()


def test_a_weight_of_words_that_is_not_to_learn_stays(world: World) -> None:
    model = world.model(lexical_weight=0.5)
    stage = joint_stage(world.parts(model), JointConfig(batch_size=4), world.queries(), k=4)
    assert model.lexical not in [part for part, _ in stage.trained()]


def test_candidates_are_embedded_again_so_a_stale_index_gives_no_wrong_gradient(
    world: World,
) -> None:
    model, stale = world.model(lively=True), world.model(seed=5, lively=True)
    stage = joint_stage(world.parts(model), JointConfig(batch_size=4), world.queries(), k=4)
    old = world.live(stale)
    result = stage.step(0, old)
    batch = world.queries().batch(0, 4)
    found = []
    for query in batch:
        x = model.embedder.embed_queries(world.templates.query([query.masked_ids]))
        ranked = (x @ old.index.chunk_emb.T)[0].argsort(descending=True).tolist()
        found.append([row for row in ranked if row != query.row][:3])
    loss, *_ = joint_by_hand(world, model, np.array(found), batch, span=False)
    assert result.loss.item() == pytest.approx(loss, rel=1e-3)
    result.loss.backward()
    gradient = model.embedder.chunk_tower.dense.weight.grad
    assert gradient is not None and float(gradient.abs().sum()) > 0.0


def test_without_the_null_chunk_no_utility_is_reported(world: World, model: Realm) -> None:
    config = JointConfig(batch_size=4, null_chunk=False)
    stage = joint_stage(world.parts(model), config, world.queries(), k=4)
    metrics = stage.step(0, world.live(model)).metrics
    assert "realm/utility" not in metrics and metrics["realm/p_null"].value == 0.0


def test_every_token_that_goes_through_an_encoder_is_counted(world: World, model: Realm) -> None:
    queries = world.queries().batch(0, 3)
    live = world.live(model)
    result = joint_stage(world.parts(model), JointConfig(batch_size=3), world.queries(), k=3).step(
        0, live
    )
    where = origins_of(queries, world.store, world.store)
    query_emb = model.embedder.embed_queries(query_inputs(queries, world.templates))
    spoken = query_texts(queries, world.tokenizer)
    found = live.retriever.candidates(query_emb, 2, texts=spoken, origins=where).tolist()
    tokens = sum(len(q.masked_ids) + 2 for q in queries)
    tokens += 3 + sum(int(world.store.lengths[row]) for row in {r for line in found for r in line})
    for query, line in zip(queries, found, strict=True):
        bodies = [0, *(len(world.store.body_ids(row)) for row in line)]
        tokens += sum(len(query.masked_ids) + body + 3 for body in bodies)
    assert result.num_tokens == tokens and result.num_examples == 3


def spied_candidates(
    monkeypatch: pytest.MonkeyPatch,
) -> list[tuple[list[int], np.ndarray]]:
    """A list that gets each step's own chunks and the candidates that are read."""
    seen = []
    original = objectives.masked_batch

    def spy(queries, found, *rest, **options):  # type: ignore[no-untyped-def]
        seen.append(([q.row for q in queries], found.rows.copy()))
        return original(queries, found, *rest, **options)

    monkeypatch.setattr(objectives, "masked_batch", spy)
    return seen


@pytest.mark.parametrize("own_chunk", [0.0, 1.0])
def test_the_readers_warm_up_may_show_a_query_its_own_chunk(
    world: World, model: Realm, own_chunk: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = spied_candidates(monkeypatch)
    config = WarmupConfig(batch_size=20, k=4, own_chunk=own_chunk)
    warmup_stage(world.parts(model), config, world.queries()).step(0, world.live(model))
    [(rows, found)] = seen
    if own_chunk:
        assert found[:, -1].tolist() == rows  # in the place of the least likely one
    shown = [row in line for row, line in zip(rows, found.tolist(), strict=True)]
    assert shown == [own_chunk == 1.0] * 20
    assert all(len(set(line)) == 3 for line in found.tolist())


def test_an_own_chunk_that_is_found_by_itself_is_a_candidate_once(
    world: World, model: Realm, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = spied_candidates(monkeypatch)
    live = world.live(model, RetrievalConfig(exclude="nothing"))
    for own_chunk in (0.0, 1.0):
        config = WarmupConfig(batch_size=20, k=12, own_chunk=own_chunk)
        warmup_stage(world.parts(model), config, world.queries()).step(0, live)
    [(rows, found), (_, shown)] = seen
    by_itself = [row in line for row, line in zip(rows, found.tolist(), strict=True)]
    assert any(by_itself) and not all(by_itself)
    for row, was_found, line, before in zip(rows, by_itself, shown.tolist(), found, strict=True):
        assert line.count(row) == 1 and len(set(line)) == 11
        assert not was_found or line == before.tolist()


def test_in_the_warm_up_only_the_reader_learns_and_known_vectors_are_as_good(
    world: World, model: Realm
) -> None:
    live = world.live(model)
    freeze(model.embedder, frozen=True)
    # So many candidates that every row of the corpus, row 0 too, is one.
    config = WarmupConfig(batch_size=6, k=40, own_chunk=0.0)
    result = warmup_stage(world.parts(model), config, world.queries()).step(0, live)
    joint = joint_stage(world.parts(model), JointConfig(batch_size=6), world.queries(), k=40)
    assert result.loss.item() == pytest.approx(joint.step(0, live).loss.item(), rel=1e-5)
    result.loss.backward()
    assert all(p.grad is None for p in model.embedder.parameters())
    assert model.reader.masked_lm.bert.embeddings.word_embeddings.weight.grad is not None


def test_a_corpus_smaller_than_k_trains_on_what_there_is(
    world: World, tmp_path_factory: pytest.TempPathFactory
) -> None:
    documents = [
        Document(id=str(n), title="", text=text, source="test")
        for n, text in enumerate(
            [
                "Aldera is the capital of Norland.",
                "The old town of Bresk lies on the river Velle.",
            ]
        )
    ]
    store = make_store(tmp_path_factory.mktemp("small") / "c", documents, world.tokenizer)
    table = SpanTable.build(store, NameTagger(), max_masks=4, progress=Silent())
    small = type(world)(store=store, templates=world.templates, table=table)
    model = small.model(lively=True)
    queries = MaskedQueries(store, table, seed=0, query_tokens=24, num_probe=5)
    stage = joint_stage(small.parts(model), JointConfig(batch_size=3), queries, k=8)
    result = stage.step(0, small.live(model, RetrievalConfig(k=8)))
    loss, *_ = joint_by_hand(
        small,
        model,
        np.array([[1 - q.row] for q in queries.batch(0, 3)]),
        queries.batch(0, 3),
        span=False,
    )
    assert result.loss.item() == pytest.approx(loss, rel=1e-3)


def test_training_texts_that_are_not_the_corpus_have_no_own_chunk_in_it(
    world: World, model: Realm, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The corpus is the texts' exact copy under another object: near duplicates are passed over.
    copy = type(world.store).open(world.store.directory)
    parts = replace(world.parts(model), texts=copy)
    seen = []
    original = objectives.masked_batch

    def spy(queries, found, *rest, **options):  # type: ignore[no-untyped-def]
        seen.append(([q.row for q in queries], found.rows.copy()))
        return original(queries, found, *rest, **options)

    monkeypatch.setattr(objectives, "masked_batch", spy)
    config = WarmupConfig(batch_size=20, k=4, own_chunk=1.0)
    warmup_stage(parts, config, world.queries()).step(0, world.live(model))
    [(rows, found)] = seen
    assert not any(row in line for row, line in zip(rows, found.tolist(), strict=True))


def test_candidates_by_words_in_common_replace_those_of_the_retriever(
    world: World, model: Realm, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    original = objectives.masked_batch

    def spy(queries, found, *rest, **options):  # type: ignore[no-untyped-def]
        seen.append((queries, found.rows.copy()))
        return original(queries, found, *rest, **options)

    monkeypatch.setattr(objectives, "masked_batch", spy)
    bm25 = BM25.build(world.store)
    lexical = LexicalRetriever(world.store, bm25, RetrievalConfig())
    config = WarmupConfig(batch_size=12, k=4, own_chunk=0.0, candidates="lexical")
    stage = warmup_stage(world.parts(model), config, world.queries(), lexical=lexical)
    stage.step(0, world.live(model))
    [(queries, found)] = seen
    assert found.shape == (12, 3)
    for query, rows in zip(queries, found.tolist(), strict=True):
        assert query.row not in rows
        words = world.tokenizer.decode(
            query.masked_ids[query.masked_ids != world.tokenizer.mask_id]
        )
        ranked = bm25.search([words], len(world.store))[1][0].tolist()
        # In the order of the ranking; only trivial rows are missing from it.
        assert [row for row in ranked if row in rows] == rows


def test_candidates_are_not_looked_up_by_the_words_that_are_masked_out(
    world: World, model: Realm, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    class Spy(LexicalRetriever):
        def candidates(self, texts, num_chunks, *, origins):  # type: ignore[no-untyped-def]
            asked.extend(texts)
            return super().candidates(texts, num_chunks, origins=origins)

    lexical = Spy(world.store, BM25.build(world.store), RetrievalConfig())
    parts, live = world.parts(model), world.live(model)
    joint = JointConfig(batch_size=6, lexical=1)
    warmup = WarmupConfig(batch_size=6, k=3, candidates="lexical")
    for stage in (
        joint_stage(parts, joint, world.queries(), k=3, lexical=lexical),
        warmup_stage(parts, warmup, world.queries(), lexical=lexical),
    ):
        asked.clear()
        stage.step(0, live)
        for query, text in zip(world.queries().batch(0, 6), asked, strict=True):
            ids = np.delete(query.original_ids, query.positions)
            assert text == world.tokenizer.decode(ids)


def test_with_the_query_tower_alone_the_loss_is_the_same_and_chunks_stay(world: World) -> None:
    losses, tokens = [], []
    for towers in ("both", "query"):
        model = world.model(lively=True, shared=False)
        live = world.live(model)
        config = JointConfig(batch_size=8, towers=towers)
        stage = joint_stage(world.parts(model), config, world.queries(), k=4)
        moving = IndexUse.MOVING if towers == "both" else IndexUse.FIXED
        assert stage.index_use is moving
        freeze(model, frozen=True)
        for module, _ in stage.trained():
            freeze(module, frozen=False)
        result = stage.step(0, live)
        result.loss.backward()  # type: ignore[no-untyped-call]
        losses.append(result.loss.item())
        tokens.append(result.num_tokens)
        touched = [p.grad is not None for p in model.embedder.chunk_tower.parameters()]
        assert any(touched) is (towers == "both")
        assert any(p.grad is not None for p in model.embedder.query_tower.parameters())
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    # What does not go through the chunk tower is not counted.
    assert tokens[1] < tokens[0]


def test_with_the_projection_alone_the_loss_is_the_same_and_bert_stays(
    world: World, tmp_path: Path
) -> None:
    losses = []
    for towers in ("both", "projection"):
        model = world.model(lively=True)
        pooled = PooledVectors(
            world.store,
            world.encoder(model),
            tmp_path,
            RefreshConfig(),
            progress=Silent(),
        )
        config = JointConfig(batch_size=8, towers=towers, in_batch_negatives=True)
        stage = joint_stage(world.parts(model), config, world.queries(), k=4, pooled=pooled)
        assert stage.index_use is IndexUse.MOVING
        freeze(model, frozen=True)
        for module, _ in stage.trained():
            freeze(module, frozen=False)
        result = stage.step(0, world.live(model))
        result.loss.backward()  # type: ignore[no-untyped-call]
        losses.append(result.loss.item())
        tower = model.embedder.chunk_tower
        assert all(p.grad is not None for part in tower.projections for p in part.parameters())
        moved = any(p.grad is not None for p in tower.bert.parameters())
        assert moved is (towers == "both")
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_what_has_no_learning_rate_is_not_trained(world: World) -> None:
    model = world.model()
    for changes, wanted in (
        ({"lr": 0.0}, [model.embedder]),
        ({"lr_retriever": 0.0}, list(model.reader.mlm_parts)),
    ):
        config = JointConfig(batch_size=4, **changes)
        stage = joint_stage(world.parts(model), config, world.queries(), k=3)
        assert [module for module, _ in stage.trained()] == wanted
        freeze(model, frozen=True)
        for module in wanted:
            freeze(module, frozen=False)
        assert stage.step(0, world.live(model)).loss.requires_grad


def test_chunks_of_the_batch_that_are_not_read_change_the_loss(world: World) -> None:
    losses = []
    for unread in (False, True):
        model = world.model(lively=True)
        config = JointConfig(batch_size=8, in_batch_negatives=unread)
        stage = joint_stage(world.parts(model), config, world.queries(), k=3)
        losses.append(stage.step(0, world.live(model)).loss.item())
    assert losses[0] != losses[1]


def test_a_copy_head_is_trained_with_the_reader(world: World) -> None:
    config = replace(model_config(), copy_head=True)
    model = build_model(config, vocab_size=world.tokenizer.vocab_size, pad_id=0, seed=0)
    parts, live = world.parts(model), world.live(model)
    for stage in (
        warmup_stage(parts, WarmupConfig(batch_size=6, k=3), world.queries()),
        joint_stage(parts, JointConfig(batch_size=6), world.queries(), k=3),
    ):
        assert model.reader.copy_head in [module for module, _ in stage.trained()]
        model.zero_grad()
        stage.step(0, live).loss.backward()  # type: ignore[no-untyped-call]
        assert model.reader.copy_head is not None
        assert all(p.grad is not None for p in model.reader.copy_head.parameters())


def test_joint_training_reads_what_the_index_and_what_words_propose(
    world: World, model: Realm, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    original = objectives.masked_batch

    def spy(queries, found, *rest, **options):  # type: ignore[no-untyped-def]
        seen.append(found.rows.copy())
        return original(queries, found, *rest, **options)

    monkeypatch.setattr(objectives, "masked_batch", spy)
    lexical = LexicalRetriever(world.store, BM25.build(world.store), RetrievalConfig())
    live, parts = world.live(model), world.parts(model)
    mixed = joint_stage(
        parts, JointConfig(batch_size=8, lexical=2), world.queries(), k=5, lexical=lexical
    )
    plain = joint_stage(parts, JointConfig(batch_size=8), world.queries(), k=5)
    words = WarmupConfig(batch_size=8, k=5, own_chunk=0.0, candidates="lexical")
    for stage in (
        mixed,
        plain,
        warmup_stage(parts, words, world.queries(), lexical=lexical),
    ):
        stage.step(0, live)
    both, index, by_words = seen
    assert both[:, :2].tolist() == index[:, :2].tolist()
    assert all(
        set(line) <= set(i) | set(w) for line, i, w in zip(both, index, by_words, strict=True)
    )
    assert all(len(set(line)) == 4 for line in both)


def test_every_stage_fits_the_loop(world: World, model: Realm) -> None:
    parts, queries = world.parts(model), world.queries()
    stages: list[Stage] = [
        MlmStage(parts, MlmConfig()),
        IctStage(parts, IctConfig()),
        warmup_stage(parts, WarmupConfig(), queries),
        joint_stage(parts, JointConfig(), queries, k=4),
    ]
    assert [s.name for s in stages] == ["mlm", "ict", "warmup", "realm"]
    assert all(isinstance(stage, Stage) for stage in stages)
    none, fixed, moving = IndexUse
    assert [s.index_use for s in stages] == [none, none, fixed, moving]
    assert [s.alarm().needs_first_probe for s in stages] == [False, False, False, True]
    rates = dict(zip(["reader", "retriever"], [r for _, r in stages[3].trained()], strict=True))
    assert rates == {"reader": 3e-5, "retriever": 3e-5}


def test_lower_precision_gives_nearly_the_same_losses(world: World) -> None:
    model = world.model()
    live = world.live(model)
    full, low = (
        world.parts(model),
        replace(world.parts(model), encoder=world.encoder(model, autocast=torch.bfloat16)),
    )
    for make in (
        lambda parts: MlmStage(parts, MlmConfig(batch_size=4)),
        lambda parts: IctStage(parts, IctConfig(batch_size=4)),
        lambda parts: warmup_stage(parts, WarmupConfig(batch_size=4), world.queries()),
        lambda parts: joint_stage(parts, JointConfig(batch_size=4), world.queries(), k=4),
    ):
        wanted = make(full).step(0, live).loss.item()
        result = make(low).step(0, live)
        assert result.loss.dtype == torch.float32
        assert result.loss.item() == pytest.approx(wanted, rel=0.02)
