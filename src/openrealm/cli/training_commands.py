"""The commands that change a workspace: each parses, calls one recipe, and prints what it did."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import openrealm
from openrealm.cli import text
from openrealm.cli.guard import going_on
from openrealm.cli.options import (
    Assignments,
    ConfigFile,
    Json,
    Preset,
    Resume,
    RunName,
    WorkspaceArgument,
    settings_given,
    settings_of_new_run,
    settings_over_run,
    settings_to_resume,
    show,
)
from openrealm.errors import shell_command
from openrealm.terminal import make_progress


def ingest(
    sources: Annotated[
        list[Path] | None,
        typer.Argument(metavar="SOURCE", help="Files and folders of documents."),
    ] = None,
    *,
    to: Annotated[
        Path, typer.Option("--to", metavar="WS", help="The workspace; made if there is none.")
    ],
    remove: Annotated[
        list[str] | None,
        typer.Option(
            "--remove", metavar="ID", help="Remove the document with this id; repeatable."
        ),
    ] = None,
    preset: Preset = None,
    config: ConfigFile = None,
    assignments: Assignments = None,
    strict: Annotated[
        bool,
        typer.Option("--strict", help="End at the first problem and change nothing."),
    ] = False,
    rechunk: Annotated[
        bool,
        typer.Option("--rechunk", help="Cut all documents anew with the settings given."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Turns documents into chunks to retrieve; run it again to add more.

    Reads plain text, Markdown, HTML, PDF, DOCX, JSONL, WikiExtractor output, DPR's TSV, BEIR
    directories, and folders of any of these. What cannot be read is named, counted and skipped.
    """
    from openrealm import recipes

    report = recipes.ingest(
        to,
        sources=sources or (),
        remove=remove or (),
        settings=settings_given(preset, config, assignments),
        strict=strict,
        rechunk=rechunk,
        progress=make_progress(),
    )
    show(report, text.ingested, as_json=as_json)


