"""The `demo` recipe: the whole method on the bundled corpus, from text to answers with evidence."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openrealm import almanac
from openrealm.answering.answerer import Answers, answerer_of
from openrealm.errors import InputError
from openrealm.progress import Progress, Silent
from openrealm.recipes.finetuning import finetune
from openrealm.recipes.ingestion import ingest
from openrealm.recipes.pretraining import pretrain
from openrealm.runs.folders import WorkspaceFolder
from openrealm.runs.loaded import load_run
from openrealm.settings import Settings, preset_settings, read_settings

PRESET = "tiny"
QUESTIONS = (
    "What is the capital of Bhutan?",
    "Who wrote Orlando?",
    "Which element has the symbol W?",
)


@dataclass(frozen=True)
class DemoReport:
    """What the demo shows at its end.

    Attributes:
        workspace: Folder that it leaves behind.
        run: Name of the run.
        stages: Measurements after each stage, in order.
        answers: A few questions answered.
        plot: Picture of the run.
        seconds: Time that it all took.
    """

    workspace: str
    run: str
    stages: tuple[dict[str, Any], ...]
    answers: tuple[Answers, ...]
    plot: str | None
    seconds: float


def demo(
    directory: str | Path,
    *,
    settings: Settings | None = None,
    progress: Progress | None = None,
) -> DemoReport:
    """Runs the whole method on the bundled corpus; one that was stopped is gone on with.

    Args:
        directory: Workspace to make; must not hold anything else.
        settings: What its run is made from; the preset ``tiny`` by default.
        progress: Where to tell how far it is.

    Raises:
        InputError: The folder holds something else.
        Stopped: Ctrl-C; everything is saved, and the same call goes on.
    """
    began = time.perf_counter()
    progress = progress or Silent()
    directory, settings = Path(directory), settings or preset_settings(PRESET)
    data = almanac.directory()
    _require_own(directory)
    if not (directory / "corpus").is_dir():
        progress.say(f"ingesting the bundled almanac into '{directory}'")
        ingest(directory, sources=[data / almanac.ARTICLES], settings=settings, progress=progress)
    home = WorkspaceFolder(directory)
    begun = _begun(home, settings)
    if begun is None:
        pretrained = pretrain(
            directory,
            settings,
            queries=data / almanac.QUERIES,
            progress=progress,
        )
    else:
        progress.say(f"going on with run '{begun}'")
        pretrained = pretrain(directory, run=begun, resume=True, progress=progress)
    done = finetune(
        directory,
        qa=[data / almanac.QUESTIONS_TRAIN],
        dev=[data / almanac.QUESTIONS_DEV],
        run=pretrained.run,
        resume=begun is not None,
        progress=progress,
    )
    loaded = load_run(home, name=done.run, progress=progress)
    answers = answerer_of(loaded).ask(QUESTIONS, read=loaded.settings.qa.read, top=3)
    return DemoReport(
        workspace=str(directory),
        run=done.run,
        stages=done.stages,
        answers=tuple(answers),
        plot=done.plot,
        seconds=time.perf_counter() - began,
    )


def _begun(workspace: WorkspaceFolder, settings: Settings) -> str | None:
    """Name of the newest run, where it is of these settings and has not come to its end."""
    run = next(reversed(workspace.runs()), None)
    if run is None or read_settings(run.settings_file) != settings:
        return None
    reports = run.read_record()["stage_reports"]
    return None if any(report["stage"] == "qa" for report in reports) else run.name


def _require_own(directory: Path) -> None:
    known = {"corpus", "runs", "cache", "ingests.jsonl"}
    if directory.exists() and (
        not directory.is_dir() or {path.name for path in directory.iterdir()} - known
    ):
        raise InputError(f"'{directory}' holds something else; name a new folder for the demo")
