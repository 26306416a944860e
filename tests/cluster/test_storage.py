"""Tests of whole files behind a URL, in a folder and in a store without folders."""

from __future__ import annotations

import hashlib
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from openrealm.cluster.storage import Storage
from openrealm.errors import ConfigError, MissingDependencyError, StorageError

WORDS = b"whole or not there"
SHA256 = hashlib.sha256(WORDS).hexdigest()


@pytest.fixture(params=["file", "memory"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Storage]:
    fsspec = pytest.importorskip("fsspec")
    if request.param == "file":
        yield Storage(f"file://{tmp_path / 'shared'}")
        return
    yield Storage("memory://bucket/shared/")
    fsspec.filesystem("memory").store.clear()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "words"
    path.write_bytes(WORDS)
    return path


def test_what_is_put_is_got(storage: Storage, file: Path, tmp_path: Path) -> None:
    assert not storage.holds("a/b/words")
    storage.put(file, "a/b/words")
    assert storage.holds("a/b/words")
    storage.get("a/b/words", tmp_path / "here" / "words", sha256=SHA256)
    assert (tmp_path / "here" / "words").read_bytes() == WORDS


def test_it_can_be_sent_elsewhere_when_it_has_been_used(storage: Storage, file: Path) -> None:
    storage.put(file, "words")
    sent = pickle.loads(pickle.dumps(storage))
    assert sent == storage
    assert vars(sent) == {"url": storage.url}
    assert sent.holds("words")


def test_another_files_bytes_are_refused_and_not_left(
    storage: Storage, file: Path, tmp_path: Path
) -> None:
    storage.put(file, "words")
    file.write_bytes(WORDS[:-1])  # as after a write that was cut short
    storage.put(file, "words")
    with pytest.raises(StorageError, match="words' is not what was written there"):
        storage.get("words", tmp_path / "got", sha256=SHA256)
    assert not (tmp_path / "got").exists()


def test_what_is_not_there_is_named(storage: Storage, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"'(file|memory)://.+/none' cannot be read"):
        storage.get("none", tmp_path / "got", sha256=SHA256)
    assert not (tmp_path / "got").exists()


def test_removing_takes_all_below_a_name_and_nothing_else(storage: Storage, file: Path) -> None:
    for name in ["a/words", "a/b/words", "ab/words"]:
        storage.put(file, name)
    storage.remove("a")
    storage.remove("a")
    assert not storage.holds("a/words")
    assert not storage.holds("a/b/words")
    assert storage.holds("ab/words")


def test_a_folder_that_cannot_be_written_is_named(file: Path, tmp_path: Path) -> None:
    pytest.importorskip("fsspec")
    (tmp_path / "taken").write_text("a file where a folder should be")
    with pytest.raises(StorageError, match="taken/x' cannot be written"):
        Storage(f"file://{tmp_path / 'taken'}").put(file, "x")


def test_no_bucket_is_made_of_a_mistyped_name(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Drivers of object stores make one where they are asked for a folder."""
    pytest.importorskip("fsspec")
    from fsspec import AbstractFileSystem

    put: list[str] = []

    class Buckets(AbstractFileSystem):  # type: ignore[misc]
        protocol = ("s3", "s3a")

        def makedirs(self, path: str, exist_ok: bool = False) -> None:
            raise AssertionError(path)

        def put_file(self, source: str, path: str) -> None:
            put.append(path)

    monkeypatch.setitem(sys.modules["fsspec.registry"]._registry, "s3", Buckets)
    Storage("s3://bucket/folder").put(file, "a/words")
    assert put == ["bucket/folder/a/words"]


def test_an_unknown_kind_of_url_is_refused_at_once() -> None:
    pytest.importorskip("fsspec")
    with pytest.raises(ConfigError, match="'s4://bucket' is no URL of a storage"):
        Storage("s4://bucket").require()


def test_a_missing_driver_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("fsspec")
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(MissingDependencyError, match=r"s3://bucket.*s3fs"):
        Storage("s3://bucket").require()


def test_without_fsspec_an_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'openrealm\[ray\]'"):
        Storage("file:///x").require()
