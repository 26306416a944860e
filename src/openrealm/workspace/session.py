"""The models of a workspace in memory, asked with one text or with several; what a question does
not need is not imported for it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from openrealm.errors import InputError
from openrealm.progress import Progress
from openrealm.runs.folders import WorkspaceFolder
from openrealm.workspace.results import AskResult, Documents, FillResult, SearchResult

if TYPE_CHECKING:
    from openrealm.answering.answerer import Answerer
    from openrealm.answering.model_cache import CachedModel, ModelCache
    from openrealm.answering.workspace_models import WorkspaceModels

Texts = list[str] | tuple[str, ...]
Result = TypeVar("Result")

_MAX_LOADED = 4
# Inputs that go through the model together, so that a long list needs no more memory than a short.
_MAX_INPUTS = 64


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
