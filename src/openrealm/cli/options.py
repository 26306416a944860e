"""What several commands share: arguments and options, each with its one sentence of help; what
options of settings say, as one object; and how a result is printed, as text or as one JSON
document.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from openrealm.errors import ConfigError

if TYPE_CHECKING:
    from openrealm.settings import Settings

Result = TypeVar("Result")

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
Stage = Annotated[
    str | None,
    typer.Option(
        "--stage",
        metavar="STAGE",
        help="Weights at the end of this stage (start: before any); the last by default.",
    ),
]
Top = Annotated[int, typer.Option("--top", metavar="N", min=1, help="How many to show at most.")]
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="Say on standard error what is being done.")
]
Debug = Annotated[
    bool, typer.Option("--debug", help="Show the Python traceback of an error, and all log lines.")
]


# What options of settings say ---------------------------------------------------------------------


def settings_given(
    preset: str | None, config: Path | None, assignments: list[str] | None
) -> Settings | None:
    """The settings of a preset, a file and assignments; None where none of them is given."""
    from openrealm.settings import resolve

    if preset is None and config is None and not assignments:
        return None
    return resolve(preset=preset, config=config, assignments=assignments or ())


def settings_of_new_run(
    workspace: Path,
    start: str | None,
    preset: str | None,
    config: Path | None,
    assignments: list[str] | None,
) -> Settings | None:
    """The same over a start, for a workspace's documents as they were cut."""
    from openrealm.runs.first_weights import settings_for
    from openrealm.runs.folders import WorkspaceFolder, open_corpus

    if start is None and preset is None and config is None and not assignments:
        return None
    chunking = open_corpus(WorkspaceFolder(workspace)).chunking
    return settings_for(
        start, preset=preset, config=config, assignments=assignments or (), chunking=chunking
    )


def settings_over_run(
    workspace: Path, run: str | None, config: Path | None, assignments: list[str] | None
) -> Settings | None:
    """The settings of a run under a file and assignments; None where neither is given."""
    from openrealm.runs.folders import WorkspaceFolder
    from openrealm.settings import read_settings, resolve

    if config is None and not assignments:
        return None
    base = read_settings(WorkspaceFolder(workspace).run(run).settings_file)
    return resolve(base=base, config=config, assignments=assignments or ())


def settings_to_resume(
    workspace: Path, run: str | None, assignments: list[str] | None, *, others: Iterable[object]
) -> Settings | None:
    """The settings of a run with lower learning rates; None where none is lowered.

    Raises:
        ConfigError: There are other options of settings, or assignments do more than that.
    """
    from openrealm.runs.folders import WorkspaceFolder
    from openrealm.settings import lower_rates, read_settings

    if any(others):
        raise ConfigError(
            "--resume goes on with the settings that training began with; of these, --set may "
            "lower learning rates, and nothing else is given"
        )
    if not assignments:
        return None
    base = read_settings(WorkspaceFolder(workspace).run(run).settings_file)
    return lower_rates(base, assignments)


# Results on standard output -----------------------------------------------------------------------


def show(result: Result, render: Callable[[Result], str], *, as_json: bool) -> None:
    """Prints a result: what ``render`` makes of it, or JSON.

    Of several processes under torchrun, the first alone does.
    """
    if os.environ.get("RANK", "0") != "0":
        return
    text = to_json(result) if as_json else render(result)
    sys.stdout.write(text.rstrip("\n") + "\n")


def to_json(result: object) -> str:
    """The result as a JSON document; in ASCII where standard output takes nothing more."""
    encoding = (getattr(sys.stdout, "encoding", None) or "utf-8").lower().replace("-", "")
    ascii_only = not encoding.startswith("utf")
    return json.dumps(plain(result), ensure_ascii=ascii_only, indent=2, allow_nan=False)


def plain(value: Any) -> Any:
    """Dataclasses, paths, tuples and numbers as what JSON knows; NaN and infinity as null."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int):
        return value
    if hasattr(value, "tolist"):  # numpy's numbers and arrays
        return plain(value.tolist())
    return str(value)
