"""The command that serves: parses, calls one recipe, and says where to look."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from openrealm.cli.options import RunName, WorkspaceArgument
from openrealm.cli.terminal import make_progress


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

    recipes.serve(
        workspace,
        host=host,
        port=port,
        run=run,
        token=read_token(token_file),
        without_token=without_token,
        assignments=assignments or (),
        progress=make_progress(),
    )
