"""What the calls of a workspace return: what was found, runs, and documents that are read when they
are asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from openrealm.runs.folders import RunFolder
from openrealm.settings import Settings, read_settings

if TYPE_CHECKING:
    from openrealm.answering.answerer import Answers, ChunkHit, Fillings
    from openrealm.corpus.records import Document
    from openrealm.corpus.store import ChunkStore


@dataclass(frozen=True)
class SearchResult:
    """Chunks found for a text.

    Attributes:
        query: The text.
        run: The run that found them; None where none is trained yet.
        source: What found them, in words.
        hits: Best first.
    """

    query: str
    run: str | None
    source: str
    hits: tuple[ChunkHit, ...]


@dataclass(frozen=True)
class AskResult:
    """Answers to a question; without a reader for questions there are search results instead.

    Attributes:
        question: The question.
        run: The run that answered; None where none is trained yet.
        source: What answered, in words.
        has_reader: Whether the run has been fine-tuned for questions.
        answers: What was found, where it has.
        hits: Search results, where it has not.
    """

    question: str
    run: str | None
    source: str
    has_reader: bool
    answers: Answers | None
    hits: tuple[ChunkHit, ...]


@dataclass(frozen=True)
class FillResult:
    """Fillings of a masked text.

    Attributes:
        run: The run that filled it; None where none is trained yet.
        source: What filled it, in words.
        fillings: Words for the masks, with the candidates that spoke for them.
    """

    run: str | None
    source: str
    fillings: Fillings


@dataclass(frozen=True)
class Run:
    """A run of a workspace, looked up on the disk when asked."""

    directory: Path

    @property
    def name(self) -> str:
        """Its name, which is the folder's."""
        return self.directory.name

    @property
    def settings(self) -> Settings:
        """What it was made from."""
        return read_settings(RunFolder(self.directory).settings_file)

    @property
    def record(self) -> dict[str, Any]:
        """What made it: start, seed, versions, fingerprints, and what was measured."""
        return RunFolder(self.directory).read_record()

    @property
    def stages(self) -> dict[str, dict[str, float]]:
        """What was measured after each stage, by name: ``run.stages["realm"]["recall@5"]``."""
        return {
            report["stage"]: {name: value for name, value in report.items() if name != "stage"}
            for report in self.record["stage_reports"]
        }

    @property
    def in_training(self) -> bool:
        """Whether a process trains in it now."""
        return RunFolder(self.directory).is_locked()


class Documents(Sequence["Document"]):
    """The documents of a corpus, each read when it is asked for."""

    def __init__(self, corpus: ChunkStore | None) -> None:
        """Takes the corpus; None for one that nothing was ingested into."""
        self._corpus = corpus

    def __len__(self) -> int:
        return 0 if self._corpus is None else self._corpus.num_documents

    @overload
    def __getitem__(self, number: int) -> Document: ...
    @overload
    def __getitem__(self, number: slice) -> list[Document]: ...
    def __getitem__(self, number: int | slice) -> Document | list[Document]:
        numbers = range(len(self))[number]
        if isinstance(numbers, int):
            assert self._corpus is not None
            return self._corpus.document(numbers)
        return [self[each] for each in numbers]

    def __iter__(self) -> Iterator[Document]:
        return iter(() if self._corpus is None else self._corpus.documents())
