"""The `demo` recipe: the bundled corpus, answered from at once and then learned from; or the whole
method from nothing.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openrealm import almanac
from openrealm.answering.answerer import Answers, answerer_of
from openrealm.errors import InputError
from openrealm.progress import Progress, Silent
from openrealm.recipes.evaluation import evaluate
from openrealm.recipes.finetuning import finetune
from openrealm.recipes.ingestion import ingest
from openrealm.recipes.pretraining import RunSummary, pretrain
from openrealm.runs.folders import WorkspaceFolder
from openrealm.runs.loaded import START, load_run, load_untrained_run
from openrealm.settings import Settings, read_settings, resolve

PRESET, FROM_SCRATCH = "adapt", "tiny"
QUESTIONS = (
    "What is the capital of Bhutan?",
    "Who wrote Emma?",
    "Which country is Ljubljana the capital of?",
    "Who painted The Starry Night?",
    "What language is spoken in Brazil?",
    "Where was Mozart born?",
    "When did Fiji become independent?",
    "What is the chemical symbol of gold?",
    "How many goals did Brazil score in 1970?",  # the almanac does not say
)
_STEPS = 30  # joint ones, a minute or two
_ASKED = 150  # questions that exact match is measured with, before and after
_MEASURES = {
    "held_out/recall@1": "held-out queries: recall@1",
    "probe/recall@1": "held-out masked sentences: recall@1",
    "probe/recall@5": "held-out masked sentences: recall@5",
    "probe/utility": "utility of what is retrieved, nats a token",
    "probe/accuracy": "masked tokens right, with retrieval",
    "exact_match": "answers right (exact match)",
    "f1": "answers, F1",
}


@dataclass(frozen=True)
class DemoReport:
    """What the demo shows at its end.

    Attributes:
        workspace: Folder that it leaves behind.
        run: Name of the run.
        stages: Measurements after each stage, in order.
        compared: What was measured before the training, if it was, and after it, by its name in
            words; empty where the demo began from nothing.
        answers: A few questions answered.
        plot: Picture of the run.
        seconds: Time that it all took.
    """

    workspace: str
    run: str
    stages: tuple[dict[str, Any], ...]
    compared: Mapping[str, tuple[float | None, float]]
    answers: tuple[Answers, ...]
    plot: str | None
    seconds: float


def demo(
    directory: str | Path,
    *,
    settings: Settings | None = None,
    from_scratch: bool = False,
    progress: Progress | None = None,
) -> DemoReport:
    """Answers from the bundled corpus, then trains on it; one that was stopped is gone on with.

    Args:
        directory: Workspace to make; must not hold anything else.
        settings: What its run is made from; that of `demo_settings` by default.
        from_scratch: Learn everything from the corpus alone, vocabulary included, and fine-tune.
        progress: Where to tell how far it is.

    Raises:
        InputError: The folder holds something else.
        Stopped: Ctrl-C; everything is saved, and the same call goes on.
    """
    began = time.perf_counter()
    progress = progress or Silent()
    directory = Path(directory)
    settings = settings or demo_settings(from_scratch=from_scratch)
    data = almanac.directory()
    _require_own(directory)
    home = WorkspaceFolder(directory)
    if not (directory / "corpus").is_dir():
        progress.say(f"ingesting the bundled almanac into '{directory}'")
        ingest(directory, sources=[data / almanac.ARTICLES], settings=settings, progress=progress)
    if not (from_scratch or home.runs()):
        _answer_at_once(home, progress)
    last_stage = "qa" if from_scratch else "realm"
    begun = _begun(home, settings, last_stage)
    done = _pretrained(directory, settings, begun, progress)
    if from_scratch:
        done = finetune(
            directory,
            qa=[data / almanac.QUESTIONS_TRAIN],
            dev=[data / almanac.QUESTIONS_DEV],
            run=done.run,
            resume=begun is not None,
            progress=progress,
        )
    loaded = load_run(home, name=done.run, progress=progress)
    answers = answerer_of(loaded).ask(QUESTIONS, read=loaded.settings.qa.read, top=3)
    return DemoReport(
        workspace=str(directory),
        run=done.run,
        stages=done.stages,
        compared={} if from_scratch else _compared(directory, done, progress),
        answers=tuple(answers),
        plot=done.plot,
        seconds=time.perf_counter() - began,
    )


def demo_settings(*, from_scratch: bool = False, assignments: Sequence[str] = ()) -> Settings:
    """What the demo's run is made from: a short ``adapt``, or ``tiny``.

    Args:
        from_scratch: As for `demo`.
        assignments: ``section.key=value`` over it.

    Raises:
        ConfigError: An unknown key, or value.
    """
    preset = FROM_SCRATCH if from_scratch else PRESET
    short = [] if from_scratch else [f"realm.steps={_STEPS}"]
    return resolve(preset=preset, assignments=[*short, *assignments])


def _answer_at_once(home: WorkspaceFolder, progress: Progress) -> None:
    """Says what is answered before anything is trained."""
    loaded = load_untrained_run(home, progress=progress)
    answerer = answerer_of(loaded)
    if not answerer.has_span_reader:
        return
    progress.say("asked at once, before any training:")
    for answers in answerer.ask(QUESTIONS[:3], read=loaded.settings.qa.read, top=1):
        best = answers.answers[0].text if answers.answers else "no answer"
        progress.say(f"  {answers.question} {best}")


def _pretrained(
    directory: Path, settings: Settings, begun: str | None, progress: Progress
) -> RunSummary:
    if begun is None:
        queries = almanac.directory() / almanac.QUERIES
        return pretrain(directory, settings, queries=queries, progress=progress)
    progress.say(f"going on with run '{begun}'")
    return pretrain(directory, run=begun, resume=True, progress=progress)


def _compared(
    directory: Path, done: RunSummary, progress: Progress
) -> dict[str, tuple[float | None, float]]:
    """What was measured at the run's beginning, if it was, and at its end."""
    before, after = dict(done.stages[0]), dict(done.stages[-1])
    for stage, measured in ((START, before), (str(after["stage"]), after)):
        report = evaluate(
            directory,
            run=done.run,
            stage=stage,
            qa=[almanac.directory() / almanac.QUESTIONS_DEV],
            limit=_ASKED,
            progress=progress,
        )
        measured |= {name: value.mean for name, value in report.rows[0].measures.items()}
    return {
        words: (before.get(name), float(after[name]))
        for name, words in _MEASURES.items()
        if name in after
    }


def _begun(workspace: WorkspaceFolder, settings: Settings, last_stage: str) -> str | None:
    """Name of the newest run, where it is of these settings and has not come to its end."""
    run = next(reversed(workspace.runs()), None)
    if run is None or read_settings(run.settings_file) != settings:
        return None
    reports = run.read_record()["stage_reports"]
    return None if any(report["stage"] == last_stage for report in reports) else run.name


def _require_own(directory: Path) -> None:
    known = {"corpus", "runs", "cache", "ingests.jsonl"}
    if directory.exists() and (
        not directory.is_dir() or {path.name for path in directory.iterdir()} - known
    ):
        raise InputError(f"'{directory}' holds something else; name a new folder for the demo")
