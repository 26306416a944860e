"""Tests of first weights and of weights on disk."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import World, model_config
from torch import nn
from transformers.models.bert.configuration_bert import BertConfig
from transformers.models.bert.modeling_bert import (
    BertForMaskedLM,
    BertForQuestionAnswering,
    BertModel,
)

from openrealm.errors import CheckpointError, ConfigError
from openrealm.models.pretrained import (
    build_model,
    copy_encoder,
    fingerprint,
    load_weights,
    published_span_reader,
    save_weights,
    start_model,
    tower_span_reader,
)
from openrealm.settings import ModelConfig

VOCAB = 90
BERT = BertConfig(
    vocab_size=VOCAB,
    hidden_size=24,
    num_hidden_layers=2,
    num_attention_heads=3,
    intermediate_size=40,
    max_position_embeddings=50,
    hidden_act="gelu",
    layer_norm_eps=1e-9,
)


def start(source: str | Path, config: ModelConfig | None = None, *, vocab_size: int = VOCAB):  # type: ignore[no-untyped-def]
    return start_model(
        str(source), config or model_config(), vocab_size=vocab_size, pad_id=0, mask_id=4, seed=0
    )


@pytest.fixture()
def masked_lm(tmp_path: Path) -> tuple[Path, BertForMaskedLM]:
    torch.manual_seed(1)
    model = BertForMaskedLM(BERT)
    model.save_pretrained(tmp_path / "mlm")
    return tmp_path / "mlm", model


@pytest.fixture()
def encoder(tmp_path: Path) -> tuple[Path, BertModel]:
    torch.manual_seed(2)
    model = BertModel(BERT)
    model.save_pretrained(tmp_path / "encoder")
    return tmp_path / "encoder", model


def assert_same(left: nn.Module, right: nn.Module, *, but: str = "-") -> None:
    ours, theirs = left.state_dict(), right.state_dict()
    names = [name for name in ours if but not in name]
    assert names and set(names) <= theirs.keys()
    assert [name for name in names if not torch.equal(ours[name], theirs[name])] == []


# First weights ------------------------------------------------------------------------------------


def test_random_weights_depend_on_the_seed_alone_and_disturb_no_one() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = build_model(model_config(), vocab_size=VOCAB, pad_id=0, seed=3)
    assert torch.equal(torch.rand(3), expected)
    second = build_model(model_config(), vocab_size=VOCAB, pad_id=0, seed=3)
    third = build_model(model_config(), vocab_size=VOCAB, pad_id=0, seed=4)
    assert fingerprint(first) == fingerprint(second) != fingerprint(third)


def test_a_scratch_start_has_the_shape_asked_for_and_no_learned_head() -> None:
    started = start("scratch")
    assert started.config == model_config() and not started.has_masked_lm_head


def test_both_towers_and_the_reader_begin_from_the_masked_lm_of_a_directory(
    masked_lm: tuple[Path, BertForMaskedLM],
) -> None:
    path, original = masked_lm
    started = start(path, model_config(shared=False, pooling="mean"))
    model = started.model
    assert started.has_masked_lm_head
    assert_same(model.reader.masked_lm, original)
    assert_same(model.embedder.chunk_tower.bert, original.bert)
    assert_same(model.embedder.query_tower.bert, original.bert)


def test_towers_of_their_own_begin_alike_above_a_bert_too(
    encoder: tuple[Path, BertModel],
) -> None:
    embedder = start(encoder[0], model_config(shared=False)).model.embedder
    assert not embedder.is_shared
    assert_same(embedder.query_tower, embedder.chunk_tower)


def test_an_activation_goes_by_the_name_that_settings_know(tmp_path: Path) -> None:
    for name, ours in (("gelu_pytorch_tanh", "gelu_new"), ("relu", "relu")):
        BertModel(BertConfig(**{**BERT.to_dict(), "hidden_act": name})).save_pretrained(tmp_path)
        assert start(tmp_path).config.bert.activation == ours


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("hidden_act", "silu", "hidden_act = 'silu'; known are gelu_new, gelu_pytorch_tanh, gelu"),
        ("model_type", "roberta", "model_type = 'roberta'; known are bert"),
        ("position_embedding_type", "relative_key", "'relative_key'; known are absolute"),
        ("type_vocab_size", 3, "type_vocab_size = 3; known are 2"),
    ],
)
def test_a_bert_that_computes_something_else_is_refused(
    encoder: tuple[Path, BertModel], name: str, value: object, said: str
) -> None:
    config = json.loads((encoder[0] / "config.json").read_text())
    (encoder[0] / "config.json").write_text(json.dumps(config | {name: value}))
    with pytest.raises(ConfigError, match=said):
        start(encoder[0])


def test_missing_and_misshapen_weights_are_refused(encoder: tuple[Path, BertModel]) -> None:
    path = encoder[0] / "model.safetensors"
    weights = load_file(path)
    bias = weights.pop("encoder.layer.1.output.dense.bias")
    save_file(weights, path)
    with pytest.raises(CheckpointError, match=r"lacks .*'encoder\.layer\.1\.output\.dense\.bias'"):
        start(encoder[0])
    save_file(weights | {"encoder.layer.1.output.dense.bias": bias[:5].clone()}, path)
    with pytest.raises(CheckpointError, match=r"another shape than its config\.json says"):
        start(encoder[0])


@pytest.mark.parametrize(
    "change",
    [
        {"heads": 5},
        {"initialization": "copying", "layers": 1},
    ],
)
def test_a_shape_that_cannot_be_is_named_by_its_section(change: dict[str, object]) -> None:
    shape = replace(model_config().bert, **change)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"model\.reader\."):
        start("scratch", replace(model_config(), own_reader=True, reader=shape))
    with pytest.raises(ConfigError, match=r"model\.bert\."):
        start("scratch", replace(model_config(), bert=shape))


def test_a_reader_of_its_own_does_not_begin_from_the_start(
    masked_lm: tuple[Path, BertForMaskedLM],
) -> None:
    path, original = masked_lm
    own = replace(model_config(), own_reader=True, reader=model_config().bert)
    started = start(path, own)
    assert not started.has_masked_lm_head
    assert started.config.reader == own.reader and started.config.bert.hidden == 24
    assert_same(started.model.embedder.chunk_tower.bert, original.bert, but="pooler")
    assert started.model.reader.masked_lm.config.hidden_size == own.reader.hidden


def test_an_encoder_without_a_head_gives_its_body_and_its_pooler(
    encoder: tuple[Path, BertModel],
) -> None:
    path, original = encoder
    started = start(path)
    assert not started.has_masked_lm_head
    assert_same(started.model.embedder.chunk_tower.bert, original)
    assert_same(started.model.reader.masked_lm.bert, original)


def test_a_start_brings_its_own_shape_and_leaves_the_dropout_to_the_config(
    encoder: tuple[Path, BertModel],
) -> None:
    config = model_config(dropout=0.3)
    shape = start(encoder[0], config).config.bert
    assert (shape.layers, shape.hidden, shape.heads, shape.intermediate) == (2, 24, 3, 40)
    assert (shape.max_positions, shape.activation, shape.layer_norm_eps) == (50, "gelu", 1e-9)
    assert shape.dropout == 0.3


def test_a_start_of_another_vocabulary_is_refused(encoder: tuple[Path, BertModel]) -> None:
    with pytest.raises(ConfigError, match=r"has 90 tokens, the corpus's tokenizer 91"):
        start(encoder[0], vocab_size=91)


def test_a_start_that_is_no_bert_is_refused_with_what_would_be_right(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"cannot be loaded as a BERT .* give scratch"):
        start(tmp_path / "nowhere")
    (tmp_path / "config.json").write_text("{", encoding="utf-8")
    with pytest.raises(CheckpointError, match="cannot be loaded as a BERT"):
        start(tmp_path)


def test_a_file_without_encoder_weights_is_refused(tmp_path: Path) -> None:
    BERT.save_pretrained(tmp_path)
    save_file({"something": torch.zeros(2)}, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(CheckpointError, match="holds no BERT encoder weights"):
        start(tmp_path)


def test_heads_that_do_not_divide_the_hidden_size_are_refused() -> None:
    config = model_config()
    odd = replace(config, bert=replace(config.bert, heads=3))
    with pytest.raises(ConfigError, match=r"heads = 3 does not divide model\.bert\.hidden = 16"):
        build_model(odd, vocab_size=VOCAB, pad_id=0, seed=0)


def test_after_plain_masked_lm_the_towers_take_the_readers_encoder(world: World) -> None:
    model = world.model(shared=False)
    pooler = model.embedder.chunk_tower.bert.pooler.dense.weight.clone()
    copy_encoder(model.reader, model.embedder)
    for tower in (model.embedder.chunk_tower, model.embedder.query_tower):
        assert_same(model.reader.masked_lm.bert, tower.bert)
    # The masked-LM class has no pooler: the tower keeps its own.
    assert torch.equal(model.embedder.chunk_tower.bert.pooler.dense.weight, pooler)


def test_a_reader_of_the_towers_shape_begins_as_the_chunk_tower(
    encoder: tuple[Path, BertModel],
) -> None:
    config = replace(model_config(), own_reader=True)
    model = start(encoder[0], config).model
    reader = tower_span_reader(model.embedder, seed=3)
    assert_same(reader.bert, model.embedder.chunk_tower.bert, but="pooler")
    again = tower_span_reader(model.embedder, seed=3)
    assert fingerprint(reader) == fingerprint(again)
    before = fingerprint(model.embedder)
    with torch.no_grad():
        reader.bert.embeddings.word_embeddings.weight.add_(1.0)
    assert fingerprint(model.embedder) == before  # a copy


def test_a_bert_for_question_answering_brings_its_scores_and_another_has_new_ones(
    tmp_path: Path, encoder: tuple[Path, BertModel]
) -> None:
    torch.manual_seed(2)
    theirs = BertForQuestionAnswering(BERT)
    theirs.save_pretrained(tmp_path / "squad")
    started = published_span_reader(str(tmp_path / "squad"), vocab_size=VOCAB, seed=0)
    assert started.has_scores
    wanted = theirs.state_dict()
    own = started.reader.state_dict()
    assert own.pop("calibration").tolist() == [1.0, 0.0]
    assert all(torch.equal(t, wanted[n]) for n, t in own.items())
    plain = published_span_reader(str(encoder[0]), vocab_size=VOCAB, seed=0)
    assert not plain.has_scores
    again = published_span_reader(str(encoder[0]), vocab_size=VOCAB, seed=0)
    assert fingerprint(plain.reader) == fingerprint(again.reader)
    with pytest.raises(ConfigError, match="90 tokens, the corpus's tokenizer 91"):
        published_span_reader(str(encoder[0]), vocab_size=91, seed=0)
    with pytest.raises(CheckpointError, match="cannot be loaded as a BERT"):
        published_span_reader(str(tmp_path), vocab_size=VOCAB, seed=0)


# On disk ------------------------------------------------------------------------------------------


def test_weights_come_back_bit_for_bit_and_tied_ones_are_stored_once(
    world: World, tmp_path: Path
) -> None:
    model = world.model(seed=1)
    save_weights(model, tmp_path / "w.safetensors")
    other = world.model(seed=2)
    load_weights(other, tmp_path / "w.safetensors")
    assert_same(model, other)
    stored = load_file(tmp_path / "w.safetensors")
    parameters = sum(p.numel() for p in model.parameters())
    assert sum(t.numel() for t in stored.values()) == parameters
    assert sorted(p.name for p in tmp_path.iterdir()) == ["w.safetensors"]


def test_towers_of_their_own_come_back_apart(world: World, tmp_path: Path) -> None:
    model = world.model(seed=1)
    model.embedder.unshare()
    with torch.no_grad():
        model.embedder.query_tower.dense.bias.add_(1.0)
    save_weights(model, tmp_path / "w.safetensors")
    other = world.model(seed=2, shared=False)
    load_weights(other, tmp_path / "w.safetensors")
    assert_same(model, other)


def test_weights_of_two_towers_do_not_fit_a_shared_one(world: World, tmp_path: Path) -> None:
    model = world.model(shared=False)
    save_weights(model, tmp_path / "w.safetensors")
    with pytest.raises(CheckpointError, match="does not fit the model"):
        load_weights(world.model(), tmp_path / "w.safetensors")


def test_weights_of_a_shared_tower_do_not_fit_two(world: World, tmp_path: Path) -> None:
    save_weights(world.model(), tmp_path / "w.safetensors")
    with pytest.raises(CheckpointError, match=r"missing \['embedder\.query_tower"):
        load_weights(world.model(shared=False), tmp_path / "w.safetensors")


def test_weights_of_another_shape_are_refused(world: World, tmp_path: Path) -> None:
    save_weights(world.model(), tmp_path / "w.safetensors")
    other = build_model(model_config(), vocab_size=VOCAB, pad_id=0, seed=0)
    with pytest.raises(CheckpointError, match="of another shape"):
        load_weights(other, tmp_path / "w.safetensors")


def test_damaged_or_missing_weights_are_refused(world: World, tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_weights(world.model(), path)
    save_weights(world.model(), path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_weights(world.model(), path)


def test_a_fingerprint_changes_with_one_bit_of_one_weight(world: World) -> None:
    model = world.model()
    before = fingerprint(model.embedder.chunk_tower)
    assert fingerprint(world.model().embedder.chunk_tower) == before
    with torch.no_grad():
        bias = model.embedder.chunk_tower.dense.bias
        bias[0] = torch.nextafter(bias[0], torch.tensor(1.0))
    assert fingerprint(model.embedder.chunk_tower) != before
