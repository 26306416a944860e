"""Tests of the chunk store as its users see it: reading, adding, replacing, removing, damage."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openrealm.corpus import chunking, manifest, segment_writer, segments, updating
from openrealm.corpus import store as store_module
from openrealm.corpus.chunking import chunk_documents
from openrealm.corpus.records import Document, IngestReport, Problem, ProblemLog
from openrealm.corpus.store import ChunkStore
from openrealm.corpus.transaction import sole_writer
from openrealm.corpus.updating import rechunk_store, update_store
from openrealm.errors import CorpusError, InputError
from openrealm.settings import ChunkingConfig
from openrealm.tokenizer import WordPiece

SMALL = ChunkingConfig(chunk_tokens=20, min_chunk_tokens=0)


@pytest.fixture(scope="module", autouse=True)
def quick_disk() -> Iterator[None]:
    """Waiting for the disk takes most of the time of these tests and shows nothing."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield


@pytest.fixture
def folder(tmp_path: Path, documents: list[Document], tokenizer: WordPiece) -> Path:
    """A store of the five documents."""
    directory = tmp_path / "corpus"
    update_store(directory, add=documents, tokenizer=tokenizer, chunking=SMALL)
    return directory


def document(number: int, text: str = "") -> Document:
    text = text or f"Lake number {number} is deep. It lies in Africa, and the Nile leaves it."
    return Document(f"n{number}", f"Lake {number}", text, "lakes.jsonl")


def tree(directory: Path) -> dict[str, bytes]:
    """The content of every file but the lock."""
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


def counts(report: IngestReport) -> tuple[int, int, int, int]:
    return report.added, report.unchanged, report.replaced, report.removed


def assert_holds(directory: Path, wanted: list[Document], tokenizer: WordPiece) -> None:
    """The store is whole and holds these documents in this order, with the right chunks."""
    store = ChunkStore.open(directory)
    store.verify()
    assert list(store.documents()) == wanted
    assert store.num_documents == len(wanted)
    row = 0
    for number, chunked in enumerate(chunk_documents(wanted, tokenizer, store.chunking)):
        text = chunked.document.text
        assert store.find_document(chunked.document.id) == number
        assert store.rows_of(number) == range(row, row + len(chunked.spans))
        starts = [0, *chunked.body_stops]
        for (start, stop), begin, end in zip(chunked.spans, starts, starts[1:], strict=False):
            chunk = store.chunk(row)
            assert (chunk.row, chunk.document_id) == (row, chunked.document.id)
            assert (chunk.start, chunk.stop) == (start, stop)
            assert (chunk.title, chunk.text) == (chunked.document.title, text[start:stop])
            assert np.array_equal(store.title_ids(row), chunked.title_ids)
            assert np.array_equal(store.body_ids(row), chunked.body_ids[begin:end])
            assert store.lengths[row] == 3 + len(chunked.title_ids) + end - begin
            assert store.document_of[row] == number
            row += 1
    assert len(store) == len(store.lengths) == len(store.document_of) == row


# Making and reading


def test_a_store_gives_back_what_was_put_in(
    folder: Path, documents: list[Document], tokenizer: WordPiece
) -> None:
    assert_holds(folder, documents, tokenizer)
    store = ChunkStore.open(folder)
    assert store.chunking == SMALL
    assert store.tokenizer.fingerprint == tokenizer.fingerprint
    assert store.body_ids(0).dtype == store.title_ids(0).dtype == np.int32
    assert store.lengths.dtype == store.document_of.dtype == np.int32


def test_text_beyond_ascii_and_the_basic_plane_is_cut_at_the_right_bytes(
    tmp_path: Path, tokenizer: WordPiece
) -> None:
    odd = [
        Document("ä", "Ün", "Ein See. \U0001f600 Der Nil fließt。湖は深い。川。" * 5, "ö.txt"),
        Document("x", "", "Plain.", ""),
    ]
    update_store(tmp_path / "s", add=odd, tokenizer=tokenizer, chunking=SMALL)
    assert_holds(tmp_path / "s", odd, tokenizer)


