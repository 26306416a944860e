"""A workspace as one object: documents in, searches and answers out, trainings in between.

It keeps model and index in memory, and notices at the next call what other processes have changed.
What a call does not need is not imported for it.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, overload

from openrealm.errors import InputError
from openrealm.progress import Progress, Silent
from openrealm.runs.folders import RunFolder, WorkspaceFolder
from openrealm.settings import STAGES, Settings, checked, preset_settings, read_settings
from openrealm.settings.run import require_stages
from openrealm.terminal import make_progress

if TYPE_CHECKING:
    from openrealm.answering.answerer import Answerer, Answers, ChunkHit, Fillings
    from openrealm.answering.model_cache import CachedModel, ModelCache
    from openrealm.answering.workspace_models import WorkspaceModels
    from openrealm.corpus.records import Document, IngestReport
    from openrealm.corpus.store import ChunkStore
    from openrealm.recipes.evaluation import EvaluationReport
    from openrealm.recipes.exports import ExportReport
    from openrealm.recipes.inspection import IndexReport, WorkspaceInfo
    from openrealm.recipes.reporting import ReportFiles

PathLike = str | os.PathLike[str]
Texts = list[str] | tuple[str, ...]
Result = TypeVar("Result")

_OWN = {"corpus", "runs", "cache", "exports", "ingests.jsonl"}
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


# Settings -----------------------------------------------------------------------------------------


def preset(name: str = "adapt", **changes: Any) -> Settings:
    """The settings of a preset, with changes.

    ``preset("adapt", seed=1, realm={"steps": 600})``. Where ``start`` names an earlier run or an
    exported model, that one's shape takes the place of the preset's.

    Args:
        name: ``adapt``, ``tiny`` or ``paper``.
        changes: Settings by name; a section's as a mapping.

    Raises:
        ConfigError: There is no such preset or setting, or a value is out of range.
        CheckpointError: The start is damaged.
    """
    base = preset_settings(name)
    start = changes.get("start", base.start)
    if isinstance(start, str | os.PathLike) and Path(start).is_dir():
        from openrealm.runs.first_weights import begun_from

        base = begun_from(base, str(start))
        changes["start"] = base.start
    settings = checked(base.changed(**changes))
    given = ((stage, changes.get(stage)) for stage in STAGES)
    require_stages(
        settings,
        [
            (stage, f"{stage}.steps={section['steps']}")
            for stage, section in given
            if isinstance(section, Mapping) and "steps" in section
        ],
    )
    return settings


# The object ---------------------------------------------------------------------------------------


def open(
    folder: PathLike, *, run: str | None = None, progress: Progress | bool | None = None
) -> Workspace:
    """A workspace: the folder that holds documents, runs and all that is made of them.

    The folder is made by the first ingest. Close the object, or use it in a ``with`` statement, to
    let go of model and index.

    Args:
        folder: Where it is.
        run: Name of the run that answers; the newest that can by default.
        progress: Whether, or where, to tell how far long work is: by default on standard error
            where that is a terminal.

    Raises:
        InputError: There is a file, or a folder of something else.
    """
    return Workspace(folder, run=run, progress=progress)


class Workspace:
    """One workspace; `open` makes it. May be used from several threads."""

    def __init__(
        self,
        folder: PathLike,
        *,
        run: str | None = None,
        progress: Progress | bool | None = None,
    ) -> None:
        """Loads nothing yet; the arguments are those of `open`."""
        self.directory = Path(folder)
        _require_own(self.directory)
        self._folder, self._run = WorkspaceFolder(self.directory), run
        self._progress = _progress(progress)
        self._lock, self._one_computes = threading.Lock(), threading.Lock()
        self._opened: tuple[WorkspaceModels, ModelCache] | None = None
        self._closed = False

    def __repr__(self) -> str:
        return f"openrealm.open({str(self.directory)!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Lets go of model and index; nothing can be asked afterwards."""
        with self._lock:
            self._closed = True
            if self._opened is not None:
                models, cache = self._opened
                models.close()
                cache.clear()
            self._opened = None

    # What is retrieved from.

    def ingest(
        self,
        *sources: PathLike,
        settings: Settings | None = None,
        remove: Sequence[str] = (),
        strict: bool = False,
        rechunk: bool = False,
    ) -> IngestReport:
        """Adds documents, and replaces those whose ids are there already.

        Args:
            sources: Files and folders.
            settings: Whose section ``corpus`` fixes tokenizer and chunk size of a new workspace.
            remove: Ids of documents to remove.
            strict: End at the first problem and change nothing.
            rechunk: Cut all documents anew with the settings.

        Raises:
            InputError: A source is missing, or ``strict`` and there is a problem.
            ConfigError: Settings for a workspace that has others.
        """
        from openrealm.recipes.ingestion import ingest

        return ingest(
            self.directory,
            sources=[Path(source) for source in sources],
            settings=settings,
            remove=remove,
            strict=strict,
            rechunk=rechunk,
            progress=self._progress,
        )

    def remove(self, *ids: str) -> IngestReport:
        """Removes documents by their ids."""
        return self.ingest(remove=ids)

    def documents(self) -> Documents:
        """The documents, in the order in which they were ingested."""
        return Documents(self._models()[0].corpus() if self._folder.corpus.is_dir() else None)

    # What is asked.

    @overload
    def search(
        self, text: str, *, k: int = 5, run: str | None = None, stage: str | None = None
    ) -> SearchResult: ...
    @overload
    def search(
        self, text: Texts, *, k: int = 5, run: str | None = None, stage: str | None = None
    ) -> list[SearchResult]: ...
    def search(
        self,
        text: str | Texts,
        *,
        k: int = 5,
        run: str | None = None,
        stage: str | None = None,
    ) -> SearchResult | list[SearchResult]:
        """The k chunks that fit a text best; for a list of texts a list of results.

        Args:
            text: What to look for.
            k: Chunks found.
            run: Name of the run that searches; the workspace's by default.
            stage: The stage after which its weights are taken; the last by default.

        Raises:
            InputError: A text is empty, or there is no such run.
        """
        model = self._model("answer", run, stage)

        def search(texts: Sequence[str]) -> list[SearchResult]:
            return [
                SearchResult(text, model.source.run, str(model.source), tuple(hits))
                for text, hits in zip(texts, model.answerer.search(texts, k=k), strict=True)
            ]

        return self._computed(text, search, cost=1)

    @overload
    def ask(
        self, question: str, *, k: int | None = None, top: int = 5, run: str | None = None
    ) -> AskResult: ...
    @overload
    def ask(
        self, question: Texts, *, k: int | None = None, top: int = 5, run: str | None = None
    ) -> list[AskResult]: ...
    def ask(
        self,
        question: str | Texts,
        *,
        k: int | None = None,
        top: int = 5,
        run: str | None = None,
    ) -> AskResult | list[AskResult]:
        """Answers with evidence; search results where nothing was fine-tuned for questions.

        Args:
            question: A question, or a list of them.
            k: Chunks read for each; the run's own number by default.
            top: Answers of each, at most.
            run: Name of the run that answers; the workspace's by default.

        Raises:
            InputError: A question is empty, or there is no such run.
        """
        model = self._model("answer", run, None)
        run_name, source, read = model.source.run, str(model.source), k or model.read

        def answer(questions: Sequence[str]) -> list[AskResult]:
            found = _reader(model).ask(questions, read=read, top=top)
            return [
                AskResult(answers.question, run_name, source, True, answers, ())
                for answers in found
            ]

        def search(questions: Sequence[str]) -> list[AskResult]:
            found = model.answerer.search(questions, k=read)
            return [
                AskResult(question, run_name, source, False, None, tuple(hits))
                for question, hits in zip(questions, found, strict=True)
            ]

        if model.has_reader:
            return self._computed(question, answer, cost=read + 1)
        return self._computed(question, search, cost=1)

    @overload
    def fill(
        self,
        text: str,
        *,
        k: int | None = None,
        top: int = 5,
        run: str | None = None,
        stage: str | None = None,
    ) -> FillResult: ...
    @overload
    def fill(
        self,
        text: Texts,
        *,
        k: int | None = None,
        top: int = 5,
        run: str | None = None,
        stage: str | None = None,
    ) -> list[FillResult]: ...
    def fill(
        self,
        text: str | Texts,
        *,
        k: int | None = None,
        top: int = 5,
        run: str | None = None,
        stage: str | None = None,
    ) -> FillResult | list[FillResult]:
        """The most probable words for the ``[MASK]``s of a text, and the chunks behind them.

        Args:
            text: A text with one or more masks, or a list of them.
            k: Candidates of each, the null chunk included; the run's own number by default.
            top: Fillings of each, at most.
            run: Name of the run that fills; the workspace's by default.
            stage: The stage after which its weights are taken; the last that fills by default.

        Raises:
            InputError: A text has no mask, there is no such run, or nothing can fill masks yet.
        """
        model = self._model("fill", run, stage)
        width = k or model.k

        def fill(texts: Sequence[str]) -> list[FillResult]:
            found = _reader(model).fill(texts, k=width, top=top)
            return [FillResult(model.source.run, str(model.source), each) for each in found]

        return self._computed(text, fill, cost=width)

    # What is learned.

    @property
    def runs(self) -> list[Run]:
        """The runs, oldest first."""
        return [Run(run.directory) for run in self._folder.runs()]

    def run(self, name: str | None = None) -> Run:
        """A run by name, or the newest.

        Raises:
            InputError: There is none.
        """
        return Run(self._folder.run(name).directory)

    def pretrain(
        self,
        settings: Settings | None = None,
        *,
        texts: PathLike | Sequence[PathLike] = (),
        queries: PathLike | None = None,
        resume: bool = False,
        run: str | None = None,
    ) -> Run:
        """Trains a retriever and a reader on the documents, without labels.

        Args:
            settings: What the run is made from; the preset ``adapt`` by default.
            texts: Training texts, where they are not the documents themselves.
            queries: Held-out queries (``text``, ``answers``, ``gold``), measured after each stage.
            resume: Go on with a run that was stopped or killed.
            run: Name of the run; a new one by default, the newest with ``resume``.

        Raises:
            OpenRealmError: Of the kind that the message explains.
            Stopped: Ctrl-C; everything is saved.
        """
        from openrealm.recipes.pretraining import pretrain

        summary = pretrain(
            self.directory,
            settings,
            texts=_paths(texts),
            queries=None if queries is None else Path(queries),
            resume=resume,
            run=run,
            progress=self._progress,
        )
        return self.run(summary.run)

    def finetune(
        self,
        questions: PathLike | Sequence[PathLike | tuple[str, str] | Mapping[str, Any]],
        *,
        dev: PathLike | Sequence[PathLike | tuple[str, str] | Mapping[str, Any]] = (),
        dev_split: bool = False,
        settings: Settings | None = None,
        resume: bool = False,
        run: str | None = None,
    ) -> Run:
        """Teaches a run to answer questions; chunk embeddings stay fixed.

        Args:
            questions: A file of questions, or several; or pairs of question and answer; or
                mappings of ``question`` and ``answer``, which may be a list.
            dev: Questions to measure on afterwards, in the same forms.
            dev_split: Keep a tenth of the questions, and measure on them.
            settings: In place of the run's own: ``run.settings.changed(qa={"steps": 1000})``.
            resume: Go on with a fine-tuning that was stopped or killed.
            run: Name of the run; the newest by default.

        Raises:
            InputError: A question is broken, or the run has no pre-trained weights.
            ConfigError: Settings that fine-tuning cannot change.
            Stopped: Ctrl-C; everything is saved.
        """
        from openrealm.recipes.finetuning import finetune

        summary = finetune(
            self.directory,
            qa=_questions(questions),
            dev=_questions(dev),
            dev_split=dev_split,
            settings=settings,
            resume=resume,
            run=run,
            progress=self._progress,
        )
        return self.run(summary.run)

    # What is known of it.

    def evaluate(
        self,
        *,
        qa: PathLike | Sequence[PathLike] = (),
        beir: PathLike | Sequence[PathLike] = (),
        queries: PathLike | Sequence[PathLike] = (),
        **options: Any,
    ) -> EvaluationReport:
        """Measures a run: how well it retrieves, predicts and answers.

        Args:
            qa: Question files: recall, and exact match where the run answers questions.
            beir: BEIR directories: nDCG@10, recall@100, MRR.
            queries: Held-out query files: recall.
            options: As of `openrealm.recipes.evaluate`: ``run``, ``stage``, ``probe``,
                ``baseline``, ``read``, ``limit`` and others.

        Raises:
            InputError: There is nothing to measure, or a file is broken.
        """
        from openrealm.recipes.evaluation import evaluate

        return evaluate(
            self.directory,
            qa=_paths(qa),
            beir=_paths(beir),
            queries=_paths(queries),
            progress=self._progress,
            **options,
        )

    def report(
        self,
        *,
        run: str | None = None,
        compare: Sequence[str] = (),
        to: PathLike | None = None,
        limit: int | None = None,
    ) -> ReportFiles:
        """Writes a page about a run: what was measured, what it learned, what it is made of.

        Args:
            run: Name of the run; the newest by default.
            compare: Names of other runs, to be shown beside it.
            to: Folder to write into; ``report`` in the run's folder by default.
            limit: Ask only so many of the held-out sentences.

        Raises:
            InputError: There is no such run.
            MissingDependencyError: matplotlib is not installed.
        """
        from openrealm.recipes.reporting import report

        folder = None if to is None else Path(to)
        return report(
            self.directory,
            run=run,
            compare=compare,
            to=folder,
            limit=limit,
            progress=self._progress,
        )

    def export(
        self,
        to: str,
        *,
        output: PathLike | None = None,
        run: str | None = None,
        stage: str | None = None,
        push: str | None = None,
        public: bool = False,
    ) -> ExportReport:
        """Writes a run for other programs, with a model card.

        Args:
            to: ``openrealm``, ``sentence-transformers``, ``hf-realm``, ``parquet`` or ``faiss``.
            output: The folder to make; ``exports/RUN-FORMAT`` in the workspace by default.
            run: Name of the run; the newest by default.
            stage: The stage after which its weights are taken; the last by default.
            push: A repository on the Hugging Face hub to upload it to as well.
            public: Whether a repository that is made for it is public.

        Raises:
            InputError: There is no such run, or the folder has something in it.
            ConfigError: The format cannot say what the model is.
            HubError: The upload failed; the folder is there.
        """
        from openrealm.recipes.exports import export

        return export(
            self.directory,
            to=to,
            output=None if output is None else Path(output),
            run=run,
            stage=stage,
            push=push,
            public=public,
            progress=self._progress,
        )

    def index(
        self,
        *,
        run: str | None = None,
        check: bool = False,
        fleet: str | None = None,
        storage: str | None = None,
    ) -> IndexReport:
        """Embeds the documents with a run's newest weights, where that is not done yet.

        Args:
            run: Name of the run; the newest by default, the start where there is none.
            check: Read every byte of the snapshot and compare checksums.
            fleet: Address of a Ray cluster that embeds; ``local`` for one that is started here.
            storage: URL of a storage for nodes that lack the workspace's folder.

        Raises:
            SnapshotError: The snapshot is damaged, or the cluster could not make it.
        """
        from openrealm.recipes.inspection import build_index

        return build_index(
            self.directory,
            run=run,
            check=check,
            fleet=fleet,
            storage=storage,
            progress=self._progress,
        )

    def info(self, *, run: str | None = None) -> WorkspaceInfo:
        """What is in the workspace, whether it is whole, and what made it; reads every byte.

        Raises:
            CorpusError: There is no corpus.
        """
        from openrealm.recipes.inspection import info

        return info(self.directory, run=run)

    # In memory.

    def _models(self) -> tuple[WorkspaceModels, ModelCache]:
        with self._lock:
            if self._closed:
                raise InputError(f"workspace '{self.directory}' is closed; open it again")
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


