"""Tests of models without a workspace: the same vectors and fillings, from a folder or the hub."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import commands
import numpy as np
import pytest
import torch
from tiny import documents, make_store, tokenizer_of
from trained import SHAPE, train, write_documents

import openrealm
from openrealm import recipes
from openrealm.errors import CheckpointError, ConfigError, CorpusError, HubError, InputError
from openrealm.models.realm import evaluating
from openrealm.recipes.sharing import PretrainedModel
from openrealm.retrieval.embedding import embed_rows
from openrealm.runs.folders import WorkspaceFolder
from openrealm.runs.loaded import load_model

MASKED = "Aldera is the capital of [MASK] ."


@pytest.fixture(scope="module")
def exported(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an exported model for each stage."""
    folder = tmp_path_factory.mktemp("exported")
    for stage in ("realm", "qa"):
        recipes.export(trained, to="openrealm", stage=stage, output=folder / stage)
    return folder


@pytest.fixture(scope="module")
def model(exported: Path) -> PretrainedModel:
    return recipes.from_pretrained(exported / "realm")


def test_vectors_are_those_of_the_run(trained: Path, model: PretrainedModel) -> None:
    loaded = load_model(WorkspaceFolder(trained), name=None, stages=("realm",))
    store, embedder = loaded.corpus, loaded.model.embedder
    assert model.encoder.templates == loaded.encoder.templates
    texts = ["the longest river", "Where is Norland ? " * 20]
    inputs = loaded.encoder.templates.query([store.tokenizer.encode(text).ids for text in texts])
    with evaluating(embedder), torch.inference_mode():
        wanted = embedder.embed_queries(inputs).numpy()
    np.testing.assert_array_equal(model.embed_queries(texts), wanted)
    chunks = [store.chunk(row) for row in range(5)]
    found = model.embed_documents([(chunk.title, chunk.text) for chunk in chunks])
    wanted = embed_rows(store, range(5), replace(loaded.encoder, embedder=embedder))
    np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_masks_are_filled_as_the_run_fills_them(trained: Path, model: PretrainedModel) -> None:
    store = load_model(WorkspaceFolder(trained), name=None).corpus
    everything = [(document.title, document.text) for document in store.documents()]
    found = model.fill(MASKED, everything, top=3)
    wanted = openrealm.open(trained).fill(MASKED, k=len(store) + 1, top=3).fillings
    assert [f.text for f in found.fillings] == [f.text for f in wanted.fillings]
    for one, other in zip(found.fillings, wanted.fillings, strict=True):
        assert one.p_y == pytest.approx(other.p_y, rel=1e-4)
    assert sum(c.p_z for c in found.candidates) == pytest.approx(1, abs=1e-5)
    few = model.fill(MASKED, everything[:2]).candidates
    assert {c.chunk and c.chunk.title for c in few} == {None, "Aldera", "Norland"}


def test_a_fine_tuned_model_answers_over_a_corpus_as_its_run_does(
    trained: Path, exported: Path
) -> None:
    store = load_model(WorkspaceFolder(trained), name=None).corpus
    answerer = recipes.from_pretrained(exported / "qa").answerer(store)
    question = "What is the capital of Norland?"
    wanted = openrealm.open(trained).ask(question, k=5).answers
    found = answerer.ask([question], read=5)[0]
    assert wanted is not None
    assert [a.text for a in found.answers] == [a.text for a in wanted.answers]


def test_a_corpus_of_another_vocabulary_is_refused(tmp_path: Path, model: PretrainedModel) -> None:
    other = make_store(tmp_path / "other", documents()[:3], tokenizer_of(["Meadows bloom"]))
    with pytest.raises(CorpusError, match="another vocabulary"):
        model.answerer(other)


def test_a_text_without_a_mask_is_refused(model: PretrainedModel) -> None:
    with pytest.raises(InputError, match=r"no .MASK."):
        model.fill("the longest river", [("Norland", "A country.")])


def test_a_folder_of_something_else_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no model that openrealm exported"):
        recipes.from_pretrained(tmp_path)


# The hub ------------------------------------------------------------------------------------------


