"""Tests of the object that a library user holds: one workspace, from documents to answers."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tiny import CITIES
from trained import SHAPE, train

import openrealm
from openrealm.answering.workspace_models import WorkspaceModels
from openrealm.errors import ConfigError, InputError, OpenRealmError
from openrealm.runs.folders import RunFolder
from openrealm.settings import resolve

RIVER = "Which river runs through Aldera?"


@pytest.fixture
def rivers(trained: Path, tmp_path: Path) -> Path:
    """A copy of the trained workspace, to be changed."""
    return Path(shutil.copytree(trained, tmp_path / "rivers"))


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What is loaded from here on."""
    keys: list[object] = []
    load = WorkspaceModels.load

    def noting(self: WorkspaceModels, key: object) -> object:
        keys.append(key)
        return load(self, key)  # type: ignore[arg-type]

    monkeypatch.setattr(WorkspaceModels, "load", noting)
    return keys


# What is a workspace ------------------------------------------------------------------------------


def test_a_file_and_a_folder_of_something_else_are_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("A note.")
    with pytest.raises(InputError, match="is a file; a workspace is a folder"):
        openrealm.open(tmp_path / "notes.txt")
    with pytest.raises(InputError, match="is no workspace, and not empty"):
        openrealm.open(tmp_path)


def test_a_folder_that_is_not_there_yet_is_made_by_the_first_ingest(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "bridge.txt").write_text("Anna Berg repaired the bridge.")
    with openrealm.open(str(tmp_path / "notes")) as notes:
        assert not notes.directory.exists()
        assert (len(notes.documents()), notes.runs) == (0, [])
        with pytest.raises(OpenRealmError, match="holds no corpus"):
            notes.search("bridge")
        report = notes.ingest(tmp_path / "docs")
        assert (report.added, report.problems) == (1, [])
        assert notes.search("who mended it?").hits[0].chunk.text.startswith("Anna Berg")
        found = notes.ask("who mended it?")
        assert (found.run, found.has_reader, len(found.hits)) == (None, True, 0)
        assert found.source == "start (starter), untrained"
        assert notes.ask("Who repaired the bridge?").best == "Anna Berg"
        assert notes.fill("Anna Berg repaired the [MASK] .", top=3).run is None
        assert notes.remove(notes.documents()[0].id).removed == 1


def test_what_is_there_is_told_as_objects(trained: Path) -> None:
    workspace = openrealm.open(trained)
    documents = workspace.documents()
    assert len(documents) == len(list(documents)) == 3 * len(CITIES)
    assert documents[0].title in CITIES
    assert [document.id for document in documents[-2:]] == [documents[34].id, documents[35].id]
    [run] = workspace.runs
    assert run == workspace.run() == workspace.run("run-001")
    assert (run.name, run.directory) == ("run-001", trained / "runs" / "run-001")
    assert run.settings.model.query_tokens == 24
    assert list(run.stages) == ["start", "ict", "realm", "qa"]
    assert 0.0 <= run.stages["realm"]["probe/recall@1"] <= 1.0
    assert run.record["start"] == "scratch"
    with RunFolder(run.directory).locked():
        assert run.in_training
    assert not run.in_training
    with pytest.raises(InputError, match="no run 'nope'"):
        workspace.run("nope")


# Asking -------------------------------------------------------------------------------------------


def test_one_question_has_one_result_and_a_list_has_as_many(trained: Path) -> None:
    workspace = openrealm.open(trained)
    texts = [f"The river {river}" for _, river, _ in CITIES.values()]
    one = [workspace.search(text, k=2) for text in texts]
    many = workspace.search(texts, k=2)
    assert [found.query for found in many] == texts
    chunks = [[hit.chunk for hit in found.hits] for found in many]
    assert chunks == [[hit.chunk for hit in found.hits] for found in one]
    assert workspace.search([]) == workspace.ask([]) == workspace.fill([]) == []
    answered = workspace.ask([RIVER, RIVER], k=3, top=2)
    assert [found.has_reader for found in answered] == [True, True]
    assert answered[0].answers is not None and len(answered[0].answers.read) == 4
    assert (answered[0].run, answered[0].source) == ("run-001", "run 'run-001', stage 'qa'")
    filled = workspace.fill(["Aldera is in [MASK] ."] * 3, k=3, top=2)
    assert [len(found.fillings.fillings) for found in filled] == [2, 2, 2]


