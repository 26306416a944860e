"""Tests of exporting a run: whole folders, the right weights, and what is told of them."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

import openrealm
from openrealm import recipes
from openrealm.corpus.store import ChunkStore
from openrealm.errors import ConfigError, InputError
from openrealm.progress import Silent
from openrealm.runs.folders import WorkspaceFolder
from openrealm.runs.loaded import load_model, load_run
from openrealm.settings import read_settings, settings_text

FORMATS = ["openrealm", "sentence-transformers", "parquet", "faiss"]


@pytest.fixture()
def workspace(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "rivers"))


def needs_faiss(to: str) -> None:
    if to == "faiss":
        pytest.importorskip("faiss", reason="the extra faiss brings it")


@pytest.mark.parametrize("to", FORMATS)
def test_an_export_is_a_folder_of_its_own_with_a_card(workspace: Path, to: str) -> None:
    needs_faiss(to)
    report = recipes.export(workspace, to=to)
    folder = workspace / "exports" / f"run-001-{to}"
    assert report.directory == str(folder)
    assert (report.run, report.stage, report.format, report.url) == ("run-001", "qa", to, None)
    found = {p.relative_to(folder).as_posix(): p.stat().st_size for p in folder.rglob("*")}
    assert report.files == {n: size for n, size in found.items() if (folder / n).is_file()}
    assert [p.name for p in folder.parent.iterdir()] == [folder.name]
    card = (folder / "README.md").read_text()
    assert "# rivers, run-001" in card and "| documents | 36 |" in card
    assert "| ict | 2 |\n| realm | 2 |\n| qa | 1 |" in card


def test_a_folder_with_something_in_it_is_refused_and_kept(workspace: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    output.mkdir()
    recipes.export(workspace, to="openrealm", output=output)  # an empty one is no obstacle
    before = sorted(output.iterdir())
    with pytest.raises(InputError, match="--output"):
        recipes.export(workspace, to="parquet", output=output)
    assert sorted(output.iterdir()) == before


def test_what_cannot_be_exported_leaves_nothing_behind(workspace: Path) -> None:
    file = workspace / "runs" / "run-001" / "settings.toml"
    settings = read_settings(file)
    embedder = replace(settings.model.embedder, known_tokens=True)
    settings = replace(settings, model=replace(settings.model, embedder=embedder))
    file.write_text(settings_text(settings))
    with pytest.raises(ConfigError, match="known_tokens = true"):
        # `start`: weights of that shape are made again, where a checkpoint's would not fit.
        recipes.export(workspace, to="sentence-transformers", stage="start")
    assert not (workspace / "exports" / "run-001-sentence-transformers").exists()
    assert list((workspace / "exports").iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"to": "onnx"}, "openrealm, sentence-transformers, hf-realm, parquet, faiss"),
        ({"to": "openrealm", "run": "other"}, "has no run 'other'"),
        ({"to": "openrealm", "stage": "mlm"}, "no checkpoint of mlm"),
        ({"to": "openrealm", "public": True}, "--public .* that --push REPO makes"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_is_written(
    workspace: Path, arguments: dict[str, Any], said: str
) -> None:
    with pytest.raises((ConfigError, InputError), match=said):
        recipes.export(workspace, **arguments)
    assert not (workspace / "exports").exists()


def test_the_weights_of_a_stage_are_exported_with_what_was_measured_until_then(
    workspace: Path, tmp_path: Path
) -> None:
    run = WorkspaceFolder(workspace).run()
    for stage, folder in (("ict", "ict-000002"), ("realm", "realm-000002"), ("qa", "qa-000001")):
        recipes.export(workspace, to="openrealm", stage=stage, output=tmp_path / stage)
        found = load_file(tmp_path / stage / "weights.safetensors")
        wanted = load_file(run.checkpoints / folder / "weights.safetensors")
        assert found.keys() == wanted.keys()
        assert all(torch.equal(found[name], wanted[name]) for name in wanted)
        record = recipes.from_pretrained(tmp_path / stage).record
        assert stage in record["stages"] and record["stage_reports"][-1]["stage"] == stage
    assert list(record["stages"]) == ["ict", "realm", "qa"]


def test_the_table_has_the_vectors_of_the_snapshot_of_these_weights(workspace: Path) -> None:
    recipes.export(workspace, to="parquet")
    table = pq.read_table(workspace / "exports" / "run-001-parquet" / "chunks.parquet")
    live = load_run(WorkspaceFolder(workspace), name=None, progress=Silent()).live
    vectors = np.array(table["vector"].to_pylist(), dtype=np.float32)
    np.testing.assert_array_equal(vectors, live.index.chunk_emb.numpy())
    assert set(table["generation"].to_pylist()) == {live.generation}
    store = ChunkStore.open(workspace / "corpus")
    assert table["text"].to_pylist() == [store.chunk(row).text for row in range(len(store))]


def test_the_faiss_export_answers_as_search_does(workspace: Path) -> None:
    faiss = pytest.importorskip("faiss", reason="the extra faiss brings it")
    recipes.export(workspace, to="faiss")
    recipes.export(workspace, to="openrealm")
    exports = workspace / "exports"
    index = faiss.read_index(str(exports / "run-001-faiss" / "index.faiss"))
    table = pq.read_table(exports / "run-001-faiss" / "chunks.parquet")
    model = recipes.from_pretrained(exports / "run-001-openrealm")
    _, rows = index.search(model.embed_queries(["the longest river"]), 4)
    found = table.take(rows[0])["text"].to_pylist()
    hits = openrealm.open(workspace).search("the longest river", k=4).hits
    assert found == [hit.chunk.text for hit in hits]


def test_a_fine_tuned_run_is_two_sentence_encoders_and_a_pretrained_one_is_one(
    workspace: Path, tmp_path: Path
) -> None:
    recipes.export(workspace, to="sentence-transformers", output=tmp_path / "two")
    recipes.export(workspace, to="sentence-transformers", output=tmp_path / "one", stage="realm")
    assert {p.name for p in (tmp_path / "two").iterdir()} == {"README.md", "query", "chunk"}
    assert (tmp_path / "one" / "modules.json").is_file()
    library = pytest.importorskip("sentence_transformers", reason="only developers have it")
    loaded = load_model(WorkspaceFolder(workspace), name=None, stages=("realm",))
    inputs = loaded.encoder.templates.query(
        [loaded.corpus.tokenizer.encode("the longest river").ids]
    )
    with torch.inference_mode():
        wanted = loaded.model.embedder.eval().embed_queries(inputs).numpy()
    encoder = library.SentenceTransformer(str(tmp_path / "one"), device="cpu")
    scale = loaded.model.embedder.config.score_scale
    np.testing.assert_allclose(
        encoder.encode(["the longest river"]) * scale, wanted, atol=1e-5 * scale
    )


def test_names_of_local_folders_stay_at_home(workspace: Path, tmp_path: Path) -> None:
    file = workspace / "runs" / "run-001" / "settings.toml"
    settings = read_settings(file)
    corpus = replace(settings.corpus, tokenizer=str(tmp_path))
    file.write_text(settings_text(replace(settings, start=str(tmp_path), corpus=corpus)))
    run = WorkspaceFolder(workspace).run()
    run.write_record(run.read_record() | {"start": str(tmp_path), "texts": [str(tmp_path)]})
    recipes.export(workspace, to="openrealm", output=tmp_path / "out")
    for path in (tmp_path / "out").iterdir():
        assert str(tmp_path).encode() not in path.read_bytes(), path.name
