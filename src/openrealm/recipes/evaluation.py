"""The `evaluate` recipe: every measure in one table, BM25 and its fusion beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from openrealm.answering.answerer import Answers, answerer_of
from openrealm.corpus.store import ChunkStore
from openrealm.data.qa import Question, read_questions
from openrealm.errors import ConfigError, InputError
from openrealm.evaluation import (
    Asked,
    HeldOutQuery,
    Ranker,
    Table,
    beir_values,
    from_questions,
    qa_values,
    read_held_out,
    retrieval_values,
    summarise,
)
from openrealm.files import require_files
from openrealm.metrics import bootstrap_interval, read_beir_judgments
from openrealm.progress import Progress, Silent
from openrealm.retrieval.lexical import fuse_reciprocal_ranks
from openrealm.runs.folders import WorkspaceFolder
from openrealm.runs.loaded import (
    ALL_STAGES,
    START,
    LoadedRun,
    load_run,
    load_untrained_run,
)
from openrealm.runs.masked_queries import held_out_of
from openrealm.runs.parts import bm25_of
from openrealm.training.probe import probe_of


@dataclass(frozen=True)
class EvaluationRow:
    """One line of the table: what was measured, by which ranking or reader."""

    data: str
    system: str
    num: int
    measures: Table


@dataclass(frozen=True)
class EvaluationReport:
    """All that was measured of one run.

    Attributes:
        run: Its name; None: there was none, and the start as it is was measured.
        stage: Stage after which its weights were taken.
        start: Where its first weights came from.
        rows: The table.
        ancestors: Where those had come from, if ``start`` is an exported model.
    """

    run: str | None
    stage: str
    start: str
    rows: tuple[EvaluationRow, ...]
    ancestors: tuple[str, ...] = ()


def evaluate(
    workspace: Path,
    *,
    run: str | None = None,
    stage: str | None = None,
    qa: Sequence[Path] = (),
    beir: Sequence[Path] = (),
    queries: Sequence[Path] = (),
    probe: bool = False,
    baseline: str | None = None,
    raw_match: bool = False,
    regex_anywhere: bool = False,
    read: int | None = None,
    limit: int | None = None,
    progress: Progress | None = None,
) -> EvaluationReport:
    """Measures a run, or the start as it is.

    Args:
        workspace: Its folder.
        run: Name of the run; the newest by default, or the start where there is none.
        stage: Measure the weights at the end of this stage, or those that training began with
            (``start``); the last ones by default.
        qa: Question files of any known format, SQuAD's among them: recall@k, and exact match and
            F1 where there is a QA reader.
        beir: BEIR directories: nDCG@10, recall@100, MRR.
        queries: Held-out query files.
        probe: The run's own held-out masked queries: recall, utility, accuracy.
        baseline: ``bm25`` puts BM25 and the fusion of both beside every ranking.
        raw_match: Recall by case-sensitive substring, as the original computes it.
        regex_anywhere: Answers that are regular expressions (CuratedTREC) may match anywhere in
            what was answered, not only from its beginning, as the original has it.
        read: Chunks read per question; by default as many as in fine-tuning.
        limit: Use only so many questions of each file.
        progress: Where to tell how far it is.

    Raises:
        InputError: Nothing to measure, or a broken file.
    """
    progress = progress or Silent()
    require_files([*qa, *beir, *queries])
    if baseline not in (None, "bm25"):
        raise ConfigError(f"baseline '{baseline}' is unknown; there is: bm25")
    if not (qa or beir or queries or probe):
        raise InputError("nothing to measure; give --qa, --beir, --queries or --probe")
    home = WorkspaceFolder(Path(workspace))
    is_untrained = run is None and stage in (None, START) and not home.runs()
    if is_untrained and probe:
        raise InputError("there is no run yet whose held-out sentences could be asked")
    if is_untrained:
        loaded = load_untrained_run(home, progress=progress)
    else:
        stages = (stage,) if stage else ALL_STAGES
        loaded = load_run(home, name=run, stages=stages, progress=progress)
    rankers = _rankers(home, loaded, baseline)
    rows: list[EvaluationRow] = []
    if probe:
        rows.append(_probe(home, loaded, progress))
    for path in beir:
        rows.extend(_beir(loaded.corpus, path, rankers))
    for path in queries:
        rows.extend(
            _recall(loaded.corpus, path.name, read_held_out(path)[:limit], rankers, raw_match)
        )
    for path in qa:
        questions = _answerable(path, limit, progress)
        asked = from_questions(questions)
        rows.extend(_recall(loaded.corpus, path.name, asked, rankers, raw_match))
        for system, ask in _askers(home, loaded, read, baseline).items():
            place = list(rankers).index(system) - len(rankers)
            judged = qa_values(ask, questions, anchored=not regex_anywhere, progress=progress)
            measures = rows[place].measures | summarise(judged.values)
            rows[place] = replace(rows[place], measures=measures)
    return EvaluationReport(
        run=None if is_untrained else loaded.run.name,
        stage=loaded.checkpoint.position.stage,
        start=loaded.settings.start,
        rows=tuple(rows),
        ancestors=() if is_untrained else tuple(loaded.run.read_record().get("ancestors", ())),
    )


def _rankers(
    workspace: WorkspaceFolder, loaded: LoadedRun, baseline: str | None
) -> dict[str, Ranker]:
    dense = answerer_of(loaded).rank
    if baseline is None:
        return {"openrealm": dense}
    bm25 = bm25_of(workspace, loaded.corpus)

    def lexical(texts: Sequence[str], k: int) -> npt.NDArray[np.int64]:
        return bm25.search(texts, k)[1]

    def fused(texts: Sequence[str], k: int) -> npt.NDArray[np.int64]:
        return fuse_reciprocal_ranks([dense(texts, k), lexical(texts, k)], k)[1]

    return {"openrealm": dense, "bm25": lexical, "openrealm + bm25": fused}


def _askers(
    workspace: WorkspaceFolder, loaded: LoadedRun, read: int | None, baseline: str | None
) -> dict[str, Asked]:
    """What answers questions, by the name of what finds chunks for it; nothing without a reader."""
    answerer, k = answerer_of(loaded), read or loaded.settings.qa.read
    if loaded.checkpoint.position.stage != "qa" and not answerer.has_span_reader:
        return {}
    askers: dict[str, Asked] = {"openrealm": partial(answerer.ask, read=k, top=1)}
    if baseline is not None and answerer.has_span_reader:
        bm25 = bm25_of(workspace, loaded.corpus)

        def lexical(texts: Sequence[str]) -> list[Answers]:
            scores, rows = bm25.search(texts, k)
            return answerer.ask_beside(texts, rows, torch.from_numpy(scores), top=1)

        askers["bm25"] = lexical
    return askers


def _probe(workspace: WorkspaceFolder, loaded: LoadedRun, progress: Progress) -> EvaluationRow:
    held_out = held_out_of(workspace, loaded, progress=progress)
    report = probe_of(loaded, held_out).report(loaded.live.retriever)
    table_of = {name: bootstrap_interval(values) for name, values in report.values.items()}
    return EvaluationRow(
        data="probe", system="openrealm", num=len(held_out.queries), measures=table_of
    )


def _beir(corpus: ChunkStore, path: Path, rankers: dict[str, Ranker]) -> list[EvaluationRow]:
    judgments = read_beir_judgments(path)
    judged = {document for line in judgments.qrels.values() for document in line}
    if not any(corpus.find_document(document) is not None for document in judged):
        raise InputError(
            f"the corpus holds none of the {len(judged):,} documents that '{path}' judges; ingest "
            f"'{path / 'corpus.jsonl'}', whose ids they are"
        )
    return [
        EvaluationRow(
            data=path.name,
            system=name,
            num=len(judgments.queries),
            measures=summarise(beir_values(corpus, judgments, ranker)),
        )
        for name, ranker in rankers.items()
    ]


def _recall(
    corpus: ChunkStore,
    name: str,
    queries: Sequence[HeldOutQuery],
    rankers: dict[str, Ranker],
    raw: bool,
) -> list[EvaluationRow]:
    return [
        EvaluationRow(
            data=name,
            system=system,
            num=len(queries),
            measures=summarise(retrieval_values(corpus, queries, ranker, raw=raw)),
        )
        for system, ranker in rankers.items()
    ]


def read_answerable(given: Sequence[Path | Question], progress: Progress) -> list[Question]:
    """The questions, of files or as they are, that have an answer; how many have none is told."""
    questions: list[Question] = []
    for each in given:
        questions += read_questions(each) if isinstance(each, Path) else [each]
    kept = [question for question in questions if question.answers]
    if left_out := len(questions) - len(kept):
        progress.say(
            f"{left_out:,} of {len(questions):,} questions have no answer and are left out"
        )
    return kept


def _answerable(path: Path, limit: int | None, progress: Progress) -> list[Question]:
    questions = read_answerable([path], progress)[:limit]
    if not questions:
        raise InputError(f"{path} holds no question with an answer")
    return questions