def test_a_long_list_goes_through_the_model_in_parts(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from openrealm.answering.answerer import Answerer

    sizes = []
    fill = Answerer.fill

    def noting(self: Answerer, texts: list[str], **more: int) -> object:
        sizes.append(len(texts))
        return fill(self, texts, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(Answerer, "fill", noting)
    filled = openrealm.open(trained).fill(["Aldera is in [MASK] ."] * 30, k=5)
    assert (len(filled), sizes) == (30, [12, 12, 6])


def test_model_and_index_are_loaded_once(trained: Path, loads: list[object]) -> None:
    with openrealm.open(trained) as workspace:
        for _ in range(3):
            workspace.search("river")
            workspace.ask(RIVER)
            workspace.fill("Aldera is in [MASK] .")
        assert len(loads) == 2  # what answers, and what fills


def test_a_newer_run_or_corpus_is_noticed_at_the_next_call(
    rivers: Path, tmp_path: Path, loads: list[object]
) -> None:
    workspace, other = openrealm.open(rivers), openrealm.open(rivers)
    assert workspace.search("glass blowers").run == "run-001"
    record = {"id": "new", "title": "Zanthor", "text": "A town of glass blowers."}
    (tmp_path / "more.jsonl").write_text(json.dumps(record) + "\n")
    other.ingest(tmp_path / "more.jsonl")
    found = workspace.search("glass blowers", k=50)
    assert "new" in [hit.chunk.document_id for hit in found.hits]
    assert workspace.documents()[-1].id == "new"
    train(rivers)
    assert workspace.search("glass blowers").run == "run-002"
    assert workspace.search("glass blowers", run="run-001").run == "run-001"
    assert len(loads) == 4
    assert workspace.search("glass blowers", stage="ict").source == "run 'run-002', stage 'ict'"


def test_a_workspace_may_be_tied_to_a_run(rivers: Path) -> None:
    train(rivers)
    assert openrealm.open(rivers, run="run-001").search("river").run == "run-001"


def test_many_threads_get_the_answers_that_one_gets(trained: Path, loads: list[object]) -> None:
    questions = [f"Where is {city}?" for city in CITIES] * 2
    alone = openrealm.open(trained)
    wanted = [alone.ask(question).answers for question in questions]
    loads.clear()
    with openrealm.open(trained) as workspace, ThreadPoolExecutor(6) as crowd:
        found = list(crowd.map(workspace.ask, questions))
    assert [each.answers for each in found] == wanted
    assert len(loads) == 1


def test_nothing_can_be_asked_of_a_closed_one(trained: Path) -> None:
    with openrealm.open(trained) as workspace:
        workspace.search("river")
    with pytest.raises(InputError, match="is closed; open it again"):
        workspace.search("river")


# Training -----------------------------------------------------------------------------------------


def test_settings_are_objects_from_the_first_ingest_to_fine_tuning(
    trained: Path, tmp_path: Path
) -> None:
    settings = resolve(preset="tiny", assignments=[*SHAPE, "loop.num_probe=4", "device=cpu"])
    steps = {"steps": 1, "batch_size": 4}
    settings = settings.changed(ict=steps, realm=steps, warmup={"steps": 0}, seed=3)
    assert (settings.seed, settings.ict.steps, settings.qa.steps) == (3, 1, 150)
    workspace = openrealm.open(tmp_path / "ws")
    workspace.ingest(trained.parent / "docs.jsonl", settings=settings)
    run = workspace.pretrain(settings)
    assert run.settings == settings
    few = run.settings.changed(qa={"steps": 1, "batch_size": 2, "beam": 20})
    pairs = [(f"What is the capital of {c[0]}?", city) for city, c in CITIES.items()]
    assert workspace.finetune(pairs, dev=pairs[:2], settings=few) == run
    assert "qa/exact_match" in run.stages["qa"]
    assert workspace.ask(pairs[0][0]).has_reader
    measured = workspace.evaluate(queries=[], probe=True, limit=2)
    assert measured.run == run.name
    assert workspace.index(check=True).run == run.name
    assert workspace.info().problems == ()
    exported = workspace.export("openrealm", output=tmp_path / "model")
    model = openrealm.from_pretrained(exported.directory)
    assert model.embed_queries([RIVER]).shape == (1, settings.model.bert.hidden)


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ([("only one",)], "question 1 is"),
        ([("q", "a"), {"question": "q"}], "question 2 is"),
        ([("", "a")], "question 1 is"),
    ],
)
def test_a_question_that_is_none_is_named(trained: Path, given: list[object], what: str) -> None:
    with pytest.raises(InputError, match=what):
        openrealm.open(trained).finetune(given)  # type: ignore[arg-type]


# Presets ------------------------------------------------------------------------------------------


def test_a_preset_takes_changes_by_section() -> None:
    settings = openrealm.preset("adapt", seed=1, realm={"steps": 600})
    assert (settings.seed, settings.realm.steps, settings.realm.batch_size) == (1, 600, 64)
    assert settings == resolve(preset="adapt", assignments=["seed=1", "realm.steps=600"])


def test_a_preset_that_begins_from_a_run_has_that_runs_model(trained: Path) -> None:
    start = trained / "runs" / "run-001"
    settings = openrealm.preset("tiny", start=str(start))
    assert settings.model == openrealm.open(trained).run().settings.model
    assert settings.start == str(start)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"realm": {"stepps": 1}}, "did you mean 'steps'"),
        ({"seed": -1}, "below the least allowed value"),
        ({"ict": {"steps": 5}}, "ict.steps=5 does nothing"),
        ({"realm": 3}, "is a section of settings"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changes: dict[str, object], what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        openrealm.preset("adapt", **changes)
