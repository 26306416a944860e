"""The whole command line on a world of thirty-six documents, with real recipes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from tiny import CITIES, documents
from typer.testing import CliRunner, Result

from openrealm.cli import app

SETTINGS = [
    "model.query_tokens=24",
    "model.bert.hidden=32",
    "model.bert.intermediate=64",
    "model.bert.max_positions=64",
    "model.reader.layers=2",
    "model.reader.hidden=64",
    "model.reader.intermediate=64",
    "model.span_head.hidden=16",
    "ict.steps=3",
    "warmup.steps=3",
    "realm.steps=3",
    "qa.steps=3",
    "ict.batch_size=4",
    "warmup.batch_size=4",
    "realm.batch_size=4",
    "qa.batch_size=4",
    "qa.beam=20",
    "refresh.every=2",
    "loop.log_every=1",
    "loop.num_probe=4",
]


def run(*words: str, status: int = 0) -> Result:
    result = CliRunner().invoke(app, list(words), prog_name="openrealm")
    assert result.exit_code == status, result.output
    return result


def run_json(*words: str) -> Any:
    return json.loads(run(*words, "--json").stdout)


def settings(*values: str) -> list[str]:
    return [word for value in values for word in ("--set", value)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the documents, questions and held-out queries."""
    folder = tmp_path_factory.mktemp("größe mit Abstand")
    lines = [json.dumps({"id": d.id, "title": d.title, "text": d.text}) + "\n" for d in documents()]
    (folder / "docs.jsonl").write_text("".join(lines) + "{broken\n")
    asked = [(f"What is the capital of {c[0]}?", city) for city, c in CITIES.items()]
    (folder / "qa.jsonl").write_text(
        "".join(json.dumps({"question": q, "answer": [a]}) + "\n" for q, a in asked)
    )
    (folder / "queries.jsonl").write_text(
        "".join(json.dumps({"text": q, "answers": [a]}) + "\n" for q, a in asked)
    )
    (folder / "beir" / "qrels").mkdir(parents=True)
    (folder / "beir" / "queries.jsonl").write_text('{"_id": "1", "text": "Which town?"}\n')
    (folder / "beir" / "qrels" / "test.tsv").write_text(
        "query-id\tcorpus-id\tscore\n1\telsewhere\t1\n"
    )
    return folder


@pytest.fixture(scope="module")
def workspace(folder: Path) -> str:
    """A workspace with an untuned run, made through the command line."""
    ws = str(folder / "my workspace")
    chosen = settings("corpus.vocab_size=400", "corpus.chunking.chunk_tokens=32")
    shown = run("ingest", str(folder / "docs.jsonl"), "--to", ws, "--preset", "tiny", *chosen)
    assert "36 added" in shown.stdout
    assert "docs.jsonl:37" in shown.stdout
    trained = run(
        "pretrain",
        ws,
        "--preset",
        "tiny",
        *chosen,
        *settings(*SETTINGS),
        "--queries",
        str(folder / "queries.jsonl"),
    )
    assert "held-out queries: recall@1" in trained.stdout
    assert "after realm" in trained.stderr
    return ws


def test_a_folder_of_text_becomes_answers_with_evidence(workspace: str, folder: Path) -> None:
    found = run_json("search", workspace, "capital of Norland", "-k", "2")
    assert len(found["hits"]) == 2
    assert "score" in found["hits"][0]

    filled = run_json("fill", workspace, "Aldera is the capital of [MASK] .", "-k", "3")["fillings"]
    weights = [candidate["p_z"] for candidate in filled["candidates"]]
    assert sum(weights) == pytest.approx(1.0, abs=1e-5)
    for filling in filled["fillings"]:
        marginal = sum(z * y for z, y in zip(weights, filling["p_y_given_z"], strict=True))
        assert filling["p_y"] == pytest.approx(marginal, rel=1e-4)

    assert "has no QA reader" in run("ask", workspace, "What is the capital of Norland?").stdout
    assert run_json("ask", workspace, "What is it?")["has_reader"] is False
    assert run_json("index", workspace, "--check")["verified"] is True
    assert run_json("info", workspace)["problems"] == []
    assert "everything is whole" in run("info", workspace).stdout

    measured = run_json(
        "evaluate", workspace, "--probe", "--baseline", "bm25", "--qa", str(folder / "qa.jsonl")
    )
    assert {row["system"] for row in measured["rows"]} == {"openrealm", "bm25", "openrealm + bm25"}

    # The start is made again, as it was measured when the run began.
    queries = str(folder / "queries.jsonl")
    start = run_json("evaluate", workspace, "--stage", "start", "--queries", queries)
    reports = run_json("info", workspace)["runs"][0]["record"]["stage_reports"]
    assert (start["stage"], reports[0]["stage"]) == ("start", "start")
    for name, interval in start["rows"][0]["measures"].items():
        assert interval["mean"] == pytest.approx(reports[0][f"held_out/{name}"], abs=1e-6)

    qa = str(folder / "qa.jsonl")
    run("finetune", workspace, "--qa", qa, "--dev", qa)
    asked = run_json("ask", workspace, "What is the capital of Norland?")
    assert asked["has_reader"] is True
    texts = {d.id: d.text for d in documents()}
    for answer in asked["answers"]["answers"]:
        place = answer["evidence"][0]
        text = texts[place["chunk"]["document_id"]][place["start"] : place["stop"]]
        assert text.split() == answer["text"].split()
    assert "(no answer)" in run("ask", workspace, "What is the capital of Norland?").stdout


