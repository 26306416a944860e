"""Two trainings that differ in one setting, measured on the same sentences.

    python examples/compare_two_runs.py notes

Here: with words in common (BM25) as a part of the score, and without. ``notes`` is a workspace with
documents. The table has 95% confidence intervals; where they overlap widely, the difference may be
chance. The last line names a page with the curves of both.
"""

from __future__ import annotations

import sys
from pathlib import Path

import openrealm


def main(workspace: str | Path, *, settings: openrealm.Settings | None = None) -> None:
    both = settings or openrealm.preset("adapt")
    vectors_alone = both.changed(model={"lexical_weight": 0.0}, realm={"lr_lexical": 0.0})
    with openrealm.open(workspace) as notes:
        for name, chosen in (("both", both), ("vectors-alone", vectors_alone)):
            notes.pretrain(chosen, run=name)
            [row] = notes.evaluate(run=name, probe=True).rows
            for measure, value in row.measures.items():
                print(
                    f"{name:14} {measure:20} {value.mean:.3f} [{value.low:.3f}, {value.high:.3f}]"
                )
        print(notes.report(run="both", compare=["vectors-alone"]).page)


if __name__ == "__main__":
    main(sys.argv[1])
