"""The list of commands, and the way in."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Annotated

import typer

import openrealm
from openrealm.cli import exchange_commands, reading_commands, training_commands
from openrealm.cli.guard import INTERRUPTED, guarded
from openrealm.cli.parsing import Command

COMMANDS = (
    training_commands.ingest,
    training_commands.pretrain,
    training_commands.finetune,
    training_commands.index,
    training_commands.worker,
    reading_commands.evaluate,
    reading_commands.search,
    reading_commands.fill,
    reading_commands.ask,
    reading_commands.report,
    exchange_commands.serve,
    reading_commands.info,
    reading_commands.config,
    exchange_commands.import_,
    exchange_commands.export,
    training_commands.demo,
)

# The first sentences of the commands' help are too long for one line each.
SHORT_HELP = {
    "ingest": "documents -> chunks; run again to add",
    "pretrain": "retriever and reader learn from the text",
    "finetune": "learn to answer from questions",
    "index": "embed the whole corpus; --check a snapshot",
    "worker": "embed the corpus beside a training",
    "evaluate": "measure retrieval, prediction and answers",
    "search": "chunks with scores",
    "fill": "words for [MASK], and who speaks for them",
    "ask": "answers with evidence",
    "report": "a run as one page, with its pictures",
    "serve": "an HTTP API, and a page that shows it all",
    "info": "what is in a workspace; is it whole?",
    "config": "all settings as commented TOML",
    "import": "published weights and blocks to a run and a corpus",
    "export": "a run for other programs, or for the hub",
    "demo": "the whole method on the bundled almanac",
}

# Plain help, without rich's frames: quick to load, and the same text in docs/cli.md.
app = typer.Typer(
    name="openrealm",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"openrealm {openrealm.__version__}")
        raise typer.Exit


@app.callback()
def _openrealm(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version.", callback=_version, is_eager=True),
    ] = False,
) -> None:
    """REALM: a retriever and a reader learned together from unlabelled text.

    First `ingest` documents into a workspace: now `search` and `fill` work. `pretrain` on them
    finds more, and after `finetune` on questions `ask` answers.
    """


def name_of(function: Callable[..., None]) -> str:
    """The name of a command; a function cannot be called ``import``."""
    return function.__name__.removesuffix("_")


for function in COMMANDS:
    name = name_of(function)
    app.command(name, cls=Command, short_help=SHORT_HELP[name])(guarded(function))


def main() -> None:
    """Runs the command that the program's arguments name, and ends the program."""
    for stream in (sys.stdout, sys.stderr):
        # Letters that the terminal's encoding lacks are better escaped than fatal.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        app(prog_name="openrealm")
    except KeyboardInterrupt:  # outside of any command
        sys.exit(INTERRUPTED)
