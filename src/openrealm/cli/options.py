"""Arguments and options that several commands share, each with its one sentence of help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

WorkspaceArgument = Annotated[
    Path, typer.Argument(metavar="WS", help="The workspace: the folder that holds everything.")
]
RunName = Annotated[
    str | None, typer.Option("--run", metavar="RUN", help="Name of the run; the newest by default.")
]
Json = Annotated[
    bool, typer.Option("--json", help="Print the result as one JSON document on standard output.")
]
Preset = Annotated[
    str | None,
    typer.Option("--preset", metavar="P", help="Settings to begin from: adapt, tiny or paper."),
]
ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="A TOML file of settings, over the preset."),
]
Assignments = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="A.B=C", help="One setting, over preset and file; repeatable."),
]
Resume = Annotated[
    bool,
    typer.Option(
        "--resume",
        help="Go on with a training that was stopped or killed; --set may lower learning rates.",
    ),
]
Top = Annotated[int, typer.Option("--top", metavar="N", min=1, help="How many to show at most.")]
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="Say on standard error what is being done.")
]
Debug = Annotated[
    bool, typer.Option("--debug", help="Show the Python traceback of an error, and all log lines.")
]
