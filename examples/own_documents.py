"""A folder of documents: searched at once, learned from, searched again.

    python examples/own_documents.py my-documents "repairs of the north bridge"

Everything lies in the folder ``notes`` afterwards; run it again with more documents, and only they
are read and embedded.
"""

from __future__ import annotations

import sys
from pathlib import Path

import openrealm


def main(
    documents: str | Path,
    query: str,
    *,
    workspace: str | Path = "notes",
    settings: openrealm.Settings | None = None,
) -> None:
    settings = settings or openrealm.preset("adapt")
    with openrealm.open(workspace) as notes:
        # How documents are cut is settled once; later ones follow.
        report = notes.ingest(documents, settings=None if notes.documents() else settings)
        print(f"{report.added} added, {report.replaced} replaced, {report.num_problems} problems")
        for problem in report.problems:
            print(f"  {problem}")

        show(notes.search(query))  # before any training, by the start as it is
        run = notes.pretrain(settings)
        for stage, measured in run.stages.items():
            print(stage, {name: round(value, 3) for name, value in measured.items()})
        show(notes.search(query))  # by the run


def show(found: openrealm.SearchResult) -> None:
    print(f"\n{found.query} ({found.source})")
    for hit in found.hits:
        print(f"{hit.rank}. {hit.score:.3f}  {hit.chunk.title}: {hit.chunk.text[:80]}")


if __name__ == "__main__":
    main(*sys.argv[1:3])