def _require_own(directory: Path) -> None:
    """Checks that a folder is a workspace, or may become one.

    Raises:
        InputError: It is something else.
    """
    if directory.is_dir():
        names = {path.name for path in directory.iterdir() if not path.name.startswith(".")}
        if names and not names & _OWN:
            raise InputError(
                f"'{directory}' is no workspace, and not empty; name a workspace's folder, or a "
                "new one"
            )
    elif directory.exists():
        raise InputError(f"'{directory}' is a file; a workspace is a folder")


def _progress(wanted: Progress | bool | None) -> Progress:
    if wanted is None:
        wanted = sys.stderr is not None and sys.stderr.isatty()
    if isinstance(wanted, bool):
        return make_progress() if wanted else Silent()
    return wanted


def _paths(given: PathLike | Sequence[PathLike]) -> list[Path]:
    if isinstance(given, str | os.PathLike):
        return [Path(given)]
    return [Path(each) for each in given]


def _questions(
    given: PathLike | Sequence[PathLike | tuple[str, str] | Mapping[str, Any]],
) -> list[Any]:
    """Paths as paths, everything else as questions."""
    from openrealm.data.qa import question_of

    if isinstance(given, str | os.PathLike):
        return [Path(given)]
    return [
        Path(each) if isinstance(each, str | os.PathLike) else question_of(each, number=number)
        for number, each in enumerate(given, start=1)
    ]
