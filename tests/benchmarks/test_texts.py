"""Tests of the benchmarks of texts and words, at a size where nothing can be timed."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from benchmark_scripts import load_benchmark
from tiny import World, documents
from trained import write_documents

from openrealm.progress import Silent
from openrealm.runs.folders import WorkspaceFolder
from openrealm.runs.loaded import load_run


def test_a_lead_ends_with_the_last_sentence_that_fits_or_the_first() -> None:
    lead = load_benchmark("leads").lead
    text = "Aldera is old. It has a river. Ships sail there."
    assert lead(text, 31) == "Aldera is old. It has a river."
    assert lead(text, 5) == "Aldera is old."
    assert lead("", 5) == ""


def test_leads_are_documents_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    leads = load_benchmark("leads")
    write_documents(tmp_path / "docs.jsonl")
    given = [str(tmp_path / "docs.jsonl"), "--characters", "40", "--to", str(tmp_path / "to.jsonl")]
    monkeypatch.setattr(sys, "argv", ["leads", *given])
    leads.main()
    found = [json.loads(line) for line in (tmp_path / "to.jsonl").read_text().splitlines()]
    assert [record["id"] for record in found] == [d.id for d in documents()]
    assert found[0]["text"] == "Aldera is the capital of Norland."
    assert capsys.readouterr().out.startswith(f"{len(found)} articles")


def test_every_tagger_is_timed_and_compared_with_the_sample(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    salient = load_benchmark("salient")
    write_documents(tmp_path / "docs.jsonl")
    sample = tmp_path / "sample.jsonl"
    sample.write_text(json.dumps({"text": "It began in 1204.", "spans": [[12, 16, "date"]]}) + "\n")
    given = [str(tmp_path / "docs.jsonl"), "--sample", str(sample)]
    monkeypatch.setattr(sys, "argv", ["salient", *given])
    salient.main()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"{len(documents())} documents")
    taggers = [line[:20].strip() for line in lines[2:]]
    assert taggers[0] == "rules" and len(taggers) == 6
    assert lines[2].endswith("P 1.000 (1.000)  R 1.000 (1.000)  F1 1.000 (1.000)")


def test_an_ingest_and_tokenizers_alone_read_the_same_text(world: World, tmp_path: Path) -> None:
    ingest = load_benchmark("ingest")
    write_documents(tmp_path / "docs.jsonl")
    world.tokenizer.save(tmp_path / "vocab")
    given = ([tmp_path / "docs.jsonl"], tmp_path / "vocab" / "tokenizer.json", 32)
    alone, whole = ingest.measure_tokenizers(*given), ingest.measure_ingest(*given)
    assert alone.megabytes == whole.megabytes > 0 and min(alone.rate, whole.rate) > 0
    assert whole.note.startswith(f"{len(documents())} documents") and "0 problems" in whole.note


def test_inner_products_are_those_of_the_vectors(trained: Path) -> None:
    words = load_benchmark("words")
    loaded = load_run(WorkspaceFolder(trained), name=None, stages=["realm"], progress=Silent())
    ids = loaded.corpus.tokenizer.encode("which river is in Cazimir?").ids
    query = loaded.encoder.embed_queries([ids])[0].detach().numpy()
    vectors = loaded.live.index.chunk_emb.numpy()  # type: ignore[attr-defined]
    found = words.inner_products(loaded, "which river is in Cazimir?")
    np.testing.assert_allclose(found, vectors @ query, rtol=1e-4, atol=1e-5)


def test_each_weight_of_the_words_is_a_line(
    trained: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = load_benchmark("words")
    (tmp_path / "qrels").mkdir()
    (tmp_path / "queries.jsonl").write_text('{"_id": "q", "text": "Who governs Palvia?"}\n')
    (tmp_path / "qrels" / "test.tsv").write_text(
        "query-id\tcorpus-id\tscore\nq\tcountry-Palvia\t1\n"
    )
    given = [str(trained), "--beir", str(tmp_path), "--stage", "realm", "--weights", "0", "100"]
    monkeypatch.setattr(sys, "argv", ["words", *given])
    words.main()
    _, _, by_vectors, by_words = capsys.readouterr().out.splitlines()
    assert by_vectors.startswith("| 0 |")
    # "governs" and "Palvia" are told together in one document only.
    assert by_words.startswith("| 100 | 1.000")
