"""Tests of finding, opening and reading files, whole and damaged."""

from __future__ import annotations

import bz2
import gzip
import os
import sys
from pathlib import Path

import pytest
import zstandard

from openrealm.corpus import files
from openrealm.corpus.files import Line, SourceFile, find_files, open_stream, read_lines
from openrealm.corpus.records import Problem
from openrealm.errors import MissingDependencyError


def only(source: Path) -> SourceFile:
    (found,) = find_files([source])
    assert isinstance(found, SourceFile)
    return found


def lines_of(source: Path) -> list[Line]:
    stream, raw = open_stream(only(source))
    with raw, stream:
        return list(read_lines(stream, raw))


def texts_of(source: Path) -> list[str | None]:
    return [line.text for line in lines_of(source)]


def names(found: list[SourceFile | Problem]) -> list[str]:
    return [item.name for item in found if isinstance(item, SourceFile)]


def problems(found: list[SourceFile | Problem]) -> list[Problem]:
    return [item for item in found if isinstance(item, Problem)]


def test_folders_are_read_in_sorted_order_without_hidden_files(tmp_path: Path) -> None:
    for name in ["b.txt", "a/2.txt", "a/1.txt", ".hidden", ".git/config", "c/d/e.md"]:
        path = tmp_path / "notes" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    found = find_files([tmp_path / "notes"])
    assert names(found) == ["b.txt", "a/1.txt", "a/2.txt", "c/d/e.md"]
    origins = [item.origin for item in found if isinstance(item, SourceFile)]
    assert origins[:2] == ["notes/b.txt", "notes/a/1.txt"]


def test_names_depend_on_neither_the_working_directory_nor_the_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in ("one", "two/three"):
        (tmp_path / place / "notes").mkdir(parents=True)
        (tmp_path / place / "notes" / "a.txt").write_text("x")
    first = only(tmp_path / "one" / "notes")
    monkeypatch.chdir(tmp_path / "two" / "three" / "notes")
    second = only(Path("."))
    assert (first.name, first.origin) == (second.name, second.origin) == ("a.txt", "notes/a.txt")


def test_a_single_file_is_named_by_itself(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x")
    assert only(tmp_path / "a.txt").name == "a.txt"


@pytest.mark.parametrize("name", ["corpus.jsonl", "corpus.jsonl.gz"])
def test_only_the_corpus_of_a_beir_folder_is_taken(tmp_path: Path, name: str) -> None:
    for path in [name, "queries.jsonl", "qrels/test.tsv"]:
        (tmp_path / "sets" / "one" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "sets" / "one" / path).write_text("x")
    (tmp_path / "sets" / "note.txt").write_text("x")
    assert names(find_files([tmp_path / "sets"])) == ["note.txt", f"one/{name}"]


def test_missing_empty_and_special_files_are_problems(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").touch()
    os.mkfifo(tmp_path / "pipe.txt")
    (tmp_path / "broken.txt").symlink_to(tmp_path / "nowhere")
    found = find_files([tmp_path, tmp_path / "gone.txt"])
    assert {(Path(p.source).name, p.reason) for p in problems(found)} == {
        ("empty.txt", "the file is empty"),
        ("pipe.txt", "not a regular file"),
        ("broken.txt", "no such file"),
        ("gone.txt", "no such file"),
    }


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_folder_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0)
    (tmp_path / "a.txt").write_text("x")
    found = find_files([tmp_path])
    assert names(found) == ["a.txt"]
    assert "permission denied" in problems(found)[0].reason


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_a_name_that_is_not_utf8_is_replaced_by_one_that_is(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/caf\xe9.txt"
    with open(path, "wb") as file:
        file.write(b"x")
    found = only(tmp_path)
    assert found.name == "caf?.txt"
    assert found.title == "caf?"


def test_suffixes_are_seen_through_compression(tmp_path: Path) -> None:
    (tmp_path / "my_notes.v2.TXT.GZ").write_text("x")
    file = only(tmp_path)
    assert (file.compression, file.suffix, file.title) == (".gz", ".txt", "my notes.v2")


DATA = "first\nsecond ä\n\nlast".encode()


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, zstandard.compress])
def test_compressed_files_read_like_plain_ones(tmp_path: Path, pack) -> None:  # type: ignore[no-untyped-def]
    suffix = {"gzip": ".gz", "bz2": ".bz2"}.get(pack.__module__, ".zst")
    (tmp_path / f"a.txt{suffix}").write_bytes(pack(DATA) + pack(b"\nmore"))
    assert texts_of(tmp_path) == ["first", "second ä", "", "last", "more"]


