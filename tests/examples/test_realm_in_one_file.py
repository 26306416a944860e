"""Tests of the method in one file: it runs, and what it computes is what it says."""

from __future__ import annotations

import importlib.util
import math
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from openrealm.models import likelihood

EXAMPLES = Path(__file__).parents[2] / "examples"
VOCAB = 30


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"examples.{name}", EXAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclasses look their annotations up there
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def one_file() -> ModuleType:
    return load("realm_in_one_file")


@pytest.fixture(scope="module")
def corpus(one_file: ModuleType) -> list[Any]:
    """Eight chunks of random tokens, of different lengths, a salient span in each sentence."""
    draw = np.random.default_rng(0)
    chunks = []
    for number in range(8):
        sentences = [
            one_file.Sentence(draw.integers(5, VOCAB, size).tolist(), [(1, 2 + size % 2)])
            for size in draw.integers(4, 8, 1 + number % 3).tolist()
        ]
        chunks.append(one_file.Chunk(f"article {number}", [5 + number], sentences))
    return chunks


@pytest.fixture
def realm(one_file: ModuleType, corpus: list[Any]) -> Any:
    torch.manual_seed(0)
    return one_file.Realm(corpus, VOCAB)


def test_the_joint_loss_is_the_sum_over_the_null_chunk_and_the_best_others(
    one_file: ModuleType, corpus: list[Any], realm: Any
) -> None:
    draw = np.random.default_rng(1)
    queries = [one_file.mask_span(corpus[row], row, draw) for row in (0, 3, 5, 5)]
    log_p_z, log_p_y_given_z = realm(queries, realm.retriever.build_index(corpus))
    found = one_file.log_marginal(log_p_z, log_p_y_given_z)

    with torch.no_grad():
        for number, query in enumerate(queries):
            # One chunk at a time: nothing is padded, and no candidate shares a batch.
            query_emb = realm.retriever.embed_queries([query.ids])[0]
            scores = [float(query_emb @ realm.retriever.embed_chunks([z])[0]) for z in corpus]
            others = [row for row in range(len(corpus)) if row != query.row]
            best = sorted(others, key=lambda row: -scores[row])[: one_file.NUM_CHUNKS]
            candidates = [one_file.NULL_CHUNK, *[corpus[row] for row in best]]
            null_score = float(query_emb @ realm.retriever.embed_chunks([one_file.NULL_CHUNK])[0])
            weights = [math.exp(score) for score in (null_score, *[scores[row] for row in best])]
            p_y = [math.exp(float(realm.reader([query], [z])[0])) for z in candidates]
            p = sum(w / sum(weights) * p for w, p in zip(weights, p_y, strict=True))
            assert float(found[number]) == pytest.approx(math.log(p), abs=1e-4)


def test_the_marginal_is_that_of_the_package(one_file: ModuleType) -> None:
    torch.manual_seed(0)
    log_p_z = torch.randn(3, 5).log_softmax(dim=1)
    per_token = -torch.rand(3, 5, 4)
    real = torch.tensor([[True, True, False, False], [True] * 4, [True, False, False, False]])
    of_span = (per_token * real[:, None, :]).sum(dim=2)
    expected = likelihood.marginal_per_span(log_p_z, per_token, real)
    torch.testing.assert_close(one_file.log_marginal(log_p_z, of_span), expected)


@pytest.mark.parametrize("beside", ["a chunk", "the null chunk"])
def test_the_readers_probabilities_of_all_tokens_sum_to_one(
    one_file: ModuleType, corpus: list[Any], realm: Any, beside: str
) -> None:
    chunk = corpus[2] if beside == "a chunk" else one_file.NULL_CHUNK
    queries = [one_file.Query([6, one_file.MASK, 9], [1], [y], row=0) for y in range(VOCAB)]
    p = realm.reader(queries, [chunk] * VOCAB).exp().detach()
    assert float(p.sum()) == pytest.approx(1.0, abs=1e-5)


