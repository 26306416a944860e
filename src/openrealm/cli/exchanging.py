"""The commands that exchange weights with other programs: each parses, calls one recipe, prints."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from openrealm.cli.options import Assignments, Json
from openrealm.cli.output import show
from openrealm.terminal import duration, make_progress

if TYPE_CHECKING:
    from openrealm.recipes.importing import ImportReport


def import_(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE",
            help="Directories of weights, hub names, block_records.npy or blocks.tfr; several "
            "complement each other.",
        ),
    ],
    *,
    to: Annotated[
        Path, typer.Option("--to", metavar="WS", help="The workspace; made if there is none.")
    ],
    stage: Annotated[
        str | None,
        typer.Option(
            "--stage",
            metavar="qa|realm",
            help="Whether readers among the sources are fine-tuned (qa) or not (realm); by default "
            "they are, unless named cc-news-pretrained.",
        ),
    ] = None,
    run: Annotated[
        str | None, typer.Option("--run", metavar="RUN", help="Name of the new run.")
    ] = None,
    assignments: Assignments = None,
    as_json: Json = False,
) -> None:
    """Makes a run of published REALM weights, and a corpus of their blocks.

    Reads Hugging Face directories of embedder, scorer, encoder, reader, openqa and BERT
    (safetensors, or pytorch_model.bin as weights only), and ORQA's files of blocks. Pickles are
    never executed.
    """
    from openrealm import recipes

    report = recipes.import_weights(
        to,
        sources=sources,
        stage=stage,
        run=run,
        assignments=assignments or (),
        progress=make_progress(),
    )
    show(report, imported, as_json=as_json)


def imported(report: ImportReport) -> str:
    """What an import brought, and what it did not."""
    lines = []
    for part in report.parts:
        lines.append(
            f"{part.source}: {part.kind} ({part.format}), {part.tensors:,} tensors, "
            f"{part.parameters:,} parameters for stage {part.stage}"
        )
        if part.dropped:
            lines.append(f"  {part.dropped:,} parameters of heads that nothing uses were dropped")
    lines.append(f"chunks: {report.blocks:,} added, {report.chunks:,} in the corpus")
    lines.append(f"vectors: {report.vectors:,}")
    lines += [f"note: {note}" for note in report.notes]
    if report.run is None:
        lines.append(f"no run was made in '{report.workspace}', {duration(report.seconds)}")
    else:
        stages = " and ".join(report.stages)
        lines.append(
            f"run '{report.run}' in '{report.workspace}' with stage {stages}, "
            f"{duration(report.seconds)}"
        )
    return "\n".join(lines)
