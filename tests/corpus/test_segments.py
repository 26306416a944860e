"""Tests of single segments: look-up by id, and files that other programs can read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from openrealm.corpus import segment_writer, segments
from openrealm.corpus import store as store_module
from openrealm.corpus.chunking import chunk_documents
from openrealm.corpus.records import Document
from openrealm.corpus.segment_writer import SegmentWriter
from openrealm.corpus.segments import Segment, content_digest, id_hash
from openrealm.corpus.store import ChunkStore
from openrealm.corpus.updating import update_store
from openrealm.settings import ChunkingConfig
from openrealm.tokenizer import WordPiece

CONFIG = ChunkingConfig(chunk_tokens=20)


def write(directory: Path, documents: list[Document], tokenizer: WordPiece) -> Segment:
    writer = SegmentWriter(directory / "segment", name="segment", id_type="uint16")
    for chunked in chunk_documents(documents, tokenizer, CONFIG):
        writer.add(chunked, content_digest(chunked.document))
    return Segment(directory, writer.finish())


def test_documents_come_back_as_they_were_written(
    tmp_path: Path, documents: list[Document], tokenizer: WordPiece
) -> None:
    segment = write(tmp_path, documents, tokenizer)
    for number, wanted in enumerate(chunk_documents(documents, tokenizer, CONFIG)):
        chunked, digest = segment.chunked(number)
        assert chunked.document == wanted.document
        assert digest == content_digest(wanted.document)
        for name in ("title_ids", "spans", "body_ids", "body_stops"):
            assert np.array_equal(getattr(chunked, name), getattr(wanted, name)), name


def test_ids_are_found_even_where_all_their_hashes_are_the_same(
    tmp_path: Path,
    documents: list[Document],
    tokenizer: WordPiece,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in (segment_writer, store_module):
        monkeypatch.setattr(module, "id_hash", lambda _: -7)
    update_store(tmp_path / "s", add=documents, tokenizer=tokenizer, chunking=CONFIG)
    store = ChunkStore.open(tmp_path / "s")
    assert [store.find_document(d.id) for d in documents] == list(range(len(documents)))
    assert store.find_document("nobody") is None


def test_the_files_are_what_the_description_of_the_format_says(
    tmp_path: Path, documents: list[Document], tokenizer: WordPiece
) -> None:
    write(tmp_path, documents, tokenizer)
    folder = tmp_path / "segment"
    table = pa.ipc.open_file(folder / "documents.arrow").read_all().to_pylist()
    chunks = pa.ipc.open_file(folder / "chunks.arrow").read_all().to_pylist()
    titles = np.fromfile(folder / "titles.ids", dtype="<u2")
    bodies = np.fromfile(folder / "bodies.ids", dtype="<u2")
    hashes, numbers = np.fromfile(folder / "ids.index", dtype="<i8").reshape(2, -1)
    assert [row["text"] for row in table] == [d.text for d in documents]
    for row in chunks:
        owner = table[row["document"]]
        body = owner["text"][row["start"] : row["stop"]]
        assert owner["text"].encode()[row["byte_start"] : row["byte_stop"]].decode() == body
        ids = bodies[row["body_start"] : row["body_start"] + row["body_tokens"]]
        assert list(ids) == list(tokenizer.encode(body).ids)
        assert row["length"] == len(ids) + owner["title_tokens"] + 3
    for owner in table:
        ids = titles[owner["title_start"] : owner["title_start"] + owner["title_tokens"]]
        assert list(ids) == list(tokenizer.encode(owner["title"]).ids)[: len(ids)]
        assert chunks[owner["first_chunk"]]["start"] == 0
    assert list(hashes) == sorted(hashes)
    assert [id_hash(table[number]["id"]) for number in numbers] == list(hashes)


def test_a_digest_tells_ids_titles_and_texts_apart() -> None:
    parts = [("a", "b", "c"), ("ab", "", "c"), ("a", "bc", ""), ("", "a", "bc"), ("c", "b", "a")]
    digests = {content_digest(Document(*each, source="s")) for each in parts}
    assert len(digests) == len(parts)
    assert {len(digest) for digest in digests} == {segments.DIGEST_BYTES}
