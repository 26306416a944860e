"""What callers hand to a workspace: a preset with changes, folders, paths, questions, and where to
tell how far work is.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from openrealm.errors import InputError
from openrealm.progress import Progress, Silent
from openrealm.settings import STAGES, Settings, checked, preset_settings
from openrealm.settings.run import require_stages

PathLike = str | os.PathLike[str]

_OWN = {"corpus", "runs", "cache", "exports", "ingests.jsonl"}


def preset(name: str = "adapt", **changes: Any) -> Settings:
    """The settings of a preset, with changes.

    ``preset("adapt", seed=1, realm={"steps": 600})``. Where ``start`` names an earlier run or an
    exported model, that one's shape takes the place of the preset's.

    Args:
        name: ``adapt``, ``tiny`` or ``paper``.
        changes: Settings by name; a section's as a mapping.

    Raises:
        ConfigError: There is no such preset or setting, or a value is out of range.
        CheckpointError: The start is damaged.
    """
    base = preset_settings(name)
    start = changes.get("start", base.start)
    if isinstance(start, str | os.PathLike) and Path(start).is_dir():
        from openrealm.runs.first_weights import begun_from

        base = begun_from(base, str(start))
        changes["start"] = base.start
    settings = checked(base.changed(**changes))
    given = ((stage, changes.get(stage)) for stage in STAGES)
    require_stages(
        settings,
        [
            (stage, f"{stage}.steps={section['steps']}")
            for stage, section in given
            if isinstance(section, Mapping) and "steps" in section
        ],
    )
    return settings


def require_own(directory: Path) -> None:
    """Checks that a folder is a workspace, or may become one.

    Raises:
        InputError: It is something else.
    """
    if directory.is_dir():
        names = {path.name for path in directory.iterdir() if not path.name.startswith(".")}
        if names and not names & _OWN:
            raise InputError(
                f"'{directory}' is no workspace, and not empty; name a workspace's folder, or a "
                "new one"
            )
    elif directory.exists():
        raise InputError(f"'{directory}' is a file; a workspace is a folder")


def progress_of(wanted: Progress | bool | None) -> Progress:
    """Where to tell how far work is: by default on standard error, where that is a terminal."""
    if wanted is None:
        wanted = sys.stderr is not None and sys.stderr.isatty()
    if wanted is True:
        from openrealm.terminal import make_progress  # a program rarely has a terminal

        return make_progress()
    return Silent() if wanted is False else wanted


def paths_of(given: PathLike | Sequence[PathLike]) -> list[Path]:
    """One path, or several, as a list."""
    if isinstance(given, str | os.PathLike):
        return [Path(given)]
    return [Path(each) for each in given]


def questions_of(
    given: PathLike | Sequence[PathLike | tuple[str, str] | Mapping[str, Any]],
) -> list[Any]:
    """Paths as paths, everything else as questions."""
    from openrealm.data.qa import question_of

    if isinstance(given, str | os.PathLike):
        return [Path(given)]
    return [
        Path(each) if isinstance(each, str | os.PathLike) else question_of(each, number=number)
        for number, each in enumerate(given, start=1)
    ]
