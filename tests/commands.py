"""Recipes with their settings as words, as the command line takes them: shorter than objects."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from openrealm import recipes
from openrealm.cli.options import (
    settings_given,
    settings_of_new_run,
    settings_over_run,
    settings_to_resume,
)
from openrealm.corpus.records import IngestReport
from openrealm.recipes.demonstration import DemoReport, demo_settings
from openrealm.recipes.pretraining import RunSummary


def ingest(
    workspace: Path,
    *,
    preset: str | None = None,
    config: Path | None = None,
    assignments: Sequence[str] = (),
    **more: Any,
) -> IngestReport:
    settings = settings_given(preset, config, list(assignments))
    return recipes.ingest(workspace, settings=settings, **more)


def pretrain(
    workspace: Path,
    *,
    start: str | None = None,
    preset: str | None = None,
    config: Path | None = None,
    assignments: Sequence[str] = (),
    **more: Any,
) -> RunSummary:
    words = list(assignments)
    settings = (
        settings_to_resume(workspace, more.get("run"), words, others=(start, preset, config))
        if more.get("resume")
        else settings_of_new_run(workspace, start, preset, config, words)
    )
    return recipes.pretrain(workspace, settings, **more)


def finetune(
    workspace: Path,
    *,
    run: str | None = None,
    config: Path | None = None,
    assignments: Sequence[str] = (),
    **more: Any,
) -> RunSummary:
    words = list(assignments)
    settings = (
        settings_to_resume(workspace, run, words, others=(config,))
        if more.get("resume")
        else settings_over_run(workspace, run, config, words)
    )
    return recipes.finetune(workspace, run=run, settings=settings, **more)


def demo(
    directory: Path, *, seed: int = 0, assignments: Sequence[str] = (), **more: Any
) -> DemoReport:
    settings = demo_settings(from_scratch=True, assignments=[f"seed={seed}", *assignments])
    return recipes.demo(directory, settings=settings, from_scratch=True, **more)
