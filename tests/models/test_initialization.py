"""Tests of first weights with which a reader copies, and towers compare words."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tiny import model_config
from torch import Tensor

from openrealm.errors import ConfigError
from openrealm.models.bert import BertConfig, BertForMaskedLM, BertModel
from openrealm.models.initialization import (
    initialize_copying,
    initialize_word_matching,
    shift,
    waves,
)
from openrealm.models.inputs import Inputs
from openrealm.models.pretrained import Started, fingerprint, start_model
from openrealm.settings import BertShape, ModelConfig

VOCAB, MASK, SEP = 500, 4, 3
SHAPE = BertShape(
    layers=3, hidden=128, heads=4, intermediate=64, max_positions=80, initialization="copying"
)


def copying_config(*, shared: bool = True) -> ModelConfig:
    return replace(model_config(shared=shared), bert=SHAPE)


def start(config: ModelConfig, seed: int = 0) -> Started:
    return start_model("scratch", config, vocab_size=VOCAB, pad_id=0, mask_id=MASK, seed=seed)


def plain(**shape: int) -> BertForMaskedLM:
    config = BertConfig(
        vocab_size=VOCAB,
        num_hidden_layers=3,
        hidden_size=128,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=80,
    )
    torch.manual_seed(0)
    return BertForMaskedLM(replace(config, **shape)).eval()


def rows(token_ids: Tensor, segment_ids: Tensor | None = None) -> Inputs:
    """Rows without padding."""
    segments = torch.zeros_like(token_ids) if segment_ids is None else segment_ids
    everywhere = torch.ones_like(token_ids, dtype=torch.bool)
    return Inputs(token_ids=token_ids, segment_ids=segments, attention_mask=everywhere)


def part_copied(model: BertForMaskedLM, *, num: int = 200) -> float:
    """How often a masked token of a run is told from a random sequence that holds the run."""
    draw = torch.Generator().manual_seed(1)
    right = 0
    for _ in range(num):
        body = torch.randperm(VOCAB - 10, generator=draw)[:40] + 10
        first = int(torch.randint(0, 40 - 9, (), generator=draw))
        query = body[first : first + 9].clone()
        query[4] = MASK
        ids = torch.cat([torch.tensor([2]), query, torch.tensor([SEP]), body, torch.tensor([SEP])])
        segments = (torch.arange(len(ids)) > 10).long()
        with torch.no_grad():
            logits = model(rows(ids[None], segments[None]).packed())[5]
        right += int(logits.argmax()) == int(body[first + 4])
    return right / num


@pytest.mark.parametrize("shape", [{}, {"hidden_size": 192, "num_attention_heads": 6}])
def test_a_masked_token_is_copied_from_where_its_neighbours_stand(shape: dict[str, int]) -> None:
    model = plain(**shape)
    assert part_copied(model) < 0.05
    initialize_copying(model, mask_id=MASK)
    assert part_copied(model) > 0.9


def test_a_shift_turns_the_waves_of_every_position_into_those_further_on() -> None:
    frequencies = torch.tensor([0.3, 1.1, 2.9])
    table = waves(12, frequencies)
    assert table.shape == (12, 6)
    for offset in (-2, -1, 1, 2):
        turned = table @ shift(frequencies, offset).T
        inside = slice(max(0, -offset), 12 - max(0, offset))
        further = table[inside.start + offset : inside.stop + offset]
        torch.testing.assert_close(turned[inside], further)


def test_output_embeddings_stay_tied_and_the_mask_has_no_word() -> None:
    masked_lm = start(copying_config()).model.reader.masked_lm
    words = masked_lm.bert.embeddings.word_embeddings.weight
    assert masked_lm.cls.predictions.decoder.weight is words
    assert not words[MASK].any() and words[MASK + 1].any()


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ({"num_hidden_layers": 1}, "1 layers"),
        ({"num_attention_heads": 2}, "2 heads of 64"),
        ({"hidden_size": 24}, "4 heads of 6"),
    ],
)
def test_a_model_too_small_for_the_circuit_is_refused(shape: dict[str, int], said: str) -> None:
    with pytest.raises(ConfigError, match=f"needs at least 2 layers and 4 heads.*{said}"):
        initialize_copying(plain(**shape), mask_id=MASK)


def test_texts_that_share_words_have_mean_states_alike() -> None:
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=VOCAB, hidden_size=64, num_hidden_layers=2, num_attention_heads=4
    )
    bert = BertModel(config, add_pooling_layer=False).eval()
    initialize_word_matching(bert)
    draw = torch.Generator().manual_seed(1)
    texts = torch.randint(10, VOCAB, (20, 12), generator=draw)
    # The same words in another order, but for two.
    others = torch.cat([texts[:, torch.randperm(10, generator=draw)], texts[:, 10:] + 1], dim=1)
    with torch.no_grad():
        left, right = (
            bert(rows(t % VOCAB).packed()).view(*t.shape, -1).mean(1) for t in (texts, others)
        )
    assert (left @ right.T).argmax(dim=1).tolist() == list(range(20))


@pytest.mark.parametrize("shared", [True, False])
def test_these_weights_too_depend_on_the_seed_alone(shared: bool) -> None:
    config = copying_config(shared=shared)
    # Kept alive, so that every one lies elsewhere in memory.
    models = [start(config, seed=1).model for _ in range(4)]
    assert len({fingerprint(model) for model in models}) == 1
    assert fingerprint(start(config, seed=2).model) != fingerprint(models[0])


def test_a_reader_of_its_own_shape_copies_beside_towers_of_another() -> None:
    config = replace(
        copying_config(), bert=BertShape(layers=1, hidden=32, heads=2), own_reader=True
    )
    model = start(replace(config, reader=SHAPE)).model
    assert part_copied(model.reader.masked_lm.eval(), num=50) > 0.9
    assert model.embedder.chunk_tower.bert.config.hidden_size == 32


def test_berts_own_weights_are_the_default() -> None:
    shape = replace(SHAPE, initialization="normal")
    model = start(replace(model_config(), bert=shape)).model
    assert part_copied(model.reader.masked_lm.eval(), num=50) < 0.05
