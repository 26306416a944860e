"""Tests of published layouts in and out; tensors and vectors are those of the parity references."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import published
import pytest
import torch
from safetensors.torch import load_file

from openrealm.errors import CheckpointError, ConfigError, InputError
from openrealm.index.snapshot import Snapshot, SnapshotKey
from openrealm.index.snapshot_writer import SnapshotWriter
from openrealm.interchange.hugging_face import HfModel, open_model, write_hf_realm
from openrealm.models.inputs import Inputs
from openrealm.models.pretrained import build_model
from openrealm.models.realm import Realm
from openrealm.settings import Settings
from openrealm.settings.config import merge
from openrealm.tokenizer import WordPiece

KINDS = ["embedder", "scorer", "scorer_unshared", "encoder", "reader", "openqa"]


def opened(tmp_path: Path, name: str, **changes: Any) -> HfModel:
    return open_model(published.write(tmp_path / name, name, **changes), name=name)


def loaded(model: HfModel) -> tuple[Realm, Settings]:
    settings = merge(Settings(), model.values)
    realm = build_model(settings.model, vocab_size=80, pad_id=0, seed=1)
    model.load_into(realm)
    return realm.eval(), settings


@pytest.mark.parametrize("form", ["safetensors", "bin"])
@pytest.mark.parametrize("name", KINDS)
def test_every_tensor_is_live_dead_or_known_and_what_is_left_is_counted(
    tmp_path: Path, name: str, form: str
) -> None:
    model = opened(tmp_path, name, form=form)
    assert model.kind == name.removesuffix("_unshared")
    file = published.weights(name)
    uncounted = [n for n in file if n.endswith(("position_ids", "decoder.bias", "block_emb"))]
    if name == "scorer":
        uncounted += [n for n in file if n.startswith("query_embedder.")]
    if name == "encoder":
        uncounted += ["cls.predictions.decoder.weight"]
    counted = sum(v.numel() for n, v in file.items() if n not in uncounted)
    assert model.num_parameters + model.num_dropped == counted


def test_the_dead_head_of_an_embedder_is_counted(tmp_path: Path) -> None:
    head = 80 * 32 + 80 + 32 * 32 + 32 + 2 * 32  # decoder, bias, dense, LayerNorm
    assert opened(tmp_path, "embedder").num_dropped == head


@pytest.mark.parametrize("name", ["embedder", "scorer_unshared"])
def test_imported_towers_compute_the_reference_vectors(tmp_path: Path, name: str) -> None:
    realm, _ = loaded(opened(tmp_path, name))
    arrays = np.load(published.PARITY / f"{name}.io.npz", allow_pickle=False)

    def inputs(prefix: str) -> Inputs:
        ids, segments, mask = (
            torch.from_numpy(arrays[f"in.{prefix}{part}"]).flatten(0, -2)
            for part in ("input_ids", "token_type_ids", "attention_mask")
        )
        return Inputs(token_ids=ids, segment_ids=segments, attention_mask=mask.bool())

    if name == "embedder":
        found, wanted = realm.embedder.embed_queries(inputs("")), arrays["out.projected_score"]
    else:
        assert not realm.embedder.is_shared
        found, wanted = realm.embedder.embed_queries(inputs("")), arrays["out.query_score"]
        chunks = realm.embedder.embed_chunks(inputs("candidate_"))
        wanted_chunks = torch.from_numpy(arrays["out.candidate_score"])
        torch.testing.assert_close(chunks.view(wanted_chunks.shape), wanted_chunks)
    torch.testing.assert_close(found.view(wanted.shape), torch.from_numpy(wanted))


@pytest.mark.parametrize("name", KINDS)
def test_what_was_imported_is_exported_to_identical_tensors(tmp_path: Path, name: str) -> None:
    model = opened(tmp_path, name)
    realm, settings = loaded(model)
    assert model.tokenizer is not None
    block_emb = snapshot(tmp_path) if name == "openqa" else None
    folder = write_hf_realm(
        realm, settings, model.tokenizer, tmp_path / "out", kind=model.kind, block_emb=block_emb
    )
    before, after = published.weights(name), load_file(folder / "model.safetensors")
    live = {n for n in model.names.live if n in before}
    assert set(after) == live | ({"block_emb"} if name == "openqa" else set())
    for tensor, value in after.items():
        assert torch.equal(value, before[tensor]), tensor
    assert WordPiece.load(folder).fingerprint == model.tokenizer.fingerprint
    fields = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    for field, value in published.config(name).items():
        unlike = ("reader_seq_len", "num_block_records", "pad_token_id", "torch_dtype")
        if field in fields and field not in unlike:
            assert fields[field] == value, field
    again = open_model(folder, name="again")
    assert (again.kind, again.num_parameters, again.num_dropped) == (
        model.kind,
        model.num_parameters,
        0,
    )


def snapshot(tmp_path: Path) -> Snapshot:
    """The blocks' vectors in shards of four."""
    vectors = published.block_emb().numpy()
    key = SnapshotKey(embedder="e", corpus="c", tokenizer="t")
    writer = SnapshotWriter(
        tmp_path / "s", generation=1, step=0, chunks=9, dim=16, key=key, shard_rows=4
    )
    for shard, rows in writer.missing_shards():
        writer.write(shard, vectors[rows.start : rows.stop])
    return writer.publish()


