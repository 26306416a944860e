"""The `finetune` recipe: questions and answers to a reader that answers, chunk embeddings fixed."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from openrealm.answering.answerer import answerer_of
from openrealm.data.qa import Question
from openrealm.data.splits import split_development
from openrealm.errors import ConfigError, InputError
from openrealm.evaluation import Table, qa_values, summarise
from openrealm.files import require_files, write_atomic
from openrealm.processes import Processes, joined
from openrealm.progress import Progress, Silent
from openrealm.recipes.evaluation import read_answerable
from openrealm.recipes.pretraining import RunSummary, training_in
from openrealm.report.plots import draw_run
from openrealm.runs.checkpoints import Checkpoint, checkpoints
from openrealm.runs.folders import RunFolder, WorkspaceFolder
from openrealm.runs.loaded import (
    PRETRAINED_STAGES,
    LoadedModel,
    load_model,
    load_run,
    prepare_for_questions,
)
from openrealm.runs.parts import make_loader, make_maker, make_pooled, uses_gpu
from openrealm.runs.record import add_report, lower_rates_advised, note_lowered, require_left
from openrealm.settings import (
    Settings,
    checked,
    read_settings,
    require_lower_rates,
    settings_text,
)
from openrealm.training.fine_tuning import QaStage
from openrealm.training.index_keeper import IndexKeeper
from openrealm.training.metrics_log import metrics_log_of
from openrealm.training.probe import NoProbe
from openrealm.training.reading import ReadingStage
from openrealm.training.refresh import InlineRefresh
from openrealm.training.stage import Ingredients
from openrealm.training.trainer import Trainer


def finetune(
    workspace: Path,
    *,
    qa: Sequence[Path | Question],
    dev: Sequence[Path | Question] = (),
    dev_split: bool = False,
    run: str | None = None,
    settings: Settings | None = None,
    resume: bool = False,
    progress: Progress | None = None,
) -> RunSummary:
    """Fine-tunes a run for question answering.

    Args:
        workspace: Its folder.
        qa: Question files to learn from, or questions.
        dev: Question files to measure on afterwards, or questions.
        dev_split: Measure also on the tenth of the training questions that the original keeps for
            development, and do not learn from them (`is_development`).
        run: Name of the run; the newest by default.
        settings: In place of the run's own, of which ``model`` cannot change.
        resume: Go on with fine-tuning that was stopped or killed; ``settings`` may then lower
            learning rates.
        progress: Where to tell how far it is.

    Raises:
        InputError: A question file is broken, or the run has no pre-trained weights.
        ConfigError: Settings together with ``resume``, or ones that fine-tuning cannot change.
        Stopped: Ctrl-C; everything is saved.
    """
    began = time.perf_counter()
    progress = progress or Silent()
    home = WorkspaceFolder(Path(workspace))
    require_files([each for each in (*qa, *dev) if isinstance(each, Path)])
    folder = home.run(run)
    with joined(gpu=uses_gpu(read_settings(folder.settings_file))) as processes:
        if not processes.is_first:
            progress = Silent()
        questions, asked = (read_answerable(paths, progress) for paths in (qa, dev))
        if dev_split:
            questions, kept = split_development(questions)
            asked += kept
        with training_in(folder, processes):
            begun = _begun(home, folder, settings, resume)
            if begun.middle is not None:
                _require_the_same(folder, questions)
            if begun.is_left:
                with lower_rates_advised(begun.loaded.settings, "qa"):
                    _train(home, begun, questions, processes, progress)
            if processes.is_first:
                _write_down(folder, _measure(home, folder.name, asked, progress))
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


@dataclass(frozen=True)
class _Begun:
    """A fine-tuning as it goes on.

    Attributes:
        loaded: The pre-trained run, with the settings of its fine-tuning.
        middle: How far it has come; None where there is no checkpoint.
        before: The settings that it had until now; None where it begins.
    """

    loaded: LoadedModel
    middle: Checkpoint | None
    before: Settings | None

    @property
    def is_left(self) -> bool:
        """Whether there is a step to make."""
        return self.middle is None or not self.middle.position.finished


def _begun(
    workspace: WorkspaceFolder,
    folder: RunFolder,
    settings: Settings | None,
    resume: bool,
) -> _Begun:
    """What is fine-tuned, with which settings, and from where on."""
    loaded = load_model(workspace, name=folder.name, stages=PRETRAINED_STAGES)
    tuned = (c for c in checkpoints(folder.checkpoints) if c.position.stage == "qa")
    middle = next((c for c in tuned if c.is_whole()), None)
    settings = checked(settings or loaded.settings)
    if resume:
        require_lower_rates(loaded.settings, settings)
    if settings.model != loaded.settings.model:
        raise ConfigError("fine-tuning cannot change model settings; they are the run's own")
    if middle is not None and not resume:
        raise InputError(
            f"run '{folder.name}' has been fine-tuned already; go on with --resume, "
            "or pretrain a new run"
        )
    begun = _Begun(
        loaded=replace(loaded, settings=settings),
        middle=middle,
        before=loaded.settings if resume else None,
    )
    if begun.before is not None:
        require_left(begun.before, settings, ["qa"] if begun.is_left else [])
    return begun


def _write_down(run: RunFolder, measured: Table) -> None:
    total_step = next(checkpoints(run.checkpoints)).position.total_step
    record = run.read_record()
    means = {name: interval.mean for name, interval in measured.items()}
    add_report(record, {"stage": "qa", "total_step": total_step, **means}, measured)
    run.write_record(record)


def _train(
    workspace: WorkspaceFolder,
    begun: _Begun,
    questions: Sequence[Question],
    processes: Processes,
    progress: Progress,
) -> None:
    loaded, middle = begun.loaded, begun.middle
    settings, run = loaded.settings, loaded.run
    made = prepare_for_questions(loaded.model, settings, loaded.corpus.tokenizer)
    parts = Ingredients(
        model=loaded.model,
        encoder=loaded.encoder,
        corpus=loaded.corpus,
        texts=loaded.corpus,
        seed=settings.seed,
        processes=processes,
    )
    stage_of = ReadingStage if settings.qa.has_span_reader else QaStage
    stage = stage_of(parts, settings.qa, questions)
    notes: list[dict[str, Any]] = []
    if processes.is_first:  # once nothing is left to refuse
        notes = _write_begun(begun, questions, made)
    corpus, encoder = loaded.corpus, loaded.encoder
    maker = make_maker(
        run,
        settings,
        corpus,
        encoder,
        load=make_loader(workspace, settings, corpus, loaded.model, processes, progress),
        pooled=make_pooled(workspace, settings, corpus, encoder, processes, progress=progress),
        progress=progress,
    )
    log, probe = metrics_log_of(run, settings, processes), NoProbe()
    trainer = Trainer(
        parts=parts,
        optim=settings.optim,
        loop=settings.loop,
        index=IndexKeeper(
            maker=maker,
            refresh=InlineRefresh(maker),
            log=log,
            probe=probe,
            progress=progress,
            processes=processes,
        ),
        checkpoints=run.checkpoints,
        log=log,
        probe=probe,
        progress=progress,
        total_step=loaded.checkpoint.position.total_step,
    )
    if middle is None:
        # What a fine-tuning that died before its first checkpoint has written is written again.
        trainer.log.cut(loaded.checkpoint.position.metrics_bytes)
    trainer.run(stage, middle, notes)


def _write_begun(
    begun: _Begun, questions: Sequence[Question], made: dict[str, Any]
) -> list[dict[str, Any]]:
    """Writes down what is fine-tuned, and on what; what the log has to say of lowered rates."""
    run, settings = begun.loaded.run, begun.loaded.settings
    record = run.read_record() | made
    if begun.middle is None:
        record["questions"] = _digest(questions)
    position = (begun.middle or begun.loaded.checkpoint).position
    notes = note_lowered(
        record,
        begun.before,
        settings,
        stage="qa",
        step=begun.middle.position.step if begun.middle is not None else 0,
        total=position.total_step,
    )
    run.write_record(record)
    write_atomic(run.settings_file, settings_text(settings).encode())
    return notes


def _measure(
    workspace: WorkspaceFolder, name: str, questions: Sequence[Question], progress: Progress
) -> Table:
    if not questions:
        return {}
    loaded = load_run(workspace, name=name, stages=("qa",), trains=True, progress=progress)
    ask = partial(answerer_of(loaded).ask, read=loaded.settings.qa.read, top=1)
    measured = qa_values(ask, questions, progress=progress)
    return {f"qa/{k}": interval for k, interval in summarise(measured.values).items()}
