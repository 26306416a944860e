"""Tests of imports as a whole: the run works like any other, and a failure leaves nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import commands
import numpy as np
import published
import pytest
import torch

import openrealm
from openrealm.corpus.store import ChunkStore
from openrealm.errors import CheckpointError, ConfigError, CorpusError, InputError, OpenRealmError
from openrealm.index.snapshot import Snapshot
from openrealm.progress import Silent
from openrealm.recipes.imports import ImportReport, import_weights
from openrealm.runs.folders import WorkspaceFolder
from openrealm.runs.loaded import load_run

Import = Callable[..., ImportReport]


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """A folder with one directory of each kind, and the records."""
    folder = tmp_path / "sources"
    for kind in published.CLASSES:
        published.write(folder / kind, kind)
    published.write(folder / "realm-cc-news-pretrained-openqa", "openqa", form="bin")
    published.write_records(folder / "block_records.npy")
    return folder


@pytest.fixture
def imported(tmp_path: Path, sources: Path) -> Import:
    def run(*names: str, **options: object) -> ImportReport:
        paths = [sources / name for name in names]
        return import_weights(tmp_path / "ws", sources=paths, **options)  # type: ignore[arg-type]

    return run


def everything(folder: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_a_fine_tuned_model_with_its_blocks_searches_and_answers(
    tmp_path: Path, imported: Import
) -> None:
    report = imported("openqa", "block_records.npy")
    assert (report.run, report.stages) == ("run-001", ("qa",))
    assert (report.blocks, report.chunks, report.vectors) == (9, 9, 9)
    assert report.parts[0].dropped == 3760 + 3760 + 1056  # two heads and the reader's pooler
    assert any("embedder of queries alone" in note for note in report.notes)
    assert openrealm.open(tmp_path / "ws").ask("where is the king").has_reader
    assert openrealm.open(tmp_path / "ws").info().problems == ()


def test_each_block_is_one_chunk_and_row_i_of_the_vectors_is_block_i(
    tmp_path: Path, imported: Import
) -> None:
    imported("openqa", "block_records.npy")
    store = ChunkStore.open(tmp_path / "ws" / "corpus")
    assert [store.document(n).text for n in range(9)] == list(published.BLOCKS)
    assert [list(store.rows_of(n)) for n in range(9)] == [[n] for n in range(9)]
    assert store.lengths.max() <= store.chunking.chunk_tokens
    snapshot = Snapshot.open(tmp_path / "ws" / "runs" / "run-001" / "snapshots" / "000001")
    assert np.array_equal(snapshot.read(), published.block_emb().numpy())
    # The ranking is that of the inner products with these vectors.
    loaded = load_run(WorkspaceFolder(tmp_path / "ws"), name=None, progress=Silent())
    ids = loaded.corpus.tokenizer.encode("capital of peru").ids
    with torch.no_grad():
        query = loaded.model.eval().embedder.embed_queries(loaded.encoder.templates.query([ids]))[0]
    wanted = torch.argsort(published.block_emb() @ query, descending=True)[:3]
    hits = openrealm.open(tmp_path / "ws").search("capital of peru", k=3).hits
    assert [hit.chunk.row for hit in hits] == wanted.tolist()


def test_the_vectors_stay_where_the_chunk_tower_is_the_pre_trained_one(
    tmp_path: Path, imported: Import
) -> None:
    report = imported("embedder", "encoder", "openqa", "block_records.npy")
    assert report.stages == ("realm", "qa")
    assert [part.stage for part in report.parts] == ["realm", "realm", "qa"]
    for stages in (("realm",), ("qa",)):
        place = WorkspaceFolder(tmp_path / "ws")
        loaded = load_run(place, name=None, stages=stages, progress=Silent())
        assert loaded.live.generation == 1
        dense = loaded.model.embedder.chunk_tower.dense.weight
        assert torch.equal(dense.cpu(), published.weights("embedder")["cls.dense.weight"])
    assert openrealm.open(tmp_path / "ws").fill("Lima is in [MASK] .").fillings.fillings


def test_a_pre_trained_model_is_fine_tuned_like_any_other(tmp_path: Path, imported: Import) -> None:
    report = imported("realm-cc-news-pretrained-openqa", "encoder", "block_records.npy")
    assert report.stages == ("realm",)
    questions = tmp_path / "qa.jsonl"
    questions.write_text('{"question": "where is the nile", "answer": ["egypt"]}\n', "utf-8")
    assert not openrealm.open(tmp_path / "ws").ask("where is the nile").has_reader
    commands.finetune(tmp_path / "ws", qa=[questions], assignments=["qa.steps=2", "qa.beam=5"])
    assert openrealm.open(tmp_path / "ws").ask("where is the nile").has_reader


def test_parts_that_no_source_holds_are_named(tmp_path: Path, imported: Import) -> None:
    notes = "\n".join(imported("embedder", "block_records.npy").notes)
    for missing in ("no source holds a reader", "masked-LM head", "span head", "no vectors"):
        assert missing in notes
    run = load_run(WorkspaceFolder(tmp_path / "ws"), name=None, progress=Silent())
    assert run.checkpoint.position.stage == "realm"
    tower, reader = run.model.embedder.chunk_tower.bert, run.model.reader.masked_lm.bert
    words = [b.embeddings.word_embeddings.weight for b in (tower, reader)]
    assert torch.equal(words[0], words[1])
    notes = "\n".join(imported("encoder").notes)
    assert "no source holds an embedder" in notes


def test_towers_that_are_two_stay_two(tmp_path: Path, imported: Import) -> None:
    imported("scorer_unshared", "block_records.npy")
    model = load_run(WorkspaceFolder(tmp_path / "ws"), name=None, progress=Silent()).model
    weights = published.weights("scorer_unshared")
    assert not model.embedder.is_shared
    for tower, prefix in (
        (model.embedder.chunk_tower, "embedder"),
        (model.embedder.query_tower, "query_embedder"),
    ):
        assert torch.equal(tower.dense.weight.cpu(), weights[f"{prefix}.cls.dense.weight"])


def test_a_name_decides_whether_a_reader_is_fine_tuned_and_stage_overrides_it(
    imported: Import,
) -> None:
    assert imported("openqa", "block_records.npy", stage="realm").stages == ("realm",)
    assert imported("realm-cc-news-pretrained-openqa").stages == ("realm",)
    assert imported("realm-cc-news-pretrained-openqa", stage="qa").stages == ("qa",)
    assert imported("reader").stages == ("qa",)
    with pytest.raises(ConfigError, match="neither qa nor realm"):
        imported("reader", stage="ict")


def test_a_second_run_shares_the_blocks_that_are_there(tmp_path: Path, imported: Import) -> None:
    imported("openqa", "block_records.npy")
    before = everything(tmp_path / "ws" / "corpus")
    report = imported("openqa", "block_records.npy", run="again")
    assert (report.run, report.blocks, report.vectors) == ("again", 0, 9)
    assert everything(tmp_path / "ws" / "corpus") == before


def test_the_vocabulary_becomes_the_corpus(tmp_path: Path, imported: Import) -> None:
    imported("embedder", "block_records.npy")
    tokenizer = ChunkStore.open(tmp_path / "ws" / "corpus").tokenizer
    assert [tokenizer.token(n) for n in range(80)] == published.vocabulary()


def test_weights_for_a_corpus_of_one_s_own_documents(tmp_path: Path, imported: Import) -> None:
    (tmp_path / "notes.txt").write_text("Lima is the capital of Peru.\n\nThe Nile.", "utf-8")
    commands.ingest(
        tmp_path / "ws",
        sources=[tmp_path / "notes.txt"],
        assignments=[
            f"corpus.tokenizer={tmp_path / 'sources' / 'embedder'}",
            "corpus.chunking.chunk_tokens=40",
        ],
    )
    report = imported("embedder", "openqa")
    assert (report.blocks, report.vectors) == (0, 0)
    assert any("not of its blocks" in note for note in report.notes)
    assert openrealm.open(tmp_path / "ws").search("capital", k=1).hits


# What is refused ----------------------------------------------------------------------------------


def refused(tmp_path: Path, kind: type[OpenRealmError], message: str, imported: Callable) -> None:
    before = everything(tmp_path / "ws") if (tmp_path / "ws").exists() else None
    with pytest.raises(kind, match=message):
        imported()
    after = everything(tmp_path / "ws") if (tmp_path / "ws").exists() else None
    assert after == before


def test_a_failure_leaves_the_workspace_as_it_was(
    tmp_path: Path, sources: Path, imported: Import
) -> None:
    published.write_records(sources / "few.npy", published.BLOCKS[:5])
    published.write_records(sources / "empty.npy", [*published.BLOCKS[:8], " "])
    weights = published.weights("openqa") | {"embedder.cls.dense.bias": torch.zeros(3)}
    published.write(sources / "broken", "openqa", tensors=weights)
    nan = published.weights("openqa")
    nan["block_emb"][8, 0] = torch.nan
    published.write(sources / "nan", "openqa", tensors=nan)

    def all_refused() -> None:
        for kind, message, names in (
            (InputError, "5 records, .* 9 vectors", ("openqa", "few.npy")),
            (InputError, "no text", ("openqa", "empty.npy")),
            (CheckpointError, "shape", ("broken", "block_records.npy")),
            (OpenRealmError, "finite", ("nan", "block_records.npy")),
            (InputError, "both of kind", ("openqa", "broken", "block_records.npy")),
        ):
            refused(tmp_path, kind, message, lambda names=names: imported(*names))  # type: ignore[misc]

    all_refused()
    assert not (tmp_path / "ws").exists()
    imported("openqa", "block_records.npy")
    for message, names in (("shape", ("broken",)), ("finite", ("nan",))):
        refused(tmp_path, OpenRealmError, message, lambda names=names: imported(*names))  # type: ignore[misc]


def test_another_vocabulary_than_the_corpus_has_is_refused_with_what_to_do(
    tmp_path: Path, sources: Path, imported: Import
) -> None:
    imported("embedder", "block_records.npy")
    words = published.vocabulary()
    words[5], words[6] = words[6], words[5]
    (sources / "reader" / "vocab.txt").write_text("\n".join(words) + "\n", "utf-8")
    refused(tmp_path, CorpusError, "--rechunk", lambda: imported("reader"))


def test_vocabularies_and_shapes_of_sources_must_agree(
    tmp_path: Path, sources: Path, imported: Import
) -> None:
    words = published.vocabulary()[::-1]
    (sources / "encoder" / "vocab.txt").write_text("\n".join(words) + "\n", "utf-8")
    names = ("embedder", "encoder", "block_records.npy")
    refused(tmp_path, ConfigError, "different vocabularies", lambda: imported(*names))
    fields = published.config("encoder") | {"num_attention_heads": 2}
    published.write(sources / "encoder", "encoder", fields=fields)
    refused(tmp_path, ConfigError, r"model.bert.heads", lambda: imported(*names))


def test_weights_without_any_corpus_are_refused_with_what_to_do(
    tmp_path: Path, imported: Import
) -> None:
    refused(tmp_path, CorpusError, "openrealm ingest", lambda: imported("embedder"))


def test_other_blocks_than_the_corpus_has_are_refused(
    tmp_path: Path, sources: Path, imported: Import
) -> None:
    imported("embedder", "block_records.npy")
    published.write_records(sources / "other.npy", published.BLOCKS[::-1])
    refused(tmp_path, CorpusError, "workspace of its own", lambda: imported("other.npy"))


def test_a_source_that_is_nothing_is_named(tmp_path: Path, imported: Import) -> None:
    (tmp_path / "sources" / "notes.txt").write_text("x", "utf-8")
    refused(tmp_path, InputError, "notes.txt", lambda: imported("notes.txt"))
    refused(tmp_path, InputError, "nothing to import", imported)


# Full size ----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_model_of_full_size_is_imported_in_the_memory_of_one_model(tmp_path: Path) -> None:
    """267 million parameters with 100,000 vectors and records, and what that takes."""
    fields = published.config("openqa") | published.FULL_SIZE
    tensors = published.full_size("openqa")
    live = [v for n, v in tensors.items() if ".cls.predictions" not in n]
    num_live = sum(v.numel() for v in live) - 768 * 768 - 768  # the reader's pooler
    tensors["block_emb"] = torch.randn(100_000, 128)
    published.write(tmp_path / "nq", "openqa", tensors=tensors, fields=fields, has_vocabulary=False)
    words = [*published.WORDS, *(f"word{n}" for n in range(30_522 - len(published.WORDS)))]
    (tmp_path / "nq" / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    last = tensors["block_emb"][-1].clone()
    del tensors, live
    published.write_records(tmp_path / "nq" / "block_records.npy", published.BLOCKS[:4] * 25_000)
    program = f"""
        import json, resource, time
        from pathlib import Path
        from openrealm.cli.options import plain
        from openrealm.recipes.imports import import_weights
        began = time.perf_counter()
        ws, nq = Path({str(tmp_path / "ws")!r}), Path({str(tmp_path / "nq")!r})
        report = plain(import_weights(ws, sources=[nq]))
        report["mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps(report))
    """
    ran = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
        capture_output=True,
        text=True,
        check=True,
    )
    report = json.loads(ran.stdout)
    print(f"{report['seconds']:.0f} s, {report['mib']:.0f} MiB")
    assert report["parts"][0]["parameters"] == num_live
    assert report["parts"][0]["dropped"] == 2 * 24_063_546 + 768 * 768 + 768
    assert report["vectors"] == report["chunks"] == 100_000
    run = tmp_path / "ws" / "runs" / "run-001"
    snapshot = Snapshot.open(run / "snapshots" / "000001")
    assert torch.equal(torch.from_numpy(snapshot.read()[-1]), last)
    # The model with both its towers is 1.4 GB; mapped files count too, and are given back.
    assert report["mib"] < 3_500
