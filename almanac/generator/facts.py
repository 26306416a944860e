"""Read the fact tables: one tab-separated file a table, one row a subject, one column a relation.

Knows nothing of sentences. A name is kept in the form in which it stands inside a sentence
("the Netherlands", "the euro"); the title of its article is made from that form.
"""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

FACTS = Path(__file__).resolve().parent.parent / "facts"


@dataclass(frozen=True)
class Entity:
    """Something that has, or could have, an article of its own.

    Attributes:
        kind: what it is, one word or two ("country", "person"); keeps namesakes apart.
        form: its name as written inside a sentence, with "the" where it needs one.
    """

    kind: str
    form: str

    @property
    def name(self) -> str:
        """The name without its article: what must occur in a sentence that tells of it."""
        return bare(self.form)

    @property
    def title(self) -> str:
        """The name as the title of an article, before namesakes are told apart."""
        if match := re.fullmatch(r"(country|state) of (.+)", self.name):
            return f"{match[2]} ({match[1]})"
        return self.name[0].upper() + self.name[1:]


@dataclass(frozen=True)
class Fact:
    """One cell of a table: the subject stands in the relation to the object."""

    relation: str
    subject: Entity
    object: str

    @property
    def object_name(self) -> str:
        """The object without its article."""
        return bare(self.object)


Row = dict[str, str]


def bare(form: str) -> str:
    """Return a name without a leading "the"."""
    return form.removeprefix("the ")


def read_table(name: str) -> list[Row]:
    """Read ``facts/NAME.tsv``.

    Returns:
        One dict for each row, from column to cell; empty cells are left out.

    Raises:
        ValueError: a row with too many or too few cells, or a subject given twice.
    """
    path = FACTS / f"{name}.tsv"
    with path.open(encoding="utf-8", newline="") as file:
        lines = list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    header, seen, rows = lines[0], set[str](), []
    for number, cells in enumerate(lines[1:], start=2):
        if len(cells) != len(header):
            raise ValueError(f"{path.name}:{number}: {len(cells)} cells, expected {len(header)}")
        if cells[0] in seen:
            raise ValueError(f"{path.name}:{number}: {cells[0]!r} was given before")
        seen.add(cells[0])
        rows.append({column: cell for column, cell in zip(header, cells, strict=True) if cell})
    return rows


def draw(key: str, count: int) -> int:
    """Return a number below ``count`` that depends on ``key`` alone, the same on every machine."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") % count


def pick(key: str, choices: Sequence[str]) -> str:
    """Return one of the choices, always the same one for the same key."""
    return choices[draw(key, len(choices))]


def occurs(name: str, text: str) -> bool:
    """Say whether ``name`` stands in ``text`` as whole words, whatever the case."""
    return re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text, re.IGNORECASE) is not None
