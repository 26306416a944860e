"""Files of knowledge blocks to documents, row i the block of the i-th vector; knows no vectors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from openrealm.corpus.records import Document
from openrealm.errors import InputError
from openrealm.interchange.block_records import read_block_records
from openrealm.interchange.tfrecords import read_tfrecords

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
