"""How a command reads its arguments where click's own way falls short."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import typer
from typer.core import TyperCommand


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
