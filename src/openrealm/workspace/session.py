"""The models of a workspace in memory, asked with one text or with several, and what the calls of a
workspace return. What a question does not need is not imported for it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, overload

from openrealm.errors import InputError
from openrealm.progress import Progress
from openrealm.runs.folders import RunFolder, WorkspaceFolder
from openrealm.settings import Settings, read_settings

if TYPE_CHECKING:
    from openrealm.answering.answerer import Answerer, Answers, ChunkHit, Fillings
    from openrealm.answering.model_cache import CachedModel, ModelCache
    from openrealm.answering.workspace_models import WorkspaceModels
    from openrealm.corpus.records import Document
    from openrealm.corpus.store import ChunkStore


Texts = list[str] | tuple[str, ...]
Result = TypeVar("Result")

_MAX_LOADED = 4
# Inputs that go through the model together, so that a long list needs no more memory than a short.
_MAX_INPUTS = 64


# What calls return --------------------------------------------------------------------------------


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
        has_reader: Whether what answered can read for answers.
        answers: What was found, where it can.
        hits: Search results, where it cannot.
    """

    question: str
    run: str | None
    source: str
    has_reader: bool
    answers: Answers | None
    hits: tuple[ChunkHit, ...]

    @property
    def best(self) -> str | None:
        """The best answer's text; None where nothing answers, or nothing can read for answers."""
        if self.answers is None or not (self.answers.answers and self.answers.is_answered):
            return None
        return self.answers.answers[0].text


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


# What is asked ------------------------------------------------------------------------------------


class ModelSession:
    """Keeps models and index in memory, and notices what other processes change.

    May be used from several threads, one of which computes at a time.
    """

    def __init__(self, folder: WorkspaceFolder, run: str | None, progress: Progress) -> None:
        """Loads nothing yet.

        Args:
            folder: The workspace.
            run: Name of the run that is asked; the newest that can by default.
            progress: Where to tell how far long work is.
        """
        self._folder, self._run, self._progress = folder, run, progress
        self._lock, self._one_computes = threading.Lock(), threading.Lock()
        self._opened: tuple[WorkspaceModels, ModelCache] | None = None
        self._closed = False

    def close(self) -> None:
        """Lets go of model and index; nothing can be asked afterwards."""
        with self._lock:
            self._closed = True
            if self._opened is not None:
                models, cache = self._opened
                models.close()
                cache.clear()
            self._opened = None

    def documents(self) -> Documents:
        """The documents as they are on the disk now."""
        return Documents(self._models()[0].corpus() if self._folder.corpus.is_dir() else None)

    def search(
        self, text: str | Texts, *, k: int, run: str | None, stage: str | None
    ) -> SearchResult | list[SearchResult]:
        """As `Workspace.search`."""
        model = self._model("answer", run, stage)

        def search(texts: Sequence[str]) -> list[SearchResult]:
            return [
                SearchResult(text, model.source.run, str(model.source), tuple(hits))
                for text, hits in zip(texts, model.answerer.search(texts, k=k), strict=True)
            ]

        return self._computed(text, search, cost=1)

    def ask(
        self, question: str | Texts, *, k: int | None, top: int, run: str | None
    ) -> AskResult | list[AskResult]:
        """As `Workspace.ask`."""
        model = self._model("answer", run, None)
        run_name, source, read = model.source.run, str(model.source), k or model.read

        def answer(questions: Sequence[str]) -> list[AskResult]:
            return [
                AskResult(answers.question, run_name, source, True, answers, ())
                for answers in _reader(model).ask(questions, read=read, top=top)
            ]

        def search(questions: Sequence[str]) -> list[AskResult]:
            return [
                AskResult(question, run_name, source, False, None, tuple(hits))
                for question, hits in zip(
                    questions, model.answerer.search(questions, k=read), strict=True
                )
            ]

        if model.has_reader:
            return self._computed(question, answer, cost=read + 1)
        return self._computed(question, search, cost=1)

    def fill(
        self, text: str | Texts, *, k: int | None, top: int, run: str | None, stage: str | None
    ) -> FillResult | list[FillResult]:
        """As `Workspace.fill`."""
        model = self._model("fill", run, stage)
        num_candidates = k or model.k

        def fill(texts: Sequence[str]) -> list[FillResult]:
            return [
                FillResult(model.source.run, str(model.source), fillings)
                for fillings in _reader(model).fill(texts, k=num_candidates, top=top)
            ]

        return self._computed(text, fill, cost=num_candidates)

    def _models(self) -> tuple[WorkspaceModels, ModelCache]:
        with self._lock:
            if self._closed:
                raise InputError(f"workspace '{self._folder.directory}' is closed; open it again")
            if self._opened is None:
                from openrealm.answering.model_cache import ModelCache
                from openrealm.answering.workspace_models import WorkspaceModels

                models = WorkspaceModels(self._folder, self._run, self._progress)
                self._opened = models, ModelCache(models, max_loaded=_MAX_LOADED)
            return self._opened

    def _model(self, purpose: str, run: str | None, stage: str | None) -> CachedModel:
        """The model that is meant, as it is on the disk now."""
        from openrealm.answering.model_cache import ModelKey

        return self._models()[1].newest(ModelKey(purpose, run, stage))

    def _computed(
        self,
        given: str | Texts,
        compute: Callable[[Sequence[str]], list[Result]],
        *,
        cost: int,
    ) -> Result | list[Result]:
        """One result for a single text, a list for several; so many at a time as fit the memory."""
        texts = [given] if isinstance(given, str) else list(given)
        step = max(_MAX_INPUTS // max(cost, 1), 1)
        results: list[Result] = []
        for first in range(0, len(texts), step):
            with self._one_computes:
                results += compute(texts[first : first + step])
        return results[0] if isinstance(given, str) else results


def _reader(model: CachedModel) -> Answerer:
    from openrealm.answering.answerer import Answerer

    assert isinstance(model.answerer, Answerer)  # words alone never have a reader
    return model.answerer