def test_texts_that_tell_nothing_twice_are_refused_and_leave_no_run(tmp_path: Path) -> None:
    ws, document = str(tmp_path / "ws"), tmp_path / "a.txt"
    document.write_text("The mill of Arnsford was built in 1790 by Jonas Reed.")
    chosen = settings("corpus.vocab_size=200", "corpus.chunking.chunk_tokens=32")
    run("ingest", str(document), "--to", ws, "--preset", "tiny", *chosen)
    given = [*settings(*SETTINGS), *settings("salient.supported_within=4")]
    told = run("pretrain", ws, "--preset", "tiny", *chosen, *given, status=2)
    assert "nothing here is said twice" in told.output
    assert not list((tmp_path / "ws" / "runs").iterdir())


def test_the_ways_of_the_default_preset_go_from_text_to_answers_and_resume(
    folder: Path, tmp_path: Path
) -> None:
    ws, qa = str(tmp_path / "ws"), str(folder / "qa.jsonl")
    chosen = settings("corpus.vocab_size=400", "corpus.chunking.chunk_tokens=32")
    run("ingest", str(folder / "docs.jsonl"), "--to", ws, "--preset", "tiny", *chosen)
    ways = settings(
        "salient.supported_within=6",
        "model.copy_head=true",
        "model.token_prior=true",
        "model.query_masks=false",
        "model.embedder.shared=false",
        "realm.towers=query",
        "realm.lexical=1",
        "loop.checkpoint_every=2",
    )
    trained = run("pretrain", ws, "--preset", "tiny", *chosen, *settings(*SETTINGS), *ways)
    assert "salient spans stand elsewhere too" in trained.stderr
    end = tmp_path / "ws" / "runs" / "run-001" / "checkpoints" / "realm-000003"
    weights = (end / "weights.safetensors").read_bytes()

    filled = run_json("fill", ws, "Aldera is the capital of [MASK] .", "-k", "3")["fillings"]
    assert sum(c["p_z"] for c in filled["candidates"]) == pytest.approx(1.0, abs=1e-5)
    assert run_json("evaluate", ws, "--probe")["rows"]
    assert run_json("info", ws)["problems"] == []

    # As if the process had died after step 2: the same weights once more, and no new snapshot.
    shutil.rmtree(end)
    before = sorted(path.name for path in (tmp_path / "ws/runs/run-001/snapshots").iterdir())
    run("pretrain", ws, "--resume")
    assert (end / "weights.safetensors").read_bytes() == weights
    after = sorted(path.name for path in (tmp_path / "ws/runs/run-001/snapshots").iterdir())
    assert after == before

    broken = end.parent / "warmup-000003" / "weights.safetensors"
    whole = broken.read_bytes()
    broken.write_bytes(whole[:-1])
    told = run("info", ws, status=1).stdout
    assert "warmup-000003/weights.safetensors is missing or damaged" in told
    broken.write_bytes(whole)
    assert run_json("info", ws)["problems"] == []

    # The towers are wider than the reader was: the one that answers is theirs.
    run("finetune", ws, "--qa", qa, *settings("qa.reader=tower"))
    end = tmp_path / "ws" / "runs" / "run-001" / "checkpoints" / "qa-000003"
    weights = (end / "weights.safetensors").read_bytes()
    assert run_json("ask", ws, "What is the capital of Norland?")["has_reader"] is True
    assert (
        run_json("fill", ws, "Aldera is the capital of [MASK] .", "-k", "3")["fillings"] == filled
    )
    # What fills masks is still there beside it.
    assert run_json("evaluate", ws, "--probe")["stage"] == "qa"
    shutil.rmtree(end)
    run("finetune", ws, "--qa", qa, "--resume")
    assert (end / "weights.safetensors").read_bytes() == weights

    # What the first weights were made of is gone once the corpus changes.
    more = tmp_path / "more.txt"
    more.write_text("Another town lies on the river Velle, and a king founded it in 1377.")
    run("ingest", str(more), "--to", ws)
    asked = ("evaluate", ws, "--queries", str(folder / "queries.jsonl"))
    told = run(*asked, "--stage", "start", status=2)
    assert "first weights cannot be made again" in told.stderr
    run(*asked)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["search", "{ws}", ""], "empty"),
        (["fill", "{ws}", "no mask here"], "[MASK]"),
        (["search", "{ws}", "x", "--run", "nope"], "no run 'nope'"),
        (["evaluate", "{ws}"], "nothing to measure"),
        (["evaluate", "{ws}", "--qa", "{ws}/missing.jsonl"], "missing.jsonl"),
        (["evaluate", "{ws}", "--beir", "{folder}/beir"], "holds none of the 1 documents"),
        (["finetune", "{ws}", "--qa", "{ws}/missing.jsonl"], "missing.jsonl"),
        (["finetune", "{ws}", "--qa", "q", "--resume", "--set", "qa.steps=1"], "began with"),
        (["pretrain", "{ws}", "--set", "realm.stepps=1"], "did you mean 'steps'"),
        (["pretrain", "{ws}", "--preset", "huge"], "no preset 'huge'"),
        (["ingest", "{ws}/missing.txt", "--to", "{ws}"], "missing.txt"),
        (["ingest", "--to", "{ws}"], "nothing to ingest"),
        (["info", "{ws}/elsewhere"], "no corpus"),
        (["search", "{ws}/elsewhere", "x"], "elsewhere"),
        (["config", "--preset", "huge"], "no preset 'huge'"),
    ],
)
def test_what_a_user_can_get_wrong_is_told_in_a_line(
    workspace: str, folder: Path, words: list[str], told: str
) -> None:
    result = run(*(word.format(ws=workspace, folder=folder) for word in words), status=2)
    assert result.stdout == ""
    assert result.stderr.startswith("openrealm: ")
    assert result.stderr.count("\n") == 1
    assert told in result.stderr
