"""The commands for other programs, by files and by HTTP: each parses, calls a recipe, prints."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from openrealm.cli import text
from openrealm.cli.options import Assignments, Json, RunName, Stage, WorkspaceArgument, show
from openrealm.terminal import make_progress


def import_(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE",
            help="Directories of weights, hub names, block_records.npy or blocks.tfr; several "
            "complement each other.",
        ),
    ],
    *,
    to: Annotated[
        Path, typer.Option("--to", metavar="WS", help="The workspace; made if there is none.")
    ],
    stage: Annotated[
        str | None,
        typer.Option(
            "--stage",
            metavar="qa|realm",
            help="Whether readers among the sources are fine-tuned (qa) or not (realm); by default "
            "they are, unless named cc-news-pretrained.",
        ),
    ] = None,
    run: Annotated[
        str | None, typer.Option("--run", metavar="RUN", help="Name of the new run.")
    ] = None,
    assignments: Assignments = None,
    as_json: Json = False,
) -> None:
    """Makes a run of published REALM weights, and a corpus of their blocks.

    Reads Hugging Face directories of embedder, scorer, encoder, reader, openqa and BERT
    (safetensors, or pytorch_model.bin as weights only), and ORQA's files of blocks. Pickles are
    never executed.
    """
    from openrealm import recipes
    from openrealm.settings.config import assigned

    report = recipes.import_weights(
        to,
        sources=sources,
        stage=stage,
        run=run,
        changes=assigned(assignments or ()),
        progress=make_progress(),
    )
    show(report, text.imported, as_json=as_json)


def export(
    workspace: WorkspaceArgument,
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
    stage: Stage = None,
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


def serve(
    workspace: WorkspaceArgument,
    *,
    host: Annotated[str, typer.Option("--host", help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Port to listen at; 0: any free one.")
    ] = 8080,
    token_file: Annotated[
        Path | None,
        typer.Option(
            "--token-file",
            metavar="FILE",
            help="A file with the token that clients have to send; else OPENREALM_TOKEN.",
        ),
    ] = None,
    without_token: Annotated[
        bool,
        typer.Option(
            "--without-token", help="Let everybody in who reaches an address that is not local."
        ),
    ] = False,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="A=B", help="A limit of the server; repeatable."),
    ] = None,
    run: RunName = None,
) -> None:
    """Serves a workspace: an HTTP API, and a page that shows evidence and probabilities."""
    from openrealm import recipes
    from openrealm.recipes.serving import read_token
    from openrealm.settings import ServeConfig
    from openrealm.settings.config import override

    recipes.serve(
        workspace,
        host=host,
        port=port,
        run=run,
        token=read_token(token_file),
        without_token=without_token,
        limits=override(ServeConfig(), assignments or ()),
        progress=make_progress(),
    )
