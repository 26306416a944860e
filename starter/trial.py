"""One stage with options of one's own, and the judging of a reader: what log.md is made of.

    python starter/trial.py --squad part_a.json --out scratch/plain --passes 3
    python starter/trial.py --squad part_a.json --start scratch/plain/reader --judge

A run that was killed goes on when the same command is given again.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

import torch
from judging import auroc, best_of_bodies, judge, verdict
from learning import Stage
from readings import load_readings, squad_readings, unanswerable
from span_reader import load_reader
from stages import SquadSplit, log_into, package_folder, train

from openrealm.data.qa import Question
from openrealm.models.span_reader import MAX_ANSWER, SpanReader
from openrealm.tokenizer import WordPiece

_logger = logging.getLogger("trial")


def main() -> None:
    """Trains one stage, or judges a reader."""
    args = _arguments()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    tokenizer = WordPiece.load(package_folder())
    split = SquadSplit.read(args.squad)
    start = args.start or package_folder()
    if args.judge:
        print(judgement(load_reader(start), split.kept, tokenizer, max_answer=args.max_answer))
        return
    log_into(args.out)
    _logger.info("%s; kept: %s", " ".join(sys.argv), split.kept_titles)
    readings = args.squad_times * squad_readings(
        split.learned,
        tokenizer,
        every_occurrence=args.every_occurrence,
        unanswerable_share=args.unanswerable,
        seed=args.seed,
    )
    readings += [reading for path in args.readings for reading in load_readings(path)]
    args.steps = args.steps or round(args.passes * len(readings) / args.batch)
    stage = Stage(**{field.name: getattr(args, field.name) for field in fields(Stage)})
    train(
        stage,
        readings,
        split.kept,
        tokenizer,
        start=start,
        out=args.out,
        dropout=args.dropout,
        report_steps=args.report_steps,
    )


def judgement(
    reader: SpanReader, kept: Sequence[Question], tokenizer: WordPiece, *, max_answer: int
) -> str:
    """Answers beside right contexts, and whether right contexts are told from wrong ones."""
    judged = judge(reader, kept, tokenizer, max_answer=max_answer, bf16=False)
    wrong = list(unanswerable(kept, tokenizer, share=1.0, seed=0))
    beside_wrong = best_of_bodies(reader, wrong, tokenizer, max_answer=max_answer, bf16=False)
    area = auroc([one.margin for one in judged], [one.margin for one in beside_wrong])
    return f"{verdict(judged)}; right contexts from likely wrong ones: AUROC {area:.3f}"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--squad", type=Path, nargs="+", required=True)
    add("--squad-times", type=int, default=1, help="how often SQuAD stands in a pass")
    add("--readings", type=Path, nargs="*", default=[], help="files that gather.py wrote")
    add("--out", type=Path, default=Path("scratch/reader"))
    add("--start", type=Path, help="a folder with a reader or an encoder")
    add("--judge", action="store_true")
    add("--max-answer", type=int, default=MAX_ANSWER, help="wordpieces, in judging")
    add("--passes", type=float, default=3.0)
    add("--steps", type=int, default=0, help="in place of passes")
    add("--batch", type=int, default=16)
    add("--lr", type=float, default=1e-4)
    add("--layer-decay", type=float, default=1.0)
    add("--weight-decay", type=float, default=0.01)
    add("--dropout", type=float, default=0.1)
    add("--ema", type=float, default=0.995)
    add("--max-tokens", type=int, default=288)
    add("--crop", type=int, default=0)
    add("--unanswerable", type=float, default=0.0, help="questions also asked of a wrong context")
    add("--every-occurrence", action="store_true", help="of an answer in its context is right")
    add("--train-embeddings", action="store_true")
    add("--bf16", action=argparse.BooleanOptionalAction, default=True)
    add("--report-steps", type=int, default=0)
    add("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
