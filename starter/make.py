"""Makes the starter's reader from files named on the command line, stage after stage.

    python starter/make.py --squad A.json --wiki W*.jsonl.zst --qa Q*.jsonl --out starter/model

Whatever was finished is kept, and a stage that was killed goes on when the same command is given
again. Why the recipe is as it is, log.md says.
"""

from __future__ import annotations

import argparse
import logging
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import torch
from gather import cloze_readings, distant_readings, saved
from learning import Stage
from readings import Reading, squad_readings
from stages import SquadSplit, log_into, package_folder, train
from wiki import read_articles

from openrealm.tokenizer import WordPiece

_logger = logging.getLogger("make")


@dataclass(frozen=True, kw_only=True)
class Step:
    """A stage of the recipe.

    Attributes:
        name: Of its folder.
        sources: What is read: ``squad``, ``distant``, ``cloze``.
        passes: Over all of it.
        lr: Highest learning rate.
        crop: Tokens of a body that are read around its answer; 0 reads all.
        dropout: Of the states.
    """

    name: str
    sources: tuple[str, ...]
    passes: float
    lr: float
    crop: int = 0
    dropout: float = 0.1


RECIPE = (
    Step(name="cloze", sources=("cloze",), passes=1, lr=1.5e-4, crop=110),
    Step(name="mixed", sources=("squad", "distant"), passes=1, lr=1e-4, crop=110),
    Step(name="more", sources=(*4 * ("squad",), "distant"), passes=1, lr=1e-4, crop=140),
    Step(name="whole", sources=("squad",), passes=2, lr=5e-5),
)
_UNANSWERABLE = 0.2
_BATCH, _EMA = 16, 0.99


def main() -> None:
    """Runs the recipe and copies the last reader."""
    args = _arguments()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    log_into(args.work)
    tokenizer = WordPiece.load(package_folder())
    split = SquadSplit.read(args.squad)
    folder = package_folder()
    for step in RECIPE:
        readings = [one for source in step.sources for one in _read(source, split, tokenizer, args)]
        stage = Stage(
            steps=round(step.passes * len(readings) / _BATCH),
            batch=_BATCH,
            lr=step.lr,
            ema=_EMA,
            crop=step.crop,
            seed=args.seed,
        )
        _logger.info("stage %s from %s", step.name, folder)
        out = args.work / step.name
        folder = train(
            stage, readings, split.kept, tokenizer, start=folder, out=out, dropout=step.dropout
        )
    shutil.copytree(folder, args.out, dirs_exist_ok=True)


def _read(
    source: str, split: SquadSplit, tokenizer: WordPiece, args: argparse.Namespace
) -> list[Reading]:
    """The readings of a source; what takes long to gather is kept in a file."""
    if source == "squad":
        return squad_readings(
            split.learned,
            tokenizer,
            every_occurrence=True,
            unanswerable_share=_UNANSWERABLE,
            seed=args.seed,
        )

    def gathered() -> list[Reading]:
        articles = [a for a in read_articles(args.wiki) if a.title not in split.kept_titles]
        if source == "distant":
            return distant_readings(args.qa, articles, tokenizer, seed=args.seed)
        return cloze_readings(articles, tokenizer, seed=args.seed)

    return saved(args.work / f"{source}.npz", gathered)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--squad", type=Path, nargs="+", required=True)
    add("--wiki", type=Path, nargs="+", required=True)
    add("--qa", type=Path, nargs="+", required=True)
    add("--work", type=Path, default=Path("scratch/make"))
    add("--out", type=Path, required=True)
    add("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
