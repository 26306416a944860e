"""Questions with known answers: a run learns to answer, is measured, and shows where it read.

    python examples/questions.py notes questions.jsonl

``notes`` is a workspace with a run (`own_documents.py` makes one); a line of the file is
``{"question": "...", "answer": ["..."]}``. It takes many questions to learn to answer well.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import openrealm


def main(
    workspace: str | Path, file: str | Path, *, settings: openrealm.Settings | None = None
) -> None:
    lines = Path(file).read_text(encoding="utf-8").splitlines()
    questions = [json.loads(line) for line in lines]
    kept = max(len(questions) // 10, 1)  # not learned from, to measure on
    with openrealm.open(workspace) as notes:
        run = notes.finetune(questions[kept:], dev=questions[:kept], settings=settings)
        print(f"on {kept} questions kept back: {run.stages['qa']}")
        for found in notes.ask([question["question"] for question in questions[:3]], top=1):
            assert found.answers is not None
            print(f"\n{found.question} (no answer: {found.answers.no_answer:.2f})")
            for answer in found.answers.answers:
                place = answer.evidence[0]
                print(f"  {answer.probability:.2f} {answer.text}")
                print(f"       {place.chunk.document_id}, characters {place.start}-{place.stop}")


if __name__ == "__main__":
    main(*sys.argv[1:3])
