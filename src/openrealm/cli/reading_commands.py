"""The commands that only read: each parses, calls one recipe, and prints what it found."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated

import typer

import openrealm
from openrealm.cli import text
from openrealm.cli.options import Json, Preset, RunName, Stage, Top, WorkspaceArgument, show
from openrealm.terminal import make_progress

DAMAGED = 1


def evaluate(
    workspace: WorkspaceArgument,
    *,
    qa: Annotated[
        list[Path] | None,
        typer.Option(
            "--qa",
            metavar="FILE...",
            help="Questions with answers (SQuAD too): recall; once fine-tuned, exact match.",
        ),
    ] = None,
    beir: Annotated[
        list[Path] | None,
        typer.Option(
            "--beir", metavar="DIR...", help="BEIR directories: nDCG@10, recall@100, MRR."
        ),
    ] = None,
    queries: Annotated[
        list[Path] | None,
        typer.Option("--queries", metavar="FILE...", help="Held-out queries with their answers."),
    ] = None,
    probe: Annotated[
        bool,
        typer.Option("--probe", help="The run's own masked sentences: recall, utility, accuracy."),
    ] = False,
    baseline: Annotated[
        str | None,
        typer.Option(
            "--baseline", metavar="bm25", help="BM25, and both fused, beside each ranking."
        ),
    ] = None,
    stage: Stage = None,
    raw_match: Annotated[
        bool,
        typer.Option("--raw-match", help="Recall by raw substring, as the original computes it."),
    ] = False,
    regex_anywhere: Annotated[
        bool,
        typer.Option(
            "--regex-anywhere",
            help="Answers that are regular expressions may match anywhere, not only at the start.",
        ),
    ] = False,
    read: Annotated[
        int | None,
        typer.Option("--read", metavar="N", min=1, help="Chunks read per question."),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option("--limit", metavar="N", min=1, help="Only the first N questions of a file."),
    ] = None,
    run: RunName = None,
    as_json: Json = False,
) -> None:
    """Measures a run: how well it retrieves, predicts and answers."""
    from openrealm import recipes

    report = recipes.evaluate(
        workspace,
        run=run,
        stage=stage,
        qa=qa or (),
        beir=beir or (),
        queries=queries or (),
        probe=probe,
        baseline=baseline,
        raw_match=raw_match,
        regex_anywhere=regex_anywhere,
        read=read,
        limit=limit,
        progress=make_progress(),
    )
    show(report, text.evaluated, as_json=as_json)


def search(
    workspace: WorkspaceArgument,
    query: Annotated[str, typer.Argument(metavar="TEXT", help="What to look for.")],
    *,
    k: Annotated[int, typer.Option("-k", metavar="N", min=1, help="Chunks to show.")] = 5,
    stage: Stage = None,
    run: RunName = None,
    as_json: Json = False,
) -> None:
    """Finds the chunks nearest to a text."""
    with openrealm.open(workspace, progress=make_progress()) as opened:
        result = opened.search(query, k=k, run=run, stage=stage)
    show(result, text.searched, as_json=as_json)


def fill(
    workspace: WorkspaceArgument,
    masked: Annotated[str, typer.Argument(metavar="TEXT", help="A text with one or more [MASK]s.")],
    *,
    k: Annotated[
        int | None,
        typer.Option("-k", metavar="N", min=1, help="Chunks read, the null chunk included."),
    ] = None,
    top: Top = 5,
    stage: Stage = None,
    run: RunName = None,
    as_json: Json = False,
) -> None:
    """Fills the masks of a text, and shows which chunk speaks for which word."""
    with openrealm.open(workspace, progress=make_progress()) as opened:
        result = opened.fill(masked, k=k, top=top, run=run, stage=stage)
    show(result, text.filled, as_json=as_json)


def ask(
    workspace: WorkspaceArgument,
    question: Annotated[str, typer.Argument(metavar="QUESTION", help="What to answer.")],
    *,
    k: Annotated[int | None, typer.Option("-k", metavar="N", min=1, help="Chunks read.")] = None,
    top: Top = 5,
    run: RunName = None,
    as_json: Json = False,
) -> None:
    """Answers a question, with the evidence and its place in the document."""
    with openrealm.open(workspace, progress=make_progress()) as opened:
        result = opened.ask(question, k=k, top=top, run=run)
    show(result, lambda result: text.asked(result, workspace), as_json=as_json)


def info(workspace: WorkspaceArgument, *, run: RunName = None, as_json: Json = False) -> None:
    """Says what is in a workspace, whether it is whole, and what made it.

    Reads everything and compares checksums; ends with status 1 where something is damaged.
    """
    with openrealm.open(workspace, progress=make_progress()) as opened:
        result = opened.info(run=run)
    show(result, text.described, as_json=as_json)
    if result.problems:
        raise typer.Exit(DAMAGED)


def report(
    workspace: WorkspaceArgument,
    *,
    compare: Annotated[
        list[str] | None,
        typer.Option("--compare", metavar="RUN...", help="Other runs, to be shown beside it."),
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option(
            "--to", metavar="FOLDER", help="Where to write; the run's folder report by default."
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option("--limit", metavar="N", min=1, help="Ask only N of the held-out sentences."),
    ] = None,
    run: RunName = None,
    as_json: Json = False,
) -> None:
    """Writes what a run has learned as one HTML page that opens anywhere, and its pictures.

    The curves, the figures after each stage with confidence intervals, recall against staleness,
    the distribution of p(z|x), the best and worst examples, configuration and provenance.
    """
    from openrealm import recipes

    written = recipes.report(
        workspace, run=run, compare=compare or (), to=to, limit=limit, progress=make_progress()
    )
    show(written, text.reported, as_json=as_json)


def config(preset: Preset = None, *, as_json: Json = False) -> None:
    """Prints all settings with their explanations, as TOML to edit and pass to --config."""
    toml = openrealm.settings_text(openrealm.preset(preset or "adapt"))
    show(tomllib.loads(toml) if as_json else toml, str, as_json=as_json)
