"""The `finetune` recipe: questions and answers to a reader that answers, chunk embeddings fixed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from openrealm.data.qa import Question, read_questions
from openrealm.data.splits import split_development
from openrealm.errors import ConfigError, InputError
from openrealm.evaluation import qa_values, summarise
from openrealm.files import write_atomic
from openrealm.progress import Progress, Silent
from openrealm.recipes.loading import (
    LoadedRun,
    draw,
    load_run,
    make_refresh,
    metrics_log,
    pick_precision,
    prepare_for_questions,
    require_files,
)
from openrealm.recipes.pretraining import RunSummary
from openrealm.settings import resolve, settings_text
from openrealm.training.checkpoint import Checkpoint, checkpoints
from openrealm.training.fine_tuning import QaStage
from openrealm.training.stage import Ingredients
from openrealm.training.trainer import Trainer
from openrealm.workspace import Workspace

_STARTS = ("realm", "warmup", "ict", "mlm")


def finetune(
    workspace: Path,
    *,
    qa: Sequence[Path],
    dev: Sequence[Path] = (),
    dev_split: bool = False,
    run: str | None = None,
    config: Path | None = None,
    assignments: Sequence[str] = (),
    resume: bool = False,
    progress: Progress | None = None,
) -> RunSummary:
    """Fine-tunes a run for question answering.

    Args:
        workspace: Its folder.
        qa: Question files to learn from.
        dev: Question files to measure on afterwards.
        dev_split: Measure also on the tenth of the training questions that the original keeps for
            development, and do not learn from them (`is_development`).
        run: Name of the run; the newest by default.
        config: TOML file over the run's settings.
        assignments: ``qa.steps=500`` and the like over both.
        resume: Go on with fine-tuning that was stopped or killed.
        progress: Where to tell how far it is.

    Raises:
        InputError: A question file is broken, or the run has no pre-trained weights.
        ConfigError: Settings together with ``resume``, or ones that fine-tuning cannot change.
        Stopped: Ctrl-C; everything is saved.
    """
    began = time.perf_counter()
    progress = progress or Silent()
    place = Workspace(Path(workspace))
    if resume and (config or assignments):
        raise ConfigError("--resume goes on with the settings that fine-tuning began with")
    require_files([*qa, *dev])
    questions = [q for path in qa for q in read_questions(path) if q.answers]
    asked = [q for path in dev for q in read_questions(path) if q.answers]
    if dev_split:
        questions, kept = split_development(questions)
        asked += kept
    folder = place.run(run)
    with folder.locked():
        loaded = load_run(place, name=folder.name, stages=_STARTS, progress=progress)
        settings = resolve(base=loaded.settings, config=config, assignments=assignments)
        if settings.model != loaded.settings.model:
            raise ConfigError("fine-tuning cannot change model settings; they are the run's own")
        loaded = replace(loaded, settings=settings)
        middle = next(
            (c for c in checkpoints(folder.checkpoints) if c.position.stage == "qa"), None
        )
        if middle is not None and not resume:
            raise InputError(
                f"run '{folder.name}' has been fine-tuned already; go on with --resume, "
                "or pretrain a new run"
            )
        write_atomic(folder.settings_file, settings_text(settings).encode())
        if middle is None or not middle.position.finished:
            _train(loaded, questions, middle, progress)
        measured = _measure(place, folder.name, asked, progress)
    total_step = next(checkpoints(folder.checkpoints)).position.total_step
    record = folder.read_record()
    others = [r for r in record["stage_reports"] if r["stage"] != "qa"]
    record["stage_reports"] = [*others, {"stage": "qa", "total_step": total_step, **measured}]
    folder.write_record(record)
    return RunSummary(
        workspace=str(workspace),
        run=folder.name,
        stages=tuple(record["stage_reports"]),
        seconds=time.perf_counter() - began,
        plot=draw(folder, progress),
    )


def _train(
    loaded: LoadedRun,
    questions: Sequence[Question],
    middle: Checkpoint | None,
    progress: Progress,
) -> None:
    settings, run = loaded.settings, loaded.run
    prepare_for_questions(loaded.model, settings)
    parts = Ingredients(
        model=loaded.model,
        corpus=loaded.corpus,
        texts=loaded.corpus,
        templates=loaded.templates,
        seed=settings.seed,
        groups=settings.length_groups,
        autocast=pick_precision(settings, next(loaded.model.parameters()).device),
    )
    refresh = make_refresh(
        run, settings, loaded.corpus, loaded.model, loaded.templates, progress=progress
    )
    trainer = Trainer(
        parts=parts,
        optim=settings.optim,
        loop=settings.loop,
        retrieval=settings.retrieval,
        refresh=refresh,
        checkpoints=run.checkpoints,
        log=metrics_log(run, settings),
        probe=lambda live: {},
        progress=progress,
        total_step=loaded.checkpoint.position.total_step,
    )
    if middle is None:
        # What a fine-tuning that died before its first checkpoint has written is written again.
        trainer.log.cut(loaded.checkpoint.position.metrics_bytes)
    trainer.run(QaStage(parts, settings.qa, questions), middle)


def _measure(
    place: Workspace, name: str, questions: Sequence[Question], progress: Progress
) -> dict[str, float]:
    if not questions:
        return {}
    loaded = load_run(place, name=name, stages=("qa",), progress=progress)
    found = qa_values(loaded.answerer(), questions, read=loaded.settings.qa.read, progress=progress)
    return {f"qa/{k}": interval.mean for k, interval in summarise(found.values).items()}