def test_beside_the_null_chunk_the_reader_is_a_masked_lm_at_the_place_of_the_mask(
    one_file: ModuleType, realm: Any
) -> None:
    query = one_file.Query([6, one_file.MASK, 9], [1], [7], row=0)
    ids = torch.tensor([[one_file.CLS, 6, one_file.MASK, 9, one_file.SEP, one_file.SEP]])
    reader = realm.reader
    with torch.no_grad():
        states = reader.encoder(ids, torch.zeros_like(ids), torch.ones_like(ids, dtype=torch.bool))
        hidden = torch.nn.functional.gelu(reader.dense(states[0, 2]))
        logits = reader.encoder.words.weight @ hidden + reader.bias
        found = reader([query], [one_file.NULL_CHUNK])
    torch.testing.assert_close(found, logits.log_softmax(dim=0)[7:8])


def test_the_gradient_of_the_scores_is_what_the_paper_says_the_retriever_learns(
    one_file: ModuleType, corpus: list[Any], realm: Any
) -> None:
    query = one_file.mask_span(corpus[1], 1, np.random.default_rng(0))
    log_p_z, log_p_y_given_z = realm([query], realm.retriever.build_index(corpus))
    scores = log_p_z.detach().requires_grad_()
    one_file.log_marginal(scores.log_softmax(dim=1), log_p_y_given_z.detach()).sum().backward()
    # Section 3.3: r(z) = [p(y|z,x) / p(y|x) - 1] p(z|x).
    p_z, p_y_given_z = log_p_z.exp(), log_p_y_given_z.exp()
    ratio = p_y_given_z / (p_z * p_y_given_z).sum()
    torch.testing.assert_close(scores.grad, ((ratio - 1) * p_z).detach())


def test_inverse_cloze_takes_the_sentence_out_of_its_chunk_nine_times_in_ten(
    one_file: ModuleType, corpus: list[Any]
) -> None:
    draw = np.random.default_rng(0)
    pairs = [one_file.cloze_pair(corpus[2], draw) for _ in range(400)]
    whole = [sentence.ids for sentence in corpus[2].sentences]
    kept = 0
    for ids, rest in pairs:
        assert ids in whole
        left = [sentence.ids for sentence in rest.sentences]
        kept += left == whole
        assert left in (whole, [other for other in whole if other != ids])
    assert 0.05 < kept / len(pairs) < 0.15
    _, alone = one_file.cloze_pair(corpus[0], draw)  # a chunk of one sentence keeps it
    assert alone == corpus[0]


def test_the_index_is_made_anew_with_the_retriever_as_it_has_become(
    one_file: ModuleType, corpus: list[Any], realm: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[torch.Tensor] = []
    build = one_file.Retriever.build_index

    def noting(*arguments: Any) -> torch.Tensor:
        made.append(build(*arguments))
        return made[-1]

    monkeypatch.setattr(one_file.Retriever, "build_index", noting)
    monkeypatch.setattr(one_file, "REFRESH_EVERY", 2)
    monkeypatch.setattr(one_file, "READER_ALONE", 2)
    one_file.train_jointly(realm, range(len(corpus)), steps=7, seed=0)
    assert len(made) == 4
    assert torch.equal(made[0], made[1])  # the reader learns alone at first
    assert not torch.equal(made[2], made[3])


def test_the_whole_method_in_one_file_ends_with_its_table(
    one_file: ModuleType, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    read = one_file.read_lines
    monkeypatch.setattr(one_file, "read_lines", lambda name: read(name)[:40])
    one_file.main(["--cloze-steps", "2", "--steps", "2"])
    before, after = (line.split() for line in capsys.readouterr().out.splitlines()[-2:])
    assert before[:3] == ["after", "inverse", "cloze"]
    assert after[:3] == ["after", "joint", "training"]
    for row in (before, after):
        figures = [float(figure) for figure in row[3:]]
        assert len(figures) == 7
        assert all(math.isfinite(figure) for figure in figures)
        for recall in (figures[:3], figures[3:6]):  # from @1 to @5 and @20 it can only rise
            assert 0 <= recall[0] <= recall[1] <= recall[2] <= 1
