"""Tests of the towers as sentence encoders: the other library's vectors are the judge."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from tiny import CHUNK_TOKENS, QUERY_TOKENS, World, model_config

from openrealm.errors import ConfigError
from openrealm.interchange.sentence_encoder import write_sentence_encoder
from openrealm.models.embedder import Embedder
from openrealm.models.pretrained import build_model, start_model
from openrealm.retrieval.embedding import TextEncoder, embed_rows

TEXTS = [
    "the old town",
    "Where is the capital of Norland ?",
    "Ålderå [SEP] and [MASK] are no tokens",
    "Many people visit Aldera in summer, when the river is warm. " * 2,
]
SHAPES: list[dict[str, Any]] = [
    {},
    {"layer_norm_eps": 1e-3},
    {"projection": "none", "score_scale": 20.0},
    {"pooling": "mean"},
    {"pooling": "mean", "projection": "none"},
    {"pooling": "mean", "projection": "adapter", "score_scale": 20.0},
    {"pooling": "cls", "projection": "adapter"},
]


def make_embedder(world: World, *, shared: bool = True, **shape: Any) -> Embedder:
    """Towers of any shape with weights so large that texts differ clearly."""
    tokenizer = world.tokenizer
    model = build_model(
        model_config(shared=shared, **shape),
        vocab_size=tokenizer.vocab_size,
        pad_id=tokenizer.pad_id,
        seed=0,
    )
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=draw) * 0.2)
    return model.embedder.eval()


def write(world: World, embedder: Embedder, directory: Path) -> None:
    write_sentence_encoder(
        embedder,
        world.tokenizer,
        directory,
        query_tokens=QUERY_TOKENS,
        chunk_tokens=CHUNK_TOKENS,
    )


def load(directory: Path) -> Any:
    library = pytest.importorskip("sentence_transformers", reason="only developers have it")
    return library.SentenceTransformer(str(directory), device="cpu", local_files_only=True)


def query_vectors(world: World, embedder: Embedder) -> npt.NDArray[np.float32]:
    inputs = world.templates.query([world.ids(text) for text in TEXTS])
    with torch.inference_mode():
        return (embedder.embed_queries(inputs) / embedder.config.score_scale).numpy()


def chunk_vectors(world: World, embedder: Embedder) -> npt.NDArray[np.float32]:
    encoder = TextEncoder(embedder, world.tokenizer, world.templates)
    return embed_rows(world.store, np.arange(len(world.store)), encoder)


def chunk_pairs(world: World) -> list[tuple[str, str]]:
    chunks = [world.store.chunk(row) for row in range(len(world.store))]
    return [(chunk.title, chunk.text) for chunk in chunks]


def close(found: npt.NDArray[np.float32], wanted: npt.NDArray[np.float32]) -> None:
    assert np.abs(wanted - wanted.mean(axis=0)).max() > 0.05  # else any vectors would do
    np.testing.assert_allclose(found, wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_library_makes_our_query_and_chunk_vectors(
    world: World, tmp_path: Path, shape: dict[str, Any]
) -> None:
    embedder = make_embedder(world, **shape)
    write(world, embedder, tmp_path / "out")
    model = load(tmp_path / "out")
    close(model.encode(chunk_pairs(world)), chunk_vectors(world, embedder))
    model.max_seq_length = QUERY_TOKENS
    close(model.encode(TEXTS), query_vectors(world, embedder))


def test_two_towers_are_two_folders_each_with_its_own_longest_input(
    world: World, tmp_path: Path
) -> None:
    embedder = make_embedder(world, shared=False, pooling="mean", projection="none")
    write(world, embedder, tmp_path)
    close(load(tmp_path / "query").encode(TEXTS), query_vectors(world, embedder))
    close(load(tmp_path / "chunk").encode(chunk_pairs(world)), chunk_vectors(world, embedder))
    other = chunk_vectors(world, make_embedder(world, pooling="mean", projection="none"))
    assert not np.allclose(query_vectors(world, embedder)[0], other[0])


def test_a_shared_folder_cuts_texts_at_the_longer_of_both_inputs(
    world: World, tmp_path: Path
) -> None:
    write(world, make_embedder(world), tmp_path)
    assert load(tmp_path).max_seq_length == max(QUERY_TOKENS, CHUNK_TOKENS)


def test_a_chunk_without_a_title_is_a_pair_with_an_empty_one(world: World, tmp_path: Path) -> None:
    embedder = make_embedder(world)
    write(world, embedder, tmp_path)
    inputs = world.templates.chunk([world.ids("")], [world.ids(TEXTS[0])])
    with torch.inference_mode():
        wanted = embedder.embed_chunks(inputs).numpy()
    np.testing.assert_allclose(load(tmp_path).encode([("", TEXTS[0])]), wanted, atol=1e-5)


def test_a_shape_that_the_library_cannot_say_is_refused_by_name(
    world: World, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"model\.embedder\.known_tokens"):
        write(world, make_embedder(world, known_tokens=True), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_folder_is_a_bert_that_a_run_can_start_from(world: World, tmp_path: Path) -> None:
    embedder = make_embedder(world, pooling="mean", projection="none")
    write(world, embedder, tmp_path)
    tokenizer = world.tokenizer
    started = start_model(
        str(tmp_path),
        model_config(pooling="mean", projection="none"),
        vocab_size=tokenizer.vocab_size,
        pad_id=tokenizer.pad_id,
        mask_id=tokenizer.mask_id,
        seed=5,
    )
    for name, tensor in started.model.embedder.chunk_tower.bert.state_dict().items():
        assert torch.equal(tensor, embedder.chunk_tower.bert.state_dict()[name]), name