def test_unknown_and_missing_tensors_are_listed(tmp_path: Path) -> None:
    tensors = published.weights("reader")
    del tensors["qa_outputs.dense_output.bias"], tensors["realm.encoder.layer.1.output.dense.bias"]
    tensors |= {"surprise": torch.zeros(1), "cls.other.weight": torch.zeros(1)}
    with pytest.raises(CheckpointError) as refused:
        opened(tmp_path, "reader", tensors=tensors)
    for name in ("surprise", "cls.other.weight", "dense_output.bias", "layer.1.output.dense.bias"):
        assert name in str(refused.value)


def test_unknown_and_missing_fields_are_listed(tmp_path: Path) -> None:
    fields = published.config("reader") | {"surprise": 1, "another": 2}
    del fields["hidden_size"], fields["span_hidden_size"]
    with pytest.raises(ConfigError, match="unknown: another, surprise") as refused:
        opened(tmp_path, "reader", fields=fields)
    assert "missing: hidden_size, span_hidden_size" in str(refused.value)


@pytest.mark.parametrize(
    ("field", "value"),
    [("type_vocab_size", 3), ("hidden_act", "silu"), ("model_type", "gpt2"), ("is_decoder", True)],
)
def test_a_field_of_a_value_that_means_another_model_is_refused(
    tmp_path: Path, field: str, value: object
) -> None:
    with pytest.raises(ConfigError, match=field):
        opened(tmp_path, "encoder", fields=published.config("encoder") | {field: value})


def test_an_encoder_whose_head_is_not_tied_is_refused(tmp_path: Path) -> None:
    tensors = published.weights("encoder")
    tensors["cls.predictions.decoder.weight"] = tensors["cls.predictions.decoder.weight"] + 1
    with pytest.raises(CheckpointError, match="not tied"):
        loaded(opened(tmp_path, "encoder", tensors=tensors))


def test_a_tensor_of_another_shape_than_the_config_says_is_refused(tmp_path: Path) -> None:
    tensors = published.weights("embedder") | {"cls.dense.bias": torch.zeros(3)}
    with pytest.raises(CheckpointError, match=r"cls.dense.bias .* shape \(3,\)"):
        loaded(opened(tmp_path, "embedder", tensors=tensors))


def test_the_kind_is_told_by_the_tensors_where_the_config_is_silent(tmp_path: Path) -> None:
    for name in KINDS:
        fields = published.config(name) | {"architectures": None}
        assert opened(tmp_path, name, fields=fields).kind == name.removesuffix("_unshared")


