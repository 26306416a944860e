"""One picture of a run, from its metrics and its record; knows nothing of models or commands."""

from __future__ import annotations

from pathlib import Path

from openrealm.workspace import Run


def plot_run(run: Run) -> Path:
    """Draws the run's figures."""
    raise NotImplementedError(run)
