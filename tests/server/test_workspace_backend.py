"""Tests of a workspace as the server sees it, and of a server that goes on while it changes."""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import commands
import pytest
from served import SOON, Server, backend_of, serving, until
from tiny import CITIES

from openrealm.answering.model_cache import ANSWER, FILL, ModelKey
from openrealm.corpus.store import ChunkStore
from openrealm.errors import CheckpointError, CorpusError, InputError
from openrealm.runs import checkpoints as checkpoint
from openrealm.runs.folders import RunFolder, WorkspaceFolder
from openrealm.server.workspace_backend import WorkspaceBackend


@pytest.fixture
def workspace(trained: Path, tmp_path: Path) -> Path:
    """A copy of the trained workspace, to be changed."""
    return Path(shutil.copytree(trained, tmp_path / "rivers"))


@pytest.fixture
def backend(workspace: Path) -> WorkspaceBackend:
    made = backend_of(workspace)
    assert isinstance(made, WorkspaceBackend)
    return made


def write(path: Path, *records: dict[str, str]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


# What it finds ------------------------------------------------------------------------------------


def test_the_newest_run_answers_after_its_last_stage_and_fills_after_pre_training(
    backend: WorkspaceBackend, workspace: Path
) -> None:
    answers, fills = backend.load(ANSWER), backend.load(FILL)
    assert (answers.source.run, answers.source.stage) == ("run-001", "qa")
    assert (fills.source.run, fills.source.stage) == ("run-001", "realm")
    assert answers.has_reader and not fills.has_reader
    assert answers.source.corpus == ChunkStore.open(workspace / "corpus").fingerprint
    assert backend.name == "rivers"


def test_what_would_be_loaded_is_known_without_reading_the_weights(
    backend: WorkspaceBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = [backend.load(key).identity for key in (ANSWER, FILL)]

    def refuse(path: Path) -> str:
        raise AssertionError(f"{path} was read")

    monkeypatch.setattr(checkpoint, "checksum", refuse)
    assert [backend.identity(key) for key in (ANSWER, FILL)] == loaded
    assert backend.runs()[0].stages == ["ict", "realm", "qa"]


def test_reader_and_question_answerer_of_a_run_share_their_index(
    backend: WorkspaceBackend,
) -> None:
    answers, fills = backend.load(ANSWER), backend.load(FILL)
    assert answers.answerer is not fills.answerer
    assert answers.answerer._retriever is fills.answerer._retriever


def test_a_stage_can_be_named_for_either_purpose(backend: WorkspaceBackend) -> None:
    for purpose in ("answer", "fill"):
        assert backend.load(ModelKey(purpose, "run-001", "ict")).source.stage == "ict"
    begun = backend.load(ModelKey("answer", None, "start"))
    assert (begun.source.stage, begun.source.step) == ("start", 0)
    with pytest.raises(InputError, match="has no checkpoint of mlm"):
        backend.identity(ModelKey("answer", None, "mlm"))


def test_a_run_in_training_is_passed_over_and_refused_by_name(
    backend: WorkspaceBackend, workspace: Path
) -> None:
    newer = workspace / "runs" / "run-002"
    shutil.copytree(workspace / "runs" / "run-001", newer)
    record = RunFolder(newer).read_record()
    RunFolder(newer).write_record({**record, "created": record["created"] + 1})
    assert backend.load(ANSWER).source.run == "run-002"
    with RunFolder(newer).locked():
        assert backend.in_training("run-002") and not backend.in_training("run-001")
        assert backend.load(ANSWER).source.run == "run-001"
        with pytest.raises(CheckpointError, match="'run-002' is being trained"):
            backend.load(ModelKey("answer", "run-002"))
    assert backend.load(ANSWER).source.run == "run-002"


def test_those_who_look_whether_a_run_is_in_training_do_not_see_each_other(
    backend: WorkspaceBackend,
) -> None:
    with ThreadPoolExecutor(8) as crowd:
        assert not any(crowd.map(lambda n: backend.in_training("run-001"), range(400)))


def test_nobody_is_in_training_in_a_run_that_was_removed(
    backend: WorkspaceBackend, workspace: Path
) -> None:
    shutil.rmtree(workspace / "runs" / "run-001")
    assert not backend.in_training("run-001")
    with pytest.raises(InputError):
        backend.metrics_file("run-001")


@pytest.mark.parametrize("name", ["../rivers", "run-001/../run-001", "/etc", "", ".", "run-001\0"])
def test_no_name_of_a_run_leads_elsewhere(backend: WorkspaceBackend, name: str) -> None:
    with pytest.raises(InputError, match="it has: run-001"):
        backend.metrics_file(name)
    assert not backend.in_training(name)


def test_a_corpus_of_another_vocabulary_is_told(backend: WorkspaceBackend, workspace: Path) -> None:
    before = backend.corpus_state()
    commands.ingest(workspace, rechunk=True, assignments=["corpus.vocab_size=300"])
    assert backend.corpus_state() != before
    with pytest.raises(CorpusError, match="trained with another vocabulary"):
        backend.load(ANSWER)


def test_a_corpus_that_has_gone_is_told(backend: WorkspaceBackend, workspace: Path) -> None:
    shutil.rmtree(workspace / "corpus")
    assert backend.corpus_state() is None
    for look in (backend.open_corpus, backend.runs):
        with pytest.raises(CorpusError, match="holds no corpus"):
            look()


# Ingests ------------------------------------------------------------------------------------------


def test_ingests_are_told_newest_first_with_their_problems(
    backend: WorkspaceBackend, workspace: Path, tmp_path: Path
) -> None:
    bad = write(tmp_path / "bad.jsonl", {"id": "a", "text": "A town."}, {"id": "b", "text": ""})
    commands.ingest(workspace, sources=[bad], remove=["city-Aldera"])
    newest, oldest = backend.ingests()
    assert (newest.added, newest.removed, newest.num_problems) == (1, 1, 1)
    assert [(p.line, p.reason) for p in newest.problems] == [(2, "the text is empty")]
    assert newest.sources == [str(bad)]
    assert (oldest.added, oldest.problems) == (36, [])


def test_records_that_are_none_are_left_out(backend: WorkspaceBackend, workspace: Path) -> None:
    file = workspace / "ingests.jsonl"
    [whole] = backend.ingests()
    record = json.loads(file.read_text())
    damaged: list[Any] = [{}, 3, None, [record], {**record, "problems": 3}, {**record, "time": "x"}]
    damaged.append({key: value for key, value in record.items() if key != "added"})
    lines = [json.dumps(each).encode() for each in damaged]
    file.write_bytes(file.read_bytes() + b"\n".join([*lines, b"\xff\xfe", b"", b'{"time": 1']))
    assert backend.ingests() == [whole]


def test_names_that_are_not_unicode_can_be_sent(
    backend: WorkspaceBackend, workspace: Path, tmp_path: Path
) -> None:
    path = tmp_path / os.fsdecode(b"gr\xf6\xdfe.txt")
    path.write_text("A town on a river.")
    commands.ingest(workspace, sources=[path])
    assert backend.ingests()[0].sources == [f"{tmp_path}/gr??e.txt"]
    assert backend.ingests()[0].model_dump_json()


def test_only_the_last_ingests_are_told(backend: WorkspaceBackend, workspace: Path) -> None:
    record = WorkspaceFolder(workspace).ingests()[0]
    for n in range(150):
        WorkspaceFolder(workspace).add_ingest({**record, "added": n})
    assert [ingest.added for ingest in backend.ingests()] == list(range(149, 49, -1))


# Changes while it serves --------------------------------------------------------------------------


class Crowd:
    """Clients that ask without pause, and look up what they were told."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.answers: list[dict[str, Any]] = []
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(6)

    def __enter__(self) -> Crowd:
        cities = list(CITIES)
        self._calls = [self._pool.submit(self._ask, cities[n::6], n) for n in range(6)]
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        for call in self._calls:
            call.result(SOON)
        self._pool.shutdown()

    def asked(self, more: int = 12) -> None:
        """Returns when so many more have been answered."""
        wanted = len(self.answers) + more
        until(lambda: len(self.answers) >= wanted or any(call.done() for call in self._calls))

    def _ask(self, cities: list[str], n: int) -> None:
        while not self._stop.is_set():
            for city in cities:
                if n % 3 == 0:
                    found = self.server.post("/api/ask", question=f"Where is {city}?", read=2)
                    chunks = [each["chunk"] for each in found["read"][1:]]
                elif n % 3 == 1:
                    found = self.server.post("/api/fill", text=f"{city} is in [MASK].", k=3)
                    chunks = [each["chunk"] for each in found["candidates"][1:]]
                else:
                    found = self.server.post("/api/search", text=city, k=3)
                    chunks = [each["chunk"] for each in found["hits"]]
                    assert found["text"] == city
                self.answers.append({"source": found["source"], "chunks": chunks})


def check(answers: list[dict[str, Any]], stores: dict[str, ChunkStore]) -> None:
    """Every answer is of one corpus, and its chunks are that corpus's rows."""
    for answer in answers:
        store = stores[answer["source"]["corpus"]]
        for chunk in answer["chunks"]:
            wanted = store.chunk(chunk["id"])
            told = (chunk["document_id"], chunk["text"], chunk["start"], chunk["stop"])
            assert told == (wanted.document_id, wanted.text, wanted.start, wanted.stop)


@pytest.fixture
def server(workspace: Path) -> Iterator[Server]:
    with serving(backend_of(workspace), watch_s=0.05) as running:
        yield running


def sources(server: Server) -> dict[str, Any]:
    answer, fill = (
        server.service.handler.models.get(ANSWER),
        server.service.handler.models.get(FILL),
    )
    assert answer is not None and fill is not None
    return {"answer": answer.source, "fill": fill.source}


def test_documents_that_come_and_go_are_swapped_in_without_a_lost_or_wrong_answer(
    server: Server, workspace: Path, tmp_path: Path
) -> None:
    def opened() -> ChunkStore:
        return ChunkStore.open(workspace / "corpus")

    stores = {opened().fingerprint: opened()}
    new = write(tmp_path / "new.jsonl", {"id": "new", "title": "Mosel", "text": "Mosel is new."})

    def swapped() -> bool:
        wanted = opened().fingerprint
        return all(source.corpus == wanted for source in sources(server).values())

    with Crowd(server) as crowd:
        crowd.asked()
        for change in (
            {"sources": [new]},
            {"remove": ["city-Aldera", "year-1204"]},
            {"remove": ["new"]},
        ):
            commands.ingest(workspace, **change)  # type: ignore[arg-type]
            stores[opened().fingerprint] = opened()
            until(swapped)
            crowd.asked()
    check(crowd.answers, stores)
    assert {answer["source"]["corpus"] for answer in crowd.answers} == set(stores)
    assert server.get("/api/corpus")["fingerprint"] == opened().fingerprint
    old, *_, newest = stores
    assert server.get("/api/chunks/0", params={"corpus": newest})
    until(lambda: server.client.get("/api/chunks/0", params={"corpus": old}).status_code == 409)
    swaps = server.client.get("/metrics").text
    assert "openrealm_swaps_total 6.0" in swaps


def test_a_new_run_answers_as_soon_as_its_training_has_ended(
    server: Server, workspace: Path
) -> None:
    newer = workspace / "runs" / "run-002"
    with Crowd(server) as crowd:
        crowd.asked()
        newer.mkdir()
        with RunFolder(newer).locked():
            shutil.copytree(workspace / "runs" / "run-001", newer, dirs_exist_ok=True)
            record = RunFolder(newer).read_record()
            RunFolder(newer).write_record({**record, "created": record["created"] + 1})
            crowd.asked()
            assert {answer["source"]["run"] for answer in crowd.answers} == {"run-001"}
            [_, run] = server.get("/api/runs")["runs"]
            assert run["in_training"]
        until(lambda: {s.run for s in sources(server).values()} == {"run-002"})
        crowd.asked()
    check(
        crowd.answers,
        {s.corpus: ChunkStore.open(workspace / "corpus") for s in sources(server).values()},
    )
    assert crowd.answers[-1]["source"]["run"] == "run-002"
    assert server.post("/api/ask", question="where?", run="run-001")["source"]["run"] == "run-001"


def test_what_was_loaded_goes_on_answering_when_runs_and_corpus_are_taken_away(
    server: Server, workspace: Path
) -> None:
    known = sources(server)["answer"]
    shutil.rmtree(workspace / "runs")
    shutil.rmtree(workspace / "corpus")
    until(lambda: server.service.handler.models.problem(ANSWER))
    found = server.post("/api/search", text="the river", k=2)
    assert found["source"] == vars(known)
    [first, _] = found["hits"]
    window = {"corpus": known.corpus}
    assert server.get(f"/api/chunks/{first['chunk']['id']}", params=window) == first["chunk"]
    for path in ("/api/corpus", "/api/runs", "/api/documents", "/api/chunks/0"):
        error = server.get(path, status=503)["error"]
        assert error["code"] == "not_ready" and "holds no corpus" in error["message"]
    assert server.get("/readyz") == {"status": "ok"}
    assert server.get("/api/runs/run-001/metrics", status=404)


def test_damaged_newer_weights_are_passed_over(server: Server, workspace: Path) -> None:
    newer = workspace / "runs" / "run-002"
    shutil.copytree(workspace / "runs" / "run-001", newer)
    for folder in (newer / "checkpoints").iterdir():
        (folder / "weights.safetensors").write_bytes(b"damaged")
    record = RunFolder(newer).read_record()
    RunFolder(newer).write_record({**record, "created": record["created"] + 1})
    until(lambda: server.service.handler.models.problem(ANSWER))
    assert "run-002" in str(server.service.handler.models.problem(ANSWER))
    assert server.post("/api/search", text="the river")["source"]["run"] == "run-001"


def test_a_figure_that_is_no_number_is_told_as_none(server: Server, workspace: Path) -> None:
    run = WorkspaceFolder(workspace).run()
    reports = [{"stage": "ict", "ict/loss": float("nan"), "ict/worst": float("inf")}]
    run.write_record({**run.read_record(), "stage_reports": reports})
    [found] = server.get("/api/runs")["runs"]
    assert found["reports"] == [{"stage": "ict", "ict/loss": None, "ict/worst": None}]


def test_events_are_told_while_the_next_is_being_written(server: Server, workspace: Path) -> None:
    record = {"event": "refresh", "total_step": 3, "text": "worker 1 died; its work was given on"}
    line = json.dumps(record)
    with WorkspaceFolder(workspace).run().metrics_file.open("a") as file:
        file.write(f"{line}\n{line[:30]}")
    [found] = server.get("/api/runs")["runs"]
    assert found["events"] == [f"step 3: {record['text']}"]
    assert server.get("/api/runs/run-001/metrics")["records"][-1] == record
