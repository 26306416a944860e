"""First weights that match and copy."""

from __future__ import annotations

import torch

from openrealm.models.initialization import sinusoids
from openrealm.models.inputs import Templates
from openrealm.models.pretrained import BertShape, ModelConfig, build_model
from openrealm.models.realm import Realm

SHAPE = BertShape(
    layers=2,
    hidden=32,
    heads=4,
    intermediate=64,
    max_positions=64,
    dropout=0.0,
    initialization="matching",
)


def matching_model(seed: int = 0) -> Realm:
    return build_model(ModelConfig(bert=SHAPE), vocab_size=100, pad_id=0, seed=seed)


def test_every_head_has_equal_queries_and_keys_of_its_own() -> None:
    layer = matching_model().reader.masked_lm.bert.encoder.layer[0].attention.self
    assert torch.equal(layer.query.weight, layer.key.weight)
    heads = layer.query.weight.view(4, 8, 32)
    assert not torch.equal(heads[0], heads[1])


def test_values_and_output_together_pass_a_vector_on_unchanged() -> None:
    attention = matching_model().reader.masked_lm.bert.encoder.layer[1].attention
    through = attention.output.dense.weight @ attention.self.value.weight
    torch.testing.assert_close(through, torch.eye(32), atol=1e-5, rtol=0)


def test_positions_of_equal_distance_are_equally_alike_everywhere() -> None:
    waves = sinusoids(40, 16)
    alike = waves @ waves.T
    torch.testing.assert_close(alike[3, 5], alike[30, 32])
    assert alike[10, 11] > alike[10, 14] > alike[10, 20]


def test_the_first_weights_are_a_function_of_the_seed() -> None:
    one, same, other = matching_model(1), matching_model(1), matching_model(2)
    names = dict(one.named_parameters())
    assert all(torch.equal(p, names[n]) for n, p in same.named_parameters())
    assert not all(torch.equal(p, names[n]) for n, p in other.named_parameters())


def test_before_any_training_a_token_attends_to_its_like() -> None:
    model = matching_model().reader.masked_lm.bert
    templates = Templates(cls_id=2, sep_id=3, pad_id=0, query_tokens=16, chunk_tokens=32)
    query, body = torch.tensor([7, 8, 9]).numpy(), torch.tensor([20, 21, 8, 23, 24]).numpy()
    inputs = templates.joint([query.astype("int32")], [body.astype("int32")])
    states = model.embeddings(input_ids=inputs.token_ids, token_type_ids=inputs.segment_ids)
    attention = model.encoder.layer[0].attention.self
    q = attention.query(states).view(1, -1, 4, 8)
    k = attention.key(states).view(1, -1, 4, 8)
    scores = torch.einsum("bqhd,bkhd->bqk", q, k)[0]
    at = inputs.token_ids[0].tolist()
    first, second = [place for place, token in enumerate(at) if token == 8]
    elsewhere = [p for p in range(5, len(at) - 1) if p != second]
    assert scores[first, second] > scores[first, elsewhere].max()
