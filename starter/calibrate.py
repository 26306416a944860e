r"""Answers in the open, and how "nothing here answers this" is calibrated.

    python starter/calibrate.py --squad part_a.json --reader scratch/whole/reader \
        --out calibration.json --figures figures.json

Every paragraph of the files is a document. The questions are those of the held-out articles: each
is asked over all paragraphs, and over those of all other articles, where nothing answers it. The
slope and the intercept of the log odds (Platt, 1999) are fitted on all of them, and the intercept
is then moved to where one question in five has no answer: people mostly ask what their documents
tell. AUROC and expected calibration error are those of each half of the articles under a fit on the
other half, at equal shares.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import random
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from judging import auroc
from stages import SquadSplit

from openrealm.answering.answerer import Answerer, answerer_of
from openrealm.corpus.records import Document
from openrealm.corpus.updating import update_store
from openrealm.data.matching import answer_words, has_answer
from openrealm.data.qa import Question, read_questions
from openrealm.metrics import exact_match, token_f1
from openrealm.models.pretrained import published_span_reader
from openrealm.models.starts import minilm_directory
from openrealm.progress import Silent
from openrealm.runs.folders import WorkspaceFolder, open_corpus
from openrealm.runs.loaded import load_untrained, untrained_settings
from openrealm.runs.parts import make_loader
from openrealm.settings import preset_settings
from openrealm.tokenizer import WordPiece

_UNANSWERED = 0.2  # of what is asked in use
_FOUND = 200  # chunks, of which those of the question's own article are left out
_ROWS = 16
Floats = npt.NDArray[np.float64]
_logger = logging.getLogger("calibrate")


@dataclass(frozen=True)
class Asked:
    """One question in the open.

    Attributes:
        article: Its article.
        exact_match: Whether the best answer is right.
        f1: Of the best answer.
        rank: Of the first chunk that holds an answer, from 0; beyond all where none does.
        here: p("nothing here") over all paragraphs, as the reader says it.
        elsewhere: The same without its article.
    """

    article: str
    exact_match: float
    f1: float
    rank: int
    here: float
    elsewhere: float


def asked(answerer: Answerer, questions: Sequence[Question], *, read: int) -> list[Asked]:
    """Asks every question twice."""
    found: list[Asked] = []
    for at in range(0, len(questions), _ROWS):
        batch = questions[at : at + _ROWS]
        texts = [question.text for question in batch]
        hits = answerer.search(texts, k=_FOUND)
        for question, line in zip(batch, hits, strict=True):
            own = [hit for hit in line if hit.chunk.title == question.title]
            rest = [hit for hit in line if hit.chunk.title != question.title]
            assert own or rest
            here, elsewhere = (
                answerer.ask_beside(
                    [question.text],
                    np.array([[hit.chunk.row for hit in chosen[:read]]]),
                    torch.tensor([[hit.score for hit in chosen[:read]]]),
                    top=1,
                )[0]
                for chosen in (line, rest)
            )
            best = here.answers[0].text if here.answers else ""
            holds = [has_answer(answer_words(h.chunk.text), question.answers) for h in line]
            found.append(
                Asked(
                    article=str(question.title),
                    exact_match=float(exact_match(best, question.answers)),
                    f1=token_f1(best, question.answers),
                    rank=holds.index(True) if any(holds) else _FOUND,
                    here=here.no_answer,
                    elsewhere=elsewhere.no_answer,
                )
            )
        _logger.info("%d of %d questions", at + len(batch), len(questions))
    return found


def log_odds(p: Sequence[float]) -> Floats:
    """log(p / (1 - p)), of probabilities kept away from 0 and 1."""
    clipped = np.clip(np.asarray(p, dtype=np.float64), 1e-12, 1 - 1e-12)
    return np.asarray(np.log(clipped / (1 - clipped)))


def platt(log_odds: Floats, is_nothing: Floats, *, steps: int = 100) -> tuple[float, float]:
    """Slope and intercept of the likeliest sigmoid, by Newton's method."""
    weights, design = np.zeros(2), np.stack([log_odds, np.ones_like(log_odds)], axis=1)
    for _ in range(steps):
        p = 1 / (1 + np.exp(-design @ weights))
        hessian = design.T @ (design * (p * (1 - p))[:, None]) + 1e-6 * np.eye(2)
        weights -= np.linalg.solve(hessian, design.T @ (p - is_nothing))
    return float(weights[0]), float(weights[1])


