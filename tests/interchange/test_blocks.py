"""Tests of files of blocks as documents."""

from __future__ import annotations

from pathlib import Path

import published
import pytest

from openrealm.errors import InputError
from openrealm.interchange.blocks import BlockFile
from openrealm.interchange.tfrecords import _crc32c, _mask, masked_crc32c


def write_tfr(path: Path, records: list[bytes]) -> Path:
    parts = []
    for data in records:
        length = len(data).to_bytes(8, "little")
        parts += [length, _mask(_crc32c(length)).to_bytes(4, "little"), data]
        parts.append(int(masked_crc32c([data])[0]).to_bytes(4, "little"))
    path.write_bytes(b"".join(parts))
    return path


def test_records_become_documents_without_titles(tmp_path: Path) -> None:
    file = BlockFile.of(published.write_records(tmp_path / "block_records.npy"))
    assert file is not None
    documents = list(file.documents())
    assert [document.text for document in documents] == list(published.BLOCKS)
    assert [document.title for document in documents] == [""] * 9
    assert documents[8].id == "block-00000008"


def test_titles_beside_blocks_belong_to_them_row_by_row(tmp_path: Path) -> None:
    write_tfr(tmp_path / "blocks.tfr", [b"Lima is a city.", b"The Nile."])
    write_tfr(tmp_path / "titles.tfr", [b"Lima", b"Nile"])
    file = BlockFile.of(tmp_path)
    assert file is not None
    assert [(d.title, d.text) for d in file.documents()] == [
        ("Lima", "Lima is a city."),
        ("Nile", "The Nile."),
    ]
    write_tfr(tmp_path / "titles.tfr", [b"Lima"])
    with pytest.raises(InputError, match="same number"):
        list(file.documents())


def test_a_block_that_is_not_utf_8_is_named(tmp_path: Path) -> None:
    file = BlockFile.of(write_tfr(tmp_path / "blocks.tfr", [b"fine", b"\xff\xfe"]))
    assert file is not None
    with pytest.raises(InputError, match="record 1 of"):
        list(file.documents())


def test_another_file_is_no_file_of_blocks(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("text", encoding="utf-8")
    assert BlockFile.of(tmp_path / "notes.txt") is None
    assert BlockFile.of(tmp_path) is None
