"""The starter's parts against oracles written out by hand."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[2] / "starter"))

from learning import Learner, Stage, batch_rows, run
from readings import (
    NO_SPANS,
    Reading,
    cropped,
    load_readings,
    save_readings,
    token_spans,
)
from span_reader import batch_of, load_reader, save_reader
from transformers import BertForQuestionAnswering

from openrealm.models.bert import BertConfig
from openrealm.models.span_reader import SpanReader, best_spans, log_p_of_spans
from openrealm.tokenizer import WordPiece

TOKENIZER = WordPiece.train(["a b c d e f g h i j"], vocab_size=40)
CONFIG = BertConfig(
    vocab_size=TOKENIZER.vocab_size,
    hidden_size=16,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=24,
    max_position_embeddings=64,
    initializer_range=0.3,
)


def reader(*, dropout: float = 0.1) -> SpanReader:
    torch.manual_seed(0)
    config = {**vars(CONFIG), "hidden_dropout_prob": dropout, "attention_probs_dropout_prob": 0.0}
    return SpanReader(BertConfig(**config))


def readings(count: int = 40) -> list[Reading]:
    draw = np.random.default_rng(0)

    def ids(size: int) -> np.ndarray:
        return draw.integers(5, TOKENIZER.vocab_size, size).astype(np.int32)

    return [
        Reading(ids(3), ids(8 + number % 9), np.array([[2, 3], [5, 5]][: number % 3], np.int32))
        if number % 3
        else Reading(ids(4), ids(7), NO_SPANS)
        for number in range(count)
    ]


def test_scores_are_hugging_faces_and_impossible_outside_the_body(tmp_path: Path) -> None:
    ours = reader(dropout=0.0).eval()
    with torch.no_grad():  # in half precision already, so that saving loses nothing
        for parameter in ours.parameters():
            parameter.copy_(parameter.half().float())
    save_reader(ours, tmp_path)
    theirs = BertForQuestionAnswering.from_pretrained(tmp_path).float().eval()
    joint = batch_of(readings(5), TOKENIZER, max_tokens=30).joint
    with torch.inference_mode():
        found, again = ours(joint), load_reader(tmp_path).eval()(joint)
        wanted = theirs(
            input_ids=joint.token_ids,
            token_type_ids=joint.segment_ids,
            attention_mask=joint.attention_mask,
        )
    assert torch.equal(found, again)
    possible = ours.log_p(joint)[:, :, 0].isfinite()
    torch.testing.assert_close(
        found[possible], torch.stack([wanted.start_logits, wanted.end_logits], -1)[possible]
    )
    first = 1 + 4 + 1  # [CLS], the first question, [SEP]
    assert possible[0].nonzero().flatten().tolist() == [0, *range(first, first + 7)]


def test_log_p_of_spans_is_the_sum_written_out() -> None:
    batch = batch_of(readings(6), TOKENIZER, max_tokens=30)
    scores = reader().eval().log_p(batch.joint).detach()
    found = log_p_of_spans(scores, batch.spans, batch.span_mask)
    for row, one in enumerate(readings(6)):
        p_start, p_end = scores[row, :, 0].softmax(0), scores[row, :, 1].softmax(0)
        first = len(one.question) + 2
        right = [(first + a, first + b) for a, b in one.spans.tolist()] or [(0, 0)]
        total = sum(p_start[a] * p_end[b] for a, b in right)
        assert found[row].item() == pytest.approx(math.log(total), abs=1e-4)


def test_the_best_span_is_that_of_a_search_of_all() -> None:
    joint = batch_of(readings(6), TOKENIZER, max_tokens=30).joint
    scores = reader().eval().log_p(joint).detach()
    best = best_spans(scores, top=1, max_width=3)
    for row in range(6):
        seq = scores.shape[1]
        spans = [(a, b) for a in range(1, seq) for b in range(a, min(seq, a + 3))]
        wanted = max(spans, key=lambda s: float(scores[row, s[0], 0] + scores[row, s[1], 1]))
        assert tuple(best.spans[row, 0].tolist()) == wanted


def test_a_window_holds_an_answer_and_its_spans_are_the_same_tokens() -> None:
    one = Reading(np.arange(3), np.arange(50, dtype=np.int32), np.array([[4, 6], [40, 41]]))
    draw = np.random.default_rng(0)
    for _ in range(50):
        window = cropped(one, 12, draw)
        assert len(window.body) == 12 and len(window.spans)
        tokens = {tuple(window.body[[a, b]].tolist()) for a, b in window.spans}
        assert tokens <= {(4, 6), (40, 41)}


def test_every_pass_has_every_reading_once() -> None:
    lengths = list(np.random.default_rng(1).integers(5, 90, 64))
    seen = np.concatenate([batch_rows(lengths, step, batch=2, seed=3) for step in range(32)])
    assert sorted(seen.tolist()) == list(range(64))


def test_token_spans_cover_the_characters() -> None:
    tokens = TOKENIZER.encode("a bc, d")
    spans = token_spans([(2, 2), (6, 1)], tokens.offsets)
    text = "a bc, d"
    assert [text[tokens.offsets[a][0] : tokens.offsets[b][1]] for a, b in spans] == ["bc", "d"]


def test_readings_come_back_from_the_disk(tmp_path: Path) -> None:
    save_readings(readings(), tmp_path / "some.npz")
    for one, other in zip(readings(), load_readings(tmp_path / "some.npz"), strict=True):
        for name in ("question", "body", "spans"):
            assert np.array_equal(getattr(one, name), getattr(other, name))


def test_a_stage_that_was_killed_ends_as_if_it_had_not_been(tmp_path: Path) -> None:
    stage = Stage(steps=8, batch=2, crop=9, train_embeddings=True)
    whole = Learner(reader(), stage)
    run(whole, readings(), TOKENIZER, checkpoint=tmp_path / "whole", report=lambda _: None)

    class Killed(Exception):
        pass

    def kill(learner: Learner) -> None:
        learner.save(tmp_path / "part")
        raise Killed

    with pytest.raises(Killed):
        run(
            Learner(reader(), stage),
            readings(),
            TOKENIZER,
            checkpoint=tmp_path / "part",
            report=kill,
            report_steps=5,
        )
    resumed = Learner(reader(), stage)
    run(resumed, readings(), TOKENIZER, checkpoint=tmp_path / "part", report=lambda _: None)
    for name, tensor in whole.reader.state_dict().items():
        assert torch.equal(tensor, resumed.reader.state_dict()[name]), name
    for name, tensor in whole.mean.items():
        assert torch.equal(tensor, resumed.mean[name]), name