def calibration_error(p: Floats, is_nothing: Floats, *, bins: int = 10) -> float:
    """Expected calibration error: how far each tenth's mean probability is from its share."""
    bin_of = np.minimum((p * bins).astype(int), bins - 1)
    return float(
        sum(
            abs(p[bin_of == n].mean() - is_nothing[bin_of == n].mean()) * (bin_of == n).mean()
            for n in range(bins)
            if (bin_of == n).any()
        )
    )


def calibrated(found: Sequence[Asked]) -> tuple[dict[str, float], dict[str, float]]:
    """Slope and intercept of all, and the figures of halves under the other half's fit."""

    def data(of: Sequence[Asked]) -> tuple[Floats, Floats]:
        said = [*(one.here for one in of), *(one.elsewhere for one in of)]
        return log_odds(said), np.repeat([0.0, 1.0], len(of))

    articles = sorted({one.article for one in found})
    halves = [[one for one in found if one.article in articles[side::2]] for side in range(2)]
    errors, right = [], []
    for test, train in (halves, halves[::-1]):
        slope, intercept = platt(*data(train))
        odds, nothing = data(test)
        p = 1 / (1 + np.exp(-slope * odds - intercept))
        errors.append(calibration_error(p, nothing))
        right.append(float(((p > 0.5) == (nothing > 0.5)).mean()))
    slope, intercept = platt(*data(found))
    area = auroc([one.elsewhere for one in found], [one.here for one in found])
    figures = {"auroc": area, "ece": float(np.mean(errors)), "told_apart": float(np.mean(right))}
    moved = intercept + float(np.log(_UNANSWERED / (1 - _UNANSWERED)))
    return {"slope": slope, "intercept": moved}, figures


def main() -> None:
    """Asks, fits and writes."""
    args = _arguments()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    kept = SquadSplit.read(args.squad).kept
    random.Random(0).shuffle(kept)
    with tempfile.TemporaryDirectory() as folder:
        found = asked(_opened(Path(folder), args), kept[: args.limit], read=args.read)
    fitted, figures = calibrated(found)
    figures |= {
        "questions": len(found),
        "read": args.read,
        "exact_match": float(np.mean([one.exact_match for one in found])),
        "f1": float(np.mean([one.f1 for one in found])),
    }
    figures |= {f"recall@{k}": float(np.mean([one.rank < k for one in found])) for k in (1, 5, 20)}
    print(json.dumps({"calibration": fitted, "figures": figures}, indent=1))
    if args.out:
        args.out.write_text(json.dumps(fitted) + "\n", encoding="utf-8")
    if args.figures:
        args.figures.write_text(json.dumps(figures) + "\n", encoding="utf-8")


def _opened(folder: Path, args: argparse.Namespace) -> Answerer:
    home = WorkspaceFolder(folder / "ws")
    questions = [q for path in args.squad for q in read_questions(path)]
    contexts = dict.fromkeys((str(q.title), str(q.context)) for q in questions)
    documents = [
        Document(id=str(n), title=title, text=text, source="squad")
        for n, (title, text) in enumerate(contexts)
    ]
    update_store(
        home.corpus,
        add=documents,
        tokenizer=WordPiece.load(minilm_directory()),
        chunking=preset_settings("adapt").corpus.chunking,
    )
    corpus = open_corpus(home)
    loaded = load_untrained(home, corpus)
    if loaded.model.lexical is not None and args.lexical_weight:
        with torch.no_grad():
            loaded.model.lexical.log_weight.fill_(np.log(args.lexical_weight))
    started = published_span_reader(
        str(args.reader), vocab_size=corpus.tokenizer.vocab_size, seed=0
    )
    loaded.model.span_reader = started.reader
    load = make_loader(home, untrained_settings(corpus), corpus, loaded.model, progress=Silent())
    return answerer_of(loaded.with_index(load(loaded.snapshot(Silent()))))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--squad", type=Path, nargs="+", required=True)
    add("--reader", type=Path, required=True, help="folder of a BertForQuestionAnswering")
    add("--read", type=int, default=10, help="chunks that may be read")
    add("--lexical-weight", type=float, default=0.0, help="of words in common; 0: the preset's")
    add("--limit", type=int, help="only so many questions")
    add("--out", type=Path, help="where slope and intercept are written")
    add("--figures", type=Path, help="where the figures are written")
    return parser.parse_args()


if __name__ == "__main__":
    main()
