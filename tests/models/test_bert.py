"""Tests of our BERT against Hugging Face's, which shares no code with it."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from transformers import BertConfig as TheirConfig
from transformers import BertForMaskedLM as TheirMaskedLM
from transformers import BertModel as TheirModel

from openrealm.errors import InputError
from openrealm.models import bert
from openrealm.models.bert import ACTIVATIONS, BertConfig, BertForMaskedLM, BertModel
from openrealm.models.inputs import Inputs
from openrealm.models.pretrained import save_weights

CONFIG = BertConfig(
    vocab_size=50,
    hidden_size=24,
    num_hidden_layers=2,
    num_attention_heads=3,
    intermediate_size=40,
    max_position_embeddings=20,
    hidden_act="gelu_new",
    hidden_dropout_prob=0.0,
    attention_probs_dropout_prob=0.0,
    initializer_range=0.3,
)


def inputs_of(lengths: list[int], *, seed: int = 0, width: int | None = None) -> Inputs:
    """Rows of random tokens; padding has tokens and segments too, which must not count."""
    draw = torch.Generator().manual_seed(seed)
    shape = (len(lengths), width or max(lengths))
    return Inputs(
        token_ids=torch.randint(1, CONFIG.vocab_size, shape, generator=draw),
        segment_ids=torch.randint(0, 2, shape, generator=draw),
        attention_mask=torch.arange(shape[1]) < torch.tensor(lengths)[:, None],
    )


def pair(config: BertConfig) -> tuple[BertForMaskedLM, TheirMaskedLM]:
    """One masked LM twice, ours with the weights of theirs; no weight is 0 or 1."""
    torch.manual_seed(0)
    theirs = TheirMaskedLM(TheirConfig(**asdict(config))).train()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    ours = BertForMaskedLM(config).train()
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


def flat(padded: Tensor, inputs: Inputs) -> Tensor:
    """What stands at real tokens, in the order of packed rows."""
    order = torch.argsort(inputs.lengths, stable=True)
    return padded[order][inputs.attention_mask[order]]


def theirs_of(model: nn.Module, inputs: Inputs, mask: Tensor | None = None) -> Tensor:
    output = model(
        input_ids=inputs.token_ids,
        token_type_ids=inputs.segment_ids,
        attention_mask=inputs.attention_mask if mask is None else mask,
    )
    return output[0]


def close(found: Tensor, wanted: Tensor) -> None:
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_logits_and_gradients_are_hugging_faces(activation: str) -> None:
    # In double precision rounding hides nothing: the gradient of a key's bias is 0 but for it.
    ours, theirs = (model.double() for model in pair(replace(CONFIG, hidden_act=activation)))
    inputs = inputs_of([3, 9, 1, 9, 20, 4])
    wanted, found = flat(theirs_of(theirs, inputs), inputs), ours(inputs.packed())
    weight = torch.randn(wanted.shape, generator=torch.Generator().manual_seed(1))
    for logits in (found, wanted):
        (logits.log_softmax(dim=-1) * weight).sum().backward()
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-9)
    gradients = dict(theirs.named_parameters())
    for name, parameter in ours.named_parameters():
        wanted = gradients[name].grad
        assert parameter.grad is not None and wanted is not None
        torch.testing.assert_close(parameter.grad, wanted, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_single_precision_agrees_to_five_places(activation: str) -> None:
    ours, theirs = pair(replace(CONFIG, hidden_act=activation))
    inputs = inputs_of([3, 9, 1, 9, 20, 4])
    close(ours(inputs.packed()), flat(theirs_of(theirs, inputs), inputs))


@settings(max_examples=20)
@given(st.lists(st.integers(1, 20), min_size=1, max_size=8), st.integers(0, 3))
def test_no_batch_of_rows_makes_a_difference(lengths: list[int], padding: int) -> None:
    ours, theirs = pair(CONFIG)
    inputs = inputs_of(lengths, width=min(20, max(lengths) + padding))
    with torch.no_grad():
        close(ours(inputs.packed()), flat(theirs_of(theirs, inputs), inputs))


def test_the_pooled_state_of_the_first_token_is_hugging_faces() -> None:
    torch.manual_seed(0)
    theirs = TheirModel(TheirConfig(**asdict(CONFIG)))
    ours = BertModel(CONFIG)
    ours.load_state_dict(theirs.state_dict())
    inputs = inputs_of([5, 2, 7])
    wanted = theirs(
        input_ids=inputs.token_ids,
        token_type_ids=inputs.segment_ids,
        attention_mask=inputs.attention_mask,
    ).pooler_output
    packed = inputs.packed()
    assert ours.pooler is not None
    close(ours.pooler(ours(packed, packed.starts)), wanted)


def test_states_of_chosen_tokens_are_those_of_all() -> None:
    ours, _ = pair(CONFIG)
    packed = inputs_of([5, 2, 7, 5]).packed()
    at = torch.tensor([18, 0, 7, 7])
    everywhere = ours.bert(packed)
    close(ours.bert(packed, at), everywhere[at])
    close(ours(packed, at), ours(packed)[at])


def test_tokens_left_out_are_as_masked_ones_whose_positions_stay() -> None:
    ours, theirs = pair(CONFIG)
    inputs = inputs_of([9, 4, 9])
    kept = torch.rand(inputs.attention_mask.shape, generator=torch.Generator().manual_seed(3)) < 0.6
    kept[:, 0] = True
    mask = kept & inputs.attention_mask
    packed = inputs.packed(only=kept)
    states = theirs_of(theirs.bert, inputs, mask)
    for row in range(3):
        start, length = int(packed.starts[row]), int(packed.lengths[row])
        assert length == mask[row].sum()
        close(ours.bert(packed)[start : start + length], states[row, mask[row]])


def test_a_row_of_no_token_takes_no_room() -> None:
    ours, _ = pair(CONFIG)
    inputs = inputs_of([3, 5])
    only = torch.tensor([[False], [True]]).expand(2, 5)
    packed = inputs.packed(only=only)
    assert packed.lengths.tolist() == [0, 5]
    close(ours(packed), ours(inputs.rows(torch.tensor([1])).packed()))


def test_the_last_position_can_be_used_and_the_next_is_refused() -> None:
    ours, _ = pair(CONFIG)
    assert ours(inputs_of([20]).packed()).isfinite().all()
    with pytest.raises(InputError, match="input of 21 tokens is longer than this BERT's 20"):
        ours(inputs_of([3, 21]).packed())


def test_first_weights_are_those_that_hugging_faces_classes_draw() -> None:
    for mine, other in ((BertModel, TheirModel), (BertForMaskedLM, TheirMaskedLM)):
        torch.manual_seed(7)
        wanted = other(TheirConfig(**asdict(CONFIG))).state_dict()
        drawn = torch.rand(1)
        torch.manual_seed(7)
        found = mine(CONFIG).state_dict()
        assert torch.equal(torch.rand(1), drawn)
        assert list(found) == list(wanted)
        assert [name for name in wanted if not torch.equal(found[name], wanted[name])] == []


def test_they_read_what_we_write(tmp_path: Path) -> None:
    ours, _ = pair(CONFIG)
    TheirConfig(**asdict(CONFIG)).save_pretrained(tmp_path)
    save_weights(ours, tmp_path / "model.safetensors")
    again = TheirMaskedLM.from_pretrained(tmp_path)
    inputs = inputs_of([3, 9])
    close(ours(inputs.packed()), flat(theirs_of(again, inputs), inputs))


def test_output_embeddings_are_the_input_embeddings_and_learn_as_one() -> None:
    ours, _ = pair(CONFIG)
    words = ours.bert.embeddings.word_embeddings.weight
    assert ours.cls.predictions.decoder.weight is words
    assert ours.cls.predictions.decoder.bias is ours.cls.predictions.bias
    assert len(list(ours.parameters())) == len(ours.state_dict()) - 2


def test_dropout_is_theirs_draw_by_draw_where_rows_are_of_one_length() -> None:
    dropout = {"hidden_dropout_prob": 0.2, "attention_probs_dropout_prob": 0.3}
    ours, theirs = pair(replace(CONFIG, **dropout))
    inputs = inputs_of([6, 6, 6])
    torch.manual_seed(1)
    wanted = flat(theirs_of(theirs, inputs), inputs)
    torch.manual_seed(1)
    found = ours(inputs.packed())
    close(found, wanted)
    assert not torch.equal(ours(inputs.packed()), found)
    evaluated = ours.eval()(inputs.packed())
    assert torch.equal(ours(inputs.packed()), evaluated)
    close(evaluated, flat(theirs_of(theirs.eval(), inputs), inputs))


@pytest.mark.parametrize("part", ["hidden_dropout_prob", "attention_probs_dropout_prob"])
def test_dropout_leaves_the_mean_where_rows_are_of_several_lengths(part: str) -> None:
    plain, _ = pair(CONFIG)
    dropping = BertForMaskedLM(replace(CONFIG, **{part: 0.25})).train()
    dropping.load_state_dict(plain.state_dict())
    packed = inputs_of([3] * 4000 + [5] * 4000).packed()
    states = plain.bert.embeddings(packed)
    if part == "hidden_dropout_prob":
        found, wanted = dropping.bert.embeddings(packed), states
        assert (found == 0).double().mean() == pytest.approx(0.25, abs=0.01)
    else:
        attend = [model.bert.encoder.layer[0].attention.self for model in (dropping, plain)]
        found, wanted = (one(states, packed) for one in attend)
    difference = (found - wanted).double()
    assert (difference.std(dim=0) > 0).all()
    error = difference.std(dim=0) / len(difference) ** 0.5
    # Of 8,000 rows; the tokens of one are not independent of each other.
    assert (difference.mean(dim=0).abs() < 8 * error).all()


def test_a_large_batch_in_pieces_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, _ = pair(CONFIG)
    packed = inputs_of([5, 2, 7, 5, 5, 20, 1, 7]).packed()
    at = torch.tensor([40, 0, 7, 7, 51])
    whole, chosen = ours.bert(packed), ours.bert(packed, at)
    for tokens in (1, 6, 11, 30):
        monkeypatch.setattr(bert, "PIECE_BYTES", 4 * CONFIG.intermediate_size * tokens)
        close(ours.bert(packed), whole)
        close(ours.bert(packed, at), chosen)
        close(ours.bert(packed, at[:1]), chosen[:1])


def test_attention_with_padding_as_on_a_gpu_is_the_same() -> None:
    ours, _ = pair(CONFIG)
    inputs = inputs_of([5, 2, 7, 5])
    attention = ours.bert.encoder.layer[0].attention.self
    for only in (None, torch.rand(inputs.attention_mask.shape) < 0.6):
        packed = inputs.packed(only=only)
        states = ours.bert.embeddings(packed)
        q, k, v = attention.query(states), attention.key(states), attention.value(states)
        close(attention.attend_padded(q, k, v, packed), attention(states, packed))


def test_attention_in_bfloat16_is_that_of_single_precision_to_its_rounding() -> None:
    torch.manual_seed(0)
    model = BertModel(CONFIG, add_pooling_layer=False).eval()
    tokens = inputs_of([7, 3, 7, 12]).packed()
    exact = model(tokens)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = model(tokens)
    torch.testing.assert_close(rounded.float(), exact, rtol=0.05, atol=0.05)


def test_dropout_of_attention_in_bfloat16_leaves_the_mean() -> None:
    torch.manual_seed(0)
    attention = bert.BertSelfAttention(replace(CONFIG, attention_probs_dropout_prob=0.3)).train()
    tokens = inputs_of([6, 6]).packed()
    states = torch.randn(12, CONFIG.hidden_size)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        kept = attention.eval()(states, tokens).float()
        attention.train()
        dropped = torch.stack([attention(states, tokens).float() for _ in range(3000)])
    assert not torch.allclose(dropped[0], kept, atol=0.05)
    torch.testing.assert_close(dropped.mean(dim=0), kept, rtol=0.05, atol=0.05)