def test_stores_of_many_batches_and_large_vocabularies_are_right(
    tmp_path: Path, tokenizer: WordPiece, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (segments, segment_writer):
        monkeypatch.setattr(module, "CHUNK_BATCH_ROWS", 7)
    monkeypatch.setattr(segment_writer, "_DOCUMENT_BATCH_ROWS", 3)
    monkeypatch.setattr("openrealm.corpus.updating.token_type", lambda _: "int32")
    many = [document(n) for n in range(20)]
    update_store(tmp_path / "s", add=many, tokenizer=tokenizer, chunking=SMALL)
    assert len(ChunkStore.open(tmp_path / "s")) > 14
    assert_holds(tmp_path / "s", many, tokenizer)


def test_token_ids_take_two_bytes_for_vocabularies_that_allow_it() -> None:
    assert segments.token_type(30_522) == segments.token_type(65_536) == "uint16"
    assert segments.token_type(65_537) == "int32"


@pytest.mark.parametrize("row", [-1, 10_000])
def test_rows_and_numbers_out_of_range_are_refused(folder: Path, row: int) -> None:
    store = ChunkStore.open(folder)
    for look_up in (store.chunk, store.title_ids, store.body_ids, store.document, store.rows_of):
        with pytest.raises(IndexError, match=str(row)):
            look_up(row)


def test_an_unknown_document_is_not_found(folder: Path) -> None:
    assert ChunkStore.open(folder).find_document("nobody") is None


def test_what_is_read_cannot_be_written_to(folder: Path) -> None:
    store = ChunkStore.open(folder)
    for array in (store.lengths, store.document_of):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1


# Updating


def test_ingesting_the_same_again_changes_no_byte(
    folder: Path, documents: list[Document], tokenizer: WordPiece
) -> None:
    before = tree(folder)
    report = update_store(folder, add=documents, tokenizer=tokenizer, chunking=SMALL)
    assert counts(report) == (0, 5, 0, 0)
    assert tree(folder) == before


def test_the_same_documents_make_the_same_files_anywhere(
    folder: Path, documents: list[Document], tokenizer: WordPiece, tmp_path: Path
) -> None:
    update_store(tmp_path / "other", add=iter(documents), tokenizer=tokenizer, chunking=SMALL)
    assert tree(tmp_path / "other") == tree(folder)


def test_additions_come_after_and_leave_the_other_files_alone(
    folder: Path, documents: list[Document], tokenizer: WordPiece
) -> None:
    before = tree(folder)
    report = update_store(folder, add=[document(1)])
    assert counts(report) == (1, 0, 0, 0)
    assert_holds(folder, [*documents, document(1)], tokenizer)
    after = tree(folder)
    assert {name for name in before if after[name] != before[name]} == {"store.json"}
    assert report.chunks == len(ChunkStore.open(folder))


def test_removal_closes_the_gap_and_leaves_the_other_files_alone(
    folder: Path, documents: list[Document], tokenizer: WordPiece
) -> None:
    before = tree(folder)
    assert counts(update_store(folder, remove=["d1", "d3"])) == (0, 0, 0, 2)
    assert_holds(folder, [documents[0], documents[2], documents[4]], tokenizer)
    after = tree(folder)
    assert {name for name in before if after[name] != before[name]} == {"store.json"}
    assert counts(update_store(folder, remove=["d4"])) == (0, 0, 0, 1)
    assert_holds(folder, [documents[0], documents[2]], tokenizer)


def test_a_changed_document_replaces_the_old_one_at_the_end(
    folder: Path, documents: list[Document], tokenizer: WordPiece
) -> None:
    changed = Document("d1", "Text 1", "Another text. It is short.", "x")
    report = update_store(folder, add=[documents[0], changed])
    assert counts(report) == (0, 1, 1, 0)
    assert_holds(folder, [documents[0], *documents[2:], changed], tokenizer)


def test_a_changed_title_replaces_and_a_changed_source_does_not(
    folder: Path, documents: list[Document]
) -> None:
    one, two = documents[:2]
    moved = Document(one.id, one.title, one.text, "elsewhere.txt")
    renamed = Document(two.id, "New", two.text, two.source)
    assert counts(update_store(folder, add=[moved, renamed])) == (0, 1, 1, 0)


def test_a_document_may_be_removed_and_added_in_one_update(
    folder: Path, documents: list[Document], tokenizer: WordPiece
) -> None:
    assert counts(update_store(folder, remove=["d0"], add=[documents[0]])) == (1, 0, 0, 1)
    assert_holds(folder, [*documents[1:], documents[0]], tokenizer)


def test_removing_everything_leaves_an_empty_store_that_can_be_filled_again(
    folder: Path, documents: list[Document], tokenizer: WordPiece
) -> None:
    update_store(folder, remove=[d.id for d in documents])
    assert_holds(folder, [], tokenizer)
    assert not list(folder.glob("segment-*"))
    assert counts(update_store(folder, remove=["d0"])) == (0, 0, 0, 0)
    assert len(rechunk_store(folder).problems) == 0
    update_store(folder, add=documents)
    assert_holds(folder, documents, tokenizer)


def test_many_small_additions_stay_few_segments_in_order(
    tmp_path: Path, tokenizer: WordPiece, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(updating, "MAX_SEGMENTS", 3)
    many = [document(n) for n in range(12)]
    for number, one in enumerate(many):
        update_store(tmp_path / "s", add=[one], tokenizer=tokenizer, chunking=SMALL)
        assert len(list((tmp_path / "s").glob("segment-*"))) <= 3
        if number == 6:
            update_store(tmp_path / "s", remove=["n2"])
    assert_holds(tmp_path / "s", many[:2] + many[3:], tokenizer)


ACTIONS = st.lists(
    st.tuples(
        st.lists(st.tuples(st.integers(0, 5), st.integers(0, 2)), max_size=4),
        st.lists(st.integers(0, 5), max_size=2),
    ),
    max_size=6,
)


@settings(max_examples=25)
@given(actions=ACTIONS)
def test_any_series_of_updates_ends_as_a_list_of_documents_would(
    actions: list[tuple[list[tuple[int, int]], list[int]]],
    tokenizer: WordPiece,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    directory = tmp_path_factory.mktemp("store") / "s"
    wanted = [document(100)]
    update_store(directory, add=wanted, tokenizer=tokenizer, chunking=SMALL)
    for additions, removals in actions:
        new = list({n: document(n, f"Lake {n} in state {k}.") for n, k in additions}.values())
        update_store(directory, add=new, remove=[f"n{n}" for n in removals])
        wanted = [d for d in wanted if d.id not in {f"n{n}" for n in removals}]
        new = [d for d in new if d not in wanted]
        wanted = [d for d in wanted if d.id not in {n.id for n in new}] + new
    assert_holds(directory, wanted, tokenizer)
    fresh = directory.with_name("fresh")
    update_store(fresh, add=wanted, tokenizer=tokenizer, chunking=SMALL)
    assert ChunkStore.open(fresh).fingerprint == ChunkStore.open(directory).fingerprint


def test_the_fingerprint_tells_content_order_tokenizer_and_chunking_apart(
    tmp_path: Path, documents: list[Document], tokenizer: WordPiece
) -> None:
    other = WordPiece.train(["something else"], vocab_size=100)
    changed = [Document(d.id, d.title + "!", d.text, d.source) for d in documents]
    variants = [
        (documents, tokenizer, SMALL),
        (documents[::-1], tokenizer, SMALL),
        (documents[:-1], tokenizer, SMALL),
        (changed, tokenizer, SMALL),
        (documents, other, SMALL),
        (documents, tokenizer, ChunkingConfig(chunk_tokens=21, min_chunk_tokens=0)),
        (documents, tokenizer, ChunkingConfig(chunk_tokens=20, min_chunk_tokens=1)),
        (documents, tokenizer, ChunkingConfig(chunk_tokens=20, min_chunk_tokens=0, whole=True)),
    ]
    prints = set()
    for number, (add, vocabulary, config) in enumerate(variants):
        update_store(tmp_path / str(number), add=add, tokenizer=vocabulary, chunking=config)
        prints.add(ChunkStore.open(tmp_path / str(number)).fingerprint)
    assert len(prints) == len(variants)


def test_the_fingerprint_of_a_store_from_before_a_setting_is_still_the_same(
    tmp_path: Path, documents: list[Document], tokenizer: WordPiece
) -> None:
    update_store(tmp_path / "s", add=documents, tokenizer=tokenizer, chunking=SMALL)
    store = ChunkStore.open(tmp_path / "s")
    settings = {"chunk_tokens": 20, "min_chunk_tokens": 0, "title_share": 0.25}
    digest = hashlib.sha256()
    parts = [tokenizer.fingerprint, settings, store.manifest.rules]
    digest.update(json.dumps(parts, sort_keys=True).encode())
    for number in range(store.num_documents):
        digest.update(store.digest(number))
    assert store.fingerprint == digest.hexdigest()


# Problems with documents


def test_a_second_document_with_the_same_id_is_a_problem(folder: Path) -> None:
    log = ProblemLog()
    twice = [document(1), document(1, "Other text.")]
    report = update_store(folder, add=twice, on_problem=log)
    assert counts(report) == (1, 0, 0, 0)
    assert report.problems == log.problems
    assert report.problems[0].reason == "duplicate id: a document 'n1' came before"


@pytest.mark.parametrize("text", ["\x01", "\u200b", " "])
def test_a_document_without_tokens_is_a_problem_and_replaces_nothing(
    folder: Path, documents: list[Document], tokenizer: WordPiece, text: str
) -> None:
    report = update_store(folder, add=[Document("d0", "", text, "f.txt")])
    assert counts(report) == (0, 0, 0, 0)
    assert (report.num_problems, report.problems[0].source) == (1, "f.txt")
    assert_holds(folder, documents, tokenizer)


def test_a_document_with_half_a_surrogate_pair_is_a_problem(folder: Path) -> None:
    report = update_store(folder, add=[Document("x", "", "a\ud800b", "f"), document(1)])
    assert counts(report) == (1, 0, 0, 0)
    assert "surrogate" in report.problems[0].reason


def test_removing_an_unknown_id_is_a_problem(folder: Path) -> None:
    report = update_store(folder, remove=["nobody", "d0", "d0"])
    assert counts(report) == (0, 0, 0, 1)
    assert [p.source for p in report.problems] == ["nobody", "d0"]


def test_a_strict_handler_of_problems_leaves_the_store_unchanged(folder: Path) -> None:
    def strict(problem: Problem) -> None:
        raise InputError(str(problem))

    before = tree(folder)
    with pytest.raises(InputError):
        update_store(folder, add=[document(1), document(1)], remove=["d0"], on_problem=strict)
    assert tree(folder) == before


def test_a_log_shared_with_the_reader_makes_the_report_whole(folder: Path) -> None:
    log = ProblemLog()
    log(Problem("a.txt", None, "empty"))
    report = update_store(folder, add=[document(1), document(1)], on_problem=log)
    assert [p.source for p in report.problems] == ["a.txt", "lakes.jsonl"]


# Settings


def test_a_new_store_needs_a_tokenizer_and_a_document(tmp_path: Path, tokenizer: WordPiece) -> None:
    with pytest.raises(CorpusError, match="needs a tokenizer"):
        update_store(tmp_path / "s", add=[document(1)])
    with pytest.raises(CorpusError, match="no document for a new chunk store"):
        update_store(tmp_path / "s", tokenizer=tokenizer)
    assert not (tmp_path / "s").exists()


def test_another_tokenizer_or_chunking_is_refused(folder: Path, tokenizer: WordPiece) -> None:
    with pytest.raises(CorpusError, match="another tokenizer"):
        update_store(folder, tokenizer=WordPiece.train(["x"], vocab_size=50))
    with pytest.raises(CorpusError, match=r"chunk_tokens=20.*chunk_tokens=30"):
        update_store(folder, chunking=ChunkingConfig(chunk_tokens=30))


def test_a_store_cut_by_other_rules_is_read_but_not_added_to(
    folder: Path, documents: list[Document], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("openrealm.corpus.updating.RULES_VERSION", 2)
    assert ChunkStore.open(folder).num_documents == 5
    with pytest.raises(CorpusError, match="rules of another release"):
        update_store(folder, add=[document(1)])


def test_cutting_anew_gives_what_a_new_store_would_hold(
    folder: Path, documents: list[Document], tmp_path: Path, tokenizer: WordPiece
) -> None:
    update_store(folder, remove=["d1"])
    other = WordPiece.train(["the nile and the lakes of africa"], vocab_size=120)
    config = ChunkingConfig(chunk_tokens=48)
    report = rechunk_store(folder, tokenizer=other, chunking=config)
    kept = [documents[0], *documents[2:]]
    assert_holds(folder, kept, other)
    update_store(tmp_path / "new", add=kept, tokenizer=other, chunking=config)
    assert ChunkStore.open(folder).fingerprint == ChunkStore.open(tmp_path / "new").fingerprint
    assert report.chunks == len(ChunkStore.open(folder))
    assert len(list(folder.glob("segment-*"))) == len(list(folder.glob("tokenizer-*"))) == 1


def test_cutting_anew_needs_a_store(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="no chunk store"):
        rechunk_store(tmp_path / "s")


# Damage and strangers


def test_a_store_exists_once_its_manifest_does(folder: Path, tmp_path: Path) -> None:
    assert ChunkStore.exists(folder)
    (tmp_path / "begun" / "staging").mkdir(parents=True)
    assert not ChunkStore.exists(tmp_path / "begun")
    assert not ChunkStore.exists(tmp_path / "nowhere")


def test_a_missing_store_is_named(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="there is no chunk store in"):
        ChunkStore.open(tmp_path / "nowhere")


def test_a_folder_with_other_things_in_it_is_refused(tmp_path: Path, tokenizer: WordPiece) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(CorpusError, match=r"thesis\.txt"):
        update_store(tmp_path, add=[document(1)], tokenizer=tokenizer)
    assert os.listdir(tmp_path) == ["thesis.txt"]


def test_a_file_in_place_of_the_folder_is_an_error(tmp_path: Path, tokenizer: WordPiece) -> None:
    (tmp_path / "s").write_text("mine")
    with pytest.raises(CorpusError, match="could not be written"):
        update_store(tmp_path / "s", add=[document(1)], tokenizer=tokenizer)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "cannot be read"),
        ("[]", "not the manifest"),
        ('{"format": "something else"}', "not the manifest"),
        ('{"format": "openrealm chunk store", "version": 99}', "version 99"),
        ('{"format": "openrealm chunk store", "version": 1}', "damaged"),
    ],
)
def test_a_manifest_that_cannot_be_used_is_named(folder: Path, content: str, message: str) -> None:
    (folder / "store.json").write_text(content)
    with pytest.raises(CorpusError, match=message):
        ChunkStore.open(folder)


def files_of(directory: Path) -> list[str]:
    return [name for name in tree(directory) if name != "store.json"]


def test_a_missing_or_shortened_file_is_noticed_on_opening(folder: Path, tmp_path: Path) -> None:
    update_store(folder, remove=["d1"])
    assert len(files_of(folder)) == 8
    for name in files_of(folder):
        copy = tmp_path / "copy"
        shutil.copytree(folder, copy)
        (copy / name).write_bytes((copy / name).read_bytes()[:-1])
        with pytest.raises(CorpusError, match=Path(name).name):
            ChunkStore.open(copy)
        (copy / name).unlink()
        with pytest.raises(CorpusError, match=Path(name).name):
            ChunkStore.open(copy)
        shutil.rmtree(copy)


def test_a_changed_byte_anywhere_is_noticed_by_verify(folder: Path, tmp_path: Path) -> None:
    update_store(folder, remove=["d1"])
    for name in files_of(folder):
        copy = tmp_path / "copy"
        shutil.copytree(folder, copy)
        data = bytearray((copy / name).read_bytes())
        data[len(data) // 3] ^= 1
        (copy / name).write_bytes(data)
        with pytest.raises(CorpusError, match=Path(name).name):
            ChunkStore.open(copy).verify()
        shutil.rmtree(copy)


def test_garbage_in_an_arrow_file_is_noticed_on_opening(folder: Path) -> None:
    (path,) = folder.glob("segment-*/chunks.arrow")
    path.write_bytes(b"\0" * path.stat().st_size)
    with pytest.raises(CorpusError, match=r"chunks\.arrow is damaged"):
        ChunkStore.open(folder)


def test_a_tokenizer_that_is_not_the_stores_is_noticed(folder: Path) -> None:
    (path,) = folder.glob("tokenizer-*/tokenizer.json")
    text = path.read_text()
    path.write_text(text.replace('"lowercase":true', '"lowercase":null'))
    values = json.loads((folder / "store.json").read_text())
    for record in values["tokenizer_files"]:
        record["bytes"] = (folder / record["path"]).stat().st_size
    (folder / "store.json").write_text(json.dumps(values))
    with pytest.raises(CorpusError, match="tokenizer"):
        _ = ChunkStore.open(folder).tokenizer


# Several processes, and interruptions


def test_a_second_writer_is_refused_and_told_who_the_first_is(folder: Path) -> None:
    with (
        sole_writer(folder),
        pytest.raises(CorpusError, match=rf"another process \(pid {os.getpid()}\)"),
    ):
        update_store(folder, add=[document(1)])
    assert counts(update_store(folder, add=[document(1)])) == (1, 0, 0, 0)


def test_a_reader_keeps_what_it_opened_while_the_store_changes(
    folder: Path, documents: list[Document], tokenizer: WordPiece
) -> None:
    store = ChunkStore.open(folder)
    texts = [store.chunk(row).text for row in range(len(store))]
    rechunk_store(folder, chunking=ChunkingConfig(chunk_tokens=64))
    assert [store.chunk(row).text for row in range(len(store))] == texts


def test_opening_in_the_moment_of_an_update_finds_the_new_store(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = manifest.read_manifest(folder)
    rechunk_store(folder, chunking=ChunkingConfig(chunk_tokens=64))
    answers = [old]
    monkeypatch.setattr(
        store_module,
        "read_manifest",
        lambda d: answers.pop() if answers else manifest.read_manifest(d),
    )
    assert ChunkStore.open(folder).chunking.chunk_tokens == 64


def test_an_interruption_leaves_the_store_as_it_was_and_nothing_behind(folder: Path) -> None:
    def interrupted() -> Iterator[Document]:
        yield from (document(n) for n in range(50))
        raise KeyboardInterrupt

    before = tree(folder)
    with pytest.raises(KeyboardInterrupt):
        update_store(folder, add=interrupted(), remove=["d0"])
    assert tree(folder) == before
    assert not (folder / "staging").exists()


def test_an_interruption_of_a_new_store_leaves_no_folder(
    tmp_path: Path, tokenizer: WordPiece, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunking, "_BATCH_CHARS", 1)

    def interrupted() -> Iterator[Document]:
        yield from (document(n) for n in range(9))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        update_store(tmp_path / "s", add=interrupted(), tokenizer=tokenizer)
    assert not (tmp_path / "s").exists()


def test_what_a_dead_writer_left_is_cleaned_up_and_strange_files_are_kept(
    folder: Path, documents: list[Document], tokenizer: WordPiece
) -> None:
    for name in ("staging/segment-000002-0", "segment-000002-0", "tokenizer-0123"):
        (folder / name).mkdir(parents=True)
        (folder / name / "documents.arrow").write_text("half")
    for name in ("removed-000002-0.ids", ".store.json.123.tmp", "notes.txt"):
        (folder / name).write_text("half")
    update_store(folder, add=[document(1)])
    assert_holds(folder, [*documents, document(1)], tokenizer)
    assert sorted(os.listdir(folder)) == sorted(
        [
            *(".lock", "notes.txt", "segment-000001-0", "segment-000002-0", "store.json"),
            f"tokenizer-{tokenizer.fingerprint[:16]}",
        ]
    )