class FakeHub:
    """Keeps what is uploaded, and gives it back."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.made: dict[str, Any] = {}

    def create_repo(self, repo_id: str, **options: Any) -> str:
        self.made = {"repo_id": repo_id, **options}
        return f"https://hub.example/{repo_id}"

    def upload_folder(self, *, repo_id: str, folder_path: Path, **_: Any) -> None:
        shutil.copytree(folder_path, self.directory / repo_id)

    def download(self, repo_id: str, **_: Any) -> str:
        return str(self.directory / repo_id)


def test_what_is_pushed_comes_back_as_the_same_model(
    trained: Path, tmp_path: Path, model: PretrainedModel
) -> None:
    hub = FakeHub(tmp_path)
    address = recipes.push_to_hub(trained, "me/rivers", stage="realm", api=hub)
    assert address == "https://hub.example/me/rivers"
    assert hub.made["private"] is True and hub.made["repo_type"] == "model"
    assert 'from_pretrained("me/rivers")' in (tmp_path / "me/rivers/README.md").read_text()
    found = recipes.from_pretrained("me/rivers", download=hub.download)
    texts = ["the longest river"]
    np.testing.assert_array_equal(found.embed_queries(texts), model.embed_queries(texts))


def test_tables_are_pushed_as_data_sets(trained: Path, tmp_path: Path) -> None:
    hub = FakeHub(tmp_path)
    recipes.push_to_hub(trained, "me/rivers", to="parquet", private=False, api=hub)
    assert hub.made["private"] is False and hub.made["repo_type"] == "dataset"
    assert (tmp_path / "me" / "rivers" / "chunks.parquet").is_file()


def test_a_hub_out_of_reach_is_one_sentence_and_the_export_is_kept(
    trained: Path, tmp_path: Path
) -> None:
    with pytest.raises(HubError, match="hf upload me/rivers") as caught:
        recipes.export(trained, to="openrealm", output=tmp_path / "out", push="me/rivers")
    assert "\n" not in str(caught.value)
    assert recipes.from_pretrained(tmp_path / "out").stage == "qa"


# Going on from an exported model ------------------------------------------------------------------


@pytest.fixture()
def workspace(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "rivers"))


def test_a_run_begins_with_the_weights_and_the_shape_of_an_exported_model(
    workspace: Path, exported: Path
) -> None:
    name = train(workspace, start=str(exported / "realm"), changes=["model.embedder.score_scale=3"])
    begun = load_model(WorkspaceFolder(workspace), name=name, stages=("start",))
    given = recipes.from_pretrained(exported / "realm")
    shape = given.settings.model
    scaled = replace(shape, embedder=replace(shape.embedder, score_scale=3.0))
    assert begun.settings.model == scaled  # what was set, and all else as it was
    for key, tensor in given.model.state_dict().items():
        assert torch.equal(begun.model.state_dict()[key], tensor), key
    assert begun.run.read_record()["ancestors"] == ["scratch"]
    recipes.export(workspace, to="openrealm", run=name)
    card = (workspace / "exports" / f"{name}-openrealm" / "README.md").read_text()
    assert "First weights: `realm`, which began as `scratch`." in card


def test_a_fine_tuned_model_is_no_start(workspace: Path, exported: Path) -> None:
    with pytest.raises(CheckpointError, match="--stage realm"):
        train(workspace, start=str(exported / "qa"))
    assert len(WorkspaceFolder(workspace).runs()) == 1


def test_a_start_with_another_vocabulary_is_refused_and_its_own_can_be_ingested_with(
    exported: Path, tmp_path: Path
) -> None:
    (tmp_path / "other.jsonl").write_text(
        json.dumps({"id": "a", "title": "Meadows", "text": "Meadows bloom in early spring."})
    )
    other = tmp_path / "other"
    sources = [tmp_path / "other.jsonl"]
    commands.ingest(other, sources=sources, preset="tiny", assignments=SHAPE)
    with pytest.raises(ConfigError, match=r"corpus\.tokenizer="):
        train(other, start=str(exported / "realm"))
    write_documents(tmp_path / "docs.jsonl")
    same = tmp_path / "same"
    changes = [*SHAPE, f"corpus.tokenizer={exported / 'realm'}"]
    commands.ingest(same, sources=[tmp_path / "docs.jsonl"], preset="tiny", assignments=changes)
    train(same, start=str(exported / "realm"))
