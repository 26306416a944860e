"""The commands that exchange with other programs: each parses, calls one recipe, and prints."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from openrealm.cli import text
from openrealm.cli.options import Json, RunName, WorkspaceFolder
from openrealm.cli.output import show
from openrealm.terminal import make_progress


def export(
    workspace: WorkspaceFolder,
    *,
    to: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="FORMAT",
            help="openrealm, sentence-transformers, hf-realm, parquet or faiss.",
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", metavar="DIR", help="The folder to make; WS/exports/RUN-FORMAT by default."
        ),
    ] = None,
    stage: Annotated[
        str | None,
        typer.Option(
            "--stage",
            help="Weights at the end of this stage (start: before any); the last by default.",
        ),
    ] = None,
    push: Annotated[
        str | None,
        typer.Option(
            "--push", metavar="REPO", help="Upload the folder to this Hugging Face repository too."
        ),
    ] = None,
    public: Annotated[
        bool, typer.Option("--public", help="A repository that --push makes is public.")
    ] = False,
    run: RunName = None,
    as_json: Json = False,
) -> None:
    """Writes a run for other programs, with a model card.

    openrealm is the model alone in our own format; sentence-transformers the towers for that
    library; hf-realm what transformers' Realm classes had; parquet all chunks with their vectors;
    faiss a flat inner-product index with its chunks beside it.
    """
    from openrealm import recipes

    report = recipes.export(
        workspace,
        to=to,
        output=output,
        run=run,
        stage=stage,
        push=push,
        public=public,
        progress=make_progress(),
    )
    show(report, text.exported, as_json=as_json)