@pytest.mark.parametrize("prefix", ["", "bert."])
@pytest.mark.parametrize("old", [False, True])
def test_a_plain_bert_fills_towers_and_reader(tmp_path: Path, prefix: str, old: bool) -> None:
    tensors = {
        name.replace("realm.", prefix, 1): value
        for name, value in published.weights("encoder").items()
        if prefix or not name.startswith("cls.")
    }
    if old:  # names of its first releases
        tensors = {
            n.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
                "LayerNorm.bias", "LayerNorm.beta"
            ): v
            for n, v in tensors.items()
        }
    fields = published.config("encoder") | {"architectures": ["BertForMaskedLM"]}
    model = opened(tmp_path, "encoder", tensors=tensors, fields=fields | {"model_type": "bert"})
    assert model.kind == "bert"
    assert model.brings("reader.masked_lm.cls.") == bool(prefix)
    realm, _ = loaded(model)
    words = published.weights("encoder")["realm.embeddings.word_embeddings.weight"]
    for bert in (realm.embedder.chunk_tower.bert, realm.reader.masked_lm.bert):
        assert torch.equal(bert.embeddings.word_embeddings.weight, words)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("num_hidden_layers", "two"),
        ("num_hidden_layers", 10**12),
        ("num_hidden_layers", None),
        ("hidden_act", ["gelu"]),
        ("vocab_size", "80"),
        ("hidden_size", -1),
        ("architectures", 7),
        ("architectures", [{"a": 1}]),
        ("model_type", ["realm"]),
    ],
)
def test_a_field_of_another_type_is_an_error_in_a_sentence_or_nothing(
    tmp_path: Path, field: str, value: object
) -> None:
    fields = published.config("embedder") | {field: value}
    if field == "architectures":
        assert opened(tmp_path, "embedder", fields=fields).kind == "embedder"
        return
    with pytest.raises((ConfigError, CheckpointError)):
        opened(tmp_path, "embedder", fields=fields)


def test_a_table_of_vectors_must_be_one(tmp_path: Path) -> None:
    tensors = published.weights("openqa") | {"block_emb": torch.zeros(9)}
    with pytest.raises(CheckpointError, match="no table of vectors"):
        opened(tmp_path, "openqa", tensors=tensors)


def test_another_kind_of_model_is_refused_by_its_tensors(tmp_path: Path) -> None:
    fields = published.config("encoder") | {"architectures": ["T5Model"]}
    with pytest.raises(CheckpointError, match="no BERT and no REALM"):
        opened(tmp_path, "encoder", tensors={"shared.weight": torch.zeros(2)}, fields=fields)


def test_a_model_that_those_classes_cannot_express_is_not_exported(tmp_path: Path) -> None:
    model = opened(tmp_path, "embedder")
    realm, settings = loaded(model)
    assert model.tokenizer is not None
    scaled = replace(settings.model.embedder, score_scale=20.0)
    settings = replace(settings, model=replace(settings.model, embedder=scaled))
    with pytest.raises(ConfigError, match=r"score_scale = 20.0"):
        write_hf_realm(realm, settings, model.tokenizer, tmp_path / "out", kind="embedder")
    weighed = replace(settings.model, embedder=loaded(model)[1].model.embedder, lexical_weight=0.3)
    settings = replace(settings, model=weighed)
    with pytest.raises(ConfigError, match=r"has nothing like model.lexical_weight = 0.3"):
        write_hf_realm(realm, settings, model.tokenizer, tmp_path / "out", kind="scorer")
    assert not (tmp_path / "out").exists()


def test_an_export_does_not_write_over_anything(tmp_path: Path) -> None:
    model = opened(tmp_path, "embedder")
    realm, settings = loaded(model)
    assert model.tokenizer is not None
    with pytest.raises(InputError, match="not empty"):
        write_hf_realm(realm, settings, model.tokenizer, tmp_path / "embedder", kind="embedder")
    with pytest.raises(InputError, match="no kind of model"):
        write_hf_realm(realm, settings, model.tokenizer, tmp_path / "out", kind="decoder")
