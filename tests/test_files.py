"""Tests of files that are whole or not there."""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from openrealm.files import (
    checksum,
    held,
    is_held,
    staged_directory,
    sync_directory,
    sync_file,
    write_atomic,
)


def test_a_checksum_is_the_sha_256_of_the_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"three rivers" * 100_000)
    assert checksum(path) == hashlib.sha256(b"three rivers" * 100_000).hexdigest()


def test_a_write_replaces_the_old_file_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    write_atomic(path, b"old")
    write_atomic(path, b"new")
    assert path.read_bytes() == b"new"
    assert [p.name for p in tmp_path.iterdir()] == ["state.json"]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_write_that_fails_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    path = tmp_path / "state.json"
    write_atomic(path, b"old")

    def fail(*arguments: object) -> None:
        raise OSError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        with pytest.raises(OSError, match="disk is full"):
            write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["state.json"]


def test_bytes_are_synced_before_the_file_gets_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (calls.append("sync"), fsync(fd)))
    monkeypatch.setattr(os, "replace", lambda a, b: (calls.append("rename"), replace(a, b)))
    write_atomic(tmp_path / "a", b"x")
    assert calls == ["sync", "rename", "sync"]  # the file, its name, the folder's entry


def test_files_and_folders_can_be_synced(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    sync_file(tmp_path / "a")
    sync_directory(tmp_path)
    with pytest.raises(FileNotFoundError):
        sync_file(tmp_path / "b")


def test_a_staged_folder_appears_whole_and_alone(tmp_path: Path) -> None:
    final = tmp_path / "a" / "out"
    with staged_directory(final) as staging:
        (staging / "inner").mkdir()
        (staging / "inner" / "file").write_text("x")
        assert not final.exists()
    assert (final / "inner" / "file").read_text() == "x"
    assert [p.name for p in final.parent.iterdir()] == ["out"]


def test_a_staged_folder_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), staged_directory(tmp_path / "out") as staging:
        (staging / "file").write_text("x")
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_an_empty_folder_is_filled_and_a_full_one_kept(tmp_path: Path) -> None:
    final = tmp_path / "out"
    final.mkdir()
    with staged_directory(final) as staging:
        (staging / "file").write_text("x")
    with pytest.raises(OSError), staged_directory(final) as staging:
        (staging / "file").write_text("y")
    assert (final / "file").read_text() == "x"
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_a_lock_file_is_held_while_somebody_holds_it(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    assert not is_held(path) and not path.exists()
    with held(path) as alone:
        assert alone and is_held(path)
        with held(path) as second:
            assert not second
    assert path.exists() and not is_held(path)


def test_many_may_look_at_a_lock_file_and_none_sees_another(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    path.touch()
    with ThreadPoolExecutor(8) as crowd:
        assert not any(crowd.map(is_held, [path] * 2000))


def test_a_lock_file_that_cannot_be_written_can_be_looked_at(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    path.touch()
    path.chmod(0o400)
    assert not is_held(path)
