"""A workspace as one object: documents in, searches and answers out, trainings in between.

It keeps model and index in memory, and notices at the next call what other processes have changed.
What a call does not need is not imported for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, overload

from openrealm.progress import Progress
from openrealm.runs.folders import WorkspaceFolder
from openrealm.settings import Settings
from openrealm.workspace.arguments import PathLike, paths_of, progress_of, questions_of, require_own
from openrealm.workspace.session import (
    AskResult,
    Documents,
    FillResult,
    ModelSession,
    Run,
    SearchResult,
    Texts,
)

if TYPE_CHECKING:
    from openrealm.corpus.records import IngestReport
    from openrealm.recipes.evaluation import EvaluationReport
    from openrealm.recipes.exports import ExportReport
    from openrealm.recipes.inspection import IndexReport, WorkspaceInfo
    from openrealm.recipes.reporting import ReportFiles


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
        self, folder: PathLike, *, run: str | None = None, progress: Progress | bool | None = None
    ) -> None:
        """Loads nothing yet; the arguments are those of `open`."""
        self.directory = Path(folder)
        require_own(self.directory)
        self._folder = WorkspaceFolder(self.directory)
        self._progress = progress_of(progress)
        self._session = ModelSession(self._folder, run, self._progress)

    def __repr__(self) -> str:
        return f"openrealm.open({str(self.directory)!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Lets go of model and index; nothing can be asked afterwards."""
        self._session.close()

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
        return self._session.documents()

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
        self, text: str | Texts, *, k: int = 5, run: str | None = None, stage: str | None = None
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
        return self._session.search(text, k=k, run=run, stage=stage)

    @overload
    def ask(
        self, question: str, *, k: int | None = None, top: int = 5, run: str | None = None
    ) -> AskResult: ...
    @overload
    def ask(
        self, question: Texts, *, k: int | None = None, top: int = 5, run: str | None = None
    ) -> list[AskResult]: ...
    def ask(
        self, question: str | Texts, *, k: int | None = None, top: int = 5, run: str | None = None
    ) -> AskResult | list[AskResult]:
        """Answers with evidence; search results where there is no reader of answers.

        Args:
            question: A question, or a list of them.
            k: Chunks read for each; the run's own number by default.
            top: Answers of each, at most.
            run: Name of the run that answers; the workspace's by default.

        Raises:
            InputError: A question is empty, or there is no such run.
        """
        return self._session.ask(question, k=k, top=top, run=run)

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
        return self._session.fill(text, k=k, top=top, run=run, stage=stage)

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
            texts=paths_of(texts),
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
            qa=questions_of(questions),
            dev=questions_of(dev),
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
            qa=paths_of(qa),
            beir=paths_of(beir),
            queries=paths_of(queries),
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
