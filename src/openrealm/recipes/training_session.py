"""A run in training, composed of its settings: model, stages, index, probe, measurements."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from openrealm.answering.answerer import Answerer
from openrealm.corpus.store import ChunkStore
from openrealm.data.pretraining import MaskedQueries
from openrealm.data.recurring_spans import RecurringSpans
from openrealm.errors import InputError
from openrealm.evaluation import HeldOutQuery, read_held_out, retrieval_values, summarise
from openrealm.files import write_atomic
from openrealm.models.realm import Realm
from openrealm.processes import Processes
from openrealm.progress import Progress
from openrealm.recipes.refresh_worker import refresh_by_settings
from openrealm.retrieval.lexical import LexicalRetriever
from openrealm.retrieval.live_index import LiveIndex
from openrealm.runs.checkpoints import Checkpoint, Position, checkpoints
from openrealm.runs.first_weights import Beginning, first_model, first_span_reader, follow
from openrealm.runs.folders import RunFolder, WorkspaceFolder
from openrealm.runs.loaded import START, begin_span_reader, empty_model
from openrealm.runs.masked_queries import masked_queries, recurring_spans
from openrealm.runs.parts import (
    bm25_together,
    make_encoder,
    make_loader,
    make_maker,
    make_pooled,
    pick_device,
)
from openrealm.runs.record import add_report, lower_rates_advised, note_lowered, require_left
from openrealm.runs.saved_state import save_checkpoint
from openrealm.settings import (
    Settings,
    read_settings,
    require_lower_rates,
    settings_text,
)
from openrealm.training.index_keeper import IndexKeeper
from openrealm.training.metrics_log import metrics_log_of
from openrealm.training.objectives import (
    JointStage,
    WarmupStage,
    joint_source,
    trained_retriever,
    warmup_source,
)
from openrealm.training.plain import IctStage, MlmStage
from openrealm.training.probe import HeldOutProbe, NoProbe, Probe
from openrealm.training.reading import RecurringSpanStage
from openrealm.training.stage import Ingredients, Stage
from openrealm.training.trainer import Trainer


class TrainingSession:
    """One call of `pretrain`: its model, its stages, and what is measured after each."""

    def __init__(
        self,
        workspace: WorkspaceFolder,
        run: RunFolder,
        corpus: ChunkStore,
        queries: Path | None,
        processes: Processes,
        progress: Progress,
        *,
        model: Realm | None,
        lowered: Settings | None,
    ) -> None:
        """Takes what is trained, and how.

        Args:
            workspace: Its folder.
            run: The run.
            corpus: Its corpus.
            queries: Held-out queries that were given now.
            processes: Who trains together.
            progress: Where to tell how far it is.
            model: The first model of a new run where it has been made already.
            lowered: The settings with lower learning rates, from now on.
        """
        before = read_settings(run.settings_file)
        settings = before if lowered is None else require_lower_rates(before, lowered)
        self._workspace, self._run = workspace, run
        self._settings, self._corpus = settings, corpus
        self._processes, self._progress = processes, progress
        self._texts = texts_of(run, corpus)
        self._held_out = self._read_queries(queries)
        self._record = run.read_record()
        if self._record["corpus"] != corpus.fingerprint:
            raise InputError(
                f"the corpus has changed since run '{run.name}' began; start a new run"
            )
        self._names = [name for name in settings.stages if getattr(settings, name).steps]
        self._checkpoint = self._newest() if model is None else None
        self._done = self._num_done()
        require_left(before, settings, self._names[self._done :])
        self._notes = self._noted(before)
        model = self._first_model() if model is None else model
        self._model = model.to(pick_device(settings))
        self._encoder = make_encoder(settings, corpus, self._model.embedder)
        # One finds the spans, the others read what it has written down.
        for first in (True, False):
            if processes.is_first == first:
                self._queries = self._masked_queries()
                self._recurring = self._recurring_spans()
            processes.barrier()
        self._probe = self._make_probe()
        self._parts = Ingredients(
            model=self._model,
            encoder=self._encoder,
            corpus=corpus,
            texts=self._texts,
            seed=settings.seed,
            processes=processes,
        )
        self._pooled = make_pooled(
            workspace, settings, corpus, self._encoder, processes, progress=progress
        )
        self._maker = make_maker(
            run,
            settings,
            corpus,
            self._encoder,
            load=make_loader(workspace, settings, corpus, self._model, processes, progress),
            pooled=self._pooled,
            progress=progress,
        )
        self._refresh = refresh_by_settings(workspace, run, settings, self._maker)

    def run(self) -> None:
        """All stages, from the newest checkpoint where there is one."""
        trainer, names = self._trainer(), self._names
        checkpoint, done, notes = self._checkpoint, self._done, self._notes
        if checkpoint is not None and not names:
            return
        if notes and self._processes.is_first:
            # First the record: where the settings are not written yet, the next one corrects it.
            self._run.write_record(self._record)
            write_atomic(self._run.settings_file, settings_text(self._settings).encode())
        if checkpoint is None:
            trainer.log.cut(0)
            if not names:
                self._keep_start()
            if names[:1] != ["mlm"]:
                self._measure(START, 0, reads=False)
        elif checkpoint.position.finished:
            checkpoint.load_weights(self._model)
            trainer.total_step = checkpoint.position.total_step
            trainer.log.cut(checkpoint.position.metrics_bytes)
            self._after(checkpoint.position.stage, trainer.total_step)
        for name in names[done:]:
            stage = self._stage(name)
            trainer.probe = self._probe_of(stage)
            middle = checkpoint if checkpoint is not None and _is_middle(checkpoint, name) else None
            with lower_rates_advised(self._settings, name):
                trainer.run(stage, middle, notes)
            notes = []
            self._after(name, trainer.total_step)

    def _newest(self) -> Checkpoint | None:
        """Where training goes on: a run that was fine-tuned since has ended its pre-training."""
        ends = self._names or [START]
        mine = (c for c in checkpoints(self._run.checkpoints) if c.position.stage in ends)
        return next((c for c in mine if c.is_whole()), None)

    def _num_done(self) -> int:
        """Stages that are at their end."""
        if self._checkpoint is None or not self._names:
            return 0
        position = self._checkpoint.position
        return self._names.index(position.stage) + int(position.finished)

    def _noted(self, before: Settings) -> list[dict[str, Any]]:
        """What the log has to say of rates that were lowered; the record has it too afterwards."""
        left = self._names[self._done :]
        if not left:
            return []
        position = self._checkpoint.position if self._checkpoint is not None else None
        return note_lowered(
            self._record,
            before,
            self._settings,
            stage=left[0],
            step=position.step if position is not None and not position.finished else 0,
            total=position.total_step if position is not None else 0,
        )

    def _masked_queries(self) -> MaskedQueries | None:
        """What is masked; None where there is nothing to mask, and no stage that needs it.

        Raises:
            InputError: There is nothing to mask.
        """
        try:
            return masked_queries(
                self._workspace,
                self._settings,
                texts=self._texts,
                corpus=self._corpus,
                progress=self._progress,
            )
        except InputError as error:
            if {"warmup", "realm"}.intersection(self._names):
                raise
            self._progress.say(f"there is no probe: {error}")
            return None

    def _recurring_spans(self) -> RecurringSpans | None:
        """What the stage `reading` asks; None where there is no such stage, or it is over.

        Raises:
            CheckpointError: The reader that it trains cannot be loaded.
            ConfigError: That has another vocabulary.
            InputError: The texts have nothing of the kind.
        """
        is_measured = any(r["stage"] == "reading" for r in self._record["stage_reports"])
        if "reading" not in self._names or is_measured:
            return None
        if self._model.span_reader is None:  # refused now, and not after the other stages
            first_span_reader(self._model, self._settings, self._corpus.tokenizer)
        return recurring_spans(
            self._workspace, self._settings, texts=self._texts, progress=self._progress
        )

    def _keep_start(self) -> None:
        """Where nothing is trained, the first weights are what the run is asked with."""
        if self._processes.is_first:
            save_checkpoint(self._run.checkpoints, self._model, None, Position.without_steps(START))
        self._processes.barrier()

    def _after(self, stage: str, total_step: int) -> None:
        """What follows the end of a stage; repeated in whole when a run is taken up there."""
        follow(stage, self._model, copies_encoder=not self._settings.model.own_reader)
        if stage == "reading":
            self._measure_reading(total_step)
        elif stage != "mlm":
            self._measure(stage, total_step, reads=stage != "ict")

    def _measure(self, stage: str, total_step: int, *, reads: bool) -> None:
        """Asks the probe and the held-out queries, over an index of the present weights."""
        if any(report["stage"] == stage for report in self._record["stage_reports"]):
            return
        live = self._maker.first(total_step)
        probe = self._probe
        report = probe.report(live.retriever) if isinstance(probe, HeldOutProbe) else None
        numbers = report.metrics() if report is not None else {}
        table = summarise(report.values) if report is not None else {}
        if not reads:
            numbers = {k: v for k, v in numbers.items() if "recall" in k}
        intervals = {name: i for k, i in table.items() if (name := f"probe/{k}") in numbers}
        if self._held_out:
            values = retrieval_values(self._corpus, self._held_out, self._answerer(live).rank)
            checkpoint = {f"held_out/{k}": i for k, i in summarise(values).items()}
            intervals |= checkpoint
            numbers |= {name: i.mean for name, i in checkpoint.items()}
        if (lexical := self._model.lexical) is not None:
            numbers["lexical_weight"] = lexical.value
        measured = {"stage": stage, "total_step": total_step, **numbers}
        add_report(self._record, measured, intervals)
        if self._processes.is_first:
            self._run.write_record(self._record)
        self._processes.barrier()
        shown = ", ".join(f"{k} {v:.3f}" for k, v in numbers.items() if "@" in k or "util" in k)
        if shown:
            self._progress.say(f"after {stage}: {shown}")

    def _measure_reading(self, total_step: int) -> None:
        """Asks the reader of answers for the held-out spans."""
        if any(report["stage"] == "reading" for report in self._record["stage_reports"]):
            return
        numbers = self._reading_stage().held_out(None)
        add_report(self._record, {"stage": "reading", "total_step": total_step, **numbers}, {})
        if self._processes.is_first:
            self._run.write_record(self._record)
        self._processes.barrier()
        if numbers:
            shown = ", ".join(f"{k.partition('/')[2]} {v:.3f}" for k, v in numbers.items())
            self._progress.say(f"after reading: {shown}")

    def _answerer(self, live: LiveIndex) -> Answerer:
        return Answerer(self._model, self._encoder, self._corpus, live.retriever)

    def _make_probe(self) -> HeldOutProbe | NoProbe:
        """What asks the held-out sentences; nothing where none is held out."""
        held_out = self._queries.probe() if self._queries is not None else ()
        if not held_out:
            return NoProbe()
        return HeldOutProbe(
            model=self._model,
            encoder=self._encoder,
            queries=held_out,
            corpus=self._corpus,
            texts=self._texts,
            k=self._settings.retrieval.k,
        )

    def _trainer(self) -> Trainer:
        settings = self._settings
        log = metrics_log_of(self._run, settings, self._processes)
        return Trainer(
            parts=self._parts,
            optim=settings.optim,
            loop=settings.loop,
            index=IndexKeeper(
                maker=self._maker,
                refresh=self._refresh,
                log=log,
                probe=self._probe,
                progress=self._progress,
                processes=self._processes,
                writes_back=settings.refresh.write_back,
            ),
            checkpoints=self._run.checkpoints,
            log=log,
            probe=self._probe,
            progress=self._progress,
        )

    def _stage(self, name: str) -> Stage:
        settings, parts = self._settings, self._parts
        if name == "mlm":
            return MlmStage(parts, settings.mlm)
        if name == "ict":
            return IctStage(parts, settings.ict)
        if name == "reading":
            return self._reading_stage()
        assert self._queries is not None
        if name == "warmup":
            by_words = settings.warmup.candidates == "lexical"
            lexical = self._lexical() if by_words else None
            source = warmup_source(settings.warmup.k, lexical=lexical)
            return WarmupStage(parts, settings.warmup, self._queries, source=source)
        num_lexical = settings.realm.lexical
        return JointStage(
            parts,
            settings.realm,
            self._queries,
            retriever=trained_retriever(settings.realm.towers, self._encoder, self._pooled),
            source=joint_source(
                settings.retrieval.k,
                num_lexical=num_lexical,
                lexical=self._lexical() if num_lexical else None,
            ),
        )

    def _reading_stage(self) -> RecurringSpanStage:
        """The stage, with a reader of answers to train, whose shape goes into the run's record."""
        assert self._recurring is not None
        made = begin_span_reader(self._model, self._settings, self._corpus.tokenizer)
        self._record |= made
        if self._processes.is_first:
            self._run.write_record(self._record)
        return RecurringSpanStage(self._parts, self._settings.reading, self._recurring)

    def _probe_of(self, stage: Stage) -> Probe:
        """What is asked while a stage trains."""
        return stage.held_out if isinstance(stage, RecurringSpanStage) else self._probe

    def _lexical(self) -> LexicalRetriever:
        bm25 = bm25_together(self._workspace, self._corpus, self._processes, self._progress)
        return LexicalRetriever(self._corpus, bm25, self._settings.retrieval)

    def _first_model(self) -> Realm:
        """First weights; only their shape matters where a checkpoint follows."""
        if self._checkpoint is not None:
            return empty_model(
                self._settings,
                self._corpus.tokenizer,
                stage=self._checkpoint.position.stage,
                record=self._record,
            )
        return first_model(Beginning.of(self._settings), corpus=self._corpus, texts=self._texts)

    def _read_queries(self, given: Path | None) -> list[HeldOutQuery]:
        kept = self._run.directory / "queries.jsonl"
        if given is not None and self._processes.is_first:
            read_held_out(given)  # refused before it is kept
            shutil.copyfile(given, kept)
        self._processes.barrier()
        return read_held_out(kept) if kept.is_file() else []


def _is_middle(checkpoint: Checkpoint, stage: str) -> bool:
    return checkpoint.position.stage == stage and not checkpoint.position.finished


def texts_of(run: RunFolder, corpus: ChunkStore) -> ChunkStore:
    """What a run masks: its own texts where it has some, or the corpus."""
    return ChunkStore.open(run.texts) if run.texts.is_dir() else corpus
