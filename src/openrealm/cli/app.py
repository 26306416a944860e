"""The list of commands, how they read their arguments, and the way in."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Sequence
from typing import Annotated

import typer
from typer.core import TyperCommand

import openrealm
from openrealm.cli import exchange_commands, reading_commands, training_commands
from openrealm.cli.guard import INTERRUPTED, guarded

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


# How a command reads its arguments where click falls short ----------------------------------------


class Command(TyperCommand):
    """A command whose repeatable options take several words: ``--qa a.jsonl b.jsonl``.

    click knows only ``--qa a.jsonl --qa b.jsonl``, which a shell's ``--qa *.jsonl`` does not make.
    """

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        """Spreads the words of repeatable options, then parses as always."""
        arguments = [param for param in self.params if param.param_type_name == "argument"]
        if all(param.nargs == 1 for param in arguments):
            options = [param for param in self.params if param.param_type_name == "option"]
            valued = [option for option in options if not getattr(option, "is_flag", False)]
            args = spread(
                args,
                num_arguments=len(arguments),
                repeatable={
                    name for o in valued if getattr(o, "multiple", False) for name in o.opts
                },
                single={
                    name for o in valued if not getattr(o, "multiple", False) for name in o.opts
                },
            )
        return super().parse_args(ctx, args)

    def collect_usage_pieces(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
        """Required arguments as plain words; typer puts them in braces."""
        return [
            piece.replace("{", "").replace("}", "") for piece in super().collect_usage_pieces(ctx)
        ]


def spread(
    words: Sequence[str],
    *,
    num_arguments: int,
    repeatable: Collection[str],
    single: Collection[str],
) -> list[str]:
    """The words with ``--qa a b`` written out as ``--qa a --qa b``.

    Only once all positional arguments have been given does a further word belong to the option
    before it, so that the workspace in ``--qa a WS`` stays the workspace.

    Args:
        words: What the user typed after the command.
        num_arguments: Positional arguments that the command takes.
        repeatable: Options that may be given several times, each with a value.
        single: Other options with a value.
    """
    out: list[str] = []
    seen, current = 0, ""
    rest = iter(words)
    for word in rest:
        if word == "--":
            return [*out, word, *rest]
        if word.startswith("-") and word != "-":
            out.append(word)
            name, equals, _ = word.partition("=")
            if not equals and (name in repeatable or name in single):
                out.extend([value] if (value := next(rest, None)) is not None else [])
            current = name if name in repeatable else ""
        elif current and seen >= num_arguments:
            out += [current, word]
        else:
            out.append(word)
            seen, current = seen + 1, ""
    return out


# The way in ---------------------------------------------------------------------------------------


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
