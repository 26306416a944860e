"""What readers hand to a store: documents, problems with their place, which ids came before, and
what an update reports; knows nothing of files.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Document:
    """A titled source text.

    Attributes:
        id: Unique in a corpus.
        title: May be empty.
        text: Paragraphs separated by newlines.
        source: The file that it came from.
    """

    id: str
    title: str
    text: str
    source: str


@dataclass(frozen=True, slots=True)
class Heading:
    """A document without its text, which may be long."""

    id: str
    title: str
    source: str


@dataclass(frozen=True, slots=True)
class Problem:
    """Input that was skipped: where it is and why; ``line`` is None for a whole file."""

    source: str
    line: int | None
    reason: str

    def __str__(self) -> str:
        where = self.source if self.line is None else f"{self.source}:{self.line}"
        return f"{where}: {self.reason}"


def duplicate(document_id: str) -> str:
    """The reason why a second document with the same id is a problem."""
    return f"duplicate id: a document '{document_id}' came before"


class ProblemLog:
    """Counts problems and keeps the first of them; to be given to readers as ``on_problem``."""

    def __init__(self, then: Callable[[Problem], None] | None = None, *, keep: int = 100) -> None:
        """Keeps ``keep`` problems and passes each on to ``then``."""
        self.problems: list[Problem] = []
        self.num_problems = 0
        self._then, self._keep = then, keep

    def __call__(self, problem: Problem) -> None:
        """Takes note of a problem."""
        self.num_problems += 1
        if len(self.problems) < self._keep:
            self.problems.append(problem)
        if self._then is not None:
            self._then(problem)


@dataclass(frozen=True, slots=True)
class IngestReport:
    """What an update did.

    Attributes:
        added: Documents that are new.
        unchanged: Documents that were there already, word for word.
        replaced: Documents whose id was there with another text or title.
        removed: Documents removed by request.
        chunks: Chunks in the store afterwards.
        problems: The first problems, in order.
        num_problems: How many there were.
    """

    added: int
    unchanged: int
    replaced: int
    removed: int
    chunks: int
    problems: list[Problem]
    num_problems: int


_WORD = (1 << 64) - 1


class IdSet:
    """Tells whether an id came before, in about 16 bytes an id, where a set takes 150.

    Keeps 64-bit hashes: among ten million ids, two different ones are taken for the same with a
    probability of three in a million.
    """

    def __init__(self) -> None:
        """An empty set."""
        self._slots = array("Q", bytes(8 << 10))
        self._count = 0

    def add(self, identity: str) -> bool:
        """Adds an id; False if it was there already."""
        # Zero marks an empty slot.
        if not self._insert(hash(identity) & _WORD or 1):
            return False
        self._count += 1
        if 3 * self._count > 2 * len(self._slots):
            self._grow()
        return True

    def __len__(self) -> int:
        return self._count

    def _insert(self, key: int) -> bool:
        slots, last = self._slots, len(self._slots) - 1
        # The low bits of a hash of short strings are as good as any.
        slot = key & last
        while slots[slot]:
            if slots[slot] == key:
                return False
            slot = (slot + 1) & last
        slots[slot] = key
        return True

    def _grow(self) -> None:
        old = self._slots
        self._slots = array("Q", bytes(16 * len(old)))
        for key in old:
            if key:
                self._insert(key)