def pretrain(
    workspace: WorkspaceArgument,
    *,
    start: Annotated[
        str | None,
        typer.Option(
            "--start",
            metavar="WEIGHTS",
            help="First weights: starter, minilm, scratch, the folder of an earlier run or of an "
            "exported model, a BERT directory, or a hub name.",
        ),
    ] = None,
    preset: Preset = None,
    config: ConfigFile = None,
    assignments: Assignments = None,
    texts: Annotated[
        list[Path] | None,
        typer.Option(
            "--texts", metavar="SOURCE...", help="Training texts, where they are not the corpus."
        ),
    ] = None,
    queries: Annotated[
        Path | None,
        typer.Option(
            "--queries", metavar="FILE", help="Held-out queries, measured after each stage."
        ),
    ] = None,
    resume: Resume = False,
    run: Annotated[
        str | None,
        typer.Option("--run", metavar="RUN", help="Name of the new run, or of the one to resume."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Trains a retriever and a reader on the workspace's corpus, without labels."""
    from openrealm import recipes

    with going_on(_command("pretrain", workspace, run)):
        settings = (
            settings_to_resume(workspace, run, assignments, others=(start, preset, config))
            if resume
            else settings_of_new_run(workspace, start, preset, config, assignments)
        )
        summary = recipes.pretrain(
            workspace,
            settings,
            texts=texts or (),
            queries=queries,
            resume=resume,
            run=run,
            progress=make_progress(),
        )
    show(summary, text.trained, as_json=as_json)


def finetune(
    workspace: WorkspaceArgument,
    *,
    qa: Annotated[
        list[Path],
        typer.Option("--qa", metavar="FILE...", help="Questions with answers to learn from."),
    ],
    dev: Annotated[
        list[Path] | None,
        typer.Option("--dev", metavar="FILE...", help="Questions to measure on afterwards."),
    ] = None,
    dev_split: Annotated[
        bool,
        typer.Option(
            "--dev-split",
            help="Keep the tenth of the questions that the original keeps, and measure on them.",
        ),
    ] = False,
    config: ConfigFile = None,
    assignments: Assignments = None,
    resume: Resume = False,
    run: RunName = None,
    as_json: Json = False,
) -> None:
    """Teaches a run to answer questions; chunk embeddings stay fixed."""
    from openrealm import recipes

    given = [*(part for path in qa for part in ("--qa", str(path)))]
    given += [part for path in dev or () for part in ("--dev", str(path))]
    given += ["--dev-split"] if dev_split else []
    with going_on(_command("finetune", workspace, run, *given)):
        settings = (
            settings_to_resume(workspace, run, assignments, others=(config,))
            if resume
            else settings_over_run(workspace, run, config, assignments)
        )
        summary = recipes.finetune(
            workspace,
            qa=qa,
            dev=dev or (),
            dev_split=dev_split,
            run=run,
            settings=settings,
            resume=resume,
            progress=make_progress(),
        )
    show(summary, text.trained, as_json=as_json)


def index(
    workspace: WorkspaceArgument,
    *,
    check: Annotated[
        bool, typer.Option("--check", help="Read all of the snapshot and compare its checksums.")
    ] = False,
    fleet: Annotated[
        str | None,
        typer.Option(
            "--fleet",
            metavar="ADDRESS",
            help="Have the Ray cluster at this address embed; local starts one here.",
        ),
    ] = None,
    storage: Annotated[
        str | None,
        typer.Option(
            "--storage",
            metavar="URL",
            help="Storage that its nodes reach where they lack this folder, such as s3://bucket/x.",
        ),
    ] = None,
    run: RunName = None,
    as_json: Json = False,
) -> None:
    """Embeds the whole corpus with a run's newest weights, where that is not done yet."""
    with openrealm.open(workspace, progress=make_progress()) as opened:
        report = opened.index(run=run, check=check, fleet=fleet, storage=storage)
    show(report, text.indexed, as_json=as_json)


def worker(
    workspace: WorkspaceArgument,
    *,
    run: RunName = None,
    number: Annotated[
        int | None,
        typer.Option(
            "--number", min=0, hidden=True, help="Place among the workers of the training above it."
        ),
    ] = None,
) -> None:
    """Helps a training with refresh.mode=background: embeds the corpus beside it.

    The training starts workers of its own; more of them may be started by hand, also on other
    machines that share the workspace. Each ends with the training.
    """
    from openrealm import recipes

    recipes.refresh_worker(workspace, run=run, number=number, progress=make_progress())


def demo(
    to: Annotated[
        Path, typer.Option("--to", metavar="DIR", help="The workspace that it makes.")
    ] = Path("demo"),
    *,
    from_scratch: Annotated[
        bool,
        typer.Option(
            "--from-scratch", help="Learn everything from the almanac alone: ten minutes or more."
        ),
    ] = False,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of everything.")] = 0,
    assignments: Assignments = None,
    as_json: Json = False,
) -> None:
    """Answers from the bundled almanac at once, learns from it, and answers again."""
    from openrealm import recipes
    from openrealm.recipes.demonstration import demo_settings

    changes = [f"seed={seed}", *(assignments or ())]
    settings = demo_settings(from_scratch=from_scratch, assignments=changes)
    given = ["openrealm", "demo", "--to", to, "--seed", seed]
    given += ["--from-scratch"] if from_scratch else []
    given += [part for change in assignments or () for part in ("--set", change)]
    with going_on(shell_command(*given)):
        report = recipes.demo(
            to, settings=settings, from_scratch=from_scratch, progress=make_progress()
        )
    show(report, text.demonstrated, as_json=as_json)


def _command(name: str, workspace: Path, run: str | None, *more: str) -> str:
    """The shell command that goes on with a training."""
    chosen = [] if run is None else ["--run", run]
    return shell_command("openrealm", name, workspace, *chosen, *more, "--resume")
