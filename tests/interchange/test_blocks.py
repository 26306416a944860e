"""Tests of files of blocks as documents; TFRecords against a checksum computed bit by bit."""

from __future__ import annotations

import struct
from pathlib import Path

import published
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openrealm.errors import InputError
from openrealm.interchange import blocks as blocks_module
from openrealm.interchange.blocks import BlockFile, _crc32c, _mask, masked_crc32c, read_tfrecords


def bitwise(data: bytes) -> int:
    """CRC-32C by polynomial division."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def masked(data: bytes) -> int:
    crc = bitwise(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def record(data: bytes) -> bytes:
    length = struct.pack("<Q", len(data))
    return length + struct.pack("<I", masked(length)) + data + struct.pack("<I", masked(data))


def test_the_checksum_is_castagnolis() -> None:
    # The check value that catalogues of CRCs give, and one of RFC 3720.
    assert bitwise(b"123456789") == 0xE3069283
    assert bitwise(bytes(32)) == 0x8A9136AA
    assert _crc32c(b"123456789") == 0xE3069283


@given(records=st.lists(st.binary(max_size=40), max_size=20))
def test_checksums_of_many_at_once_are_those_of_each(records: list[bytes]) -> None:
    assert masked_crc32c(records).tolist() == [masked(data) for data in records]


@pytest.mark.parametrize("batch", [1, 2, 2048])
def test_records_come_back_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    monkeypatch.setattr(blocks_module, "_BATCH_RECORDS", batch)
    records = [b"first", b"", b"x" * 300, "Bücher".encode(), bytes(range(256))]
    path = tmp_path / "blocks.tfr"
    path.write_bytes(b"".join(map(record, records)))
    assert list(read_tfrecords(path)) == records


def test_a_changed_byte_anywhere_is_found_and_the_records_before_it_come(tmp_path: Path) -> None:
    path = tmp_path / "blocks.tfr"
    first, second = record(b"first"), record(b"second one")
    whole = first + second
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        with pytest.raises(InputError, match=r"record 0|record 1"):
            list(read_tfrecords(path))
    damaged = bytearray(whole)
    damaged[-6] ^= 1
    path.write_bytes(damaged)
    found = []
    with pytest.raises(InputError, match="record 1 has a wrong checksum"):
        for data in read_tfrecords(path):
            found.append(data)
    assert found == [b"first"]


def test_a_file_cut_short_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "blocks.tfr"
    whole = record(b"first") + record(b"second")
    for size in range(1, len(whole)):
        if size == len(record(b"first")):
            continue  # a whole file of one record
        path.write_bytes(whole[:size])
        with pytest.raises(InputError):
            list(read_tfrecords(path))


def test_a_missing_file_is_an_error_of_the_user(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        list(read_tfrecords(tmp_path / "none.tfr"))


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