def test_a_zstandard_file_with_a_large_window_is_read(tmp_path: Path) -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=28, enable_ldm=True)
    packed = zstandard.ZstdCompressor(compression_params=parameters).compress(DATA)
    (tmp_path / "a.txt.zst").write_bytes(packed)
    assert len(texts_of(tmp_path)) == 4


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, zstandard.compress])
def test_a_compressed_file_cut_short_ends_with_a_fault(tmp_path: Path, pack) -> None:  # type: ignore[no-untyped-def]
    suffix = {"gzip": ".gz", "bz2": ".bz2"}.get(pack.__module__, ".zst")
    data = os.urandom(3000).hex().encode() + b"\nsecond\n"
    packed = pack(data)
    (tmp_path / f"a.txt{suffix}").write_bytes(packed[:-20])
    lines = lines_of(tmp_path)
    assert lines[-1].text is None
    assert "breaks off" in lines[-1].fault


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".zst"])
def test_a_file_that_is_not_compressed_at_all_has_a_fault(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"a.txt{suffix}").write_bytes(b"plain text, no matter what the name says\n" * 9)
    (line,) = lines_of(tmp_path)
    assert "damaged" in line.fault


def test_zstandard_data_damaged_in_the_middle_has_a_fault(tmp_path: Path) -> None:
    packer = zstandard.ZstdCompressor(write_checksum=True)
    packed = bytearray(packer.compress(b"".join(b"line %d\n" % n for n in range(9999))))
    packed[len(packed) // 2] ^= 0xFF
    (tmp_path / "a.txt.zst").write_bytes(packed)
    assert lines_of(tmp_path)[-1].fault


def test_line_ends_and_the_byte_order_mark_are_taken_off(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfone\r\ntwo\r\n\xef\xbb\xbfthree")
    assert texts_of(tmp_path) == ["one", "two", "\ufeffthree"]


def test_a_line_that_is_not_utf8_has_a_fault_and_the_next_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"one\ntw\xff\nthree\n")
    one, two, three = lines_of(tmp_path)
    assert (one.text, two.text, three.text) == ("one", None, "three")
    assert two.fault == "not UTF-8 (byte 0xff)"
    assert two.number == 2


def test_a_huge_line_has_a_fault_and_the_next_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "MAX_DOCUMENT_BYTES", 1000)
    monkeypatch.setattr(files, "_BUFFER_BYTES", 64)
    (tmp_path / "a.txt").write_bytes(b"x" * 1000 + b"\n" + b"y" * 5000 + b"\nlast\n")
    first, second, third = lines_of(tmp_path)
    assert first.text == "x" * 1000
    assert second.text is None
    assert "longer than" in second.fault
    assert third.text == "last"


def test_positions_grow_up_to_the_size_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"line\n" * 80_000)
    positions = [line.position for line in lines_of(tmp_path)]
    assert positions == sorted(positions)
    assert positions[0] < positions[10_000] <= positions[-1] <= 400_000


def test_a_missing_library_is_named_with_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "zstandard", None)
    (tmp_path / "a.txt.zst").write_bytes(b"x")
    with pytest.raises(MissingDependencyError, match=r"zstandard.*openrealm\[ingest\]"):
        open_stream(only(tmp_path))
