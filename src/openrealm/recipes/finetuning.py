"""The `finetune` recipe: questions and answers to a reader that answers, chunk embeddings fixed."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from openrealm.answering.answerer import answerer_of
from openrealm.data.qa import Question
from openrealm.data.splits import split_development
from openrealm.errors import ConfigError, InputError
from openrealm.evaluation import Table, qa_values, summarise
from openrealm.files import write_atomic
from openrealm.models.realm import device_of
from openrealm.processes import Processes, joined
from openrealm.progress import Progress, Silent
from openrealm.recipes.evaluation import read_answerable
from openrealm.recipes.pretraining import RunSummary, training_in
from openrealm.report.plots import draw_run
from openrealm.runs.checkpoints import Checkpoint, checkpoints
from openrealm.runs.devices import pick_precision, uses_gpu
from openrealm.runs.folders import RunFolder, WorkspaceFolder
from openrealm.runs.loaded import (
    PRETRAINED_STAGES,
    LoadedModel,
    load_model,
    load_run,
    prepare_for_questions,
    require_files,
)
from openrealm.runs.parts import make_loader, make_maker, make_pooled
from openrealm.runs.stage_reports import add_report
from openrealm.settings import read_settings, resolve, settings_text
from openrealm.training.fine_tuning import QaStage
from openrealm.training.metrics_log import metrics_log_of
from openrealm.training.refresh import InlineRefresh
from openrealm.training.stage import Ingredients
from openrealm.training.trainer import NoProbe, Trainer


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
    place = WorkspaceFolder(Path(workspace))
    if resume and (config or assignments):
        raise ConfigError("--resume goes on with the settings that fine-tuning began with")
    require_files([*qa, *dev])
    folder = place.run(run)
    with joined(gpu=uses_gpu(read_settings(folder.settings_file))) as processes:
        if not processes.is_first:
            progress = Silent()
        questions, asked = (read_answerable(paths, progress) for paths in (qa, dev))
        if dev_split:
            questions, kept = split_development(questions)
            asked += kept
        with training_in(folder, processes):
            loaded, middle = _begun(place, folder, config, assignments, resume)
            if middle is not None:
                _require_the_same(folder, questions)
            if middle is None or not middle.position.finished:
                _train(place, loaded, questions, middle, processes, progress)
            if processes.is_first:
                _write_down(folder, _measure(place, folder.name, asked, progress))
            processes.barrier()
        plot = draw_run(folder, progress) if processes.is_first else None
    return RunSummary(
        workspace=str(workspace),
        run=folder.name,
        stages=tuple(folder.read_record()["stage_reports"]),
        seconds=time.perf_counter() - began,
        plot=plot,
    )


def _digest(questions: Sequence[Question]) -> str:
    text = json.dumps([[q.id, q.text, *q.answers] for q in questions])
    return hashlib.sha256(text.encode()).hexdigest()


def _require_the_same(run: RunFolder, questions: Sequence[Question]) -> None:
    """Compares the questions with those that fine-tuning began with.

    Raises:
        InputError: They are others, or in another order: development questions may be among them.
    """
    if run.read_record().get("questions") not in (None, _digest(questions)):
        raise InputError(
            f"the fine-tuning of run '{run.name}' began with other questions; go on with the same "
            "files in the same order, and --dev-split if it had that"
        )


def _begun(
    place: WorkspaceFolder,
    folder: RunFolder,
    config: Path | None,
    assignments: Sequence[str],
    resume: bool,
) -> tuple[LoadedModel, Checkpoint | None]:
    """The pre-trained run with the settings of its fine-tuning, and how far that has come."""
    loaded = load_model(place, name=folder.name, stages=PRETRAINED_STAGES)
    settings = resolve(base=loaded.settings, config=config, assignments=assignments)
    if settings.model != loaded.settings.model:
        raise ConfigError("fine-tuning cannot change model settings; they are the run's own")
    tuned = (c for c in checkpoints(folder.checkpoints) if c.position.stage == "qa")
    middle = next((c for c in tuned if c.is_whole()), None)
    if middle is not None and not resume:
        raise InputError(
            f"run '{folder.name}' has been fine-tuned already; go on with --resume, "
            "or pretrain a new run"
        )
    return replace(loaded, settings=settings), middle


def _write_down(run: RunFolder, measured: Table) -> None:
    total_step = next(checkpoints(run.checkpoints)).position.total_step
    record = run.read_record()
    means = {name: interval.mean for name, interval in measured.items()}
    add_report(record, {"stage": "qa", "total_step": total_step, **means}, measured)
    run.write_record(record)


def _train(
    place: WorkspaceFolder,
    loaded: LoadedModel,
    questions: Sequence[Question],
    middle: Checkpoint | None,
    processes: Processes,
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
        autocast=pick_precision(settings, device_of(loaded.model)),
        processes=processes,
    )
    stage = QaStage(parts, settings.qa, questions)
    if processes.is_first:  # once nothing is left to refuse
        write_atomic(run.settings_file, settings_text(settings).encode())
        if middle is None:
            run.write_record({**run.read_record(), "questions": _digest(questions)})
    corpus, model, templates = loaded.corpus, loaded.model, loaded.templates
    maker = make_maker(
        run,
        settings,
        corpus,
        model,
        templates,
        load=make_loader(place, settings, corpus, model, processes, progress),
        pooled=make_pooled(place, settings, corpus, model, templates, processes, progress=progress),
        progress=progress,
    )
    trainer = Trainer(
        parts=parts,
        optim=settings.optim,
        loop=settings.loop,
        maker=maker,
        refresh=InlineRefresh(maker),
        checkpoints=run.checkpoints,
        log=metrics_log_of(run, settings, processes),
        probe=NoProbe(),
        progress=progress,
        total_step=loaded.checkpoint.position.total_step,
    )
    if middle is None:
        # What a fine-tuning that died before its first checkpoint has written is written again.
        trainer.log.cut(loaded.checkpoint.position.metrics_bytes)
    trainer.run(stage, middle)


def _measure(
    place: WorkspaceFolder, name: str, questions: Sequence[Question], progress: Progress
) -> Table:
    if not questions:
        return {}
    loaded = load_run(place, name=name, stages=("qa",), trains=True, progress=progress)
    found = qa_values(
        answerer_of(loaded), questions, read=loaded.settings.qa.read, progress=progress
    )
    return {f"qa/{k}": interval for k, interval in summarise(found.values).items()}
