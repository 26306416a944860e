"""The `report` recipe: a run as one page that opens anywhere, and its pictures."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openrealm
from openrealm.corpus.store import ChunkStore
from openrealm.errors import InputError, MissingDependencyError, OpenRealmError
from openrealm.files import write_atomic
from openrealm.index.snapshot import generations
from openrealm.progress import Progress, Silent
from openrealm.report import plots
from openrealm.report.contents import Contents, Probed, RunFacts, StageFigures, read_history
from openrealm.report.page import page
from openrealm.report.plots import require_matplotlib, title_of
from openrealm.report.probe_sentences import JOINT_STAGES, probed
from openrealm.report.sections import summary
from openrealm.runs.checkpoints import checkpoints
from openrealm.runs.folders import RunFolder, WorkspaceFolder, open_corpus
from openrealm.runs.record import stage_intervals
from openrealm.settings import read_settings
from openrealm.settings.config import to_dict

PAGE = "report.html"
_NUM_EXAMPLES = 5


@dataclass(frozen=True)
class ReportFiles:
    """What was written, and what it says in short.

    Attributes:
        run: The run.
        compared: Other runs beside it.
        page: The page; it needs none of the other files.
        pictures: Its pictures, as files of their own.
        summary: Its first sentences.
        not_probed: Why no held-out sentence was asked; empty where some were.
    """

    run: str
    compared: tuple[str, ...]
    page: str
    pictures: tuple[str, ...]
    summary: tuple[str, ...]
    not_probed: str


def report(
    workspace: Path,
    *,
    run: str | None = None,
    compare: Sequence[str] = (),
    to: Path | None = None,
    limit: int | None = None,
    progress: Progress | None = None,
) -> ReportFiles:
    """Writes a page about a run: what was measured, what it learned, what it is made of.

    Args:
        workspace: Its folder.
        run: Name of the run; the newest by default.
        compare: Names of other runs of the workspace, to be shown beside it.
        to: Folder to write into; ``report`` in the run's folder by default.
        limit: Ask only so many of the held-out sentences.
        progress: Where to tell how far it is.

    Raises:
        InputError: There is no such run, or it is to be compared with itself.
        MissingDependencyError: matplotlib is not installed.
    """
    progress, owner = progress or Silent(), WorkspaceFolder(Path(workspace))
    require_matplotlib()
    chosen = owner.run(run)
    others = [owner.run(name) for name in dict.fromkeys(compare)]
    if chosen.name in {other.name for other in others}:
        raise InputError(f"run '{chosen.name}' cannot be compared with itself; name another")
    contents = _contents(owner, chosen, others, limit=limit, progress=progress)
    folder = to or chosen.report
    folder.mkdir(parents=True, exist_ok=True)
    pictures = []
    for picture in contents.pictures:
        pictures.append(folder / f"{picture.name}.png")
        write_atomic(pictures[-1], picture.png)
    write_atomic(folder / PAGE, page(contents).encode())
    return ReportFiles(
        run=chosen.name,
        compared=tuple(other.name for other in others),
        page=str(folder / PAGE),
        pictures=tuple(map(str, pictures)),
        summary=tuple(summary(contents.run)),
        not_probed=contents.not_probed,
    )


def _contents(
    workspace: WorkspaceFolder,
    run: RunFolder,
    others: Sequence[RunFolder],
    *,
    limit: int | None,
    progress: Progress,
) -> Contents:
    corpus = open_corpus(workspace)
    facts, *compared = (_facts(each, corpus) for each in (run, *others))
    sentences, reason = _probed(workspace, run, limit=limit, progress=progress)
    return Contents(
        workspace=workspace.directory.resolve().name,
        version=openrealm.__version__,
        written=datetime.datetime.now().isoformat(" ", "minutes"),
        run=facts,
        compared=compared,
        curves=plots.curves(facts, title_of(run)),
        overlay=plots.overlay([facts, *compared]) if compared else None,
        staleness=plots.staleness(facts.history),
        distribution=plots.distribution(sentences) if sentences is not None else None,
        probed=sentences,
        not_probed=reason,
        differences=_differences([run, *others]),
    )


def _facts(run: RunFolder, corpus: ChunkStore) -> RunFacts:
    record = run.read_record()
    return RunFacts(
        name=run.name,
        record=record,
        settings=run.settings_file.read_text(encoding="utf-8"),
        history=read_history(run),
        stages=[_figures(record, measured) for measured in record.get("stage_reports", ())],
        checkpoints=_checkpoints(run),
        generations=generations(run.snapshots),
        in_training=run.is_locked(),
        fits_corpus=record.get("corpus") == corpus.fingerprint,
    )


def _figures(record: dict[str, Any], measured: dict[str, Any]) -> StageFigures:
    stage = measured["stage"]
    means = {name: float(value) for name, value in measured.items() if "/" in name}
    return StageFigures(stage=stage, means=means, intervals=stage_intervals(record, stage))


def _checkpoints(run: RunFolder) -> list[str]:
    positions = [c.position for c in checkpoints(run.checkpoints)]
    return [
        f"{p.stage}, {'its end, ' if p.finished else ''}step {p.step:,}"
        for p in reversed(positions)
    ]


def _probed(
    workspace: WorkspaceFolder, run: RunFolder, *, limit: int | None, progress: Progress
) -> tuple[Probed | None, str]:
    """What the held-out sentences show, or why they show nothing."""
    positions = [c.position for c in checkpoints(run.checkpoints)]
    if not any(position.stage in JOINT_STAGES for position in positions):
        return None, "the run has no weights of warm-up or joint training yet"
    try:
        sentences = probed(
            workspace, run, limit=limit, num_examples=_NUM_EXAMPLES, progress=progress
        )
        return sentences, ""
    except MissingDependencyError:
        raise
    except OpenRealmError as error:  # a report of what there is
        progress.say(f"no held-out sentence was asked: {error}")
        return None, str(error)


def _differences(runs: Sequence[RunFolder]) -> list[tuple[str, list[str]]]:
    """Settings that are not the same in all runs: dotted name, and each run's value."""
    flat = [_flat(to_dict(read_settings(run.settings_file))) for run in runs]
    names = dict.fromkeys(name for settings in flat for name in settings)
    rows = [(name, [str(settings.get(name, "")) for settings in flat]) for name in names]
    return [(name, values) for name, values in rows if len(set(values)) > 1]


def _flat(settings: dict[str, Any], path: str = "") -> dict[str, Any]:
    leaves: dict[str, Any] = {}
    for name, value in settings.items():
        nested = _flat(value, f"{path}{name}.") if isinstance(value, dict) else None
        leaves |= {f"{path}{name}": value} if nested is None else nested
    return leaves
