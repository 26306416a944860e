"""Files of knowledge blocks to documents, row i the block of the i-th vector; knows no vectors.

TFRecord files are read here too. A record is its length (8 bytes), the masked CRC-32C of those,
the data, and the masked CRC-32C of the data; all little-endian. Both checksums are compared. Those
of the data are computed for many records at once, a byte of each at a time: a loop over the bytes
of one would take a hundred times as long.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from openrealm.corpus.records import Document
from openrealm.errors import InputError
from openrealm.interchange.block_records import read_block_records

_POLYNOMIAL = 0x82F63B78  # Castagnoli's, reversed
_MASK_DELTA = 0xA282EAD8
_BATCH_RECORDS = 2048
_BATCH_BYTES = 1 << 22


def _make_table() -> npt.NDArray[np.uint32]:
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, (table >> 1) ^ np.uint32(_POLYNOMIAL), table >> 1)
    return table.astype(np.uint32)


_TABLE = _make_table()
_TABLE_INTS: list[int] = _TABLE.tolist()


def read_tfrecords(path: Path) -> Iterator[bytes]:
    """The records of a TFRecord file in order, a few megabytes of them in memory.

    Raises:
        InputError: The file cannot be read, is cut short, or has a wrong checksum; the message
            names the record.
    """
    try:
        file = open(path, "rb", buffering=1 << 20)  # noqa: SIM115 - closed below
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror})") from error
    with file:
        first = 0
        for records, checksums in _batches(path, file):
            wrong = np.flatnonzero(masked_crc32c(records) != np.array(checksums, dtype=np.uint32))
            yield from records[: int(wrong[0])] if len(wrong) else records
            if len(wrong):
                raise InputError(
                    f"{path} is damaged: record {first + wrong[0]} has a wrong checksum"
                )
            first += len(records)


def _batches(path: Path, file: BinaryIO) -> Iterator[tuple[list[bytes], list[int]]]:
    """Records with the checksums stated; each length is checked before it is believed."""
    records: list[bytes] = []
    checksums: list[int] = []
    size = number = 0
    total = path.stat().st_size
    while head := file.read(12):
        length, stated = struct.unpack("<QI", head) if len(head) == 12 else (0, -1)
        if len(head) < 12 or _mask(_crc32c(head[:8])) != stated:
            raise InputError(
                f"{path} is no TFRecord file, or damaged: the length of record {number} has a "
                "wrong checksum"
            )
        if length + 4 > total - file.tell():
            raise InputError(f"{path} is cut short in record {number}")
        data = file.read(length)
        records.append(data)
        checksums.append(struct.unpack("<I", file.read(4))[0])
        size, number = size + length, number + 1
        if size >= _BATCH_BYTES or len(records) == _BATCH_RECORDS:
            yield records, checksums
            records, checksums, size = [], [], 0
    if records:
        yield records, checksums


def masked_crc32c(records: Sequence[bytes]) -> npt.NDArray[np.uint32]:
    """``(records,)``: the masked CRC-32C of each."""
    lengths = np.array([len(record) for record in records], dtype=np.int64)
    order = np.argsort(-lengths, kind="stable")
    flat = np.frombuffer(b"".join(records), dtype=np.uint8)
    starts = (np.cumsum(lengths) - lengths)[order]
    # How many records, the longest first, have a byte at each position.
    still = np.searchsorted(-lengths[order], -np.arange(int(lengths.max(initial=0))), side="left")
    crc = np.full(len(records), 0xFFFFFFFF, dtype=np.uint32)
    for position, active in enumerate(still.tolist()):
        byte = flat[starts[:active] + position]
        crc[:active] = _TABLE[(crc[:active] & 0xFF) ^ byte] ^ (crc[:active] >> 8)
    out = np.empty_like(crc)
    out[order] = ~crc
    rotated = (out >> np.uint32(15)) | (out << np.uint32(17))
    return (rotated + np.uint32(_MASK_DELTA)).astype(np.uint32)


def _crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _TABLE_INTS[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


def _mask(crc: int) -> int:
    return ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF


RECORDS, BLOCKS, TITLES = "block_records.npy", "blocks.tfr", "titles.tfr"


@dataclass(frozen=True)
class BlockFile:
    """A file of blocks.

    Attributes:
        path: ``block_records.npy`` or ``blocks.tfr``.
        titles: The blocks' titles, where there are any: ``titles.tfr`` beside ``blocks.tfr``.
    """

    path: Path
    titles: Path | None = None

    @classmethod
    def of(cls, path: Path) -> BlockFile | None:
        """The block file that a path is, or that its folder holds; None where there is none."""
        if path.is_dir():
            inside = [path / name for name in (RECORDS, BLOCKS)]
            path = next((p for p in inside if p.is_file()), path)
        if not path.is_file() or path.suffix not in (".npy", ".tfr"):
            return None
        titles = path.with_name(TITLES)
        has_titles = path.suffix == ".tfr" and titles.is_file() and titles != path
        return cls(path, titles if has_titles else None)

    def documents(self) -> Iterator[Document]:
        """Each block as a document of its own, with its number as its id.

        Raises:
            InputError: The file is not what its name says, a block is not UTF-8, or there are
                not as many titles as blocks.
        """
        records = _texts(self.path)
        titles: Iterable[str] = _texts(self.titles) if self.titles is not None else _nothing()
        number = 0
        try:
            for number, (text, title) in enumerate(zip(records, titles, strict=bool(self.titles))):
                yield Document(id=block_id(number), title=title, text=text, source=self.path.name)
        except ValueError as error:
            raise InputError(
                f"{self.path} and {self.titles} have not the same number of records "
                f"({number + 1} in the shorter one)"
            ) from error


def block_id(number: int) -> str:
    """The id of the document that a block becomes."""
    return f"block-{number:08d}"


def _texts(path: Path) -> Iterator[str]:
    read = read_block_records if path.suffix == ".npy" else read_tfrecords
    for number, record in enumerate(read(path)):
        try:
            yield record.decode("utf-8")
        except UnicodeDecodeError as error:
            raise InputError(f"record {number} of {path} is not UTF-8 ({error.reason})") from error


def _nothing() -> Iterator[str]:
    while True:
        yield ""
